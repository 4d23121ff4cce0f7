//! What happened last, for those who look: decisions, finished calls, changes, at most a thousand of each.
//!
//! Who reads asks for what came after the number that it saw last; nobody is ever waited for, and nothing is pushed. A
//! decision is kept as the very stamp that was answered, so that keeping it costs one copy of at most 300 bytes and no words
//! are made for nobody. Refuses what is not ours: requests for other paths, and entries about other routers.

use std::collections::VecDeque;

use serde::Serialize;
use serde::ser::SerializeMap;

use crate::broker::{Decision, Pass, Word};
use crate::event::{Change, Standing, Transition};
use crate::outcome::{Class, Outcome, Report};
use crate::router::RouterPath;
use crate::time::Now;
use crate::wire::stamp;

/// So many of each kind are kept.
pub const CAPACITY: usize = 1_000;
/// So many bytes are kept of an id, a client's own perhaps.
const LONGEST_ID: usize = 100;

/// The last of one kind, each with a number that only ever rises.
#[derive(Debug, Clone)]
pub struct Ring<T> {
    entries: VecDeque<T>,
    /// The number of the next.
    next: u64,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { entries: VecDeque::with_capacity(CAPACITY), next: 0 }
    }
}

impl<T: Clone> Ring<T> {
    fn push(&mut self, entry: T) {
        if self.entries.len() >= CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.next += 1;
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
        let skip = usize::try_from(start - self.first()).unwrap_or(usize::MAX);
        (start, self.entries.iter().skip(skip).take(most).cloned().collect())
    }

    /// The newest entries from number `from` on, at most `most`; with the number of the first of them.
    pub fn newest(&self, from: u64, most: usize) -> (u64, Vec<T>) {
        self.read(from.max(self.next.saturating_sub(most as u64)), most)
    }
}

/// A decision: when, and the JSON object that tells of it.
#[derive(Clone)]
pub struct Decided {
    /// When it was made.
    pub at: Now,
    length: u16,
    text: [u8; stamp::MAX],
}

impl Decided {
    fn new(at: Now, object: &[u8]) -> Self {
        let mut text = [0; stamp::MAX];
        let length = object.len().min(stamp::MAX);
        text[..length].copy_from_slice(&object[..length]);
        Self { at, length: length as u16, text }
    }

    /// The stamp; for a call that got no router, an object with `pool` and `why`.
    pub fn object(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.length)]).unwrap_or("{}")
    }
}

impl std::fmt::Debug for Decided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.at, self.object())
    }
}

/// The moment, and what the stamp says.
impl Serialize for Decided {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stamp: serde_json::Map<String, serde_json::Value> = serde_json::from_str(self.object()).unwrap_or_default();
        let mut map = serializer.serialize_map(Some(stamp.len() + 1))?;
        map.serialize_entry("at", &self.at)?;
        for (name, value) in &stamp {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A finished call, as its log tells it. What clients write is cut; nothing of a query, a URL or a body is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finished {
    /// When we heard of it.
    pub at: Now,
    /// The router that the client called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Box<str>>,
    /// The router that served it.
    pub router: Box<str>,
    /// What it answered.
    pub status: u16,
    /// What that means.
    pub class: Class,
    /// How long the upstream took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// Completion tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// The decision that sent it there; perhaps another replica's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Box<str>>,
    /// The gateway's id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<Box<str>>,
    /// The gateway's id of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Box<str>>,
}

/// A change, in documents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    /// When.
    pub at: Now,
    /// A router or an ingress.
    pub about: RouterPath,
    /// `enabled`, `disabled`, `probation`, `extended`, `all_disabled`, `some_enabled`, or `ordered`.
    pub what: &'static str,
    /// Until when, if it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Now>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The three rings.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// Decisions of this replica.
    pub decisions: Ring<Decided>,
    /// Finished calls, whichever replica decided.
    pub calls: Ring<Finished>,
    /// What this replica changed its mind about.
    pub changes: Ring<Changed>,
}

impl Journal {
    /// A decision was answered with this stamp.
    pub fn decided(&mut self, at: Now, decision: &Decision, stamp: &[u8], ingress: Option<&RouterPath>) {
        match decision {
            Decision::Route(_) => self.decisions.push(Decided::new(at, stamp)),
            Decision::Pass(Pass::NotOurs) => {}
            Decision::Pass(pass) => {
                let why = match pass {
                    Pass::AllDisabled(_) => "nothing may serve",
                    _ => "nothing for this request",
                };
                let ingress = ingress.map_or("", RouterPath::as_str);
                let object = format!("{{\"pool\":\"{ingress}\",\"why\":\"{why}\"}}");
                self.decisions.push(Decided::new(at, object.as_bytes()));
            }
        }
    }

