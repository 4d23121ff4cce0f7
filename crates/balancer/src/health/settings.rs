//! Settings for ejecting and readmitting routers. `docs/health.md` has the source of each default.

use std::time::Duration;

use super::cooldown;
use types::outcome::{Class, Outcome, RetryAfter};

/// The settings of one router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HealthSettings {
    /// The first cooldown after a failure: `DISABLED_TIME`. Zero: never ejected.
    pub disabled_time: Duration,
    /// How the cooldown grows with repeated failures.
    pub cooldown: Cooldown,
    /// Consecutive failures that eject it; at least 1.
    pub consecutive: u32,
    /// The success rate below which it is ejected.
    pub ratio: Option<Ratio>,
    /// What an upstream's request to back off does.
    pub retry_after: RetryAfterSettings,
    /// How it is probed before it serves again.
    pub probe: Probe,
    /// The time over which a router that is back comes to its whole share. Zero: at once.
    pub slow_start: Duration,
    /// A call that took longer counts as a failure.
    pub slow: Option<Duration>,
    /// Detect requests that fail on every router, and blame the request.
    pub poison: bool,
    /// One attempt of the relay without an answer within its limit ejects the router, whatever `consecutive` is: each further
    /// one would cost a caller that whole time.
    pub timeout_ejects: bool,
    /// The last router that serves in a pool is ejected only where its upstream itself names a wait (`Retry-After` and the
    /// like).
    pub keep_last: bool,
}

impl Default for HealthSettings {
    /// Ten minutes after one failure, as the documents of the gateway's own broker promise.
    fn default() -> Self {
        Self {
            disabled_time: Duration::from_secs(600),
            cooldown: Cooldown::default(),
            consecutive: 1,
            ratio: None,
            retry_after: RetryAfterSettings::default(),
            probe: Probe::default(),
            slow_start: Duration::ZERO,
            slow: None,
            poison: false,
            timeout_ejects: false,
            keep_last: false,
        }
    }
}

impl HealthSettings {
    /// The same, but no failure of this kind ejects the router unless the upstream itself names a wait; it is only counted.
    #[must_use]
    pub(crate) fn sparing(&self, outcome: &Outcome) -> Self {
        let retry_after = RetryAfterSettings { assume: None, ..self.retry_after };
        let is_named =
            outcome.class != Class::Overloaded || outcome.retry_after.and_then(RetryAfter::named_wait).is_some();
        if is_named && retry_after.effective_wait(outcome).is_some() {
            return *self;
        }
        Self { consecutive: u32::MAX, timeout_ejects: false, retry_after, ..*self }
    }

    /// The longest that a router is left alone unless its upstream asks for more: the disabled time or, where cooldowns grow,
    /// the longest of them, with all of the jitter.
    pub(crate) fn longest_cooldown(&self) -> Duration {
        cooldown::longest(self, u64::MAX)
    }
}

types::named_enum! {
    /// A whole set of settings, by its name: `BROKER_HEALTH`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub enum Preset {
        /// What the gateway documents for its own broker.
        #[default]
        Documented = "documented",
        /// The best over all scenarios of the simulation.
        Resilient = "resilient",
    }
}

impl Preset {
    /// The settings of the preset.
    pub fn settings(self) -> HealthSettings {
        match self {
            Self::Documented => HealthSettings::default(),
            Self::Resilient => HealthSettings {
                disabled_time: Duration::from_secs(5),
                cooldown: Cooldown { factor: 2.0, max: Duration::from_secs(120), jitter: 0.25 },
                consecutive: 3,
                ratio: Some(Ratio::default()),
                retry_after: RetryAfterSettings {
                    assume: Some(Duration::from_secs(5)),
                    ..RetryAfterSettings::default()
                },
                probe: Probe::default(),
                slow_start: Duration::from_secs(10),
                slow: None,
                poison: true,
                timeout_ejects: true,
                keep_last: false,
            },
        }
    }
}

/// How the cooldown grows with repeated failures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cooldown {
    /// Each further ejection is this many times longer; at least 1.
    pub factor: f64,
    /// The upper bound; never below the disabled time.
    pub max: Duration,
    /// Extends a cooldown by up to this share of it, so that routers do not return in step. The same in every
    /// replica.
    pub jitter: f64,
}

impl Default for Cooldown {
    /// Always the same time.
    fn default() -> Self {
        Self { factor: 1.0, max: Duration::from_secs(3_600), jitter: 0.0 }
    }
}

/// The success rate below which a router is ejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The rate, 0 to 1.
    pub below: f64,
    /// The window.
    pub over: Duration,
    /// The least number of answers in the window.
    pub min: u32,
}

impl Default for Ratio {
    /// Half of at least ten within a minute.
    fn default() -> Self {
        Self { below: 0.5, over: Duration::from_secs(60), min: 10 }
    }
}

/// What an upstream's request to back off does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryAfterSettings {
    /// It replaces the disabled time: `BROKER_RETRY_AFTER`.
    pub honor: bool,
    /// The longest accepted wait; Azure has been seen to ask for a day.
    pub max: Duration,
    /// A good answer that reports an exhausted quota ejects the router before it fails.
    pub preempt: bool,
    /// The wait assumed for a 429 without one. A rate-limited router has not failed, and one such answer is enough.
    pub assume: Option<Duration>,
}

impl Default for RetryAfterSettings {
    fn default() -> Self {
        Self { honor: true, max: Duration::from_secs(3_600), preempt: false, assume: None }
    }
}

impl RetryAfterSettings {
    /// The wait that this answer asks for, if it is honored; only rate-limited and overloaded answers may ask.
    pub(super) fn effective_wait(&self, outcome: &Outcome) -> Option<Duration> {
        let entitled = self.honor && matches!(outcome.class, Class::RateLimited | Class::Overloaded);
        let said = outcome.retry_after.and_then(RetryAfter::wait);
        let assumed = self.assume.filter(|_| outcome.class == Class::RateLimited);
        said.or(assumed).filter(|_| entitled).map(|wait| wait.min(self.max))
    }

    /// The time until an exhausted quota that a good answer reports is refilled, if that is honored.
    pub(super) fn preemptive_wait(&self, outcome: &Outcome) -> Option<Duration> {
        let entitled = self.honor && self.preempt && outcome.class == Class::Success;
        match outcome.retry_after.filter(|_| entitled)? {
            RetryAfter::QuotaReset(wait) if !wait.is_zero() => Some(wait.min(self.max)),
            _ => None,
        }
    }
}

/// How a router on probation is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Probe {
    /// Probes at a time per replica; at least 1.
    pub concurrency: u32,
    /// After this long a probe without an outcome counts as lost.
    pub timeout: Duration,
}

impl Default for Probe {
    fn default() -> Self {
        Self { concurrency: 1, timeout: Duration::from_secs(120) }
    }
}
