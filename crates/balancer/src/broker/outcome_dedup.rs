//! Pairs the message about a finished request with its log, so that one request counts once.
//!
//! A message is early and knows little, a log is late and knows everything. Either may be lost, the log may overtake
//! the message on another connection, and a client can make many requests share one transaction id. So this is no set
//! of ids: each log cancels at most one message of the same transaction, router and status, in either order. An entry
//! without a partner stays for [`WAIT`]. Every step takes constant time, and there are never more than [`CAPACITY`]
//! entries: beyond that the oldest leaves early.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::Hasher;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use super::learn::Verdict;
use types::outcome::Outcome;
use types::router::RouterId;
use types::time::{BrokerTime, GatewayTime};

/// How long a message waits for its log, and a log for its message.
pub(crate) const WAIT: Duration = Duration::from_secs(10);

/// Entries at most, about 4 MB: ten seconds at 1,600 a second. Beyond that the wait is shorter, and still a thousand
/// times what a log takes.
pub const CAPACITY: usize = 16_384;

/// What a message and its log have in common. The transaction id is kept as a 64-bit hash, 0 for "none", so the
/// tables need no strong hash of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    transaction: u64,
    router: RouterId,
    status: u16,
}

impl Key {
    pub(super) fn new(transaction: Option<&str>, router: RouterId, status: u16) -> Self {
        let digest = |id: &str| {
            let mut hasher = FxHasher::default();
            hasher.write(id.as_bytes());
            hasher.finish()
        };
        Self { transaction: transaction.map_or(0, digest), router, status }
    }

    const fn without_transaction(self) -> Self {
        Self { transaction: 0, ..self }
    }

    const fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// A message whose log has not arrived.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PendingOutcome {
    pub(super) outcome: Outcome,
    /// When it arrived.
    pub(super) at: BrokerTime,
    /// It has counted already.
    pub(super) counted: bool,
    /// What it did.
    pub(super) verdict: Option<Verdict>,
}

/// The entries of one key, each with its deadline. Only messages or only logs, because they cancel each other.
#[derive(Debug, Clone, PartialEq)]
enum Unpaired {
    Messages(Queue<(BrokerTime, Box<PendingOutcome>)>),
    Logs(Queue<BrokerTime>),
}

/// Never empty, and nearly always of one entry, so that the table stays small enough for the processor's cache.
#[derive(Debug, Clone, PartialEq)]
struct Queue<T> {
    first: T,
    #[expect(clippy::box_collection, reason = "it is hardly ever there, and then its size does not matter")]
    others: Option<Box<VecDeque<T>>>,
}

impl<T> Queue<T> {
    const fn new(first: T) -> Self {
        Self { first, others: None }
    }

    fn push(&mut self, last: T) {
        self.others.get_or_insert_default().push_back(last);
    }

    /// Takes the first, if there is one behind it.
    fn advance(&mut self) -> Option<T> {
        let next = self.others.as_mut()?.pop_front()?;
        Some(std::mem::replace(&mut self.first, next))
    }
}

/// A deadline of one key; its entry may have met its partner long ago. The start time of a log's call is forgotten
/// with it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct KeyDeadline {
    key: Key,
    log: Option<GatewayTime>,
}

/// What a log finds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Match {
    /// The same log, seen before.
    Twice,
    /// The message of the same request; the log replaces it.
    Message(PendingOutcome),
    /// Nothing: the log counts by itself.
    Nothing,
}

/// All entries without a partner.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct OutcomeDedup {
    open: FxHashMap<Key, Unpaired>,
    logs: FxHashSet<(Key, GatewayTime)>,
    queue: VecDeque<(BrokerTime, KeyDeadline)>,
    /// Messages that wait: where there are none, as without an outcome processor, no log has to look for its own.
    messages: usize,
}

