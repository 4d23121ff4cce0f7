//! One decision, without a bus.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer::broker::{Broker, BrokerInput, BrokerSettings, Decision, PoolSettings, RouterSettings, WhenAllDisabled};
use balancer::load::rate_limit::RateLimit;
use balancer::strategy::{self, Policy, TargetKind};
use gecholog_broker::clock::Clock;
use gecholog_broker::shared_broker::SharedBroker;
use gecholog_broker::stamping;
use gecholog_broker::telemetry;
use gecholog_protocol::{Message, ReplicaIdentity, patch};
use llm::json::Cursor;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Map, json};
use std::hint::black_box;
use types::outcome::{CallAnswer, CallDetails, CallObservation, LogEntry};
use types::request::Patch;
use types::router::RouterPath;
use types::time::BrokerTime;
use types::transition::BrokerEvent;

use crate::Effort;
use crate::stats::nanos;
use crate::table::{Figure, Row, Target};

/// The router that clients call.
pub(crate) const INGRESS: &str = "/azure/";
/// As many routers as a pools file may have: a page of memory more or less says nothing.
const CROWD: u16 = 65_000;
/// A minute after everything was learnt.
pub(crate) const LEARNT: BrokerTime = BrokerTime::from_nanos(60_000_000_000);
/// A row-1 message as the gateway sends it.
pub(crate) const QUESTION: &[u8] = br#"{"gl_path":"/azure/"}"#;

/// All rows of the core.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (routers, most) in [(3, 60.0), (1_000, 100.0)] {
        let row = Row::new(format!("one decision, {routers} routers"), Figure::Time(decide(effort, routers)?));
        rows.push(row.target(Target::AtMost(Figure::Time(most))));
        let row = Row::new(
            format!("one decision, {routers} routers, answer and stamp written"),
            Figure::Time(write(effort, routers)?),
        );
        rows.push(row.target(Target::AtMost(Figure::Time(300.0))));
    }
    for (routers, most) in [(3, 120.0), (1_000, 300.0)] {
        for (policy, name) in [(Policy::Fastest, "fastest"), (Policy::LeastBusy, "least_busy")] {
            let took = Figure::Time(decide_by_load(effort, policy, routers)?);
            let row = Row::new(format!("one decision, {routers} routers, {name}"), took);
            rows.push(row.target(Target::AtMost(Figure::Time(most))));
        }
    }
    let took = Figure::Time(decide_within(effort, 1_000_000_000)?);
    rows.push(Row::new("one decision, 3 routers with budgets, all with room", took));
    let took = Figure::Time(decide_within(effort, 1)?);
    rows.push(Row::new("one decision, 3 routers with budgets, one with room", took));
    let row = Row::new(format!("memory per router, of {CROWD}, all learnt of"), per_router()?.map(Figure::Memory));
    rows.push(row.target(Target::AtMost(Figure::Memory(1_024.0))));
    let row = Row::new("one decision, nested 4 deep", Figure::Time(decide_nested(effort)?));
    rows.push(row.target(Target::AtMost(Figure::Time(200.0))));
    let row = Row::new("merging an override into a request of 4 KB", Figure::Time(merge(effort)));
    rows.push(row.target(Target::AtMost(Figure::Time(5_000.0))));
    rows.push(Row::new(
        "from message to answer, 3 routers, with lock, clock and random generator",
        Figure::Time(answer(effort)?),
    ));
    Ok(rows)
}

/// A broker with this many routers behind one ingress.
pub(crate) fn broker(routers: u16) -> Result<Broker> {
    Ok(Broker::new(flat(routers)?))
}

/// All that one request needs of the balancer.
pub(crate) fn choose_and_commit(
    broker: &mut Broker,
    ingress: &&str,
    now: BrokerTime,
    rng: &mut SmallRng,
) -> (Decision, Vec<BrokerEvent>) {
    let decision = broker.select(ingress, now, rng);
    broker.commit(&decision, now);
    (decision, broker.take_changes())
}

/// The answer to a request, with its stamp; empty if no router was chosen.
pub(crate) fn write_answer(identity: &ReplicaIdentity, broker: &Broker, decision: &Decision) -> Vec<u8> {
    let Decision::Route(route) = decision else { return Vec::new() };
    let pool = broker.description(route.pool);
    pool.map(|pool| stamping::answer(identity, pool, route).complete(None).0).unwrap_or_default()
}

