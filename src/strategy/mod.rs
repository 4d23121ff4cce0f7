//! Strategies: each turns the routers that may serve into candidates in order of preference, lazily. One file each.
//!
//! A strategy yields an order and not a pick: the first candidate serves this request, and whoever retries inside the same
//! request walks on along the same order. It never asks who is healthy (it is given those who are) and remembers nothing.

mod random;

pub use random::Random;

use crate::router::RouterId;

/// One router of an order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The router.
    pub router: RouterId,
    /// The probability with which it was drawn at this step, between 0 and 1.
    pub p: f64,
}
