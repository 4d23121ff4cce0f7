//! Pairs the message about a finished request with its log, so that one request counts once.
//!
//! A message is early and knows little, a log is late and knows everything. Either may be lost, the log may overtake
//! the message on another connection, and a client can make many requests share one transaction id. So this is no set
//! of ids: each log cancels at most one message of the same transaction, router and status, in either order. An entry
//! without a partner stays for [`PAIRING_TIMEOUT`]. Every step takes constant time, and there are never more than [`MAX_UNPAIRED`]
//! entries: beyond that the oldest leaves early.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use super::learn::HealthChange;
use types::outcome::Outcome;
use types::router::RouterId;
use types::time::{BrokerTime, GatewayTime};

/// How long a message waits for its log, and a log for its message.
pub(crate) const PAIRING_TIMEOUT: Duration = Duration::from_secs(10);

/// Entries at most, about 4 MB: ten seconds at 1,600 a second. Beyond that the wait is shorter, and still a thousand
/// times what a log takes.
pub const MAX_UNPAIRED: usize = 16_384;

/// What a message and its log have in common. The transaction id is kept as a 64-bit hash, 0 for "none", so the
/// tables need no strong hash of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    transaction: u64,
    router: RouterId,
    status: u16,
}

impl Hash for Key {
    /// In one step, because the transaction is a hash already.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.transaction ^ (u64::from(self.router.0) << 16 | u64::from(self.status)));
    }
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
    pub(super) health_change: Option<HealthChange>,
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

/// What is known of the calls of one key.
#[derive(Debug, Clone, PartialEq, Default)]
struct KeyRecord {
    unpaired: Option<Unpaired>,
    /// When a call began whose log was seen, with or without its message; nearly always there is one.
    logged: Option<GatewayTime>,
    others_logged: Option<Box<FxHashSet<GatewayTime>>>,
}

impl KeyRecord {
    /// Remembers a log; false if it was seen before.
    fn add_log(&mut self, started: GatewayTime) -> bool {
        if self.logged == Some(started) {
            return false;
        }
        if self.logged.is_some() {
            return self.others_logged.get_or_insert_default().insert(started);
        }
        if self.others_logged.as_ref().is_some_and(|others| others.contains(&started)) {
            return false;
        }
        self.logged = Some(started);
        true
    }

    fn forget_log(&mut self, started: GatewayTime) {
        if self.logged == Some(started) {
            self.logged = None;
        } else if let Some(others) = &mut self.others_logged {
            others.remove(&started);
            if others.is_empty() {
                self.others_logged = None;
            }
        }
    }

    /// A log waits for its message.
    fn push_log(&mut self, due: BrokerTime) {
        match &mut self.unpaired {
            None => self.unpaired = Some(Unpaired::Logs(Queue::new(due))),
            Some(Unpaired::Logs(logs)) => logs.push(due),
            Some(Unpaired::Messages(_)) => {}
        }
    }

    /// Removes the oldest entry if it was due by `latest`; returns it if it is a message.
    fn leave(&mut self, latest: BrokerTime) -> Option<PendingOutcome> {
        match &mut self.unpaired {
            Some(Unpaired::Logs(logs)) if logs.first <= latest => {
                if logs.advance().is_none() {
                    self.unpaired = None;
                }
                None
            }
            Some(Unpaired::Messages(messages)) if messages.first.0 <= latest => {
                let waiting = messages.advance().map(|(_, waiting)| *waiting);
                waiting.or_else(|| match self.unpaired.take() {
                    Some(Unpaired::Messages(Queue { first: (_, waiting), .. })) => Some(*waiting),
                    _ => None,
                })
            }
            _ => None,
        }
    }

    const fn is_empty(&self) -> bool {
        self.unpaired.is_none() && self.logged.is_none() && self.others_logged.is_none()
    }
}

