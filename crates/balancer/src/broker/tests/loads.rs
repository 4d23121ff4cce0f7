//! The modes `fastest` and `least_busy`: calls begin and their logs come later, on a stopped clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

/// How a fake router behaves.
#[derive(Debug, Clone, Copy)]
struct Behaviour {
    status: u16,
    millis: u64,
    tokens: Option<u64>,
    logged: bool,
}

const fn takes(millis: u64) -> Behaviour {
    Behaviour { status: 200, millis, tokens: None, logged: true }
}

/// Fake routers in one pool; what fails is never taken out, so that the mode alone avoids it.
struct Calls {
    worlds: Vec<Harness>,
    routers: Vec<Behaviour>,
    millis: u64,
    /// The ends of calls: when, whose call, its number, and where.
    ends: BinaryHeap<Reverse<(u64, usize, u64, usize)>>,
    seen: u64,
}

fn settings_of(policy: &Policy, weights: &[f64]) -> BrokerSettings {
    let leaf = |(place, weight): (usize, &f64)| Target {
        weight: *weight,
        ..Target::plain(TargetKind::Router(path(&router(place))))
    };
    let targets = weights.iter().enumerate().map(leaf).collect();
    let root = Target::plain(TargetKind::Branch { policy: policy.clone(), targets });
    let mut settings = BrokerSettings { pools: vec![pool(root)], ..settings(0) };
    settings.defaults.health.disabled_time = Duration::ZERO;
    settings
}

impl Calls {
    fn weighted(policy: &Policy, routers: &[Behaviour], weights: &[f64], replicas: u64) -> Self {
        let harness =
            |seed| Harness { rng: SmallRng::seed_from_u64(seed), ..Harness::of(settings_of(policy, weights)) };
        let worlds = (0..replicas).map(harness).collect();
        Self { worlds, routers: routers.to_vec(), millis: 0, ends: BinaryHeap::new(), seen: 0 }
    }

    fn new(policy: &Policy, routers: &[Behaviour]) -> Self {
        Self::weighted(policy, routers, &vec![1.0; routers.len()], 1)
    }

    /// One call through a replica, and where it went.
    fn call(&mut self, replica: usize) -> usize {
        let harness = &mut self.worlds[replica];
        let Decision::Route(route) = harness.decide(at(self.millis)) else { panic!("no router") };
        assert_eq!(route.chosen.p, None, "no known probability");
        let place = usize::from(route.router().0);
        if self.routers[place].logged {
            let end = self.millis + self.routers[place].millis;
            self.ends.push(Reverse((end, replica, route.number, place)));
        }
        place
    }

    /// Time goes on; the logs of what has ended come to all replicas.
    fn wait(&mut self, millis: u64) {
        self.millis += millis;
        while let Some(Reverse((end, replica, number, place))) = self.ends.peek().copied() {
            if end > self.millis {
                break;
            }
            self.ends.pop();
            self.seen += 1;
            let Behaviour { status, millis, tokens, .. } = self.routers[place];
            let (served, id) = (router(place), format!("A_{}_1_0", self.seen));
            let latency = Some(Duration::from_millis(millis));
            for (other, harness) in self.worlds.iter_mut().enumerate() {
                let decision = (other == replica).then_some(number);
                let log = log(&served, status, &id, end - millis, end);
                harness.learn(
                    &TestObservation {
                        decision,
                        latency,
                        completion_tokens: tokens,
                        stamped_path: Some(&served),
                        ..log
                    },
                    at(end),
                );
            }
        }
    }

    /// The shares of this many calls, one every `every` milliseconds, through the replicas in turn.
    fn shares(&mut self, calls: u32, every: u64) -> Vec<f64> {
        let mut counts = vec![0.0; self.routers.len()];
        for call in 0..calls {
            let replica = call as usize % self.worlds.len();
            counts[self.call(replica)] += 1.0 / f64::from(calls);
            self.wait(every);
        }
        counts
    }

    fn pending(&self, replica: usize, place: usize) -> u32 {
        self.worlds[replica].broker.in_flight.pending(RouterId(u16::try_from(place).unwrap()))
    }
}

const BOTH: [Policy; 2] = [Policy::Fastest, Policy::LeastBusy];

