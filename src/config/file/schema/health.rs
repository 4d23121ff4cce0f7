//! The health settings of the pools file, as types.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Word;

/// What disables a router, and for how long. It belongs to the router: the nearest setting wins, and two places must
/// not give one router different settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Sets all of the settings below; settings further out no longer apply. Without: BROKER_HEALTH, else documented, and
    /// resilient for a target with a url.
    pub preset: Option<Preset>,
    /// Minutes that a failing router is left out; 0: never. Without: DISABLED_TIME, else the preset's (documented: 10 minutes,
    /// resilient: 5 s).
    #[schemars(range(min = 0))]
    pub disabled_time: Option<f64>,
    /// The answers that count as failures, by their status or error class. Without: BROKER_FAILURE_STATUS, else 408, 424, 425,
    /// 429, 498, 5xx except 501 and 505, a refused key or used-up quota of the target's settings, and a 404 that says that the
    /// target's own deployment or model does not exist.
    pub failure_status: Option<Statuses>,
    /// The cooldown: how long a router is disabled, and how that time grows when it fails repeatedly.
    pub cooldown: Option<Cooldown>,
    /// The number of consecutive failures that disable a router. Without: the preset's (documented: 1, resilient:
    /// 3). A 429 with a Retry-After is enough by itself.
    #[schemars(range(min = 1))]
    pub consecutive: Option<u32>,
    /// Success rate: disables a router when too few of its answers are good, but never the last one of a pool. False: off.
    /// Without: the preset's (documented: off, resilient: below 0.5 over 60 s, from 10 answers on).
    pub ratio: Option<RatioOrOff>,
    /// Whether an upstream's own Retry-After replaces disabled_time. Without: BROKER_RETRY_AFTER, else honor.
    pub retry_after: Option<RetryAfter>,
    /// How a router on probation is tested.
    pub probe: Option<Probe>,
    /// Slow start: the time over which a router that returns goes from a tenth of its weight to all of it; with its unit.
    /// False: at once. Without: the preset's (documented: off, resilient: 10 s).
    pub ramp: Option<SpanOrOff>,
    /// A good answer that took longer counts as a failure; a time with its unit. False: off. Without: off.
    pub slow_is_failure_after: Option<SpanOrOff>,
    /// Request-fault detection. True: a request that fails on a second router within a minute, while that one answers others,
    /// is itself at fault and disables no router. Without: the preset's (documented: off, resilient: on).
    pub poison: Option<bool>,
}

/// A preset of all settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// One failure disables for ten minutes, as the gateway's documentation describes.
    Documented,
    /// Three consecutive failures or a low success rate disable; short cooldowns that grow; slow start.
    Resilient,
}

/// How long a router is disabled.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cooldown {
    /// The same as disabled_time, with its unit: give one of them.
    pub base: Option<Word>,
    /// Each further time is longer by this factor. Without: the preset's (documented: 1, resilient: 2). One step is undone when
    /// the router has served for as long as the cooldown was.
    #[schemars(range(min = 1, max = 100))]
    pub factor: Option<f64>,
    /// The longest cooldown, with its unit. Without: the preset's (documented: 1 h, resilient:
    /// 2 min).
    pub max: Option<Word>,
    /// Jitter: the cooldown is longer by up to this fraction of itself, equally in every replica. Without: the preset's
    /// (documented: 0, resilient: 0.25).
    #[schemars(range(min = 0, max = 1))]
    pub jitter: Option<f64>,
}

/// The smallest acceptable share of good answers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RatioOrOff {
    /// Off.
    Off(Off),
    /// The share, the time and the number of answers.
    Ratio(Ratio),
}

/// A router with a smaller share of good answers is disabled.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// The share of good answers. Without: 0.5.
    #[schemars(range(min = 0, max = 1))]
    pub below: Option<f64>,
    /// The sliding window, with its unit. Without: "60s".
    pub over: Option<Word>,
    /// The number of answers needed. Without: 10.
    #[schemars(range(min = 1))]
    pub min: Option<u32>,
}

/// A time with its unit, or off.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SpanOrOff {
    /// Off.
    Off(Off),
    /// A time with its unit.
    Span(Word),
}

/// `false`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Off(#[schemars(extend("const" = false))] pub bool);

/// How an upstream's Retry-After is used.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryAfter {
    /// False: it is ignored. Without: BROKER_RETRY_AFTER, else true.
    pub honor: Option<bool>,
    /// The longest time that is accepted, with its unit. Without: "1h".
    pub max: Option<Word>,
    /// The time assumed for a 429 without one, with its unit; it then needs no probation. False: the 429 counts as a failure.
    /// Without: the preset's (documented: off, resilient: 5 s).
    pub assume: Option<SpanOrOff>,
    /// True: a good answer that reports that nothing is left of the rate limit disables the router before it fails, but never
    /// the last one of a pool. Without: false.
    pub preempt: Option<bool>,
}

/// How a router on probation is tested.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Probes at a time, of each replica. Without: 1.
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// A probe without a result counts as lost after this time, and the next may be sent. Without: "120s".
    pub timeout: Option<Word>,
}

/// Statuses, ranges (500-599), classes of statuses (5xx) and error classes (overloaded).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Statuses {
    /// Separated by commas, or `any` for everything but 2xx.
    Text(String),
    /// One by one.
    List(#[schemars(length(min = 1))] Vec<Status>),
}

/// A status, a range, a class of statuses or an error class.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Status {
    /// A status.
    Code(#[schemars(range(min = 100, max = 999))] u16),
    /// A status, a range, a class of statuses or an error class.
    Text(String),
}
