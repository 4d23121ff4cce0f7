//! What becomes of requests when nothing is left, and what may not be taken away by a guess.

use super::*;
use crate::broker::{AttemptHistory, NextTarget, Unavailability};
use crate::health::Ratio;
use crate::strategy::{Condition, Field, Query, Test};
use types::outcome::RetryAfter;

/// Routers of which all are disabled: the first at 0 s, the second at 1 s, and so on.
fn all_out(routers: usize, when_all_disabled: WhenAllDisabled) -> Harness {
    let mut settings = settings(routers);
    settings.pools[0].when_all_disabled = when_all_disabled;
    let mut harness = Harness::of(settings);
    for place in 0..routers {
        let millis = place as u64 * 1_000;
        harness.learn(&log(&router(place), 503, &format!("A_{place}_1_0"), millis, millis + 5), at(millis + 5));
    }
    harness
}

fn sent(decision: Decision) -> Option<Route> {
    match decision {
        Decision::Route(route) => {
            assert_eq!(route.kind, RouteKind::Panic);
            Some(route)
        }
        Decision::Pass(_) => None,
    }
}

/// The log of such a request.
fn tried(harness: &mut Harness, route: &Route, status: u16, millis: u64) {
    let path = harness.broker.path(route.router()).unwrap().to_string();
    let id = format!("N_{}_1_0", route.number);
    let log = log(&path, status, &id, millis, millis + 5);
    harness.learn(
        &TestObservation { stamped_path: Some(&path), probe: true, decision: Some(route.number), ..log },
        at(millis + 5),
    );
}

/// Drawing all of them one after the other takes as long as the cube of their number.
#[test]
fn the_choice_among_dozens_that_are_out_or_were_tried_is_one_draw() {
    for when_all_disabled in [WhenAllDisabled::Soonest, WhenAllDisabled::Any] {
        let mut harness = all_out(60, when_all_disabled);
        let (before, mut history) = (harness.rng.clone(), AttemptHistory::default());
        for place in 0..59 {
            history.note(RouterId(place), true);
        }
        let NextTarget::Untried(route) = harness.broker.next_target(&INGRESS, &mut history, &mut harness.rng) else {
            panic!("one is left")
        };
        assert_eq!(route.router(), RouterId(59));
        let mut drawn = before;
        let draws = (0..100).find(|_| {
            let is_there = drawn == harness.rng;
            rand::Rng::next_u64(&mut drawn);
            is_there
        });
        assert!(draws.is_some_and(|draws| draws <= 4), "{when_all_disabled:?}: {draws:?} draws");
    }
}

#[test]
fn pass_is_the_default() {
    let mut harness = all_out(2, WhenAllDisabled::Pass);
    assert_eq!(harness.decide(at(10_000)), Decision::Pass(Pass::AllDisabled(PoolId(0))));
    assert_eq!(harness.emitted.last(), Some(&all_disabled()));
}

#[test]
fn soonest_tries_the_one_that_is_back_first_one_request_at_a_time() {
    let mut harness = all_out(3, WhenAllDisabled::Soonest);
    assert_eq!(harness.emitted.last(), Some(&BrokerEvent::AllDisabled { ingress: path(INGRESS), uses_disabled: true }));
    let decision = harness.decide(at(10_000));
    let emitted = harness.broker.explain(&decision);
    assert!(
        emitted.contains(
            "/azure/r0/: random, 0 of 3 serve; disabled, and nothing else is left (answered 503); not /azure/r1/"
        ),
        "{emitted}"
    );
    let route = sent(decision).expect("the first is tried");
    assert_eq!((route.router(), route.chosen.p), (RouterId(0), None));
    for _ in 0..20 {
        assert_eq!(sent(harness.decide(at(10_000))), None, "one at a time, and no other instead");
    }
    tried(&mut harness, &route, 503, 10_000);
    assert_eq!(harness.until(0), Some(at(600_005)), "a failure does not extend");
    let again = sent(harness.decide(at(11_000))).expect("its permit is free again");
    assert_eq!(again.router(), RouterId(0));
    tried(&mut harness, &again, 200, 11_000);
    assert_eq!(harness.state(0), HealthState::Serving, "a success returns it");
    assert_eq!(harness.emitted.last(), Some(&BrokerEvent::SomeEnabled(path(INGRESS))));
    assert_eq!(harness.choose(at(11_005)), Some(router(0)));
}

