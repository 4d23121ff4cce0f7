//! The state of one connection to the bus: logged when it changes, and read by the readiness probe.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{Client, Event, ServerError};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{sleep, timeout};

use super::{REQUEST_TIMEOUT, retry_delay};

use crate::clock::Clock;
use crate::status::Connection;
use crate::telemetry::Counter;

/// How the bus's errors for what it denies begin; the subject in quotes follows, and perhaps the queue group.
const SUBSCRIPTION_DENIED: &str = "Permissions Violation for Subscription to ";
const PUBLISH_DENIED: &str = "Permissions Violation for Publish to ";
/// The denied subjects that may wait to be looked at; of more, [`ConnectionStatus::sync`] asks again.
const MAX_DENIED_SUBJECTS: usize = 64;
/// The bus's error for one subscription too many.
const TOO_MANY_SUBSCRIPTIONS: &str = "maximum subscriptions exceeded";

/// The events that are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Counted {
    Dropped,
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// Never connected, or connected and not yet subscribed.
    Starting,
    /// Never connected: the address, and why it failed.
    Away(String),
    /// The connection is lost; the library reconnects and subscribes again.
    Lost,
    /// The same, and the bus no longer accepts our credentials.
    Refused,
    Connected,
    /// Subscribed; whether the bus has processed the subscriptions is not known yet.
    Subscribed,
    /// Connected and subscribed.
    Ready,
    /// Connected, and the bus denies a subscription that the broker needs: why. Until the next reconnect.
    Denied(String),
}

/// The status of one connection; clones share it.
#[derive(Debug, Clone)]
pub struct ConnectionStatus {
    name: &'static str,
    state: Arc<watch::Sender<ConnectionState>>,
    counts: Arc<Counter<Counted>>,
    connects: Arc<AtomicU64>,
    /// The number of the library's connection whose events count: while the process moves to another server there are two.
    current: Arc<AtomicU64>,
    newest: Arc<AtomicU64>,
    lame_duck: Arc<Notify>,
    /// The subjects that the bus denies, each when it says so.
    denied: broadcast::Sender<String>,
    clock: Clock,
}

