//! Rate limits on a stopped clock: by table, and by property against a plain list of calls.

use std::time::Duration;

use proptest::prelude::*;

use rustc_hash::FxHashMap;

use super::*;

const START: BrokerTime = BrokerTime::from_nanos(1_800_000_000_000_000_000);
const A: RouterId = RouterId(0);
const B: RouterId = RouterId(1);

fn at(millis: u64) -> BrokerTime {
    START.after(Duration::from_millis(millis))
}

/// A limiter, and the calls whose logs are yet to come.
#[derive(Default)]
struct Limits {
    limiter: RateLimiter,
    sent: FxHashMap<u64, InFlightCall>,
}

impl Limits {
    fn take(&mut self, number: u64, router: RouterId, tokens: u32, now: BrokerTime) {
        let reservation = self.limiter.reserve(router, tokens, now);
        self.sent.insert(number, InFlightCall { router, started: now, probe: false, reservation });
    }

    fn learn(&mut self, (decision, usage): &(Option<u64>, Usage), now: BrokerTime) {
        let sent = decision.and_then(|number| self.sent.remove(&number));
        self.limiter.learn(&Usage { sent, ..*usage }, now);
    }
}

fn limits(rpm: Option<u32>, tpm: Option<u32>) -> Limits {
    let mut limits = Limits::default();
    limits.limiter.configure([Some(RateLimit { rpm, tpm }), Some(RateLimit { rpm, tpm }), None].into_iter());
    limits
}

fn lack_at(limits: &mut Limits, router: RouterId, tokens: u32, millis: u64) -> Option<LimitExceeded> {
    limits.limiter.advance_clock(at(millis));
    limits.limiter.exceeded(router, tokens)
}

const fn seen(router: RouterId, decision: Option<u64>, tokens: Option<u64>) -> (Option<u64>, Usage) {
    let remaining = RateLimitHeaders { requests: None, tokens: None };
    (decision, Usage { router, sent: None, foreign: decision.is_none(), tokens, remaining })
}

fn says(requests: Option<u64>, tokens: Option<u64>, seconds: u64) -> RateLimitHeaders {
    let left = |amount: u64| QuotaRemaining { amount, reset: Duration::from_secs(seconds) };
    RateLimitHeaders { requests: requests.map(left), tokens: tokens.map(left) }
}

fn says_of(remaining: RateLimitHeaders, (decision, usage): (Option<u64>, Usage)) -> (Option<u64>, Usage) {
    (decision, Usage { remaining, ..usage })
}

#[test]
fn the_largest_numbers_saturate() {
    let mut limits = limits(None, Some(5));
    for number in 0..6_000 {
        limits.take(number, A, u32::MAX, at(number * 10));
        limits.learn(&seen(B, None, Some(u64::MAX)), at(number * 10));
    }
    assert!(limits.limiter.is_consistent());
    for router in [A, B] {
        assert_eq!(lack_at(&mut limits, router, u32::MAX, 60_000), Some(LimitExceeded::Tpm), "{router:?}");
        assert_eq!(lack_at(&mut limits, router, 1, 200_000), None, "{router:?}: a minute later all is free");
    }
}

#[test]
fn requests_count_for_a_minute_and_no_second_less() {
    let mut limits = limits(Some(2), None);
    limits.take(0, A, 0, at(0));
    assert_eq!(lack_at(&mut limits, A, 0, 10), None);
    limits.take(1, A, 0, at(10));
    for (millis, exceeded) in [
        (11, Some(LimitExceeded::Rpm)),
        (60_000, Some(LimitExceeded::Rpm)),
        (60_999, Some(LimitExceeded::Rpm)),
        (61_000, None),
    ] {
        assert_eq!(lack_at(&mut limits, A, 0, millis), exceeded, "{millis}");
    }
    assert_eq!((lack_at(&mut limits, B, 0, 11), lack_at(&mut limits, RouterId(2), 0, 11)), (None, None));
    assert_eq!(lack_at(&mut limits, RouterId(9), 0, 11), None, "unknown");
}

#[test]
fn tokens_are_what_was_expected_until_the_log_reports() {
    let mut limits = limits(None, Some(1_000));
    limits.take(0, A, 900, at(0));
    assert_eq!(lack_at(&mut limits, A, 101, 5_000), Some(LimitExceeded::Tpm));
    assert_eq!(lack_at(&mut limits, A, 100, 5_000), None, "to the last one");
    limits.learn(&seen(A, Some(0), Some(17)), at(5_000));
    assert_eq!(lack_at(&mut limits, A, 983, 5_000), None);
    assert_eq!(lack_at(&mut limits, A, 984, 5_000), Some(LimitExceeded::Tpm));
    limits.learn(&seen(A, Some(0), Some(17)), at(5_000));
    assert_eq!(lack_at(&mut limits, A, 983, 5_000), None, "once");
    limits.take(1, A, 100, at(6_000));
    limits.learn(&seen(A, Some(1), Some(2_000)), at(7_000));
    assert_eq!(lack_at(&mut limits, A, 0, 7_000), Some(LimitExceeded::Tpm), "more than was expected");
    assert_eq!(lack_at(&mut limits, A, 1_000, 67_000), None, "it counts in the second of its call");
}

#[test]
fn a_log_without_usage_or_too_late_changes_nothing() {
    let mut limits = limits(None, Some(1_000));
    limits.take(0, A, 900, at(0));
    limits.learn(&seen(A, Some(0), None), at(10));
    assert_eq!(lack_at(&mut limits, A, 101, 11), Some(LimitExceeded::Tpm));
    limits.take(1, A, 50, at(20));
    limits.learn(&seen(A, Some(1), Some(5_000)), at(90_000));
    assert_eq!(lack_at(&mut limits, A, 1_000, 90_000), None);
}

