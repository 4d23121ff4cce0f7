//! All replicas at once: asks that each of them answers, signed where they change anything. For HTTP, for a replica that
//! starts, and for the command line.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::connection::State as Connected;
use async_nats::{Client, HeaderMap, Message, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use rand::RngExt;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::Settings;
use super::parts::Gather;
use crate::control::{Ask, Done, Mac, Order, State, Token, Verb};
use crate::handle::Handle;
use crate::time::Now;

/// All answers are in when none came for so long.
const QUIET: Duration = Duration::from_millis(250);
/// The first answer may take so long.
const FIRST: Duration = Duration::from_secs(1);
/// A replica that starts waits no longer for the others.
const TAKE_OVER: Duration = Duration::from_millis(200);
/// Nobody waits longer, whoever goes on talking.
const LONGEST: Duration = Duration::from_secs(5);
/// More replicas than anybody runs.
const MOST: usize = 1_000;

/// When it was signed.
const TIME: &str = "Broker-Time";
/// Never used before.
const NONCE: &str = "Broker-Nonce";
/// The keyed hash.
const MAC: &str = "Broker-Mac";
/// Who answers.
pub(super) const REPLICA: &str = "Broker-Replica";
/// Who asks.
const BY: &str = "Broker-By";
/// Why not, as the protocol of services spells it.
const ERROR: &str = "Nats-Service-Error";

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// There is no broker on this bus.
    #[error("no broker answers on this bus: does one run, and with the same BROKER_SUBJECT?")]
    Nobody,
    /// The bus is away.
    #[error("the connection to the bus is gone")]
    Gone,
    /// A part of an answer is missing.
    #[error("the answer of replica {0} did not come whole: ask again")]
    Broken(String),
    /// A replica refuses, or says what cannot be read.
    #[error("replica {0} answers: {1}")]
    Useless(String, String),
}

/// The subject of an ask.
pub fn subject(settings: &Settings, word: &str) -> String {
    format!("{}.ctl.{word}", settings.subject)
}

/// A nonce.
pub(super) fn nonce() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}

/// A signature as headers.
pub(super) fn signed(mac: &Mac) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TIME, mac.at.to_string().as_str());
    headers.insert(NONCE, mac.nonce.as_str());
    headers.insert(MAC, mac.mac.as_str());
    headers
}

/// The signature of a message.
pub(super) fn signature(headers: Option<&HeaderMap>) -> Option<Mac> {
    let headers = headers?;
    let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    Some(Mac { at: text(TIME)?.parse().ok()?, nonce: text(NONCE)?, mac: text(MAC)? })
}

/// Who asks, in a word of their own.
pub(super) fn by(headers: Option<&HeaderMap>) -> String {
    let by = headers.and_then(|headers| headers.get(BY)).map(|by| by.as_str());
    by.map(clean).unwrap_or_default()
}

/// How long an ask waits, and for how many.
#[derive(Debug, Clone, Copy)]
struct Wait {
    /// For the first message.
    first: Duration,
    /// For one more.
    quiet: Duration,
    /// So many answers are enough.
    enough: usize,
}

/// Everybody.
const ALL: Wait = Wait { first: FIRST, quiet: QUIET, enough: MOST };
/// Whoever is first; one that has begun to answer in parts is heard to its end.
const ONE: Wait = Wait { first: TAKE_OVER, quiet: TAKE_OVER, enough: 1 };

/// Asks all, and collects what they answer.
///
/// # Errors
/// Nobody answers, or not to the end.
async fn ask(
    client: &Client,
    subject: String,
    headers: HeaderMap,
    body: Bytes,
    wait: Wait,
) -> Result<Vec<Message>, Silence> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|_| Silence::Gone)?;
    client.publish_with_reply_and_headers(subject, inbox, headers, body).await.map_err(|_| Silence::Gone)?;
    let (mut all, mut gather) = (Vec::new(), Gather::default());
    let begin = Instant::now();
    let mut end = begin + wait.first;
    while let Ok(Some(answer)) = timeout_at(end, answers.next()).await {
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            break;
        }
        all.extend(gather.take(answer));
        if all.len() >= wait.enough {
            break;
        }
        end = (Instant::now() + wait.quiet).min(begin + LONGEST);
    }
    match gather.broken() {
        Some(replica) if all.len() < wait.enough => Err(Silence::Broken(clean(replica))),
        _ if all.is_empty() => Err(Silence::Nobody),
        _ => Ok(all),
    }
}

/// What others write of themselves, fit to be shown.
fn clean(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(60).collect()
}

