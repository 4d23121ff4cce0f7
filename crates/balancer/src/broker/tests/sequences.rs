//! Sequences of events that once went wrong: lost logs, clocks set back, reloads in the middle, hints below a second.

use super::*;
use crate::health::{Cooldown, Ratio};
use types::outcome::RetryAfter;

const R: [&str; 3] = ["/azure/r0/", "/azure/r1/", "/azure/r2/"];

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn set(routers: usize, health: health::HealthSettings) -> BrokerSettings {
    let mut settings = settings(routers);
    settings.defaults.health = health;
    settings
}

fn in_force(settings: BrokerSettings) -> Harness {
    Harness::of(settings)
}

fn documented() -> health::HealthSettings {
    health::Preset::Documented.settings()
}

fn resilient() -> health::HealthSettings {
    health::Preset::Resilient.settings()
}

/// The log of a call that we sent.
fn call<'a>(served: &'a str, status: u16, id: &'a str, from: u64, to: u64) -> TestObservation<'a> {
    TestObservation { stamped_path: Some(served), ..log(served, status, id, from, to) }
}

/// The message of a call that began at this moment.
fn early<'a>(served: &'a str, status: u16, id: &'a str, from: u64) -> TestObservation<'a> {
    TestObservation { started: gateway(from), ..message(served, status, id) }
}

fn after(millis: u64) -> Option<RetryAfter> {
    Some(RetryAfter::Delay(Duration::from_millis(millis)))
}

fn decide(harness: &mut Harness, millis: u64) -> Option<(u64, RouteKind)> {
    match harness.decide(at(millis)) {
        Decision::Route(route) => Some((route.number, route.kind)),
        Decision::Pass(_) => None,
    }
}

fn serves(harness: &Harness, place: usize) -> bool {
    harness.state(place) == HealthState::Serving
}

fn reload(harness: &mut Harness, settings: &BrokerSettings, millis: u64) {
    harness.emitted.extend(harness.broker.apply(BrokerInput::Configured(settings), at(millis)).changes);
}

// blindness after a trip that is not dated.

#[test]
fn a_delay_made_by_a_message_does_not_blind_us_once_its_log_is_here() {
    let mut harness = in_force(set(2, documented()));
    harness.learn(&TestObservation { retry_after: after(43), ..early(R[0], 429, "D", 0) }, at(5));
    harness.learn(&TestObservation { retry_after: after(43), ..call(R[0], 429, "D", 0, 5) }, at(6));
    for n in 0..50 {
        let id = format!("F{n}");
        harness.learn(&call(R[0], 500, &id, 1_000 + n * 100, 1_001 + n * 100), at(1_002 + n * 100));
    }
    assert!(!serves(&harness, 0), "fifty 500s in a row, all of calls from after the delay, ejected no router");
}

#[test]
fn the_lost_log_of_a_rate_limit_does_not_blind_us_for_200_seconds() {
    let mut harness = in_force(set(2, documented()));
    harness.learn(&TestObservation { retry_after: after(2_000), ..early(R[0], 429, "D", 0) }, at(5));
    harness.tick(at(2_005));
    assert!(serves(&harness, 0));
    for n in 0..180 {
        let (from, id) = (15_000 + n * 1_000, format!("F{n}"));
        harness.learn(&early(R[0], 500, &id, from), at(from + 5));
        harness.learn(&call(R[0], 500, &id, from, from + 5), at(from + 6));
    }
    assert!(!serves(&harness, 0), "180 failures of a dead router over three minutes were all taken for stragglers");
}

#[test]
fn a_proof_ends_the_blindness() {
    let mut harness = in_force(set(2, resilient()));
    for n in 0..3 {
        let id = format!("T{n}");
        harness.learn(&early(R[0], 500, &id, n), at(n + 1)); // logs lost
    }
    harness.tick(at(7_000));
    assert!(matches!(harness.state(0), HealthState::Probing { .. }), "{:?}", harness.state(0));
    harness.learn(&TestObservation { probe: true, ..call(R[0], 200, "P", 7_000, 7_010) }, at(7_011));
    assert!(serves(&harness, 0));
    for n in 0..60 {
        let (from, id) = (20_000 + n * 1_000, format!("F{n}"));
        harness.learn(&call(R[0], 500, &id, from, from + 5), at(from + 6));
    }
    assert!(!serves(&harness, 0), "it died again 13 s after its proof, and a minute of failures is taken for old");
}

// clock edges.

