//! A replica that starts requests the state of the others before it answers its first request, and again when it was away from the
//! bus. It tells the others that it is back, who ask in turn, and take over drains, weights and mode, which it may have had over HTTP;
//! not what it says of routers, as it may have been its own network that was down.
//!
//! Any client of the bus can answer. With an operators' token, only answers are accepted that are signed with it and with the
//! nonce of this request; all others are dropped before any of their bytes are stored. Without a token every answer is
//! accepted, but only for what log entries could change too. The wait and the memory for answers are bounded.

use std::convert::Infallible;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, StatusCode};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::time::{Instant, sleep};

use super::chunks::{CHUNK_HEADER, Reassembler};
use super::peers::{REPLICA, clean, next, nonce, signature, signed, subject};
use super::{ConnectionStatus, NatsSettings};
use crate::admin::{ReplicaState, Token};
use crate::shared_broker::SharedBroker;
use types::time::BrokerTime;

/// The endpoint at which a replica tells that it is connected again.
const CONNECTED: &str = "connected";
/// The least time between two requests for the state of the others.
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);
/// How long the first valid answer is awaited.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the next answer, or the next chunk of one, is awaited.
const QUIET_TIMEOUT: Duration = Duration::from_millis(100);
/// Timeout of the whole takeover.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(3);
/// Limit of all answers together, in bytes, and how much each router of the settings adds to it: its path, its state, and
/// overrides with their reasons.
const MAX_ANSWERS_BYTES: usize = 4 << 20;
const EXTRA_ROUTER_BYTES: usize = 2 << 10;
/// The longest nonce that is signed, in bytes.
const MAX_NONCE_BYTES: usize = 64;

/// The subject in the signature of a state. Chunks are signed with their number and replica, so that none can replace another.
fn signed_as(headers: Option<&HeaderMap>) -> String {
    let header = |name| headers.and_then(|headers| headers.get(name)).map(|value| value.as_str());
    match header(CHUNK_HEADER) {
        Some(part) => format!("state {part} {}", header(REPLICA).unwrap_or_default()),
        None => "state".to_owned(),
    }
}

/// Signs the chunks of an answer with the nonce of the request.
pub(super) fn sign(parts: &mut [(Bytes, HeaderMap)], token: &Token, nonce: &[u8], now: BrokerTime) {
    let nonce = std::str::from_utf8(nonce).ok().filter(|nonce| !nonce.is_empty() && nonce.len() <= MAX_NONCE_BYTES);
    let Some(nonce) = nonce else { return };
    for (bytes, headers) in parts {
        let mac = token.sign(&signed_as(Some(headers)), now, nonce.to_owned(), bytes);
        for (name, values) in signed(&mac).iter() {
            for value in values {
                headers.insert(name.clone(), value.clone());
            }
        }
    }
}

/// The answers to one request.
struct Answers<'a> {
    token: Option<&'a Token>,
    nonce: String,
    gather: Reassembler,
    /// Each with when it arrived.
    states: Vec<(ReplicaState, Instant)>,
    /// Messages that were dropped because they are not signed, or not correctly.
    unproved: u64,
}

impl<'a> Answers<'a> {
    fn new(token: Option<&'a Token>, nonce: String, routers: usize) -> Self {
        let gather = Reassembler::up_to(MAX_ANSWERS_BYTES.saturating_add(routers.saturating_mul(EXTRA_ROUTER_BYTES)));
        Self { token, nonce, gather, states: Vec::new(), unproved: 0 }
    }