#[test]
fn shares_shift_to_the_faster() {
    for policy in BOTH {
        let mut calls = Calls::new(&policy, &[takes(200), takes(200), takes(2_000)]);
        let shares = calls.shares(4_000, 20);
        // Both draws name it once in nine.
        assert!(shares[2] < 0.16, "{policy:?}: {shares:?}");
        assert!((shares[0] - shares[1]).abs() < 0.06, "{policy:?}: {shares:?}");
    }
    let mut calls = Calls::new(&Policy::Fastest, &[takes(200), takes(200), takes(2_000)]);
    calls.shares(500, 50);
    calls.routers = vec![takes(2_000), takes(200), takes(200)];
    calls.shares(500, 50);
    let shares = calls.shares(2_000, 50);
    assert!(shares[0] < 0.16 && shares[2] > 0.35, "it is noticed when that changes: {shares:?}");
}

#[test]
fn fast_errors_attract_no_calls() {
    for status in [500, 503, 429] {
        let fails = Behaviour { status, ..takes(3) };
        let mut calls = Calls::new(&Policy::Fastest, &[takes(300), takes(300), fails]);
        let shares = calls.shares(3_000, 30);
        assert!(shares[2] < 0.16, "{status}: {shares:?}");
    }
    let refuses = Behaviour { status: 400, ..takes(3) };
    let mut calls = Calls::new(&Policy::Fastest, &[takes(300), takes(300), takes(300)]);
    calls.shares(300, 30);
    calls.routers[2] = refuses;
    let learnt =
        |calls: &Calls| calls.worlds[0].broker.loads.as_ref().and_then(|loads| loads.observed_latency(RouterId(2)));
    let before = learnt(&calls);
    calls.shares(300, 300);
    assert!(before.is_some() && learnt(&calls) == before, "a caller's own bad requests make no router fast");
}

#[test]
fn long_answers_are_not_slow() {
    // The first two answer five times as long, and a token takes them half the time. One call at a time: a call in progress
    // would count besides.
    let talks = Behaviour { tokens: Some(984), ..takes(10_000) };
    let terse = Behaviour { tokens: Some(84), ..takes(2_000) };
    let mut calls = Calls::new(&Policy::Fastest, &[talks, talks, terse]);
    let shares = calls.shares(1_000, 12_000);
    assert!(shares[2] < 0.16, "{shares:?}");
    let by_call = |one: Behaviour| Behaviour { tokens: None, ..one };
    let mut calls = Calls::new(&Policy::Fastest, &[talks, talks, terse].map(by_call));
    let shares = calls.shares(1_000, 12_000);
    assert!(shares[2] > 0.5, "without usage the call is the measure: {shares:?}");
}

#[test]
fn a_newcomer_gets_one_request_first() {
    let mut calls = Calls::new(&Policy::Fastest, &[takes(100), takes(200), takes(300), takes(30_000)]);
    // As if it had not been there.
    calls.worlds[0].broker.apply(BrokerInput::Configured(&settings_of(&Policy::Fastest, &[1.0, 1.0, 1.0])), at(0));
    calls.shares(300, 20);
    calls.worlds[0].broker.apply(BrokerInput::Configured(&settings_of(&Policy::Fastest, &[1.0; 4])), at(calls.millis));
    let shares = calls.shares(1_000, 20);
    assert_eq!((shares[3] * 1_000.0).round(), 1.0, "{shares:?}");
    calls.wait(30_000);
    assert_eq!(calls.pending(0, 3), 0);
    let shares = calls.shares(2_000, 20);
    assert!(shares[3] > 0.001 && shares[3] < 0.13, "known now, and slow: {shares:?}");
}

#[test]
fn everybody_new_at_once_share_the_first_requests() {
    let mut calls = Calls::new(&Policy::Fastest, &[takes(1_000); 4]);
    let mut counts = [0; 4];
    for _ in 0..40 {
        counts[calls.call(0)] += 1;
    }
    assert!(counts.iter().all(|count| (5..=15).contains(count)), "{counts:?}");
}