#[test]
fn any_tries_all_but_those_whose_upstream_named_a_moment() {
    let mut harness = all_out(3, WhenAllDisabled::Any);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        seen.extend(sent(harness.decide(at(10_000))).map(|route| route.router()));
    }
    assert_eq!(seen.len(), 3, "however many at a time");

    let mut settings = settings(2);
    settings.pools[0].when_all_disabled = WhenAllDisabled::Any;
    let mut harness = Harness::of(settings);
    let hint = Some(RetryAfter::Delay(Duration::from_secs(30)));
    harness.learn(&TestObservation { retry_after: hint, ..log("/azure/r0/", 429, "A_1_1_0", 0, 5) }, at(5));
    harness.learn(&log("/azure/r1/", 503, "A_2_1_0", 0, 5), at(6));
    for _ in 0..20 {
        assert_eq!(sent(harness.decide(at(10_000))).map(|route| route.router()), Some(RouterId(1)));
    }
}

/// Routers whose upstreams all name a wait: the first 20 s, the second 40 s, and so on.
fn all_announced(routers: usize, status: u16) -> Harness {
    let mut settings = settings(routers);
    settings.pools[0].when_all_disabled = WhenAllDisabled::Soonest;
    let mut harness = Harness::of(settings);
    for place in 0..routers {
        let hint = Some(RetryAfter::Delay(Duration::from_secs(20 * (place as u64 + 1))));
        let (path, id) = (router(place), format!("A_{place}_1_0"));
        harness.learn(&TestObservation { retry_after: hint, ..log(&path, status, &id, 0, 5) }, at(5));
    }
    harness
}

#[test]
fn announced_waits_are_kept_but_for_one_call_every_five_seconds() {
    for (routers, status) in [(1, 429), (3, 429), (3, 503)] {
        let mut harness = all_announced(routers, status);
        let mut calls = Vec::new();
        for millis in (0..20_000).step_by(100) {
            for _ in 0..3 {
                if let Some(route) = sent(harness.decide(at(10 + millis))) {
                    calls.push((millis, route.router().0));
                    tried(&mut harness, &route, status, 10 + millis);
                }
            }
        }
        assert_eq!(calls, [(5_000, 0), (10_000, 0), (15_000, 0)], "{routers} of {status}: no other is asked");
        assert_eq!(harness.until(0), Some(at(20_005)), "a failure changes nothing");
    }
    let mut harness = all_announced(2, 429);
    let route = sent(harness.decide(at(5_010))).expect("the first is asked");
    tried(&mut harness, &route, 200, 12_000);
    assert_eq!(harness.choose(at(12_010)), Some(router(0)), "it is back sooner than it said");
}

/// A call that hangs keeps nobody else waiting: whatever took them out, the next is asked after five seconds, and none twice.
#[test]
fn a_router_that_does_not_answer_is_asked_once_and_then_another() {
    for (mut harness, start) in [(all_announced(3, 429), 0), (all_out(3, WhenAllDisabled::Soonest), 5_000)] {
        let mut calls = Vec::new();
        for millis in (0..20_000).step_by(100) {
            calls.extend(sent(harness.decide(at(start + millis))).map(|route| (millis / 1_000, route.router().0)));
        }
        let first = calls[0].0;
        assert_eq!(calls, [(first, 0), (first + 5, 1), (first + 10, 2)], "from {start} on");
    }
}

/// A list of models, say: its success would show nothing, and the call that could show it would have to wait.
struct MakesNothing;

