//! The plan of one request: what to do next, given its next target.
//!
//! Whatever the answers are: no more attempts than the limit, no target twice while an untried one may serve (the
//! broker's next target ensures that), and an end within the deadline.

use std::fmt;
use std::time::Duration;

use rand::Rng;
use smallvec::SmallVec;

use super::{RetryBudget, RetryLimits};
use crate::broker::{NextTarget, Route, RouteKind, Unavailability};
use types::router::RouterId;
use types::time::BrokerTime;

/// The shortest pause, so that a stopped clock does not cause a busy loop.
const MIN_PAUSE: Duration = Duration::from_millis(1);
/// From a call's arrival to the end of its last pause: a client that would wait longer is answered, and may come back itself.
const MAX_PAUSED: Duration = Duration::from_secs(60);

/// The plan of one request.
#[derive(Debug, Clone)]
pub struct RetryPlan {
    limits: RetryLimits,
    deadline: BrokerTime,
    /// When the last pause must be over.
    pauses_end: BrokerTime,
    sent: u32,
    /// The next attempt is counted in the budget.
    is_paid: bool,
    /// When an attempt was counted there last.
    paid_at: BrokerTime,
    /// Resends over a new connection, at most `limits.attempts`: they take no attempt from another target.
    resent: u32,
    pauses: u32,
    /// The pause before the next attempt is over.
    backed_off: bool,
    /// Nothing was sent so far but to targets that are disabled, or rest for the requested model.
    found_none: bool,
    /// How long it waits after a target is back; the same each time, so that a wake-up for nothing takes no time from it.
    spread: Option<Duration>,
    /// Targets that asked not to be called before a moment.
    hints: SmallVec<[(RouterId, BrokerTime); 4]>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send the request.
    Send(Route),
    /// Wait, then ask again.
    Pause(Duration),
    /// Wait until a target is back, then for `spread`, so that all who wait do not come in the same moment; then ask again.
    AwaitTarget {
        /// At most so long.
        at_most: Duration,
        /// After that, or after the first target that was back sooner.
        spread: Duration,
    },
    /// Give up.
    Stop(GiveUp),
}

/// Why there is no further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// All attempts are used.
    Attempts,
    /// The deadline has passed, or would pass before the next attempt.
    Time,
    /// The retry budget of all requests is spent.
    Budget,
    /// No target is left.
    NoTarget(Unavailability),
}

impl GiveUp {
    /// The label values of all reasons.
    pub const ALL_STR: [&str; 4] = ["attempts", "time", "budget", "no_target_left"];

    /// The label value in metrics.
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
            Self::NoTarget(Unavailability { announced: true, .. }) => {
                "every target has said that it must not be asked yet"
            }
            Self::NoTarget(_) => "no target left",
        })
    }
}

impl RetryPlan {
    /// The plan of a request that arrived now.
    pub fn new(limits: RetryLimits, now: BrokerTime) -> Self {
        let (deadline, pauses_end) = (now.after(limits.timeout), now.after(limits.timeout.min(MAX_PAUSED)));
        Self {
            limits,
            deadline,
            pauses_end,
            sent: 0,
            is_paid: false,
            paid_at: now,
            resent: 0,
            pauses: 0,
            backed_off: false,
            found_none: true,
            spread: None,
            hints: SmallVec::new(),
        }
    }

    /// Attempts so far.
    pub const fn sent(&self) -> u32 {
        self.sent + self.resent
    }

    /// When the call's time is over.
    pub const fn deadline(&self) -> BrokerTime {
        self.deadline
    }

    /// The call's time is over at this moment, if it is not before.
    pub fn end_by(&mut self, end: BrokerTime) {
        (self.deadline, self.pauses_end) = (self.deadline.min(end), self.pauses_end.min(end));
    }

    /// A target asked not to be called for `wait`; `None` clears that.
    pub fn note_retry_after(&mut self, router: RouterId, wait: Option<Duration>, now: BrokerTime) {
        self.hints.retain(|(other, _)| *other != router);
        self.hints.extend(wait.map(|wait| (router, now.after(wait))));
    }

    /// Until when a target asked not to be called.
    pub fn not_before(&self, router: RouterId) -> Option<BrokerTime> {
        self.hints.iter().find(|(hinted, _)| *hinted == router).map(|(_, until)| *until)
    }

