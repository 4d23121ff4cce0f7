//! The limits of one request, each default with its reason.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The limits of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryLimits {
    /// Attempts over all targets; at least 1. Default 4: two targets twice, or four once.
    pub attempts: u32,
    /// From arrival to the first byte of the answer, including all attempts and pauses. Default 60 s, a common client
    /// timeout.
    pub whole: Duration,
    /// Connect timeout, TLS included. Default 5 s.
    pub connect: Duration,
    /// From the connection to the first byte of the body. Default 30 s: a silent upstream counts as failed.
    pub first_byte: Duration,
    /// Between two parts of an answer. Default 60 s.
    pub idle: Duration,
    /// For how long the beginning of an answer without content is held back, so that another target can still answer.
    /// Default 10 s.
    pub hold: Duration,
    /// Before the same target is tried again.
    pub backoff: Backoff,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            attempts: 4,
            whole: Duration::from_secs(60),
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            hold: Duration::from_secs(10),
            backoff: Backoff::default(),
        }
    }
}

/// Exponential backoff with full jitter: uniform between zero and a bound that doubles, so that callers which failed
/// together do not retry together (Brooker, "Exponential Backoff And Jitter", 2015).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first bound. Default 0.5 s.
    pub base: Duration,
    /// The largest bound. Default 8 s.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(500), cap: Duration::from_secs(8) }
    }
}

impl Backoff {
    /// The bound of a pause, after `before` pauses of this request.
    pub fn bound(&self, before: u32) -> Duration {
        self.base.saturating_mul(1 << before.min(20)).min(self.cap)
    }

    /// A random pause.
    pub fn sample<R: Rng>(&self, before: u32, rng: &mut R) -> Duration {
        self.bound(before).mul_f64(rng.random())
    }
}

/// The retries that all requests together may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudgetSettings {
    /// Retries per request, on average. Default 0.2.
    pub ratio: f64,
    /// Retries per second on top, so that a few requests can retry too. Default 10.
    pub per_second: u32,
}

impl Default for RetryBudgetSettings {
    /// As in Finagle's and tower's retry budgets.
    fn default() -> Self {
        Self { ratio: 0.2, per_second: 10 }
    }
}
