//! The histograms of OpenTelemetry's conventions for generative AI: tokens per call, and the time of attempts.
//!
//! Labels are bounded: operations and providers are fixed words, a model is one that the settings or the price table know, or
//! `other`, and error types are error classes.

use std::collections::BTreeMap;

use super::CallRecord;
use super::totals::OTHER;
use crate::telemetry::gen_ai::{DURATION_BUCKET_BOUNDS_MS, TOKEN_BUCKET_BOUNDS, UNKNOWN_PROVIDER};

/// The most label sets of each histogram. Further ones have the model `other`; beyond twice as many they are not counted.
const MAX_KINDS: usize = 2_048;

/// The labels of a histogram.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    pub operation: &'static str,
    pub provider: &'static str,
    pub model: String,
    /// `input` or `output` of tokens; of times the error class, empty for a good answer.
    pub what: &'static str,
}

/// Counts per step, the last one for all above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    pub counts: [u64; TOKEN_BUCKET_BOUNDS.len() + 1],
    pub sum: u64,
}

/// A copy of both histograms.
#[derive(Debug, Clone, Default)]
pub struct GenAiHistograms {
    pub tokens: BTreeMap<Kind, Histogram>,
    /// In milliseconds.
    pub durations: BTreeMap<Kind, Histogram>,
}

const _: () = assert!(TOKEN_BUCKET_BOUNDS.len() == DURATION_BUCKET_BOUNDS_MS.len());

impl GenAiHistograms {
    /// Counts a finished call. `model`: its model, if that may be a label.
    pub(super) fn add(&mut self, record: &CallRecord, model: &str) {
        let Some(operation) = record.context.operation else { return };
        let answered = record.router.as_ref();
        for attempt in &record.attempts {
            let provider = attempt.context.provider.unwrap_or(UNKNOWN_PROVIDER);
            let what = if attempt.class == super::CallClass::Success { "" } else { attempt.class.name() };
            let kind = Kind { operation, provider, model: model.to_owned(), what };
            if let Some(ms) = attempt.ms {
                add(&mut self.durations, kind, &DURATION_BUCKET_BOUNDS_MS, ms);
            }
        }
        let served = record.attempts.iter().rfind(|attempt| Some(&attempt.router) == answered);
        let (Some(usage), Some(served)) = (&record.usage, served) else { return };
        let provider = served.context.provider.unwrap_or(UNKNOWN_PROVIDER);
        for (what, tokens) in [("input", usage.input()), ("output", usage.output)] {
            let kind = Kind { operation, provider, model: model.to_owned(), what };
            add(&mut self.tokens, kind, &TOKEN_BUCKET_BOUNDS, tokens);
        }
    }
}

fn add(histograms: &mut BTreeMap<Kind, Histogram>, mut kind: Kind, steps: &[u64], value: u64) {
    if histograms.len() >= MAX_KINDS && !histograms.contains_key(&kind) {
        kind.model = OTHER.to_owned();
    }
    if histograms.len() >= 2 * MAX_KINDS && !histograms.contains_key(&kind) {
        return;
    }
    let histogram = histograms.entry(kind).or_default();
    // A bucket counts values up to its bound, inclusive.
    let step = steps.partition_point(|end| *end < value);
    if let Some(count) = histogram.counts.get_mut(step) {
        *count += 1;
    }
    histogram.sum = histogram.sum.saturating_add(value);
}

#[cfg(test)]
mod tests {
    use super::super::context::{AttemptContext, CallContext};
    use super::super::{CallAttempt, CallClass};
    use super::*;
    use llm::{ErrorClass, Usage};

    fn call() -> CallRecord {
        let attempt = |router: &str, class, ms| CallAttempt {
            router: router.to_owned(),
            class,
            ms: Some(ms),
            context: AttemptContext { sent: None, provider: Some("openai") },
            ..CallAttempt::default()
        };
        CallRecord {
            router: Some("/b/".to_owned()),
            attempts: vec![
                attempt("/a/", CallClass::Error(ErrorClass::Overloaded), 10),
                attempt("/b/", CallClass::Success, 100_000),
            ],
            usage: Some(Usage { input_uncached: 4, cache_read: 1, output: 1, ..Usage::default() }),
            context: CallContext { operation: Some("chat"), ..CallContext::default() },
            ..CallRecord::default()
        }
    }

    #[test]
    fn each_value_is_in_its_step() {
        let mut all = GenAiHistograms::default();
        all.add(&call(), "gpt-4o");
        let of = |histograms: &BTreeMap<Kind, Histogram>| {
            let shown = |(kind, histogram): (&Kind, &Histogram)| {
                let steps: Vec<_> = (0..15).filter(|step| histogram.counts[*step] > 0).collect();
                (kind.what, steps, histogram.sum)
            };
            histograms.iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(of(&all.durations), [("", vec![14], 100_000), ("overloaded", vec![0], 10)]);
        assert_eq!(of(&all.tokens), [("input", vec![2], 5), ("output", vec![0], 1)]);
        let kind = all.tokens.keys().next().unwrap();
        assert_eq!((kind.operation, kind.provider, kind.model.as_str()), ("chat", "openai", "gpt-4o"));
    }

    #[test]
    fn what_generates_nothing_is_not_counted() {
        let mut all = GenAiHistograms::default();
        all.add(&CallRecord { context: CallContext::default(), ..call() }, "gpt-4o");
        assert!(all.tokens.is_empty() && all.durations.is_empty());
    }

    #[test]
    fn kinds_are_bounded() {
        let mut all = GenAiHistograms::default();
        (0..5_000).for_each(|number| all.add(&call(), &number.to_string()));
        assert!(all.tokens.len() <= MAX_KINDS + 4, "{}", all.tokens.len());
        let sum = all.tokens.values().map(|histogram| histogram.sum).sum::<u64>();
        assert_eq!(sum, 5_000 * 6, "and nothing is lost");
    }
}
