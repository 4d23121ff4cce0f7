//! The real broker, one or more replicas of it, with a stopped clock: what it learns comes from the gateway's messages and
//! logs as the bus brings them, and its invariants are looked at while it runs.

use std::time::Duration;

use balancer::broker::{
    Broker, BrokerInput, BrokerSettings, Decision, RouteKind as SentAs, RouterSettings, invariants,
};
use balancer::health::Preset;
use rand::rngs::SmallRng;
use types::outcome::{CallAnswer, CallDetails, CallObservation, FailureRule, LogEntry, ResponseMessage, RetryAfter};
use types::router::RouterPath;
use types::time::{BrokerTime, GatewayTime};
use types::transition::HealthState;

use crate::call::{Call, Choice, PolicyChoice};
use crate::engine::dice;
use crate::policy::{News, Policy, View};
use crate::scenario::Scenario;

const INGRESS: &str = "/pool/";
/// The broker's clock when a run begins, in nanoseconds; and the gateway's, which goes wrong by an hour.
const START: u64 = 1_800_000_000_000_000_000;
const GATEWAY_START: u64 = START - 3_600_000_000_000;
/// The invariants are looked at after this many events each.
const LOOK: u32 = 16;

/// All replicas.
#[derive(Debug)]
pub(super) struct Brokers {
    replicas: Vec<Broker>,
    paths: Vec<String>,
    rng: SmallRng,
    events: u32,
    /// What each replica gives each router, seen from outside.
    views: Vec<Vec<RouterView>>,
    ramp: Duration,
    now: Duration,
}

/// A router as a replica treats it.
#[derive(Debug, Clone, Copy)]
struct RouterView {
    state: HealthState,
    /// It proved itself then.
    proved: Option<Duration>,
}

impl RouterView {
    fn look(&mut self, state: HealthState, now: Duration) {
        if std::mem::discriminant(&state) == std::mem::discriminant(&self.state) {
            return;
        }
        // A router that was left out for the time its upstream asked for serves again without probation.
        let waited = matches!(self.state, HealthState::Cooling { until, .. } if until <= at(now));
        if state == HealthState::Serving {
            self.proved = (!waited).then_some(now);
        }
        self.state = state;
    }

    /// What it gets of its share, while that grows in ten steps.
    fn view(&self, ramp: Duration, now: Duration) -> View {
        match (self.state, self.proved) {
            (HealthState::Cooling { .. }, _) => View::Ejected,
            (HealthState::Probing { .. }, _) => View::Probing,
            (HealthState::Serving, Some(since)) if now < since + ramp => {
                let gone = (now - since).as_secs_f64() / ramp.as_secs_f64();
                View::Serving((gone * 10.0).floor() / 10.0 + 0.1)
            }
            (HealthState::Serving, _) => View::Serving(1.0),
        }
    }
}

fn at(time: Duration) -> BrokerTime {
    BrokerTime::from_nanos(START).after(time)
}

fn gateway(time: Duration) -> Option<GatewayTime> {
    Some(GatewayTime::from_nanos(GATEWAY_START + u64::try_from(time.as_nanos()).unwrap()))
}

impl Brokers {
    pub(super) fn documented(scenario: &Scenario, seed: u64) -> Self {
        Self::new(scenario, seed, Preset::Documented)
    }

    pub(super) fn resilient(scenario: &Scenario, seed: u64) -> Self {
        Self::new(scenario, seed, Preset::Resilient)
    }

    fn new(scenario: &Scenario, seed: u64, preset: Preset) -> Self {
        let health = preset.settings();
        let paths: Vec<_> = (0..scenario.upstreams.len()).map(|router| format!("/pool/r{router}/")).collect();
        let path = |text: &str| RouterPath::parse(text).unwrap();
        let defaults = RouterSettings { failures: FailureRule::default(), health, rate_limit: None };
        let routers = paths.iter().map(|text| path(text)).collect();
        let broker = Broker::new(BrokerSettings::flat(path(INGRESS), routers, defaults));
        let seen = RouterView { state: HealthState::Serving, proved: None };
        Self {
            replicas: vec![broker; scenario.replicas],
            views: vec![vec![seen; paths.len()]; scenario.replicas],
            paths,
            rng: dice(&[seed, 5]),
            events: 0,
            ramp: health.slow_start,
            now: Duration::ZERO,
        }
    }

