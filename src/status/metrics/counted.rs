//! The metrics of what is counted beside the broker: messages, pools files, and the relay where it is on.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::family;
use crate::telemetry::Counts;

/// Of each kind of one count how many.
type Kinds = Vec<(&'static str, u64)>;

/// One scrape's values.
#[derive(Debug)]
pub(super) struct Counted {
    unbalanced: Kinds,
    lacking: Kinds,
    messages: Vec<(&'static str, &'static str, u64)>,
    reloads: Kinds,
    last_reload_failed: bool,
    exhausted: Kinds,
    wrong_tokens: Kinds,
    relay: Option<Relay>,
}

/// The same of the relay.
#[derive(Debug)]
struct Relay {
    under_way: usize,
    room: usize,
    calls: Kinds,
    attempts: Kinds,
    errors: Kinds,
    given_up: Kinds,
    dropped_entries: u64,
}

impl Counted {
    pub(super) fn of(counts: &Counts) -> Self {
        let relayed = &counts.relayed;
        let relay = relayed.under_way().map(|(under_way, room)| Relay {
            under_way,
            room,
            calls: sorted(relayed.calls.all()),
            attempts: sorted(relayed.attempts.all()),
            errors: sorted(relayed.errors.all()),
            given_up: sorted(relayed.given_up.all()),
            dropped_entries: relayed.entries.all().map(|(_, count)| count).sum(),
        });
        Self {
            unbalanced: sorted(counts.unbalanced.all().map(|(kind, count)| (kind.as_str(), count))),
            lacking: sorted(counts.lacking_logs.all()),
            messages: counts.all(),
            reloads: sorted(counts.reloads().map(|(kind, count)| (kind.word(), count))),
            last_reload_failed: counts.last_reload_failed(),
            exhausted: sorted(counts.all_exhausted()),
            wrong_tokens: sorted(counts.wrong_tokens.all()),
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
        let help = "Calls that went by without us, as the gateway's log tells";
        kinds(encoder, "calls_unbalanced", help, "reason", &self.unbalanced)?;
        let help = "Messages and log entries that were ignored, malformed or lacking";
        let mut messages = family(encoder, "messages", help, MetricType::Counter, None)?;
        for (what, kind, count) in &self.messages {
            messages.counter([("what", *what), ("kind", *kind)], *count)?;
        }
        let help = "Log entries without what learning needs, by the first field that filters took away";
        kinds(encoder, "log_entries_lacking", help, "field", &self.lacking)?;
        kinds(encoder, "reloads", "Pools files that were read again, by what came of it", "result", &self.reloads)?;
        let help = "1: what the pools file holds is in force";
        let good = if self.last_reload_failed { 0.0 } else { 1.0 };
        family(encoder, "last_reload_successful", help, MetricType::Gauge, None)?.gauge([], good)?;
        let help =
            "What failed because this process had no descriptors, memory, threads or ports left, by what it was for";
        kinds(encoder, "resources_exhausted", help, "needed_for", &self.exhausted)?;
        let help = "Wrong operators' tokens, by where they were presented";
        kinds(encoder, "wrong_tokens", help, "via", &self.wrong_tokens)?;
        self.relay.as_ref().map_or(Ok(()), |relay| relay.encode(encoder))
    }
}

impl Relay {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls of clients to the relay, by how they ended";
        kinds(encoder, "relay_calls", help, "result", &self.calls)?;
        let help = "Attempts of the relay, by what came of them";
        kinds(encoder, "relay_attempts", help, "result", &self.attempts)?;
        let help = "Attempts of the relay that came to no good answer, by error class";
        kinds(encoder, "relay_errors", help, "class", &self.errors)?;
        let help = "Calls that the relay did not send once more, by why not";
        kinds(encoder, "relay_calls_given_up", help, "reason", &self.given_up)?;
        for (name, help, value) in [
            ("relay_calls_under_way", "Calls under way in the relay", self.under_way),
            ("relay_calls_room", "Calls that may be under way in the relay", self.room),
        ] {
            family(encoder, name, help, MetricType::Gauge, None)?.gauge([], value as f64)?;
        }
        let help = "Log entries of the relay that the bus did not take in time";
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
