//! Runs that are right, and each way in which one can be wrong.

use balancer::broker::{BrokerSettings, RouterSettings};
use types::router::RouterPath;

use super::*;
use crate::watch::RouterState;

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
        used: None,
    });
}

fn change(run: &mut Run, millis: i64, router: &str, to: RouterState) {
    run.take(Event::Change(Change { at: at(millis), router: router.to_owned(), to }));
}

fn disabled(until: i64) -> RouterState {
    RouterState::Disabled { until: at(until), cause: String::new() }
}

/// 120 calls, 50 ms apart: /d/ fails at 0 and at 3050, each time for 3 s; /a/ and /b/ alternate.
fn good() -> Run {
    let path = |text| RouterPath::parse(text).unwrap();
    let routers = vec![path("/a/"), path("/b/"), path("/d/")];
    let settings = BrokerSettings::flat(path("/azure/"), routers, RouterSettings::default());
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
    change(&mut run, 3003, "/d/", RouterState::Enabled);
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
            change(run, 6053, "/d/", RouterState::Enabled);
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

mod scripted {
    use balancer::broker::RouterSettings;
    use gateway_sim::script::{Episode, Fault};

    use super::*;
    use crate::faults::Faults;

    fn settings(disabled_time: u64) -> BrokerSettings {
        let path = |text| RouterPath::parse(text).unwrap();
        let mut one = RouterSettings::default();
        one.health.disabled_time = Duration::from_secs(disabled_time);
        BrokerSettings::flat(path("/azure/"), vec![path("/a/"), path("/b/")], one)
    }

    /// A call every 50 ms for 10 s, /a/ and /b/ in turn, but for those of /a/ that `a` takes away (none) or gives a status.
    fn run(disabled_time: u64, fault: Fault, to: Option<u64>, a: impl Fn(i64) -> Option<u16>) -> Run {
        let settings = settings(disabled_time);
        let mut run = Run::new(Pool::all(&settings), None, Amount::Time(Duration::from_secs(10)));
        let episode = Episode { from: Duration::from_secs(2), to: to.map(Duration::from_secs), fault };
        run.follow(Faults::just("/a/", episode), settings, at(0));
        for number in 0..200 {
            let millis = number * 50;
            match a(millis).filter(|_| number % 2 == 0) {
                Some(status) => call(&mut run, millis, "/a/", status),
                None => call(&mut run, millis, "/b/", 200),
            }
        }
        run.ended = at(10_000);
        run
    }

    /// /a/ is down from 2 s to 6 s, and left out for 3 s: found out at 2.1 s, tried at 5.2 s, back at 8.3 s.
    fn outage() -> Run {
        let mut run = run(3, Fault::Outage, Some(6), |millis| match millis {
            2_100 | 5_200 => Some(500),
            0..2_000 | 8_300.. => Some(200),
            _ => None,
        });
        change(&mut run, 2_102, "/a/", disabled(5_102));
        change(&mut run, 5_103, "/a/", RouterState::OnProbation);
        change(&mut run, 5_202, "/a/", disabled(8_202));
        change(&mut run, 8_203, "/a/", RouterState::OnProbation);
        change(&mut run, 8_302, "/a/", RouterState::Enabled);
        run
    }

    /// /a/ refuses calls at 3 s, 5.2 s and, right after its return, at 7.3 s, and asks for 2 s each time.
    fn rate_limit() -> Run {
        let fault = Fault::RateLimit { requests: 10, per: Duration::from_secs(2) };
        let mut run = run(600, fault, None, |millis| match millis {
            3_000 | 5_200 | 7_300 => Some(429),
            3_001..5_100 | 5_201..7_300 | 7_301.. => None,
            _ => Some(200),
        });
        for call in run.calls.iter_mut().filter(|call| call.status == Some(429)) {
            call.retry_after = Some(Duration::from_secs(2));
        }
        change(&mut run, 3_002, "/a/", disabled(5_002));
        change(&mut run, 5_003, "/a/", RouterState::Enabled);
        change(&mut run, 5_202, "/a/", disabled(7_202));
        change(&mut run, 7_203, "/a/", RouterState::Enabled);
        change(&mut run, 7_302, "/a/", disabled(11_302));
        run
    }

    #[track_caller]
    fn wrong(mut run: Run, spoil: impl FnOnce(&mut Run), word: &str) {
        spoil(&mut run);
        let faults = run.faults();
        assert!(faults.iter().any(|fault| fault.contains(word)), "{word:?} is not in {faults:?}");
    }

    /// The call at this moment.
    fn one(run: &mut Run, millis: i64) -> &mut Call {
        run.calls.iter_mut().find(|call| call.began == at(millis)).unwrap()
    }

    fn turn(run: &mut Run, millis: i64, router: &str, status: u16) {
        let transaction = one(run, millis).transaction.clone();
        let call = one(run, millis);
        (call.router, call.stamped, call.status) = (router.to_owned(), Some(router.to_owned()), Some(status));
        let answer = run.answers.iter_mut().flatten().find(|answer| answer.transaction == transaction);
        answer.unwrap().status = status;
    }

    #[test]
    fn an_outage_that_ends_is_right_and_reported() {
        let run = outage();
        assert_eq!(run.faults(), [""; 0]);
        let summary = run.scripted().join("\n");
        for words in
            ["2 calls failed", "found out at 2.1 s", "once, and got 1 call", "again at 8.3 s, 2.3 s after", "17 calls"]
        {
            assert!(summary.contains(words), "{words} in {summary}");
        }
    }

    #[test]
    fn one_call_for_each_return_to_a_dead_router() {
        wrong(outage(), |run| turn(run, 5_250, "/a/", 500), "got 2 calls in 1 returns, more than one in each");
        wrong(outage(), |run| turn(run, 3_000, "/a/", 500), "1 calls went to /a/ while it was disabled");
    }

    #[test]
    fn it_is_back_after_the_outage() {
        let gone = |run: &mut Run| {
            (8_300..10_000).step_by(50).for_each(|millis| turn(run, millis, "/b/", 200));
            run.changes.pop();
        };
        wrong(outage(), gone, "/a/ served nothing after its outage");
        wrong(outage(), |run| drop(run.changes.pop()), "was never enabled");
    }

    #[test]
    fn what_the_script_does_not_say_is_wrong() {
        wrong(outage(), |run| turn(run, 9_000, "/a/", 500), "1 failures were not scripted; the first: 500 from /a/");
        wrong(outage(), |run| turn(run, 2_100, "/a/", 429), "not scripted");
        wrong(outage(), |run| turn(run, 4_000, "/b/", 500), "not scripted; the first: 500 from /b/");
        wrong(outage(), |run| turn(run, 2_100, "/a/", 200), "/a/ answered 1 calls while it was down");
        wrong(outage(), |run| change(run, 9_000, "/b/", disabled(9_500)), "/b/ works and was disabled");
    }

    #[test]
    fn what_was_not_seen_to_its_end_is_not_right() {
        wrong(outage(), |run| run.ended = at(5_900), "the calls ended at 5.9 s, too soon for:  /a/ is down");
    }

    #[test]
    fn a_rate_limit_is_respected_and_doubles_after_a_failed_return() {
        let run = rate_limit();
        assert_eq!(run.faults(), [""; 0]);
        let summary = run.scripted().join("\n");
        assert!(
            summary.contains("3 times, for 2, 2, 4 s") && summary.contains("said 2, 2, 2 s, and a return"),
            "{summary}"
        );
        let ten = |run: &mut Run| run.changes[0].to = disabled(603_002);
        wrong(rate_limit(), ten, "said Retry-After 2 and was left out for 600.0 s, not 2.0 s");
        wrong(rate_limit(), |run| run.changes[4].to = disabled(9_302), "was left out for 2.0 s, not 4.0 s");
    }

    #[test]
    fn slow_is_slow_and_not_ill() {
        let slow = || {
            let mut run = run(3, Fault::Latency { add: Duration::from_millis(30) }, None, |_| Some(200));
            for call in run.calls.iter_mut().filter(|call| call.router == "/a/" && call.began >= at(2_000)) {
                (call.answered, call.ended) =
                    (call.began + Duration::from_millis(31), call.began + Duration::from_millis(32));
            }
            run
        };
        assert_eq!(slow().faults(), [""; 0]);
        wrong(slow(), |run| one(run, 4_000).ended = at(4_005), "answered 1 calls in less than the scripted 30 ms");
        wrong(slow(), |run| change(run, 5_000, "/a/", disabled(6_000)), "/a/ works and was disabled");
    }
}