    /// A log told of a finished call.
    pub fn finished(&mut self, at: Now, report: &Report<'_>, outcome: &Outcome) {
        self.calls.push(Finished {
            at,
            ingress: report.ingress.map(short),
            router: report.served.map(short).unwrap_or_default(),
            status: outcome.status,
            class: outcome.class,
            latency_ms: outcome.latency.and_then(|latency| u64::try_from(latency.as_millis()).ok()),
            tokens: outcome.tokens,
            decision: report.stamp_id.map(short),
            transaction: report.transaction.map(short),
            session: report.session.map(short),
        });
    }

    /// Something changed.
    pub fn changed(&mut self, at: Now, changes: &[Change]) {
        changes.iter().filter_map(|change| Changed::of(change, at)).for_each(|change| self.changes.push(change));
    }
}

impl Changed {
    /// A change in words. Nothing for a delay that is not worth one.
    pub fn of(change: &Change, at: Now) -> Option<Self> {
        let plain = |about: &RouterPath, what| Self { at, about: about.clone(), what, until: None, why: None };
        let standing = |transition: &Transition| {
            let (until, cause) = match transition.standing {
                Standing::Serving => (None, None),
                Standing::Cooling { until, cause } => (Some(until), Some(cause)),
                Standing::Probing { cause } => (None, Some(cause)),
            };
            let what = Word::of(&transition.standing).word();
            let why = cause.map(|cause| cause.to_string());
            Self { at: transition.at, about: transition.router.clone(), what, until, why }
        };
        match change {
            Change::Standing(transition) => Some(standing(transition)),
            Change::Extended(transition) if matches!(transition.standing, Standing::Cooling { .. }) => {
                Some(Self { what: "extended", ..standing(transition) })
            }
            Change::AllDisabled { ingress, .. } => Some(plain(ingress, "all_disabled")),
            Change::SomeEnabled(ingress) => Some(plain(ingress, "some_enabled")),
            Change::Ordered(order) => {
                let by =
                    if order.reason.is_empty() { order.by.clone() } else { format!("{}: {}", order.by, order.reason) };
                let (what, why) = ("ordered", Some(format!("{} by {by}", order.what)));
                Some(Self { at: order.at, about: order.about.clone(), what, until: order.until, why })
            }
            Change::Extended(_) | Change::Notice(_) => None,
        }
    }
}

/// As much of a text as is kept.
fn short(text: &str) -> Box<str> {
    let end = (0..=text.len().min(LONGEST_ID)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().into()
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
    fn ids_are_cut_between_letters() {
        assert_eq!(&*short("abc"), "abc");
        assert_eq!(short(&"ä".repeat(80)).len(), LONGEST_ID);
        assert_eq!(short(&format!("a{}", "ä".repeat(80))).len(), LONGEST_ID - 1);
    }

    #[test]
    fn a_decision_is_its_stamp_with_a_moment() {
        let decided = Decided::new(Now::from_nanos(0), br#"{"id":"a-1","why":"random"}"#);
        let shown = serde_json::to_value(decided).unwrap();
        assert_eq!(shown, serde_json::json!({"at": "1970-01-01T00:00:00Z", "id": "a-1", "why": "random"}));
    }
}