impl Request for MakesNothing {
    fn path(&self) -> &str {
        INGRESS
    }

    fn is_generation(&self) -> bool {
        false
    }
}

#[test]
fn a_call_that_makes_nothing_is_no_early_probe() {
    let mut harness = all_announced(2, 429);
    harness.tick(at(6_000));
    let expected = Unavailability { until: Some(at(20_005)), rate_limited: true, announced: true };
    assert_eq!(outage_of(&mut harness, &MakesNothing), expected);
    assert!(sent(harness.decide(at(6_000))).is_some());
    let mut harness = all_out(2, WhenAllDisabled::Soonest);
    let offer = harness.broker.next_target(&MakesNothing, &mut AttemptHistory::default(), &mut harness.rng);
    assert!(
        matches!(offer, NextTarget::Untried(_)),
        "where no upstream has asked for a wait, it is better than no answer"
    );
}

#[test]
fn a_router_that_failed_is_asked_where_the_others_wait_as_announced() {
    let mut harness = all_announced(1, 429);
    let mut settings = BrokerSettings::clone(harness.broker.settings());
    let targets = (0..2).map(|place| Target::plain(TargetKind::Router(path(&router(place))))).collect();
    let root = Target::plain(TargetKind::Branch { policy: Policy::LoadBalance, targets });
    settings.pools = vec![PoolSettings { when_all_disabled: WhenAllDisabled::Soonest, ..pool(root) }];
    harness.broker.apply(BrokerInput::Configured(&settings), at(10));
    harness.learn(&log("/azure/r1/", 503, "B_1_1_0", 20, 25), at(25));
    for n in 0..3 {
        let route = sent(harness.decide(at(30 + n * 10))).expect("no word of its own keeps calls away from it");
        assert_eq!(route.router(), RouterId(1));
        tried(&mut harness, &route, 503, 30 + n * 10);
    }
}

fn outage_of(harness: &mut Harness, request: &impl Request) -> Unavailability {
    let offer = harness.broker.next_target(request, &mut AttemptHistory::default(), &mut harness.rng);
    let NextTarget::None { unavailability, .. } = offer else { panic!("{offer:?}") };
    unavailability
}

#[test]
fn a_call_that_finds_only_announced_waits_hears_of_them() {
    use WhenAllDisabled::{Any, Pass, Soonest};
    for (when, status, announced, rate_limited) in
        [(Soonest, 429, true, true), (Soonest, 503, true, false), (Pass, 429, false, true), (Any, 429, false, true)]
    {
        let mut settings = settings(2);
        settings.pools[0].when_all_disabled = when;
        let mut harness = Harness::of(settings);
        for (place, status) in [(0, 429), (1, status)] {
            let (path, id) = (router(place), format!("A_{place}_1_0"));
            let hint = Some(RetryAfter::Delay(Duration::from_secs(20)));
            harness.learn(&TestObservation { retry_after: hint, ..log(&path, status, &id, 0, 5) }, at(5));
        }
        let expected = Unavailability { until: Some(at(20_005)), rate_limited, announced };
        assert_eq!(outage_of(&mut harness, &INGRESS), expected, "{when:?} {status}");
    }
}

