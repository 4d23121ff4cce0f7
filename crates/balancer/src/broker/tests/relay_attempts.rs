//! Attempts of the relay: how long they may take, which request is at fault, and the last target that serves.

use super::*;
use crate::health::{HealthSettings, Preset};
use crate::load::rate_limit::RateLimit;
use types::outcome::{ErrorClass, PayloadDigest, QuotaRemaining, RateLimitHeaders, SetBy, TransportFailure};

/// Routers whose settings are these, and whose ingress only the relay serves.
fn relayed(routers: usize, health: HealthSettings) -> Harness {
    let mut settings = settings(routers);
    settings.defaults.health = health;
    settings.relayed = (0..routers).map(|place| path(&router(place))).collect();
    Harness::of(settings)
}

fn resilient() -> HealthSettings {
    HealthSettings { keep_last: true, ..Preset::Resilient.settings() }
}

/// An attempt that began a second before `at` seconds and ended then with this status.
fn attempt(harness: &mut Harness, place: usize, status: u16, payload: &str, seconds: u64) {
    ended(harness, place, seconds, |report| TestObservation {
        status: Some(status),
        payload_digest: Some(PayloadDigest::from_ends(payload.as_bytes())),
        ..report
    });
}

fn ended(
    harness: &mut Harness,
    place: usize,
    seconds: u64,
    say: impl FnOnce(TestObservation<'static>) -> TestObservation<'static>,
) {
    let served: &'static str = ["/azure/r0/", "/azure/r1/", "/azure/r2/"][place];
    let report = TestObservation {
        served_path: Some(served),
        sent_at: Some(at(seconds * 1_000 - 500)),
        ..TestObservation::empty(Source::Attempt)
    };
    harness.learn(&say(report), at(seconds * 1_000));
}

#[test]
fn s1_5_an_attempt_longer_than_the_gateways_200_s_neither_expires_nor_fails() {
    let mut settings = settings(2);
    settings.relayed = (0..2).map(|place| path(&router(place))).collect();
    let Target { kind: TargetKind::Branch { targets, .. }, .. } = settings.pools[0].root.clone() else { panic!() };
    settings.pools[0].root = Target::plain(TargetKind::Branch { policy: Policy::LeastBusy, targets });
    let mut harness = Harness::of(settings);
    let mut rng = SmallRng::seed_from_u64(1);
    let offer = harness.broker.next_target(&INGRESS, &mut AttemptHistory::default(), &mut rng);
    let NextTarget::Untried(route) = offer else { panic!("{offer:?}") };
    assert!(route.relayed);
    harness.broker.commit_route(&route, at(0));
    let place = usize::from(route.router().0);
    for seconds in [199, 201, 3_600] {
        harness.tick(at(seconds * 1_000));
        let pending = harness.broker.in_flight.pending(route.router());
        assert_eq!(pending, 1, "after {seconds} s it is still in flight");
        assert_eq!(harness.broker.in_flight.timed_out(route.router()), None);
        assert_eq!(invariants::broken(&harness.broker), None);
    }
    let served = router(place);
    let report = TestObservation {
        served_path: Some(&served),
        status: Some(200),
        decision: Some(route.number),
        sent_at: Some(at(0)),
        latency: Some(Duration::from_secs(3_601)),
        ..TestObservation::empty(Source::Attempt)
    };
    harness.learn(&report, at(3_601_000));
    // The same call's log entry, as another replica sees it.
    let latency = Some(Duration::from_secs(3_601));
    harness.learn(&TestObservation { latency, ..log(&served, 200, "L_1_1_1", 0, 3_601_000) }, at(3_601_500));
    assert_eq!(harness.out(), Vec::<String>::new());
    assert_eq!((harness.stats(place).failures, harness.state(place)), (0, HealthState::Serving));
}

#[test]
fn an_attempt_teaches_its_time_at_once_and_its_log_does_not_count_it_again() {
    let mut settings = settings(2);
    let Target { kind: TargetKind::Branch { targets, .. }, .. } = settings.pools[0].root.clone() else { panic!() };
    settings.pools[0].root = Target::plain(TargetKind::Branch { policy: Policy::Fastest, targets });
    let mut harness = Harness::of(settings);
    let observed =
        |harness: &Harness| harness.broker.loads.as_ref().and_then(|loads| loads.observed_latency(RouterId(0)));
    let (served, second) = (router(0), Duration::from_secs(1));
    let attempt = |tokens, id| TestObservation {
        sent_at: Some(at(0)),
        latency: Some(second),
        completion_tokens: tokens,
        ..TestObservation { source: Source::Attempt, ..log(&served, 200, id, 0, 1_000) }
    };
    let entry =
        |id| TestObservation { latency: Some(second), completion_tokens: Some(9), ..log(&served, 200, id, 0, 1_000) };
    harness.learn(&attempt(Some(9), "L_1_1_1"), at(1_000));
    assert!(observed(&harness).is_some(), "before its log");
    harness.learn(&entry("L_1_1_1"), at(1_100));
    assert_eq!((harness.stats(0).latency.count(), harness.stats(0).tokens), (1, 9));
    harness.learn(&attempt(None, "L_1_2_1"), at(2_000));
    assert_eq!(harness.stats(0).latency.count(), 1, "without tokens it waits for its log");
    harness.learn(&entry("L_1_2_1"), at(2_100));
    assert_eq!((harness.stats(0).latency.count(), harness.stats(0).tokens), (2, 18));
}

/// A call that makes nothing shows nothing at all: a path may be what it dislikes.
#[test]
fn s1_1_a_refusal_that_leaves_the_key_open_counts_as_a_failure() {
    let refused = |is_ambiguous_refusal, makes_nothing| {
        move |report| TestObservation {
            status: Some(403),
            error_class: Some(ErrorClass::KeyRefused),
            key: Some(SetBy::Target),
            is_ambiguous_refusal,
            makes_nothing,
            ..report
        }
    };
    let mut harness = relayed(2, resilient());
    for seconds in [1, 2] {
        ended(&mut harness, 0, seconds, refused(true, false));
        assert_eq!(harness.out(), Vec::<String>::new(), "{seconds}");
    }
    ended(&mut harness, 0, 3, refused(true, false));
    assert_eq!(harness.out(), ["/azure/r0/"], "three in a row");
    let mut harness = relayed(2, resilient());
    (1..10).for_each(|seconds| ended(&mut harness, 0, seconds, refused(true, true)));
    assert_eq!((harness.out(), harness.stats(0).failures), (Vec::new(), 0));
    ended(&mut harness, 0, 10, refused(false, false));
    assert_eq!(harness.out(), ["/azure/r0/"], "it speaks of the key");
}

/// Whatever an attempt shows, the replica that made it and the one that reads its log entry hold the same of its target.
#[test]
fn s1_1_a_replica_learns_from_an_entry_what_the_one_that_wrote_it_has_learnt() {
    let errors = ErrorClass::ALL.into_iter().flat_map(|class| {
        let failures = [TransportFailure::ErrorEvent(class), TransportFailure::ErrorAnswer(class)];
        [200, 400, 401, 402, 403, 404, 408, 429, 500, 503, 529]
            .map(|status| (status, Some(class), None))
            .into_iter()
            .chain(failures.map(|failure| (502, Some(class), Some(failure))))
    });
    let broken = TransportFailure::ALL.into_iter().filter_map(|failure| {
        let status = if failure == TransportFailure::FirstByteTimeout { 504 } else { 502 };
        failure.error_class().map(|class| (status, Some(class), Some(failure)))
    });
    let keys = [None, Some(SetBy::Client), Some(SetBy::Target)];
    for ((status, error_class, transport_failure), key) in
        errors.chain(broken).flat_map(|case| keys.map(|key| (case, key)))
    {
        let seen = TestObservation {
            error_class,
            transport_failure,
            key,
            missing: Some(SetBy::Target).filter(|_| error_class == Some(ErrorClass::NotFound)),
            ..log("/azure/r0/", status, "L_1_1_1", 500, 1_000)
        };
        let attempt = TestObservation { source: Source::Attempt, sent_at: Some(at(500)), ..seen };
        let held = |observation: &TestObservation<'_>, preset: Preset| {
            let mut harness = relayed(2, HealthSettings { keep_last: true, ..preset.settings() });
            harness.learn(observation, at(1_000));
            (harness.state(0), harness.stats(0).failures)
        };
        for preset in [Preset::Documented, Preset::Resilient] {
            assert_eq!(held(&seen, preset), held(&attempt, preset), "{preset:?} {attempt:?}");
        }
    }
}

