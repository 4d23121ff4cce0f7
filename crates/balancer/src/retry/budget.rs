//! The retry budget: the share of retries among all requests is limited, so that an outage is not multiplied.
//!
//! Counted over the last ten seconds, per second. The first attempt of a request is never limited.

use super::RetryBudgetSettings;
use types::time::BrokerTime;

/// The window, in seconds.
const WINDOW_SECONDS: usize = 10;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Requests and retries of the last seconds, and the settings.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryBudget {
    retry_budget: RetryBudgetSettings,
    seconds: [Second; WINDOW_SECONDS],
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Second {
    /// The second since the Unix epoch.
    number: u64,
    requests: u32,
    retries: u32,
}

impl RetryBudget {
    /// With nothing spent.
    pub const fn new(retry_budget: RetryBudgetSettings) -> Self {
        Self { retry_budget, seconds: [Second { number: 0, requests: 0, retries: 0 }; WINDOW_SECONDS] }
    }

    /// Replaces the settings; what is spent stays.
    pub fn allow(&mut self, retry_budget: RetryBudgetSettings) {
        self.retry_budget = retry_budget;
    }

    /// A request was sent for the first time.
    pub(crate) fn deposit(&mut self, now: BrokerTime) {
        if let Some(second) = self.second(now) {
            second.requests = second.requests.saturating_add(1);
        }
    }

    /// Whether a retry is within the budget.
    pub(crate) fn has_budget(&self, now: BrokerTime) -> bool {
        let this = now.as_nanos() / NANOS_PER_SECOND;
        let recent = self.seconds.iter().filter(|second| second.number + WINDOW_SECONDS as u64 > this);
        let (requests, retries) = recent.fold((0_u64, 0_u64), |(requests, retries), second| {
            (requests + u64::from(second.requests), retries + u64::from(second.retries))
        });
        let reserve = f64::from(self.retry_budget.per_second) * WINDOW_SECONDS as f64;
        retries as f64 + 1.0 <= reserve + requests as f64 * self.retry_budget.ratio
    }

    /// Counts a retry if it is within the budget; returns whether it is.
    pub(crate) fn withdraw(&mut self, now: BrokerTime) -> bool {
        let has_budget = self.has_budget(now);
        if has_budget && let Some(second) = self.second(now) {
            second.retries = second.retries.saturating_add(1);
        }
        has_budget
    }

    /// A request that was counted at this time was not sent.
    pub(crate) fn undo_deposit(&mut self, counted: BrokerTime) {
        if let Some(second) = self.counted_in(counted) {
            second.requests = second.requests.saturating_sub(1);
        }
    }

    /// A retry that was counted at this time was not sent.
    pub(crate) fn undo_withdraw(&mut self, counted: BrokerTime) {
        if let Some(second) = self.counted_in(counted) {
            second.retries = second.retries.saturating_sub(1);
        }
    }

    /// The second of this time, if it is still remembered.
    fn counted_in(&mut self, counted: BrokerTime) -> Option<&mut Second> {
        let number = counted.as_nanos() / NANOS_PER_SECOND;
        self.seconds.iter_mut().find(|second| second.number == number)
    }

    fn second(&mut self, now: BrokerTime) -> Option<&mut Second> {
        let number = now.as_nanos() / NANOS_PER_SECOND;
        let second = self.seconds.get_mut((number % WINDOW_SECONDS as u64) as usize)?;
        if second.number != number {
            *second = Second { number, ..Second::default() };
        }
        Some(second)
    }
}
