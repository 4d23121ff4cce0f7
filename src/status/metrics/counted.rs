//! The metrics of [`Counts`](crate::telemetry::Counts): messages, reloads of the pools file, and the relay where it is on.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::{family, kinds, named};
use crate::shared_broker::SharedBroker;
use crate::telemetry::{NeededFor, RelayCounters, TokenInterface, dropped_log_lines};
use gecholog_protocol::bypass::Bypass;
use types::outcome::ErrorClass;

#[derive(Debug)]
pub(super) struct Counted(pub(super) SharedBroker);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (encoder, counts) = (&mut encoder, self.0.counts());
        let help = "Calls that no broker balanced, as reported by the gateway's log";
        kinds(encoder, "calls_unbalanced", help, "reason", named(&counts.bypassed, Bypass::name))?;
        let help = "Messages and log entries that were malformed, ignored or incomplete";
        let mut messages = family(encoder, "messages", help, MetricType::Counter, None)?;
        for (what, kind, count) in counts.all() {
            messages.counter([("what", what), ("kind", kind)], count)?;
        }
        let help = "Log entries without effect, by the first needed field that the gateway's filters remove";
        kinds(encoder, "log_entries_incomplete", help, "field", counts.incomplete_logs.all())?;
        // The name until 0.1: emitted for one release more.
        let help = "Deprecated: log_entries_incomplete";
        kinds(encoder, "log_entries_lacking", help, "field", counts.incomplete_logs.all())?;
        let help = "Reloads of the pools file, by result";
        kinds(encoder, "reloads", help, "result", counts.reloads().map(|(kind, count)| (kind.name(), count)))?;
        let help = "1: the content of the pools file applies";
        let good = if counts.last_reload_failed() { 0.0 } else { 1.0 };
        family(encoder, "last_reload_successful", help, MetricType::Gauge, None)?.gauge([], good)?;
        let help = "Operations that failed because this process had no descriptors, memory, threads or ports left";
        kinds(encoder, "resources_exhausted", help, "needed_for", named(&counts.exhausted, NeededFor::name))?;
        let help = "Wrong operators' tokens, by interface";
        kinds(encoder, "wrong_tokens", help, "via", named(&counts.wrong_tokens, TokenInterface::name))?;
        let help = "Lines of the broker's own log that its reader did not take in time";
        family(encoder, "log_lines_dropped", help, MetricType::Counter, None)?.counter([], dropped_log_lines())?;
        relay(encoder, &counts.relayed)
    }
}

/// The relay's, where it is on.
fn relay(encoder: &mut DescriptorEncoder<'_>, relayed: &RelayCounters) -> fmt::Result {
    let Some((in_flight, limit)) = relayed.in_flight() else { return Ok(()) };
    let help = "Calls of clients to the relay, by result";
    kinds(encoder, "relay_calls", help, "result", relayed.calls.all())?;
    let help = "Attempts of the relay, by result";
    kinds(encoder, "relay_attempts", help, "result", relayed.attempts.all())?;
    let help = "Attempts of the relay without a good answer, by error class";
    kinds(encoder, "relay_errors", help, "class", named(&relayed.errors, ErrorClass::name))?;
    let help = "Calls that the relay did not retry, by reason";
    kinds(encoder, "relay_calls_given_up", help, "reason", relayed.given_up.all())?;
    for (name, help, value) in [
        ("relay_calls_in_flight", "Calls in progress in the relay", in_flight),
        // The name until 0.1: emitted for one release more.
        ("relay_calls_under_way", "Deprecated: relay_calls_in_flight", in_flight),
        ("relay_calls_limit", "Calls that may be in progress in the relay at a time", limit),
        // The name until 0.1: emitted for one release more.
        ("relay_calls_room", "Deprecated: relay_calls_limit", limit),
    ] {
        family(encoder, name, help, MetricType::Gauge, None)?.gauge([], value as f64)?;
    }
    let help = "Log entries of the relay that could not be published in time";
    family(encoder, "relay_log_entries_dropped", help, MetricType::Counter, None)?
        .counter([], relayed.entries.all().map(|(_, count)| count).sum())
}