#[test]
fn a_lost_log_does_not_leak() {
    for policy in BOTH {
        let lost = Behaviour { logged: false, ..takes(100) };
        let mut calls = Calls::new(&policy, &[takes(100), takes(100), lost]);
        calls.shares(1_000, 10);
        assert!(calls.pending(0, 2) > 0, "{policy:?}");
        calls.routers[2] = takes(100);
        calls.wait(200_000);
        calls.worlds[0].tick(at(calls.millis));
        assert!((0..3).all(|place| calls.pending(0, place) == 0), "{policy:?}");
        let shares = calls.shares(3_000, 10);
        assert!(shares.iter().all(|share| (share - 1.0 / 3.0).abs() < 0.05), "{policy:?}: even again: {shares:?}");
    }
}

#[test]
fn other_replicas_calls_do_not_count() {
    for policy in BOTH {
        let mut calls = Calls::weighted(&policy, &[takes(1_000); 3], &[1.0; 3], 2);
        for _ in 0..30 {
            calls.call(0);
        }
        let pending = |calls: &Calls, replica| (0..3).map(|place| calls.pending(replica, place)).sum::<u32>();
        assert_eq!((pending(&calls, 0), pending(&calls, 1)), (30, 0), "{policy:?}");
        calls.call(1);
        calls.wait(1_000);
        assert_eq!((pending(&calls, 0), pending(&calls, 1)), (0, 0), "{policy:?}: none goes below zero");
    }
}

/// A call is over whatever became of it, also where its log teaches nothing.
#[test]
fn every_log_with_our_stamp_ends_its_call() {
    let mut calls = Calls::new(&Policy::LeastBusy, &[takes(1); 2]);
    let at_ingress = log(INGRESS, 200, "a_1_1_0", 1, 2);
    let reports = [
        TestObservation { filtered: Some("response.gl_path"), ..TestObservation::empty(Source::Log) },
        TestObservation { processor_generated: true, ..at_ingress },
        at_ingress,
        TestObservation { status: None, egress_status: Some(500), ..at_ingress },
        log("/elsewhere/", 200, "b_1_1_0", 1, 2),
    ];
    for report in reports {
        let place = calls.call(0);
        assert_eq!(calls.pending(0, place), 1);
        let Some(number) = calls.ends.pop().map(|Reverse((_, _, number, _))| number) else { panic!() };
        calls.worlds[0].learn(&TestObservation { decision: Some(number), ..report }, at(5));
        assert_eq!(calls.pending(0, place), 0, "{report:?}");
    }
}

#[test]
fn weights_are_kept_where_all_are_alike() {
    for every in [2, 1_000] {
        let mut calls = Calls::weighted(&Policy::LeastBusy, &[takes(500); 3], &[3.0, 1.0, 1.0], 1);
        let shares = calls.shares(5_000, every);
        let right = shares.iter().zip([0.6, 0.2, 0.2]).all(|(share, right)| (share - right).abs() < 0.05);
        assert!(right, "one each {every} ms: {shares:?}");
    }
    let mut calls = Calls::weighted(&Policy::Fastest, &[takes(500); 3], &[3.0, 1.0, 1.0], 1);
    let shares = calls.shares(5_000, 2);
    assert!(shares.iter().zip([0.6, 0.2, 0.2]).all(|(share, right)| (share - right).abs() < 0.05), "{shares:?}");
}

/// Eight replicas that see the same logs, and calls that all come at once: they do not all choose the one that looks best.
#[test]
fn nothing_herds() {
    for policy in BOTH {
        let latencies: Vec<_> = (0..10).map(|place| takes(1_000 + 20 * place)).collect();
        let mut calls = Calls::weighted(&policy, &latencies, &[1.0; 10], 8);
        calls.shares(2_000, 10);
        for burst in 0..20 {
            let mut counts = [0_u32; 10];
            for call in 0..160 {
                counts[calls.call(call % 8)] += 1;
            }
            assert!(counts.iter().all(|count| *count <= 40), "{policy:?}, burst {burst}: {counts:?}, even is 16");
            calls.wait(3_000);
        }
    }
}

