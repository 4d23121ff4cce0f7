//! The replica as a service on the bus (`nats micro`): its state, and the commands of operators. Every replica answers: the
//! endpoints' queue group is its own, and another one for each connection, as a server that hangs keeps the subscriptions of the
//! connection that was lost, and would get a part of the group's messages.
//!
//! Endpoints that read need no token. Commands must be signed with the operators' token; others are rejected with the reason.

use std::collections::HashSet;
use std::pin::pin;

use async_nats::client::PublishError;
use async_nats::service::endpoint::Endpoint;
use async_nats::service::error::Error as Refusal;
use async_nats::service::{Group, Request, Service, ServiceExt};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures_util::{FutureExt, StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::{ConnectionStatus, NatsSettings, chunks, peers, takeover};
use crate::admin::{AdminAction, AdminRequest, AuthError, Token};
use crate::calls::CallQuery;
use crate::shared_broker::SharedBroker;
use crate::status::{ConfigStatus, Status};
use crate::telemetry::TokenInterface;
use crate::wrong_tokens::WrongTokenLimiter;
use gecholog_protocol::Message;

/// The name of the service.
const NAME: &str = "gecholog-broker";
/// The endpoints that only read; they need no token.
const READ_ENDPOINTS: [&str; 5] = [STATUS, "config", "explain", CALLS, RECORDS];
/// The endpoint for the status document.
pub const STATUS: &str = "status";
/// The endpoint for pages of finished calls in memory.
pub const CALLS: &str = "calls";
/// The endpoint for the records of calls that have just ended, by id.
pub const RECORDS: &str = "records";
/// The most ids in one request.
pub const MAX_IDS: usize = 2_048;
/// The state for a replica that starts. This replica answers only once it has taken over the state of others itself.
const STATE: &str = "state";

/// The state that the endpoints share.
#[derive(Debug)]
pub struct AdminEndpoints<'a> {
    pub broker: &'a SharedBroker,
    /// Where the bus is.
    pub settings: &'a NatsSettings,
    /// The connections to the bus, for the status; the last one is this one's.
    pub links: &'a [ConnectionStatus],
    /// The operators' token; `None`: nothing can be changed.
    pub token: Option<&'a Token>,
    /// Delays the answers to commands that are signed with another token.
    pub wrong_tokens: &'a WrongTokenLimiter,
}

/// The steps of a replica's start: it receives commands before it asks the other replicas for their state, so that none is
/// missed.
#[derive(Debug)]
pub struct Start {
    /// Signalled when commands are received.
    pub listening: oneshot::Sender<()>,
    /// Signalled when the state of the other replicas was taken over.
    pub begun: oneshot::Receiver<()>,
}

/// Answers until the connection ends.
///
/// # Errors
/// The connection is closed.
pub async fn serve_admin(client: Client, admin: AdminEndpoints<'_>, start: Start) -> Result<(), async_nats::Error> {
    let Some(link) = admin.links.last() else { return Ok(()) };
    let mut service = admin.service(&client).await?;
    // That of the first connection.
    let mut connects = 1;
    let mut group = admin.group(&service, connects);
    let mut asks = listen(&group, commands()).await?;
    link.sync(&client).await;
    // The receiver is gone only when the process ends.
    let _ = start.listening.send(());
    let mut begun = pin!(start.begun.fuse());
    let mut has_begun = false;
    let mut refusing = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = refusing.next() => {}
            Ok(()) = &mut begun => {
                has_begun = true;
                asks.push(named(STATE, group.endpoint(STATE).await?).boxed());
            }
            now = link.connected_again(connects) => {
                connects = now;
                let before = std::mem::replace(&mut service, admin.service(&client).await?);
                group = admin.group(&service, connects);
                // From here on nobody reads what the ones of before get, so that no message is answered twice.
                asks = listen(&group, commands().chain(has_begun.then_some(STATE))).await?;
                before.stop().await?;
            }
            ask = asks.next() => match ask {
                // Delays only the answer to a wrong signature, and no other request.
                Some((word, ask)) if admin.has_wrong_token(word, &ask) => {
                    refusing.push(admin.reject_wrong_token(&client, word, ask));
                }
                Some((word, ask)) => admin.respond(&client, word, &ask, admin.answer(word, &ask)).await,
                None => return Ok(()),
            },
        }
    }
}