#[test]
fn our_own_probe_decides_whatever_the_gateways_clock_says() {
    // The gateway's clock was an hour ahead when the router went out, and has been put right since (or: two gateways).
    let mut harness = in_force(set(2, documented()));
    let ahead = 3_600_000 * 2;
    harness.learn(&call(R[0], 500, "T", ahead, ahead + 5), at(5));
    let mut millis = 600_006;
    let mut proofs = 0;
    while millis < 3_600_000 {
        if let Some((number, RouteKind::Probe)) = decide(&mut harness, millis) {
            proofs += 1;
            let id = format!("P{number}");
            harness.learn(
                &TestObservation { probe: true, decision: Some(number), ..call(R[0], 200, &id, millis, millis + 5) },
                at(millis + 6),
            );
        }
        millis += 1_000;
    }
    assert!(serves(&harness, 0), "{proofs} successful probes of ours, and it is still on probation");
}

#[test]
fn the_window_slides_after_a_reload_that_makes_it_longer() {
    let ratio = |s| Some(Ratio { below: 0.5, over: seconds(s), min: 10 });
    let health = |s| health::HealthSettings { consecutive: 1_000_000, ratio: ratio(s), ..documented() };
    let mut harness = in_force(set(2, health(60)));
    for n in 0..1_000 {
        let id = format!("G{n}");
        harness.learn(&call(R[0], 200, &id, n, n + 1), at(n + 1));
    }
    let longer = set(2, health(120));
    reload(&mut harness, &longer, 2_000);
    harness.learn(&call(R[0], 200, "x", 2_001, 2_002), at(2_002));
    for n in 0..600 {
        let (from, id) = (3_600_000 + n * 100, format!("F{n}"));
        harness.learn(&call(R[0], 500, &id, from, from + 1), at(from + 1));
    }
    assert!(!serves(&harness, 0), "600 failures within a minute, an hour after the last success");
}

// need and the one-row configuration.

#[test]
fn in_the_one_row_configuration_a_success_in_need_returns_and_a_failure_does_not_extend() {
    for when in [WhenAllDisabled::Any, WhenAllDisabled::Soonest] {
        let mut all = set(1, documented());
        all.pools[0].when_all_disabled = when;
        let mut harness = in_force(all);
        let one = |status, id| TestObservation { source: Source::OneRow, started: None, ..early(R[0], status, id, 0) };
        harness.learn(&one(503, "T"), at(5));
        let before = harness.until(0);
        assert!(matches!(decide(&mut harness, 300_000), Some((_, RouteKind::Panic))));
        harness.learn(&one(503, "A"), at(300_005));
        harness.tick(at(320_000));
        assert_eq!(harness.until(0), before, "{when:?}: a failure in need extends");
    }
}

#[test]
fn in_the_one_row_configuration_a_success_in_need_returns_the_router() {
    let mut all = set(1, documented());
    all.pools[0].when_all_disabled = WhenAllDisabled::Any;
    let mut harness = in_force(all);
    let one = |status, id| TestObservation { source: Source::OneRow, started: None, ..early(R[0], status, id, 0) };
    harness.learn(&one(503, "T"), at(5));
    assert!(matches!(decide(&mut harness, 300_000), Some((_, RouteKind::Panic))));
    harness.learn(&one(200, "B"), at(300_105));
    harness.tick(at(330_000));
    assert!(serves(&harness, 0));
}

#[test]
fn the_lost_log_of_a_call_in_need_does_not_extend() {
    let mut all = set(1, documented());
    all.pools[0].when_all_disabled = WhenAllDisabled::Any;
    let mut harness = in_force(all);
    harness.learn(&call(R[0], 503, "T", 0, 5), at(6));
    let before = harness.until(0);
    assert!(matches!(decide(&mut harness, 10_000), Some((_, RouteKind::Panic))));
    harness.learn(&early(R[0], 503, "A", 10_000), at(10_005)); // its log is lost
    harness.tick(at(30_000));
    assert_eq!(harness.until(0), before);
}

#[test]
fn in_the_one_row_configuration_a_callers_fault_gives_the_permit_back() {
    let mut harness = in_force(set(1, documented()));
    let one = |status, id| TestObservation { source: Source::OneRow, started: None, ..early(R[0], status, id, 0) };
    harness.learn(&one(503, "T"), at(5));
    assert!(matches!(decide(&mut harness, 600_010), Some((_, RouteKind::Probe))));
    harness.learn(&one(400, "A"), at(600_020));
    assert!(matches!(decide(&mut harness, 600_030), Some((_, RouteKind::Probe))), "the permit is kept for 120 s");
}

