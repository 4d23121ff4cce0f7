//! The limits of one request, each default with its reason.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The limits of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryLimits {
    /// Attempts over all targets; at least 1. Default 4: two targets twice, or four once.
    pub attempts: u32,
    /// From arrival until the answer begins, including all attempts and pauses. Default 600 s, as in the SDKs of OpenAI
    /// and Anthropic.
    pub timeout: Duration,
    /// Before the same target is tried again.
    pub backoff: Backoff,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self { attempts: 4, timeout: TimeLimits::default().timeout, backoff: Backoff::default() }
    }
}

/// The time limits of one attempt. Each is counted from what its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// Until there is a connection: name, TCP and TLS. Default 5 s.
    pub connect: Duration,
    /// From the request being sent on an open connection to the first byte of the answer's body. `None`: 120 s for a
    /// stream, and no limit for a whole answer, which is one first byte after minutes of work that is billed already.
    pub first_byte: Option<Duration>,
    /// Between two parts of an answer. Default 120 s.
    pub idle: Duration,
    /// From the arrival of the call until its answer begins. Default 600 s. A stream that has begun has no total.
    pub timeout: Duration,
    /// For how long the beginning of an answer without content is held back, so that another target can still answer.
    /// Default 10 s.
    pub hold: Duration,
}

impl TimeLimits {
    /// The default of `first_byte` for a stream.
    const STREAM_FIRST_BYTE: Duration = Duration::from_secs(120);

    /// The limit on the first byte of an answer, if it has one. `stream`: the request asks for a stream.
    pub const fn first_byte_of(&self, stream: bool) -> Option<Duration> {
        match self.first_byte {
            None if stream => Some(Self::STREAM_FIRST_BYTE),
            limit => limit,
        }
    }
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: None,
            idle: Duration::from_secs(120),
            timeout: Duration::from_secs(600),
            hold: Duration::from_secs(10),
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