/// The endpoints but that of the state.
fn commands() -> impl Iterator<Item = &'static str> {
    READ_ENDPOINTS.into_iter().chain(AdminAction::ALL.map(AdminAction::name))
}

async fn listen(
    group: &Group,
    words: impl Iterator<Item = &'static str>,
) -> Result<SelectAll<BoxStream<'static, (&'static str, Request)>>, async_nats::Error> {
    let mut endpoints = Vec::new();
    for word in words {
        endpoints.push(named(word, group.endpoint(word).await?).boxed());
    }
    Ok(stream::select_all(endpoints))
}

fn named(word: &'static str, endpoint: Endpoint) -> impl futures_util::Stream<Item = (&'static str, Request)> {
    endpoint.map(move |request| (word, request))
}

type Answer = Result<Bytes, Refusal>;

impl AdminEndpoints<'_> {
    /// Where the endpoints of one connection stand.
    fn group(&self, service: &Service, connects: u64) -> Group {
        let queue = format!("{}-{connects}", self.broker.replica());
        service.group_with_queue_group(format!("{}.ctl", self.settings.subject), queue)
    }

    async fn service(&self, client: &Client) -> Result<Service, async_nats::Error> {
        let broker = self.broker.clone();
        let builder = client.service_builder();
        let builder = builder.description("chooses routers for the gecholog LLM gateway, and learns which fail");
        let builder = builder.metadata([("replica".to_owned(), broker.replica().to_owned())].into());
        let builder = builder.stats_handler(move |_, _| {
            let identity = broker.identity();
            json!({
                "replica": identity.replica(),
                "mode": identity.mode().to_string(),
                "config": identity.config(),
                "decisions": broker.decisions(),
            })
        });
        builder.start(NAME, env!("CARGO_PKG_VERSION")).await
    }

    async fn respond(&self, client: &Client, word: &'static str, ask: &Request, answer: Answer) {
        let mut headers = HeaderMap::new();
        headers.insert(peers::REPLICA, self.broker.replica());
        let sent = match answer {
            Ok(bytes) => {
                let mut parts = chunks::split(&bytes, &headers, client.max_payload());
                if let (STATE, Some(token)) = (word, self.token) {
                    takeover::sign(&mut parts, token, &ask.message.payload, self.broker.now());
                }
                send(client, ask, parts).await
            }
            Err(refused) => ask.respond_with_headers(Err(refused), headers).await,
        };
        if let Err(error) = sent {
            tracing::warn!(word, %error, "an answer could not be sent");
        }
    }

    fn answer(&self, word: &'static str, ask: &Request) -> Answer {
        match (word, AdminAction::from_name(word)) {
            (STATUS, _) => {
                document(&Status::from_broker(self.broker, self.links.iter().map(ConnectionStatus::show).collect()))
            }
            ("config", _) => self.config(),
            (STATE, _) => document(&self.broker.state()),
            (CALLS, _) => self.calls(&ask.message.payload),
            (RECORDS, _) => self.records(&ask.message.payload),
            ("explain", _) => self.explain(&ask.message.payload),
            (_, Some(action)) => self.execute(action, ask),
            _ => Err(refusal(404, "no such endpoint")),
        }
    }

    fn config(&self) -> Answer {
        document(&ConfigStatus::new(&self.broker.identity(), self.settings.show(), &self.broker.settings()))
    }

    /// A page of finished calls, as in `/api/v1/calls`.
    fn calls(&self, query: &[u8]) -> Answer {
        let query = CallQuery::of_body(query);
        let page = query.and_then(|query| self.broker.calls().page(self.broker.replica(), query));
        document(&page.map_err(|fault| refusal(400, &fault.to_string()))?)
    }

    /// The records of the calls with these ids, among those that ended last.
    fn records(&self, ids: &[u8]) -> Answer {
        let ids = serde_json::from_slice(ids).ok().filter(|ids: &HashSet<String>| ids.len() <= MAX_IDS);
        let ids =
            ids.ok_or_else(|| refusal(400, &format!("must be a JSON array of at most {MAX_IDS} ids of calls")))?;
        document(&self.broker.calls().with_ids(&ids))
    }

    /// Explains what would be chosen for a request in the form in which the gateway sends it.
    fn explain(&self, body: &[u8]) -> Answer {
        let message = Message::read(body).map_err(|fault| refusal(400, &format!("a message that is {fault}")))?;
        let request = message.request().map_err(|fault| refusal(400, &format!("a message that is {fault}")))?;
        document(&json!({"replica": self.broker.replica(), "explanation": self.broker.explain(&request)}))
    }

    fn execute(&self, action: AdminAction, ask: &Request) -> Answer {
        let message = &ask.message;
        let who = peers::by(message.headers.as_ref());
        let checked = self.check(message);
        if let Err(why) = checked {
            tracing::warn!(verb = action.name(), who, %why, "rejected command of an operator");
            return Err(refusal(403, &why.to_string()));
        }
        let by = format!("{who} over the bus");
        let command =
            AdminRequest::read(&message.payload).and_then(|asked| asked.command(action, by, self.broker.now()));
        let command = command.map_err(|fault| refusal(400, &fault.to_string()))?;
        document(&self.broker.execute(&command))
    }

    /// Whether a command is signed with another token.
    fn has_wrong_token(&self, word: &str, ask: &Request) -> bool {
        let message = &ask.message;
        let identity = AdminAction::from_name(word).and_then(|_| peers::signature(message.headers.as_ref()));
        let checked = self.token.zip(identity);
        let checked =
            checked.map(|(token, mac)| token.check(&message.subject, &mac, &message.payload, self.broker.now()));
        checked == Some(Err(AuthError::Wrong))
    }

    /// Answers a command that is signed with another token: after a delay, or that there are too many of them.
    async fn reject_wrong_token(&self, client: &Client, word: &'static str, ask: Request) {
        let answer = match self.wrong_tokens.delay(TokenInterface::Bus).await {
            Ok(()) => self.answer(word, &ask),
            Err(fault) => Err(refusal(429, &fault.to_string())),
        };
        self.respond(client, word, &ask, answer).await;
    }

    fn check(&self, message: &async_nats::Message) -> Result<(), AuthError> {
        let token = self.token.ok_or(AuthError::Closed)?;
        let mac = peers::signature(message.headers.as_ref()).ok_or(AuthError::Missing)?;
        let now = self.broker.now();
        token.check(&message.subject, &mac, &message.payload, now)?;
        self.broker.nonces().take(&mac, now)
    }
}

/// Sends all chunks of an answer, the last one through the service, which so counts answers and not messages.
async fn send(client: &Client, ask: &Request, mut parts: Vec<(Bytes, HeaderMap)>) -> Result<(), PublishError> {
    let Some((last, headers)) = parts.pop() else { return Ok(()) };
    if let Some(inbox) = &ask.message.reply {
        for (part, headers) in parts {
            client.publish_with_headers(inbox.clone(), headers, part).await?;
        }
    }
    ask.respond_with_headers(Ok(last), headers).await
}

fn document(document: &impl Serialize) -> Answer {
    match serde_json::to_vec(document) {
        Ok(bytes) => Ok(bytes.into()),
        Err(_) => Err(refusal(500, "the answer could not be written")),
    }
}

fn refusal(code: usize, why: &str) -> Refusal {
    Refusal { code, status: why.to_owned() }
}
