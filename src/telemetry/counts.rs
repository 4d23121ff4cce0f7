//! Counts of what is not worth a line each, in one place, for whoever asks: what could not be read, what was ignored, what
//! had to be done without, how standings changed. The kinds are enums of ours, so there are only so many.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Tally;
use crate::event::{Change, Ignored, Standing};
use crate::outcome::Cause;
use crate::router::RouterPath;
use crate::wire::Malformed;
use crate::wire::reply::Flaw;
use crate::wire::unbalanced::Unbalanced;

/// The counts of one process.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages on our subjects that cannot be read.
    pub malformed_messages: Tally<Malformed>,
    /// Messages about finished calls that taught nothing.
    pub ignored_messages: Tally<Ignored>,
    /// Answers that had to do without something.
    pub flaws: Tally<Flaw>,
    /// Log entries that cannot be read.
    pub malformed_logs: Tally<Malformed>,
    /// Calls that went by without us.
    pub unbalanced: Tally<Unbalanced>,
    /// Log entries that taught nothing.
    pub ignored_logs: Tally<Ignored>,
    transitions: Mutex<BTreeMap<(RouterPath, &'static str, &'static str), u64>>,
}

impl Counts {
    /// Counts a change of standing.
    pub fn change(&self, change: &Change) {
        let Change::Standing(transition) = change else { return };
        let (to, cause) = match transition.standing {
            Standing::Serving => ("enabled", "proven"),
            Standing::Cooling { cause, .. } => ("disabled", word(cause)),
            Standing::Probing { .. } => ("probation", "time"),
        };
        let mut transitions = self.transitions.lock().unwrap_or_else(PoisonError::into_inner);
        *transitions.entry((transition.router.clone(), to, cause)).or_default() += 1;
    }

    /// Changes of standing: router, what it became, cause, how often.
    pub fn transitions(&self) -> Vec<(String, &'static str, &'static str, u64)> {
        let transitions = self.transitions.lock().unwrap_or_else(PoisonError::into_inner);
        transitions.iter().map(|((router, to, cause), count)| (router.to_string(), *to, *cause, *count)).collect()
    }

    /// Everything else: what, of which kind, how often; only what happened.
    pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut all = Vec::new();
        all.extend(self.malformed_messages.all().map(|(kind, n)| ("malformed_message", kind.word(), n)));
        all.extend(self.ignored_messages.all().map(|(kind, n)| ("ignored_message", kind.word(), n)));
        all.extend(self.flaws.all().map(|(kind, n)| ("flaw", kind.word(), n)));
        all.extend(self.malformed_logs.all().map(|(kind, n)| ("malformed_log", kind.word(), n)));
        all.extend(self.ignored_logs.all().map(|(kind, n)| ("ignored_log", kind.word(), n)));
        all.sort_unstable();
        all
    }
}

/// A cause without its status: so that there are only so many.
const fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Answered(429) => "rate_limited",
        Cause::Answered(400..=499) => "answered_4xx",
        Cause::Answered(500..=599) => "answered_5xx",
        Cause::Answered(_) => "answered_other",
        Cause::Unreachable(_) => "unreachable",
        Cause::UnknownToGateway => "unknown_to_gateway",
        Cause::FailsOften(_) => "fails_often",
        Cause::UsedUp => "used_up",
        Cause::CutOff => "cut_off",
        Cause::TooSlow => "too_slow",
        Cause::Broken(_) => "broken",
        Cause::Ordered => "ordered",
    }
}
