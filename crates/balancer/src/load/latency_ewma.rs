//! A router's latency: a peak EWMA of its calls, per call and per completion token.
//!
//! A sample slower than the average replaces it at once, faster ones lower it with the time between them (Finagle's
//! rule, decay 10 s). Finagle lets the average decay to zero; here it decays to the pool's median, because zero would
//! send every caller to a router that is avoided for being slow. A caller's own bad request is no sample.

use types::outcome::{Class, Outcome};
use types::time::BrokerTime;

/// Time constant, in nanoseconds: after it a third of the old value is left.
const DECAY_TIME_CONSTANT_NANOS: f64 = 10e9;
/// A failure counts as at least this slow, in seconds, so that fast errors do not attract calls.
const MIN_FAILURE_LATENCY_SECONDS: f64 = 5.0;
/// A failure counts as at least this many times slower than the average.
const FAILURE_LATENCY_FACTOR: f64 = 2.0;
/// The slowest possible call, in seconds: the gateway ends it then.
const MAX_LATENCY_SECONDS: f64 = crate::in_flight::MAX_CALL_DURATION.as_secs() as f64;
/// The time before the first token, as a number of tokens. Without it an answer of one word would look twenty times
/// slower than a page.
const FIRST_TOKEN_EQUIVALENT_TOKENS: f64 = 16.0;

/// Latency, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyEwma {
    /// Per call.
    pub call: f64,
    /// Per completion token, if the logs report tokens.
    pub token: Option<f64>,
}

impl LatencyEwma {
    /// The slowest possible.
    pub(crate) const MAX: Self =
        Self { call: MAX_LATENCY_SECONDS, token: Some(MAX_LATENCY_SECONDS / FIRST_TOKEN_EQUIVALENT_TOKENS) };

    /// The sample of one outcome, given the average before it; `None` if it is no sample.
    pub(super) fn from_outcome(outcome: &Outcome, before: Option<Self>) -> Option<Self> {
        let took = outcome.latency.map(|latency| latency.as_secs_f64().min(MAX_LATENCY_SECONDS));
        match outcome.class {
            Class::Neutral => None,
            Class::Success => {
                let call = took?;
                Some(Self {
                    call,
                    token: outcome
                        .completion_tokens
                        .map(|tokens| call / (tokens as f64 + FIRST_TOKEN_EQUIVALENT_TOKENS)),
                })
            }
            Class::Failure | Class::Overloaded | Class::RateLimited | Class::Refused => {
                let least = took.unwrap_or(0.0).max(MIN_FAILURE_LATENCY_SECONDS);
                let call = before
                    .map_or(least, |before| least.max(before.call * FAILURE_LATENCY_FACTOR))
                    .min(MAX_LATENCY_SECONDS);
                let token = before.and_then(|before| before.token).unwrap_or(0.0) * FAILURE_LATENCY_FACTOR;
                Some(Self {
                    call,
                    token: Some(
                        token
                            .max(least / FIRST_TOKEN_EQUIVALENT_TOKENS)
                            .min(MAX_LATENCY_SECONDS / FIRST_TOKEN_EQUIVALENT_TOKENS),
                    ),
                })
            }
        }
    }

    /// The average after a sample, given the times of the last sample and of this one.
    pub(super) fn with(self, sample: Self, last: BrokerTime, now: BrokerTime) -> Self {
        let kept = kept(last, now);
        let peak = |known: f64, sample: f64| if sample > known { sample } else { known * kept + sample * (1.0 - kept) };
        let token = match (self.token, sample.token) {
            (Some(known), Some(sample)) => Some(peak(known, sample)),
            (known, sample) => sample.or(known),
        };
        Self { call: peak(self.call, sample.call), token }
    }

    /// The average decayed from the last sample's time to now.
    pub(super) fn decayed_toward(self, last: BrokerTime, now: BrokerTime, median: Self) -> Self {
        let kept = kept(last, now);
        let fade = |known: f64, median: f64| median + (known - median) * kept;
        Self {
            call: fade(self.call, median.call),
            token: self.token.map(|token| fade(token, median.token.unwrap_or(token))),
        }
    }

    /// The median per field, the lower one of two; `None` of nothing.
    pub fn median(latencies: &[Self]) -> Option<Self> {
        let call = median(latencies.iter().map(|latency| latency.call))?;
        Some(Self { call, token: median(latencies.iter().filter_map(|latency| latency.token)) })
    }
}

/// The weight of the old value.
fn kept(last: BrokerTime, now: BrokerTime) -> f64 {
    (now.as_nanos().saturating_sub(last.as_nanos()) as f64 * (-1.0 / DECAY_TIME_CONSTANT_NANOS)).exp()
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    let place = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable_by(place, f64::total_cmp).1)
}
