//! The broker with a stopped clock: what it decides, what it learns, and what must hold whatever happens.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::health;
use crate::strategy::{Policy, Target, TargetKind};
use types::outcome::{Cause, RetryAfter, SetBy};
use types::transition::{Advisory, ModelLimitChange};

pub(super) mod fixture;
pub(crate) mod report;

use fixture::*;
use report::{Source, TestObservation};

mod affinity;
mod all_disabled;
mod classification;
mod in_flight;
mod invariants_prop;
mod loads;
mod model_limits;
mod outages;
mod rate_limits;
mod recorded_choices;
mod relay_attempts;
mod sequences;
mod takeovers;

mod reloading {
    use super::*;

    /// A round robin over routers of these weights, and a nested one that may be named.
    fn turns(weights: &[f64], nested: &[f64]) -> BrokerSettings {
        let leaf = |(number, weight): (usize, &f64)| Target {
            weight: *weight,
            ..Target::plain(TargetKind::Router(path(&format!("/r/{number}/"))))
        };
        let branch = |targets| Target::plain(TargetKind::Branch { policy: Policy::RoundRobin, targets });
        let mut targets: Vec<_> = weights.iter().enumerate().map(leaf).collect();
        if !nested.is_empty() {
            let nested = nested.iter().enumerate().map(|(number, weight)| leaf((number + 50, weight)));
            targets.push(branch(nested.collect()));
        }
        let pools = vec![pool(branch(targets))];
        BrokerSettings { pools, ..BrokerSettings::default() }
    }

    fn harness(settings: &BrokerSettings) -> Harness {
        Harness::of(settings.clone())
    }

    fn take(harness: &mut Harness, times: usize) -> Vec<String> {
        (0..times).filter_map(|_| harness.choose(START)).collect()
    }

    fn reload(harness: &mut Harness, settings: &BrokerSettings) {
        harness.broker.apply(BrokerInput::Configured(settings), START);
    }

    #[test]
    fn the_same_settings_again_move_no_turn() {
        for settings in [turns(&[1.0; 3], &[]), turns(&[5.0, 1.0, 1.0], &[]), turns(&[0.3, 0.1], &[2.0, 1.0, 1.0])] {
            let whole = take(&mut harness(&settings), 40);
            let mut harness = harness(&settings);
            let mut chosen = Vec::new();
            while chosen.len() < 40 {
                chosen.extend(take(&mut harness, 1));
                reload(&mut harness, &settings);
            }
            assert_eq!(chosen, whole);
        }
    }

    #[test]
    fn a_reload_goes_on_although_a_router_is_out() {
        let settings = turns(&[1.0; 4], &[]);
        let mut plain = harness(&settings);
        plain.learn(&log("/r/1/", 500, "x", 10, 20), START);
        let whole = take(&mut plain, 12);
        let mut harness = harness(&settings);
        harness.learn(&log("/r/1/", 500, "x", 10, 20), START);
        let mut chosen = Vec::new();
        while chosen.len() < 12 {
            chosen.extend(take(&mut harness, 1));
            reload(&mut harness, &settings);
        }
        assert_eq!(chosen, whole);
    }

    #[test]
    fn an_added_or_removed_router_begins_nothing_anew() {
        let mut added = harness(&turns(&[1.0; 3], &[]));
        assert_eq!(take(&mut added, 2), ["/r/0/", "/r/1/"]);
        reload(&mut added, &turns(&[1.0; 4], &[]));
        assert_eq!(take(&mut added, 1), ["/r/2/"], "it was next, and still is");
        let mut removed = harness(&turns(&[1.0; 3], &[]));
        take(&mut removed, 1);
        reload(&mut removed, &turns(&[1.0; 2], &[]));
        assert_eq!(take(&mut removed, 2), ["/r/1/", "/r/0/"]);
    }

    #[test]
    fn a_nested_round_robin_goes_on_when_something_else_changes_or_joins_it() {
        for after in [turns(&[2.0], &[1.0; 3]), turns(&[1.0], &[1.0; 4]), turns(&[1.0, 1.0], &[1.0; 3])] {
            let mut harness = harness(&turns(&[1.0], &[1.0; 3]));
            assert_eq!(take(&mut harness, 4), ["/r/0/", "/r/50/", "/r/0/", "/r/51/"]);
            reload(&mut harness, &after);
            let next = take(&mut harness, 4).into_iter().find(|router| router.starts_with("/r/5"));
            assert_eq!(next.as_deref(), Some("/r/52/"), "{after:?}");
        }
    }

    #[test]
    fn another_ingress_begins_at_the_beginning() {
        let settings = turns(&[1.0; 3], &[]);
        let mut harness = harness(&settings);
        take(&mut harness, 1);
        let mut other = settings.clone();
        other.pools[0].ingress = path("/other/");
        reload(&mut harness, &other);
        reload(&mut harness, &settings);
        assert_eq!(take(&mut harness, 1), ["/r/0/"]);
    }
}

