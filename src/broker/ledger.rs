//! Pairs the message about a finished request with its log, so that one request counts once.
//!
//! A message is early and knows little, a log is late and knows everything. Both may be lost, the log may overtake the
//! message on another connection, and a client can make many requests share one transaction id; so nothing here is a set of
//! ids: each log cancels at most one message of the same transaction, router and status, in whatever order they come. What
//! finds no partner stays for [`WAIT`]. Every step costs the same however full the ledger is, and it never holds more than
//! [`CAPACITY`] entries: the oldest then leaves early, as if its time were over.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use super::learn::Verdict;
use crate::outcome::Outcome;
use crate::router::RouterId;
use crate::time::{GatewayTime, Now};

/// How long a message waits for its log, and a log for its message.
pub const WAIT: Duration = Duration::from_secs(10);

/// How many entries may wait at once, some 4 MB of them: ten seconds at 800 requests a second. Beyond that the wait is
/// shorter, and still a thousand times what a log takes to come.
pub const CAPACITY: usize = 16_384;

type Hasher = BuildHasherDefault<DefaultHasher>;

/// What a message and its log have in common. The transaction id is kept as a hash: 64 bits, zero for "has none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    transaction: u64,
    router: RouterId,
    status: u16,
}

impl Key {
    pub(super) fn new(transaction: Option<&str>, router: RouterId, status: u16) -> Self {
        let transaction = transaction.map_or(0, |id| Hasher::default().hash_one(id));
        Self { transaction, router, status }
    }

    const fn without_transaction(self) -> Self {
        Self { transaction: 0, ..self }
    }

    const fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// A message that has not met its log.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiting {
    pub(super) outcome: Outcome,
    /// When it came.
    pub(super) at: Now,
    /// It has counted already.
    pub(super) counted: bool,
    /// What it did then.
    pub(super) verdict: Option<Verdict>,
}

/// Those of one key that wait: only ever of one kind, because a message and a log cancel each other.
#[derive(Debug, Clone, PartialEq)]
enum Open {
    Messages(VecDeque<(Now, Waiting)>),
    Logs(VecDeque<Now>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Due {
    /// Whoever of this key waits since then leaves; it may have met its partner long ago.
    Open(Key),
    /// This very log is no longer remembered.
    Log(Key, GatewayTime),
}

/// What a log finds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Met {
    /// The same log was here before.
    Twice,
    /// A message of the same request; the log replaces it.
    Message(Waiting),
    /// Nothing: the log counts by itself.
    Nothing,
}

/// All that waits for its partner.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Ledger {
    open: HashMap<Key, Open, Hasher>,
    logs: HashSet<(Key, GatewayTime), Hasher>,
    queue: VecDeque<(Now, Due)>,
}

impl Ledger {
    /// Takes a log. `egress` is the status under which a message that knew no better would have come.
    pub(super) fn log(&mut self, key: Key, egress: Option<u16>, started: Option<GatewayTime>, now: Now) -> Met {
        if let Some(started) = started {
            if !self.logs.insert((key, started)) {
                return Met::Twice;
            }
            self.enqueue(Due::Log(key, started), now);
        }
        let other = egress.filter(|status| *status != key.status).map(|status| key.with_status(status));
        for known in [Some(key), other].into_iter().flatten() {
            for candidate in [known, known.without_transaction()] {
                if let Some(waiting) = self.take_message(candidate, Now::MAX) {
                    return Met::Message(waiting);
                }
            }
        }
        let due = self.enqueue(Due::Open(key), now);
        if let Open::Logs(logs) = self.open.entry(key).or_insert_with(|| Open::Logs(VecDeque::new())) {
            logs.push_back(due);
        }
        Met::Nothing
    }

    /// Whether the log of this message was here before it; then the message has nothing to add.
    pub(super) fn overtaken(&mut self, key: Key) -> bool {
        self.take_log(key, Now::MAX)
    }

    /// Keeps a message until its log comes. Only after [`Ledger::overtaken`] said no.
    pub(super) fn keep(&mut self, key: Key, waiting: Waiting, now: Now) {
        let due = self.enqueue(Due::Open(key), now);
        if let Open::Messages(messages) = self.open.entry(key).or_insert_with(|| Open::Messages(VecDeque::new())) {
            messages.push_back((due, waiting));
        }
    }

    /// When the next one has waited long enough.
    pub(super) fn next_deadline(&self) -> Option<Now> {
        self.queue.front().map(|(due, _)| *due)
    }

    /// A message whose log did not come in time, one at a time; logs without a message leave silently.
    pub(super) fn expire(&mut self, now: Now) -> Option<Waiting> {
        while self.queue.len() > CAPACITY || self.next_deadline().is_some_and(|due| due <= now) {
            match self.queue.pop_front()? {
                (_, Due::Log(key, started)) => {
                    self.logs.remove(&(key, started));
                }
                (due, Due::Open(key)) => {
                    self.take_log(key, due);
                    if let Some(waiting) = self.take_message(key, due) {
                        return Some(waiting);
                    }
                }
            }
        }
        None
    }

    /// How many entries wait, or waited within the last [`WAIT`].
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Dues are whole quarters of a second, rounded down, so that time is brought forward for many of them at once.
    fn enqueue(&mut self, entry: Due, now: Now) -> Now {
        let due = now.after(WAIT).rounded_down(Duration::from_millis(250));
        self.queue.push_back((due, entry));
        due
    }

    /// The oldest message of this key, if it was due by `latest`.
    fn take_message(&mut self, key: Key, latest: Now) -> Option<Waiting> {
        let Some(Open::Messages(messages)) = self.open.get_mut(&key) else { return None };
        let due = messages.front().is_some_and(|(due, _)| *due <= latest);
        let waiting = if due { messages.pop_front() } else { None };
        if messages.is_empty() {
            self.open.remove(&key);
        }
        waiting.map(|(_, waiting)| waiting)
    }

    /// Whether there was a log of this key that was due by `latest`; it leaves.
    fn take_log(&mut self, key: Key, latest: Now) -> bool {
        let Some(Open::Logs(logs)) = self.open.get_mut(&key) else { return false };
        let taken = logs.front().is_some_and(|due| *due <= latest);
        if taken {
            logs.pop_front();
        }
        if logs.is_empty() {
            self.open.remove(&key);
        }
        taken
    }
}
