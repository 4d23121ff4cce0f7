//! One router's health with a stopped clock: every transition, at a millisecond before and at its moment.

use super::*;
use types::outcome::{Cause, Class, Evidence, Outcome, RetryAfter};
use types::router::RouterId;

mod envoy_linkerd_parity;

const START: BrokerTime = BrokerTime::from_nanos(1_000_000_000_000);
const MINUTES_10: u64 = 600_000;

fn at(millis: u64) -> BrokerTime {
    START.after(Duration::from_millis(millis))
}

fn gateway(millis: u64) -> Option<GatewayTime> {
    Some(GatewayTime::from_nanos(50_000_000_000 + millis * 1_000_000))
}

/// One router, and a call that is answered in a millisecond at the moment in question.
#[derive(Default)]
struct Harness {
    health: Health,
    settings: HealthSettings,
}

fn outcome(class: Class, from: u64, to: u64) -> Outcome {
    Outcome {
        router: RouterId(0),
        class,
        status: 500,
        cause: Cause::Answered(500),
        evidence: Evidence::Passive,
        jitter_seed: 0,
        retry_after: None,
        started: gateway(from),
        stopped: gateway(to),
        latency: None,
        completion_tokens: None,
        is_generation: true,
    }
}

impl Harness {
    fn learn(&mut self, outcome: Outcome, millis: u64) -> HealthEffect {
        self.health.learn(&outcome, &self.settings, at(millis))
    }

    fn answer(&mut self, class: Class, millis: u64) -> HealthEffect {
        self.learn(outcome(class, millis, millis + 1), millis)
    }

    fn hinted(&mut self, class: Class, wait: Duration, millis: u64) -> HealthEffect {
        self.learn(Outcome { retry_after: Some(RetryAfter::Delay(wait)), ..outcome(class, millis, millis + 1) }, millis)
    }

    fn tick(&mut self, millis: u64) -> TickEffect {
        self.health.tick(&self.settings, at(millis))
    }

    fn acquire_probe(&mut self, decision: u64, millis: u64) {
        self.health.acquire_probe(decision, &self.settings, at(millis));
    }

    fn until(&self) -> Option<u64> {
        match self.health.state() {
            HealthState::Cooling { until, .. } => u64::try_from(until.since(START).as_millis()).ok(),
            _ => None,
        }
    }

    fn is_probing(&self) -> bool {
        self.health.is_probing()
    }

    fn is_in_service(&self) -> bool {
        self.health.state() == HealthState::Serving
    }
}

/// An answer that refuses our key, or says that our quota is used up.
mod a_refused_account {
    use super::*;
    use crate::health::{Cooldown, Preset};

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn takes_it_out_at_once_for_the_longest_time_whatever_date_is_announced() {
        let cooldown = Cooldown { jitter: 0.0, ..Preset::Resilient.settings().cooldown };
        let mut harness =
            Harness { settings: HealthSettings { cooldown, ..Preset::Resilient.settings() }, ..Harness::default() };
        assert_eq!(harness.hinted(Class::Refused, DAY, 0), HealthEffect::Tripped);
        assert_eq!(harness.until(), Some(120_000));
    }

    #[test]
    fn is_asked_about_at_least_every_15_minutes_and_only_a_success_ends_it() {
        let settings = HealthSettings { disabled_time: Duration::from_secs(7_200), ..HealthSettings::default() };
        let mut harness = Harness { settings, ..Harness::default() };
        let mut now = 0;
        for decision in 0..4 {
            harness.answer(Class::Refused, now);
            now += 900_000;
            assert_eq!(harness.until(), Some(now), "probe {decision}");
            harness.tick(now);
            assert!(harness.is_probing(), "probe {decision}");
        }
        assert_eq!(harness.answer(Class::Success, now), HealthEffect::Returned);
        assert!(harness.is_in_service());
    }
}

fn probing() -> Harness {
    let mut harness = Harness::default();
    harness.answer(Class::Failure, 0);
    assert_eq!(harness.tick(MINUTES_10), TickEffect::Returned);
    harness
}

mod going {
    use super::*;