mod decisions {
    use super::*;

    #[test]
    fn only_an_ingress_is_balanced() {
        let mut harness = Harness::new(3);
        for other in ["/azure/r0/", "/azure/r1/", "/azure", "/", "", "/openai/", "\u{fffd}"] {
            let (decision, _) = decide(&mut harness.broker, &other, START, &mut harness.rng);
            assert_eq!(decision, Decision::Pass(Pass::UnknownIngress), "{other:?}");
        }
        assert!(matches!(harness.decide(START), Decision::Route(_)));
    }

    #[test]
    fn thirty_thousand_decisions_spread_evenly() {
        for (routers, bound) in [(2, 10.83), (3, 13.82)] {
            let mut harness = Harness::new(routers);
            for _ in 0..30_000 {
                harness.decide(START);
            }
            let expected = 30_000.0 / routers as f64;
            let chi: f64 = (0..routers).map(|n| (harness.stats(n).chosen() as f64 - expected).powi(2) / expected).sum();
            assert!(chi < bound, "chi-square {chi} over {routers} routers is above its 99.9 % bound {bound}");
        }
    }

    #[test]
    fn the_stated_probability_is_the_observed_share() {
        let mut harness = Harness::new(5);
        harness.learn(&log("/azure/r1/", 500, "A_1_1_0", 0, 1), START);
        harness.learn(&log("/azure/r3/", 500, "A_2_1_0", 0, 1), START);
        let mut stated = [0.0; 5];
        let mut seen = [0.0; 5];
        for _ in 0..30_000 {
            let Decision::Route(route) = harness.decide(START) else { panic!("nothing offered") };
            stated[usize::from(route.router().0)] = route.chosen.p.unwrap();
            seen[usize::from(route.router().0)] += 1.0 / 30_000.0;
        }
        for (stated, seen) in stated.iter().zip(seen) {
            let sigma = (stated * (1.0 - stated) / 30_000.0).sqrt();
            assert!((stated - seen).abs() <= 4.0 * sigma, "stated {stated}, seen {seen}");
        }
    }

    #[test]
    fn a_decision_in_words_says_who_was_passed_over_until_when_and_why() {
        let leaf = |number: usize| Target::plain(TargetKind::Router(path(&router(number))));
        let targets = vec![leaf(0), leaf(1), Target { weight: 0.0, ..leaf(2) }, Target { drained: true, ..leaf(3) }];
        let root = Target::plain(TargetKind::Branch { policy: Policy::LoadBalance, targets });
        let pools = vec![pool(root)];
        let broker = Broker::new(BrokerSettings { pools, ..settings(0) });
        let mut harness = Harness { broker, ..Harness::new(0) };
        harness.learn(&log("/azure/r1/", 500, "A_1_1_0", 0, 1), START);
        let decision = harness.decide(START);
        let emitted = "/azure/ -> /azure/r0/ (p 1.000): random, 1 of 4 serve; not /azure/r1/ (disabled until \
            2027-01-15T08:10:00Z, answered 500); not /azure/r2/ (weight 0); not /azure/r3/ (drained)";
        assert_eq!(harness.broker.explain(&decision), emitted);
        harness.learn(&log("/azure/r0/", 500, "A_2_1_0", 0, 1), START);
        let decision = harness.decide(START);
        let emitted = harness.broker.explain(&decision);
        assert!(emitted.starts_with("/azure/: nothing may serve; not /azure/r0/ (disabled until 2027-"), "{emitted}");
    }

    #[test]
    fn all_disabled_is_reported_when_it_begins_and_when_it_ends() {
        let mut harness = Harness::new(2);
        harness.learn(&log("/azure/r0/", 500, "A_1_1_0", 0, 1), START);
        assert_eq!(harness.choose(START), Some(router(1)));
        harness.learn(&log("/azure/r1/", 500, "A_2_1_0", 0, 1), at(1_000));
        assert!(matches!(harness.decide(at(1_000)), Decision::Pass(Pass::AllDisabled(_))));
        assert_eq!(harness.emitted.last(), Some(&all_disabled()));
        let before = harness.emitted.len();
        harness.decide(at(2_000));
        assert_eq!(harness.emitted.len(), before, "reported once");
        assert_eq!(harness.choose(at(600_000)), Some(router(0)), "the first one is back");
        assert_eq!(harness.emitted.last(), Some(&BrokerEvent::SomeEnabled(path(INGRESS))));
    }

    #[test]
    fn numbers_count_decisions_that_were_used() {
        let mut harness = Harness::new(3);
        for expected in 0..5 {
            let Decision::Route(route) = harness.broker.choose(&INGRESS, &mut harness.rng) else { panic!() };
            assert_eq!(route.number, expected, "looking changes nothing");
            harness.decide(START);
        }
    }
}

