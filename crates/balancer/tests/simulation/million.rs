//! A million events without sense or order through the core, and after each of them everything must hold.
//!
//! Four worlds with pools of every strategy share them. It refuses to be reasonable: reports about calls that never were,
//! answers before their beginning, permits that were never given, settings that change in the middle.

use std::time::Duration;

use balancer::broker::{
    Broker, BrokerInput, BrokerSettings, Decision, PoolSettings, Route, RouteKind, RouterSettings, WhenAllDisabled,
    invariants,
};
use balancer::health::{Preset, RetryAfterSettings};
use balancer::strategy::{Policy, Target, TargetKind};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use types::outcome::{CallAnswer, CallDetails, CallObservation, FailureRule, LogEntry, ResponseMessage, RetryAfter};
use types::router::RouterPath;
use types::time::{BrokerTime, GatewayTime};
use types::transition::{BrokerEvent, HealthState};

use crate::engine::dice;

const EVENTS: u64 = 1_000_000;
const WORLDS: u64 = 4;
const START: BrokerTime = BrokerTime::from_nanos(1_800_000_000_000_000_000);
const ROUTERS: usize = 6;
const STATUSES: [u16; 12] = [200, 200, 200, 200, 400, 401, 404, 408, 429, 500, 503, 529];
const PAYLOADS: [&[u8]; 4] = [b"a", b"b", b"the same as ever", b""];

fn path(text: &str) -> RouterPath {
    RouterPath::parse(text).unwrap()
}

fn leaf(router: usize) -> Target {
    Target::plain(TargetKind::Router(path(&format!("/r/{router}/"))))
}

fn branch(policy: Policy, targets: Vec<Target>) -> Target {
    Target::plain(TargetKind::Branch { policy, targets })
}

/// Pools that share routers, some of them nested; and health of one kind or another.
///
/// How many may prove a router at a time stays as it was: a reload that lowers it leaves alone those that are in progress.
fn settings(rng: &mut SmallRng, concurrency: u32) -> BrokerSettings {
    let mut health = [Preset::Documented, Preset::Resilient].choose(rng).unwrap().settings();
    health.disabled_time = Duration::from_millis(rng.random_range(0..20_000));
    health.probe.concurrency = concurrency;
    health.poison = rng.random();
    health.retry_after = RetryAfterSettings { honor: rng.random(), preempt: rng.random(), ..health.retry_after };
    let when_all_disabled = [WhenAllDisabled::Pass, WhenAllDisabled::Soonest, WhenAllDisabled::Any];
    let mut drained = leaf(5);
    drained.drained = rng.random();
    let roots = [
        branch(Policy::LoadBalance, (0..3).map(leaf).collect()),
        branch(Policy::RoundRobin, vec![leaf(3), drained]),
        branch(Policy::Fallback, vec![leaf(0), branch(Policy::LoadBalance, vec![leaf(3), leaf(4)]), leaf(5)]),
    ];
    let pools = (0..).zip(roots).map(|(number, root)| PoolSettings {
        ingress: path(&format!("/pool/{number}/")),
        root,
        when_all_disabled: *when_all_disabled.choose(rng).unwrap(),
    });
    let defaults = RouterSettings { failures: FailureRule::default(), health, rate_limit: None };
    BrokerSettings { pools: pools.collect(), defaults, ..BrokerSettings::default() }
}

/// One harness, and the decisions whose calls may still end.
struct Harness {
    broker: Broker,
    rng: SmallRng,
    now: BrokerTime,
    running: Vec<Route>,
    concurrency: u32,
    /// In the last event.
    router_returned: bool,
}

impl Harness {
    fn step(&mut self) {
        let pause = match self.rng.random_range(0..1_000) {
            0 => Duration::from_secs(self.rng.random_range(0..2_000)),
            1..50 => Duration::from_millis(self.rng.random_range(0..3_000)),
            _ => Duration::from_micros(self.rng.random_range(0..20_000)),
        };
        self.now = self.now.after(pause);
        match self.rng.random_range(0..2_000) {
            0 => {
                let settings = settings(&mut self.rng, self.concurrency);
                self.apply(&BrokerInput::Configured(&settings));
            }
            1..100 => self.apply(&BrokerInput::Tick),
            100..900 => self.decide(),
            _ => self.report(),
        }
    }

    fn decide(&mut self) {
        let ingress = format!("/pool/{}/", self.rng.random_range(0..4));
        let decision = self.broker.select(&ingress.as_str(), self.now, &mut self.rng);
        self.broker.commit(&decision, self.now);
        let changes = self.broker.take_changes();
        self.note(&changes);
        if let Decision::Route(route) = decision {
            if self.running.len() == 64 {
                self.running.swap_remove(self.rng.random_range(0..64));
            }
            self.running.push(route);
        }
    }