    #[test]
    fn out_for_the_disabled_time_to_the_millisecond() {
        let mut harness = Harness::default();
        assert_eq!(harness.answer(Class::Failure, 0), HealthEffect::Tripped);
        assert_eq!(harness.tick(MINUTES_10 - 1), TickEffect::Nothing, "a millisecond early");
        assert_eq!(harness.until(), Some(MINUTES_10));
        assert_eq!(harness.tick(MINUTES_10), TickEffect::Returned, "on time");
        assert!(harness.is_probing());
        assert_eq!(harness.tick(MINUTES_10 + 1), TickEffect::Nothing, "a return is reported once");
    }

    #[test]
    fn zero_never_takes_a_router_out() {
        let mut harness = Harness::default();
        harness.settings.disabled_time = Duration::ZERO;
        for class in [Class::Failure, Class::Overloaded, Class::RateLimited] {
            assert_eq!(
                harness.hinted(class, Duration::from_secs(9), 0),
                HealthEffect::Counted,
                "hints are ignored too"
            );
        }
        assert!(harness.is_in_service());
    }

    #[test]
    fn only_so_many_failures_in_a_row_take_it_out() {
        let mut harness = Harness::default();
        harness.settings.consecutive = 3;
        assert_eq!(harness.answer(Class::Failure, 0), HealthEffect::Counted);
        assert_eq!(harness.answer(Class::Overloaded, 1), HealthEffect::Counted);
        assert_eq!(harness.answer(Class::Success, 2), HealthEffect::Counted, "begins the count anew");
        assert_eq!(harness.answer(Class::Failure, 3), HealthEffect::Counted);
        assert_eq!(harness.answer(Class::Neutral, 4), HealthEffect::Counted, "counts nowhere");
        assert_eq!(harness.answer(Class::RateLimited, 5), HealthEffect::Counted);
        assert_eq!(harness.answer(Class::Failure, 6), HealthEffect::Tripped);
    }

    /// Whatever `consecutive` is; what is not an upstream's own word counts as any failure.
    #[test]
    fn a_wait_that_an_upstream_asks_for_needs_no_second_answer() {
        use RetryAfter::{Delay, QuotaReset, Unparsable};
        let two = Duration::from_secs(2);
        for (class, retry_after, honor, effect, until) in [
            (Class::RateLimited, Some(Delay(two)), true, HealthEffect::Tripped, Some(2_000)),
            (Class::RateLimited, Some(QuotaReset(two)), true, HealthEffect::Tripped, Some(2_000)),
            (Class::RateLimited, None, true, HealthEffect::Counted, None),
            (Class::Overloaded, Some(Delay(two)), true, HealthEffect::Tripped, Some(2_000)),
            (Class::Overloaded, Some(Delay(Duration::from_millis(300))), true, HealthEffect::Paused, Some(300)),
            (Class::Overloaded, Some(Delay(Duration::from_secs(86_400))), true, HealthEffect::Tripped, Some(3_600_000)),
            (Class::Overloaded, Some(Delay(Duration::ZERO)), true, HealthEffect::Counted, None),
            (Class::Overloaded, Some(QuotaReset(two)), true, HealthEffect::Counted, None),
            (Class::Overloaded, Some(Unparsable), true, HealthEffect::Counted, None),
            (Class::Overloaded, Some(Delay(two)), false, HealthEffect::Counted, None),
            (Class::Failure, Some(Delay(two)), true, HealthEffect::Counted, None),
        ] {
            let mut harness = Harness::default();
            harness.settings.consecutive = 3;
            harness.settings.retry_after.honor = honor;
            let answer = Outcome { retry_after, ..outcome(class, 0, 1) };
            assert_eq!(
                (harness.learn(answer, 0), harness.until()),
                (effect, until),
                "{class:?} {retry_after:?} {honor}"
            );
        }
    }

    #[test]
    fn a_straggler_neither_extends_nor_trips_again() {
        let mut harness = Harness::default();
        harness.learn(outcome(Class::Failure, 0, 10), 10);
        assert_eq!(harness.learn(outcome(Class::Failure, 9, 11), 11), HealthEffect::None, "began before the trip");
        assert_eq!(harness.until(), Some(MINUTES_10 + 10));
        harness.tick(MINUTES_10 + 10);
        assert_eq!(harness.learn(outcome(Class::Failure, 9, 600_000), 610_000), HealthEffect::None, "a very slow one");
        assert_eq!(
            harness.learn(outcome(Class::Success, 9, 600_000), 610_000),
            HealthEffect::None,
            "nor is it a proof"
        );
        assert!(harness.is_probing());
        assert_eq!(
            harness.learn(outcome(Class::Failure, 10, 600_001), 610_001),
            HealthEffect::Tripped,
            "began after the trip"
        );
        assert_eq!(harness.health.epoch(), 2);
    }

