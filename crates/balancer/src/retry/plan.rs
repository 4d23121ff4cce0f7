//! The plan of one request: what to do next, given who may be tried.
//!
//! It holds three promises, whatever the answers are: no more attempts than the limit, nobody tried again while somebody
//! untried may serve (the offer's doing, and it takes offers as they are), and an end within the time.

use std::fmt;
use std::time::Duration;

use rand::Rng;
use smallvec::SmallVec;

use super::{RetryBudget, RetryLimits};
use crate::broker::{NextTarget, Route};
use types::router::RouterId;
use types::time::BrokerTime;

/// No pause is shorter: a clock that stands still must not make anybody spin.
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// One request's plan.
#[derive(Debug, Clone)]
pub struct RetryPlan {
    limits: RetryLimits,
    deadline: BrokerTime,
    sent: u32,
    pauses: u32,
    /// The pause before this attempt is over.
    backed_off: bool,
    /// Who asked not to be asked again before when.
    hints: SmallVec<[(RouterId, BrokerTime); 4]>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send it there.
    Send {
        /// Where.
        route: Route,
        /// When the first byte of an answer must be here.
        by: BrokerTime,
    },
    /// Wait so long, then ask again.
    Pause(Duration),
    /// Nothing more.
    Stop(GiveUp),
}

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// It was sent as often as it may be.
    Attempts,
    /// Its time is over, or would be before the next attempt.
    Time,
    /// All requests together have been sent again as often as they may be.
    Budget,
    /// Nobody is left; with the moment when the first is back, if that is known.
    NoTarget(Option<BrokerTime>),
}

impl GiveUp {
    /// The words of all, as metrics spell them.
    pub const ALL_STR: [&str; 4] = ["attempts", "time", "budget", "nobody_left"];

    /// As metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => Self::ALL_STR[0],
            Self::Time => Self::ALL_STR[1],
            Self::Budget => Self::ALL_STR[2],
            Self::NoTarget(_) => Self::ALL_STR[3],
        }
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attempts => "as many attempts as allowed",
            Self::Time => "no time left for another attempt",
            Self::Budget => "too many retries of all requests together",
            Self::NoTarget(_) => "no target left",
        })
    }
}

impl RetryPlan {
    /// The plan of a request that came now.
    pub fn new(limits: RetryLimits, now: BrokerTime) -> Self {
        let deadline = now.after(limits.whole);
        Self { limits, deadline, sent: 0, pauses: 0, backed_off: false, hints: SmallVec::new() }
    }

    /// How often it was sent.
    pub const fn sent(&self) -> u32 {
        self.sent
    }

    /// When it must be over.
    pub const fn deadline(&self) -> BrokerTime {
        self.deadline
    }

    /// A target asked to be left alone for so long.
    pub fn note_retry_after(&mut self, router: RouterId, wait: Option<Duration>, now: BrokerTime) {
        self.hints.retain(|(other, _)| *other != router);
        self.hints.extend(wait.map(|wait| (router, now.after(wait))));
    }

    /// What to do with this offer.
    pub fn next<R: Rng>(&mut self, offer: NextTarget, budget: &mut RetryBudget, now: BrokerTime, rng: &mut R) -> Step {
        if now >= self.deadline {
            return Step::Stop(match offer {
                NextTarget::None { until, .. } => GiveUp::NoTarget(until),
                NextTarget::Untried(_) | NextTarget::Retry(_) => GiveUp::Time,
            });
        }
        match offer {
            NextTarget::None { until: None, .. } => Step::Stop(GiveUp::NoTarget(None)),
            _ if self.sent >= self.limits.attempts => Step::Stop(GiveUp::Attempts),
            _ if self.sent > 0 && !budget.has_budget(now) => Step::Stop(GiveUp::Budget),
            NextTarget::Untried(route) => self.send(route, budget, now),
            NextTarget::Retry(route) if self.backed_off => self.send(route, budget, now),
            NextTarget::Retry(route) => {
                let hint = self.hints.iter().find(|(router, _)| *router == route.router());
                let wait =
                    hint.map_or_else(|| self.limits.backoff.sample(self.pauses, rng), |(_, until)| until.since(now));
                self.pause(wait, GiveUp::Time, now)
            }
            NextTarget::None { until: Some(until), .. } => {
                // All who wait for it would otherwise come in the same moment.
                let spread = self.limits.backoff.sample(0, rng);
                self.pause(until.since(now).saturating_add(spread), GiveUp::NoTarget(Some(until)), now)
            }
        }
    }

    /// Sends the request to the same target once more at once, if another attempt may be made: for a connection that was closed
    /// before the target answered. It counts as an attempt. With the moment when the first byte of an answer must be here.
    pub fn resend(&mut self, budget: &mut RetryBudget, now: BrokerTime) -> Option<BrokerTime> {
        let may = now < self.deadline && self.sent < self.limits.attempts && budget.withdraw(now);
        may.then(|| {
            self.sent += 1;
            self.answer_by(now)
        })
    }

    /// When the first byte of an answer must be here to a request that is sent now.
    fn answer_by(&self, now: BrokerTime) -> BrokerTime {
        now.after(self.limits.connect.saturating_add(self.limits.first_byte)).min(self.deadline)
    }

    fn send(&mut self, route: Route, budget: &mut RetryBudget, now: BrokerTime) -> Step {
        if self.sent == 0 {
            budget.deposit(now);
        } else if !budget.withdraw(now) {
            return Step::Stop(GiveUp::Budget);
        }
        self.sent += 1;
        self.backed_off = false;
        Step::Send { route, by: self.answer_by(now) }
    }

    /// A wait, unless it would take all the time that is left.
    fn pause(&mut self, wait: Duration, otherwise: GiveUp, now: BrokerTime) -> Step {
        let wait = wait.max(MIN_PAUSE);
        if wait >= self.deadline.since(now) {
            return Step::Stop(otherwise);
        }
        self.pauses += 1;
        self.backed_off = true;
        Step::Pause(wait)
    }
}
