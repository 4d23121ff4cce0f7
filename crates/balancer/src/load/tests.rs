//! Latencies by table and by property.

use proptest::prelude::*;

use super::*;
use crate::in_flight::{InFlight, InFlightCall};
use types::outcome::{Cause, Class, Evidence};

const START: BrokerTime = BrokerTime::from_nanos(1_800_000_000_000_000_000);
const ROUTER: RouterId = RouterId(1);

fn at(millis: u64) -> BrokerTime {
    START.after(Duration::from_millis(millis))
}

fn outcome(class: Class, millis: Option<u64>, tokens: Option<u64>) -> Outcome {
    Outcome {
        router: ROUTER,
        class,
        status: 200,
        cause: Cause::Answered(200),
        evidence: Evidence::Passive,
        jitter_seed: 0,
        retry_after: None,
        started: None,
        stopped: None,
        latency: millis.map(Duration::from_millis),
        completion_tokens: tokens,
        is_generation: true,
    }
}

fn success(millis: u64) -> Outcome {
    outcome(Class::Success, Some(millis), None)
}

/// Seconds for a call after these outcomes, each at its millisecond.
fn call(outcomes: &[(u64, Outcome)]) -> f64 {
    let mut loads = Loads::default();
    for (millis, outcome) in outcomes {
        loads.learn(outcome, at(*millis));
    }
    loads.observed_latency(ROUTER).unwrap().call
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-9
}

#[test]
fn a_slower_answer_counts_whole_and_faster_ones_by_the_time_between() {
    let e = (-1.0_f64).exp();
    assert!(near(call(&[(0, success(1_000))]), 1.0), "the first is all that is known");
    assert!(near(call(&[(0, success(1_000)), (1, success(4_000))]), 4.0), "a peak");
    assert!(near(call(&[(0, success(4_000)), (10_000, success(1_000))]), 4.0 * e + 1.0 - e), "one decay later");
    assert!(near(call(&[(0, success(4_000)), (0, success(1_000))]), 4.0), "no time, no change");
    assert!(near(call(&[(1_000, success(4_000)), (0, success(1_000))]), 4.0), "nor if time seems to go back");
    assert!(near(call(&[(0, success(4_000)), (3_600_000, success(1_000))]), 1.0), "an hour later");
}

#[test]
fn failures_are_slow_however_fast_they_come() {
    for class in [Class::Failure, Class::Overloaded, Class::RateLimited] {
        let fast = outcome(class, Some(3), None);
        assert!(near(call(&[(0, fast)]), 5.0), "{class:?}");
        assert!(near(call(&[(0, outcome(class, None, None))]), 5.0), "not even reached");
        assert!(near(call(&[(0, success(500)), (0, fast)]), 5.0));
        assert!(near(call(&[(0, success(20_000)), (0, fast)]), 40.0), "twice as slow as before");
        assert!(near(call(&[(0, success(20_000)), (0, fast), (0, fast)]), 80.0));
        assert!(near(call(&[(0, outcome(class, Some(90_000), None))]), 90.0), "what it took if that is more");
        let many = vec![(0, fast); 100];
        assert!(near(call(&many), 200.0), "no slower than a call can be");
    }
    assert_eq!(
        LatencyEwma::from_outcome(&outcome(Class::Neutral, Some(3), None), None),
        None,
        "a caller's own fault says nothing"
    );
    assert_eq!(
        LatencyEwma::from_outcome(&outcome(Class::Success, None, Some(5)), None),
        None,
        "nor does a success without its time"
    );
}

#[test]
fn per_token_where_the_log_says_how_many() {
    let of =
        |millis, tokens| LatencyEwma::from_outcome(&outcome(Class::Success, Some(millis), Some(tokens)), None).unwrap();
    assert!(near(of(11_600, 100).token.unwrap(), 0.1), "a tenth of a second each, and 1.6 s before the first");
    assert!(near(of(1_700, 1).token.unwrap(), 0.1), "an answer of one token is not slow for that");
    assert!(of(1_000, 0).token.is_some_and(f64::is_finite));
    assert!(of(u64::MAX, u64::MAX).token.is_some_and(f64::is_finite));
    let latency = of(11_600, 100);
    let failure = LatencyEwma::from_outcome(&outcome(Class::Failure, Some(1), None), Some(latency)).unwrap();
    assert!(near(failure.token.unwrap(), 0.3125), "a failure is slow by that measure too");
    let slow = LatencyEwma { call: 1.0, token: Some(0.3) };
    let failure = LatencyEwma::from_outcome(&outcome(Class::Failure, Some(1), None), Some(slow)).unwrap();
    assert!(near(failure.token.unwrap(), 0.6));
    let without = latency.with(LatencyEwma { call: 1.0, token: None }, START, START);
    assert_eq!(without.token, latency.token, "an answer without usage says nothing of tokens");
}

