//! Server-sent events, four times a second: all changes, and at most [`MAX_COPIED`] decisions and finished calls at a time. A flood
//! of calls is sampled, and the stream reports how many events were skipped.
//!
//! One task reads and formats the events for all listeners; one that cannot keep up is disconnected. Without listeners nothing is
//! read.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::{MissedTickBehavior, interval};

use super::limits::MAX_STREAMS;
use super::{HttpState, api};
use crate::calls::RecentRing;
use crate::shared_broker::{MAX_COPIED, SharedBroker};

/// Interval at which events are read and sent to listeners. Listeners are not woken by the events themselves: that would be a
/// system call of the thread that decides, of 4 us and at times 60, where a decision takes 0.1. Reading takes the lock once,
/// for a short time.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// After this many polls without events a keep-alive comment is sent.
const KEEPALIVE_POLLS: u32 = 40;
/// A listener that is this many polls behind is disconnected.
const MAX_LAG_POLLS: usize = 16;

/// The source of all streams; clones share it.
#[derive(Debug, Clone)]
pub struct Feed {
    updates: broadcast::Sender<Bytes>,
    room: Arc<Semaphore>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { updates: broadcast::Sender::new(MAX_LAG_POLLS), room: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }
}

/// The positions up to which events were read.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    decisions: u64,
    calls: u64,
    changes: u64,
}

impl Feed {
    /// A stream for one more listener, which begins with `hello`; `None` if [`MAX_STREAMS`] are open.
    fn listen(&self, hello: &serde_json::Value) -> Option<impl Stream<Item = Result<Bytes, Infallible>> + use<>> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let updates = self.updates.subscribe();
        let mut first = "retry: 1000\n".to_owned();
        event(&mut first, "hello", hello);
        // The permit is released when the stream is dropped, with the connection or by us.
        let start = (Some(Bytes::from(first)), updates, place);
        Some(stream::unfold(start, |(first, mut updates, place)| async move {
            let bytes = match first {
                Some(hello) => hello,
                // Too slow, or closed: the stream ends, and a browser reconnects by itself.
                None => updates.recv().await.ok()?,
            };
            Some((Ok(bytes), (None, updates, place)))
        }))
    }

    /// Reads and sends events; never returns.
    pub async fn run(&self, broker: &SharedBroker) {
        let mut beat = interval(POLL_INTERVAL);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut cursor, mut silent) = (Cursor::default(), 0);
        loop {
            beat.tick().await;
            if self.updates.receiver_count() == 0 {
                cursor = Cursor::now(broker);
                continue;
            }
            let mut text = cursor.read(broker);
            silent = if text.is_empty() { silent + 1 } else { 0 };
            if silent >= KEEPALIVE_POLLS {
                text.push_str(":\n\n");
                silent = 0;
            }
            if !text.is_empty() {
                // Fails if the last listener has just disconnected.
                let _ = self.updates.send(text.into());
            }
        }
    }
}

impl Cursor {
    /// The position after all events so far.
    fn now(broker: &SharedBroker) -> Self {
        let calls = broker.calls().recent(RecentRing::next);
        broker.recent_decisions(|recent| Self {
            decisions: recent.decisions.next(),
            calls,
            changes: recent.changes.next(),
        })
    }

    /// The new events, formatted.
    fn read(&mut self, broker: &SharedBroker) -> String {
        let mut text = String::new();
        let (first, decisions) = broker.recent_decisions(|recent| recent.decisions.newest(self.decisions, MAX_COPIED));
        let skipped = first - self.decisions;
        self.decisions = first + decisions.len() as u64;
        let (first, calls) = broker.calls().recent(|recent| recent.newest(self.calls, MAX_COPIED));
        let skipped_calls = first - self.calls;
        self.calls = first + calls.len() as u64;
        let (changes, next) = broker.recent_entries(|recent| &recent.changes, self.changes);
        // More came than are kept.
        let skipped_changes = next - self.changes - changes.len() as u64;
        self.changes = next;
        decisions.iter().for_each(|one| event(&mut text, "decision", one));
        calls.iter().for_each(|one| event(&mut text, "call", &one.record()));
        changes.iter().for_each(|one| event(&mut text, "change", one));
        if skipped + skipped_calls + skipped_changes > 0 {
            let skipped = json!({"decisions": skipped, "calls": skipped_calls, "changes": skipped_changes});
            event(&mut text, "skipped", &skipped);
        }
        text
    }
}

