//! The metrics of finished calls: tokens and cost by router and model, and the file of `BROKER_CALLS`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{family, kinds, named};
use crate::shared_broker::SharedBroker;
use crate::telemetry::ExportResult;

#[derive(Debug)]
pub(super) struct Finished(pub(super) SharedBroker);

impl Collector for Finished {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (encoder, counts) = (&mut encoder, self.0.counts());
        let totals = self.0.calls().totals();
        let help = "Tokens of the calls of this replica, by kind";
        let mut tokens = family(encoder, "call_tokens", help, MetricType::Counter, None)?;
        for ((router, model), sums) in &totals {
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
        for ((router, model), sums) in totals.iter().filter(|(_, sums)| sums.priced > 0) {
            cost.amount([("router", router), ("model", model)], sums.nano_usd as f64 / 1e9)?;
        }
        let help = "Calls of this replica that used tokens and whose cost is unknown";
        let mut unpriced = family(encoder, "calls_unpriced", help, MetricType::Counter, None)?;
        for ((router, model), sums) in &totals {
            unpriced.counter([("router", router), ("model", model)], sums.unpriced)?;
        }
        let help = "Answers whose usage is implausible, and so is unknown";
        family(encoder, "invalid_usages", help, MetricType::Counter, None)?.counter([], counts.invalid_usage())?;
        // Without kinds where traces are off.
        if counts.traced.all().next().is_some() {
            let help = "Calls by the result of their export as traces";
            kinds(encoder, "traced_calls", help, "result", named(&counts.traced, ExportResult::name))?;
        }
        let Some(file) = self.0.calls().file_counts() else { return Ok(()) };
        let help = "Calls for the file of BROKER_CALLS, by result";
        let mut lines = family(encoder, "calls_file_lines", help, MetricType::Counter, None)?;
        lines.counter([("result", "written")], file.written())?;
        lines.counter([("result", "lost")], file.lost())
    }
}