/// What the others of a pool do, to which its conditions do not lead, changes nothing.
#[test]
fn the_targets_of_a_request_are_those_that_its_conditions_lead_to() {
    let branch = |policy, targets| Target::plain(TargetKind::Branch { policy, targets });
    let leaf = |place| Target::plain(TargetKind::Router(path(&router(place))));
    let query = Query::Field(Field::Path, vec![Test::Eq(INGRESS.into())]);
    let by_path = Policy::Conditional { conditions: [Condition { query, then: 0 }].into(), default: Some(1) };
    let root = branch(by_path, vec![branch(Policy::LoadBalance, vec![leaf(0), leaf(1)]), leaf(2)]);
    let pools = vec![PoolSettings { when_all_disabled: WhenAllDisabled::Soonest, ..pool(root) }];
    for third in [None, Some(500), Some(429)] {
        let mut harness = Harness::of(BrokerSettings { pools: pools.clone(), ..settings(0) });
        for place in 0..2 {
            let hint = Some(RetryAfter::Delay(Duration::from_secs(20 + place as u64)));
            let id = format!("A_{place}_1_0");
            harness.learn(&TestObservation { retry_after: hint, ..log(&router(place), 429, &id, 0, 5) }, at(5));
        }
        if let Some(status) = third {
            let hint = Some(RetryAfter::Delay(Duration::from_secs(2))).filter(|_| status == 429);
            harness.learn(&TestObservation { retry_after: hint, ..log(&router(2), status, "A_2_1_0", 0, 5) }, at(5));
        }
        let expected = Unavailability { until: Some(at(20_005)), rate_limited: true, announced: true };
        assert_eq!(outage_of(&mut harness, &INGRESS), expected, "{third:?}");
        harness.tick(at(5_010));
        let early = harness.broker.next_target(&INGRESS, &mut AttemptHistory::default(), &mut harness.rng);
        let NextTarget::Untried(route) = early else { panic!("{early:?}") };
        let chosen = harness.broker.path(route.router()).unwrap();
        assert_eq!((chosen.as_str(), route.kind), (router(0).as_str(), RouteKind::Panic));
        harness.broker.commit_route(&route, at(5_010));
        assert_eq!(outage_of(&mut harness, &INGRESS), expected, "{third:?}");
    }
}

