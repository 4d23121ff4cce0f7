//! The metrics of finished calls: tokens and cost by router and model, and the file of `BROKER_CALLS`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::family;
use crate::calls::{CallTotals, Calls, Key};
use crate::telemetry::Counts;

#[derive(Debug)]
pub(super) struct Finished {
    totals: Vec<(Key, CallTotals)>,
    /// Lines that were written to the file and lines that were lost, where there is a file.
    file: Option<(u64, u64)>,
    invalid_usage: u64,
    /// Calls by the result of their export as traces; empty where traces are off.
    traced: Vec<(&'static str, u64)>,
}

impl Finished {
    pub(super) fn from_calls(calls: &Calls, counts: &Counts) -> Self {
        let file = calls.file_counts().map(|file| (file.written(), file.lost()));
        let mut traced: Vec<_> = counts.traced.all().collect();
        traced.sort_unstable();
        Self { totals: calls.totals(), file, invalid_usage: counts.invalid_usage(), traced }
    }
}

impl Collector for Finished {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let help = "Tokens of the calls of this replica, by kind";
        let mut tokens = family(encoder, "call_tokens", help, MetricType::Counter, None)?;
        for ((router, model), sums) in &self.totals {
            for (kind, value) in [
                ("input", sums.input_uncached),
                ("cache_read", sums.cache_read),
                ("cache_write", sums.cache_write),
                ("output", sums.output.saturating_sub(sums.reasoning)),
                ("reasoning", sums.reasoning),
            ] {
                tokens.counter([("router", router), ("model", model), ("kind", kind)], value)?;
            }
        }
        let help = "Cost of the calls of this replica whose cost is known, in US dollars";
        let mut cost = family(encoder, "call_cost_usd", help, MetricType::Counter, None)?;
        for ((router, model), sums) in self.totals.iter().filter(|(_, sums)| sums.priced > 0) {
            cost.amount([("router", router), ("model", model)], sums.nano_usd as f64 / 1e9)?;
        }
        let help = "Calls of this replica that used tokens and whose cost is unknown";
        let mut unpriced = family(encoder, "calls_unpriced", help, MetricType::Counter, None)?;
        for ((router, model), sums) in &self.totals {
            unpriced.counter([("router", router), ("model", model)], sums.unpriced)?;
        }
        let help = "Answers whose usage is implausible, and so is unknown";
        family(encoder, "invalid_usages", help, MetricType::Counter, None)?.counter([], self.invalid_usage)?;
        if !self.traced.is_empty() {
            let help = "Calls by the result of their export as traces";
            let mut traced = family(encoder, "traced_calls", help, MetricType::Counter, None)?;
            for (result, count) in &self.traced {
                traced.counter([("result", result)], *count)?;
            }
        }
        let Some((written, lost)) = self.file else { return Ok(()) };
        let help = "Calls for the file of BROKER_CALLS, by result";
        let mut lines = family(encoder, "calls_file_lines", help, MetricType::Counter, None)?;
        lines.counter([("result", "written")], written)?;
        lines.counter([("result", "lost")], lost)
    }
}