    fn report(&mut self) {
        let rng = &mut self.rng;
        let route = self.running.choose(rng).cloned();
        let of = |route: &Route| self.broker.path(route.router()).map(ToString::to_string);
        let named = route.as_ref().and_then(of);
        let other = format!("/r/{}/", rng.random_range(0..ROUTERS + 1));
        let served = named.clone().filter(|_| rng.random_ratio(9, 10)).unwrap_or(other);
        let probe = route.as_ref().is_some_and(|route| route.kind != RouteKind::Normal) ^ rng.random_ratio(1, 50);
        let transaction = format!("T{}", rng.random_range(0..200));
        let log = rng.random::<bool>();
        let status = STATUSES.choose(rng).copied();
        let answer = CallAnswer {
            served_path: Some(&served),
            status: status.filter(|_| rng.random_ratio(29, 30)),
            gateway_generated: rng.random_ratio(1, 20),
            retry_after: hint(rng),
            transaction: Some(&transaction),
            html: false,
        };
        let started = moment(rng, self.now);
        let message = ResponseMessage { answer, egress_status: status, started, ..ResponseMessage::default() };
        let entry = LogEntry {
            answer,
            details: CallDetails {
                probe,
                latency: Some(Duration::from_millis(rng.random_range(0..210_000))),
                completion_tokens: Some(rng.random()),
                ..CallDetails::default()
            },
            routed_path: Some(&served),
            ingress: Some("/pool/0/"),
            stamped_path: named.as_deref(),
            egress_status: status,
            started,
            stopped: moment(rng, self.now),
            payload: PAYLOADS.choose(rng).copied(),
            ..LogEntry::default()
        };
        let decision = route.as_ref().map(|route| route.number);
        let report =
            if log { CallObservation::Log { entry: &entry, decision } } else { CallObservation::Message(&message) };
        let applied = self.broker.apply(BrokerInput::Observed(&report), self.now);
        self.note(&applied.changes);
    }

    fn apply(&mut self, event: &BrokerInput<'_>) {
        let applied = self.broker.apply(*event, self.now);
        self.note(&applied.changes);
    }

    fn note(&mut self, changes: &[BrokerEvent]) {
        self.router_returned = changes.iter().any(|change| {
            let BrokerEvent::HealthChanged(transition) = change else { return false };
            !matches!(transition.state, HealthState::Cooling { .. })
        });
    }
}

impl Harness {
    /// When each router is back that is out; nothing while a verdict on a request may take that back.
    fn deadlines(&self) -> [Option<BrokerTime>; ROUTERS] {
        let mut deadlines = [None; ROUTERS];
        if !self.broker.settings().defaults.health.poison {
            for (deadline, (_, state, _)) in deadlines.iter_mut().zip(self.broker.routers()) {
                *deadline = if let HealthState::Cooling { until, .. } = state { Some(until) } else { None };
            }
        }
        deadlines
    }
}

fn hint(rng: &mut SmallRng) -> Option<RetryAfter> {
    let wait = Duration::from_millis(rng.random_range(0..30_000));
    match rng.random_range(0..10) {
        0 => Some(RetryAfter::Delay(wait)),
        1 => Some(RetryAfter::Delay(wait / 40)),
        2 => Some(RetryAfter::QuotaReset(wait)),
        3 => Some(RetryAfter::Unparsable),
        _ => None,
    }
}

/// Some moment about now on the gateway's clock, if it is known.
fn moment(rng: &mut impl Rng, now: BrokerTime) -> Option<GatewayTime> {
    let ago = rng.random_range(0..20_000_000_000_u64);
    Some(GatewayTime::from_nanos(now.as_nanos() - 3_600_000_000_000 - ago)).filter(|_| rng.random_ratio(9, 10))
}

fn play(number: u64) {
    let mut rng = dice(&[7, number]);
    let concurrency = rng.random_range(1..4);
    let broker = Broker::new(settings(&mut rng, concurrency));
    let mut harness = Harness { broker, rng, now: START, running: Vec::new(), concurrency, router_returned: false };
    for event in 0..EVENTS / WORLDS {
        let before = harness.deadlines();
        harness.step();
        let closer = before.iter().zip(&harness.deadlines()).any(|(before, after)| after.is_some() && after < before);
        // Who came back and went out again within one event has a deadline of its own.
        assert!(!closer || harness.router_returned, "harness {number}, event {event}: a deadline moved closer");
        assert_eq!(invariants::broken(&harness.broker), None, "harness {number}, event {event}");
    }
    let mut ticks = 0;
    while let Some(due) = harness.broker.next_deadline() {
        harness.broker.apply(BrokerInput::Tick, due);
        ticks += 1;
        assert!(ticks < 100_000, "harness {number}: time does not bring it to rest");
    }
    let mut routers = harness.broker.routers();
    assert!(routers.all(|(_, state, _)| !matches!(state, HealthState::Cooling { .. })), "an ejected router comes back");
    let answers: u64 = harness.broker.routers().map(|(_, _, record)| record.answers()).sum();
    assert!(answers > EVENTS / WORLDS / 10, "the events were not all ignored: {answers}");
}

#[test]
fn a_million_events_break_nothing() {
    std::thread::scope(|scope| {
        for number in 0..WORLDS {
            scope.spawn(move || play(number));
        }
    });
}