fn event(text: &mut String, name: &str, data: &impl Serialize) {
    if let Ok(data) = serde_json::to_string(data) {
        // Writing into a String cannot fail.
        let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    }
}

pub(super) async fn events(State(sources): State<HttpState>) -> Response {
    let hello = json!({"replica": sources.broker.replica(), "version": env!("CARGO_PKG_VERSION")});
    match sources.feed.listen(&hello) {
        Some(stream) => api::answer(StatusCode::OK, "text/event-stream", Body::from_stream(stream)),
        None => api::refusal(StatusCode::SERVICE_UNAVAILABLE, "too many event streams: 16 are open"),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::admin::AdminCommand;
    use crate::clock::Clock;
    use crate::fixtures;
    use crate::recent_decisions::CAPACITY;
    use balancer::broker::{Command, OperatorCommand};
    use gecholog_protocol::ReplicaIdentity;
    use types::mode::OperatingMode;

    #[test]
    fn a_listener_that_lags_is_dropped_and_the_others_go_on() {
        let feed = Feed::default();
        let mut slow = pin!(feed.listen(&json!({})).unwrap());
        let mut quick = pin!(feed.listen(&json!({})).unwrap());
        assert!(quick.next().now_or_never().flatten().is_some(), "hello");
        for beat in 0..=MAX_LAG_POLLS {
            feed.updates.send(Bytes::from(beat.to_string())).unwrap();
            assert_eq!(quick.next().now_or_never().unwrap(), Some(Ok(Bytes::from(beat.to_string()))));
        }
        assert!(slow.next().now_or_never().flatten().is_some(), "hello is its own");
        assert_eq!(slow.next().now_or_never(), Some(None), "dropped");
    }

    #[test]
    fn every_change_of_an_interval_is_sent_and_those_that_are_gone_are_counted() {
        let identity = ReplicaIdentity::new("abcdefgh", String::new(), OperatingMode::Balance);
        let broker = SharedBroker::new(fixtures::broker("/in/", &["/a/", "/b/"]), identity, Clock::start(), |_| ());
        let mut cursor = Cursor::now(&broker);
        for (changes, kept) in [(1, 1), (3 * MAX_COPIED, 3 * MAX_COPIED), (CAPACITY + 7, CAPACITY)] {
            for number in 0..changes {
                let command = if number % 2 == 0 { Command::Drain } else { Command::Resume }(fixtures::path("/a/"));
                let (by, reason) = ("test".to_owned(), number.to_string());
                broker.execute(&AdminCommand::Broker(OperatorCommand { command, until: None, by, reason }));
            }
            let text = cursor.read(&broker);
            let skipped = format!("\"changes\":{}", changes - kept);
            assert_eq!(text.matches("event: change\n").count(), kept, "{changes}");
            assert_eq!(text.contains("event: skipped\n") && text.contains(&skipped), changes > kept, "{changes}");
            assert_eq!(cursor.read(&broker), "", "all of them once");
        }
    }

    #[test]
    fn a_place_is_free_again_when_its_stream_is_gone() {
        let feed = Feed::default();
        let mut streams: Vec<_> = (0..MAX_STREAMS).map(|_| feed.listen(&json!({})).unwrap()).collect();
        assert!(feed.listen(&json!({})).is_none());
        streams.pop();
        assert!(feed.listen(&json!({})).is_some());
    }
}
