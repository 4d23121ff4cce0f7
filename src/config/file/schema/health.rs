//! The part of the pools file that says what takes a router out, as types.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Word;

/// What takes a router out, and for how long. It belongs to the router: the nearest that is said wins, and two places must
/// not give one router different settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// A whole set of the settings below; it replaces all that was said further out. Without: BROKER_HEALTH, else
    /// documented, and resilient for a target with a url.
    pub preset: Option<Preset>,
    /// Minutes that a failing router is left out; 0 never takes it out. Without: DISABLED_TIME, else 10.
    #[schemars(range(min = 0))]
    pub disabled_time: Option<f64>,
    /// The answers that count as failures, by their status or error class. Without: BROKER_FAILURE_STATUS, else 408, 424, 425,
    /// 429, 498, 5xx but 501 and 505, a refused key or a used-up quota that the target's settings give, and a 404 that says
    /// that the target's own deployment or model does not exist.
    pub failure_status: Option<Statuses>,
    /// What becomes of that time when a router fails again and again.
    pub cooldown: Option<Cooldown>,
    /// How many failures in a row take a router out. Without: 1. A 429 that says when to come back counts by itself.
    #[schemars(range(min = 1))]
    pub consecutive: Option<u32>,
    /// Takes a router out of whose answers too few are good, but never the last one of a pool. False: off, which is the
    /// default.
    pub ratio: Option<RatioOrOff>,
    /// Whether an upstream's own Retry-After replaces disabled_time. Without: BROKER_RETRY_AFTER, else honor.
    pub retry_after: Option<RetryAfter>,
    /// How a router proves itself before it serves again.
    pub probe: Option<Probe>,
    /// Over which time a router that is back comes to its whole share, beginning with a tenth; with its unit. False: at
    /// once, which is the default.
    pub ramp: Option<SpanOrOff>,
    /// A good answer that took longer counts as a failure; a time with its unit. False: off, which is the default.
    pub slow_is_failure_after: Option<SpanOrOff>,
    /// True: a request that fails on a second router within a minute, while that one answers others, is taken for at fault
    /// itself and harms no router. Without: false.
    pub poison: Option<bool>,
}

/// A whole set of settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// One failure disables for ten minutes, as the gateway's documents promise.
    Documented,
    /// Three failures in a row or too few good answers; short times that grow; a gentle return.
    Resilient,
}

/// How long a router is left alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cooldown {
    /// The same as disabled_time, with its unit: give one of them.
    pub base: Option<Word>,
    /// Each further time is longer by this. Without: 1. A time that long in service takes one step back.
    #[schemars(range(min = 1, max = 100))]
    pub factor: Option<f64>,
    /// The longest that the factor can make it, with its unit. Without: "1h".
    pub max: Option<Word>,
    /// By up to this part it is longer, the same in every broker. Without: 0.
    #[schemars(range(min = 0, max = 1))]
    pub jitter: Option<f64>,
}

/// Of whose answers too few are good.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RatioOrOff {
    /// Off.
    Off(Off),
    /// So few.
    Ratio(Ratio),
}

/// Below which share of good answers a router is taken out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// The share of good answers. Without: 0.5.
    #[schemars(range(min = 0, max = 1))]
    pub below: Option<f64>,
    /// Over which time, with its unit. Without: "60s".
    pub over: Option<Word>,
    /// Of how many answers at least. Without: 10.
    #[schemars(range(min = 1))]
    pub min: Option<u32>,
}

/// A time with its unit, or none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SpanOrOff {
    /// None.
    Off(Off),
    /// A time with its unit.
    Span(Word),
}

/// `false`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Off(#[schemars(extend("const" = false))] pub bool);

/// What becomes of an upstream's own word about when to come back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryAfter {
    /// False: it is ignored.
    pub honor: Option<bool>,
    /// The longest that is believed, with its unit. Without: "1h".
    pub max: Option<Word>,
    /// A 429 that says nothing is taken as if it had said this, with its unit; false: it counts as a failure, which is the
    /// default.
    pub assume: Option<SpanOrOff>,
    /// True: a good answer that says that nothing remains leaves the router out before it fails, but never the last one of
    /// a pool. Without: false.
    pub preempt: Option<bool>,
}

/// How a router proves itself before it serves again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// How many requests at a time, of each broker. Without: 1.
    #[schemars(range(min = 1))]
    pub concurrency: Option<u32>,
    /// After so long a request of which nothing was heard counts as lost, and the next may go. Without: "120s".
    pub timeout: Option<Word>,
}

/// Statuses, ranges (500-599), classes of them (5xx) and error classes (overloaded).
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