    #[test]
    fn a_failure_that_began_later_extends_and_never_shortens() {
        let mut harness = Harness::default();
        harness.answer(Class::Failure, 0);
        assert_eq!(harness.answer(Class::Failure, 5_000), HealthEffect::Extended);
        assert_eq!(harness.until(), Some(MINUTES_10 + 5_000));
        assert_eq!(harness.hinted(Class::RateLimited, Duration::from_secs(1), 6_000), HealthEffect::None);
        assert_eq!(harness.until(), Some(MINUTES_10 + 5_000));
        assert_eq!(harness.health.epoch(), 1, "a longer stay is not a new trip");
    }

    #[test]
    fn without_a_start_time_it_began_before_for_as_long_as_a_call_can_last() {
        let mut harness = Harness::default();
        harness.settings.disabled_time = Duration::from_secs(1);
        let unknown = Outcome { started: None, stopped: None, ..outcome(Class::Failure, 0, 0) };
        harness.learn(unknown, 0);
        assert_eq!(harness.learn(unknown, 500), HealthEffect::None);
        harness.tick(1_000);
        assert_eq!(harness.learn(unknown, 199_999), HealthEffect::None);
        assert_eq!(harness.learn(unknown, 200_000), HealthEffect::Tripped);
    }

    #[test]
    fn the_log_of_the_trip_dates_it() {
        let mut harness = Harness::default();
        let undated = |from| Outcome { stopped: None, ..outcome(Class::Failure, from, 0) };
        harness.learn(undated(0), 0);
        assert_eq!(harness.learn(undated(300), 10), HealthEffect::None, "not known yet, so a straggler");
        harness.health.set_trip_completed_at(1, gateway(10).unwrap());
        harness.health.set_trip_completed_at(1, gateway(900).unwrap());
        harness.health.set_trip_completed_at(7, gateway(0).unwrap());
        assert_eq!(harness.learn(undated(10), 20), HealthEffect::Extended);
    }
}

mod hints {
    use super::*;

    #[test]
    fn two_seconds_are_two_seconds_and_rate_limited_is_not_ill() {
        let mut harness = Harness::default();
        assert_eq!(harness.hinted(Class::RateLimited, Duration::from_secs(2), 0), HealthEffect::Tripped);
        assert_eq!(harness.tick(1_999), TickEffect::Nothing);
        assert_eq!(harness.tick(2_000), TickEffect::Returned);
        assert!(harness.is_in_service(), "no probe");
    }

    #[test]
    fn an_overloaded_router_has_to_prove_itself() {
        let mut harness = Harness::default();
        harness.hinted(Class::Overloaded, Duration::from_secs(2), 0);
        harness.tick(2_000);
        assert!(harness.is_probing());
    }

    #[test]
    fn ignored_when_set_so_and_respected_up_to_the_longest() {
        let mut harness = Harness::default();
        harness.settings.retry_after.honor = false;
        harness.hinted(Class::RateLimited, Duration::from_secs(2), 0);
        assert_eq!(harness.until(), Some(MINUTES_10));
        let mut harness = Harness::default();
        harness.hinted(Class::RateLimited, Duration::from_secs(86_400), 0);
        assert_eq!(harness.until(), Some(3_600_000));
    }

    #[test]
    fn the_next_one_after_a_failed_return_doubles_and_a_success_ends_that() {
        let mut harness = Harness::default();
        let mut now = 0;
        for seconds in [1, 2, 4, 8] {
            assert_eq!(harness.hinted(Class::RateLimited, Duration::from_secs(1), now), HealthEffect::Tripped);
            now += seconds * 1_000;
            assert_eq!(harness.until(), Some(now), "{seconds} s");
            harness.tick(now);
        }
        harness.answer(Class::Success, now);
        harness.hinted(Class::RateLimited, Duration::from_secs(1), now + 10);
        assert_eq!(harness.until(), Some(now + 1_010));
    }