mod learning {
    use super::*;

    #[test]
    fn a_failure_disables_to_the_millisecond() {
        let mut harness = Harness::new(3);
        harness.learn(&log("/azure/r1/", 503, "A_1_1_0", 0, 5), START);
        assert_eq!(harness.out(), ["/azure/r1/"]);
        assert_eq!(harness.until(1), Some(at(600_000)));
        for _ in 0..200 {
            assert_ne!(harness.choose(at(599_999)), Some(router(1)), "a millisecond early");
        }
        harness.tick(at(600_000));
        assert_eq!(harness.out(), Vec::<String>::new());
        assert!((0..200).any(|_| harness.choose(at(600_000)) == Some(router(1))), "back on time");
        let states: Vec<_> =
            harness.emitted.iter().filter(|change| matches!(change, BrokerEvent::HealthChanged(_))).collect();
        assert_eq!(states.len(), 2, "one line when it is disabled, one when it is on probation");
    }

    #[test]
    fn what_takes_a_router_out_and_what_does_not() {
        for (status, out) in [
            (200, false),
            (204, false),
            (400, false),
            (401, false),
            (404, false),
            (413, false),
            (422, false),
            (408, true),
            (429, true),
            (500, true),
            (502, true),
            (503, true),
            (504, true),
            (529, true),
        ] {
            let mut harness = Harness::new(3);
            harness.learn(&log("/azure/r0/", status, "A_1_1_0", 0, 1), START);
            assert_eq!(harness.out().len(), usize::from(out), "log {status}");
            let mut harness = Harness::new(3);
            harness.learn(&message("/azure/r0/", status, "A_1_1_0"), START);
            assert_eq!(harness.out().len(), usize::from(out), "message {status}");
        }
    }

    #[test]
    fn a_deployment_that_does_not_exist_is_a_failure_once_its_log_says_so() {
        let mut harness = Harness::new(3);
        harness.learn(&message("/azure/r0/", 404, "A_1_1_0"), START);
        assert_eq!(harness.out(), Vec::<String>::new(), "the message does not show the body");
        harness
            .learn(&TestObservation { missing: Some(SetBy::Target), ..log("/azure/r0/", 404, "A_1_1_0", 0, 1) }, at(5));
        assert_eq!(harness.out(), ["/azure/r0/"]);
        assert_eq!(harness.stats(0).answers(), 1, "one call counts once");
    }

    #[test]
    fn a_deployment_that_a_client_misspelt_is_no_failure() {
        let mut harness = Harness::new(3);
        for n in 0..20 {
            let id = format!("A_{n}_1_0");
            harness.learn(&message("/azure/r0/", 404, &id), at(n));
            let log = log("/azure/r0/", 404, &id, n, n + 1);
            harness.learn(&TestObservation { missing: Some(SetBy::Client), ..log }, at(n + 1));
        }
        assert_eq!(harness.out(), Vec::<String>::new());
        assert_eq!(harness.stats(0).neutral, 20);
    }

    #[test]
    fn twenty_bad_requests_disable_no_router() {
        let mut harness = Harness::new(3);
        for n in 0..20 {
            let id = format!("A_{n}_1_0");
            harness.learn(&message("/azure/r0/", 400, &id), at(n));
            harness.learn(&log("/azure/r0/", 400, &id, n, n + 1), at(n + 1));
        }
        assert_eq!(harness.out(), Vec::<String>::new());
        assert_eq!(harness.stats(0).neutral, 20);
    }

    #[test]
    fn an_answer_made_by_another_processor_says_nothing() {
        let base = log("/azure/r0/", 500, "A_1_1_0", 0, 1);
        for (report, why) in [
            (TestObservation { processor_generated: true, ..base }, IgnoreReason::ProcessorGenerated),
            (TestObservation { ingress: Some("/echo/"), ..base }, IgnoreReason::Echo),
            (TestObservation { ingress: Some("/echo/x/"), ..base }, IgnoreReason::Echo),
            (TestObservation { served_path: Some("/elsewhere/"), ..base }, IgnoreReason::UnknownRouter),
            (TestObservation { served_path: None, ..base }, IgnoreReason::UnknownRouter),
            (TestObservation { status: None, ..base }, IgnoreReason::NoStatus),
            (TestObservation { filtered: Some("response.gl_path"), ..base }, IgnoreReason::Filtered),
        ] {
            let mut harness = Harness::new(3);
            assert_eq!(harness.learn(&report, START), Some(why));
            assert_eq!(harness.out(), Vec::<String>::new(), "{why:?}");
        }
    }

