//! The metrics of [`Counts`]: messages, reloads of the pools file, and the relay where it is on.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::family;
use crate::telemetry::{Counts, dropped_log_lines};

/// The count of each kind.
type Kinds = Vec<(&'static str, u64)>;

#[derive(Debug)]
pub(super) struct Counted {
    bypassed: Kinds,
    incomplete_logs: Kinds,
    messages: Vec<(&'static str, &'static str, u64)>,
    reloads: Kinds,
    last_reload_failed: bool,
    exhausted: Kinds,
    wrong_tokens: Kinds,
    dropped_log_lines: u64,
    relay: Option<Relay>,
}

/// One scrape's values of the relay.
#[derive(Debug)]
struct Relay {
    in_flight: usize,
    limit: usize,
    calls: Kinds,
    attempts: Kinds,
    errors: Kinds,
    given_up: Kinds,
    dropped_entries: u64,
}

impl Counted {
    pub(super) fn from_counts(counts: &Counts) -> Self {
        let relayed = &counts.relayed;
        let relay = relayed.in_flight().map(|(in_flight, limit)| Relay {
            in_flight,
            limit,
            calls: sorted(relayed.calls.all()),
            attempts: sorted(relayed.attempts.all()),
            errors: sorted(relayed.errors.all()),
            given_up: sorted(relayed.given_up.all()),
            dropped_entries: relayed.entries.all().map(|(_, count)| count).sum(),
        });
        Self {
            bypassed: sorted(counts.bypassed.all().map(|(kind, count)| (kind.as_str(), count))),
            incomplete_logs: sorted(counts.incomplete_logs.all()),
            messages: counts.all(),
            reloads: sorted(counts.reloads().map(|(kind, count)| (kind.word(), count))),
            last_reload_failed: counts.last_reload_failed(),
            exhausted: sorted(counts.all_exhausted()),
            wrong_tokens: sorted(counts.wrong_tokens.all()),
            dropped_log_lines: dropped_log_lines(),
            relay,
        }
    }
}

fn sorted(kinds: impl Iterator<Item = (&'static str, u64)>) -> Kinds {
    let mut kinds: Kinds = kinds.collect();
    kinds.sort_unstable();
    kinds
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let help = "Calls that no broker balanced, as reported by the gateway's log";
        kinds(encoder, "calls_unbalanced", help, "reason", &self.bypassed)?;
        let help = "Messages and log entries that were malformed, ignored or incomplete";
        let mut messages = family(encoder, "messages", help, MetricType::Counter, None)?;
        for (what, kind, count) in &self.messages {
            messages.counter([("what", *what), ("kind", *kind)], *count)?;
        }
        let help = "Log entries without effect, by the first needed field that the gateway's filters remove";
        kinds(encoder, "log_entries_incomplete", help, "field", &self.incomplete_logs)?;
        // The name until 0.1: emitted for one release more.
        let help = "Deprecated: log_entries_incomplete";
        kinds(encoder, "log_entries_lacking", help, "field", &self.incomplete_logs)?;
        kinds(encoder, "reloads", "Reloads of the pools file, by result", "result", &self.reloads)?;
        let help = "1: the content of the pools file applies";
        let good = if self.last_reload_failed { 0.0 } else { 1.0 };
        family(encoder, "last_reload_successful", help, MetricType::Gauge, None)?.gauge([], good)?;
        let help = "Operations that failed because this process had no descriptors, memory, threads or ports left";
        kinds(encoder, "resources_exhausted", help, "needed_for", &self.exhausted)?;
        let help = "Wrong operators' tokens, by interface";
        kinds(encoder, "wrong_tokens", help, "via", &self.wrong_tokens)?;
        let help = "Lines of the broker's own log that its reader did not take in time";
        family(encoder, "log_lines_dropped", help, MetricType::Counter, None)?.counter([], self.dropped_log_lines)?;
        self.relay.as_ref().map_or(Ok(()), |relay| relay.encode(encoder))
    }
}

impl Relay {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls of clients to the relay, by result";
        kinds(encoder, "relay_calls", help, "result", &self.calls)?;
        let help = "Attempts of the relay, by result";
        kinds(encoder, "relay_attempts", help, "result", &self.attempts)?;
        let help = "Attempts of the relay without a good answer, by error class";
        kinds(encoder, "relay_errors", help, "class", &self.errors)?;
        let help = "Calls that the relay did not retry, by reason";
        kinds(encoder, "relay_calls_given_up", help, "reason", &self.given_up)?;
        for (name, help, value) in [
            ("relay_calls_in_flight", "Calls in progress in the relay", self.in_flight),
            // The name until 0.1: emitted for one release more.
            ("relay_calls_under_way", "Deprecated: relay_calls_in_flight", self.in_flight),
            ("relay_calls_limit", "Calls that may be in progress in the relay at a time", self.limit),
            // The name until 0.1: emitted for one release more.
            ("relay_calls_room", "Deprecated: relay_calls_limit", self.limit),
        ] {
            family(encoder, name, help, MetricType::Gauge, None)?.gauge([], value as f64)?;
        }
        let help = "Log entries of the relay that could not be published in time";
        family(encoder, "relay_log_entries_dropped", help, MetricType::Counter, None)?.counter([], self.dropped_entries)
    }
}

/// A counter by kind.
fn kinds(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    kinds: &[(&'static str, u64)],
) -> fmt::Result {
    let mut counter = family(encoder, name, help, MetricType::Counter, None)?;
    kinds.iter().try_for_each(|(kind, count)| counter.counter([(label, *kind)], *count))
}