    #[test]
    fn a_dead_router_that_always_says_one_second_costs_seven_calls_a_minute() {
        let mut harness = Harness::default();
        let calls = (0..60_000).filter(|millis| {
            harness.tick(*millis);
            let asked = harness.health.may_serve(&harness.settings);
            if asked {
                harness.hinted(Class::Overloaded, Duration::from_secs(1), *millis);
            }
            asked
        });
        assert_eq!(calls.count(), 6, "at 0, 1, 3, 7, 15 and 31 seconds");
    }

    #[test]
    fn less_than_a_second_is_a_delay_and_no_trip() {
        let mut harness = Harness::default();
        assert_eq!(harness.hinted(Class::RateLimited, Duration::from_millis(43), 0), HealthEffect::Paused);
        assert!(!harness.health.may_serve(&harness.settings));
        assert_eq!(harness.tick(42), TickEffect::Nothing);
        assert_eq!(harness.tick(43), TickEffect::Changed);
        assert!(harness.is_in_service());
        assert_eq!(harness.health.failed_returns(), 0);
        assert_eq!(harness.answer(Class::Success, 45), HealthEffect::Counted);
        assert_eq!(harness.hinted(Class::RateLimited, Duration::ZERO, 50), HealthEffect::Counted, "come at once");
        assert!(harness.is_in_service());
        assert_eq!(harness.answer(Class::Success, 55), HealthEffect::Counted);
        assert_eq!(
            harness.hinted(Class::Overloaded, Duration::from_millis(300), 60),
            HealthEffect::Paused,
            "a 503 too"
        );
        harness.tick(360);
        assert!(harness.is_in_service(), "without a probation");
    }

    #[test]
    fn who_asks_for_less_than_a_second_again_and_again_is_left_alone_for_longer() {
        for (hint, lengths) in [(43, [43, 86, 172, 344, 688, 1_376]), (0, [0, 20, 40, 80, 160, 320])] {
            let mut harness = Harness::default();
            let mut now = 0;
            for length in lengths {
                let effect = harness.hinted(Class::RateLimited, Duration::from_millis(hint), now);
                let expected = match length {
                    0 => HealthEffect::Counted,
                    1..1_000 => HealthEffect::Paused,
                    _ => HealthEffect::Tripped,
                };
                assert_eq!((effect, harness.until().unwrap_or(now)), (expected, now + length), "asked for {hint} ms");
                now += length;
                harness.tick(now);
                assert!(harness.is_in_service());
                now += 2;
            }
        }
    }

    #[test]
    fn a_failure_during_a_pause_counts_as_if_it_served() {
        let mut harness = Harness::default();
        harness.settings.consecutive = 2;
        harness.hinted(Class::RateLimited, Duration::from_millis(500), 0);
        assert_eq!(harness.answer(Class::Failure, 10), HealthEffect::Counted);
        assert_eq!(harness.until(), Some(500), "the pause stays what it is");
        assert_eq!(harness.answer(Class::Failure, 20), HealthEffect::Tripped);
        assert_eq!(harness.until(), Some(MINUTES_10 + 20));
    }

    #[test]
    fn a_rate_limit_that_says_nothing_can_be_taken_as_if_it_had_said_something() {
        let mut harness = Harness::default();
        harness.settings.consecutive = 3;
        harness.settings.retry_after.assume = Some(Duration::from_secs(5));
        assert_eq!(harness.answer(Class::Overloaded, 0), HealthEffect::Counted, "only a rate limit");
        for (now, seconds) in [(10, 5), (5_010, 10)] {
            assert_eq!(harness.answer(Class::RateLimited, now), HealthEffect::Tripped);
            assert_eq!(harness.until(), Some(now + seconds * 1_000), "the next one right after the return doubles");
            harness.tick(now + seconds * 1_000);
            assert!(harness.is_in_service(), "rate-limited is not ill");
        }
        assert_eq!(harness.answer(Class::Success, 16_000), HealthEffect::Counted);
        assert_eq!(harness.hinted(Class::RateLimited, Duration::from_secs(99), 20_000), HealthEffect::Tripped);
        assert_eq!(harness.until(), Some(119_000), "its own word comes first");
    }

    #[test]
    fn a_failure_while_it_waits_takes_its_trust() {
        let mut harness = Harness::default();
        harness.hinted(Class::RateLimited, Duration::from_secs(2), 0);
        assert_eq!(harness.answer(Class::Failure, 100), HealthEffect::Extended);
        assert_eq!(harness.until(), Some(MINUTES_10 + 100));
        harness.tick(MINUTES_10 + 100);
        assert!(harness.is_probing());
    }
}