#[test]
fn s1_5_one_silent_attempt_ejects_a_resilient_target_and_an_error_does_not() {
    let silent = |report| TestObservation {
        status: Some(504),
        transport_failure: Some(TransportFailure::FirstByteTimeout),
        ..report
    };
    let mut harness = relayed(2, resilient());
    ended(&mut harness, 0, 1, silent);
    assert_eq!(harness.out(), ["/azure/r0/"]);
    ended(&mut harness, 1, 2, silent);
    assert_eq!(harness.out(), ["/azure/r0/"], "the last one stays");
    let mut harness = relayed(2, resilient());
    attempt(&mut harness, 0, 500, "a", 1);
    assert_eq!(harness.out(), Vec::<String>::new());
}

#[test]
fn s1_6_one_request_that_all_refuse_ejects_none_in_the_end() {
    let mut harness = relayed(3, HealthSettings { poison: true, ..HealthSettings::default() });
    for place in 0..3 {
        attempt(&mut harness, place, 500, "bad", 10 + place as u64);
    }
    assert_eq!(harness.out().len(), 3);
    let probe = |harness: &mut Harness, place, payload: &str, status, seconds| {
        let digest = PayloadDigest::from_ends(payload.as_bytes());
        ended(harness, place, seconds, |report| TestObservation {
            status: Some(status),
            probe: true,
            payload_digest: Some(digest),
            ..report
        });
    };
    probe(&mut harness, 2, "good", 200, 20);
    assert_eq!(harness.out(), Vec::<String>::new(), "one of them answers something else well");
    attempt(&mut harness, 0, 500, "bad", 21);
    assert_eq!(harness.out(), Vec::<String>::new(), "it is known by now");
    attempt(&mut harness, 0, 500, "other", 22);
    assert_eq!(harness.out(), ["/azure/r0/"], "another request is judged by itself");
}