#[test]
fn what_is_known_fades_to_the_middle_and_not_to_nothing() {
    let (mut loads, in_flight) = (Loads::default(), InFlight::default());
    loads.learn(&success(9_000), START);
    let median = Some(LatencyEwma { call: 1.0, token: None });
    assert!(near(LoadReader { loads: &loads, in_flight: &in_flight }.load_of(ROUTER, median).latency.call, 9.0));
    loads.advance_clock(at(10_000));
    assert!(near(
        LoadReader { loads: &loads, in_flight: &in_flight }.load_of(ROUTER, median).latency.call,
        1.0 + 8.0 * (-1.0_f64).exp()
    ));
    loads.advance_clock(at(600_000));
    assert!(
        near(LoadReader { loads: &loads, in_flight: &in_flight }.load_of(ROUTER, median).latency.call, 1.0),
        "the slow one is no better than others, however long alone"
    );
    assert!(
        near(LoadReader { loads: &loads, in_flight: &in_flight }.load_of(ROUTER, None).latency.call, 9.0),
        "without others it stays"
    );
}

#[test]
fn a_newcomer_is_the_middle_until_it_has_one_request() {
    let (mut loads, mut in_flight) = (Loads::default(), InFlight::default());
    let latency = LatencyEwma { call: 2.0, token: Some(0.1) };
    let load = |loads: &Loads, in_flight: &InFlight| LoadReader { loads, in_flight }.load_of(ROUTER, Some(latency));
    assert_eq!(load(&loads, &in_flight), Load { pending: 0, latency });
    in_flight.start(0, InFlightCall { router: ROUTER, started: START, probe: false, reservation: None });
    let slowest = Load { pending: 1, latency: LatencyEwma::MAX };
    assert_eq!(load(&loads, &in_flight), slowest, "enough until it has answered");
    in_flight.finish(0);
    loads.learn(&success(1_000), START);
    assert!(near(load(&loads, &in_flight).latency.call, 1.0));
}

#[test]
fn the_middle_is_the_lower_one_of_two() {
    let latency = |call: f64, token| LatencyEwma { call, token };
    assert_eq!(LatencyEwma::median(&[]), None);
    let all = [latency(3.0, None), latency(1.0, Some(0.5)), latency(2.0, Some(0.1)), latency(9.0, None)];
    assert_eq!(LatencyEwma::median(&all), Some(latency(2.0, Some(0.1))));
    assert_eq!(LatencyEwma::median(&all[..1]), Some(latency(3.0, None)));
}

#[test]
fn that_no_log_shows_a_stamp_is_said_once_and_in_time() {
    let mut loads = Loads::default();
    for _ in 0..19 {
        loads.await_stamp(START);
        assert!(!loads.misses_stamps(at(150_000)), "too few to say");
    }
    loads.await_stamp(at(150_000));
    assert_eq!(loads.next_deadline(), Some(at(160_000)));
    assert!(!loads.misses_stamps(at(159_999)), "their logs may still come");
    assert!(loads.misses_stamps(at(160_000)));
    for _ in 20..100 {
        loads.await_stamp(at(170_000));
    }
    assert!(!loads.misses_stamps(at(190_000)), "once");
    let mut seen = Loads::default();
    for _ in 0..100 {
        seen.await_stamp(START);
    }
    seen.stamp_seen();
    assert!(!seen.misses_stamps(at(190_000)), "one is enough to know that logs show them");
}

proptest! {
    #[test]
    fn a_speed_is_always_a_number_within_what_was_seen(
        samples in prop::collection::vec((0_u64..3, 0_u64..400_000, prop::option::of(0_u64..5_000), 0_u64..60_000), 1..50)
    ) {
        let mut loads = Loads::default();
        let mut now = 0;
        for (class, millis, tokens, wait) in samples {
            let class = [Class::Success, Class::Failure, Class::Neutral][class as usize];
            now += wait;
            loads.learn(&outcome(class, Some(millis), tokens), at(now));
            if let Some(latency) = loads.observed_latency(ROUTER) {
                // The means round, by the last digit.
                prop_assert!((0.0..200.001).contains(&latency.call), "{:?}", latency);
                prop_assert!(latency.token.is_none_or(|token| (0.0..12.501).contains(&token)), "{:?}", latency);
            }
        }
    }
}