mod recovery {
    use super::*;

    const BACK: u64 = MINUTES_10;

    #[test]
    fn one_request_at_a_time_until_one_succeeds() {
        let mut harness = probing();
        harness.acquire_probe(7, BACK);
        assert!(!harness.health.may_serve(&harness.settings), "one at a time");
        let probe = Outcome { evidence: Evidence::Probe(Some(7)), ..outcome(Class::Success, BACK, BACK + 1) };
        assert_eq!(harness.learn(probe, BACK + 1), HealthEffect::Returned);
        assert!(harness.is_in_service());
    }

    #[test]
    fn after_a_probe_it_is_not_deaf_although_the_log_of_its_trip_is_lost() {
        let mut harness = Harness::default();
        harness.settings.disabled_time = Duration::from_secs(5);
        harness.learn(Outcome { stopped: None, ..outcome(Class::Failure, 0, 1) }, 0);
        harness.tick(5_000);
        let probe = Outcome { evidence: Evidence::Probe(Some(7)), ..outcome(Class::Success, 5_100, 5_200) };
        assert_eq!(harness.learn(probe, 5_200), HealthEffect::Returned);
        let straggler = Outcome { evidence: Evidence::Passive, ..outcome(Class::Failure, 5_099, 5_300) };
        assert_eq!(harness.learn(straggler, 5_300), HealthEffect::None, "in progress before the probe");
        assert_eq!(harness.answer(Class::Failure, 5_300), HealthEffect::Tripped, "begun after it");
    }

    #[test]
    fn a_failed_probe_cools_again() {
        let mut harness = probing();
        harness.acquire_probe(7, BACK);
        let probe = Outcome { evidence: Evidence::Probe(None), ..outcome(Class::Failure, BACK, BACK + 1) };
        assert_eq!(harness.learn(probe, BACK + 1), HealthEffect::Tripped, "whichever replica sent it");
        assert_eq!(harness.until(), Some(2 * MINUTES_10 + 1));
        assert_eq!((harness.health.epoch(), harness.health.failed_returns()), (2, 1));
        harness.tick(2 * MINUTES_10 + 1);
        assert!(harness.health.may_serve(&harness.settings), "its permit is free again");
    }

    #[test]
    fn a_clients_own_fault_gives_the_permit_back() {
        let mut harness = probing();
        harness.acquire_probe(7, BACK);
        let neutral = |number| Outcome { evidence: Evidence::Probe(number), ..outcome(Class::Neutral, BACK, BACK + 1) };
        assert_eq!(harness.learn(neutral(None), BACK + 1), HealthEffect::Counted, "another replica's");
        assert!(!harness.health.may_serve(&harness.settings));
        assert_eq!(harness.learn(neutral(Some(7)), BACK + 1), HealthEffect::ProbeReleased);
        assert!(harness.is_probing() && harness.health.may_serve(&harness.settings));
    }

    #[test]
    fn a_probe_that_is_never_seen_again_is_issued_again() {
        let mut harness = probing();
        harness.acquire_probe(7, BACK);
        assert_eq!(harness.tick(BACK + 119_999), TickEffect::Nothing);
        assert_eq!(harness.tick(BACK + 120_000), TickEffect::Changed);
        assert!(harness.health.may_serve(&harness.settings));
    }

    #[test]
    fn hearsay_decides_nothing() {
        let mut harness = probing();
        for class in [Class::Success, Class::Failure, Class::RateLimited] {
            let hearsay = Outcome { evidence: Evidence::Provisional, ..outcome(class, BACK, BACK + 1) };
            assert_eq!(harness.learn(hearsay, BACK + 1), HealthEffect::None);
        }
        assert!(harness.is_probing());
        assert_eq!(
            harness.answer(Class::Success, BACK + 2),
            HealthEffect::Returned,
            "a call past us that began after the trip"
        );
    }

    #[test]
    fn the_probe_of_an_earlier_return_is_old_news() {
        let mut harness = probing();
        harness.acquire_probe(7, BACK);
        harness.tick(BACK + 120_000);
        harness.acquire_probe(8, BACK + 120_000);
        let second = Outcome { evidence: Evidence::Probe(Some(8)), ..outcome(Class::Failure, 720_000, 720_001) };
        assert_eq!(harness.learn(second, 720_001), HealthEffect::Tripped);
        harness.tick(720_001 + MINUTES_10);
        let first = Outcome { evidence: Evidence::Probe(Some(7)), ..outcome(Class::Success, BACK, BACK + 150_000) };
        assert_eq!(harness.learn(first, 1_320_002), HealthEffect::None);
        assert!(harness.is_probing());
    }