/// One that was left alone for being slow is tried again and not run to.
#[test]
fn calls_do_not_crowd_to_a_router_that_was_left_alone() {
    let mut calls = Calls::new(&Policy::Fastest, &[takes(200), takes(200), takes(20_000)]);
    calls.shares(500, 50);
    calls.wait(100_000);
    let shares = calls.shares(60, 1);
    assert!(shares[2] < 0.5, "{shares:?}");
}

#[test]
fn a_branch_has_the_calls_of_all_that_serve_in_it() {
    let leaf = |place| Target::plain(TargetKind::Router(path(&router(place))));
    let pair = Target::plain(TargetKind::Branch { policy: Policy::RoundRobin, targets: vec![leaf(1), leaf(2)] });
    for policy in BOTH {
        let root = Target::plain(TargetKind::Branch { policy: policy.clone(), targets: vec![leaf(0), pair.clone()] });
        let mut calls = Calls::new(&policy, &[takes(400); 3]);
        calls.worlds[0]
            .broker
            .apply(BrokerInput::Configured(&BrokerSettings { pools: vec![pool(root)], ..settings(0) }), at(0));
        let shares = calls.shares(4_000, 4);
        assert!((shares[0] - 0.5).abs() < 0.06, "{policy:?}: {shares:?}");
        assert!((shares[1] - shares[2]).abs() < 0.01, "{policy:?}: {shares:?}");
    }
}

#[test]
fn that_no_log_shows_a_stamp_is_said_once() {
    for (logged, said) in [(false, 1), (true, 0)] {
        let mut calls = Calls::new(&Policy::LeastBusy, &[Behaviour { logged, ..takes(100) }; 2]);
        calls.shares(200, 500);
        let emitted =
            calls.worlds[0].emitted.iter().filter(|change| **change == BrokerEvent::Advisory(Advisory::StampsMissing));
        assert_eq!(emitted.count(), said);
    }
}

#[test]
fn nothing_is_kept_where_no_mode_asks_for_it() {
    let mut harness = Harness::new(3);
    harness.decide(START);
    assert!(harness.broker.loads.is_none());
    harness.broker.apply(BrokerInput::Configured(&settings_of(&Policy::LeastBusy, &[1.0])), START);
    assert!(harness.broker.loads.is_some());
    harness.broker.apply(BrokerInput::Configured(&settings(2)), START);
    assert!(harness.broker.loads.is_none());
}

#[test]
fn reasons_name_the_mode() {
    for (policy, words) in [(Policy::Fastest, "the faster of two, 3 of 3"), (Policy::LeastBusy, "the less busy of two")]
    {
        let mut calls = Calls::new(&policy, &[takes(1); 3]);
        let harness = &mut calls.worlds[0];
        let decision = harness.decide(START);
        let emitted = harness.broker.explain(&decision);
        assert!(emitted.contains(words) && !emitted.contains("(p "), "{emitted}");
    }
}

proptest! {
    /// Whatever comes, in whatever order and however often.
    #[test]
    fn the_invariants_hold_and_a_replay_is_the_same(
        fastest: bool,
        steps in prop::collection::vec((0_u8..6, 0_u64..40, 0_usize..5, 0_u64..90_000), 0..150),
    ) {
        let policy = if fastest { Policy::Fastest } else { Policy::LeastBusy };
        let play = || {
            let mut harness = Harness::of(settings_of(&policy, &[1.0, 2.0, 0.5, 1.0]));
            let mut millis = 0;
            for (kind, number, place, wait) in &steps {
                let (served, id) = (router(*place), format!("A_1_1_{number}"));
                let status = if number % 3 == 0 { 500 } else { 200 };
                match kind {
                    0..=2 => drop(harness.decide(at(millis))),
                    3 => millis += wait,
                    4 => {
                        let (decision, latency) = (Some(*number), Some(Duration::from_millis(*wait)));
                        let log = log(&served, status, &id, *number, number + 1);
                        harness.learn(&TestObservation { decision, latency, completion_tokens: Some(*number), ..log }, at(millis));
                    }
                    _ => drop(harness.learn(&message(&served, status, &id), at(millis))),
                }
                assert_eq!(invariants::broken(&harness.broker), None);
            }
            (format!("{:?}", harness.broker), harness.emitted)
        };
        prop_assert_eq!(play(), play());
    }
}
