//! One broker for the balancer's unit tests, its settings, and the reports that it gets, on a stopped clock.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::super::*;
use super::report::{Source, TestObservation};
pub(crate) use crate::fixtures::path;
use crate::health;
use crate::strategy::Target;
use types::outcome::FailureRule;
use types::time::GatewayTime;

pub(crate) const START: BrokerTime = BrokerTime::from_nanos(1_800_000_000_000_000_000);
pub(crate) const INGRESS: &str = "/azure/";

pub(crate) fn router(place: usize) -> String {
    format!("/azure/r{place}/")
}

pub(crate) fn settings(routers: usize) -> BrokerSettings {
    let health =
        health::HealthSettings { disabled_time: Duration::from_secs(600), ..health::HealthSettings::default() };
    let defaults = RouterSettings { failures: FailureRule::default(), health, rate_limit: None };
    BrokerSettings::flat(path(INGRESS), (0..routers).map(|n| path(&router(n))).collect(), defaults)
}

pub(crate) fn pool(root: Target) -> PoolSettings {
    PoolSettings { ingress: path(INGRESS), root, when_all_disabled: WhenAllDisabled::Pass }
}

pub(crate) fn all_disabled() -> BrokerEvent {
    BrokerEvent::AllDisabled { ingress: path(INGRESS), uses_disabled: false }
}

pub(crate) fn at(millis: u64) -> BrokerTime {
    START.after(Duration::from_millis(millis))
}

pub(crate) fn gateway(millis: u64) -> Option<GatewayTime> {
    Some(GatewayTime::from_nanos(5_000_000_000_000 + millis * 1_000_000))
}

/// A log entry of a call that lasted from `from` to `to` on the gateway's clock.
pub(crate) fn log<'a>(served: &'a str, status: u16, transaction: &'a str, from: u64, to: u64) -> TestObservation<'a> {
    TestObservation {
        served_path: Some(served),
        routed_path: Some(served),
        ingress: Some(INGRESS),
        status: Some(status),
        egress_status: Some(status),
        transaction: Some(transaction),
        started: gateway(from),
        stopped: gateway(to),
        ..TestObservation::empty(Source::Log)
    }
}

/// The message of the same call.
pub(crate) fn message<'a>(served: &'a str, status: u16, transaction: &'a str) -> TestObservation<'a> {
    TestObservation {
        served_path: Some(served),
        status: Some(status),
        egress_status: Some(status),
        transaction: Some(transaction),
        ..TestObservation::empty(Source::Message)
    }
}

/// A broker, and everything that it emitted.
pub(crate) struct Harness {
    pub(crate) broker: Broker,
    pub(crate) rng: SmallRng,
    pub(crate) emitted: Vec<BrokerEvent>,
}

/// Chooses and commits: all that one request needs.
pub(crate) fn decide<R: Rng>(
    broker: &mut Broker,
    request: &impl Request,
    now: BrokerTime,
    rng: &mut R,
) -> (Decision, Vec<BrokerEvent>) {
    let decision = broker.select(request, now, rng);
    broker.commit(&decision, now);
    let changes = broker.take_changes();
    (decision, changes)
}

/// A broker with one pool of these routers, and default settings.
pub(crate) fn flat(ingress: &str, routers: &[&str]) -> Broker {
    let routers = routers.iter().map(|router| path(router)).collect();
    Broker::new(BrokerSettings::flat(path(ingress), routers, RouterSettings::default()))
}

impl Harness {
    pub(crate) fn of(settings: BrokerSettings) -> Self {
        Self { broker: Broker::new(settings), rng: SmallRng::seed_from_u64(42), emitted: Vec::new() }
    }

    pub(crate) fn new(routers: usize) -> Self {
        Self::of(settings(routers))
    }

    pub(crate) fn learn(&mut self, report: &TestObservation<'_>, now: BrokerTime) -> Option<IgnoreReason> {
        let applied = report.apply(&mut self.broker, now);
        self.emitted.extend(applied.changes);
        assert_eq!(invariants::broken(&self.broker), None);
        applied.ignored
    }

    pub(crate) fn tick(&mut self, now: BrokerTime) {
        let applied = self.broker.apply(BrokerInput::Tick, now);
        self.emitted.extend(applied.changes);
    }

    pub(crate) fn decide(&mut self, now: BrokerTime) -> Decision {
        let (decision, changes) = decide(&mut self.broker, &INGRESS, now, &mut self.rng);
        self.emitted.extend(changes);
        decision
    }

    pub(crate) fn choose(&mut self, now: BrokerTime) -> Option<String> {
        match self.decide(now) {
            Decision::Route(route) => self.broker.path(route.router()).map(ToString::to_string),
            Decision::Pass(_) => None,
        }
    }

    pub(crate) fn out(&self) -> Vec<String> {
        let cooling = self.broker.routers().filter(|(_, state, _)| matches!(state, HealthState::Cooling { .. }));
        cooling.map(|(path, _, _)| path.to_string()).collect()
    }

    pub(crate) fn stats(&self, place: usize) -> &RouterStats {
        self.broker.routers().nth(place).unwrap().2
    }

    pub(crate) fn state(&self, place: usize) -> HealthState {
        self.broker.routers.as_slice()[place].health().state()
    }

    pub(crate) fn until(&self, place: usize) -> Option<BrokerTime> {
        match self.state(place) {
            HealthState::Cooling { until, .. } => Some(until),
            _ => None,
        }
    }
}
