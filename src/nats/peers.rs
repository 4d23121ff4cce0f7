//! Requests to all replicas at once, of the HTTP API and of the command line; commands are signed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::connection::State as Connected;
use async_nats::{Client, HeaderMap, Message, StatusCode};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use rand::RngExt;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::NatsSettings;
pub use super::admin::{CALLS, MAX_IDS, RECORDS, STATUS};
use super::chunks::Reassembler;
use crate::admin::{AdminAction, AdminCommand, AdminRequest, AdminResult, MessageSignature, Token};
use crate::shared_broker::SharedBroker;
use types::time::BrokerTime;

/// Answers are complete when none came for this time, and for as long as the first one took.
const QUIET_TIMEOUT: Duration = Duration::from_millis(250);
/// Timeout of the first answer. Longer than a replica holds back its answer to a wrong token
/// ([`WRONG_TOKEN_DELAY`](crate::wrong_tokens::WRONG_TOKEN_DELAY)), so that this answer is seen.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_millis(2_500);
/// Timeout of all answers together.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// The most answers that are read: more replicas than run together.
const MAX_REPLICAS: usize = 1_000;
/// The largest size of all answers to a command together, in bytes; each replica sends a few hundred.
const MAX_RESULTS_BYTES: usize = 4 << 20;
/// The largest size of all documents together, in bytes: ten times that of a few replicas.
const MAX_DOCUMENTS_BYTES: usize = 256 << 20;

/// The time of the signature.
const TIME_HEADER: &str = "Broker-Time";
/// The nonce of the signature.
const NONCE_HEADER: &str = "Broker-Nonce";
/// The hash of the signature.
const MAC_HEADER: &str = "Broker-Mac";
pub(super) const REPLICA: &str = "Broker-Replica";
const SENDER_HEADER: &str = "Broker-By";
/// The reason of an error, in the protocol of NATS services.
const ERROR: &str = "Nats-Service-Error";

/// Why a request to the replicas failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("no broker answers on this bus: does one run, and with the same BROKER_SUBJECT?")]
    NoAnswer,
    #[error("the connection to the bus is gone")]
    Gone,
    /// A chunk of an answer is missing.
    #[error("the answer of replica {0} is incomplete: try again")]
    Broken(String),
    /// A replica answers with an error, or with something that cannot be parsed.
    #[error("replica {0} answers: {1}")]
    Unusable(String, String),
}

/// The subject of an endpoint.
pub fn subject(settings: &NatsSettings, word: &str) -> String {
    format!("{}.ctl.{word}", settings.subject)
}

pub(super) fn nonce() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// A signature as headers.
pub(super) fn signed(mac: &MessageSignature) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TIME_HEADER, mac.at.to_string().as_str());
    headers.insert(NONCE_HEADER, mac.nonce.as_str());
    headers.insert(MAC_HEADER, mac.mac.as_str());
    headers
}

/// The signature of a message.
pub(super) fn signature(headers: Option<&HeaderMap>) -> Option<MessageSignature> {
    let headers = headers?;
    let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    Some(MessageSignature { at: text(TIME_HEADER)?.parse().ok()?, nonce: text(NONCE_HEADER)?, mac: text(MAC_HEADER)? })
}

/// The sender by its own account, which is not verified.
pub(super) fn by(headers: Option<&HeaderMap>) -> String {
    let by = headers.and_then(|headers| headers.get(SENDER_HEADER)).map(|by| by.as_str());
    by.map(clean).unwrap_or_default()
}

/// Sends a request to all replicas, and collects their answers.
///
/// # Errors
/// No replica answers, or an answer is incomplete.
async fn request(
    client: &Client,
    subject: String,
    headers: HeaderMap,
    body: Bytes,
    most: usize,
) -> Result<Vec<Message>, PeerError> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|_| PeerError::Gone)?;
    client.publish_with_reply_and_headers(subject, inbox, headers, body).await.map_err(|_| PeerError::Gone)?;
    let (mut all, mut gather) = (Vec::new(), Reassembler::up_to(most));
    let begin = Instant::now();
    let (mut end, mut pause) = (begin + FIRST_ANSWER_TIMEOUT, None);
    while let Some(answer) = next(&mut answers, end).await {
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            break;
        }
        all.extend(gather.take(answer));
        if all.len() >= MAX_REPLICAS {
            break;
        }
        // The others may take as long as the first one: a large answer, or a busy machine.
        let pause = *pause.get_or_insert_with(|| begin.elapsed().max(QUIET_TIMEOUT));
        end = (Instant::now() + pause).min(begin + MAX_WAIT);
    }
    match gather.broken() {
        Some(replica) if all.len() < MAX_REPLICAS => Err(PeerError::Broken(clean(replica))),
        _ if all.is_empty() => Err(PeerError::NoAnswer),
        _ => Ok(all),
    }
}

