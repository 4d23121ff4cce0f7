//! Attempts: one request that may be sent more than once. Pure: it says what to do next, and never does it.
//!
//! A [`RetryPlan`] belongs to one request. It is shown who may be tried ([`crate::broker::NextTarget`]) and says: send it there, wait
//! first, or stop and why. Elsewhere at once, the same target only after a pause, never more than the [`RetryLimits`] and never
//! more than the [`RateLimit`] that all requests share; whatever the answers are, it ends in time. Which answers are worth
//! another attempt is [`retry_decision()`].

mod budget;
mod decision;
mod limits;
mod plan;

pub use budget::RetryBudget;
pub use decision::{AttemptResult, RetryDecision, retry_decision};
pub use limits::{Backoff, RetryBudgetSettings, RetryLimits};
pub use plan::{GiveUp, RetryPlan, Step};

#[cfg(test)]
mod tests;
