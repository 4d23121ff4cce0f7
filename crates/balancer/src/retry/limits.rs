//! The limits of one request, as plain values, each default with its reason.

use std::time::Duration;

use rand::{Rng, RngExt};

/// What one request may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryLimits {
    /// How often it is sent, all targets together; at least 1. Default 4: two targets twice each, or four once.
    pub attempts: u32,
    /// From its arrival to the first byte of its answer, all attempts and pauses together. Default 60 s: clients' own
    /// patience is often just that.
    pub whole: Duration,
    /// Until there is a connection, TLS included. Default 5 s.
    pub connect: Duration,
    /// From the connection to the first byte of an answer's body. Default 30 s: a silent upstream is a failure.
    pub first_byte: Duration,
    /// Between two parts of an answer. Default 60 s.
    pub idle: Duration,
    /// Before the same target is asked again.
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
            backoff: Backoff::default(),
        }
    }
}

/// Exponential pauses with full jitter: drawn between nothing and a bound that doubles, so that those who failed together
/// do not come back together (Brooker, "Exponential Backoff And Jitter", 2015).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The bound of the first pause. Default 0.5 s.
    pub base: Duration,
    /// No bound is higher. Default 8 s.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(500), cap: Duration::from_secs(8) }
    }
}

impl Backoff {
    /// The bound of a pause; `before` counts the pauses that this request has made.
    pub fn bound(&self, before: u32) -> Duration {
        self.base.saturating_mul(1 << before.min(20)).min(self.cap)
    }

    /// A pause.
    pub fn sample<R: Rng>(&self, before: u32, rng: &mut R) -> Duration {
        self.bound(before).mul_f64(rng.random())
    }
}

/// What all requests together may spend on attempts beyond the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudgetSettings {
    /// So many attempts more per request, on average. Default 0.2.
    pub ratio: f64,
    /// So many a second besides, so that few requests can retry too. Default 10.
    pub per_second: u32,
}

impl Default for RetryBudgetSettings {
    /// As Finagle's and tower's retry budgets have it.
    fn default() -> Self {
        Self { ratio: 0.2, per_second: 10 }
    }
}
