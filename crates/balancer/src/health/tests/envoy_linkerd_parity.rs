//! The cases by which Envoy's outlier detector and linkerd's breaker are tested, under the names they are known by, with what
//! our rules make of them. Where ours differ, the case says how.

use super::*;

/// Only failures in a row count, five of them; ten seconds, more each time.
fn envoy() -> Harness {
    let mut harness = Harness::default();
    harness.settings.consecutive = 5;
    harness.settings.disabled_time = Duration::from_secs(10);
    harness.settings.cooldown = Cooldown { factor: 2.0, max: Duration::from_secs(300), jitter: 0.0 };
    harness
}

/// Only the ratio counts.
fn linkerd() -> Harness {
    let mut harness = Harness::default();
    harness.settings.consecutive = u32::MAX;
    harness.settings.ratio = Some(Ratio { below: 0.8, over: Duration::from_secs(10), min: 10 });
    harness
}

/// Fails until it is ejected, from this moment on; returns when it may be back.
fn eject(harness: &mut Harness, mut millis: u64) -> u64 {
    while harness.until().is_none() {
        assert!(matches!(harness.answer(Class::Failure, millis), HealthEffect::Counted | HealthEffect::Tripped));
        millis += 1;
    }
    harness.until().unwrap()
}

/// Lets it back at this moment, by a probe that succeeds.
fn uneject(harness: &mut Harness, millis: u64) {
    assert_eq!(harness.tick(millis - 1), TickEffect::Nothing, "a millisecond early");
    assert_eq!(harness.tick(millis), TickEffect::Returned);
    assert_eq!(harness.answer(Class::Success, millis), HealthEffect::Returned);
}

mod of_envoy {
    use super::*;

    #[test]
    fn basic_flow_5xx() {
        let mut harness = envoy();
        for millis in 0..4 {
            assert_eq!(harness.answer(Class::Failure, millis), HealthEffect::Counted, "four do nothing");
        }
        assert_eq!(harness.answer(Class::Failure, 4), HealthEffect::Tripped, "the fifth does");
        uneject(&mut harness, 10_004);
        for millis in 10_005..10_009 {
            assert_eq!(harness.answer(Class::Failure, millis), HealthEffect::Counted, "counted from nothing");
        }
        assert_eq!(harness.answer(Class::Success, 10_009), HealthEffect::Counted);
    }

    /// Ours is exponential, and each such time in service is one step back.
    #[test]
    fn eject_time_backoff() {
        let mut harness = envoy();
        let mut now = 0;
        for seconds in [10, 20, 40] {
            let until = eject(&mut harness, now);
            assert_eq!(until, now + 4 + seconds * 1_000);
            uneject(&mut harness, until);
            now = until + 1;
        }
        let until = eject(&mut harness, now + 20_000);
        assert_eq!(until - (now + 20_004), 20_000, "two steps back from 80 s");
        uneject(&mut harness, until);
        assert_eq!(eject(&mut harness, until + 10_000_000) - (until + 10_000_004), 10_000, "all is forgotten");
    }

    #[test]
    fn max_eject_time() {
        for max in [300, 305] {
            let mut harness = envoy();
            harness.settings.cooldown.max = Duration::from_secs(max);
            let mut now = 0;
            for n in 0..30 {
                let until = eject(&mut harness, now);
                let length = until - now - 4;
                assert!(length <= max * 1_000 && (n < 5 || length == max * 1_000), "{length} at {n}");
                uneject(&mut harness, until);
                now = until + 1;
            }
        }
    }

    #[test]
    fn not_enforcing() {
        let mut harness = envoy();
        harness.settings.disabled_time = Duration::ZERO;
        harness.settings.ratio = Some(Ratio::default());
        for millis in 0..100 {
            assert_eq!(harness.answer(Class::Failure, millis), HealthEffect::Counted);
        }
    }

    /// Two answers that both call for it, the second logged late, take it out once.
    #[test]
    fn twice_ejects_once() {
        let mut harness = envoy();
        let until = eject(&mut harness, 0);
        assert_eq!(harness.learn(outcome(Class::Failure, 3, 4), 5), HealthEffect::None);
        assert_eq!((harness.health.epoch(), harness.until()), (1, Some(until)));
    }

    #[test]
    fn empty_success_rate() {
        let mut harness = linkerd();
        harness.settings.ratio = Some(Ratio { below: 1.0, over: Duration::from_secs(10), min: 1 });
        for millis in 0..20 {
            assert_eq!(
                harness.answer(Class::Neutral, millis),
                HealthEffect::Counted,
                "of nothing no share can be too small"
            );
        }
        assert_eq!(harness.answer(Class::Success, 30), HealthEffect::Counted, "all of them good is not below 1");
    }

