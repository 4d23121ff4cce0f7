//! Metrics in Prometheus' text format, made for each scrape from the counts of the broker.
//!
//! Labels are bounded: pools and routers of the settings, and fixed words. No text of a client or an upstream becomes a label.

mod counted;
mod finished;
mod gen_ai;

use std::fmt::{self, Debug};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use counted::Counted;
use finished::Finished;
use gen_ai::GenAi;

use super::Status;
use crate::shared_broker::SharedBroker;
use crate::telemetry::Counter;
use balancer::broker::{HISTOGRAM_STEPS, PublicState, RouterStatus};
use types::outcome::Class;

/// The media type of the text.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;
const PREFIX: &str = "gecholog_broker";

type Label<'a> = (&'a str, &'a str);

/// The metrics of a replica.
pub fn metrics(status: Status, broker: &SharedBroker) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Counted(broker.clone())));
    registry.register_collector(Box::new(Finished(broker.clone())));
    registry.register_collector(Box::new(Scrape { status, transitions: broker.counts().transitions() }));
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    // Their names are OpenTelemetry's, and have no prefix.
    let mut registry = Registry::default();
    registry.register_collector(Box::new(GenAi(broker.calls().histograms())));
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Scrape {
    status: Status,
    transitions: Vec<(String, PublicState, &'static str, u64)>,
}

/// The values of one metric, each with its labels.
struct Family<'a>(MetricEncoder<'a>);

impl Family<'_> {
    fn counter<const N: usize>(&mut self, labels: [Label<'_>; N], value: u64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)
    }

    /// A counter with fractions.
    fn amount<const N: usize>(&mut self, labels: [Label<'_>; N], value: f64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    fn gauge<const N: usize>(&mut self, labels: [Label<'_>; N], value: f64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }
}

fn family<'s>(
    encoder: &'s mut DescriptorEncoder<'_>,
    name: &'s str,
    help: &str,
    kind: MetricType,
    unit: Option<&'s Unit>,
) -> Result<Family<'s>, fmt::Error> {
    encoder.encode_descriptor(name, help, unit, kind).map(Family)
}

/// A counter by kind, in the order of the names.
fn kinds(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    kinds: impl Iterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort_unstable();
    let mut counter = family(encoder, name, help, MetricType::Counter, None)?;
    kinds.into_iter().try_for_each(|(kind, count)| counter.counter([(label, kind)], count))
}

/// The counts of a family, by the names of its kinds.
fn named<K: PartialEq + Copy + Debug>(
    counter: &Counter<K>,
    name: fn(K) -> &'static str,
) -> impl Iterator<Item = (&'static str, u64)> {
    counter.all().map(move |(kind, count)| (name(kind), count))
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.process(encoder)?;
        self.decisions(encoder)?;
        self.states(encoder)?;
        self.outcomes(encoder)?;
        self.latencies(encoder)
    }
}

impl Scrape {
    fn routers(&self) -> impl Iterator<Item = (&str, &RouterStatus)> {
        self.status.broker.routers.iter().map(|router| (router.router.as_str(), router))
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Status { replica, version, mode, config, started, connections, .. } = &self.status;
        let labels: [Label<'_>; 4] =
            [("version", version), ("replica", replica), ("mode", mode.name()), ("config", config)];
        family(encoder, "build_info", "Version, replica id, mode and hash of the settings", MetricType::Gauge, None)?
            .gauge(labels, 1.0)?;
        let help = "When this replica was started";
        let mut start = family(encoder, "start_time", help, MetricType::Gauge, Some(&Unit::Seconds))?;
        start.gauge([], started.as_nanos() as f64 / 1e9)?;
        let mut up = family(encoder, "bus_connected", "1: connected and subscribed", MetricType::Gauge, None)?;
        for link in connections {
            up.gauge([("connection", link.name)], if link.trouble.is_none() { 1.0 } else { 0.0 })?;
        }
        let mut made = family(encoder, "bus_connects", "Connections that were made", MetricType::Counter, None)?;
        for link in connections {
            made.counter([("connection", link.name)], link.connects)?;
        }
        let help = "Messages dropped because they arrived faster than they were read";
        let mut dropped = family(encoder, "bus_dropped_messages", help, MetricType::Counter, None)?;
        for link in connections {
            dropped.counter([("connection", link.name)], link.dropped)?;
        }
        Ok(())
    }

    fn decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls that got a route, by pool, router and reason";
        let mut given = family(encoder, "decisions", help, MetricType::Counter, None)?;
        for pool in &self.status.broker.pools {
            for (router, reason, count) in &pool.decisions {
                let labels = [("pool", pool.ingress.as_str()), ("router", router.as_str()), ("reason", reason.name())];
                given.counter(labels, *count)?;
            }
        }
        let help = "Calls that got no route: the gateway continues as without a broker";
        let mut passed = family(encoder, "passes", help, MetricType::Counter, None)?;
        for pool in &self.status.broker.pools {
            let ingress = pool.ingress.as_str();
            passed.counter([("pool", ingress), ("reason", "all_disabled")], pool.all_disabled)?;
            passed.counter([("pool", ingress), ("reason", "no_matching_target")], pool.no_matching_target)?;
        }
        passed.counter([("pool", ""), ("reason", "unknown_ingress")], self.status.broker.unknown_ingress)?;
        let help = "1: at least one target of the pool is available";
        let mut serves = family(encoder, "pool_serves", help, MetricType::Gauge, None)?;
        for pool in &self.status.broker.pools {
            serves.gauge([("pool", pool.ingress.as_str())], if pool.serves { 1.0 } else { 0.0 })?;
        }
        let help = "Decisions without a result within 200 s";
        let mut lost = family(encoder, "decisions_without_outcome", help, MetricType::Counter, None)?;
        for (path, router) in self.routers() {
            router.without_outcome.map_or(Ok(()), |count| lost.counter([("router", path)], count))?;
        }
        let help = "Calls in progress, sent by this replica; absent until a stamp has come back";
        let mut pending = family(encoder, "pending_calls", help, MetricType::Gauge, None)?;
        for (path, router) in self.routers() {
            router.in_flight.map_or(Ok(()), |open| pending.gauge([("router", path)], f64::from(open)))?;
        }
        Ok(())
    }