    #[test]
    fn without_the_upstreams_status_a_500_to_the_client_decides_nothing() {
        let mut harness = Harness::new(3);
        let emitted = |status| TestObservation { status: None, transaction: None, ..message("/azure/r0/", status, "") };
        assert_eq!(harness.learn(&emitted(500), START), Some(IgnoreReason::NoStatus));
        assert_eq!(harness.out(), Vec::<String>::new());
        assert_eq!(harness.learn(&emitted(502), START), None);
        assert_eq!(harness.out(), ["/azure/r0/"]);
    }

    #[test]
    fn a_router_that_the_gateway_lacks_is_disabled_and_a_failed_row_2_is_no_routers_fault() {
        let mut harness = Harness::new(3);
        let fallback = log(INGRESS, 200, "A_1_1_0", 0, 1);
        let row_2_failed = TestObservation { stamped_path: Some("/azure/r0/"), ..fallback };
        assert_eq!(harness.learn(&row_2_failed, START), Some(IgnoreReason::NotApplied));
        assert_eq!(
            harness.learn(&fallback, START),
            Some(IgnoreReason::UnknownRouter),
            "all were disabled, or no request came"
        );
        assert_eq!(harness.out(), Vec::<String>::new());
        assert_eq!(harness.learn(&TestObservation { routed_path: Some("/azure/r0/"), ..row_2_failed }, START), None);
        assert_eq!(harness.out(), ["/azure/r0/"]);
        let Some(BrokerEvent::HealthChanged(transition)) = harness.emitted.first() else { panic!("nothing reported") };
        assert!(matches!(transition.state, HealthState::Cooling { cause: Cause::UnknownToGateway, .. }));
    }

    #[test]
    fn hidden_fields_are_reported_once() {
        let mut harness = Harness::new(3);
        for n in 0..5 {
            harness
                .learn(&TestObservation { filtered: Some("response.gl_path"), ..log("", 200, "A_1_1_0", n, n) }, at(n));
        }
        assert_eq!(harness.emitted, [BrokerEvent::Advisory(Advisory::LogFiltered("response.gl_path"))]);
    }

    #[test]
    fn refused_credentials_are_reported_once_while_another_router_works() {
        let mut harness = Harness::new(2);
        for n in 0..30 {
            let id = format!("A_{n}_1_0");
            harness.learn(&message("/azure/r0/", 401, &id), at(n * 100)); // no log follows a 401
            if n == 15 {
                harness.learn(&log("/azure/r1/", 200, "B_1_1_0", n, n), at(n * 100));
            }
        }
        assert_eq!(harness.emitted, [], "they wait for their logs");
        harness.tick(at(20_000));
        assert_eq!(harness.emitted, [BrokerEvent::Advisory(Advisory::RefusesCredentials(path("/azure/r0/"), 401))]);
        assert_eq!(harness.out(), Vec::<String>::new());
    }

    #[test]
    fn nine_refusals_or_refusals_everywhere_are_not_reported() {
        let mut harness = Harness::new(2);
        for n in 0..40 {
            let id = format!("A_{n}_1_0");
            let served = router((n % 2) as usize);
            harness.learn(&log(&served, 401, &id, n, n), at(n));
        }
        assert_eq!(harness.emitted, [], "no router works: the client's key is wrong");
        harness.learn(&log("/azure/r1/", 200, "B_1_1_0", 50, 50), at(50));
        harness.learn(&log("/azure/r0/", 200, "B_2_1_0", 51, 51), at(51));
        for n in 60..69 {
            harness.learn(&log("/azure/r0/", 403, &format!("C_{n}_1_0"), n, n), at(n));
            harness.learn(&log("/azure/r1/", 200, &format!("D_{n}_1_0"), n, n), at(n));
        }
        assert_eq!(harness.emitted, [], "nine");
        harness.learn(&log("/azure/r0/", 403, "C_69_1_0", 69, 69), at(69));
        assert_eq!(harness.emitted.len(), 1, "ten");
    }

    #[test]
    fn nothing_but_404_is_reported_once() {
        let mut harness = Harness::new(2);
        for n in 0..9 {
            harness.learn(&log("/azure/r0/", 404, &format!("A_{n}_1_0"), n, n), at(n));
        }
        assert_eq!(harness.emitted, [BrokerEvent::Advisory(Advisory::OnlyNotFound(path("/azure/r0/")))]);
        harness.learn(&log("/azure/r1/", 200, "B_1_1_0", 10, 10), at(10));
        for n in 11..20 {
            harness.learn(&log("/azure/r1/", 404, &format!("A_{n}_1_0"), n, n), at(n));
        }
        assert_eq!(harness.emitted.len(), 1, "that one has worked before");
    }
}

mod pairing {
    use super::*;