fn path(text: &str) -> Result<RouterPath> {
    RouterPath::parse(text).with_context(|| format!("{text} is no path"))
}

pub(crate) fn name(number: u16) -> String {
    let names: [&str; 3] = ["gpt35turbo", "gpt4", "dud"];
    match names.get(usize::from(number)) {
        Some(name) => format!("/azure/{name}/"),
        None => format!("/azure/r{number}/"),
    }
}

pub(crate) fn flat(routers: u16) -> Result<BrokerSettings> {
    let routers = (0..routers).map(|number| path(&name(number))).collect::<Result<_>>()?;
    Ok(BrokerSettings::flat(path(INGRESS)?, routers, RouterSettings::default()))
}

/// A broker that chooses by what it has learnt of each router: as many answers as there are routers, each of another speed.
pub(crate) fn learnt(policy: Policy, routers: u16) -> Result<Broker> {
    let mut settings = flat(routers)?;
    for pool in &mut settings.pools {
        if let TargetKind::Branch { policy: old, .. } = &mut pool.root.kind {
            *old = policy.clone();
        }
    }
    let mut broker = Broker::new(settings);
    for number in 0..routers {
        let served = name(number);
        let entry = LogEntry {
            answer: CallAnswer { served_path: Some(&served), status: Some(200), ..CallAnswer::default() },
            details: CallDetails {
                latency: Some(Duration::from_millis(500 + u64::from(number))),
                completion_tokens: Some(100),
                ..CallDetails::default()
            },
            ..LogEntry::default()
        };
        let report = CallObservation::Log { entry: &entry, decision: None };
        let applied = broker.apply(BrokerInput::Observed(&report), BrokerTime::from_nanos(u64::from(number)));
        ensure!(applied.ignored.is_none(), "{served} taught nothing");
    }
    // No log waits for its message any more.
    broker.apply(BrokerInput::Tick, LEARNT);
    Ok(broker)
}

/// Each decision a tenth of a millisecond after the last. No log shows a stamp, so the table of calls in flight is as full as
/// it can be.
fn decide_by_load(effort: Effort, policy: Policy, routers: u16) -> Result<f64> {
    let (mut broker, mut rng) = (learnt(policy, routers)?, SmallRng::seed_from_u64(1));
    let mut now = LEARNT;
    let (decision, _) = choose_and_commit(&mut broker, &INGRESS, now, &mut rng);
    ensure!(matches!(&decision, Decision::Route(route) if route.chosen.p.is_none()), "not chosen by what was learnt");
    Ok(nanos(effort, || {
        now = now.after(Duration::from_micros(100));
        choose_and_commit(&mut broker, &black_box(INGRESS), black_box(now), &mut rng)
    }))
}

/// The same, by chance, where the first may get what it wants and the others this many requests and tokens a minute.
fn decide_within(effort: Effort, most: u32) -> Result<f64> {
    let mut settings = flat(3)?;
    let most = RouterSettings {
        rate_limit: Some(RateLimit { rpm: Some(most), tpm: Some(most) }),
        ..settings.defaults.clone()
    };
    settings.defaults.rate_limit = Some(RateLimit { rpm: Some(u32::MAX), tpm: Some(u32::MAX) });
    for number in 1..3 {
        settings.routers.insert(path(&name(number))?, most.clone());
    }
    let (mut broker, mut rng) = (Broker::new(settings), SmallRng::seed_from_u64(1));
    let mut now = LEARNT;
    let (decision, _) = choose_and_commit(&mut broker, &INGRESS, now, &mut rng);
    ensure!(matches!(&decision, Decision::Route(route) if route.chosen.p.is_none()), "no rate limit was checked");
    Ok(nanos(effort, || {
        now = now.after(Duration::from_micros(100));
        choose_and_commit(&mut broker, &black_box(INGRESS), black_box(now), &mut rng)
    }))
}