    #[test]
    fn each_detector_by_itself() {
        for (name, mut harness, expected) in [
            ("in a row", envoy(), HealthEffect::Tripped),
            ("ratio", linkerd(), HealthEffect::Suspected),
            (
                "neither",
                Harness { settings: HealthSettings { ratio: None, ..linkerd().settings }, ..linkerd() },
                HealthEffect::Counted,
            ),
        ] {
            let last = (0..10)
                .map(|millis| harness.answer(Class::Failure, millis))
                .find(|effect| *effect != HealthEffect::Counted);
            assert_eq!(last.unwrap_or(HealthEffect::Counted), expected, "{name}");
        }
    }

    #[test]
    fn percent_exactly_at_the_threshold() {
        // 5 of 6 are 83.3 %, 6 of 7 are 85.7 %, and 85 % are asked for.
        for (good, suspected) in [(5, true), (6, false)] {
            let mut harness = linkerd();
            harness.settings.ratio = Some(Ratio { below: 0.85, over: Duration::from_secs(10), min: 1 });
            for millis in 0..good {
                harness.answer(Class::Success, millis);
            }
            assert_eq!(
                harness.answer(Class::Failure, 50) == HealthEffect::Suspected,
                suspected,
                "{good} good ones and a bad one"
            );
        }
    }
}

mod of_linkerd {
    use super::*;

    #[test]
    fn cold_start_holds_until_min_requests() {
        let mut harness = linkerd();
        for millis in 0..9 {
            assert_eq!(harness.answer(Class::Failure, millis), HealthEffect::Counted);
        }
        assert_eq!(harness.answer(Class::Failure, 9), HealthEffect::Suspected);
    }

    #[test]
    fn failure_burst_trips_independent_of_rate() {
        let mut harness = linkerd();
        harness.settings.consecutive = 3;
        for millis in 0..1_000 {
            harness.answer(Class::Success, millis);
        }
        harness.answer(Class::Failure, 1_000);
        harness.answer(Class::Failure, 1_001);
        assert_eq!(harness.answer(Class::Failure, 1_002), HealthEffect::Tripped, "997 of 1,000 are good");
    }

    #[test]
    fn samples_age_out_after_window() {
        let mut harness = linkerd();
        for millis in 0..9 {
            harness.answer(Class::Failure, millis);
        }
        assert_eq!(harness.answer(Class::Failure, 10_000), HealthEffect::Counted, "the nine are ten seconds old");
    }

    #[test]
    fn large_gap_clears_however_large() {
        for gap in [20_000, 1 << 32, 1 << 43] {
            let mut harness = linkerd();
            for millis in 0..9 {
                harness.answer(Class::Failure, millis);
            }
            assert_eq!(harness.answer(Class::Failure, gap), HealthEffect::Counted, "after {gap} ms");
        }
    }

    #[test]
    fn probation_admits_single_probe() {
        let mut harness = probing();
        assert!(harness.health.may_serve(&harness.settings));
        harness.acquire_probe(1, MINUTES_10);
        assert!(!harness.health.may_serve(&harness.settings));
    }

    #[test]
    fn slow_healthy_probe_reopens() {
        let mut harness = probing();
        harness.acquire_probe(1, MINUTES_10);
        let slow = outcome(Class::Success, MINUTES_10, MINUTES_10 + 119_000);
        let slow = Outcome { evidence: Evidence::Probe(Some(1)), ..slow };
        assert_eq!(harness.learn(slow, MINUTES_10 + 119_000), HealthEffect::Returned);
    }

    #[test]
    fn stragglers_while_shut_are_ignored() {
        let mut harness = Harness::default();
        harness.learn(outcome(Class::Failure, 0, 100), 100);
        for (class, millis) in [(Class::Success, 200), (Class::Failure, 300), (Class::RateLimited, 400)] {
            assert_eq!(harness.learn(outcome(class, 50, millis), millis), HealthEffect::None);
        }
        assert_eq!(harness.until(), Some(MINUTES_10 + 100));
    }

    /// Ours counts a 429 that says nothing among the failures in a row too.
    #[test]
    fn rate_limits_count_in_the_ratio() {
        let mut harness = linkerd();
        let last = (0..10).map(|millis| harness.answer(Class::RateLimited, millis)).last();
        assert_eq!(last, Some(HealthEffect::Suspected));
    }

    #[test]
    fn both_policies_off_never_trips() {
        let mut harness = linkerd();
        harness.settings.ratio = None;
        for millis in 0..10_000 {
            assert_eq!(harness.answer(Class::Failure, millis), HealthEffect::Counted);
        }
    }
}