    #[test]
    fn a_message_and_its_log_count_once_in_either_order() {
        for log_first in [false, true] {
            let mut harness = Harness::new(2);
            let (message, log) = (message("/azure/r0/", 500, "A_1_1_0"), log("/azure/r0/", 500, "A_1_1_0", 0, 9));
            let (first, second) = if log_first { (&log, &message) } else { (&message, &log) };
            harness.learn(first, START);
            assert_eq!(harness.out(), ["/azure/r0/"], "whichever comes first acts");
            harness.learn(second, at(3));
            assert_eq!(harness.stats(0).failures, 1);
            assert_eq!(harness.until(0), Some(at(600_000)), "the second one changes nothing");
        }
    }

    #[test]
    fn a_success_waits_for_its_log_and_counts_alone_if_none_comes() {
        let mut harness = Harness::new(2);
        harness.learn(&message("/azure/r0/", 200, "A_1_1_0"), START);
        harness.learn(&message("/azure/r0/", 200, "A_2_1_0"), START);
        let log = log("/azure/r0/", 200, "A_1_1_0", 0, 9);
        harness.learn(
            &TestObservation { completion_tokens: Some(7), latency: Some(Duration::from_millis(30)), ..log },
            at(10),
        );
        assert_eq!(harness.stats(0).answers(), 1, "the log replaces the message");
        assert_eq!((harness.stats(0).tokens, harness.stats(0).latency.sum), (7, Duration::from_millis(30)));
        harness.tick(at(9_500));
        assert_eq!(harness.stats(0).answers(), 1);
        harness.tick(at(10_000));
        assert_eq!(harness.stats(0).answers(), 2, "the other one's log is lost");
        harness.tick(at(30_000));
        assert_eq!(harness.stats(0).answers(), 2);
        assert_eq!(harness.broker.dedup.len(), 0);
    }

    #[test]
    fn a_message_without_id_finds_the_log_with_its_router_and_status() {
        let mut harness = Harness::new(2);
        let bare = TestObservation { status: None, transaction: None, ..message("/azure/r0/", 429, "") };
        harness.learn(&bare, START);
        harness.learn(&log("/azure/r0/", 429, "A_1_1_0", 0, 9), at(1));
        assert_eq!(harness.stats(0).failures, 1);
        harness.learn(&log("/azure/r0/", 429, "A_2_1_0", 0, 9), at(2));
        assert_eq!(harness.stats(0).failures, 2, "a log cancels one message at the most");
    }

    #[test]
    fn a_status_that_a_processor_changed_still_finds_its_log() {
        let mut harness = Harness::new(2);
        let bare = TestObservation { status: None, transaction: None, ..message("/azure/r0/", 418, "") };
        harness.learn(&bare, START);
        harness.learn(&TestObservation { egress_status: Some(418), ..log("/azure/r0/", 200, "A_1_1_0", 0, 9) }, at(1));
        assert_eq!((harness.stats(0).successes, harness.stats(0).neutral), (1, 0));
    }

    #[test]
    fn the_same_log_twice_is_one_and_a_shared_id_is_two() {
        let mut harness = Harness::new(2);
        let first = log("/azure/r0/", 200, "A_1_1_1", 0, 9);
        assert_eq!(harness.learn(&first, START), None);
        assert_eq!(harness.learn(&first, at(1)), Some(IgnoreReason::Duplicate));
        assert_eq!(harness.learn(&log("/azure/r0/", 200, "A_1_1_1", 1, 9), at(2)), None, "begun at another moment");
        assert_eq!(harness.stats(0).answers(), 2);
    }

    #[test]
    fn a_constant_session_id_hides_nothing() {
        let mut harness = Harness::new(2);
        for n in 0..50 {
            let status = if n == 30 { 500 } else { 200 };
            harness.learn(&message("/azure/r0/", status, "A_1_1_1"), at(n * 10));
            if n == 30 {
                assert_eq!(harness.out(), ["/azure/r0/"], "the failure among many of the same id");
            }
            harness.learn(&log("/azure/r0/", status, "A_1_1_1", n * 10, n * 10 + 5), at(n * 10 + 6));
        }
        assert_eq!((harness.stats(0).successes, harness.stats(0).failures), (49, 1));
    }

    #[test]
    fn an_early_due_does_not_take_a_younger_one_of_the_same_id() {
        let mut harness = Harness::new(2);
        harness.learn(&message("/azure/r0/", 200, "A_1_1_1"), START);
        harness.learn(&log("/azure/r0/", 200, "A_1_1_1", 0, 1), at(1));
        harness.learn(&message("/azure/r0/", 200, "A_1_1_1"), at(9_000));
        harness.tick(at(10_000));
        assert_eq!(harness.stats(0).answers(), 1, "the second one waits on");
        harness.tick(at(19_000));
        assert_eq!(harness.stats(0).answers(), 2);
    }