/// What leaves open if it refuses the key or only this request is taken for a refused key until others show better.
#[test]
fn s1_6_a_request_that_several_targets_forbid_costs_none_its_place_in_the_end() {
    let forbidden = |harness: &mut Harness, place, payload: &str, seconds| {
        ended(harness, place, seconds, |report| TestObservation {
            status: Some(403),
            error_class: Some(ErrorClass::KeyRefused),
            key: Some(SetBy::Target),
            payload_digest: Some(PayloadDigest::from_ends(payload.as_bytes())),
            ..report
        });
    };
    for kept in [true, false] {
        let mut harness = relayed(3, HealthSettings { poison: true, keep_last: kept, ..resilient() });
        for place in 0..3 {
            forbidden(&mut harness, place, "bad", 10 + place as u64);
        }
        assert_eq!(harness.out().len(), if kept { 2 } else { 3 }, "one refusal each is enough");
        ended(&mut harness, 2, 20, |report| TestObservation {
            status: Some(200),
            probe: !kept,
            payload_digest: Some(PayloadDigest::from_ends(b"good")),
            ..report
        });
        assert_eq!(harness.out(), Vec::<String>::new(), "one of them answers something else well");
        forbidden(&mut harness, 0, "bad", 21);
        assert_eq!(harness.out(), Vec::<String>::new(), "it is known by now");
        forbidden(&mut harness, 0, "other", 22);
        assert_eq!(harness.out(), ["/azure/r0/"], "another request is judged by itself");
    }
    let mut harness = relayed(2, HealthSettings { keep_last: false, ..resilient() });
    for (round, payload) in ["one", "two"].into_iter().enumerate() {
        forbidden(&mut harness, 0, payload, 10 + round as u64);
        forbidden(&mut harness, 1, payload, 10 + round as u64);
    }
    ended(&mut harness, 1, 12, |report| TestObservation { status: Some(200), probe: true, ..report });
    assert_eq!(harness.out(), ["/azure/r0/"], "several requests: keys that are refused");
}

