//! Runs that are right, and each way in which one can be wrong.

use gecholog_broker::broker::{RouterSettings, Settings};
use gecholog_broker::router::RouterPath;

use super::*;
use crate::watch::Standing;

/// Milliseconds since the run began.
fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
}

fn call(run: &mut Run, millis: i64, router: &str, status: u16) {
    let transaction = format!("BROKER01_{millis}_0_0");
    run.answers.push(Ok(Answer { status, transaction: transaction.clone() }));
    run.calls.push(Call {
        began: at(millis),
        decided: at(millis + 1),
        answered: at(millis + 2),
        ended: at(millis + 2),
        transaction,
        ingress: "/azure/".to_owned(),
        router: router.to_owned(),
        stamped: Some(router.to_owned()),
        status: Some(status),
        retry_after: None,
        why: None,
    });
}

fn change(run: &mut Run, millis: i64, router: &str, to: Standing) {
    run.take(Event::Change(Change { at: at(millis), router: router.to_owned(), to }));
}

fn disabled(until: i64) -> Standing {
    Standing::Disabled { until: at(until), cause: String::new() }
}

/// 120 calls, 50 ms apart: /d/ fails at 0 and at 3050, each time for 3 s; /a/ and /b/ alternate.
fn good() -> Run {
    let path = |text| RouterPath::parse(text).unwrap();
    let routers = vec![path("/a/"), path("/b/"), path("/d/")];
    let settings = Settings::flat(path("/azure/"), routers, RouterSettings::default());
    let mut run = Run::new(Pool::all(&settings), Some("/d/"), Amount::Number(120));
    for number in 0..120 {
        let (router, status) = match number {
            0 | 61 => ("/d/", 502),
            even if even % 2 == 0 => ("/a/", 200),
            _ => ("/b/", 200),
        };
        call(&mut run, number * 50, router, status);
    }
    change(&mut run, 2, "/d/", disabled(3002));
    change(&mut run, 3003, "/d/", Standing::Enabled);
    change(&mut run, 3052, "/d/", disabled(6052));
    run.ended = at(5960);
    run
}

#[track_caller]
fn wrong(spoil: impl FnOnce(&mut Run), word: &str) {
    let mut run = good();
    spoil(&mut run);
    let faults = run.faults();
    assert!(faults.iter().any(|fault| fault.contains(word)), "{word:?} is not in {faults:?}");
}

#[test]
fn a_good_run_is_right() {
    let run = good();
    assert_eq!(run.faults(), [""; 0]);
    let shares = run.shares();
    assert_eq!(shares.iter().map(|share| share.calls).collect::<Vec<_>>(), [59, 59, 2]);
    assert_eq!(shares[2].out, Duration::from_millis(3001 + 2908));
    assert_eq!((shares[0].of_working, shares[2].of_working), (Some(50.0), None));
}

#[test]
fn nothing_seen_is_not_right() {
    let run = Run::new(good().pools, Some("/d/"), Amount::Number(120));
    assert!(run.faults().len() >= 3, "{:?}", run.faults());
    assert!(!run.is_logged());
}

#[test]
fn every_call_has_an_answer_and_a_log_entry() {
    wrong(|run| run.answers[5] = Err("connection closed".to_owned()), "got no answer");
    wrong(|run| drop(run.answers.pop()), "were made");
    wrong(|run| drop(run.calls.remove(7)), "no log entry");
    wrong(|run| run.calls[7].status = Some(201), "no log entry");
    wrong(|run| run.calls.push(run.calls[7].clone()), "wants the gateway for itself");
}

#[test]
fn the_broker_decided_every_call() {
    wrong(|run| run.calls[7].stamped = None, "have no stamp");
    wrong(|run| run.calls[7].router = "/azure/".to_owned(), "where the broker said");
    wrong(|run| run.calls[7].ingress = "/b/".to_owned(), "where the broker said");
}