    /// Counts the next attempt in the budget, before its target is chosen: the choice is made under a lock, and the budget has
    /// one of its own. [`RetryPlan::next`] needs it; [`RetryPlan::refund`] follows where that sends nothing.
    pub fn reserve(&mut self, budget: &mut RetryBudget, now: BrokerTime) {
        if self.is_paid || now >= self.deadline || self.sent >= self.limits.attempts {
            return;
        }
        self.is_paid = if self.sent == 0 {
            budget.deposit(now);
            true
        } else {
            budget.withdraw(now)
        };
        self.paid_at = now;
    }

    /// Takes an attempt out of the budget that was counted and not sent.
    pub fn refund(&mut self, budget: &mut RetryBudget) {
        match (std::mem::take(&mut self.is_paid), self.sent) {
            (false, _) => {}
            (true, 0) => budget.undo_deposit(self.paid_at),
            (true, _) => budget.undo_withdraw(self.paid_at),
        }
    }

    /// What to do, given the next target.
    pub fn next<R: Rng>(&mut self, offer: NextTarget, now: BrokerTime, rng: &mut R) -> Step {
        if now >= self.deadline {
            return Step::Stop(match offer {
                NextTarget::None { unavailability, .. } => GiveUp::NoTarget(unavailability),
                NextTarget::Untried(_) | NextTarget::Retry(_) => GiveUp::Time,
            });
        }
        match offer {
            // A client that comes back itself costs less than one that is held; this one may have asked one target early.
            NextTarget::None { unavailability, .. }
                if unavailability.until.is_none() || unavailability.announced && self.found_none =>
            {
                Step::Stop(GiveUp::NoTarget(unavailability))
            }
            _ if self.sent >= self.limits.attempts => Step::Stop(GiveUp::Attempts),
            // To wait takes nothing of the budget.
            NextTarget::Untried(_) | NextTarget::Retry(_) if !self.is_paid => Step::Stop(GiveUp::Budget),
            NextTarget::Untried(route) => self.send(route),
            NextTarget::Retry(route) if self.backed_off => self.send(route),
            NextTarget::Retry(route) => {
                let wait = match self.not_before(route.router()) {
                    Some(until) => until.since(now),
                    None => self.limits.backoff.sample(self.pauses, rng),
                };
                let wait = wait.max(MIN_PAUSE);
                self.pauses += 1;
                self.wait(wait, Step::Pause(wait), GiveUp::Time, now)
            }
            NextTarget::None { unavailability, .. } => {
                let at_most = unavailability.until.map_or(Duration::ZERO, |until| until.since(now));
                let Self { spread, limits, .. } = self;
                let spread = *spread.get_or_insert_with(|| limits.backoff.sample(0, rng).max(MIN_PAUSE));
                let step = Step::AwaitTarget { at_most, spread };
                self.wait(at_most.saturating_add(spread), step, GiveUp::NoTarget(unavailability), now)
            }
        }
    }

    /// The request was not sent after all, for a reason that is not the target's: the next attempt takes its place,
    /// also in the budget.
    pub const fn pass_over(&mut self) {
        self.sent = self.sent.saturating_sub(1);
        self.is_paid = true;
    }

    /// Sends the request to the same target once more at once, over a new connection, because a reused one was closed before the
    /// target answered: most often the upstream's keep-alive timeout. It is counted and takes from the budget, but leaves the
    /// other targets their attempts; with a limit of one attempt a request is never sent twice. True if so.
    pub fn resend(&mut self, budget: &mut RetryBudget, now: BrokerTime) -> bool {
        let within_limits = self.limits.attempts > 1 && self.resent < self.limits.attempts;
        let may = now < self.deadline && within_limits && budget.withdraw(now);
        self.resent += u32::from(may);
        may
    }

    fn send(&mut self, route: Route) -> Step {
        self.is_paid = false;
        self.sent += 1;
        self.backed_off = false;
        self.spread = None;
        self.found_none &= route.kind == RouteKind::Panic || route.is_early();
        Step::Send(route)
    }

    /// A step that waits for so long at most, unless that would pass the end of all pauses.
    fn wait(&mut self, at_most: Duration, step: Step, otherwise: GiveUp, now: BrokerTime) -> Step {
        if at_most >= self.pauses_end.since(now) {
            return Step::Stop(otherwise);
        }
        self.backed_off = true;
        step
    }
}