/// All entries without a partner, and the logs that were seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct OutcomeDedup {
    /// Each key stands in the queue as well.
    by_call: FxHashMap<Key, KeyRecord>,
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
        let known = self.by_call.entry(key).or_default();
        if started.is_some_and(|started| !known.add_log(started)) {
            return Match::Twice;
        }
        let due = enqueue(&mut self.queue, KeyDeadline { key, log: started }, now);
        if self.messages == 0 {
            known.push_log(due);
            return Match::Nothing;
        }
        let other = egress.filter(|status| *status != key.status).map(|status| key.with_status(status));
        for known in [Some(key), other].into_iter().flatten() {
            for candidate in [known, known.without_transaction()] {
                if let Some(waiting) = self.take_message(candidate) {
                    return Match::Message(waiting);
                }
            }
        }
        self.by_call.entry(key).or_default().push_log(due);
        Match::Nothing
    }

    /// Removes the log that came before this message; true if there was one, so the message has nothing to add.
    pub(super) fn take_earlier_log(&mut self, key: Key) -> bool {
        let waits = |known: &KeyRecord| matches!(known.unpaired, Some(Unpaired::Logs(_)));
        let waits = self.by_call.get(&key).is_some_and(waits);
        if waits {
            self.leave(key, None, BrokerTime::MAX);
        }
        waits
    }

    /// Keeps a message until its log arrives. Only after [`OutcomeDedup::take_earlier_log`] returned false.
    pub(super) fn keep(&mut self, key: Key, waiting: PendingOutcome, now: BrokerTime) {
        let due = enqueue(&mut self.queue, KeyDeadline { key, log: None }, now);
        let waiting = (due, Box::new(waiting));
        let known = self.by_call.entry(key).or_default();
        match &mut known.unpaired {
            None => known.unpaired = Some(Unpaired::Messages(Queue::new(waiting))),
            Some(Unpaired::Messages(messages)) => messages.push(waiting),
            Some(Unpaired::Logs(_)) => return,
        }
        self.messages += 1;
    }

    pub(super) fn next_deadline(&self) -> Option<BrokerTime> {
        self.queue.front().map(|(due, _)| *due)
    }

    /// One message whose log did not arrive in time; logs without a message are dropped.
    pub(super) fn expire(&mut self, now: BrokerTime) -> Option<PendingOutcome> {
        while self.queue.len() > MAX_UNPAIRED || self.next_deadline().is_some_and(|due| due <= now) {
            let (due, KeyDeadline { key, log }) = self.queue.pop_front()?;
            if let Some(waiting) = self.leave(key, log, due) {
                return Some(waiting);
            }
        }
        None
    }

    /// Entries without a partner, and entries that had one within the last [`PAIRING_TIMEOUT`].
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Forgets a log of this key, and removes the oldest entry if it was due by `latest`; returns that if it is a message.
    fn leave(&mut self, key: Key, log: Option<GatewayTime>, latest: BrokerTime) -> Option<PendingOutcome> {
        let Entry::Occupied(mut entry) = self.by_call.entry(key) else { return None };
        let known = entry.get_mut();
        if let Some(started) = log {
            known.forget_log(started);
        }
        let waiting = known.leave(latest);
        if known.is_empty() {
            entry.remove();
        }
        self.messages -= usize::from(waiting.is_some());
        waiting
    }

    /// The oldest message of this key.
    fn take_message(&mut self, key: Key) -> Option<PendingOutcome> {
        match self.by_call.get(&key)?.unpaired {
            Some(Unpaired::Messages(_)) => self.leave(key, None, BrokerTime::MAX),
            _ => None,
        }
    }
}

