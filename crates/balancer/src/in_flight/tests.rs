//! The table of calls in flight: by table, and by property against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const A: RouterId = RouterId(0);
const B: RouterId = RouterId(3);
const START: BrokerTime = BrokerTime::from_nanos(1);

fn at(seconds: u64) -> BrokerTime {
    START.after(Duration::from_secs(seconds))
}

const fn call(router: RouterId, started: BrokerTime) -> InFlightCall {
    InFlightCall { router, started, probe: false, reservation: None }
}

/// Everything that the gateway has cut off by then.
fn expire(calls: &mut InFlight, seconds: u64) -> Vec<u64> {
    std::iter::from_fn(|| calls.expire(at(seconds))).map(|(number, _)| number).collect()
}

#[test]
fn calls_are_open_until_their_outcome_is_known() {
    let mut calls = InFlight::default();
    for (number, router) in [(5, A), (6, B), (7, A)] {
        calls.start(number, call(router, START));
    }
    assert_eq!((calls.running(A), calls.pending(A)), (None, 2), "no stamp has come back yet");
    assert_eq!(calls.finish(6), Some(call(B, START)));
    assert_eq!((calls.running(A), calls.running(B)), (Some(2), Some(0)));
    assert_eq!([6, 4, 99].map(|number| calls.finish(number)), [None; 3], "twice, long ago, never");
    assert_eq!((calls.running(A), calls.running(B)), (Some(2), Some(0)));
    calls.finish(5);
    calls.finish(7);
    assert_eq!((calls.running(A), calls.timed_out(A)), (Some(0), Some(0)));
    calls.start(8, call(A, START));
    assert_eq!(calls.running(A), Some(1), "goes on after it was empty");
}

#[test]
fn a_number_that_was_there_counts_once() {
    let mut calls = InFlight::default();
    for (number, router) in [(7, A), (7, B), (3, A)] {
        calls.start(number, call(router, START));
    }
    assert_eq!((calls.pending(A), calls.pending(B)), (1, 0));
    calls.finish(7);
    assert!(calls.is_quiet() && calls.is_consistent());
}

#[test]
fn what_is_never_heard_of_times_out_and_is_counted() {
    let mut calls = InFlight::default();
    calls.start(0, call(A, START));
    calls.start(1, call(B, at(1)));
    calls.finish(77);
    assert_eq!(calls.next_deadline(), Some(at(200)));
    assert_eq!((expire(&mut calls, 199), expire(&mut calls, 200)), (vec![], vec![0]), "a call may last so long");
    assert_eq!((calls.running(A), calls.timed_out(A)), (Some(0), Some(1)));
    assert_eq!((calls.running(B), calls.timed_out(B)), (Some(1), Some(0)));
    calls.finish(0);
    calls.finish(1);
    assert_eq!((calls.running(B), calls.timed_out(B), calls.next_deadline()), (Some(0), Some(0), None));
}

#[test]
fn what_a_call_holds_stays_until_its_log() {
    let mut calls = InFlight::default();
    calls.start(0, InFlightCall { probe: true, ..call(A, START) });
    calls.start(1, call(A, START));
    assert!(calls.answered(0).is_some_and(|call| call.probe));
    assert_eq!((calls.pending(A), calls.is_probe(0, A), calls.is_probe(0, B)), (1, true, false));
    assert!(calls.answered(0).is_some(), "its log is yet to come");
    calls.answered(1);
    assert_eq!((calls.pending(A), calls.all().count()), (0, 1), "the other one held nothing");
    assert!(calls.finish(0).is_some());
    assert!(calls.is_quiet() && calls.is_consistent() && calls.timed_out(A) == Some(0));
}