#[test]
fn s1_6_a_request_sent_again_to_one_target_counts_there_once_and_an_outage_counts() {
    let mut harness = relayed(2, HealthSettings { keep_last: false, ..resilient() });
    for round in 0..5 {
        attempt(&mut harness, 0, 500, "bad", 10 + 2 * round);
        attempt(&mut harness, 1, 500, "bad", 11 + 2 * round);
    }
    assert_eq!(harness.out(), Vec::<String>::new(), "one request is one piece of evidence");
    for (round, payload) in ["second", "third", "fourth"].iter().enumerate() {
        attempt(&mut harness, 0, 500, payload, 20 + round as u64);
        attempt(&mut harness, 1, 500, payload, 20 + round as u64);
    }
    assert_eq!(harness.out().len(), 2, "several requests are an outage");
}

/// A connection is refused whatever the request is.
#[test]
fn s1_6_what_was_never_sent_is_no_requests_fault() {
    for (failure, out) in
        [(TransportFailure::Connect, 1), (TransportFailure::ConnectTimeout, 1), (TransportFailure::ConnectionClosed, 0)]
    {
        let mut harness = relayed(2, resilient());
        for round in 0..5 {
            ended(&mut harness, 0, 10 + round, |report| TestObservation {
                status: Some(if failure == TransportFailure::ConnectTimeout { 504 } else { 502 }),
                transport_failure: Some(failure),
                payload_digest: Some(PayloadDigest::from_ends(b"the same")),
                ..report
            });
        }
        assert_eq!(harness.out().len(), out, "{failure:?}");
    }
}

/// Who asks again wants an answer; and targets that are dead are found out by those who answer.
#[test]
fn s1_6_a_request_that_comes_again_goes_last_to_those_that_have_failed_it() {
    let mut harness = relayed(3, resilient());
    let Target { kind: TargetKind::Branch { targets, .. }, .. } = harness.broker.settings().pools[0].root.clone()
    else {
        panic!()
    };
    let mut settings = harness.broker.settings().as_ref().clone();
    settings.pools[0].root = Target::plain(TargetKind::Branch { policy: Policy::Fallback, targets });
    harness.broker.apply(BrokerInput::Configured(&Arc::new(settings)), at(0));
    let next = |harness: &Harness, payload: &str, seconds: u64| {
        let mut history = AttemptHistory::of_request(PayloadDigest::from_ends(payload.as_bytes()));
        harness.broker.recall_failures(&mut history, at(seconds * 1_000));
        let mut order = Vec::new();
        for _ in 0..3 {
            let next = harness.broker.next_target(&INGRESS, &mut history, &mut SmallRng::seed_from_u64(1));
            let NextTarget::Untried(route) = next else { panic!("{next:?}") };
            history.note(route.router(), true);
            order.push(usize::from(route.router().0));
        }
        order
    };
    assert_eq!(next(&harness, "the same", 10), [0, 1, 2]);
    attempt(&mut harness, 0, 500, "the same", 10);
    assert_eq!(next(&harness, "the same", 11), [1, 2, 0]);
    assert_eq!(next(&harness, "another", 11), [0, 1, 2]);
    attempt(&mut harness, 1, 500, "the same", 12);
    assert_eq!(next(&harness, "the same", 13), [2, 0, 1]);
    assert_eq!(next(&harness, "the same", 71), [0, 1, 2], "forgotten after a minute");
    attempt(&mut harness, 2, 200, "the same", 14);
    assert_eq!(next(&harness, "the same", 15), [0, 1, 2], "it is cleared");
}

/// One body again and again, as monitors send it.
#[test]
fn s1_6_a_dead_target_is_found_by_one_request_that_comes_again() {
    let failed = |dead: usize, payload: fn(u64) -> String| {
        let mut harness = relayed(3, resilient());
        let mut failed = 0;
        for call in 0..40 {
            let payload = payload(call);
            let mut history = AttemptHistory::of_request(PayloadDigest::from_ends(payload.as_bytes()));
            harness.broker.recall_failures(&mut history, at(10_000 + call * 1_000));
            let next = harness.broker.next_target(&INGRESS, &mut history, &mut harness.rng);
            let NextTarget::Untried(route) = next else { panic!("{next:?}") };
            let place = usize::from(route.router().0);
            let status = if place < dead { 502 } else { 200 };
            attempt(&mut harness, place, status, &payload, 10 + call);
            failed += usize::from(status == 502);
        }
        failed
    };
    for dead in 1..=2 {
        let (same, others) = (failed(dead, |_| "the same".to_owned()), failed(dead, |call| call.to_string()));
        assert!(same <= others + dead, "{dead} dead: {same} of 40 calls failed, {others} where each is another one");
    }
}

