//! Sums of tokens and cost by router and model, for the metrics.
//!
//! Clients may name any model: so a model is a label only if it is in the settings or the price table; all others are `other`.
//! Routers are those of the settings.

use std::collections::{BTreeMap, BTreeSet};

use super::{CallRecord, GenAiHistograms};

/// The label of an unknown model.
pub(super) const OTHER: &str = "other";
/// The most pairs of router and model; further models are counted as `other`.
const MAX_PAIRS: usize = 4_096;

/// Router and model.
pub type Key = (String, String);

/// The sums of one router and model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallTotals {
    pub input_uncached: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub output: u64,
    /// The part of `output` that is reasoning.
    pub reasoning: u64,
    /// The cost of the calls whose cost is known, in billionths of a US dollar.
    pub nano_usd: u64,
    /// Answers with tokens whose cost is known.
    pub priced: u64,
    /// Answers with tokens whose cost is unknown.
    pub unpriced: u64,
}

#[derive(Debug, Default)]
pub(super) struct Totals {
    known: BTreeSet<String>,
    sums: BTreeMap<Key, CallTotals>,
    histograms: GenAiHistograms,
}

impl Totals {
    pub(super) fn know_models(&mut self, models: impl IntoIterator<Item = String>) {
        self.known.extend(models);
    }

    pub(super) fn add(&mut self, record: &CallRecord) {
        let known = record.models().find(|model| self.known.contains(*model));
        let model = known.or(record.context.price_row.as_deref()).unwrap_or(OTHER);
        self.histograms.add(record, model);
        let (Some(router), Some(usage)) = (&record.router, &record.usage) else { return };
        let mut key = (router.clone(), model.to_owned());
        if self.sums.len() >= MAX_PAIRS && !self.sums.contains_key(&key) {
            key.1 = OTHER.to_owned();
        }
        let sums = self.sums.entry(key).or_default();
        for (sum, more) in [
            (&mut sums.input_uncached, usage.input_uncached),
            (&mut sums.cache_read, usage.cache_read),
            (&mut sums.cache_write, usage.cache_write),
            (&mut sums.output, usage.output),
            (&mut sums.reasoning, usage.reasoning),
            (&mut sums.nano_usd, record.cost.as_ref().map_or(0, |cost| cost.nano_usd)),
            (&mut sums.priced, u64::from(record.cost.is_some())),
            (&mut sums.unpriced, u64::from(record.cost.is_none())),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    pub(super) const fn histograms(&self) -> &GenAiHistograms {
        &self.histograms
    }

    pub(super) fn all(&self) -> Vec<(Key, CallTotals)> {
        self.sums.iter().map(|(key, sums)| (key.clone(), *sums)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::calls::context::CallContext;
    use crate::calls::cost::Cost;
    use llm::Usage;

    fn call(model: &str, served: Option<&str>, cost: Option<u64>, row: Option<&str>) -> CallRecord {
        CallRecord {
            router: Some("/a/".to_owned()),
            model: Some(model.to_owned()),
            served_model: served.map(str::to_owned),
            usage: Some(Usage { input_uncached: 10, cache_read: 1, output: 5, reasoning: 2, ..Usage::default() }),
            cost: cost.map(|nano_usd| Cost { nano_usd, price: "target".into(), ..Cost::default() }),
            context: CallContext { price_row: row.map(Arc::from), ..CallContext::default() },
            ..CallRecord::default()
        }
    }

    #[test]
    fn only_known_models_are_distinguished() {
        let mut totals = Totals::default();
        totals.know_models(["gpt-4o".to_owned()]);
        totals.add(&call("gpt-4o", Some("gpt-4o-2024-08-06"), None, None));
        totals.add(&call("anything", Some("gpt-4o"), Some(7), Some("row")));
        totals.add(&call("made up", None, None, None));
        totals.add(&call("made up", None, Some(3), Some("row")));
        totals.add(&CallRecord { usage: None, ..call("gpt-4o", None, None, None) });
        let all = totals.all();
        let names: Vec<_> =
            all.iter().map(|((_, model), sums)| (model.as_str(), sums.nano_usd, sums.unpriced)).collect();
        assert_eq!(names, [("gpt-4o", 7, 1), ("other", 0, 1), ("row", 3, 0)]);
        let sums = all[0].1;
        assert_eq!((sums.input_uncached, sums.cache_read, sums.output, sums.reasoning), (20, 2, 10, 4));
    }

    #[test]
    fn pairs_are_bounded() {
        let mut totals = Totals::default();
        totals.know_models((0..5_000).map(|number| number.to_string()));
        (0..5_000).for_each(|number| totals.add(&call(&number.to_string(), None, None, None)));
        assert_eq!(totals.all().len(), MAX_PAIRS + 1);
    }
}
