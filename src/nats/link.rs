//! The state of one connection: told in one line when it changes, asked by whoever wants to know whether we are ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::Event;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::stats::Connection;
use crate::telemetry::Tally;

/// How a connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Never connected, or connected and not yet subscribed.
    Starting,
    /// Never connected; where we try, and why in vain.
    Away(String),
    /// The connection is lost; the library tries to get it back, with its subscriptions.
    Lost,
    /// The same, and the bus is there but does not take our credentials any more.
    Refused,
    /// Connected.
    Connected,
    /// Connected and subscribed.
    Ready,
}

/// One connection, by name.
#[derive(Debug, Clone)]
pub struct Link {
    name: &'static str,
    state: Arc<watch::Sender<State>>,
    dropped: Arc<Tally<&'static str>>,
    connects: Arc<AtomicU64>,
    clock: Clock,
}

impl Link {
    /// A connection that does not exist yet.
    pub fn new(name: &'static str, clock: Clock) -> Self {
        Self {
            name,
            state: Arc::new(watch::Sender::new(State::Starting)),
            dropped: Arc::default(),
            connects: Arc::default(),
            clock,
        }
    }

    /// Why this connection is of no use now; `None` if it is.
    pub fn reason(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Ready => None,
            State::Starting => Some(format!("{}: not connected to the bus yet", self.name)),
            State::Away(why) => Some(format!("{}: no connection to the bus at {why}", self.name)),
            State::Lost => Some(format!("{}: the connection to the bus is lost", self.name)),
            State::Refused => Some(format!("{}: the bus refuses our credentials", self.name)),
            State::Connected => Some(format!("{}: connected to the bus, not yet subscribed", self.name)),
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
    pub fn set(&self, state: State) {
        let changed = self.state.send_if_modified(|current| {
            // A server that refuses, then times out, then refuses is one and the same absence.
            let same = *current == state || matches!((&*current, &state), (State::Away(_), State::Away(_)));
            if !same {
                *current = state.clone();
            }
            !same
        });
        if !changed {
            return;
        }
        match state {
            State::Away(why) => tracing::warn!(connection = self.name, "no connection to the bus at {why}; trying on"),
            State::Lost => tracing::warn!(connection = self.name, "the connection to the bus is lost; trying on"),
            State::Refused => tracing::error!(
                connection = self.name,
                "the bus refuses our credentials, which it took before; trying on"
            ),
            State::Ready => {
                self.connects.fetch_add(1, Ordering::Relaxed);
                tracing::info!(connection = self.name, "connected to the bus and subscribed");
            }
            State::Connected | State::Starting => {}
        }
    }

    /// Takes what the library tells of the connection.
    pub(super) fn take(&self, event: &Event) {
        match event {
            Event::Disconnected if *self.state.borrow() == State::Ready => self.set(State::Lost),
            // The library renews the subscriptions before it tells of the connection.
            Event::Connected if self.is_lost() => self.set(State::Ready),
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
                self.set(State::Refused);
            }
            Event::ClientError(error) => {
                tracing::debug!(connection = self.name, %error, "the connection reports an error")
            }
            Event::LameDuckMode => tracing::info!(connection = self.name, "the bus is about to stop"),
            Event::Connected | Event::Disconnected | Event::Draining | Event::Closed => {}
        }
    }

    fn is_lost(&self) -> bool {
        matches!(*self.state.borrow(), State::Lost | State::Refused)
    }
}