#[test]
fn in_the_one_row_configuration_a_short_cooldown_is_short() {
    let mut harness = in_force(set(2, health::HealthSettings { disabled_time: seconds(5), ..documented() }));
    let one = |status, id| TestObservation {
        source: Source::OneRow,
        started: None,
        transaction: None,
        ..early(R[0], status, id, 0)
    };
    harness.learn(&one(503, "T"), at(5));
    harness.tick(at(5_005));
    for n in 0..60 {
        decide(&mut harness, 6_000 + n * 1_000);
        harness.learn(&one(200, "P"), at(6_005 + n * 1_000));
    }
    assert!(serves(&harness, 0), "a minute of successes on probation (only if the bus shows no log at all)");
}

// hints.

#[test]
fn a_message_without_headers_does_not_keep_the_logs_hint_from_counting() {
    let mut harness = in_force(set(2, documented()));
    harness.learn(&TestObservation { headers_missing: true, ..early(R[0], 429, "T", 0) }, at(5));
    harness.learn(&TestObservation { retry_after: after(2_000), ..call(R[0], 429, "T", 0, 5) }, at(6));
    assert_eq!(harness.until(0), Some(at(2_006)));
    harness.tick(at(2_010));
    assert!(serves(&harness, 0), "out until {:?}", harness.until(0));
}

#[test]
fn an_upstream_that_always_says_retry_after_0_is_spared_some_day() {
    let mut harness = in_force(set(2, documented()));
    let mut calls = 0;
    for n in 0..600 {
        let from = n * 100;
        harness.tick(at(from));
        if serves(&harness, 0) {
            calls += 1;
            let id = format!("F{n}");
            harness.learn(
                &TestObservation { retry_after: after(0), ..call(R[0], 429, &id, from, from + 5) },
                at(from + 6),
            );
        }
    }
    assert!(calls < 100, "{calls} calls of 600 in one minute went to a router that answers nothing but 429");
}

#[test]
fn a_503_with_less_than_a_second_only_delays() {
    let mut harness = in_force(set(2, documented()));
    harness.learn(&TestObservation { retry_after: after(300), ..call(R[0], 503, "T", 0, 5) }, at(6));
    harness.tick(at(1_100));
    assert!(serves(&harness, 0), "{:?}", harness.state(0));
}

#[test]
fn one_failure_during_a_delay_is_one_of_three() {
    let mut harness = in_force(set(2, health::HealthSettings { consecutive: 3, ..documented() }));
    harness.learn(&TestObservation { retry_after: after(500), ..call(R[0], 429, "T", 0, 5) }, at(6));
    harness.learn(&call(R[0], 500, "F", 6, 9), at(10)); // received by the gateway a millisecond after the 429 was answered
    harness.tick(at(1_000));
    assert!(serves(&harness, 0), "{:?}", harness.state(0));
}

// poison.

fn with<'a>(text: &'a str, report: TestObservation<'a>) -> TestObservation<'a> {
    TestObservation { payload: Some(text.as_bytes()), ..report }
}

#[test]
fn an_undone_trip_leaves_no_trace() {
    let mut harness = in_force(set(3, health::HealthSettings { poison: true, ..documented() }));
    harness.learn(&with("bad", call(R[0], 500, "A", 0, 5)), at(6));
    harness.learn(&with("good", call(R[1], 200, "G", 10, 15)), at(16));
    harness.learn(&early(R[1], 500, "B", 20), at(25));
    harness.learn(&with("bad", call(R[1], 500, "B", 20, 25)), at(26));
    assert!(serves(&harness, 1));
    harness.learn(&TestObservation { retry_after: after(2_000), ..call(R[1], 429, "C", 30, 35) }, at(36));
    assert_eq!(harness.until(1), Some(at(2_036)), "2 s were asked for; the undone trip counts as a failed return");
}

#[test]
fn a_success_from_before_the_first_failure_is_no_sign_of_life() {
    // r0 and r1 die together at 100; a success that r1 gave at 95 is logged at 110.
    let mut harness = in_force(set(3, health::HealthSettings { poison: true, ..documented() }));
    harness.learn(&with("ping", call(R[0], 500, "A", 100, 105)), at(106));
    harness.learn(&with("other", call(R[1], 200, "G", 90, 95)), at(110));
    harness.learn(&with("ping", call(R[1], 500, "B", 200, 205)), at(206));
    assert!(!serves(&harness, 1), "two dead routers made a health check look like poison");
}

// levels.

