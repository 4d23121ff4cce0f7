//! Recent decisions and changes, at most [`CAPACITY`] of each.
//!
//! Readers pull what came after the number that they saw last. A
//! decision is kept as the stamp that was answered: one copy of at most 300 bytes, and no text
//! is written that is never read. Requests for other paths are not kept. Finished calls are in [`crate::calls`].

use serde::Serialize;
use serde_json::value::RawValue;

use balancer::broker::{Decision, Pass, PublicState};
use gecholog_protocol::stamp;
use types::router::RouterPath;
use types::time::BrokerTime;
use types::transition::{BrokerEvent, HealthState, Transition};

/// Entries kept of each kind.
pub const CAPACITY: usize = 1_000;

/// The last entries of one kind, each with a number that only increases.
#[derive(Debug, Clone)]
pub struct Ring<T> {
    /// The entry of number n is at n modulo [`CAPACITY`].
    entries: Vec<T>,
    /// The number of the next.
    next: u64,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { entries: Vec::with_capacity(CAPACITY), next: 0 }
    }
}

impl<T: Clone> Ring<T> {
    fn push(&mut self, entry: T) {
        match self.oldest() {
            Some(oldest) => *oldest = entry,
            None => self.entries.push(entry),
        }
        self.next += 1;
    }

    /// The entry that the next one replaces; none until the ring is full.
    fn oldest(&mut self) -> Option<&mut T> {
        if self.entries.len() < CAPACITY { None } else { self.entries.get_mut(place(self.next)) }
    }

    /// The number that the next entry will have.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest that is kept.
    pub fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    /// At most `most` entries from number `from` on, or from the oldest that is kept; with the number of the first of them.
    pub fn read(&self, from: u64, most: usize) -> (u64, Vec<T>) {
        let start = from.max(self.first());
        let numbers = (start..self.next).take(most);
        (start, numbers.filter_map(|number| self.entries.get(place(number)).cloned()).collect())
    }

    /// The newest entries from number `from` on, at most `most`; with the number of the first of them.
    pub fn newest(&self, from: u64, most: usize) -> (u64, Vec<T>) {
        self.read(from.max(self.next.saturating_sub(most as u64)), most)
    }
}

const fn place(number: u64) -> usize {
    (number % CAPACITY as u64) as usize
}

/// A decision: its time and its JSON object.
#[derive(Clone)]
pub struct DecisionEntry {
    /// When it was made.
    pub at: BrokerTime,
    length: u16,
    text: [u8; stamp::MAX_STAMP_BYTES],
}

impl DecisionEntry {
    fn new(at: BrokerTime, object: &[u8]) -> Self {
        let mut new = Self { at, length: 0, text: [0; stamp::MAX_STAMP_BYTES] };
        new.write(at, object);
        new
    }

    fn write(&mut self, at: BrokerTime, object: &[u8]) {
        let length = object.len().min(stamp::MAX_STAMP_BYTES);
        self.text[..length].copy_from_slice(&object[..length]);
        (self.at, self.length) = (at, length as u16);
    }

    /// The stamp; for a call that got no router, an object with `number`, `pool` and `why`.
    pub fn object(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.length)]).unwrap_or(r#"{"why":""}"#)
    }
}

impl std::fmt::Debug for DecisionEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.at, self.object())
    }
}

/// The moment, and what the stamp says.
impl Serialize for DecisionEntry {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.object().trim_start_matches('{');
        let object = RawValue::from_string(format!("{{\"at\":\"{}\",{fields}", self.at));
        object.map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// A change, in documents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeEntry {
    pub at: BrokerTime,
    /// A router or an ingress.
    pub about: RouterPath,
    /// `enabled`, `disabled`, `probation`, `extended`, `all_disabled`, `some_enabled`, or `operator_action`.
    pub what: &'static str,
    /// Until when, if it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<BrokerTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether the router is drained from now on; absent where nothing changed about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained: Option<bool>,
}

#[derive(Debug, Clone, Default)]
pub struct RecentDecisions {
    /// Decisions of this replica.
    pub decisions: Ring<DecisionEntry>,
    /// Changes of health, drains and weights that this replica applied.
    pub changes: Ring<ChangeEntry>,
}