#[test]
fn a_late_answer_is_excused_if_the_gateway_waited_and_few_are() {
    let late = |run: &mut Run, number: usize| {
        let call = &mut run.calls[number];
        (call.router, call.stamped) = (call.ingress.clone(), None);
        (call.decided, call.ended) = (call.began + Duration::from_millis(50), call.began + Duration::from_millis(51));
    };
    let mut run = good();
    (5..15).for_each(|number| late(&mut run, number));
    assert_eq!(run.faults(), [""; 0]);
    wrong(|run| (5..18).for_each(|number| late(run, number)), "in vain");
    wrong(
        |run| {
            late(run, 5);
            run.calls[5].decided = run.calls[5].began;
        },
        "have no stamp",
    );
}

#[test]
fn a_failure_heard_of_late_excuses_one_more() {
    let mut run = good();
    run.calls[61].ended = at(3102);
    call(&mut run, 3051, "/d/", 502);
    run.asked = Some(121);
    assert_eq!(run.faults(), [""; 0]);
    call(&mut run, 3051, "/d/", 502);
    assert!(run.faults().iter().any(|fault| fault.contains("4 failures")), "{:?}", run.faults());
}

#[test]
fn only_the_failing_router_fails_and_always() {
    wrong(|run| run.calls[7].status = Some(500), "not answered by /d/");
    wrong(|run| run.calls[0].status = Some(200), "nothing to see");
}

#[test]
fn one_failure_per_period() {
    wrong(|run| call(run, 5970, "/d/", 502), "3 failures, but /d/ was disabled 2 times");
    wrong(|run| run.changes.clear(), "never disabled");
    wrong(|run| change(run, 4000, "/a/", disabled(7000)), "/a/ works and was disabled");
}

#[test]
fn no_call_while_disabled() {
    wrong(|run| run.calls[30].router = "/d/".to_owned(), "1 calls went to /d/ while it was disabled");
}

#[test]
fn it_comes_back_in_time() {
    wrong(|run| run.changes[1].at = at(2990), "too early");
    wrong(|run| run.changes[1].at = at(4100), "too late");
    wrong(|run| drop(run.changes.remove(1)), "period 1 ran into the next one");
    wrong(|run| run.ended = at(7100), "period 2 never ended");
}

#[test]
fn it_is_drawn_again() {
    wrong(
        |run| {
            change(run, 6053, "/d/", Standing::Enabled);
            for number in 0..70 {
                call(run, 6060 + number * 50, ["/a/", "/b/"][usize::from(number % 2 == 0)], 200);
            }
            (run.asked, run.ended) = (Some(190), at(9600));
        },
        "not drawn in 70 calls",
    );
}

#[test]
fn where_routers_are_not_drawn_alike_the_rest_is_judged_all_the_same() {
    let uneven = |run: &mut Run| {
        run.pools[0].even = false;
        run.calls.iter_mut().filter(|call| call.router == "/b/").for_each(|call| {
            "/a/".clone_into(&mut call.router);
            call.stamped = Some("/a/".to_owned());
        });
    };
    let mut run = good();
    uneven(&mut run);
    assert_eq!(run.faults(), [""; 0]);
    assert!(!run.praise().contains("evenly"));
    wrong(|run| (uneven(run), run.calls[7].status = Some(500)).0, "not answered by /d/");
    wrong(|run| (uneven(run), run.failing = None).0, "2 calls failed");
    wrong(|run| (uneven(run), run.changes.clear()).0, "never disabled");
    wrong(|run| (uneven(run), run.calls[7].stamped = None).0, "have no stamp");
    let mut run = good();
    run.pools[0].may_pass = true;
    "/azure/".clone_into(&mut run.calls[7].router);
    run.calls[7].stamped = None;
    assert_eq!(run.faults(), [""; 0]);
}

#[test]
fn the_others_share_evenly() {
    wrong(|run| run.calls.iter_mut().for_each(|call| call.router = "/a/".to_owned()), "/b/ served 0 calls");
    wrong(|run| run.calls.truncate(20), "too few");
}
