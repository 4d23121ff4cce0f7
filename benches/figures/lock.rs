//! What is done under the broker's lock, for each decision by itself: however long the request and however many the routers.
//!
//! A figure is the 99th of a hundred times, by the clock, and so includes the two looks at it (some 40 ns).

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use balancer::broker::{Broker, BrokerInput, Decision, IN_FLIGHT_CAPACITY, RouteKind, WhenAllDisabled};
use balancer::strategy::{Condition, Field, Policy, Query, Target as PoolTarget, TargetKind, Test};
use gecholog_broker::shared_broker::SharedState;
use gecholog_protocol::{Message, ReplicaIdentity};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Map, json};
use std::sync::Arc;
use types::mode::OperatingMode;
use types::outcome::{CallAnswer, CallObservation, LogEntry};
use types::request::Patch;

use crate::Effort;
use crate::core::{INGRESS, LEARNT, choose_and_commit, flat, learnt, name};
use crate::stats::{self, Latencies};
use crate::table::{Figure, Row, Target};

/// The longest time of 99 in a hundred, in nanoseconds.
const MAX_NANOS: f64 = 1_000.0;
/// The same for a probe of the most routers.
const MAX_PROBE_NANOS: f64 = 5_000.0;

/// All rows of the lock.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for routers in [3, 1_000, 60_000] {
        for (size, shown) in [(4_000, "4 KB"), (900_000, "900 KB")] {
            let took = Figure::Time(decide(effort, routers, size)?);
            let what = format!("under the lock: a decision on a request of {shown}, {routers} routers: p99");
            rows.push(Row::new(what, took).target(Target::AtMost(Figure::Time(MAX_NANOS))));
        }
    }
    for (routers, most) in [(3, MAX_NANOS), (1_000, MAX_NANOS), (60_000, MAX_PROBE_NANOS)] {
        let [sent, returned] = probe(effort, routers)?;
        for (what, took) in [("sent", sent), ("given back", returned)] {
            let what = format!("under the lock: a probe {what}, {routers} routers: p99");
            rows.push(Row::new(what, Figure::Time(took)).target(Target::AtMost(Figure::Time(most))));
        }
    }
    let took = Figure::Time(soonest(effort, 1_000)?);
    rows.push(Row::new("under the lock: the one of 1,000 that is back first, while all are disabled: p99", took));
    Ok(rows)
}

/// How many times are taken.
const fn samples(effort: Effort) -> usize {
    40 * effort.batches
}

/// A decision that reads a field of the body, for a target that changes another one. What is read is read before.
fn decide(effort: Effort, routers: u16, size: usize) -> Result<f64> {
    let mut settings = flat(routers)?;
    let pool = settings.pools.first_mut().context("no pool")?;
    if let TargetKind::Branch { targets, .. } = &mut pool.root.kind {
        let merge = Map::from_iter([("max_tokens".to_owned(), json!(200))]);
        let patch = Arc::new(Patch { merge, ..Patch::default() });
        targets.iter_mut().for_each(|target| target.patch = Arc::clone(&patch));
    }
    let field = Field::parse("params.user").context("no field")?;
    let query = Query::Field(field, vec![Test::Eq(json!("x"))]);
    let policy = Policy::Conditional { conditions: Arc::new([Condition { query, then: 0 }]), default: None };
    let flat = std::mem::replace(&mut pool.root, PoolTarget::plain(TargetKind::Branch { policy, targets: Vec::new() }));
    if let TargetKind::Branch { targets, .. } = &mut pool.root.kind {
        targets.push(flat);
    }
    let said = "Let the dough rest for an hour; it should double. ".repeat(size / 50);
    let body = json!({"messages": [{"role": "user", "content": said}], "model": "gpt-4", "user": "x"});
    let message = json!({"gl_path": INGRESS, "ingress_payload": body}).to_string();
    let message = Message::read(message.as_bytes())?;
    let request = message.request()?;
    ensure!(request.body().is_some(), "the message has no body");
    let identity = ReplicaIdentity::new("abcdefgh", settings.fingerprint(), OperatingMode::Balance);
    let broker = Broker::new(settings);
    let ingresses = Arc::clone(broker.ingresses());
    let mut state = SharedState::new(broker, identity, SmallRng::seed_from_u64(1));
    let read = ingresses.read(&request);
    // As after a while: the table of calls in flight has had all its memory once.
    for _ in 0..IN_FLIGHT_CAPACITY {
        black_box(state.route(&read, false, LEARNT));
    }
    let mut times = Latencies::default();
    for _ in 0..samples(effort) {
        let began = stats::now();
        let routed = black_box(state.route(black_box(&read), false, LEARNT));
        times.push(began.elapsed());
        ensure!(matches!(routed.decision, Decision::Route(_)), "no router was chosen");
    }
    Ok(times.quantile(0.99))
}

/// A choice among routers that are all disabled.
fn soonest(effort: Effort, routers: u16) -> Result<f64> {
    let mut settings = flat(routers)?;
    settings.pools.first_mut().context("no pool")?.when_all_disabled = WhenAllDisabled::Soonest;
    let mut broker = Broker::new(settings);
    for number in 0..routers {
        fail(&mut broker, number);
    }
    let mut rng = SmallRng::seed_from_u64(1);
    let mut times = Latencies::default();
    for _ in 0..samples(effort) {
        let began = stats::now();
        let decision = black_box(broker.choose(&black_box(INGRESS), &mut rng));
        times.push(began.elapsed());
        let is_panic = matches!(&decision, Decision::Route(route) if route.kind == RouteKind::Panic);
        ensure!(is_panic, "a router serves");
    }
    Ok(times.quantile(0.99))
}

/// A call of this router has failed.
fn fail(broker: &mut Broker, router: u16) {
    let path = name(router);
    let answer = CallAnswer { served_path: Some(&path), status: Some(500), ..CallAnswer::default() };
    let entry = LogEntry { answer, ..LogEntry::default() };
    broker.apply(BrokerInput::Observed(&CallObservation::Log { entry: &entry, decision: None }), LEARNT);
}

/// Of routers in order, the first is on probation: each call tries it, and its client goes away.
fn probe(effort: Effort, routers: u16) -> Result<[f64; 2]> {
    let mut broker = learnt(Policy::Fallback, routers)?;
    fail(&mut broker, 0);
    let now = LEARNT.after(std::time::Duration::from_secs(86_400));
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut sent, mut returned) = (Latencies::default(), Latencies::default());
    for _ in 0..samples(effort) {
        let began = stats::now();
        let (decision, _) = choose_and_commit(&mut broker, &black_box(INGRESS), black_box(now), &mut rng);
        sent.push(began.elapsed());
        let Decision::Route(route) = &decision else { anyhow::bail!("no router was chosen") };
        ensure!(route.kind == RouteKind::Probe, "a call was no probe");
        let began = stats::now();
        black_box(broker.apply(BrokerInput::Abandoned { route, was_sent: false }, now));
        returned.push(began.elapsed());
    }
    Ok([sent.quantile(0.99), returned.quantile(0.99)])
}
