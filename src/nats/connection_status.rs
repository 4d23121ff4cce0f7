//! The state of one connection to the bus: logged when it changes, and read by the readiness probe.

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
    /// Reconnected; whether the bus has processed the subscriptions is not known yet.
    Reconnected,
    Connected,
    /// Connected and subscribed.
    Ready,
}

/// The status of one connection; clones share it.
#[derive(Debug, Clone)]
pub struct ConnectionStatus {
    name: &'static str,
    state: Arc<watch::Sender<ConnectionState>>,
    dropped: Arc<Counter<&'static str>>,
    connects: Arc<AtomicU64>,
    /// The number of the library's connection whose events count: while the process moves to another server there are two.
    current: Arc<AtomicU64>,
    newest: Arc<AtomicU64>,
    lame_duck: Arc<Notify>,
    clock: Clock,
}

impl ConnectionStatus {
    /// The status of a connection that was not made yet.
    pub fn new(name: &'static str, clock: Clock) -> Self {
        Self {
            name,
            state: Arc::new(watch::Sender::new(ConnectionState::Starting)),
            dropped: Arc::new(Counter::with_kinds(["dropped"])),
            connects: Arc::default(),
            current: Arc::default(),
            newest: Arc::default(),
            lame_duck: Arc::default(),
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
            ConnectionState::Starting => Some(format!("{}: not connected to the bus yet", self.name)),
            ConnectionState::Away(why) => Some(format!("{}: no connection to the bus at {why}", self.name)),
            ConnectionState::Lost => Some(format!("{}: the connection to the bus is lost", self.name)),
            ConnectionState::Refused => Some(format!("{}: the bus refuses our credentials", self.name)),
            ConnectionState::Connected | ConnectionState::Reconnected => {
                Some(format!("{}: connected to the bus, not yet subscribed", self.name))
            }
        }
    }

    /// For the status document.
    pub fn show(&self) -> Connection {
        Connection {
            name: self.name,
            trouble: self.reason(),
            connects: self.connects.load(Ordering::Relaxed),
            dropped: self.dropped.total("dropped"),
        }
    }

    /// Changes the state, and logs it if it is another one.
    pub fn set(&self, state: ConnectionState) {
        let changed = self.state.send_if_modified(|current| {
            // Different errors of one outage are logged once.
            let same = *current == state
                || matches!((&*current, &state), (ConnectionState::Away(_), ConnectionState::Away(_)));
            if !same {
                *current = state.clone();
            }
            !same
        });
        if !changed {
            return;
        }
        match state {
            ConnectionState::Away(why) => {
                tracing::warn!(connection = self.name, "no connection to the bus at {why}; retrying")
            }
            ConnectionState::Lost => {
                tracing::warn!(connection = self.name, "the connection to the bus is lost; retrying")
            }
            ConnectionState::Refused => tracing::error!(
                connection = self.name,
                "the bus refuses our credentials, which it accepted before; retrying"
            ),
            ConnectionState::Ready => {
                self.connects.fetch_add(1, Ordering::Relaxed);
                tracing::info!(connection = self.name, "connected to the bus and subscribed");
            }
            ConnectionState::Connected | ConnectionState::Reconnected | ConnectionState::Starting => {}
        }
    }

    /// A number for a connection that is about to be made. Its events are ignored until it is the current one.
    pub(super) fn number(&self) -> u64 {
        self.newest.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Makes this connection the current one: events of others are ignored from now on.
    pub(super) fn make_current(&self, number: u64) {
        self.current.store(number, Ordering::Relaxed);
    }

    /// Waits until the server of the connection announces its shutdown (lame-duck mode).
    pub(super) async fn lame_duck(&self) {
        self.lame_duck.notified().await;
    }

    /// After each reconnect: waits until the bus has processed the subscriptions, and reports the connection as usable. The
    /// library sends the subscriptions by itself, before anything else.
    pub(super) async fn confirm_reconnects(&self, client: &Client) -> Infallible {
        let mut states = self.state.subscribe();
        loop {
            // An error would mean that the sender is gone, which is in `self`.
            let _ = states.wait_for(|state| *state == ConnectionState::Reconnected).await;
            tokio::select! {
                biased;
                _ = states.changed() => {}
                confirmed = sync_with_server(client) => match confirmed {
                    true => self.set(ConnectionState::Ready),
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
            Event::Disconnected if self.was_connected() => self.set(ConnectionState::Lost),
            // The library reports the connection before it has sent the subscriptions.
            Event::Connected if self.is_lost() => self.set(ConnectionState::Reconnected),
            Event::SlowConsumer(_) => {
                if let Some(total) = self.dropped.count("dropped", self.clock.now()) {
                    tracing::warn!(
                        connection = self.name,
                        total,
                        "messages arrive faster than they are read: the newest are dropped"
                    );
                }
            }
            Event::ServerError(error) => tracing::warn!(connection = self.name, %error, "the bus reports an error"),
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

    /// It was usable at least once and is not known to be lost.
    fn was_connected(&self) -> bool {
        matches!(*self.state.borrow(), ConnectionState::Ready | ConnectionState::Reconnected)
    }

    fn is_lost(&self) -> bool {
        matches!(*self.state.borrow(), ConnectionState::Lost | ConnectionState::Refused)
    }
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
            link.take(1, &Event::Disconnected);
            assert_eq!(*link.state.borrow(), ConnectionState::Lost);
            link.take(1, &Event::Connected);
            assert!(link.reason().is_some_and(|reason| reason.contains("not yet subscribed")), "{:?}", link.reason());
        }
        assert_eq!(link.show().connects, 1);
    }
}