impl ConnectionStatus {
    /// The status of a connection that was not made yet.
    pub fn new(name: &'static str, clock: Clock) -> Self {
        Self {
            name,
            state: Arc::new(watch::Sender::new(ConnectionState::Starting)),
            counts: Arc::new(Counter::with_kinds([Counted::Dropped, Counted::Error])),
            connects: Arc::default(),
            current: Arc::default(),
            newest: Arc::default(),
            lame_duck: Arc::default(),
            denied: broadcast::Sender::new(MAX_DENIED_SUBJECTS),
            clock,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Why the connection cannot be used; `None` if it can.
    pub fn reason(&self) -> Option<String> {
        match &*self.state.borrow() {
            ConnectionState::Ready => None,
            ConnectionState::Starting => Some("not connected to the bus yet".to_owned()),
            ConnectionState::Away(why) => Some(format!("no connection to the bus at {why}")),
            ConnectionState::Lost => Some("the connection to the bus is lost".to_owned()),
            ConnectionState::Refused => Some("the bus refuses our credentials".to_owned()),
            ConnectionState::Connected | ConnectionState::Subscribed => {
                Some("connected to the bus, not yet subscribed".to_owned())
            }
            ConnectionState::Denied(why) => Some(format!("the bus denies a subscription: {why}")),
        }
    }

    /// Whether requests may have arrived that are to be answered before the process ends.
    pub fn can_answer(&self) -> bool {
        matches!(*self.state.borrow(), ConnectionState::Ready | ConnectionState::Denied(_))
    }

    /// For the status document.
    pub fn show(&self) -> Connection {
        Connection {
            name: self.name,
            trouble: self.reason().map(|reason| format!("{}: {reason}", self.name)),
            connects: self.connects.load(Ordering::Relaxed),
            dropped: self.counts.total(Counted::Dropped),
        }
    }

    /// Changes the state, and logs it if it is another one.
    pub fn set(&self, state: ConnectionState) {
        let changed = self.state.send_if_modified(|current| {
            let same = *current == state
                // The bus does not say when it would allow what it has denied.
                || matches!(current, ConnectionState::Denied(_)) && state != ConnectionState::Lost;
            if !same {
                *current = state.clone();
                // Before it is seen: who waits for the next one compares both.
                self.connects.fetch_add((state == ConnectionState::Ready).into(), Ordering::Relaxed);
            }
            !same
        });
        if !changed {
            return;
        }
        match state {
            ConnectionState::Lost => {
                tracing::warn!(connection = self.name, "the connection to the bus is lost; retrying")
            }
            ConnectionState::Refused => tracing::error!(
                connection = self.name,
                "the bus refuses our credentials, which it accepted before; retrying"
            ),
            ConnectionState::Ready => {
                tracing::info!(connection = self.name, "connected to the bus and subscribed");
            }
            ConnectionState::Denied(why) => {
                tracing::error!(connection = self.name, "the bus denies a subscription: {why}")
            }
            // Who connects logs why it does not succeed.
            ConnectionState::Away(_)
            | ConnectionState::Connected
            | ConnectionState::Subscribed
            | ConnectionState::Starting => {}
        }
    }

    /// A number for a connection that is about to be made. Its events are ignored until it is the current one.
    pub(super) fn number(&self) -> u64 {
        self.newest.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes this connection the current one: events of others are ignored from now on.
    pub(super) fn make_current(&self, number: u64) {
        self.current.store(number, Ordering::Relaxed);
        // Another server may allow what the last one denied.
        self.state.send_if_modified(|state| {
            let was_denied = matches!(state, ConnectionState::Denied(_));
            if was_denied {
                *state = ConnectionState::Subscribed;
            }
            was_denied
        });
    }

    /// Waits until the connection is usable and was made more often than this since the start; returns how often.
    pub(super) async fn connected_again(&self, connects: u64) -> u64 {
        let now = || self.connects.load(Ordering::Relaxed);
        // An error would mean that the sender is gone, which is in `self`.
        let _ = self.state.subscribe().wait_for(|state| *state == ConnectionState::Ready && now() > connects).await;
        now()
    }

    /// Waits until the server of the connection announces its shutdown (lame-duck mode).
    pub(super) async fn lame_duck(&self) {
        self.lame_duck.notified().await;
    }

    /// At the start and after each reconnect: waits until the bus has processed the subscriptions, and reports the connection as
    /// usable. After a reconnect the library sends the subscriptions by itself, before anything else.
    pub(super) async fn confirm_subscriptions(&self, client: &Client) -> Infallible {
        let mut states = self.state.subscribe();
        loop {
            // An error would mean that the sender is gone, which is in `self`.
            let _ = states.wait_for(|state| *state == ConnectionState::Subscribed).await;
            tokio::select! {
                biased;
                _ = states.changed() => {}
                confirmed = self.sync(client) => match confirmed {
                    true => self.set(ConnectionState::Ready),
                    false => sleep(retry_delay()).await,
                },
            }
        }
    }

    /// Waits until the bus has processed everything that was sent before, at most `REQUEST_TIMEOUT`; returns false after that. The
    /// bus processes messages in order, so its reply that a new inbox has no subscriber comes last. Where our user may not use
    /// inboxes, the bus's error that says so stands for it. (`flush` returns when the bytes are written, before the bus has read
    /// them.)
    pub async fn sync(&self, client: &Client) -> bool {
        let (inbox, nobody) = (client.new_inbox(), client.new_inbox());
        let mut denied = self.denied.subscribe();
        let processed = async {
            let mut answers = client.subscribe(inbox.clone()).await.ok()?;
            client.publish_with_reply(nobody.clone(), inbox.clone(), Bytes::new()).await.ok()?;
            loop {
                tokio::select! {
                    answer = answers.next() => return answer.map(drop),
                    // An error would mean that some were missed: then this times out, and is repeated.
                    Ok(subject) = denied.recv() => if subject == inbox || subject == nobody { return Some(()) },
                }
            }
        };
        let is_processed = matches!(timeout(REQUEST_TIMEOUT, processed).await, Ok(Some(())));
        // The library has read the errors that came before, and passes them on in a task that has its turn now.
        tokio::task::yield_now().await;
        is_processed
    }

    /// Handles an event of the NATS library about the connection with this number.
    pub(super) fn take(&self, number: u64, event: &Event, needed: &[String]) {
        if number != self.current.load(Ordering::Relaxed) {
            return;
        }
        match event {
            Event::Disconnected if self.was_connected() => self.set(ConnectionState::Lost),
            // The library reports the connection before it has sent the subscriptions.
            Event::Connected if self.is_lost() => self.set(ConnectionState::Subscribed),
            Event::SlowConsumer(_) => {
                if let Some(total) = self.counts.count(Counted::Dropped, self.clock.now()) {
                    tracing::warn!(
                        connection = self.name,
                        total,
                        "messages arrive faster than they are read: the newest are dropped"
                    );
                }
            }
            Event::ServerError(error) => {
                if let Some(subject) = denied_subject(error) {
                    // Nobody may be waiting for it.
                    let _ = self.denied.send(subject.to_owned());
                }
                if let Some(why) = self.denial(error, needed) {
                    self.set(ConnectionState::Denied(why));
                } else if let Some(total) = self.counts.count(Counted::Error, self.clock.now()) {
                    // One that follows each request, such as a reply that is denied, must not fill the log.
                    tracing::warn!(connection = self.name, total, %error, "the bus reports an error");
                }
            }
            // The library gives the reason as text only.
            Event::ClientError(error) if self.is_lost() && error.to_string().contains("authorization violation") => {
                self.set(ConnectionState::Refused);
            }
            Event::ClientError(error) => {
                tracing::debug!(connection = self.name, %error, "the connection reports an error")
            }
            Event::LameDuckMode => {
                tracing::info!(connection = self.name, "the server of the bus is about to stop");
                self.lame_duck.notify_one();
            }
            Event::Connected | Event::Disconnected | Event::Draining | Event::Closed => {}
        }
    }

    /// Why an error of the bus means that the connection is of no use: one of the needed subscriptions is denied. Which one a
    /// limit of subscriptions is about the bus does not say; once all needed ones are there, it is another.
    fn denial(&self, error: &ServerError, needed: &[String]) -> Option<String> {
        let ServerError::Other(text) = error else { return None };
        if text.starts_with(SUBSCRIPTION_DENIED) {
            let denied = denied_subject(error)?;
            let subject = needed.iter().find(|subject| *subject == denied)?;
            return Some(format!("our user may not subscribe to {subject}: see its permissions there"));
        }
        let is_ready = *self.state.borrow() == ConnectionState::Ready;
        let is_limit = text.eq_ignore_ascii_case(TOO_MANY_SUBSCRIPTIONS) && !is_ready;
        is_limit.then(|| "the limit of subscriptions there is reached".to_owned())
    }

    /// It was usable at least once and is not known to be lost.
    fn was_connected(&self) -> bool {
        use ConnectionState::{Denied, Ready, Subscribed};
        matches!(*self.state.borrow(), Ready | Subscribed | Denied(_))
    }

    fn is_lost(&self) -> bool {
        matches!(*self.state.borrow(), ConnectionState::Lost | ConnectionState::Refused)
    }
}

/// The subject that an error of the bus denies.
fn denied_subject(error: &ServerError) -> Option<&str> {
    let ServerError::Other(text) = error else { return None };
    let quoted = text.strip_prefix(SUBSCRIPTION_DENIED).or_else(|| text.strip_prefix(PUBLISH_DENIED))?;
    quoted.strip_prefix('"')?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_back_is_of_no_use_until_the_bus_knows_the_subscriptions() {
        let link = ConnectionStatus::new("decisions", Clock::start());
        link.make_current(link.number());
        link.set(ConnectionState::Ready);
        for _ in 0..2 {
            link.take(1, &Event::Disconnected, &[]);
            assert_eq!(*link.state.borrow(), ConnectionState::Lost);
            link.take(1, &Event::Connected, &[]);
            assert!(link.reason().is_some_and(|reason| reason.contains("not yet subscribed")), "{:?}", link.reason());
        }
        assert_eq!(link.show().connects, 1);
    }

    #[test]
    fn only_what_the_broker_needs_makes_a_connection_useless_until_it_is_made_again() {
        let violation = |of: &str| {
            let text = format!("Permissions Violation for {of}");
            Event::ServerError(ServerError::Other(text))
        };
        let (needed, too_many) = (["a.b".to_owned()], ServerError::Other(TOO_MANY_SUBSCRIPTIONS.to_owned()));
        let link = ConnectionStatus::new("decisions", Clock::start());
        link.make_current(link.number());
        for (text, is_denied) in [
            ("Subscription to \"a.b\"", true),
            ("Subscription to \"a.b\" using queue \"q\"", true),
            ("Subscription to \"a.b.c\"", false),
            ("Subscription to \"a\"", false),
            ("Publish to \"a.b\"", false),
        ] {
            link.set(ConnectionState::Ready);
            link.take(1, &violation(text), &needed);
            link.set(ConnectionState::Ready);
            assert_eq!(link.reason().is_some(), is_denied, "{text}: {:?}", link.reason());
            link.take(1, &Event::Disconnected, &needed);
            link.take(1, &Event::Connected, &needed);
            assert_eq!(*link.state.borrow(), ConnectionState::Subscribed, "{text}");
        }
        link.take(1, &Event::ServerError(too_many.clone()), &needed);
        assert!(matches!(*link.state.borrow(), ConnectionState::Denied(_)));
        link.make_current(link.number());
        link.set(ConnectionState::Ready);
        link.take(2, &Event::ServerError(too_many), &needed);
        assert_eq!(link.reason(), None, "of the connection that works, one more is too many");
    }
}