#[test]
fn calls_of_others_count_and_those_that_strayed_count_where_they_went() {
    let mut limits = limits(Some(1), None);
    limits.learn(&seen(A, None, Some(5)), at(0));
    assert_eq!(lack_at(&mut limits, A, 0, 1), Some(LimitExceeded::Rpm));
    limits.learn(&(None, Usage { foreign: false, ..seen(B, None, Some(5)).1 }), at(0));
    assert_eq!(lack_at(&mut limits, B, 0, 1), None, "it belongs to no known call");
    let mut limits = self::limits(Some(1), None);
    limits.take(0, A, 5, at(0));
    limits.learn(&seen(B, Some(0), Some(5)), at(2_000));
    assert_eq!((lack_at(&mut limits, A, 0, 1), lack_at(&mut limits, B, 0, 1)), (None, Some(LimitExceeded::Rpm)));
}

#[test]
fn what_an_upstream_says_holds_until_its_reset_less_what_was_sent_since() {
    let mut limits = limits(None, None);
    for number in 0..4 {
        limits.take(number, A, 10, at(number));
    }
    // When it took the second one, four and sixty were left: two of them are gone by now.
    limits.learn(&says_of(says(Some(4), Some(60), 20), seen(A, Some(1), None)), at(100));
    assert_eq!(
        (lack_at(&mut limits, A, 40, 101), lack_at(&mut limits, A, 41, 101)),
        (None, Some(LimitExceeded::Tokens))
    );
    limits.take(4, A, 10, at(102));
    assert_eq!(lack_at(&mut limits, A, 0, 103), None);
    limits.take(5, A, 10, at(103));
    assert_eq!(lack_at(&mut limits, A, 0, 104), Some(LimitExceeded::Requests));
    // An older call's log, late.
    limits.learn(&says_of(says(Some(90), Some(900), 20), seen(A, Some(0), None)), at(105));
    assert_eq!(lack_at(&mut limits, A, 0, 106), Some(LimitExceeded::Requests), "the latest call's word counts");
    limits.learn(&says_of(says(Some(90), Some(900), 20), seen(A, None, None)), at(107));
    assert_eq!(lack_at(&mut limits, A, 0, 108), Some(LimitExceeded::Requests), "others only leave less");
    assert_eq!(lack_at(&mut limits, A, 1_000_000, 20_100), None, "its reset");
    limits.learn(&says_of(says(None, Some(0), 20), seen(A, None, None)), at(30_000));
    assert_eq!(lack_at(&mut limits, A, 0, 30_001), Some(LimitExceeded::Tokens), "who does not say how many needs one");
    limits.learn(&says_of(says(Some(0), Some(0), 20), seen(RouterId(2), None, None)), at(0));
    assert_eq!(lack_at(&mut limits, RouterId(2), 0, 1), None, "no budget, not even an empty one");
}

#[test]
fn who_keeps_a_budget_keeps_what_is_known() {
    let mut limits = limits(Some(3), None);
    limits.take(0, A, 0, at(0));
    limits.take(1, B, 0, at(0));
    let rpm = |rpm| Some(RateLimit { rpm: Some(rpm), tpm: None });
    limits.limiter.configure([rpm(1), None, rpm(1)].into_iter());
    assert_eq!(lack_at(&mut limits, A, 0, 1), Some(LimitExceeded::Rpm));
    assert_eq!((lack_at(&mut limits, B, 0, 1), lack_at(&mut limits, RouterId(2), 0, 1)), (None, None));
    limits.limiter.configure([rpm(1), rpm(1)].into_iter());
    assert_eq!(lack_at(&mut limits, B, 0, 1), None, "it began anew");
}

#[test]
fn what_was_not_sent_is_given_back() {
    let mut limits = limits(Some(1), Some(100));
    limits.take(0, A, 90, at(0));
    assert_eq!(lack_at(&mut limits, A, 0, 1), Some(LimitExceeded::Rpm));
    limits.limiter.release(&limits.sent[&0]);
    assert_eq!(lack_at(&mut limits, A, 100, 2_000), None);
    assert!(limits.limiter.is_consistent());
}

proptest! {
    /// Used is what was taken within the minute; the second in which it began may count in full, and no more.
    #[test]
    fn the_minute_against_a_plain_list(steps in prop::collection::vec((0_u64..9_000, 1_u32..100, prop::option::of(0_u64..200)), 0..80)) {
        let mut limits = limits(None, None);
        let (mut millis, mut calls) = (0, Vec::new());
        for (number, (wait, tokens, used)) in (0_u64..).zip(steps) {
            millis += wait;
            limits.take(number, A, tokens, at(millis));
            calls.push((millis, used.unwrap_or(u64::from(tokens))));
            if used.is_some() {
                limits.learn(&seen(A, Some(number), used), at(millis));
            }
            prop_assert!(limits.limiter.is_consistent());
            for later in [0, 1_500, 30_000, 70_000] {
                let now = millis + later;
                let used = limits.limiter.account(A).unwrap().minute.used(second(at(now)));
                let within = |span: u64| {
                    let those: Vec<_> = calls.iter().filter(|(at, _)| at + span > now).collect();
                    (those.len() as u64, those.iter().map(|(_, tokens)| tokens).sum::<u64>())
                };
                let (least, most) = (within(60_000), within(61_000));
                prop_assert!(least.0 <= used.requests && used.requests <= most.0);
                prop_assert!(least.1 <= used.tokens && used.tokens <= most.1);
            }
        }
    }
}
