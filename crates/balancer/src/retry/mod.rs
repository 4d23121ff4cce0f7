//! Retries: one request that may be sent more than once. Pure: it says what to do next, and does nothing.
//!
//! A [`RetryPlan`] belongs to one request. Given the [`crate::broker::NextTarget`] it says: send, wait first, or give
//! up and why. Another target is tried at once, the same one only after a pause, within the [`RetryLimits`] of the
//! request and the [`RetryBudget`] that all requests share; it ends in time whatever the answers are.
//! [`retry_decision()`] says which answers are worth another attempt.

mod budget;
mod decision;
mod limits;
mod plan;

pub use budget::RetryBudget;
pub use decision::{AttemptResult, RetryDecision, retry_decision};
pub use limits::{Backoff, RetryBudgetSettings, RetryLimits, TimeLimits};
pub use plan::{GiveUp, RetryPlan, Step};

#[cfg(test)]
mod tests;