    #[test]
    fn more_permits_where_more_are_asked_for() {
        let mut harness = probing();
        harness.settings.probe.concurrency = 2;
        harness.acquire_probe(1, BACK);
        assert!(harness.health.may_serve(&harness.settings));
        harness.acquire_probe(2, BACK);
        assert!(!harness.health.may_serve(&harness.settings));
    }
}

mod too_few_good {
    use super::*;

    /// Half of at least four within ten seconds; failures in a row alone do nothing.
    fn harness() -> Harness {
        let mut harness = Harness::default();
        harness.settings.consecutive = 100;
        harness.settings.ratio = Some(Ratio { below: 0.5, over: Duration::from_secs(10), min: 4 });
        harness
    }

    #[test]
    fn makes_it_suspected_and_only_a_verdict_takes_it_out() {
        let mut harness = harness();
        for (millis, class, effect) in [
            (0, Class::Failure, HealthEffect::Counted),
            (1, Class::Failure, HealthEffect::Counted),
            (2, Class::Failure, HealthEffect::Counted),
            (3, Class::Success, HealthEffect::Counted),
            (4, Class::Neutral, HealthEffect::Counted),
            (5, Class::Failure, HealthEffect::Suspected),
        ] {
            assert_eq!(harness.answer(class, millis), effect, "{class:?} at {millis} ms");
        }
        assert!(harness.is_in_service());
        let last = outcome(Class::Failure, 5, 6);
        assert_eq!(harness.health.eject_suspected(&last, &harness.settings, at(5)), HealthEffect::Tripped);
        assert_eq!(harness.until(), Some(MINUTES_10 + 5));
        let HealthState::Cooling { cause, .. } = harness.health.state() else { panic!("serves") };
        assert_eq!(cause, Cause::LowSuccessRate(500));
    }

    #[test]
    fn needs_enough_answers_within_the_time_and_fewer_good_ones_than_the_share() {
        let mut harness = harness();
        for millis in [0, 1, 2, 11_000, 11_001, 11_002] {
            assert_eq!(harness.answer(Class::Failure, millis), HealthEffect::Counted, "three in any ten seconds");
        }
        let mut harness = self::harness();
        for (millis, class) in [Class::Success, Class::Failure].into_iter().cycle().take(40).enumerate() {
            assert_eq!(harness.answer(class, millis as u64), HealthEffect::Counted, "just the share");
        }
    }

    #[test]
    fn counts_from_nothing_after_a_return() {
        let mut harness = harness();
        harness.settings.consecutive = 3;
        for millis in 0..3 {
            harness.answer(Class::Failure, millis);
        }
        harness.tick(MINUTES_10 + 2);
        assert_eq!(harness.answer(Class::Success, MINUTES_10 + 3), HealthEffect::Returned);
        assert_eq!(harness.answer(Class::Failure, MINUTES_10 + 4), HealthEffect::Counted);
        assert_eq!(harness.answer(Class::Failure, MINUTES_10 + 5), HealthEffect::Counted);
    }
}

mod a_growing_cooldown {
    use super::*;

    /// Ten seconds, then twenty, then forty, and no more.
    fn harness() -> Harness {
        let mut harness = Harness::default();
        harness.settings.disabled_time = Duration::from_secs(10);
        harness.settings.cooldown = Cooldown { factor: 2.0, max: Duration::from_secs(40), jitter: 0.0 };
        harness
    }

    /// Fails at this moment, and returns for how long it is ejected.
    fn out(harness: &mut Harness, millis: u64) -> u64 {
        assert_eq!(harness.answer(Class::Failure, millis), HealthEffect::Tripped);
        harness.until().unwrap() - millis
    }

    #[test]
    fn is_longer_each_time_a_probe_fails() {
        let mut harness = harness();
        let mut now = 0;
        for expected in [10_000, 20_000, 40_000, 40_000] {
            let time = out(&mut harness, now);
            assert_eq!(time, expected);
            now += time;
            assert_eq!(harness.tick(now - 1), TickEffect::Nothing);
            assert_eq!(harness.tick(now), TickEffect::Returned);
            now += 1;
        }
    }