/// A client's retries reach several replicas, and each hears of the attempts of the others by their log entries.
#[test]
fn s1_6_replicas_know_one_request_by_one_digest() {
    let mut harness = relayed(3, resilient());
    let digest = Some(PayloadDigest::from_ends(b"bad"));
    for round in 0..6 {
        for place in 0..3 {
            let (seconds, served) = (10 + 3 * round + place as u64, router(place));
            let id = format!("L_1_{round}_{place}");
            let report = log(&served, 500, &id, seconds * 1_000, seconds * 1_000 + 1);
            let elsewhere = TestObservation { payload: Some(b"{}"), payload_digest: digest, ..report };
            harness.learn(&elsewhere, at(seconds * 1_000));
            attempt(&mut harness, place, 500, "bad", seconds);
        }
    }
    assert_eq!(harness.out(), Vec::<String>::new(), "one request, and no outage");
}

/// Keys are renewed replica by replica: each learns of its own.
#[test]
fn s1_1_a_key_that_another_replica_sees_refused_takes_no_target_out_here() {
    let mut harness = relayed(2, resilient());
    let served = router(0);
    for (second, id) in (1..).zip(["L_1_1_1", "L_1_2_1", "L_1_3_1", "L_1_4_1"]) {
        let entry = log(&served, 401, id, second * 1_000, second * 1_000 + 1);
        let refused = TestObservation { error_class: Some(ErrorClass::KeyRefused), ..entry };
        harness.learn(&refused, at(second * 1_000));
    }
    assert_eq!(harness.out(), Vec::<String>::new());
}

#[test]
fn s1_8_the_last_target_that_serves_is_ejected_only_on_its_upstreams_own_word() {
    let once = HealthSettings { consecutive: 1, ..resilient() };
    for routers in [1, 2] {
        let last = routers - 1;
        for (status, wait, out) in
            [(500, None, false), (503, None, false), (429, None, false), (503, Some(30), true), (429, Some(30), true)]
        {
            let mut harness = relayed(routers, once);
            for place in 0..last {
                attempt(&mut harness, place, 500, "first", 1);
            }
            assert_eq!(harness.out().len(), last);
            for seconds in 2..6 {
                ended(&mut harness, last, seconds, |report| TestObservation {
                    status: Some(status),
                    retry_after: wait.map(|wait| RetryAfter::Delay(Duration::from_secs(wait))),
                    ..report
                });
            }
            assert_eq!(harness.out().len() == routers, out, "{routers} targets, {status}, {wait:?}");
        }
    }
    // A refused key takes a target out at once, but not the last one: its clients get the reason.
    let mut harness = relayed(2, resilient());
    for (place, seconds) in [(0, 1), (1, 2), (1, 3), (1, 4)] {
        ended(&mut harness, place, seconds, |report| TestObservation {
            status: Some(401),
            key: Some(SetBy::Target),
            ..report
        });
        assert_eq!(harness.out(), ["/azure/r0/"]);
    }
    // Without the setting, as routers of the gateway have it, the first failure ejects the last one too.
    let mut harness = relayed(1, HealthSettings { keep_last: false, ..once });
    attempt(&mut harness, 0, 500, "first", 1);
    assert_eq!(harness.out().len(), 1);
}

#[test]
fn a_refused_call_that_makes_nothing_takes_no_target_out() {
    let mut harness = relayed(2, resilient());
    let refused = |makes: bool| {
        move |report| TestObservation {
            status: Some(403),
            error_class: Some(ErrorClass::KeyRefused),
            key: Some(SetBy::Target),
            makes_nothing: !makes,
            ..report
        }
    };
    ended(&mut harness, 0, 1, refused(false));
    assert_eq!(harness.out(), Vec::<String>::new(), "a list, or a path for which the key has no scope");
    ended(&mut harness, 0, 2, refused(true));
    assert_eq!(harness.out(), ["/azure/r0/"]);
}

/// Anthropic's token counting: "separate and independent rate limits".
#[test]
fn a_rate_limit_of_calls_that_generate_nothing_is_theirs_alone() {
    let mut harness = relayed(2, resilient());
    let limited = |makes: bool| {
        move |report| TestObservation {
            status: Some(429),
            error_class: Some(ErrorClass::RateLimited),
            retry_after: Some(RetryAfter::Delay(Duration::from_secs(30))),
            makes_nothing: !makes,
            ..report
        }
    };
    ended(&mut harness, 0, 1, limited(false));
    assert_eq!(harness.out(), Vec::<String>::new());
    ended(&mut harness, 0, 2, limited(true));
    assert_eq!(harness.out(), ["/azure/r0/"]);
}