    /// Looks at what an event did.
    fn look(&mut self, replica: usize, now: Duration) {
        self.now = now;
        for (seen, (_, state, _)) in self.views[replica].iter_mut().zip(self.replicas[replica].routers()) {
            seen.look(state, now);
        }
        self.events += 1;
        if self.events.is_multiple_of(LOOK) {
            assert_eq!(invariants::broken(&self.replicas[replica]), None);
        }
    }
}

/// What the outcome message of a call says.
fn message<'a>(paths: &'a [String], call: &'a Call) -> ResponseMessage<'a> {
    let served = call.choice().map_or(INGRESS, |choice| &paths[choice.router]);
    let answer = CallAnswer {
        served_path: Some(served),
        status: Some(call.answer.status),
        gateway_generated: call.answer.gateway_generated,
        retry_after: call.answer.retry_after.map(RetryAfter::Delay),
        transaction: Some(&call.transaction),
        html: false,
    };
    let (egress_status, started) = (answer.status, gateway(call.started));
    ResponseMessage { answer, egress_status, started, ..ResponseMessage::default() }
}

/// What its log says.
fn log<'a>(paths: &'a [String], call: &'a Call) -> LogEntry<'a> {
    let choice = call.choice();
    let ResponseMessage { answer, egress_status, started, .. } = message(paths, call);
    let probe = choice.is_some_and(|choice| choice.probe);
    LogEntry {
        answer,
        details: CallDetails { probe, latency: Some(call.answer.after), ..CallDetails::default() },
        routed_path: answer.served_path,
        ingress: Some(INGRESS),
        stamped_path: choice.and(answer.served_path),
        egress_status,
        started,
        stopped: gateway(call.stopped()),
        payload: Some(call.payload.as_bytes()),
        ..LogEntry::default()
    }
}

impl Policy for Brokers {
    fn replicas(&self) -> usize {
        self.replicas.len()
    }

    fn choose(&mut self, replica: usize, now: Duration) -> PolicyChoice {
        let broker = &mut self.replicas[replica];
        let decision = broker.select(&INGRESS, at(now), &mut self.rng);
        broker.commit(&decision, at(now));
        self.look(replica, now);
        let Decision::Route(route) = decision else { return PolicyChoice::Pass };
        let router = usize::from(route.router().0);
        PolicyChoice::To(Choice { replica, router, number: route.number, probe: route.kind == SentAs::Probe })
    }

    fn learn(&mut self, news: News<'_>, now: Duration) {
        let Self { replicas, paths, .. } = self;
        let replica = match news {
            News::Answer(_) => return,
            News::Message(call, replica) => {
                let message = message(paths, call);
                replicas[replica].apply(BrokerInput::Observed(&CallObservation::Message(&message)), at(now));
                replica
            }
            News::Log(call, replica) => {
                let ours = call.choice().filter(|choice| choice.replica == replica);
                let (entry, decision) = (log(paths, call), ours.map(|choice| choice.number));
                let report = CallObservation::Log { entry: &entry, decision };
                replicas[replica].apply(BrokerInput::Observed(&report), at(now));
                replica
            }
        };
        self.look(replica, now);
    }

    fn tick(&mut self, now: Duration) {
        for replica in 0..self.replicas.len() {
            if self.replicas[replica].next_deadline().is_some_and(|due| due <= at(now)) {
                self.replicas[replica].apply(BrokerInput::Tick, at(now));
            }
            self.look(replica, now);
        }
    }

    fn view(&self, replica: usize, router: usize) -> View {
        self.views[replica][router].view(self.ramp, self.now)
    }
}
