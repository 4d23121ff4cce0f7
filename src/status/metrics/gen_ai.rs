//! The histograms of OpenTelemetry's conventions for generative AI, with their names in Prometheus' form.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::{Family, family};
use crate::calls::{GenAiHistograms, Histogram, Kind};
use crate::telemetry::gen_ai::{DURATION_BUCKET_BOUNDS_MS, OPERATION_DURATION, TOKEN_BUCKET_BOUNDS, TOKEN_USAGE};

#[derive(Debug)]
pub(super) struct GenAi(pub(super) GenAiHistograms);

impl Collector for GenAi {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let help = "Tokens per answered call, cached ones included";
        let mut tokens = family(encoder, TOKEN_USAGE, help, MetricType::Histogram, None)?;
        put(&mut tokens, &self.0.tokens, "gen_ai_token_type", &TOKEN_BUCKET_BOUNDS, 1.0)?;
        let help = "Time of the attempts of calls";
        let mut times = family(encoder, OPERATION_DURATION, help, MetricType::Histogram, Some(&Unit::Seconds))?;
        put(&mut times, &self.0.durations, "error_type", &DURATION_BUCKET_BOUNDS_MS, 1e3)
    }
}

/// Writes histograms, whose values are divided by `unit`. `what` is the name of the last label.
fn put(
    family: &mut Family<'_>,
    histograms: &BTreeMap<Kind, Histogram>,
    what: &str,
    steps: &[u64],
    unit: f64,
) -> fmt::Result {
    for (kind, Histogram { counts, sum }) in histograms {
        let ends = steps.iter().map(|end| *end as f64 / unit).chain([f64::INFINITY]);
        let steps: Vec<_> = ends.zip(counts.iter().copied()).collect();
        let mut labels = vec![
            ("gen_ai_operation_name", kind.operation),
            ("gen_ai_provider_name", kind.provider),
            ("gen_ai_request_model", kind.model.as_str()),
        ];
        if !kind.what.is_empty() {
            labels.push((what, kind.what));
        }
        let count = counts.iter().sum();
        let encoder = &mut family.0.encode_family(&labels)?;
        encoder.encode_histogram::<NoLabelSet>(*sum as f64 / unit, count, &steps, None)?;
    }
    Ok(())
}
