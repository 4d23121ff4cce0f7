//! The scenarios: what stands behind the routers, what goes wrong, who calls, and what the bus does to the messages.
//!
//! Router 1's upstream stands behind the ingress too. Unless a scenario says otherwise, three upstreams of 0.8 s answer six
//! requests a second for twenty minutes, and three clients in ten try twice again after a failure.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::call::{Kind, Request};
use crate::upstream::{Fault, Limit, Upstream};

/// Connections are refused at once.
const REFUSED: Fault = Fault::Dead(Duration::from_millis(20));

/// Longer than any run, in seconds.
const FOREVER: u64 = 1_000_000_000;

/// What the bus does to the messages about a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bus {
    pub(crate) messages_lost: f64,
    pub(crate) logs_lost: f64,
    pub(crate) logs_twice: f64,
    /// This share of the logs takes seconds.
    logs_late: f64,
    /// The logs of this many probes never arrive.
    pub(crate) probes_without_log: usize,
}

impl Bus {
    /// How long a message takes.
    pub(crate) fn message(&self, dice: &mut SmallRng) -> Duration {
        Duration::from_micros(dice.random_range(300..3_000))
    }

    /// How long a log takes: the gateway writes it after the answer, and not in order.
    pub(crate) fn log(&self, dice: &mut SmallRng) -> Duration {
        let late = dice.random::<f64>() < self.logs_late;
        Duration::from_millis(if late { dice.random_range(500..8_000) } else { dice.random_range(2..200) })
    }
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Callers {
    per_second: f64,
    /// They call at even intervals, not at random.
    even: bool,
    /// This share of them tries again.
    retrying: f64,
    /// This share of the requests is the caller's own fault.
    bad: f64,
    /// How often a client sends a prompt that breaks every upstream, and tries eight times again.
    poison: Option<Duration>,
    /// So many calls at once besides, in the twenty seconds after this.
    burst: Option<(Duration, usize)>,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) length: Duration,
    /// How often time is brought forward.
    pub(crate) tick: Duration,
    pub(crate) bus: Bus,
    /// Of the policies that learn from the bus.
    pub(crate) replicas: usize,
    callers: Callers,
}

impl Scenario {
    fn new(name: &'static str, routers: usize) -> Self {
        let callers = Callers { per_second: 6.0, even: false, retrying: 0.3, bad: 0.0, poison: None, burst: None };
        let bus =
            Bus { messages_lost: 0.001, logs_lost: 0.002, logs_twice: 0.005, logs_late: 0.01, probes_without_log: 0 };
        Self {
            name,
            upstreams: vec![Upstream::new(Duration::from_millis(800)); routers],
            length: Duration::from_secs(1_200),
            tick: Duration::from_millis(250),
            bus,
            replicas: 1,
            callers,
        }
    }

    /// The same, where something goes wrong with these routers from one second to another.
    fn with(mut self, routers: impl IntoIterator<Item = usize>, from: u64, to: u64, fault: Fault) -> Self {
        for router in routers {
            self.upstreams[router] = self.upstreams[router].clone().with(from, to, fault);
        }
        self
    }

    fn limited(mut self, says_when: bool) -> Self {
        self.upstreams[1].limit = Some(Limit { calls: 15, per: Duration::from_secs(10), says_when });
        self
    }

    /// Whether any router is dead for a while.
    pub(crate) fn has_outages(&self) -> bool {
        let mut spells = self.upstreams.iter().flat_map(|upstream| &upstream.spells);
        spells.any(|spell| matches!(spell.fault, Fault::Dead(_)))
    }

    /// What the clients want, in order of time.
    pub(crate) fn requests(&self, dice: &mut SmallRng) -> Vec<Request> {
        let callers = &self.callers;
        let mut requests = Vec::new();
        let mut at = Duration::ZERO;
        loop {
            let wait = if callers.even { 1.0 } else { -(1.0 - dice.random::<f64>()).ln() };
            at += Duration::from_secs_f64(wait / callers.per_second);
            if at >= self.length {
                break;
            }
            let kind = if dice.random::<f64>() < callers.bad { Kind::Bad } else { Kind::Good };
            let retries = if dice.random::<f64>() < callers.retrying { 2 } else { 0 };
            requests.push(Request { at, kind, retries });
        }
        if let Some(every) = callers.poison {
            let times = (self.length.as_nanos() / every.as_nanos()) as u32;
            requests.extend((1..times).map(|n| Request { at: every * n, kind: Kind::Poison, retries: 8 }));
        }
        if let Some((from, count)) = callers.burst {
            let moments = (0..count).map(|_| from + Duration::from_secs(20).mul_f64(dice.random::<f64>()));
            requests.extend(moments.map(|at| Request { at, kind: Kind::Good, retries: 0 }));
        }
        requests.sort_by_key(|request| request.at);
        requests
    }
}

