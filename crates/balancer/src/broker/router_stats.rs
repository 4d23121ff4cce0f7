//! Statistics of each router, and the advisories derived from them.

use super::Broker;
use super::histogram::Histogram;
use super::routers::Router;
use super::selection_counts::SelectionCounts;
use serde::Serialize;
use types::outcome::{Cause, Class, Evidence, Outcome, RetryAfter};
use types::router::RouterId;
use types::time::{BrokerTime, GatewayTime};
use types::transition::{Advisory, BrokerEvent};

/// Consecutive 401 or 403 answers that raise an advisory.
const REFUSALS_BEFORE_ADVISORY: u32 = 10;
/// Answers, all of them 404, that raise an advisory.
const NOT_FOUNDS_BEFORE_ADVISORY: u64 = 3;
/// Consecutive failed returns that raise an advisory.
const FAILED_RETURNS_BEFORE_ADVISORY: u32 = 3;
/// Counters of one router. They only rise. The status shows those that are not skipped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RouterStats {
    #[serde(skip)]
    pub(super) selections: SelectionCounts,
    /// Answers of class Success.
    pub successes: u64,
    /// Answers of class Neutral.
    pub neutral: u64,
    /// Answers of the other classes, overloaded and rate-limited ones included.
    pub failures: u64,
    /// Of the failures: 503 and 529.
    pub overloaded: u64,
    /// Of the failures: 429.
    pub rate_limited: u64,
    /// Failures of which the upstream refused our key or account.
    pub refused: u64,
    /// Answers with an unparsable retry-after.
    #[serde(skip)]
    pub unparsable_retry_after: u64,
    /// Completion tokens, of answers that report them.
    pub tokens: u64,
    /// The upstream's latency.
    pub latency: Histogram,
    pub last_failure: Option<LastFailure>,
    #[serde(skip)]
    not_founds: u64,
    #[serde(skip)]
    refusals: u32,
    #[serde(skip)]
    refusals_reported: bool,
    #[serde(skip)]
    not_found_reported: bool,
    /// When the last successful call began, by the gateway's clock.
    #[serde(skip)]
    pub(super) last_good_start: Option<GatewayTime>,
    /// When the relay's last successful attempt was sent.
    #[serde(skip)]
    pub(super) last_good_sent: Option<BrokerTime>,
    #[serde(skip)]
    refused_since: Option<BrokerTime>,
}

/// A router's last failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LastFailure {
    /// When.
    pub at: BrokerTime,
    /// What it was.
    #[serde(serialize_with = "Cause::serialize_displayed")]
    pub cause: Cause,
}

impl RouterStats {
    /// Decisions for it.
    pub const fn chosen(&self) -> u64 {
        self.selections.total()
    }

    /// Answers of every class.
    pub const fn answers(&self) -> u64 {
        self.successes + self.neutral + self.failures
    }

    pub(super) fn count(&mut self, outcome: &Outcome, now: BrokerTime) {
        match outcome.class {
            Class::Success => {
                self.successes += 1;
                self.last_good_start = self.last_good_start.max(outcome.started);
                if let Evidence::Local { sent_at, .. } = outcome.evidence {
                    self.last_good_sent = self.last_good_sent.max(Some(sent_at));
                }
            }
            Class::Neutral => self.neutral += 1,
            class @ (Class::Failure | Class::Overloaded | Class::RateLimited | Class::Refused) => {
                self.failures += 1;
                self.overloaded += u64::from(class == Class::Overloaded);
                self.rate_limited += u64::from(class == Class::RateLimited);
                self.refused += u64::from(class == Class::Refused);
                self.last_failure = Some(LastFailure { at: now, cause: outcome.cause });
            }
        }
        self.unparsable_retry_after += u64::from(outcome.retry_after == Some(RetryAfter::Unparsable));
        self.not_founds += u64::from(outcome.status == 404);
        if matches!(outcome.status, 401 | 403) {
            self.refusals = self.refusals.saturating_add(1);
            self.refused_since.get_or_insert(now);
        } else {
            self.refusals = 0;
            self.refused_since = None;
        }
    }

    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.tokens = self.tokens.saturating_add(outcome.completion_tokens.unwrap_or(0));
        if let Some(latency) = outcome.latency {
            self.latency.observe(latency);
        }
    }
}

impl Broker {
    /// Raises an advisory when a router fails right after each return.
    pub(super) fn advise(&mut self, id: RouterId) {
        let Some(router) = self.routers.get(id) else { return };
        if router.health().failed_returns() == FAILED_RETURNS_BEFORE_ADVISORY {
            self.effects.push(BrokerEvent::Advisory(Advisory::KeepsFailing(
                router.path.clone(),
                FAILED_RETURNS_BEFORE_ADVISORY,
            )));
        }
    }

    /// Raises advisories for conditions that do not resolve by waiting, once each.
    pub(super) fn advise_on_status(&mut self, id: RouterId, status: u16) {
        let Some(Router { path, stats, .. }) = self.routers.get(id) else { return };
        let advisory = if stats.refusals >= REFUSALS_BEFORE_ADVISORY && !stats.refusals_reported {
            let works_elsewhere = self.last_success.is_some() && self.last_success >= stats.refused_since;
            works_elsewhere.then(|| Advisory::RefusesCredentials(path.clone(), status))
        } else if stats.not_founds >= NOT_FOUNDS_BEFORE_ADVISORY
            && stats.not_founds == stats.answers()
            && !stats.not_found_reported
        {
            Some(Advisory::OnlyNotFound(path.clone()))
        } else {
            None
        };
        let (Some(advisory), Some(stats)) = (advisory, self.routers.stats(id)) else { return };
        match advisory {
            Advisory::RefusesCredentials(..) => stats.refusals_reported = true,
            _ => stats.not_found_reported = true,
        }
        self.effects.push(BrokerEvent::Advisory(advisory));
    }
}