#[test]
fn turns_are_kept_among_disabled_ones_too() {
    let targets = (0..3).map(|place| Target::plain(TargetKind::Router(path(&router(place))))).collect();
    let root = Target::plain(TargetKind::Branch { policy: Policy::RoundRobin, targets });
    let pools = vec![PoolSettings { when_all_disabled: WhenAllDisabled::Any, ..pool(root) }];
    let mut harness = Harness::of(BrokerSettings { pools, ..settings(0) });
    for place in 0..3 {
        harness.learn(&log(&router(place), 503, &format!("A_{place}_1_0"), 0, 5), at(5));
    }
    let chosen: Vec<_> = (0..6).filter_map(|_| sent(harness.decide(at(10)))).map(|route| route.router().0).collect();
    assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn what_is_drained_is_not_tried() {
    let mut targets: Vec<_> = (0..2).map(|place| Target::plain(TargetKind::Router(path(&router(place))))).collect();
    targets[0].drained = true;
    let root = Target::plain(TargetKind::Branch { policy: Policy::LoadBalance, targets });
    let pools = vec![PoolSettings { when_all_disabled: WhenAllDisabled::Soonest, ..pool(root) }];
    let mut harness = Harness::of(BrokerSettings { pools, ..settings(0) });
    for place in 0..2 {
        harness.learn(&log(&router(place), 503, &format!("A_{place}_1_0"), 0, 5), at(5 + place as u64));
    }
    assert_eq!(sent(harness.decide(at(10))).map(|route| route.router()), Some(RouterId(1)));
}

/// Two routers that are judged by the share of their good answers.
fn by_ratio() -> Harness {
    let mut settings = settings(2);
    settings.defaults.health.consecutive = 1_000;
    settings.defaults.health.ratio = Some(Ratio { below: 0.5, over: Duration::from_secs(60), min: 4 });
    Harness::of(settings)
}

fn fail(harness: &mut Harness, place: usize, times: u64, start: u64) {
    for n in start..start + times {
        harness.learn(&log(&router(place), 500, &format!("F_{place}_{n}_0"), n, n + 1), at(n + 1));
    }
}

#[test]
fn a_guess_takes_out_one_and_never_the_last_one() {
    let mut harness = by_ratio();
    fail(&mut harness, 0, 4, 0);
    assert_eq!(harness.out(), ["/azure/r0/"]);
    fail(&mut harness, 1, 50, 100);
    assert_eq!(harness.out(), ["/azure/r0/"], "the other one serves, however badly");
    harness.tick(at(700_000));
    let probe = TestObservation {
        stamped_path: Some("/azure/r0/"),
        probe: true,
        ..log("/azure/r0/", 200, "P_1_1_0", 700_000, 700_001)
    };
    harness.learn(&probe, at(700_001));
    fail(&mut harness, 1, 4, 700_100);
    assert_eq!(harness.out(), ["/azure/r1/"], "it is no longer the last");
}

#[test]
fn what_a_guess_may_not_do_failures_in_a_row_may() {
    let mut harness = Harness::new(1);
    harness.learn(&log("/azure/r0/", 500, "A_1_1_0", 0, 1), at(1));
    assert_eq!(harness.out(), ["/azure/r0/"]);
}

#[test]
fn the_last_one_of_any_pool_is_the_last_one() {
    let mut settings = settings(2);
    settings.defaults = by_ratio().broker.settings().defaults.clone();
    let alone = TargetKind::Branch {
        policy: Policy::LoadBalance,
        targets: vec![Target::plain(TargetKind::Router(path("/azure/r0/")))],
    };
    settings.pools.push(PoolSettings { ingress: path("/alone/"), ..pool(Target::plain(alone)) });
    let mut harness = Harness::of(settings);
    fail(&mut harness, 0, 20, 0);
    assert_eq!(harness.out(), Vec::<String>::new(), "/alone/ has no other router");
    fail(&mut harness, 1, 20, 100);
    assert_eq!(harness.out(), ["/azure/r1/"]);
}

#[test]
fn what_is_used_up_leaves_before_it_fails_but_not_the_last() {
    let mut settings = settings(2);
    settings.defaults.health.retry_after.preempt = true;
    let mut harness = Harness::of(settings);
    let hint = Some(RetryAfter::QuotaReset(Duration::from_secs(20)));
    harness.learn(&TestObservation { retry_after: hint, ..log("/azure/r0/", 200, "A_1_1_0", 0, 1) }, at(1));
    assert_eq!(harness.until(0), Some(at(20_001)));
    harness.learn(&TestObservation { retry_after: hint, ..log("/azure/r1/", 200, "A_2_1_0", 0, 1) }, at(2));
    assert_eq!(harness.until(1), None);
}

#[test]
fn a_share_grows_with_the_ramp() {
    let mut settings = settings(2);
    settings.defaults.health.slow_start = Duration::from_secs(10);
    let mut harness = Harness::of(settings);
    harness.learn(&log("/azure/r0/", 503, "A_1_1_0", 0, 1), at(1));
    harness.tick(at(600_001));
    let probe = TestObservation {
        stamped_path: Some("/azure/r0/"),
        probe: true,
        ..log("/azure/r0/", 200, "P_1_1_0", 600_001, 600_002)
    };
    harness.learn(&probe, at(600_002));
    for (millis, share) in [(0, 0.1 / 1.1), (5_000, 0.6 / 1.6), (10_000, 0.5)] {
        let now = at(600_002 + millis);
        let p = (0..1_000).find_map(|_| match harness.decide(now) {
            Decision::Route(route) if route.router() == RouterId(0) => route.chosen.p,
            _ => None,
        });
        assert!((p.expect("it gets something") - share).abs() < 1e-9, "after {millis} ms: {p:?} for {share}");
    }
}

/// It is part of answers to clients, and made under the lock.
#[test]
fn an_explanation_does_not_grow_with_the_routers() {
    let mut harness = all_out(300, WhenAllDisabled::Pass);
    let decision = harness.decide(at(10_000));
    let emitted = harness.broker.explain(&decision);
    assert_eq!(emitted.matches("; not /azure/r").count(), 20, "{emitted}");
    assert!(emitted.ends_with("; and others"), "{emitted}");
}