impl RecentDecisions {
    /// A decision was answered with this stamp.
    pub fn record_decision(&mut self, at: BrokerTime, decision: &Decision, stamp: &[u8], ingress: Option<&RouterPath>) {
        match decision {
            Decision::Route(_) => self.record_stamp(at, stamp),
            Decision::Pass(Pass::UnknownIngress) => {}
            Decision::Pass(pass) => {
                let why = match pass {
                    Pass::AllDisabled(_) => "nothing may serve",
                    _ => "nothing for this request",
                };
                let ingress = ingress.map_or("", RouterPath::as_str);
                // Several of one pool can have the same moment, and readers get some of them twice.
                let number = self.decisions.next;
                let object = format!("{{\"number\":{number},\"pool\":\"{ingress}\",\"why\":\"{why}\"}}");
                self.record_stamp(at, object.as_bytes());
            }
        }
    }

    /// A decision with this stamp. In the oldest one's place, without moving it: this is done for every decision.
    pub fn record_stamp(&mut self, at: BrokerTime, object: &[u8]) {
        match self.decisions.oldest() {
            None => self.decisions.push(DecisionEntry::new(at, object)),
            Some(oldest) => {
                oldest.write(at, object);
                self.decisions.next += 1;
            }
        }
    }

    pub fn record_changes(&mut self, at: BrokerTime, changes: &[BrokerEvent]) {
        changes
            .iter()
            .filter_map(|change| ChangeEntry::from_event(change, at))
            .for_each(|change| self.changes.push(change));
    }
}

impl ChangeEntry {
    /// A change in words. Nothing for a delay that is not worth one.
    pub fn from_event(change: &BrokerEvent, at: BrokerTime) -> Option<Self> {
        let plain =
            |about: &RouterPath, what| Self { at, about: about.clone(), what, until: None, why: None, drained: None };
        let changed = |transition: &Transition| {
            let (until, cause) = match transition.state {
                HealthState::Serving => (None, None),
                HealthState::Cooling { until, cause } => (Some(until), Some(cause)),
                HealthState::Probing { cause } => (None, Some(cause)),
            };
            let what = PublicState::from_health(&transition.state).name();
            let why = cause.map(|cause| cause.to_string());
            Self { at: transition.at, about: transition.router.clone(), what, until, why, drained: None }
        };
        match change {
            BrokerEvent::HealthChanged(transition) => Some(changed(transition)),
            BrokerEvent::Extended(transition) if matches!(transition.state, HealthState::Cooling { .. }) => {
                Some(Self { what: "extended", ..changed(transition) })
            }
            BrokerEvent::AllDisabled { ingress, .. } => Some(plain(ingress, "all_disabled")),
            BrokerEvent::SomeEnabled(ingress) => Some(plain(ingress, "some_enabled")),
            BrokerEvent::OperatorAction(order) => {
                let by =
                    if order.reason.is_empty() { order.by.clone() } else { format!("{}: {}", order.by, order.reason) };
                let (what, why) = ("operator_action", Some(format!("{} by {by}", order.action)));
                let (about, drained) = (order.router.clone(), order.action.drained());
                Some(Self { at: order.at, about, what, until: order.until, why, drained })
            }
            BrokerEvent::Extended(_) | BrokerEvent::ModelLimit(_) | BrokerEvent::Advisory(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_forgets_the_oldest_and_keeps_counting() {
        let mut ring = Ring::default();
        assert_eq!(ring.read(0, 10), (0, vec![]));
        for number in 0..1_500_u64 {
            ring.push(number);
        }
        assert_eq!((ring.first(), ring.next()), (500, 1_500));
        assert_eq!(ring.read(0, 2), (500, vec![500, 501]), "what is gone is skipped");
        assert_eq!(ring.read(700, 2), (700, vec![700, 701]));
        assert_eq!(ring.read(1_499, 5), (1_499, vec![1_499]));
        assert_eq!(ring.read(9_999, 5), (9_999, vec![]), "ahead of us: nothing");
        assert_eq!(ring.newest(0, 3), (1_497, vec![1_497, 1_498, 1_499]));
        assert_eq!(ring.newest(1_499, 3), (1_499, vec![1_499]));
    }

    #[test]
    fn a_decision_is_its_stamp_with_a_moment() {
        let decided = DecisionEntry::new(BrokerTime::from_nanos(0), br#"{"id":"a-1","why":"random"}"#);
        let shown = serde_json::to_value(decided).unwrap();
        assert_eq!(shown, serde_json::json!({"at": "1970-01-01T00:00:00Z", "id": "a-1", "why": "random"}));
    }
}
