//! How routers are taken out and let back, as plain values. Where each default comes from stands in `docs/health.md`.

use std::time::Duration;

use crate::outcome::{Class, Outcome};

/// What holds for one router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long a router is left alone after a failure: `DISABLED_TIME`. Zero: never taken out.
    pub disabled_time: Duration,
    /// How many failures in a row take it out; at least 1.
    pub consecutive: u32,
    /// What becomes of an upstream's own word.
    pub retry_after: RetryAfter,
    /// How a router proves itself before it serves again.
    pub probe: Probe,
}

impl Default for Settings {
    /// Ten minutes after one failure, as the documents of the gateway's own broker promise.
    fn default() -> Self {
        Self {
            disabled_time: Duration::from_secs(600),
            consecutive: 1,
            retry_after: RetryAfter::default(),
            probe: Probe::default(),
        }
    }
}

/// What becomes of an upstream's own word about when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryAfter {
    /// It replaces the disabled time: `BROKER_RETRY_AFTER`.
    pub honor: bool,
    /// The longest that is believed; Azure has been seen to say a day.
    pub max: Duration,
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self { honor: true, max: Duration::from_secs(3_600) }
    }
}

impl RetryAfter {
    /// How long this answer asks to be left alone, if that is to be heeded: only who has no room may ask for it.
    pub(super) fn heed(&self, outcome: &Outcome) -> Option<Duration> {
        let entitled = self.honor && matches!(outcome.class, Class::RateLimited | Class::Overloaded);
        outcome.hint.filter(|_| entitled)?.wait().map(|wait| wait.min(self.max))
    }
}

/// How a router proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Probe {
    /// How many requests at a time, of each replica; at least 1.
    pub concurrency: u32,
    /// After so long a request counts as lost, and the next one may go.
    pub timeout: Duration,
}

impl Default for Probe {
    fn default() -> Self {
        Self { concurrency: 1, timeout: Duration::from_secs(120) }
    }
}
