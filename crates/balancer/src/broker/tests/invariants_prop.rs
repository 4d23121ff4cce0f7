//! Whatever happens, in any order: what must always hold.

use proptest::prelude::*;

use super::*;
use crate::load::rate_limit::RateLimit;
use types::outcome::{QuotaRemaining, RateLimitHeaders, RetryAfter};

/// When an upstream has more to give again.
const REFILL: Duration = Duration::from_secs(9);

/// One thing that may happen, for any order of things.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Decide,
    Wait(u64),
    Message {
        router: usize,
        status: u16,
        id: u8,
        known: bool,
        began: Option<u64>,
        one_row: bool,
        headers_missing: bool,
    },
    /// Other settings: no router is ever to be taken out, or as before.
    Reload {
        never: bool,
    },
    Log {
        router: usize,
        status: u16,
        id: u8,
        began: u64,
        hint: Option<RetryAfter>,
        payload: u8,
    },
    /// The log of the last probe that was sent.
    Probe {
        status: u16,
        ours: bool,
        stray: bool,
    },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![Just(200_u16), Just(400), Just(401), Just(404), Just(429), Just(500), Just(503)];
    prop_oneof![
        3 => Just(Step::Decide),
        2 => (0_u64..700_000).prop_map(Step::Wait),
        2 => (0_u64..50).prop_map(Step::Wait),
        4 => (0_usize..5, status.clone(), 0_u8..6, any::<bool>(), prop::option::of(0_u64..2_000_000), any::<(bool, bool)>())
            .prop_map(|(router, status, id, known, began, (one_row, headers_missing))| {
                Step::Message { router, status, id, known, began, one_row, headers_missing }
            }),
        1 => prop::bool::weighted(0.2).prop_map(|never| Step::Reload { never }),
        4 => (0_usize..5, status.clone(), 0_u8..6, 0_u64..2_000_000, hint(), 0_u8..3)
            .prop_map(|(router, status, id, began, hint, payload)| Step::Log { router, status, id, began, hint, payload }),
        2 => (status, any::<bool>(), any::<bool>()).prop_map(|(status, ours, stray)| Step::Probe { status, ours, stray }),
    ]
}

fn hint() -> impl Strategy<Value = Option<types::outcome::RetryAfter>> {
    use types::outcome::RetryAfter;
    let millis = (0_u64..9_000).prop_map(Duration::from_millis);
    prop::option::of(prop_oneof![millis.clone().prop_map(RetryAfter::Delay), millis.prop_map(RetryAfter::QuotaReset)])
}

/// Settings that differ in everything that has a rule of its own.
pub(super) fn any_settings() -> impl Strategy<Value = BrokerSettings> {
    let policies = [WhenAllDisabled::Pass, WhenAllDisabled::Soonest, WhenAllDisabled::Any];
    let rate_limit = prop::option::of((prop::option::of(1_u32..9), prop::option::of(1_u32..900)));
    (
        prop::sample::select(health::Preset::ALL.to_vec()),
        prop::sample::select(policies.to_vec()),
        any::<bool>(),
        rate_limit,
    )
        .prop_map(|(preset, when_all_disabled, preempt, rate_limit)| {
            let mut settings = settings(4);
            settings.pools[0].when_all_disabled = when_all_disabled;
            settings.defaults.health = preset.settings();
            settings.defaults.health.retry_after.preempt = preempt;
            settings.defaults.rate_limit = rate_limit.map(|(rpm, tpm)| RateLimit { rpm, tpm });
            if let Some(ratio) = settings.defaults.health.ratio.as_mut() {
                ratio.min = 2;
            }
            settings
        })
}

/// A guess never took the last one: another one served when it did.
fn guesses_were_harmless(mut serving: Vec<bool>, emitted: &[BrokerEvent]) -> bool {
    emitted.iter().all(|change| {
        let BrokerEvent::HealthChanged(Transition { router, state, .. }) = change else { return true };
        let place = (0..serving.len()).find(|place| self::router(*place) == router.to_string()).unwrap();
        serving[place] = *state == HealthState::Serving;
        let guess =
            matches!(state, HealthState::Cooling { cause: Cause::LowSuccessRate(_) | Cause::RateLimitExhausted, .. });
        !guess || serving.iter().any(|serves| *serves)
    })
}

/// A harness in progress.
pub(super) struct Play<'a> {
    pub(super) harness: Harness,
    pub(super) settings: &'a BrokerSettings,
    pub(super) now: BrokerTime,
    /// The last request that was sent to find out, and where.
    pub(super) probe: Option<(u64, String)>,
}

