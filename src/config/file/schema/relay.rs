//! The settings of the relay in the pools file, as types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Word;

/// Limits of the relay: for one call, and for all together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// The most attempts of one call, at all targets together. Without: 4.
    #[schemars(range(min = 1))]
    pub attempts: Option<u32>,
    /// Timeout from a call's arrival until its answer begins, all attempts and backoffs together; a stream that has begun has
    /// no total timeout. Without: "600s".
    pub timeout: Option<Word>,
    /// Timeout of connecting: name resolution, TCP and TLS. Without: "5s".
    pub connect: Option<Word>,
    /// Timeout from sending the request on an open connection to the first byte of the answer. Without: "120s" for a stream, and
    /// no limit for a whole answer.
    pub first_byte: Option<Word>,
    /// Timeout between two parts of an answer. Without: "120s".
    pub idle: Option<Word>,
    /// The longest time for which the beginning of a stream without content is held back, so that another target can still
    /// answer. Without: "10s".
    pub hold: Option<Word>,
    /// Backoff before the same target is tried again: random, between 0 and a bound that doubles.
    pub backoff: Option<Backoff>,
    /// The retry budget of all calls together.
    pub retry_budget: Option<RetryBudget>,
}

/// Time limits of the relay below this place; each is taken from the nearest place that has it. Times with their units.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeLimits {
    /// Timeout of connecting.
    pub connect: Option<Word>,
    /// Timeout from sending the request on an open connection to the first byte of the answer.
    pub first_byte: Option<Word>,
    /// Timeout between two parts of an answer.
    pub idle: Option<Word>,
    /// Timeout from the arrival of the call until its answer begins.
    pub timeout: Option<Word>,
    /// The longest time for which the beginning of a stream without content is held back.
    pub hold: Option<Word>,
}

/// Whether only the relay serves a pool, or time limits.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PoolRelay {
    /// Whether only the relay serves it.
    Only(bool),
    /// Time limits of its targets.
    Limits(Box<TimeLimits>),
}

/// Backoff before the same target is tried again: random, between 0 and a bound that doubles.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// The first bound. Without: "500ms".
    pub base: Option<Word>,
    /// The highest bound. Without: "8s".
    pub cap: Option<Word>,
}

/// The retry budget of all calls together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryBudget {
    /// Retries per call, on average over ten seconds. Without: 0.2.
    #[schemars(range(min = 0))]
    pub ratio: Option<f64>,
    /// Retries per second in addition. Without: 10.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub per_second: Option<u32>,
}

/// The value of a header, or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(#[schemars(length(min = 1))] String),
    /// Several, each in a line of its own.
    Several(#[schemars(length(min = 1))] Vec<Word>),
}

/// Headers, by their names.
pub(super) type Headers = BTreeMap<String, Values>;
