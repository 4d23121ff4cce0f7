//! How fast a router is: a peak-EWMA of what its calls took, per call and per completion token.
//!
//! An answer slower than what is known counts whole and at once, faster ones bring it down with the time between them
//! (Finagle's rule, decay 10 s). Where Finagle lets what is known fade to nothing, it fades to the median of the pool here:
//! to nothing would send everybody to whoever was left alone for being slow. A caller's own bad request says nothing.

use types::outcome::{Class, Outcome};
use types::time::BrokerTime;

/// After so many nanoseconds a third is left of what was known.
const DECAY: f64 = 10e9;
/// A failure is at least as slow as a call of so many seconds: fast errors attract nobody.
const FAILURE: f64 = 5.0;
/// Each failure is at least so many times slower than what was known.
const WORSE: f64 = 2.0;
/// As slow as a call can be, in seconds: the gateway ends it then.
const SLOWEST: f64 = super::MAX_CALL_DURATION.as_secs() as f64;
/// What comes before the first token takes about as long as so many tokens. Without it, an answer of one word would look
/// twenty times slower than one of a page.
const BEFORE_FIRST: f64 = 16.0;

/// Seconds that a router takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyEwma {
    /// For a call.
    pub call: f64,
    /// For a completion token, where its logs say how many there were.
    pub token: Option<f64>,
}

impl LatencyEwma {
    /// As slow as can be.
    pub const SLOWEST: Self = Self { call: SLOWEST, token: Some(SLOWEST / BEFORE_FIRST) };

    /// What one outcome says, with what was known before; nothing if it says nothing.
    pub(super) fn from_outcome(outcome: &Outcome, before: Option<Self>) -> Option<Self> {
        let took = outcome.latency.map(|latency| latency.as_secs_f64().min(SLOWEST));
        match outcome.class {
            Class::Neutral => None,
            Class::Success => {
                let call = took?;
                Some(Self {
                    call,
                    token: outcome.completion_tokens.map(|tokens| call / (tokens as f64 + BEFORE_FIRST)),
                })
            }
            Class::Failure | Class::Overloaded | Class::RateLimited => {
                let least = took.unwrap_or(0.0).max(FAILURE);
                let call = before.map_or(least, |before| least.max(before.call * WORSE)).min(SLOWEST);
                let token = before.and_then(|before| before.token).unwrap_or(0.0) * WORSE;
                Some(Self { call, token: Some(token.max(least / BEFORE_FIRST).min(SLOWEST / BEFORE_FIRST)) })
            }
        }
    }

    /// What is known after a sample, with the moments of the last one and of this.
    pub(super) fn with(self, sample: Self, last: BrokerTime, now: BrokerTime) -> Self {
        let kept = kept(last, now);
        let peak = |known: f64, sample: f64| if sample > known { sample } else { known * kept + sample * (1.0 - kept) };
        let token = match (self.token, sample.token) {
            (Some(known), Some(sample)) => Some(peak(known, sample)),
            (known, sample) => sample.or(known),
        };
        Self { call: peak(self.call, sample.call), token }
    }

    /// What is left of it now that was learnt last at that moment.
    pub(super) fn decayed_toward(self, last: BrokerTime, now: BrokerTime, median: Self) -> Self {
        let kept = kept(last, now);
        let fade = |known: f64, median: f64| median + (known - median) * kept;
        Self {
            call: fade(self.call, median.call),
            token: self.token.map(|token| fade(token, median.token.unwrap_or(token))),
        }
    }

    /// Each for itself the median of these, the lower one of two; nothing of nothing.
    pub fn median(speeds: &[Self]) -> Option<Self> {
        let call = median(speeds.iter().map(|speed| speed.call))?;
        Some(Self { call, token: median(speeds.iter().filter_map(|speed| speed.token)) })
    }
}

/// The part of what was known that still counts.
fn kept(last: BrokerTime, now: BrokerTime) -> f64 {
    (now.as_nanos().saturating_sub(last.as_nanos()) as f64 * (-1.0 / DECAY)).exp()
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    let place = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable_by(place, f64::total_cmp).1)
}
