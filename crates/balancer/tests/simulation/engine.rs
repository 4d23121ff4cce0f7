//! The simulation: a queue of events in order of time, one upstream per router, one policy.
//!
//! The luck of a call depends on the seed, the request and the try alone, not on the router and never on the policy's own
//! dice: where two routers are alike, it makes no difference for a call which of them serves it. So policies are compared on
//! the same luck, and what differs is their doing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::call::{Answer, Call, Kind, PolicyChoice, Request};
use crate::figures::Figures;
use crate::policy::{News, Policy};
use crate::scenario::Scenario;
use crate::upstream::Upstream;
use crate::watch::Watch;

/// How long a client waits before it tries again, doubled for each further try.
const BACKOFF: Duration = Duration::from_millis(500);

/// Something that is due; calls and requests are named by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Tick,
    Arrives { request: usize, attempt: u32 },
    Answered(usize),
    Message { call: usize, replica: usize },
    Log { call: usize, replica: usize },
}

/// One scenario under one policy.
struct Simulation<'a> {
    scenario: &'a Scenario,
    policy: &'a mut dyn Policy,
    seed: u64,
    requests: Vec<Request>,
    upstreams: Vec<Upstream>,
    calls: Vec<Call>,
    queue: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    queued: u64,
    probes: usize,
    watch: Watch,
}

/// Plays a scenario to its end.
pub(crate) fn run(scenario: &Scenario, policy: &mut dyn Policy, seed: u64) -> Figures {
    let requests = scenario.requests(&mut dice(&[seed, 1]));
    let watch = Watch::new(scenario.upstreams.len(), policy.replicas());
    let mut harness = Simulation {
        scenario,
        policy,
        seed,
        requests,
        upstreams: scenario.upstreams.clone(),
        calls: Vec::new(),
        queue: BinaryHeap::new(),
        queued: 0,
        probes: 0,
        watch,
    };
    for request in 0..harness.requests.len() {
        harness.enqueue(harness.requests[request].at, Event::Arrives { request, attempt: 0 });
    }
    harness.enqueue(scenario.tick, Event::Tick);
    while let Some(Reverse((now, _, event))) = harness.queue.pop() {
        if now <= scenario.length {
            harness.watch.advance(now);
        }
        harness.handle(event, now);
        if now <= scenario.length {
            harness.watch.look(now, &harness.upstreams, &*harness.policy);
        }
    }
    harness.watch.finish(scenario.length)
}

impl Simulation<'_> {
    fn enqueue(&mut self, at: Duration, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, event)));
    }

    fn handle(&mut self, event: Event, now: Duration) {
        match event {
            Event::Tick => {
                self.policy.tick(now);
                if now + self.scenario.tick <= self.scenario.length {
                    self.enqueue(now + self.scenario.tick, Event::Tick);
                }
            }
            Event::Arrives { request, attempt } => self.arrives(request, attempt, now),
            Event::Answered(call) => self.answered(call, now),
            Event::Message { call, replica } => self.policy.learn(News::Message(&self.calls[call], replica), now),
            Event::Log { call, replica } => self.policy.learn(News::Log(&self.calls[call], replica), now),
        }
    }

    fn arrives(&mut self, request: usize, attempt: u32, now: Duration) {
        let kind = self.requests[request].kind;
        let mut chance = dice(&[self.seed, 2, request as u64, attempt.into()]);
        let replica = chance.random_range(0..self.policy.replicas());
        let sent = self.policy.choose(replica, now);
        let refused = Answer { status: 503, after: Duration::ZERO, retry_after: None, gateway_generated: true };
        let transaction = format!("SIM_{}_{request}_{attempt}", self.seed);
        let payload = format!("{kind:?} {request}");
        let mut call = Call { request, attempt, kind, payload, transaction, started: now, sent, answer: refused };
        self.watch.sent(sent, now, &self.upstreams);
        if let Some(router) = call.upstream() {
            let mut luck = dice(&[self.seed, 3, request as u64, attempt.into()]);
            let upstream = &mut self.upstreams[router];
            call.answer = upstream.ask(kind, now, &mut luck);
            upstream.in_flight += 1;
        }
        self.enqueue(call.stopped(), Event::Answered(self.calls.len()));
        self.calls.push(call);
    }

    fn answered(&mut self, place: usize, now: Duration) {
        let call = &self.calls[place];
        let (request, attempt, answer) = (call.request, call.attempt, call.answer);
        if let Some(router) = call.upstream() {
            self.upstreams[router].in_flight -= 1;
        }
        if call.choice().is_some() {
            self.policy.learn(News::Answer(call), now);
        }
        self.watch.answered(call, &self.upstreams);
        self.announce(place, now);
        let Request { kind, retries, .. } = self.requests[request];
        if answer.failed() && attempt < retries {
            self.enqueue(now + BACKOFF * 2_u32.pow(attempt), Event::Arrives { request, attempt: attempt + 1 });
        } else if kind == Kind::Good {
            self.watch.settled(answer.failed());
        }
    }

    /// Puts the gateway's message and logs about a call on the bus; some arrive late, out of order, twice or never.
    fn announce(&mut self, place: usize, now: Duration) {
        let call = &self.calls[place];
        let probe = call.choice().is_some_and(|choice| choice.probe);
        if call.sent == PolicyChoice::Refused {
            return;
        }
        let bus = &self.scenario.bus;
        let mut chance = dice(&[self.seed, 4, call.request as u64, call.attempt.into()]);
        let replicas = self.policy.replicas();
        let lost_probe = probe && self.probes < bus.probes_without_log;
        self.probes += usize::from(probe);
        if chance.random::<f64>() >= bus.messages_lost {
            let replica = chance.random_range(0..replicas);
            self.enqueue(now + bus.message(&mut chance), Event::Message { call: place, replica });
        }
        for replica in 0..replicas {
            let (lost, twice) = (chance.random::<f64>() < bus.logs_lost, chance.random::<f64>() < bus.logs_twice);
            for _ in 0..=usize::from(twice) {
                let after = bus.log(&mut chance);
                if !lost && !lost_probe {
                    self.enqueue(now + after, Event::Log { call: place, replica });
                }
            }
        }
    }
}

/// Dice that depend on these numbers alone.
pub(crate) fn dice(numbers: &[u64]) -> SmallRng {
    let mixed = numbers.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |mixed, number| {
        (mixed ^ number).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31)
    });
    SmallRng::seed_from_u64(mixed)
}