/// What a router adds to this process: settings, tree, health, record and what is learnt of it, in bytes. Absent where the
/// system does not report it.
fn per_router() -> Result<Option<f64>> {
    // What building one takes for a while, the next one takes again; several, because the allocator gives back and takes memory
    // in steps of its own.
    const MORE: usize = 4;
    let first = learnt(Policy::Fastest, CROWD)?;
    let before = crate::process::resident();
    let more = (0..MORE).map(|_| learnt(Policy::Fastest, CROWD)).collect::<Result<Vec<_>>>()?;
    let after = crate::process::resident();
    let is_whole = |broker: &Broker| broker.routers().count() == usize::from(CROWD);
    ensure!(more.iter().chain([&first]).all(is_whole), "not all are there");
    Ok(before.zip(after).map(|(before, after)| (after - before).max(0.0) / (MORE as f64 * f64::from(CROWD))))
}

/// A broker whose one pool is nested four deep: two targets in each branch, and routers only at the bottom, so that every
/// decision goes all the way down.
fn nested() -> Result<Broker> {
    const LEVELS: [fn() -> Policy; 4] =
        [|| Policy::LoadBalance, || Policy::Fallback, || Policy::RoundRobin, || Policy::LoadBalance];
    fn target(levels: &[fn() -> Policy], path: &str) -> Result<strategy::Target> {
        let Some((policy, below)) = levels.split_first() else {
            let path = RouterPath::parse(path).with_context(|| format!("{path} is no path"))?;
            return Ok(strategy::Target::plain(TargetKind::Router(path)));
        };
        let targets = ["a/", "b/"].iter().map(|name| target(below, &format!("{path}{name}"))).collect::<Result<_>>()?;
        Ok(strategy::Target::plain(TargetKind::Branch { policy: policy(), targets }))
    }
    let pool = PoolSettings {
        ingress: RouterPath::parse(INGRESS).with_context(|| format!("{INGRESS} is no path"))?,
        root: target(&LEVELS, INGRESS)?,
        when_all_disabled: WhenAllDisabled::Pass,
    };
    Ok(Broker::new(BrokerSettings { pools: vec![pool], ..BrokerSettings::default() }))
}

fn decide_nested(effort: Effort) -> Result<f64> {
    let (mut broker, mut rng) = (nested()?, SmallRng::seed_from_u64(1));
    let now = BrokerTime::from_nanos(1);
    Ok(nanos(effort, || choose_and_commit(&mut broker, &black_box(INGRESS), black_box(now), &mut rng)))
}

/// An override of one field in a request of 4 KB: a conversation, with the quotes and new lines that people write.
fn merge(effort: Effort) -> f64 {
    let said =
        "He said \"come in\" without looking up from the stove.\nLet the dough rest for an hour; it should double. ";
    let messages: Vec<_> = (0..16).map(|_| json!({"role": "user", "content": said.repeat(2)})).collect();
    let body = json!({"max_tokens": 5, "messages": messages, "model": "gpt-4", "temperature": 0.7});
    let body = body.to_string();
    let patch = Patch { merge: Map::from_iter([("max_tokens".to_owned(), json!(200))]), ..Patch::default() };
    nanos(effort, || Cursor::new(black_box(body.as_bytes())).raw().ok().and_then(|body| patch::apply(&patch, body)))
}

fn decide(effort: Effort, routers: u16) -> Result<f64> {
    let (mut broker, mut rng) = (broker(routers)?, SmallRng::seed_from_u64(1));
    let now = BrokerTime::from_nanos(1);
    Ok(nanos(effort, || choose_and_commit(&mut broker, &black_box(INGRESS), black_box(now), &mut rng)))
}

fn write(effort: Effort, routers: u16) -> Result<f64> {
    let (mut broker, mut rng) = (broker(routers)?, SmallRng::seed_from_u64(1));
    let identity =
        ReplicaIdentity::new("abcdefgh", broker.settings().fingerprint(), types::mode::OperatingMode::Balance);
    let now = BrokerTime::from_nanos(1);
    Ok(nanos(effort, || {
        let (decision, _) = choose_and_commit(&mut broker, &black_box(INGRESS), black_box(now), &mut rng);
        write_answer(&identity, &broker, &decision)
    }))
}

fn answer(effort: Effort) -> Result<f64> {
    let broker = broker(3)?;
    let identity =
        ReplicaIdentity::new("abcdefgh", broker.settings().fingerprint(), types::mode::OperatingMode::Balance);
    let handle = SharedBroker::new(broker, identity, Clock::start(), telemetry::log_event);
    Ok(nanos(effort, || {
        let message = Message::read(black_box(QUESTION));
        message.and_then(|message| message.request()).map(|request| handle.route(&request))
    }))
}