    /// Reads messages until the bus reports that there is no other replica, or none arrives in time.
    async fn collect(&mut self, messages: &mut (impl Stream<Item = Message> + Unpin)) {
        let begin = Instant::now();
        let mut end = begin + FIRST_ANSWER_TIMEOUT;
        while let Some(message) = next(messages, end).await {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                break;
            }
            if self.take(message) {
                end = (Instant::now() + QUIET_TIMEOUT).min(begin + TAKEOVER_TIMEOUT);
            }
        }
    }

    /// Adds a message; returns whether it was accepted.
    fn take(&mut self, message: Message) -> bool {
        if !self.is_proved(&message) {
            self.unproved += 1;
            return false;
        }
        let Some(whole) = self.gather.take(message) else { return true };
        match serde_json::from_slice::<ReplicaState>(&whole.payload) {
            Ok(state) => self.states.push((state, Instant::now())),
            Err(error) => {
                tracing::warn!(%error, "the state of another replica cannot be read: is it of another version?")
            }
        }
        true
    }

    /// Whether a message is signed correctly, or need not be signed.
    fn is_proved(&self, message: &Message) -> bool {
        let Some(token) = self.token else { return true };
        let headers = message.headers.as_ref();
        signature(headers).is_some_and(|mac| {
            mac.nonce == self.nonce && token.verify(&signed_as(headers), &mac, &message.payload).is_ok()
        })
    }
}

/// What is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Also which routers are out.
    Everything,
    /// What operators have ordered.
    Orders,
}

/// Takes over the state of the other replicas, if one answers in time.
pub async fn take_over(
    client: &Client,
    settings: &NatsSettings,
    broker: &SharedBroker,
    token: Option<&Token>,
    scope: Scope,
) {
    let (nonce, inbox) = (nonce(), client.new_inbox());
    let Ok(mut messages) = client.subscribe(inbox.clone()).await else { return };
    let asked = client.publish_with_reply(subject(settings, "state"), inbox, nonce.clone().into()).await;
    if asked.is_err() {
        return;
    }
    let mut answers = Answers::new(token, nonce, broker.routers_known());
    answers.collect(&mut messages).await;
    let Answers { gather, states, unproved, .. } = answers;
    if let Some(replica) = gather.broken().map(clean) {
        tracing::warn!(replica, "the state of another replica did not arrive completely: starting without it");
    }
    let proved = token.is_some();
    let states = states.into_iter().map(|(state, came)| state.later(came.elapsed()));
    match ReplicaState::merge(states.collect()) {
        Some(mut known) => {
            if scope == Scope::Orders {
                known.routers.clear();
            }
            let (replica, out, orders) = (clean(&known.replica), known.routers.len(), known.overrides.len());
            tracing::info!(replica, out, orders, proved, unproved, "taking over the state of another replica");
            broker.import_state(known, proved);
        }
        None if unproved > 0 => tracing::warn!(
            unproved,
            "nothing was taken over: no answer of another replica is signed with this replica's BROKER_ADMIN_TOKEN"
        ),
        None => {}
    }
}

