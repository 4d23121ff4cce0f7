//! Groups the attempts of one call of the relay. Pure: it gets calls and the time, and returns what is to be shown.
//!
//! The relay makes a session for each call and counts its attempts from 1; a session of the gateway's own begins with 0, and
//! its calls are calls of a client. So a session whose 1 was seen and never its 0 is one call. (A watch that starts
//! between a client's first two calls takes the second one for an attempt: it has only the log.)
//!
//! The log does not show whether another attempt follows. There are two modes:
//! - **At once** (`grouped` is false): every call is shown when it is over; one that follows others of the same call is marked.
//! - **Held**: the attempts of a call are shown together when one is answered with something that the relay passes on, else
//!   after [`SESSION_TIMEOUT`]. Later attempts are shown as the rest of their call. Calls of clients are never held.
//!
//! Memory is bounded: at most [`MAX_SESSIONS`] sessions, of which the oldest is dropped for a new one, and [`MAX_ATTEMPTS`] of
//! each.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::super::table::Table;
use super::call::{Call, number, span};
use gecholog_protocol::transaction;
use types::time::BrokerTime;

/// How long the entries of a session are held for its next attempt.
const SESSION_TIMEOUT: Duration = Duration::from_secs(35);
/// How much later than the second attempt the entry of the first one may arrive: different processes may write them.
const LATE_DELAY: Duration = Duration::from_secs(1);
/// Sessions that are remembered.
const MAX_SESSIONS: usize = 1_024;
/// Attempts of one call that are held.
const MAX_ATTEMPTS: usize = 16;

/// What is to be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OutputLine {
    /// A call; with the number of the attempt, if others of the same call were shown before.
    One(Box<Call>, Option<u32>),
    /// The attempts of a call, each with its number, in their order; and the number of the last that was shown before.
    Group(Vec<(u32, Call)>, u32),
}

/// The state of a session.
#[derive(Debug)]
struct Session {
    /// A client's session: its calls are not attempts of one call.
    client: bool,
    /// The first attempt was seen, and whether any was.
    first: bool,
    any: bool,
    /// The last attempt that was shown in a group.
    shown: u32,
    held: Vec<(u32, Call)>,
    /// When they are shown at the latest.
    by: BrokerTime,
}

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    grouped: bool,
    known: HashMap<String, Session>,
    /// The same, the oldest first.
    order: VecDeque<String>,
}

impl Sessions {
    pub(super) fn new(grouped: bool) -> Self {
        Self { grouped, known: HashMap::new(), order: VecDeque::new() }
    }

    /// Adds a finished call.
    pub(super) fn take(&mut self, call: Call, now: BrokerTime) -> Vec<OutputLine> {
        let Some((session, number)) = transaction::in_session(&call.transaction) else {
            return vec![OutputLine::One(Box::new(call), None)];
        };
        let session = session.to_owned();
        let mut shown = self.room_for(&session);
        let known = self.known.entry(session).or_insert_with(|| Session {
            client: false,
            first: false,
            any: false,
            shown: 0,
            held: Vec::new(),
            by: now,
        });
        shown.extend(known.take(number, call, self.grouped, now));
        shown
    }

    /// Drops the oldest session, if there are [`MAX_SESSIONS`].
    fn room_for(&mut self, session: &str) -> Vec<OutputLine> {
        if self.known.contains_key(session) {
            return Vec::new();
        }
        let oldest = if self.order.len() >= MAX_SESSIONS { self.order.pop_front() } else { None };
        self.order.push_back(session.to_owned());
        oldest.and_then(|oldest| self.known.remove(&oldest)).map(|mut oldest| oldest.release()).unwrap_or_default()
    }

    /// When held calls are to be shown.
    pub(super) fn due(&self) -> Option<BrokerTime> {
        let held = self.known.values().filter(|session| !session.held.is_empty());
        held.map(|session| session.by).min()
    }

    /// The calls whose time to be held is over.
    pub(super) fn late(&mut self, now: BrokerTime) -> Vec<OutputLine> {
        self.release(|session| session.by <= now)
    }