    #[test]
    fn outcome_dedup_is_bounded_and_lets_the_oldest_go() {
        let mut harness = Harness::new(2);
        for n in 0..MAX_UNPAIRED + 100 {
            let id = format!("A_{n}_1_0");
            let message = message("/azure/r0/", 200, &id);
            message.apply(&mut harness.broker, START);
        }
        harness.tick(START);
        assert_eq!(invariants::broken(&harness.broker), None);
        assert_eq!(harness.stats(0).answers(), 100, "they count as they stand, early");
    }
}

mod stragglers {
    use super::*;

    #[test]
    fn those_that_began_before_the_trip_neither_extend_nor_trip_again() {
        let mut harness = Harness::new(2);
        harness.learn(&log("/azure/r0/", 500, "A_1_1_0", 100, 110), START);
        for n in 0..40 {
            harness.learn(&log("/azure/r0/", 500, &format!("B_{n}_1_0"), 70 + n, 115 + n), at(10 + n));
        }
        assert_eq!(harness.until(0), Some(at(600_000)));
        harness.learn(&log("/azure/r0/", 500, "C_1_1_0", 109, 700_000), at(600_001));
        assert_eq!(harness.out(), Vec::<String>::new(), "a very slow one after the return");
        harness.learn(&log("/azure/r0/", 500, "C_2_1_0", 600_000, 700_001), at(600_002));
        assert_eq!(harness.out(), ["/azure/r0/"]);
    }

    #[test]
    fn the_log_of_the_message_that_tripped_dates_the_trip() {
        let mut harness = Harness::new(2);
        let fresh = |id, started| TestObservation { started: gateway(started), ..message("/azure/r0/", 500, id) };
        harness.learn(&fresh("A_1_1_0", 100), START);
        harness.learn(&fresh("A_2_1_0", 105), at(1));
        harness.learn(&log("/azure/r0/", 500, "A_2_1_0", 105, 500), at(2));
        harness.learn(&log("/azure/r0/", 500, "A_1_1_0", 100, 110), at(3));
        harness.learn(&fresh("A_3_1_0", 109), at(4));
        assert_eq!(harness.until(0), Some(at(600_000)), "began before the first one's log says the trip was");
        harness.learn(&fresh("A_4_1_0", 110), at(5_000));
        assert_eq!(harness.until(0), Some(at(600_000)), "a message only takes out who serves");
        harness.learn(&log("/azure/r0/", 500, "A_4_1_0", 110, 120), at(5_000));
        assert_eq!(harness.until(0), Some(at(605_000)), "began after it");
        assert!(matches!(harness.emitted.last(), Some(BrokerEvent::Extended(_))));
    }

    #[test]
    fn a_message_without_a_start_time_waits_for_its_log() {
        let mut settings = settings(2);
        settings.defaults.health.disabled_time = Duration::from_secs(3);
        let mut harness = Harness::of(settings);
        harness.learn(&log("/azure/r0/", 500, "A_1_1_0", 100, 110), START);
        harness.tick(at(3_000));
        harness.learn(&log("/azure/r0/", 200, "A_1_1_6", 3_500, 3_600), at(3_600));
        harness.learn(&message("/azure/r0/", 500, "A_1_1_7"), at(4_000));
        assert_eq!(harness.out(), Vec::<String>::new(), "may have begun before the trip");
        harness.learn(&log("/azure/r0/", 500, "A_1_1_7", 4_000, 4_100), at(4_001));
        assert_eq!(harness.out(), ["/azure/r0/"], "did not");
    }
}

#[test]
fn a_reload_reports_of_a_pool_only_what_has_changed() {
    let mut harness = Harness::new(1);
    harness.learn(&log("/azure/r0/", 503, "A_1_1_0", 0, 5), START);
    let emitted = |harness: &mut Harness, routers| {
        harness.broker.apply(BrokerInput::Configured(&settings(routers)), START).changes
    };
    assert!(matches!(harness.emitted.last(), Some(BrokerEvent::AllDisabled { .. })));
    assert_eq!(emitted(&mut harness, 1), [], "said before");
    assert_eq!(
        emitted(&mut harness, 2),
        [BrokerEvent::SomeEnabled(path(INGRESS))],
        "a router more, and that one serves"
    );
    assert_eq!(emitted(&mut harness, 1), [all_disabled()]);
}