impl OutcomeDedup {
    /// Adds a log. `egress` is the status that a message without the upstream's status would have come under.
    pub(super) fn log(
        &mut self,
        key: Key,
        egress: Option<u16>,
        started: Option<GatewayTime>,
        now: BrokerTime,
    ) -> Match {
        if started.is_some_and(|started| !self.logs.insert((key, started))) {
            return Match::Twice;
        }
        let due = self.enqueue(KeyDeadline { key, log: started }, now);
        let other = egress.filter(|status| *status != key.status).map(|status| key.with_status(status));
        let known = if self.messages > 0 { [Some(key), other] } else { [None; 2] };
        for known in known.into_iter().flatten() {
            for candidate in [known, known.without_transaction()] {
                if let Some(waiting) = self.take_message(candidate) {
                    return Match::Message(waiting);
                }
            }
        }
        match self.open.entry(key) {
            Entry::Vacant(vacant) => drop(vacant.insert(Unpaired::Logs(Queue::new(due)))),
            Entry::Occupied(mut occupied) => {
                if let Unpaired::Logs(logs) = occupied.get_mut() {
                    logs.push(due);
                }
            }
        }
        Match::Nothing
    }

    /// Removes the log that came before this message; true if there was one, so the message has nothing to add.
    pub(super) fn take_earlier_log(&mut self, key: Key) -> bool {
        self.take_log(key)
    }

    /// Keeps a message until its log arrives. Only after [`OutcomeDedup::take_earlier_log`] returned false.
    pub(super) fn keep(&mut self, key: Key, waiting: PendingOutcome, now: BrokerTime) {
        let due = self.enqueue(KeyDeadline { key, log: None }, now);
        let waiting = (due, Box::new(waiting));
        match self.open.entry(key) {
            Entry::Vacant(vacant) => drop(vacant.insert(Unpaired::Messages(Queue::new(waiting)))),
            Entry::Occupied(mut occupied) => match occupied.get_mut() {
                Unpaired::Messages(messages) => messages.push(waiting),
                Unpaired::Logs(_) => return,
            },
        }
        self.messages += 1;
    }

    /// The next deadline.
    pub(super) fn next_deadline(&self) -> Option<BrokerTime> {
        self.queue.front().map(|(due, _)| *due)
    }

    /// One message whose log did not arrive in time; logs without a message are dropped.
    pub(super) fn expire(&mut self, now: BrokerTime) -> Option<PendingOutcome> {
        while self.queue.len() > CAPACITY || self.next_deadline().is_some_and(|due| due <= now) {
            let (due, KeyDeadline { key, log }) = self.queue.pop_front()?;
            if let Some(started) = log {
                self.logs.remove(&(key, started));
            }
            if let Some(waiting) = self.leave(key, due) {
                return Some(waiting);
            }
        }
        None
    }

    /// Entries without a partner, and entries that had one within the last [`WAIT`].
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Deadlines are rounded down to a quarter of a second, so that the clock advances for many of them at once.
    fn enqueue(&mut self, entry: KeyDeadline, now: BrokerTime) -> BrokerTime {
        let due = now.after(WAIT).rounded_down(Duration::from_millis(250));
        self.queue.push_back((due, entry));
        due
    }

    /// Removes the oldest entry of this key if it was due by `latest`; returns it if it is a message.
    fn leave(&mut self, key: Key, latest: BrokerTime) -> Option<PendingOutcome> {
        let Entry::Occupied(mut entry) = self.open.entry(key) else { return None };
        match entry.get_mut() {
            Unpaired::Logs(logs) => {
                if logs.first <= latest && logs.advance().is_none() {
                    entry.remove();
                }
                None
            }
            Unpaired::Messages(messages) if messages.first.0 <= latest => {
                self.messages = self.messages.saturating_sub(1);
                let waiting = messages.advance().map(|(_, waiting)| *waiting);
                waiting.or_else(|| match entry.remove() {
                    Unpaired::Messages(Queue { first: (_, waiting), .. }) => Some(*waiting),
                    Unpaired::Logs(_) => None,
                })
            }
            Unpaired::Messages(_) => None,
        }
    }

    /// Removes a log of this key; true if there was one.
    fn take_log(&mut self, key: Key) -> bool {
        let waits = matches!(self.open.get(&key), Some(Unpaired::Logs(_)));
        if waits {
            self.leave(key, BrokerTime::MAX);
        }
        waits
    }

    /// The oldest message of this key.
    fn take_message(&mut self, key: Key) -> Option<PendingOutcome> {
        match self.open.get(&key) {
            Some(Unpaired::Messages(_)) => self.leave(key, BrokerTime::MAX),
            _ => None,
        }
    }
}