    fn states(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, label, help) in [
            ("router_state", "state", "1 for the current health state of the router"),
            // The name until 0.1: emitted for one release more.
            ("router_standing", "standing", "Deprecated: router_state"),
        ] {
            let mut states = family(encoder, name, help, MetricType::Gauge, None)?;
            for (path, router) in self.routers() {
                for state in PublicState::ALL {
                    let value = if router.state == state { 1.0 } else { 0.0 };
                    states.gauge([("router", path), (label, state.name())], value)?;
                }
            }
        }
        let help = "Time until a disabled router is on probation; 0 if it is not disabled";
        let mut left = family(encoder, "router_cooldown", help, MetricType::Gauge, Some(&Unit::Seconds))?;
        for (path, router) in self.routers() {
            left.gauge([("router", path)], router.seconds_left.unwrap_or(0.0))?;
        }
        let help = "Changes of the health state, by new state and cause";
        let mut changed = family(encoder, "router_transitions", help, MetricType::Counter, None)?;
        let known = |path: &str| self.routers().any(|(known, _)| known == path);
        for (path, to, cause, count) in self.transitions.iter().filter(|(path, ..)| known(path)) {
            changed.counter([("router", path.as_str()), ("to", to.name()), ("cause", cause)], *count)?;
        }
        Ok(())
    }

    fn outcomes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Finished calls, each counted once, by router and class";
        let mut outcomes = family(encoder, "outcomes", help, MetricType::Counter, None)?;
        for (path, RouterStatus { stats, .. }) in self.routers() {
            for class in Class::ALL {
                let count = match class {
                    Class::Success => stats.successes,
                    Class::Neutral => stats.neutral,
                    Class::Overloaded => stats.overloaded,
                    Class::RateLimited => stats.rate_limited,
                    Class::Refused => stats.refused,
                    Class::Failure => {
                        stats.failures.saturating_sub(stats.overloaded + stats.rate_limited + stats.refused)
                    }
                };
                outcomes.counter([("router", path), ("class", class.name())], count)?;
            }
        }
        for (name, help) in [
            ("unparsable_retry_after", "Answers whose retry headers cannot be parsed"),
            // The name until 0.1: emitted for one release more.
            ("unreadable_hints", "Deprecated: unparsable_retry_after"),
        ] {
            let mut unparsable = family(encoder, name, help, MetricType::Counter, None)?;
            for (path, router) in self.routers() {
                unparsable.counter([("router", path)], router.stats.unparsable_retry_after)?;
            }
        }
        let help = "Completion tokens reported by upstreams";
        let mut tokens = family(encoder, "completion_tokens", help, MetricType::Counter, None)?;
        for (path, router) in self.routers() {
            tokens.counter([("router", path)], router.stats.tokens)?;
        }
        Ok(())
    }

    fn latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Time that the upstream took";
        let mut latency = family(encoder, "upstream_latency", help, MetricType::Histogram, Some(&Unit::Seconds))?;
        for (path, router) in self.routers() {
            let ends = HISTOGRAM_STEPS.iter().map(|millis| *millis as f64 / 1e3).chain([f64::INFINITY]);
            let steps: Vec<_> = ends.zip(router.stats.latency.counts).collect();
            let (sum, count) = (router.stats.latency.sum.as_secs_f64(), router.stats.latency.count());
            let labels = [("router", path)];
            latency.0.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &steps, None)?;
        }
        Ok(())
    }
}