    #[test]
    fn falls_by_one_step_for_each_such_time_in_service() {
        for (served, expected) in [(1, 40_000), (9_999, 40_000), (10_000, 20_000), (20_000, 10_000), (900_000, 10_000)]
        {
            let mut harness = harness();
            let mut now = 0;
            for _ in 0..2 {
                now += out(&mut harness, now);
                harness.tick(now);
                now += 10;
            }
            assert_eq!(harness.answer(Class::Success, now), HealthEffect::Returned);
            assert_eq!(out(&mut harness, now + served), expected, "{served} ms in service");
        }
    }

    #[test]
    fn is_not_made_longer_by_failures_while_it_lasts() {
        let mut harness = harness();
        out(&mut harness, 0);
        assert_eq!(harness.answer(Class::Failure, 1_000), HealthEffect::Extended, "by a call past us");
        assert_eq!(harness.until(), Some(11_000), "from now on, and no step longer");
    }

    #[test]
    fn is_spread_by_the_lot() {
        let mut harness = harness();
        harness.settings.cooldown.jitter = 0.5;
        let jitter_seed = 1 << 63;
        harness.learn(Outcome { jitter_seed, ..outcome(Class::Failure, 0, 1) }, 0);
        assert_eq!(harness.until(), Some(12_500));
    }
}

mod a_ramp {
    use super::*;

    #[test]
    fn grows_in_tenths_after_a_proof() {
        let mut harness = probing();
        harness.settings.slow_start = Duration::from_secs(10);
        assert_eq!(harness.answer(Class::Success, MINUTES_10), HealthEffect::Returned);
        for tenth in 1..=10_u64 {
            let now = MINUTES_10 + (tenth - 1) * 1_000;
            assert_eq!(harness.tick(now), if tenth == 1 { TickEffect::Nothing } else { TickEffect::Changed });
            assert!((harness.health.share(&harness.settings) - tenth as f64 / 10.0).abs() < 1e-9, "tenth {tenth}");
            assert_eq!(harness.tick(now + 999), TickEffect::Nothing);
        }
        assert_eq!(harness.tick(MINUTES_10 + 10_000), TickEffect::Changed);
        assert_eq!(harness.health.due(&harness.settings), None, "over");
    }

    #[test]
    fn skips_steps_that_were_not_observed() {
        let mut harness = probing();
        harness.settings.slow_start = Duration::from_secs(10);
        harness.answer(Class::Success, MINUTES_10);
        harness.tick(MINUTES_10 + 7_500);
        assert!((harness.health.share(&harness.settings) - 0.8).abs() < 1e-9);
        harness.tick(MINUTES_10 + 60_000);
        assert_eq!(harness.health.share(&harness.settings), 1.0);
    }

    #[test]
    fn is_not_for_who_was_only_rate_limited() {
        let mut harness = Harness::default();
        harness.settings.slow_start = Duration::from_secs(10);
        harness.hinted(Class::RateLimited, Duration::from_secs(2), 0);
        assert_eq!(harness.tick(2_000), TickEffect::Returned);
        assert_eq!(harness.health.share(&harness.settings), 1.0);
    }
}

mod nothing_remains {
    use super::*;

    fn used_up(wait: u64, millis: u64) -> Outcome {
        let hint = Some(RetryAfter::QuotaReset(Duration::from_millis(wait)));
        Outcome { retry_after: hint, ..outcome(Class::Success, millis, millis + 1) }
    }

    #[test]
    fn takes_it_out_before_it_fails_if_that_is_wanted() {
        let mut harness = Harness::default();
        assert_eq!(harness.learn(used_up(5_000, 0), 0), HealthEffect::Counted, "off by default");
        harness.settings.retry_after.preempt = true;
        let used_up = used_up(5_000, 1);
        assert_eq!(harness.learn(used_up, 1), HealthEffect::Suspected);
        assert_eq!(harness.health.eject_suspected(&used_up, &harness.settings, at(1)), HealthEffect::Tripped);
        assert!(harness.health.waits_for_upstream_hint());
        assert_eq!(harness.tick(5_001), TickEffect::Returned);
        assert!(harness.is_in_service(), "no probe");
        assert_eq!(harness.health.failed_returns(), 0);
    }