/// A pool may be there for nothing but files or batches.
#[test]
fn where_only_calls_that_generate_nothing_failed_such_calls_show_that_it_works() {
    let mut harness = relayed(2, resilient());
    let answered = |status, generates: bool| {
        move |report| TestObservation { status: Some(status), makes_nothing: !generates, ..report }
    };
    // Two of three are well, so that the rate of success says nothing against it.
    for (seconds, status) in (1..13).zip([500, 200, 200].into_iter().cycle()) {
        ended(&mut harness, 0, seconds, answered(status, false));
    }
    assert_eq!(harness.out(), Vec::<String>::new(), "never three in a row");
    for (seconds, generates) in [(20, true), (22, true)] {
        ended(&mut harness, 0, seconds, answered(500, generates));
        ended(&mut harness, 0, seconds + 1, answered(200, false));
    }
    ended(&mut harness, 0, 24, answered(500, false));
    assert_eq!(harness.out(), ["/azure/r0/"], "a list says nothing of what generates");
}

/// No entry of the gateway's follows, and its own does not count again.
#[test]
fn an_attempt_that_only_the_relay_can_make_waits_for_no_log() {
    let mut settings = settings(2);
    settings.relayed = (0..2).map(|place| path(&router(place))).collect();
    let Target { kind: TargetKind::Branch { targets, .. }, .. } = settings.pools[0].root.clone() else { panic!() };
    settings.pools[0].root = Target::plain(TargetKind::Branch { policy: Policy::Fastest, targets });
    settings.defaults.rate_limit = Some(RateLimit { rpm: None, tpm: Some(1_000_000) });
    let mut harness = Harness::of(settings);
    let mut rng = SmallRng::seed_from_u64(1);
    let offer = harness.broker.next_target(&INGRESS, &mut AttemptHistory::default(), &mut rng);
    let NextTarget::Untried(route) = offer else { panic!("{offer:?}") };
    harness.broker.commit_route(&route, at(0));
    let (place, served) = (usize::from(route.router().0), router(usize::from(route.router().0)));
    let entry = TestObservation { latency: Some(Duration::from_secs(1)), ..log(&served, 200, "L_1_1_1", 0, 1_000) };
    let attempt =
        TestObservation { source: Source::Attempt, sent_at: Some(at(0)), decision: Some(route.number), ..entry };
    harness.learn(&attempt, at(1_000));
    let observed = harness.broker.loads.as_ref().and_then(|loads| loads.observed_latency(route.router()));
    assert!(observed.is_some(), "without tokens too");
    assert_eq!(harness.broker.dedup.len(), 0);
    assert!(!harness.broker.in_flight.contains(route.number));
    assert_eq!(
        harness.learn(&TestObservation { decision: Some(route.number), ..entry }, at(1_100)),
        Some(IgnoreReason::Duplicate)
    );
    assert_eq!(harness.stats(place).successes, 1);
    assert_eq!(
        harness.learn(&TestObservation { transaction: Some("M_1_1_1"), ..entry }, at(1_200)),
        None,
        "of another replica"
    );
    assert_eq!((harness.stats(place).successes, invariants::broken(&harness.broker)), (2, None));
}

/// One answer of each is enough, of whatever request; and what another request meets later undoes nothing.
#[test]
fn s1_6_a_wait_that_targets_ask_for_is_no_requests_fault() {
    let mut harness = relayed(2, resilient());
    let refused = |harness: &mut Harness, place, seconds| {
        ended(harness, place, seconds, |report| TestObservation {
            status: Some(503),
            retry_after: Some(RetryAfter::Delay(Duration::from_secs(30))),
            payload_digest: Some(PayloadDigest::from_ends(b"the same")),
            ..report
        });
    };
    refused(&mut harness, 0, 10);
    refused(&mut harness, 1, 11);
    assert_eq!(harness.out(), [router(0), router(1)]);
    refused(&mut harness, 0, 15);
    assert_eq!(harness.until(0), Some(at(45_000)), "the second of the same request counts like the first");
    attempt(&mut harness, 1, 200, "another", 16);
    assert_eq!(harness.out(), [router(0), router(1)]);
}

