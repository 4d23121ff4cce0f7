//! What each router has done so far, and the facts in it that a person should look at.

use super::Broker;
use super::histogram::Histogram;
use super::routers::Router;
use crate::event::{Change, Notice};
use crate::outcome::{Cause, Class, Hint, Outcome};
use crate::time::{GatewayTime, Now};

/// How many refusals in a row are worth a word.
const REFUSALS: u32 = 10;
/// How many answers, all of them 404, are worth a word.
const NOT_FOUNDS: u64 = 3;
/// How many returns in a row that end in a failure are worth a word.
const FAILED_RETURNS: u32 = 3;
/// What one router has done so far. Counts only ever rise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Decisions that named it.
    pub chosen: u64,
    /// Answers of class Success.
    pub successes: u64,
    /// Answers of class Neutral.
    pub neutral: u64,
    /// Answers of the other classes.
    pub failures: u64,
    /// Completion tokens of the answers that said how many.
    pub tokens: u64,
    /// Answers whose word about when to come back could not be read.
    pub unreadable_hints: u64,
    /// Of the failures: those that said overloaded.
    pub overloaded: u64,
    /// Of the failures: those that said too many requests.
    pub rate_limited: u64,
    /// How long the upstream took, over all answers that said so.
    pub latency: Histogram,
    /// The last answer of a class that disables: when, and what it was.
    pub last_failure: Option<(Now, Cause)>,
    not_founds: u64,
    refusals: u32,
    refusals_told: bool,
    not_found_told: bool,
    last_success: Option<Now>,
    /// When that began, by the gateway's clock.
    pub(super) last_good_start: Option<GatewayTime>,
    refused_since: Option<Now>,
}

impl Record {
    /// Answers of every class.
    pub const fn answers(&self) -> u64 {
        self.successes + self.neutral + self.failures
    }

    pub(super) fn count(&mut self, outcome: &Outcome, now: Now) {
        match outcome.class {
            Class::Success => self.successes += 1,
            Class::Neutral => self.neutral += 1,
            Class::Failure | Class::Overloaded | Class::RateLimited => self.failures += 1,
        }
        self.overloaded += u64::from(outcome.class == Class::Overloaded);
        self.rate_limited += u64::from(outcome.class == Class::RateLimited);
        if outcome.class.disables() {
            self.last_failure = Some((now, outcome.cause));
        }
        self.unreadable_hints += u64::from(outcome.hint == Some(Hint::Unreadable));
        self.not_founds += u64::from(outcome.status == 404);
        if outcome.class == Class::Success {
            self.last_success = Some(now);
            self.last_good_start = self.last_good_start.max(outcome.started);
        }
        if matches!(outcome.status, 401 | 403) {
            self.refusals = self.refusals.saturating_add(1);
            self.refused_since.get_or_insert(now);
        } else {
            self.refusals = 0;
            self.refused_since = None;
        }
    }

    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.tokens = self.tokens.saturating_add(outcome.tokens.unwrap_or(0));
        if let Some(latency) = outcome.latency {
            self.latency.observe(latency);
        }
    }
}

impl Broker {
    /// Says once that a router fails right after each return.
    pub(super) fn advise(&self, place: usize, changes: &mut Vec<Change>) {
        let Some(router) = self.routers.get(place) else { return };
        if router.health().failed_returns() == FAILED_RETURNS {
            changes.push(Change::Notice(Notice::KeepsFailing(router.path.clone(), FAILED_RETURNS)));
        }
    }

    /// Says once what no waiting will mend.
    pub(super) fn notice(&mut self, place: usize, status: u16, changes: &mut Vec<Change>) {
        let Some(Router { path, record, .. }) = self.routers.get(place) else { return };
        let notice = if record.refusals >= REFUSALS && !record.refusals_told {
            let others = self.routers.iter().enumerate().filter(|(other, _)| *other != place);
            let elsewhere = others.filter_map(|(_, router)| router.record.last_success).max();
            let works_elsewhere = elsewhere.is_some() && elsewhere >= record.refused_since;
            works_elsewhere.then(|| Notice::RefusesCredentials(path.clone(), status))
        } else if record.not_founds >= NOT_FOUNDS && record.not_founds == record.answers() && !record.not_found_told {
            Some(Notice::OnlyNotFound(path.clone()))
        } else {
            None
        };
        let (Some(notice), Some(record)) = (notice, self.routers.record(place)) else { return };
        match notice {
            Notice::RefusesCredentials(..) => record.refusals_told = true,
            _ => record.not_found_told = true,
        }
        changes.push(Change::Notice(notice));
    }
}
