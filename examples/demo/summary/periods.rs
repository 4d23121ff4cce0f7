//! Whether a router that fails was left out as it must be: once for each failure, in peace, and back on time.

use std::time::Duration;

use balancer::broker::RouterSettings;
use jiff::Timestamp;
use types::outcome::JudgedAnswer;

use super::{Run, between};
use crate::watch::{Call, RouterState};

/// How late the line about a router's return may be: the broker sleeps until that moment, and machines are busy.
const LATE: Duration = Duration::from_secs(1);
/// So many calls in a row that miss an enabled router are no chance: with 3 routers, 1 in 37 thousand million.
const MISSES: usize = 60;

/// A time during which a router was disabled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Period {
    pub(super) from: Timestamp,
    /// When it was to end, as announced.
    pub(super) until: Timestamp,
    /// When the broker said that it was over.
    pub(super) back: Option<Timestamp>,
}

impl Run {
    pub(super) fn periods(&self, router: &str) -> Vec<Period> {
        let mut periods: Vec<Period> = Vec::new();
        for change in self.changes.iter().filter(|change| change.router == router) {
            match (&change.to, periods.last_mut()) {
                (RouterState::Enabled | RouterState::OnProbation, Some(last)) => {
                    last.back = last.back.or(Some(change.at))
                }
                (RouterState::Enabled | RouterState::OnProbation, None) => {}
                (RouterState::Disabled { until, .. }, _) => {
                    periods.push(Period { from: change.at, until: *until, back: None });
                }
            }
        }
        periods
    }

    /// Whether every router of the pool was disabled while this call was decided.
    pub(super) fn were_all_disabled(&self, call: &Call) -> bool {
        let out = |router: &String| {
            let over = |period: &Period| call.began <= period.back.unwrap_or(self.ended);
            self.periods(router).iter().any(|period| period.from <= call.decided && over(period))
        };
        self.pool(call).is_some_and(|pool| pool.routers.iter().all(out))
    }

    /// What a router that fails shows.
    pub(super) fn wrong_state(&self, router: &str) -> Vec<String> {
        let missed = if self.is_even() { self.missed(router) } else { Vec::new() };
        [self.wrong_periods(router), self.disturbed(router), self.wrong_returns(router), missed].concat()
    }

    /// Whether this answer is one that may take its router out, by the broker's settings.
    pub(super) fn counts(&self, call: &Call) -> bool {
        let failures = &self.settings_of(&call.router).failures;
        call.status.is_none_or(|status| failures.classify(JudgedAnswer::of_status(status)).is_failure())
    }

    /// Whether one failure takes it out.
    pub(super) fn is_strict(settings: &RouterSettings) -> bool {
        settings.health.consecutive <= 1 && !settings.health.disabled_time.is_zero()
    }

    /// One failure, one period. The router that always fails need not have had a call, unless it comes to its turn.
    fn wrong_periods(&self, router: &str) -> Vec<String> {
        let well = self.served_by(router).filter(|call| !call.failed()).count();
        let failures = self.served_by(router).filter(|call| self.counts(call)).count();
        let periods = self.periods(router).len();
        let mut faults = Vec::new();
        if self.fails(router) && well > 0 {
            faults.push(format!("{router} did not fail in {well} calls, so there is nothing to see"));
        }
        if self.fails(router) && periods == 0 && (failures > 0 || self.is_even()) {
            faults.push(format!("{router} was never disabled"));
        }
        let heard_late = self.served_by(router).filter(|call| call.is_heard_late()).count();
        let strict = Self::is_strict(&self.settings_of(router));
        if failures < periods || (strict && failures > periods + heard_late) {
            faults.push(format!("{failures} failures, but {router} was disabled {periods} times"));
        }
        faults
    }

    /// While a router is disabled it gets no call. What the broker decided, it decided between the call's beginning and
    /// the end of the request processors; so a call counts if all of that is in the period.
    fn disturbed(&self, router: &str) -> Vec<String> {
        let periods = self.periods(router);
        let inside =
            |call: &&Call| periods.iter().any(|period| call.began >= period.from && call.decided < period.until);
        let calls = self.served_by(router).filter(inside).count();
        if calls == 0 { Vec::new() } else { vec![format!("{calls} calls went to {router} while it was disabled")] }
    }

    /// A router is back when its time is over: not before, not much later, and before it is disabled again.
    fn wrong_returns(&self, router: &str) -> Vec<String> {
        let periods = self.periods(router);
        let mut faults = Vec::new();
        let mut fault = |number: usize, what: &str| faults.push(format!("{router}: period {number} {what}"));
        for (number, period) in periods.iter().enumerate().map(|(index, period)| (index + 1, period)) {
            match period.back {
                Some(back) if back < period.until => fault(number, "ended too early"),
                Some(back) if between(period.until, back) > LATE => fault(number, "ended too late"),
                None if number < periods.len() => fault(number, "ran into the next one"),
                None if between(period.until, self.ended) > LATE => fault(number, "never ended"),
                _ => {}
            }
        }
        faults
    }

    /// An enabled router is drawn again.
    fn missed(&self, router: &str) -> Vec<String> {
        let periods = self.periods(router);
        let out = |call: &Call| {
            periods.iter().any(|period| call.decided >= period.from && call.began <= period.back.unwrap_or(self.ended))
        };
        let (mut row, mut longest) = (0, 0);
        for call in self.calls.iter().filter(|call| !call.is_late()) {
            row = if call.router == router || out(call) { 0 } else { row + 1 };
            longest = longest.max(row);
        }
        let text = format!("{router} was enabled and not drawn in {longest} calls in a row");
        if longest > MISSES { vec![text] } else { Vec::new() }
    }
}