#[test]
fn a_request_without_a_matching_target_gets_the_reason() {
    use crate::strategy::{Condition, Field, Query, Test};
    let condition = |text: &str, then| {
        let query = Query::Field(Field::Path, vec![Test::Eq(text.into())]);
        Condition { query, then }
    };
    let emitted = |conditions: Vec<Condition>, out: bool| {
        let conditions = conditions.into();
        let targets = ["/a/", "/b/"].map(|router| Target::plain(TargetKind::Router(path(router)))).to_vec();
        let root =
            Target::plain(TargetKind::Branch { policy: Policy::Conditional { conditions, default: None }, targets });
        let settings = BrokerSettings { pools: vec![pool(root)], ..BrokerSettings::default() };
        let mut harness = Harness::of(settings);
        if out {
            harness.learn(&log("/b/", 503, "A_1_1_0", 0, 5), START);
        }
        let decision = harness.decide(START);
        harness.broker.explain(&decision)
    };
    let unmatched = emitted(vec![condition("/other/", 0)], false);
    let why = "nothing for this request: no condition holds, and there is no default (false: condition 1 on path)";
    assert!(unmatched.contains(why), "{unmatched}");
    let out = emitted(vec![condition("/other/", 0), condition(INGRESS, 1)], true);
    let why = "condition 2 on path (false: condition 1 on path), and nothing there may serve; not /b/ (disabled until ";
    assert!(out.contains(why), "{out}");
}

mod proving {
    use super::*;
    use types::outcome::RetryAfter;

    const BACK: u64 = 600_000;

    /// Two routers, of which the first is on probation.
    fn harness() -> Harness {
        let mut harness = Harness::new(2);
        harness.learn(&log("/azure/r0/", 503, "A_1_1_0", 0, 5), START);
        harness.tick(at(BACK));
        harness
    }

    /// Decides until a request goes to the router on probation.
    fn probe(harness: &mut Harness, now: BrokerTime) -> u64 {
        let sent = (0..200).map(|_| harness.decide(now)).find_map(|decision| match decision {
            Decision::Route(route) if route.kind == RouteKind::Probe => Some(route.number),
            _ => None,
        });
        sent.expect("no request went there")
    }

    fn stamped<'a>(decision: Option<u64>, served: &'a str, status: u16, id: &'a str) -> TestObservation<'a> {
        let log = log(served, status, id, BACK, BACK + 10);
        TestObservation { stamped_path: Some("/azure/r0/"), probe: true, decision, ..log }
    }

    #[test]
    fn one_request_at_a_time_until_one_succeeds() {
        let mut harness = harness();
        let number = probe(&mut harness, at(BACK));
        for _ in 0..200 {
            assert_eq!(harness.choose(at(BACK)), Some(router(1)), "one at a time");
        }
        harness.learn(&stamped(Some(number), "/azure/r0/", 200, "P_1_1_0"), at(BACK + 10));
        assert_eq!(harness.state(0), HealthState::Serving);
        let both: std::collections::BTreeSet<_> = (0..200).filter_map(|_| harness.choose(at(BACK + 10))).collect();
        assert_eq!(both.len(), 2);
    }

    #[test]
    fn a_failed_probe_of_any_replica_cools_again() {
        let mut harness = harness();
        harness.learn(&stamped(None, "/azure/r0/", 500, "P_1_1_0"), at(BACK + 10));
        assert_eq!(harness.until(0), Some(at(2 * BACK + 10)));
    }

    #[test]
    fn a_message_about_it_waits_for_its_log_and_decides_without_one() {
        for (logged, state) in [(true, true), (false, false)] {
            let mut harness = harness();
            let number = probe(&mut harness, at(BACK));
            let message = |id| TestObservation { started: gateway(BACK), ..message("/azure/r0/", 500, id) };
            harness.learn(&message("P_1_1_0"), at(BACK + 5));
            assert!(harness.broker.routers.as_slice()[0].health().is_probing());
            if logged {
                harness.learn(&stamped(Some(number), "/azure/r0/", 400, "P_2_1_0"), at(BACK + 6));
            }
            assert_eq!(
                harness.broker.routers.as_slice()[0].health().may_serve(&health::HealthSettings::default()),
                state
            );
            harness.tick(at(BACK + 10_005));
            assert_eq!(harness.out(), ["/azure/r0/"], "no log in ten seconds");
        }
    }

    #[test]
    fn a_probe_that_went_elsewhere_or_nowhere_gives_its_permit_back() {
        for served in ["/azure/r1/", INGRESS] {
            let mut harness = harness();
            let number = probe(&mut harness, at(BACK));
            let elsewhere =
                TestObservation { routed_path: Some(served), ..stamped(Some(number), served, 200, "P_1_1_0") };
            harness.learn(&elsewhere, at(BACK + 10));
            assert!(harness.broker.routers.as_slice()[0].health().is_probing(), "{served}: says nothing");
            assert_ne!(probe(&mut harness, at(BACK + 10)), number);
        }
    }

    #[test]
    fn a_probe_whose_log_is_lost_is_issued_again() {
        let mut harness = harness();
        probe(&mut harness, at(BACK));
        assert_eq!(harness.broker.next_deadline(), Some(at(BACK + 120_000)));
        for _ in 0..50 {
            assert_eq!(harness.choose(at(BACK + 119_999)), Some(router(1)));
        }
        probe(&mut harness, at(BACK + 120_000));
    }

