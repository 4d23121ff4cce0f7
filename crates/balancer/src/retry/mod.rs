//! Attempts: one request that may be sent more than once. Pure: it says what to do next, and never does it.
//!
//! A [`Plan`] belongs to one request. It is shown who may be tried ([`crate::broker::NextTarget`]) and says: send it there, wait
//! first, or stop and why. Elsewhere at once, the same target only after a pause, never more than the [`Limits`] and never
//! more than the [`RateLimit`] that all requests share; whatever the answers are, it ends in time. Which answers are worth
//! another attempt is [`lead()`].

mod budget;
mod decision;
mod limits;
mod plan;

pub use budget::Budget;
pub use decision::{Ended, Lead, lead};
pub use limits::{Backoff, Limits, Spending};
pub use plan::{Plan, Step, Stop};

#[cfg(test)]
mod tests;
