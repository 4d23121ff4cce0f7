//! The state of one connection: logged in one line when it changes, read by the readiness probe.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{Client, Event};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::{retry_delay, sync_with_server};

use crate::clock::Clock;
use crate::status::Connection;
use crate::telemetry::Counter;

/// The state of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Never connected, or connected and not yet subscribed.
    Starting,
    /// Never connected; where we try, and why in vain.
    Away(String),
    /// The connection is lost; the library tries to get it back, with its subscriptions.
    Lost,
    /// The same, and the bus is there but does not take our credentials any more.
    Refused,
    /// The connection is back; whether the bus knows the subscriptions again is not known yet.
    Reconnected,
    Connected,
    /// Connected and subscribed.
    Ready,
}

/// One connection, by name.
#[derive(Debug, Clone)]
pub struct ConnectionStatus {
    name: &'static str,
    state: Arc<watch::Sender<LinkState>>,
    dropped: Arc<Counter<&'static str>>,
    connects: Arc<AtomicU64>,
    /// The library's connection whose events count: while the process moves to another server there are two.
    current: Arc<AtomicU64>,
    newest: Arc<AtomicU64>,
    lame_duck: Arc<Notify>,
    clock: Clock,
}

impl ConnectionStatus {
    /// A connection that does not exist yet.
    pub fn new(name: &'static str, clock: Clock) -> Self {
        Self {
            name,
            state: Arc::new(watch::Sender::new(LinkState::Starting)),
            dropped: Arc::new(Counter::with_kinds(["dropped"])),
            connects: Arc::default(),
            current: Arc::default(),
            newest: Arc::default(),
            lame_duck: Arc::default(),
            clock,
        }
    }

    /// Its name in log lines.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Why this connection is of no use now; `None` if it is.
    pub fn reason(&self) -> Option<String> {
        match &*self.state.borrow() {
            LinkState::Ready => None,
            LinkState::Starting => Some(format!("{}: not connected to the bus yet", self.name)),
            LinkState::Away(why) => Some(format!("{}: no connection to the bus at {why}", self.name)),
            LinkState::Lost => Some(format!("{}: the connection to the bus is lost", self.name)),
            LinkState::Refused => Some(format!("{}: the bus refuses our credentials", self.name)),
            LinkState::Connected | LinkState::Reconnected => {
                Some(format!("{}: connected to the bus, not yet subscribed", self.name))
            }
        }
    }

    /// The connection as it is shown.
    pub fn show(&self) -> Connection {
        Connection {
            name: self.name,
            trouble: self.reason(),
            connects: self.connects.load(Ordering::Relaxed),
            dropped: self.dropped.total("dropped"),
        }
    }

    /// Changes the state and says so; the same state again is not news.
    pub fn set(&self, state: LinkState) {
        let changed = self.state.send_if_modified(|current| {
            // A server that refuses, then times out, then refuses is one and the same absence.
            let same = *current == state || matches!((&*current, &state), (LinkState::Away(_), LinkState::Away(_)));
            if !same {
                *current = state.clone();
            }
            !same
        });
        if !changed {
            return;
        }
        match state {
            LinkState::Away(why) => {
                tracing::warn!(connection = self.name, "no connection to the bus at {why}; retrying")
            }
            LinkState::Lost => tracing::warn!(connection = self.name, "the connection to the bus is lost; retrying"),
            LinkState::Refused => tracing::error!(
                connection = self.name,
                "the bus refuses our credentials, which it took before; retrying"
            ),
            LinkState::Ready => {
                self.connects.fetch_add(1, Ordering::Relaxed);
                tracing::info!(connection = self.name, "connected to the bus and subscribed");
            }
            LinkState::Connected | LinkState::Reconnected | LinkState::Starting => {}
        }
    }

    /// A number for a connection that is about to be made. Its events count once it is the current one.
    pub(super) fn number(&self) -> u64 {
        self.newest.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// From now on the events of this connection count, and of no other.
    pub(super) fn make_current(&self, number: u64) {
        self.current.store(number, Ordering::Relaxed);
    }

    /// Waits until the server of the connection announces its end (lame-duck mode).
    pub(super) async fn lame_duck(&self) {
        self.lame_duck.notified().await;
    }

    /// Each time that the library has the connection back: asks the bus whether it knows the subscriptions again, and says so.
    /// The library sends them by itself, before anything of ours.
    pub(super) async fn confirm_reconnects(&self, client: &Client) -> Infallible {
        let mut states = self.state.subscribe();
        loop {
            // An error would mean that the sender is gone, which is in `self`.
            let _ = states.wait_for(|state| *state == LinkState::Reconnected).await;
            tokio::select! {
                biased;
                _ = states.changed() => {}
                confirmed = sync_with_server(client) => match confirmed {
                    true => self.set(LinkState::Ready),
                    false => sleep(retry_delay()).await,
                },
            }
        }
    }

    /// Handles an event of the NATS library about the connection with this number.
    pub(super) fn take(&self, number: u64, event: &Event) {
        if number != self.current.load(Ordering::Relaxed) {
            return;
        }
        match event {
            Event::Disconnected if self.was_connected() => self.set(LinkState::Lost),
            // The library reports the connection before it sends the subscriptions.
            Event::Connected if self.is_lost() => self.set(LinkState::Reconnected),
            Event::SlowConsumer(_) => {
                if let Some(total) = self.dropped.count("dropped", self.clock.now()) {
                    tracing::warn!(
                        connection = self.name,
                        total,
                        "messages come faster than we read: the newest are dropped"
                    );
                }
            }
            Event::ServerError(error) => tracing::warn!(connection = self.name, %error, "the bus reports an error"),
            // The library gives the reason as text only.
            Event::ClientError(error) if self.is_lost() && error.to_string().contains("authorization violation") => {
                self.set(LinkState::Refused);
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

    /// It has served at least once and is not known to be lost.
    fn was_connected(&self) -> bool {
        matches!(*self.state.borrow(), LinkState::Ready | LinkState::Reconnected)
    }

    fn is_lost(&self) -> bool {
        matches!(*self.state.borrow(), LinkState::Lost | LinkState::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_back_is_of_no_use_until_the_bus_knows_the_subscriptions() {
        let link = ConnectionStatus::new("decisions", Clock::start());
        link.make_current(link.number());
        link.set(LinkState::Ready);
        for _ in 0..2 {
            link.take(1, &Event::Disconnected);
            assert_eq!(*link.state.borrow(), LinkState::Lost);
            link.take(1, &Event::Connected);
            assert!(link.reason().is_some_and(|reason| reason.contains("not yet subscribed")), "{:?}", link.reason());
        }
        assert_eq!(link.show().connects, 1);
    }
}