    #[test]
    fn for_less_than_a_second_is_only_a_delay() {
        let mut harness = Harness::default();
        harness.settings.retry_after.preempt = true;
        let used_up = used_up(12, 0);
        assert_eq!(harness.learn(used_up, 0), HealthEffect::Suspected);
        assert_eq!(harness.health.eject_suspected(&used_up, &harness.settings, at(0)), HealthEffect::Paused);
        assert_eq!(harness.tick(12), TickEffect::Changed);
    }

    #[test]
    fn is_ignored_where_nothing_is_ever_taken_out() {
        let mut harness = Harness::default();
        harness.settings.retry_after.preempt = true;
        harness.settings.disabled_time = Duration::ZERO;
        assert_eq!(harness.learn(used_up(5_000, 0), 0), HealthEffect::Counted);
    }
}

mod while_disabled {
    use super::*;

    fn sent(class: Class, decision: u64, millis: u64) -> Outcome {
        Outcome { evidence: Evidence::Probe(Some(decision)), ..outcome(class, millis, millis + 1) }
    }

    #[test]
    fn a_success_of_who_was_sent_nevertheless_returns_it() {
        let mut harness = Harness::default();
        harness.answer(Class::Failure, 0);
        harness.acquire_probe(7, 1_000);
        assert_eq!(harness.learn(sent(Class::Success, 7, 1_000), 1_001), HealthEffect::Returned);
        assert!(harness.is_in_service());
    }

    #[test]
    fn a_failure_neither_extends_nor_counts_as_a_failed_return() {
        let mut harness = Harness::default();
        harness.answer(Class::Failure, 0);
        harness.acquire_probe(7, 1_000);
        assert_eq!(harness.learn(sent(Class::Failure, 7, 1_000), 1_001), HealthEffect::ProbeReleased);
        assert_eq!(
            (harness.until(), harness.health.active_probes(), harness.health.failed_returns()),
            (Some(MINUTES_10), 0, 0)
        );
    }

    /// Whatever took it out, its upstream's own word is obeyed from then on.
    #[test]
    fn a_failure_that_asks_for_a_wait_is_obeyed() {
        for (class, wait, effect, until, announced) in [
            (Class::RateLimited, 900, HealthEffect::Extended, 901_000, true),
            (Class::Overloaded, 900, HealthEffect::Extended, 901_000, true),
            (Class::RateLimited, 20, HealthEffect::ProbeReleased, MINUTES_10, true),
            (Class::Overloaded, 0, HealthEffect::ProbeReleased, MINUTES_10, false),
            (Class::Failure, 900, HealthEffect::ProbeReleased, MINUTES_10, false),
        ] {
            let mut harness = Harness::default();
            harness.answer(Class::Failure, 0);
            harness.acquire_probe(7, 1_000);
            let answer = sent(class, 7, 1_000);
            let retry_after = Some(RetryAfter::Delay(Duration::from_secs(wait)));
            assert_eq!(harness.learn(Outcome { retry_after, ..answer }, 1_000), effect, "{class:?} {wait}");
            let health = &harness.health;
            assert_eq!((health.active_probes(), health.failed_returns()), (0, 0), "{class:?} {wait}");
            assert_eq!((harness.until(), health.waits_as_announced()), (Some(until), announced), "{class:?} {wait}");
        }
    }

    #[test]
    fn a_permit_that_is_lost_is_free_again() {
        let mut harness = Harness::default();
        harness.answer(Class::Failure, 0);
        harness.acquire_probe(7, 1_000);
        assert!(harness.health.was_asked_just_now());
        assert_eq!(
            (harness.health.due(&harness.settings), harness.tick(6_000)),
            (Some(at(6_000)), TickEffect::Changed)
        );
        assert!(!harness.health.was_asked_just_now() && harness.health.active_probes() == 1);
        assert_eq!(harness.health.due(&harness.settings), Some(at(121_000)));
        assert_eq!(harness.tick(121_000), TickEffect::Changed);
        assert_eq!((harness.until(), harness.health.active_probes()), (Some(MINUTES_10), 0));
    }

    #[test]
    fn a_success_past_us_does_not_return_it() {
        let mut harness = Harness::default();
        harness.answer(Class::Failure, 0);
        assert_eq!(harness.answer(Class::Success, 1_000), HealthEffect::Counted);
        assert_eq!(harness.until(), Some(MINUTES_10));
    }
}