#[test]
fn s1_5_attempts_of_the_relay_never_expire_and_keep_the_places_of_other_calls() {
    let mut calls = InFlight::default();
    calls.start_attempt(0, call(A, START));
    calls.start(1, call(B, START));
    calls.start_attempt(2, call(A, START));
    calls.start(3, call(B, at(1)));
    assert_eq!((calls.pending(A), calls.pending(B)), (2, 2));
    calls.finish(3);
    assert_eq!((calls.pending(A), calls.pending(B)), (2, 1), "found behind the attempt");
    assert_eq!(expire(&mut calls, 3_600), [1]);
    assert_eq!((calls.running(A), calls.timed_out(A)), (Some(2), Some(0)));
    assert_eq!((calls.running(B), calls.timed_out(B), calls.next_deadline()), (Some(0), Some(1), None));
    calls.finish(0);
    calls.answered(2);
    assert_eq!((calls.running(A), calls.timed_out(A), calls.all().count()), (Some(0), Some(0), 0));
}

#[test]
fn it_is_bounded_and_the_oldest_make_room() {
    let mut calls = InFlight::default();
    let more = MAX_CALLS as u64 + 10;
    let mut evicted = Vec::new();
    for number in 0..more {
        evicted.extend(calls.evict(number).map(|(number, _)| number));
        calls.start(number, call(A, START));
    }
    assert_eq!(evicted, (0..10).collect::<Vec<_>>());
    assert!(calls.is_consistent());
    calls.finish(more - 1);
    calls.finish(3);
    assert_eq!((calls.running(A), calls.timed_out(A)), (Some(MAX_CALLS as u32 - 1), Some(10)));
    while calls.evict(1 << 40).is_some() {}
    calls.start(1 << 40, call(B, START));
    assert_eq!((calls.pending(A), calls.pending(B), calls.calls.len()), (0, 1, 1), "far ahead");
}

#[derive(Debug, Clone)]
enum Step {
    Start(u16, bool, bool),
    Finish(u64),
    Answered(u64),
    Wait(u64),
}

proptest! {
    /// Against a map from number to the call, whether it is an attempt, and whether it is over.
    #[test]
    fn everything_in_flight_is_accounted_for_once(steps in prop::collection::vec(prop_oneof![
        4 => (0_u16..4, any::<bool>(), any::<bool>()).prop_map(|(router, relayed, probe)| Step::Start(router, relayed, probe)),
        2 => (0_u64..60).prop_map(Step::Finish),
        2 => (0_u64..60).prop_map(Step::Answered),
        1 => (0_u64..150).prop_map(Step::Wait),
    ], 0..200)) {
        let (mut calls, mut model) = (InFlight::default(), BTreeMap::new());
        let (mut now, mut number) = (0, 0);
        for step in steps {
            match step {
                Step::Start(router, relayed, probe) => {
                    let call = InFlightCall { probe, ..call(RouterId(router), at(now)) };
                    if relayed { calls.start_attempt(number, call) } else { calls.start(number, call) }
                    model.insert(number, (call, relayed, false));
                    number += 1;
                }
                Step::Finish(number) => {
                    prop_assert_eq!(calls.finish(number), model.remove(&number).map(|(call, ..)| call));
                }
                Step::Answered(number) => {
                    prop_assert_eq!(calls.answered(number), model.get(&number).map(|(call, ..)| *call));
                    if let Some((call, relayed, over)) = model.get_mut(&number) {
                        *over = true;
                        if *relayed || !call.probe {
                            model.remove(&number);
                        }
                    }
                }
                Step::Wait(seconds) => {
                    now += seconds;
                    let expired = model.extract_if(.., |_, (call, relayed, _)| {
                        !*relayed && call.started.after(MAX_CALL_DURATION) <= at(now)
                    });
                    let expired: Vec<u64> = expired.map(|(number, _)| number).collect();
                    prop_assert_eq!(expire(&mut calls, now), expired);
                }
            }
            for router in (0..4).map(RouterId) {
                let running = model.values().filter(|(call, _, over)| call.router == router && !over);
                prop_assert_eq!(calls.pending(router) as usize, running.count());
            }
            prop_assert_eq!(calls.all().map(|(number, _)| number).collect::<std::collections::BTreeSet<_>>(), model.keys().copied().collect());
            prop_assert!(calls.is_consistent());
        }
        expire(&mut calls, now + 200);
        for number in 0..number {
            calls.finish(number);
        }
        prop_assert_eq!(calls.all().count(), 0, "nothing is left");
        prop_assert!(calls.is_consistent() && (0..4).all(|router| calls.pending(RouterId(router)) == 0));
    }
}