impl Play<'_> {
    pub(super) fn take(&mut self, step: &Step) {
        let (harness, now) = (&mut self.harness, self.now);
        match step {
            Step::Wait(millis) => self.now = now.after(Duration::from_millis(*millis)),
            Step::Decide => self.decide(),
            Step::Probe { status, ours, stray } => {
                if let Some((number, stamped)) = self.probe.take() {
                    let served = if *stray { router(3) } else { stamped.clone() };
                    let log = log(&served, *status, "P_1_1_0", 2_000_000, 2_000_010);
                    let decision = ours.then_some(number);
                    harness.learn(&TestObservation { stamped_path: Some(&stamped), probe: true, decision, ..log }, now);
                }
            }
            Step::Message { router: place, status, id, known, began, one_row, headers_missing } => {
                let (served, id) = (router(*place), format!("A_1_1_{id}"));
                let transaction = known.then_some(id.as_str());
                let (started, headers_missing) = (began.and_then(gateway), *headers_missing);
                let source = if *one_row { Source::OneRow } else { Source::Message };
                let message = message(&served, *status, &id);
                harness.learn(&TestObservation { source, transaction, started, headers_missing, ..message }, now);
            }
            Step::Reload { never } => {
                let mut settings = self.settings.clone();
                if *never {
                    settings.defaults.health.disabled_time = Duration::ZERO;
                }
                harness.emitted.extend(harness.broker.apply(BrokerInput::Configured(&settings), now).changes);
            }
            Step::Log { router: place, status, id, began, hint, payload } => {
                let (served, id, hint) = (router(*place), format!("A_1_1_{id}"), *hint);
                let payload = Some(std::slice::from_ref(payload));
                // Anything may be said of any decision.
                let (decision, used) = (began.is_multiple_of(2).then_some(u64::from(*began as u8)), Some(*began));
                let remaining = RateLimitHeaders {
                    requests: None,
                    tokens: Some(QuotaRemaining { amount: began % 700, reset: REFILL }),
                };
                let log = log(&served, *status, &id, *began, began + 10);
                harness.learn(
                    &TestObservation {
                        retry_after: hint,
                        payload,
                        decision,
                        total_tokens: used,
                        quota: remaining,
                        ..log
                    },
                    now,
                );
            }
        }
    }

    fn decide(&mut self) {
        let Decision::Route(route) = self.harness.decide(self.now) else {
            assert_eq!(self.harness.out().len(), 4, "nothing offered though one serves");
            return;
        };
        let chosen = self.harness.broker.path(route.router()).unwrap().to_string();
        match route.kind {
            RouteKind::Panic => assert_eq!(self.harness.out().len(), 4, "a disabled one, though another serves"),
            _ => assert!(!self.harness.out().contains(&chosen), "a disabled router was chosen"),
        }
        if route.kind.decides_recovery() {
            self.probe = Some((route.number, chosen));
        }
    }
}

/// Plays steps; checks after each what must always hold.
fn play(settings: &BrokerSettings, steps: &[Step]) -> (Broker, Vec<BrokerEvent>, String) {
    let harness = Harness::of(settings.clone());
    let mut play = Play { harness, settings, now: START, probe: None };
    for step in steps {
        let deadlines: Vec<_> = (0..4).map(|place| play.harness.until(place)).collect();
        // A pause below a second ends without an event; any longer one ends with a probation, which has one.
        let serves = |place| match play.harness.state(place) {
            HealthState::Serving => true,
            HealthState::Cooling { until, .. } => until <= play.now,
            HealthState::Probing { .. } => false,
        };
        let serving = (0..4).map(serves).collect();
        let emitted = play.harness.emitted.len();
        play.take(step);
        let harness = &play.harness;
        let emitted = &harness.emitted[emitted..];
        for (place, before) in deadlines.into_iter().enumerate() {
            let forward = harness.until(place).is_none_or(|after| before.is_none_or(|before| before <= after));
            let returned = |change: &BrokerEvent| {
                let BrokerEvent::HealthChanged(Transition { router, state, .. }) = change else { return false };
                router.to_string() == self::router(place) && !matches!(state, HealthState::Cooling { .. })
            };
            assert!(forward || emitted.iter().any(returned), "a deadline moved backwards");
        }
        assert!(guesses_were_harmless(serving, emitted), "a guess took the last one");
        assert_eq!(invariants::broken(&harness.broker), None);
    }
    let state = format!("{:?}", play.harness.broker);
    (play.harness.broker, play.harness.emitted, state)
}

proptest! {
    #[test]
    fn whatever_happens_the_invariants_hold_and_a_replay_is_the_same(
        settings in any_settings(),
        steps in prop::collection::vec(step(), 0..120)
    ) {
        let ((_, emitted, state), (_, emitted_again, state_again)) = (play(&settings, &steps), play(&settings, &steps));
        prop_assert_eq!((emitted, state), (emitted_again, state_again));
    }

    #[test]
    fn every_cooldown_ends(settings in any_settings(), steps in prop::collection::vec(step(), 0..60)) {
        let (mut broker, _, _) = play(&settings, &steps);
        let mut ticks = 0;
        while let Some(due) = broker.next_deadline() {
            broker.apply(BrokerInput::Tick, due);
            ticks += 1;
            prop_assert!(ticks < 10_000, "time does not bring it to rest");
        }
        let cools = |state| matches!(state, HealthState::Cooling { .. });
        prop_assert!(broker.routers().all(|(_, state, _)| !cools(state)));
        prop_assert!(broker.routers.values().all(|router| router.may_serve()));
        prop_assert_eq!(broker.dedup.len(), 0);
    }
}

#[test]
fn a_router_whose_short_pause_has_just_ended_serves_when_a_guess_takes_another_one() {
    let mut settings = super::settings(4);
    settings.defaults.health.retry_after.preempt = true;
    let message = |router| {
        let (known, one_row, headers_missing) = (false, false, false);
        Step::Message { router, status: 429, id: 0, known, began: None, one_row, headers_missing }
    };
    let log = |router, status, hint| Step::Log { router, status, id: 0, began: 0, hint: Some(hint), payload: 0 };
    let steps = [
        message(3),
        log(2, 429, RetryAfter::Delay(Duration::from_millis(1))),
        message(1),
        Step::Wait(1),
        log(0, 200, RetryAfter::QuotaReset(Duration::from_secs(1))),
    ];
    let (broker, ..) = play(&settings, &steps);
    let serving: Vec<_> = broker.routers().map(|(_, state, _)| state == HealthState::Serving).collect();
    assert_eq!(serving, [false, false, true, false]);
}