/// Gives an order to all replicas; what each of them did.
///
/// # Errors
/// Nobody answers.
pub async fn order(
    client: &Client,
    settings: &Settings,
    token: Option<&Token>,
    who: &str,
    (verb, asked): (Verb, &Ask),
    now: Now,
) -> Result<Vec<Done>, Silence> {
    let subject = subject(settings, verb.word());
    let body = serde_json::to_vec(asked).unwrap_or_default();
    let mut headers = match token {
        Some(token) => signed(&token.sign(&subject, now, nonce(), &body)),
        None => HeaderMap::new(),
    };
    headers.insert(BY, who);
    let answers = ask(client, subject, headers, body.into(), ALL).await?;
    Ok(answers.iter().map(done).collect())
}

/// What a replica says that it did.
fn done(answer: &Message) -> Done {
    read(answer).unwrap_or_else(|(replica, error)| Done { replica, error: Some(error), ..Done::default() })
}

/// What a replica answers; an error has its name and its reason.
fn read<T: DeserializeOwned>(answer: &Message) -> Result<T, (String, String)> {
    let header = |name| answer.headers.as_ref().and_then(|headers| headers.get(name)).map(ToString::to_string);
    let replica = || header(REPLICA).unwrap_or_default();
    match header(ERROR) {
        Some(error) => Err((replica(), error)),
        None => serde_json::from_slice(&answer.payload)
            .map_err(|_| (replica(), "its answer cannot be read: another version?".to_owned())),
    }
}

/// The documents that all replicas answer with.
///
/// # Errors
/// Nobody answers, or one of them not with a document: what is shown would else lack it without a word.
pub async fn documents(client: &Client, settings: &Settings, word: &str) -> Result<Vec<serde_json::Value>, Silence> {
    let answers = ask(client, subject(settings, word), HeaderMap::new(), Bytes::new(), ALL).await?;
    let documents = answers.iter().map(read);
    documents.collect::<Result<_, _>>().map_err(|(replica, why)| Silence::Useless(clean(&replica), clean(&why)))
}

/// Takes over what the others know, before the first request is taken. Nobody there, or nobody in time: then nothing.
pub async fn take_over(client: &Client, settings: &Settings, handle: &Handle, token: Option<&Token>) {
    let subject = subject(settings, "state");
    let nonce = nonce();
    let answers = ask(client, subject, HeaderMap::new(), nonce.clone().into(), ONE).await;
    let answer = match answers {
        Ok(mut answers) => answers.pop(),
        Err(Silence::Broken(replica)) => {
            tracing::warn!(replica, "what another replica knows did not come whole: beginning without it");
            None
        }
        Err(_) => None,
    };
    let Some(answer) = answer else { return };
    let Ok(told) = serde_json::from_slice::<State>(&answer.payload) else {
        tracing::debug!("what another replica knows cannot be read");
        return;
    };
    // Standings are what anybody could bring about by writing logs; what operators said is only theirs to say.
    let proved = token.zip(signature(answer.headers.as_ref())).is_some_and(|(token, mac)| {
        mac.nonce == nonce && token.check("state", &mac, &answer.payload, handle.now()).is_ok()
    });
    let (replica, out, orders) = (&told.replica, told.routers.len(), told.orders.len());
    tracing::info!(replica, out, orders, proved, "taking over what another replica knows");
    handle.take_over(&told, proved);
}

/// The replicas, this one among them, as HTTP reaches them.
#[derive(Clone)]
pub struct Peers {
    handle: Handle,
    settings: Arc<Settings>,
    token: Option<Token>,
    client: Arc<OnceLock<Client>>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

impl Peers {
    /// Not connected yet.
    pub fn new(handle: Handle, settings: Settings, token: Option<Token>) -> Self {
        Self { handle, settings: Arc::new(settings), token, client: Arc::default() }
    }

    /// From now on the others can be reached.
    pub fn connected(&self, client: Client) {
        // The library reconnects by itself: there is only ever one.
        let _ = self.client.set(client);
    }

    /// The operators' token.
    pub const fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Gives an order to all, this one among them, with the bus or without.
    pub async fn order(&self, who: &str, verb: Verb, asked: &Ask, own: &Order) -> Vec<Done> {
        let now = self.handle.now();
        let replica = self.handle.signature().replica().to_owned();
        let client = self.client.get().filter(|client| client.connection_state() == Connected::Connected);
        let mut all = match client {
            Some(client) => {
                let given = order(client, &self.settings, self.token.as_ref(), who, (verb, asked), now).await;
                given.unwrap_or_default()
            }
            None => Vec::new(),
        };
        if !all.iter().any(|done| done.replica == replica && done.error.is_none()) {
            all.retain(|done| done.replica != replica);
            all.insert(0, self.handle.obey(own));
        }
        all
    }
}