#[test]
fn time_in_service_counts_although_a_rate_limit_interrupts_it() {
    let health = health::HealthSettings {
        disabled_time: seconds(10),
        cooldown: Cooldown { factor: 2.0, max: seconds(3_600), jitter: 0.0 },
        ..documented()
    };
    let mut harness = in_force(set(2, health));
    let mut t = 0;
    for n in 0..4 {
        let id = format!("T{n}");
        harness.learn(&TestObservation { probe: n > 0, ..call(R[0], 500, &id, t, t + 1) }, at(t + 1));
        t = 1 + t + 10_000 * (1 << n);
        harness.tick(at(t));
    }
    t += 10;
    harness.learn(&TestObservation { probe: true, ..call(R[0], 200, "P", t, t + 1) }, at(t + 1));
    assert!(serves(&harness, 0));
    // Nine minutes of good service, a 429 with two seconds every nine seconds.
    for n in 0..60 {
        t += 9_000;
        let (g, l) = (format!("G{n}"), format!("L{n}"));
        harness.learn(&call(R[0], 200, &g, t, t + 1), at(t + 1));
        harness.learn(&TestObservation { retry_after: after(2_000), ..call(R[0], 429, &l, t + 2, t + 3) }, at(t + 3));
        harness.tick(at(t + 2_100));
    }
    t += 9_000;
    harness.tick(at(t));
    harness.learn(&call(R[0], 200, "Z", t, t + 1), at(t + 1));
    harness.learn(&call(R[0], 500, "E", t + 2, t + 3), at(t + 3));
    let out = harness.until(0).unwrap().since(at(t + 3));
    assert_eq!(out, seconds(10), "nine minutes of service took no step back");
}

// reload.

#[test]
fn disabled_time_0_lets_everybody_back() {
    let mut harness = in_force(set(2, documented()));
    harness.learn(&call(R[0], 500, "T", 0, 5), at(6));
    let never = set(2, health::HealthSettings { disabled_time: Duration::ZERO, ..documented() });
    reload(&mut harness, &never, 1_000);
    harness.tick(at(1_000));
    assert!(
        serves(&harness, 0),
        "0 never takes a router out, and this one stays out for ten minutes: {:?}",
        harness.state(0)
    );
}

#[test]
fn a_failed_probe_gives_its_permit_back_under_disabled_time_0() {
    let mut harness = in_force(set(1, documented()));
    harness.learn(&call(R[0], 500, "T", 0, 5), at(6));
    harness.tick(at(600_006));
    let never = set(1, health::HealthSettings { disabled_time: Duration::ZERO, ..documented() });
    reload(&mut harness, &never, 600_010);
    let (number, sent) = decide(&mut harness, 600_020).unwrap();
    if sent == RouteKind::Probe {
        harness.learn(
            &TestObservation { probe: true, decision: Some(number), ..call(R[0], 500, "P", 600_020, 600_021) },
            at(600_022),
        );
        assert_ne!(
            decide(&mut harness, 600_030).map(|(_, sent)| sent),
            Some(RouteKind::LastResort),
            "permit kept for 120 s"
        );
    }
}

// lost logs of calls from before a return.

#[test]
fn a_message_from_before_the_return_does_not_trip_after_it() {
    let mut harness = in_force(set(2, documented()));
    harness.learn(&call(R[0], 500, "T", 0, 5), at(6));
    harness.tick(at(600_010));
    harness.learn(&early(R[0], 500, "X", 601_000), at(601_005)); // beside the probe; its log is lost
    harness.learn(&TestObservation { probe: true, ..call(R[0], 200, "P", 602_000, 602_005) }, at(602_006));
    assert!(serves(&harness, 0));
    harness.tick(at(620_000));
    assert!(serves(&harness, 0), "proven at 602 s, out again for a call of 601 s");
}

/// Nodes have other ids in another tree: what a round robin inherits must not name those of the old one.
#[test]
fn a_reload_that_moves_branches_ends() {
    let branch = |policy, targets| Target::plain(TargetKind::Branch { policy, targets });
    let leaf = |place| Target::plain(TargetKind::Router(path(&router(place))));
    let turns = || branch(Policy::RoundRobin, vec![branch(Policy::Fallback, vec![leaf(1), leaf(2)]), leaf(3)]);
    let of = |targets| BrokerSettings { pools: vec![pool(branch(Policy::Fastest, targets))], ..settings(0) };
    let mut harness = Harness::of(of(vec![leaf(0), turns()]));
    for place in 0..4 {
        let served = router(place);
        let report = TestObservation { latency: Some(Duration::from_secs(1)), ..log(&served, 200, "", 0, 1_000) };
        harness.learn(&report, at(1_000));
    }
    harness.broker.apply(BrokerInput::Configured(&of(vec![leaf(0), leaf(4), turns()])), at(2_000));
    assert_eq!(invariants::broken(&harness.broker), None);
    assert!((0..50).all(|_| matches!(harness.decide(at(3_000)), Decision::Route(_))));
}