/// All of them, in the order of the table.
pub(crate) fn all() -> Vec<Scenario> {
    [outages(), partial_faults(), callers(), bus()].concat()
}

fn outages() -> Vec<Scenario> {
    let mut dead = Scenario::new("one router dead", 3).with([1], 60, FOREVER, REFUSED);
    dead.replicas = 2;
    let mut back = Scenario::new("dead for 60 s, then back", 2).with([1], 60, 120, REFUSED);
    back.replicas = 2;
    let mut flapping = Scenario::new("flapping every 20 s", 3);
    for from in (60..500).step_by(40) {
        flapping = flapping.with([1], from, from + 20, REFUSED);
    }
    let mut many = Scenario::new("three of twenty dead", 20).with([3, 9, 15], 60, 360, REFUSED);
    many.callers.per_second = 12.0;
    let mut in_flight = Scenario::new("1,000 in flight when a router dies", 3).with([1], 60, 180, REFUSED);
    in_flight.callers.burst = Some((Duration::from_secs(30), 3_000));
    in_flight.callers.per_second = 3.0;
    for upstream in &mut in_flight.upstreams {
        (upstream.median, upstream.spread) = (Duration::from_secs(60), 0.2);
    }
    let mut thundering =
        Scenario::new("thundering return", 3).with([1], 60, 90, REFUSED).with([1], 90, 210, Fault::Cold(30.0));
    thundering.length = Duration::from_secs(600);
    thundering.callers.per_second = 15.0;
    for upstream in &mut thundering.upstreams {
        upstream.median = Duration::from_secs(2);
    }
    let mut rare = Scenario::new("one call per 15 minutes", 3).with([1], 43_200, 129_600, REFUSED);
    (rare.length, rare.tick) = (Duration::from_secs(10 * 86_400), Duration::from_secs(60));
    (rare.callers.per_second, rare.callers.even) = (1.0 / 900.0, true);
    let two = Scenario::new("two of three dead", 3).with([0, 1], 60, 500, REFUSED);
    vec![dead, back, flapping, two, many, in_flight, thundering, rare]
}

fn partial_faults() -> Vec<Scenario> {
    vec![
        Scenario::new("5 % random errors on all", 3).with(0..3, 0, 1_200, Fault::Errors(0.05)),
        Scenario::new("60 % errors on one", 5).with([1], 60, 500, Fault::Errors(0.6)),
        Scenario::new("brown-out of all", 3).with(0..3, 120, 300, Fault::Errors(0.6)),
        Scenario::new("one slow (10×)", 3).with([1], 60, 1_200, Fault::Slow(10.0)),
        Scenario::new("rate limit with exact Retry-After", 3).limited(true),
        Scenario::new("rate limit without a hint", 3).limited(false),
    ]
}

fn callers() -> Vec<Scenario> {
    let mut bad = Scenario::new("a caller with 20 % bad requests", 3);
    bad.callers.bad = 0.2;
    let mut poison = Scenario::new("a poison prompt with client retries", 3);
    poison.callers.poison = Some(Duration::from_secs(60));
    poison.callers.per_second = 1.0;
    vec![bad, poison]
}

fn bus() -> Vec<Scenario> {
    let mut lossy = Scenario::new("10 % of logs lost", 3).with([1], 60, 120, REFUSED).with([1], 600, 660, REFUSED);
    lossy.bus.logs_lost = 0.1;
    lossy.replicas = 2;
    let mut probe = Scenario::new("a probe's log lost", 3).with([1], 60, 120, REFUSED);
    probe.bus.probes_without_log = 1;
    vec![lossy, probe]
}