/// The next message before this moment; ends at that moment also under a constant stream of messages.
pub(super) async fn next(messages: &mut (impl Stream<Item = Message> + Unpin), end: Instant) -> Option<Message> {
    if Instant::now() >= end {
        return None;
    }
    timeout_at(end, messages.next()).await.ok().flatten()
}

/// A text of another replica, shortened and without control characters.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(60).collect()
}

/// Sends a command to all replicas. Returns what each of them did.
///
/// # Errors
/// No replica answers.
pub async fn send_command(
    client: &Client,
    settings: &NatsSettings,
    token: Option<&Token>,
    who: &str,
    action: AdminAction,
    asked: &AdminRequest,
    now: BrokerTime,
) -> Result<Vec<AdminResult>, PeerError> {
    let subject = subject(settings, action.name());
    let body = serde_json::to_vec(asked).unwrap_or_default();
    let mut headers = match token {
        Some(token) => signed(&token.sign(&subject, now, nonce(), &body)),
        None => HeaderMap::new(),
    };
    headers.insert(SENDER_HEADER, who);
    let answers = request(client, subject, headers, body.into(), MAX_RESULTS_BYTES).await?;
    Ok(answers.iter().map(done).collect())
}

/// The result that a replica reports.
fn done(answer: &Message) -> AdminResult {
    read(answer).unwrap_or_else(|(replica, error)| AdminResult {
        replica,
        error: Some(error),
        ..AdminResult::default()
    })
}

/// Parses the answer of a replica; an error has its id and the reason.
fn read<T: DeserializeOwned>(answer: &Message) -> Result<T, (String, String)> {
    let header = |name| answer.headers.as_ref().and_then(|headers| headers.get(name)).map(ToString::to_string);
    let replica = || header(REPLICA).unwrap_or_default();
    match header(ERROR) {
        Some(error) => Err((replica(), error)),
        None => serde_json::from_slice(&answer.payload)
            .map_err(|_| (replica(), "its answer cannot be read: another version?".to_owned())),
    }
}

/// Asks an endpoint of all replicas. Returns the answer of each that has one.
///
/// # Errors
/// No replica answers, or one with an error or something that cannot be parsed.
pub async fn ask<T: DeserializeOwned>(
    client: &Client,
    settings: &NatsSettings,
    endpoint: &str,
    body: Vec<u8>,
) -> Result<Vec<T>, PeerError> {
    let subject = subject(settings, endpoint);
    let answers = request(client, subject, HeaderMap::new(), body.into(), MAX_DOCUMENTS_BYTES).await?;
    let read: Result<_, _> = answers.iter().map(read).collect();
    read.map_err(|(replica, why)| PeerError::Unusable(clean(&replica), clean(&why)))
}

/// Sends commands from HTTP to all replicas, this one included.
#[derive(Clone)]
pub struct Peers {
    broker: SharedBroker,
    settings: Arc<NatsSettings>,
    token: Option<Token>,
    client: Arc<OnceLock<Client>>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

impl Peers {
    /// Before the bus is connected.
    pub fn new(broker: SharedBroker, settings: NatsSettings, token: Option<Token>) -> Self {
        Self { broker, settings: Arc::new(settings), token, client: Arc::default() }
    }

    /// Sets the connection over which the other replicas are reached.
    pub fn connected(&self, client: Client) {
        // The library reconnects by itself, so there is only one.
        let _ = self.client.set(client);
    }

    pub const fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Sends a command to all, with the bus or without; this replica applies it itself, since what it publishes does not come
    /// back to it.
    pub async fn send_command(
        &self,
        who: &str,
        action: AdminAction,
        asked: &AdminRequest,
        own: &AdminCommand,
    ) -> Vec<AdminResult> {
        let now = self.broker.now();
        let mut all = vec![self.broker.execute(own)];
        if let Some(client) = self.client.get().filter(|client| client.connection_state() == Connected::Connected) {
            let given = send_command(client, &self.settings, self.token.as_ref(), who, action, asked, now).await;
            all.extend(given.unwrap_or_default());
        }
        all
    }
}