/// No time at all is no wait, and when a quota is refilled is a guess: such answers are the request's fault as any other.
#[test]
fn s1_6_an_overload_that_names_no_wait_may_be_the_requests_fault() {
    for said in [RetryAfter::Delay(Duration::ZERO), RetryAfter::QuotaReset(Duration::from_secs(30))] {
        let mut harness = relayed(3, HealthSettings { consecutive: 1, ..resilient() });
        for (place, seconds) in [(0, 10), (1, 11)] {
            ended(&mut harness, place, seconds, |report| TestObservation {
                status: Some(503),
                retry_after: Some(said),
                payload_digest: Some(PayloadDigest::from_ends(b"the same")),
                ..report
            });
        }
        attempt(&mut harness, 0, 200, "another", 13);
        assert_eq!(harness.out(), Vec::<String>::new(), "{said:?}");
    }
}

/// What one client's account has left is not what the others have.
#[test]
fn a_quota_of_the_clients_own_key_limits_no_other_client() {
    for key in [SetBy::Client, SetBy::Target] {
        let mut settings = settings(2);
        settings.relayed = (0..2).map(|place| path(&router(place))).collect();
        settings.defaults.rate_limit = Some(RateLimit { rpm: Some(100), tpm: None });
        settings.defaults.health.retry_after.preempt = true;
        let mut harness = Harness::of(settings);
        let empty = Some(QuotaRemaining { amount: 0, reset: Duration::from_secs(60) });
        ended(&mut harness, 0, 1, |report| TestObservation {
            status: Some(200),
            key: Some(key),
            quota: RateLimitHeaders { requests: empty, tokens: None },
            retry_after: Some(RetryAfter::QuotaReset(Duration::from_secs(60))),
            ..report
        });
        let is_limited = harness.broker.limits.as_ref().unwrap().exceeded(RouterId(0), 1).is_some();
        let is_ours = key == SetBy::Target;
        assert_eq!((is_limited, harness.out().is_empty()), (is_ours, !is_ours), "{key:?}");
    }
}

/// What serves other requests is no reason to take out the last that serves these.
#[test]
fn s1_8_the_last_target_that_conditions_lead_to_is_the_last() {
    use crate::strategy::{Condition, Field, Query, Test};
    let branch = |policy, targets| Target::plain(TargetKind::Branch { policy, targets });
    let leaf = |place| Target::plain(TargetKind::Router(path(&router(place))));
    let query = Query::Field(Field::parse("params.model").unwrap(), vec![Test::Eq("a".into())]);
    let by_model = |targets| {
        let conditions = [Condition { query: query.clone(), then: 0 }].into();
        branch(Policy::Conditional { conditions, default: Some(1) }, targets)
    };
    let alone = by_model(vec![leaf(0), leaf(1)]);
    let fallback = branch(Policy::Fallback, vec![alone.clone(), leaf(2)]);
    let nested = by_model(vec![branch(Policy::LoadBalance, vec![leaf(0), leaf(2)]), leaf(1)]);
    // Where it gets no calls, it is not the last that serves some.
    let drained = branch(Policy::Fallback, vec![Target { drained: true, ..alone.clone() }, leaf(0), leaf(2)]);
    // Only some requests, or each of them, can go elsewhere.
    let beside = |below| branch(Policy::LoadBalance, vec![leaf(0), below]);
    let only_some = [Condition { query: query.clone(), then: 0 }].into();
    let some = beside(branch(Policy::Conditional { conditions: only_some, default: None }, vec![leaf(1)]));
    let each = beside(by_model(vec![leaf(1), leaf(2)]));
    let cases = [(alone, true), (fallback, false), (nested, false), (drained, false), (some, true), (each, false)];
    for (root, is_last) in cases {
        let mut settings = BrokerSettings { pools: vec![pool(root.clone())], ..settings(0) };
        settings.defaults.health = resilient();
        let mut harness = Harness::of(settings);
        for seconds in 1..5 {
            attempt(&mut harness, 0, 500, &format!("request {seconds}"), seconds);
        }
        assert_eq!(harness.out().is_empty(), is_last, "{root:?}");
    }
}