    /// All held calls.
    pub(super) fn rest(&mut self) -> Vec<OutputLine> {
        self.release(|_| true)
    }

    fn release(&mut self, ripe: impl Fn(&Session) -> bool) -> Vec<OutputLine> {
        let mut shown = Vec::new();
        for name in &self.order {
            if let Some(session) = self.known.get_mut(name).filter(|session| ripe(session)) {
                shown.extend(session.release());
            }
        }
        shown
    }
}

impl Session {
    fn take(&mut self, number: u32, call: Call, grouped: bool, now: BrokerTime) -> Vec<OutputLine> {
        self.client |= number == 0;
        if self.client {
            let mut shown = self.release();
            shown.push(OutputLine::One(Box::new(call), None));
            return shown;
        }
        self.first |= number == 1;
        if !grouped {
            let follows = self.first && self.any;
            self.any = true;
            return vec![OutputLine::One(Box::new(call), follows.then_some(number))];
        }
        self.held.push((number, call));
        self.held.sort_by_key(|(number, _)| *number);
        if self.is_over() || self.held.len() >= MAX_ATTEMPTS {
            return self.release();
        }
        self.by = now.after(if self.first { SESSION_TIMEOUT } else { LATE_DELAY });
        Vec::new()
    }

    /// Whether no attempt is missing, and none can follow.
    fn is_over(&self) -> bool {
        let mut last = self.shown;
        let whole = self.held.iter().all(|(number, _)| {
            let next = number.saturating_sub(last) <= 1;
            last = *number;
            next
        });
        whole && self.held.last().is_some_and(|(_, call)| call.ends_its_call())
    }

    fn release(&mut self) -> Vec<OutputLine> {
        let held = std::mem::take(&mut self.held);
        // Earlier calls were not seen: a client's session that began before this command.
        self.client |= !self.first;
        let alone = held.len() == 1 && self.shown == 0;
        if self.client || alone {
            self.shown = held.last().map_or(self.shown, |(number, _)| *number);
            return held.into_iter().map(|(_, call)| OutputLine::One(Box::new(call), None)).collect();
        }
        let Some((last, _)) = held.last() else { return Vec::new() };
        let before = std::mem::replace(&mut self.shown, *last);
        vec![OutputLine::Group(held, before)]
    }
}

impl OutputLine {
    /// Whether any of it passed the filters.
    pub(super) fn is_wanted(&self) -> bool {
        match self {
            Self::One(call, _) => call.wanted,
            Self::Group(attempts, _) => attempts.iter().any(|(_, call)| call.wanted),
        }
    }
}