/// Deadlines are rounded down to a quarter of a second, so that the clock advances for many of them at once.
fn enqueue(queue: &mut VecDeque<(BrokerTime, KeyDeadline)>, entry: KeyDeadline, now: BrokerTime) -> BrokerTime {
    let due = now.after(PAIRING_TIMEOUT).rounded_down(Duration::from_millis(250));
    queue.push_back((due, entry));
    due
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use types::outcome::{Cause, Class, Evidence};

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// Of a call that began then, if known.
        Log(usize, Option<u64>),
        Message(usize),
        /// Seconds.
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0_usize..3, prop::option::of(0_u64..4)).prop_map(|(key, started)| Step::Log(key, started)),
            4 => (0_usize..3).prop_map(Step::Message),
            1 => (1_u64..12).prop_map(Step::Wait),
        ]
    }

    fn message(number: u16) -> PendingOutcome {
        let outcome = Outcome {
            router: RouterId(0),
            class: Class::Success,
            status: number,
            cause: Cause::Unknown,
            evidence: Evidence::Provisional,
            jitter_seed: 0,
            retry_after: None,
            started: None,
            stopped: None,
            latency: None,
            completion_tokens: None,
            is_generation: true,
        };
        PendingOutcome { outcome, at: BrokerTime::from_nanos(0), counted: false, health_change: None }
    }

    /// The same with lists that are searched from their beginning: what waits, and the logs that were seen.
    #[derive(Default)]
    struct Model {
        messages: BTreeMap<usize, VecDeque<(u64, u16)>>,
        logs: BTreeMap<usize, VecDeque<u64>>,
        seen: Vec<(u64, usize, u64)>,
    }

    proptest! {
        #[test]
        fn it_pairs_as_a_search_through_lists_does(steps in prop::collection::vec(step(), 0..80)) {
            let keys = [None, Some("A"), Some("B")].map(|id| Key::new(id, RouterId(0), 200));
            let (mut dedup, mut model, mut second) = (OutcomeDedup::default(), Model::default(), 1_000);
            let at = |second: u64| BrokerTime::from_nanos(second * 1_000_000_000);
            for (number, step) in (0_u16..).zip(steps) {
                match step {
                    Step::Log(key, started) => {
                        let gateway_time = started.map(GatewayTime::from_nanos);
                        let found = dedup.log(keys[key], None, gateway_time, at(second));
                        if started.is_some_and(|at| model.seen.iter().any(|(_, known, began)| (*known, *began) == (key, at))) {
                            prop_assert_eq!(found, Match::Twice);
                            continue;
                        }
                        model.seen.extend(started.map(|began| (second + 10, key, began)));
                        let waiting = [key, 0].into_iter().find_map(|key| model.messages.get_mut(&key)?.pop_front());
                        match waiting {
                            Some((_, status)) => prop_assert_eq!(found, Match::Message(message(status))),
                            None => {
                                prop_assert_eq!(found, Match::Nothing);
                                model.logs.entry(key).or_default().push_back(second + 10);
                            }
                        }
                    }
                    Step::Message(key) => {
                        let log = model.logs.get_mut(&key).and_then(VecDeque::pop_front);
                        prop_assert_eq!(dedup.take_earlier_log(keys[key]), log.is_some());
                        if log.is_none() {
                            dedup.keep(keys[key], message(number), at(second));
                            model.messages.entry(key).or_default().push_back((second + 10, number));
                        }
                    }
                    Step::Wait(seconds) => {
                        second += seconds;
                        let left = std::iter::from_fn(|| dedup.expire(at(second))).map(|waiting| waiting.outcome.status);
                        let mut left: Vec<u16> = left.collect();
                        let mut expected = Vec::new();
                        for messages in model.messages.values_mut() {
                            while messages.front().is_some_and(|(due, _)| *due <= second) {
                                expected.extend(messages.pop_front().map(|(_, number)| number));
                            }
                        }
                        model.logs.values_mut().for_each(|logs| logs.retain(|due| *due > second));
                        model.seen.retain(|(due, ..)| *due > second);
                        left.sort_unstable();
                        expected.sort_unstable();
                        prop_assert_eq!(left, expected);
                    }
                }
                prop_assert!(dedup.by_call.len() <= dedup.len(), "each key has a deadline");
                let waiting: usize = model.messages.values().map(VecDeque::len).sum();
                prop_assert_eq!(dedup.messages, waiting);
            }
            while dedup.expire(at(second + 11)).is_some() {}
            prop_assert!(dedup.by_call.is_empty() && dedup.len() == 0 && dedup.messages == 0);
        }
    }
}