    #[test]
    fn in_the_one_row_configuration_the_message_decides_at_once() {
        let emitted = |status, id| TestObservation { source: Source::OneRow, ..message("/azure/r0/", status, id) };
        for (status, back) in [(200, true), (503, false)] {
            let mut harness = harness();
            probe(&mut harness, at(BACK));
            harness.learn(&emitted(status, "O_1_1_0"), at(BACK + 10));
            let state = harness.state(0);
            assert!(if back { state == HealthState::Serving } else { harness.until(0).is_some() }, "{state:?}");
            harness.learn(&log("/azure/r0/", status, "O_1_1_0", BACK, BACK + 10), at(BACK + 11));
            assert_eq!(harness.state(0), state, "its log adds nothing");
            assert_eq!(harness.stats(0).successes, u64::from(back));
        }
    }

    #[test]
    fn where_nothing_else_is_left_it_serves_beyond_its_permit() {
        let mut harness = Harness::new(2);
        for (served, id) in [("/azure/r0/", "A_1_1_0"), ("/azure/r1/", "A_2_1_0")] {
            harness.learn(&log(served, 503, id, 0, 5), START);
        }
        assert_eq!(harness.choose(START), None);
        harness.tick(at(BACK));
        let sent: Vec<_> = (0..50)
            .filter_map(|_| match harness.decide(at(BACK)) {
                Decision::Route(route) => Some(route.kind),
                Decision::Pass(_) => None,
            })
            .collect();
        assert_eq!(sent.len(), 50, "every request has a router");
        assert_eq!(sent.iter().filter(|sent| **sent == RouteKind::Probe).count(), 2, "one probe each");
        assert!(sent[2..].iter().all(|sent| *sent == RouteKind::LastResort));
    }

    #[test]
    fn the_upstreams_own_word_replaces_the_disabled_time() {
        let mut harness = Harness::new(2);
        let limited = TestObservation {
            retry_after: Some(RetryAfter::Delay(Duration::from_secs(2))),
            ..log("/azure/r0/", 429, "A_1_1_0", 0, 5)
        };
        harness.learn(&limited, START);
        assert_eq!(harness.until(0), Some(at(2_000)));
        harness.tick(at(2_000));
        assert_eq!(harness.state(0), HealthState::Serving);
    }

    #[test]
    fn a_router_that_fails_right_after_each_return_is_reported_once() {
        let mut harness = Harness::new(2);
        for n in 0..6 {
            let id = format!("A_{n}_1_0");
            harness.learn(&log("/azure/r0/", 500, &id, n * BACK + 1, n * BACK + 2), at(n * BACK + n));
            harness.tick(at((n + 1) * BACK + n));
        }
        let emitted =
            harness.emitted.iter().filter(|change| matches!(change, BrokerEvent::Advisory(Advisory::KeepsFailing(..))));
        assert_eq!(emitted.count(), 1);
    }

    #[test]
    fn two_failures_in_a_row_where_two_are_asked_for_and_a_message_and_its_log_are_one() {
        let mut settings = settings(2);
        settings.defaults.health.consecutive = 2;
        let mut harness = Harness::of(settings);
        let fresh = |id| TestObservation { started: gateway(0), ..message("/azure/r0/", 500, id) };
        harness.learn(&fresh("A_1_1_0"), START);
        harness.learn(&log("/azure/r0/", 500, "A_1_1_0", 0, 5), at(1));
        assert_eq!(harness.out(), Vec::<String>::new());
        harness.learn(&fresh("A_2_1_0"), at(2));
        assert_eq!(harness.out(), ["/azure/r0/"]);
    }
}

#[test]
fn a_pause_that_a_message_asked_for_does_not_make_deaf_for_what_follows() {
    let mut harness = Harness::new(2);
    let hint = Some(RetryAfter::Delay(Duration::from_millis(43)));
    let early = TestObservation { retry_after: hint, started: gateway(10), ..message("/azure/r0/", 429, "A_1_1_0") };
    harness.learn(&early, at(100));
    harness.learn(&TestObservation { retry_after: hint, ..log("/azure/r0/", 429, "A_1_1_0", 10, 100) }, at(110));
    harness.tick(at(143));
    assert_eq!(harness.state(0), HealthState::Serving);
    harness.learn(&log("/azure/r0/", 500, "A_2_1_0", 150, 160), at(200));
    assert!(matches!(harness.state(0), HealthState::Cooling { .. }), "it began after the pause, so it counts");
}

#[test]
fn zero_minutes_never_disable() {
    let mut settings = settings(2);
    settings.defaults.health.disabled_time = Duration::ZERO;
    let mut broker = Broker::new(settings);
    for n in 0..50 {
        log("/azure/r0/", 500, &format!("A_{n}_1_0"), n, n).apply(&mut broker, at(n));
    }
    assert!(broker.routers().all(|(_, state, _)| state == HealthState::Serving));
}