/// Takes over the state of the others whenever this replica, or another one, is connected again, until the connection ends.
///
/// # Errors
/// The connection is closed.
pub async fn take_over_after_outages(
    client: Client,
    settings: &NatsSettings,
    link: &ConnectionStatus,
    broker: &SharedBroker,
    token: Option<&Token>,
) -> Result<Infallible, async_nats::Error> {
    let subject = subject(settings, CONNECTED);
    let mut heard = client.subscribe(subject.clone()).await?;
    // That of the start, which has its own.
    let mut connects = 1;
    loop {
        let mut scope = Scope::Orders;
        tokio::select! {
            now = link.connected_again(connects) => {
                (connects, scope) = (now, Scope::Everything);
                client.publish(subject.clone(), Bytes::new()).await?;
            }
            Some(_) = heard.next() => {}
        }
        // Of those that are connected again at the same time one request hears all.
        while let Some(Some(_)) = heard.next().now_or_never() {}
        take_over(&client, settings, broker, token, scope).await;
        sleep(REQUEST_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::super::chunks::split;
    use super::*;
    use crate::fixtures::message;

    const NOW: BrokerTime = BrokerTime::from_nanos(1_800_000_000_000_000_000);
    const NONCE: &str = "the nonce of this ask";

    /// What a replica with this token answers, in messages of at most 2,000 bytes.
    fn answer(replica: &str, token: &str, nonce: &str, routers: usize) -> Vec<Message> {
        let text = r#"{"router":"/a/","seconds_left":1.5,"why":"answered 500"}"#;
        let routers = vec![text; routers].join(",");
        let state = format!(r#"{{"replica":"{replica}","mode":"balance","routers":[{routers}],"orders":[]}}"#);
        let mut headers = HeaderMap::new();
        headers.insert(REPLICA, replica);
        let mut parts = split(&state.into(), &headers, 2_000);
        sign(&mut parts, &Token::new(token), nonce.as_bytes(), NOW);
        parts.into_iter().map(message).collect()
    }

    fn relabelled(mut message: Message, name: &str, value: &str) -> Message {
        let mut headers = message.headers.take().unwrap();
        headers.insert(name, value);
        Message { headers: Some(headers), ..message }
    }

    /// The replicas whose answers count.
    fn counted(token: Option<&str>, messages: impl IntoIterator<Item = Message>) -> (Vec<String>, u64) {
        let token = token.map(Token::new);
        let mut answers = Answers::new(token.as_ref(), NONCE.to_owned(), 2);
        for message in messages {
            answers.take(message);
        }
        (answers.states.into_iter().map(|(state, _)| state.replica).collect(), answers.unproved)
    }

    #[test]
    fn with_a_token_only_what_is_signed_with_it_for_this_ask_counts() {
        let good = || answer("a", "ours", NONCE, 1);
        let changed =
            |message: Message| Message { payload: [message.payload.as_ref(), b" "].concat().into(), ..message };
        assert_eq!(counted(Some("ours"), good()), (vec!["a".to_owned()], 0));
        for (wrong, forged) in [
            ("another token", answer("evil", "another", NONCE, 1)),
            ("an answer of before", answer("evil", "ours", "another nonce", 1)),
            ("not signed", good().into_iter().map(|message| Message { headers: None, ..message }).collect()),
            ("another body", good().into_iter().map(changed).collect()),
        ] {
            assert_eq!(counted(Some("ours"), forged.clone()), (Vec::new(), 1), "{wrong}");
            let both = forged.into_iter().chain(good());
            assert_eq!(counted(Some("ours"), both), (vec!["a".to_owned()], 1), "{wrong}");
        }
        assert_eq!(counted(None, answer("a", "another", NONCE, 1)).0, ["a"], "without a token, any");
    }

    /// How long it waits where each of these messages comes after its time in milliseconds, and then none.
    async fn waited(messages: Vec<(u64, Message)>) -> Duration {
        let arrive = |(after, message)| async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            message
        };
        let arriving = stream::iter(messages).then(arrive).chain(stream::pending());
        let begin = Instant::now();
        let token = Token::new("ours");
        Answers::new(Some(&token), NONCE.to_owned(), 2).collect(&mut Box::pin(arriving)).await;
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_at_once_where_no_replica_is_there_and_is_bounded_elsewhere() {
        let mut nobody = answer("a", "ours", NONCE, 0).remove(0);
        nobody.status = Some(StatusCode::NO_RESPONDERS);
        assert_eq!(waited(vec![(0, nobody)]).await, Duration::ZERO);
        assert_eq!(waited(Vec::new()).await, FIRST_ANSWER_TIMEOUT);
        let one = |token| answer("a", token, NONCE, 0).remove(0);
        assert_eq!(waited(vec![(300, one("ours"))]).await, Duration::from_millis(300) + QUIET_TIMEOUT);
        assert_eq!(
            waited(vec![(300, one("another"))]).await,
            FIRST_ANSWER_TIMEOUT,
            "what does not count does not end the wait"
        );
        assert_eq!(waited(vec![(90, one("ours")); 100]).await, TAKEOVER_TIMEOUT, "nor can answers without end hold it");
    }

    #[test]
    fn no_stranger_breaks_an_answer_in_parts_and_no_part_stands_for_another() {
        let (parts, other) = (answer("a", "ours", NONCE, 99), answer("b", "ours", NONCE, 99));
        assert!(parts.len() > 3 && parts.len() == other.len());
        let forged = relabelled(other[1].clone(), REPLICA, "a");
        let moved = relabelled(parts[2].clone(), CHUNK_HEADER, &format!("2/{}", parts.len()));
        let strangers = [forged, moved, answer("a", "another", NONCE, 99).remove(1), parts[0].clone()];
        let mixed = parts.iter().flat_map(|part| [part.clone()].into_iter().chain(strangers.clone()));
        assert_eq!(counted(Some("ours"), mixed).0, ["a"]);
    }
}
