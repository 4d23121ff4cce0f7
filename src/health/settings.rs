//! How routers are taken out and let back, as plain values. Where each default comes from stands in `docs/health.md`.

use std::time::Duration;

use super::cooldown;
use crate::outcome::{Class, Hint, Outcome};

/// What holds for one router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How long a router is left alone after a failure: `DISABLED_TIME`. Zero: never taken out.
    pub disabled_time: Duration,
    /// What becomes of that time when it fails again and again.
    pub cooldown: Cooldown,
    /// How many failures in a row take it out; at least 1.
    pub consecutive: u32,
    /// Below which share of good answers it is taken out.
    pub ratio: Option<Ratio>,
    /// What becomes of an upstream's own word.
    pub retry_after: RetryAfter,
    /// How a router proves itself before it serves again.
    pub probe: Probe,
    /// Over which time it comes back to its whole share. Zero: at once.
    pub ramp: Duration,
    /// A call that took longer counts as a failure.
    pub slow: Option<Duration>,
    /// A request that fails wherever it goes is taken for at fault itself.
    pub poison: bool,
}

impl Default for Settings {
    /// Ten minutes after one failure, as the documents of the gateway's own broker promise.
    fn default() -> Self {
        Self {
            disabled_time: Duration::from_secs(600),
            cooldown: Cooldown::default(),
            consecutive: 1,
            ratio: None,
            retry_after: RetryAfter::default(),
            probe: Probe::default(),
            ramp: Duration::ZERO,
            slow: None,
            poison: false,
        }
    }
}

impl Settings {
    /// The longest that a router is left alone unless its upstream asks for more: the disabled time or, where cooldowns grow,
    /// the longest of them, with all of the jitter.
    pub fn longest_cooldown(&self) -> Duration {
        cooldown::longest(self, u64::MAX)
    }
}

/// A whole set of settings, by its name: `BROKER_HEALTH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// What the documents of the gateway's own broker promise.
    #[default]
    Documented,
    /// What the simulation found best over all its scenarios.
    Resilient,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Documented, Self::Resilient];

    /// What users call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Resilient => "resilient",
        }
    }

    /// The set.
    pub fn settings(self) -> Settings {
        match self {
            Self::Documented => Settings::default(),
            Self::Resilient => Settings {
                disabled_time: Duration::from_secs(5),
                cooldown: Cooldown { factor: 2.0, max: Duration::from_secs(120), jitter: 0.25 },
                consecutive: 3,
                ratio: Some(Ratio::default()),
                retry_after: RetryAfter { assume: Some(Duration::from_secs(5)), ..RetryAfter::default() },
                probe: Probe::default(),
                ramp: Duration::from_secs(10),
                slow: None,
                poison: true,
            },
        }
    }
}

/// What becomes of the disabled time when a router fails again and again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cooldown {
    /// By how much each further trip is longer than the one before; 1 or more.
    pub factor: f64,
    /// The longest; never shorter than the disabled time itself.
    pub max: Duration,
    /// By up to this part it is longer, so that many do not come back in step. The same in every replica.
    pub jitter: f64,
}

impl Default for Cooldown {
    /// Always the same time.
    fn default() -> Self {
        Self { factor: 1.0, max: Duration::from_secs(3_600), jitter: 0.0 }
    }
}

/// Below which share of good answers a router is taken out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The share, from 0 to 1.
    pub below: f64,
    /// Over which time it is counted.
    pub over: Duration,
    /// Of how many answers at least.
    pub min: u32,
}

impl Default for Ratio {
    /// Half of at least ten within a minute.
    fn default() -> Self {
        Self { below: 0.5, over: Duration::from_secs(60), min: 10 }
    }
}

/// What becomes of an upstream's own word about when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryAfter {
    /// It replaces the disabled time: `BROKER_RETRY_AFTER`.
    pub honor: bool,
    /// The longest that is believed; Azure has been seen to say a day.
    pub max: Duration,
    /// A good answer that says that nothing remains leaves the router out before it fails.
    pub preempt: bool,
    /// A 429 that says nothing is taken as if it had said this: whoever has no room is not ill, and one such answer is enough.
    pub assume: Option<Duration>,
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self { honor: true, max: Duration::from_secs(3_600), preempt: false, assume: None }
    }
}

impl RetryAfter {
    /// How long this answer asks to be left alone, if that is to be heeded: only who has no room may ask for it.
    pub(super) fn heed(&self, outcome: &Outcome) -> Option<Duration> {
        let entitled = self.honor && matches!(outcome.class, Class::RateLimited | Class::Overloaded);
        let said = outcome.hint.and_then(Hint::wait);
        let assumed = self.assume.filter(|_| outcome.class == Class::RateLimited);
        said.or(assumed).filter(|_| entitled).map(|wait| wait.min(self.max))
    }

    /// How long a good answer says that nothing will remain, if that is to be heeded.
    pub(super) fn foresee(&self, outcome: &Outcome) -> Option<Duration> {
        let entitled = self.honor && self.preempt && outcome.class == Class::Success;
        match outcome.hint.filter(|_| entitled)? {
            Hint::Refill(wait) if !wait.is_zero() => Some(wait.min(self.max)),
            _ => None,
        }
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