/// One line for a call. For a group, one line for the call and, indented below it, one for each attempt.
impl std::fmt::Display for OutputLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (attempts, before) = match self {
            Self::One(call, attempt) => return writeln!(f, "{}", call.line(*attempt)),
            Self::Group(attempts, before) => (attempts, before),
        };
        let Some((count, last)) = attempts.last() else { return Ok(()) };
        let calls = attempts.iter().map(|(_, call)| call);
        // An attempt through the gateway has only its router, and not the ingress of the call.
        let ingress =
            calls.clone().map(|call| (&call.ingress, &call.router)).find(|(ingress, router)| ingress != router);
        let ingress = ingress.map_or("the relay", |(ingress, _)| ingress.as_str());
        let whole = number(span(calls).and_then(|span| u64::try_from(span.as_millis()).ok()), " ms in all");
        let before = match before {
            0 => String::new(),
            before => format!(", {before} of them shown before"),
        };
        let (over, session, router, status) = (last.over(), &last.session, &last.router, number(last.status, ""));
        writeln!(f, "{over}  {session}  {ingress} -> {router}  {status}  {whole}  {count} attempts{before}")?;
        let mut table = Table::default();
        for (number, call) in attempts {
            let row = call.row();
            let number = format!("    {number}");
            table.row(std::iter::once(number.as_str()).chain(row.iter().map(String::as_str)));
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use gecholog_protocol::log_entry;
    use serde_json::json;

    use super::*;

    /// The call of this number in the session of this letter.
    fn call(session: &str, number: u32, status: u64) -> Call {
        let entry = json!({
            "session_id": format!("{session}_1_1_0"), "transaction_id": format!("{session}_1_1_{number}"),
            "ingress_egress_timer": {"start": "2026-01-01T00:00:00Z", "stop": format!("2026-01-01T00:00:0{}Z", number % 10)},
            "request": {"gl_path": "/in/", "broker": {"why": "the first"}},
            "response": {"gl_path": format!("/in/{number}/"), "inbound_status_code": status,
                "outbound_inbound_timer": {"start": "2026-01-01T00:00:00Z", "duration": 7}},
        });
        Call::from_entry(&log_entry::read_call(&serde_json::to_vec(&entry).unwrap()).unwrap(), true)
    }

    const fn at(millis: u64) -> BrokerTime {
        BrokerTime::from_nanos(millis * 1_000_000)
    }

    /// What is shown, shortly: `A1` is a call, `A2'` one that follows others, `[A1 A2]` a group, `+` the rest of one.
    fn summary(shown: &[OutputLine]) -> String {
        let name = |call: &Call| call.transaction.replace("_1_1_", "");
        let one = |shown: &OutputLine| match shown {
            OutputLine::One(call, None) => name(call),
            OutputLine::One(call, Some(_)) => name(call) + "'",
            OutputLine::Group(attempts, before) => {
                let names: Vec<_> = attempts.iter().map(|(_, call)| name(call)).collect();
                format!("{}[{}]", if *before > 0 { "+" } else { "" }, names.join(" "))
            }
        };
        shown.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn at_once_what_follows_in_the_same_call_is_marked() {
        for (what, calls, wanted) in [
            ("a call", &[("A", 1)][..], "A1"),
            ("three attempts", &[("A", 1), ("A", 2), ("A", 3)], "A1 A2' A3'"),
            ("two calls", &[("A", 1), ("B", 1), ("B", 2), ("A", 2)], "A1 B1 B2' A2'"),
            ("the second is seen first", &[("A", 2), ("A", 1), ("A", 3)], "A2 A1' A3'"),
            ("a client's session", &[("A", 0), ("A", 1), ("A", 2)], "A0 A1 A2"),
            ("one that was there before", &[("A", 5), ("A", 6)], "A5 A6"),
        ] {
            let mut sessions = Sessions::new(false);
            let shown: Vec<_> =
                calls.iter().flat_map(|(session, number)| sessions.take(call(session, *number, 503), at(0))).collect();
            assert_eq!(summary(&shown), wanted, "{what}");
            assert_eq!((sessions.due(), sessions.rest().len()), (None, 0), "{what}: nothing is held");
        }
    }

    #[test]
    fn held_attempts_are_shown_together_when_their_call_is_over() {
        for (what, calls, wanted) in [
            ("a good call is not held", &[("A", 1, 200)][..], &["A1"][..]),
            ("three attempts", &[("A", 1, 503), ("A", 2, 429), ("A", 3, 200)], &["", "", "[A1 A2 A3]"]),
            ("the client's own fault ends it", &[("A", 1, 503), ("A", 2, 400)], &["", "[A1 A2]"]),
            ("the last is seen before the first", &[("A", 2, 200), ("A", 1, 503)], &["", "[A1 A2]"]),
            (
                "two calls at a time",
                &[("A", 1, 503), ("B", 1, 503), ("A", 2, 200), ("B", 2, 200)],
                &["", "", "[A1 A2]", "[B1 B2]"],
            ),
            ("a client's session", &[("A", 0, 503), ("A", 1, 503), ("A", 2, 200)], &["A0", "A1", "A2"]),
            ("a client's, seen out of order", &[("A", 1, 503), ("A", 0, 200), ("A", 2, 503)], &["", "A1 A0", "A2"]),
        ] {
            let mut sessions = Sessions::new(true);
            for ((session, number, status), wanted) in calls.iter().zip(wanted) {
                let shown = sessions.take(call(session, *number, *status), at(0));
                assert_eq!(summary(&shown), *wanted, "{what}, at {session}{number}");
            }
        }
    }

    #[test]
    fn what_may_not_be_over_is_held_for_so_long_and_no_longer() {
        let mut sessions = Sessions::new(true);
        sessions.take(call("A", 1, 503), at(0));
        sessions.take(call("A", 2, 503), at(20_000));
        sessions.take(call("B", 1, 500), at(20_500));
        assert_eq!(sessions.due(), Some(at(55_000)), "since the last attempt");
        assert_eq!(summary(&sessions.late(at(54_999))), "");
        assert_eq!(summary(&sessions.late(at(55_000))), "[A1 A2]");
        assert_eq!(summary(&sessions.late(at(60_000))), "B1", "an attempt alone is a call like another");
        assert_eq!(summary(&sessions.take(call("A", 3, 200), at(60_000))), "+[A3]");
        assert_eq!(summary(&sessions.take(call("B", 2, 200), at(60_000))), "+[B2]");
        assert_eq!(sessions.due(), None);
    }

    #[test]
    fn a_session_that_was_there_before_is_held_once_and_shortly() {
        let mut sessions = Sessions::new(true);
        assert_eq!(summary(&sessions.take(call("A", 5, 200), at(0))), "");
        assert_eq!(sessions.due(), Some(at(1_000)));
        assert_eq!(summary(&sessions.late(at(1_000))), "A5");
        assert_eq!(summary(&sessions.take(call("A", 6, 503), at(2_000))), "A6");
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut sessions = Sessions::new(true);
        for number in 0..MAX_SESSIONS {
            assert_eq!(summary(&sessions.take(call(&format!("S{number}"), 1, 503), at(0))), "");
        }
        assert_eq!(summary(&sessions.take(call("A", 1, 503), at(0))), "S01", "the oldest is given up");
        assert_eq!((sessions.known.len(), sessions.order.len()), (MAX_SESSIONS, MAX_SESSIONS));
        for number in 2..MAX_ATTEMPTS as u32 {
            assert_eq!(summary(&sessions.take(call("A", number, 503), at(0))), "");
        }
        let shown = sessions.take(call("A", MAX_ATTEMPTS as u32, 503), at(0));
        assert!(matches!(&shown[..], [OutputLine::Group(attempts, 0)] if attempts.len() == MAX_ATTEMPTS), "{shown:?}");
        assert_eq!(sessions.rest().len(), MAX_SESSIONS - 1);
        assert_eq!(sessions.rest(), []);
    }

    #[test]
    fn a_group_says_what_its_call_came_to_and_each_attempt_below() {
        let attempts = vec![(1, call("A", 1, 503)), (2, call("A", 2, 429)), (3, call("A", 3, 200))];
        let text = "2026-01-01T00:00:03Z  A_1_1_0  /in/ -> /in/3/  200  3000 ms in all  3 attempts\n\
            \x20   1  /in/1/  503  7 ms  -  the first\n\
            \x20   2  /in/2/  429  7 ms  -  the first\n\
            \x20   3  /in/3/  200  7 ms  -  the first\n";
        assert_eq!(OutputLine::Group(attempts.clone(), 0).to_string(), text);
        let rest = OutputLine::Group(attempts[2..].to_vec(), 2).to_string();
        assert!(rest.lines().next().unwrap().ends_with("3 attempts, 2 of them shown before"), "{rest}");
    }

    #[test]
    fn a_group_is_wanted_if_one_of_its_attempts_is() {
        let mut attempts = vec![(1, call("A", 1, 503)), (2, call("A", 2, 200))];
        attempts[0].1.wanted = false;
        assert!(OutputLine::Group(attempts.clone(), 0).is_wanted());
        attempts[1].1.wanted = false;
        assert!(!OutputLine::Group(attempts, 0).is_wanted());
    }
}
