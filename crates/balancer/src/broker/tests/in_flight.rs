//! What calls in flight hold: after any sequence of events each is accounted for once, and at the end nothing is left.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::load::rate_limit::RateLimit;

#[derive(Debug, Clone)]
enum Happening {
    /// A call through the gateway.
    Call,
    /// An attempt of the relay.
    Attempt,
    /// One of the calls in progress ends: by its message, its log, or the relay's report.
    Ends(Index, Source, u16, Option<u64>),
    /// The client of one goes away.
    Abandoned(Index),
    Wait(u64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let source = prop::sample::select(vec![Source::Message, Source::Log]);
    let status = prop::sample::select(vec![200, 200, 400, 429, 500]);
    let ends = (any::<Index>(), source, status, prop::option::of(0_u64..500));
    prop::collection::vec(
        prop_oneof![
            4 => Just(Happening::Call),
            3 => Just(Happening::Attempt),
            5 => ends.prop_map(|(which, source, status, tokens)| Happening::Ends(which, source, status, tokens)),
            2 => any::<Index>().prop_map(Happening::Abandoned),
            2 => (0_u64..90_000).prop_map(Happening::Wait),
        ],
        0..120,
    )
}

fn limited(policy: Policy) -> Harness {
    let leaf = |place| Target::plain(TargetKind::Router(path(&router(place))));
    let root = Target::plain(TargetKind::Branch { policy, targets: (0..4).map(leaf).collect() });
    let mut settings = BrokerSettings { pools: vec![pool(root)], ..settings(0) };
    settings.pools[0].when_all_disabled = WhenAllDisabled::Soonest;
    settings.defaults.health.disabled_time = Duration::from_secs(30);
    settings.defaults.rate_limit = Some(RateLimit { rpm: Some(1_000), tpm: Some(1_000_000) });
    Harness::of(settings)
}

fn abandon(harness: &mut Harness, route: &Route, now: BrokerTime) {
    harness.broker.apply(BrokerInput::Abandoned { route, was_sent: false }, now);
}

proptest! {
    #[test]
    fn everything_in_flight_is_accounted_for_once(busy: bool, happenings in happenings()) {
        let mut harness = limited(if busy { Policy::LeastBusy } else { Policy::RoundRobin });
        // By number: the calls whose end was not reported.
        let (mut running, mut millis): (BTreeMap<u64, Route>, u64) = (BTreeMap::new(), 0);
        let any = |running: &BTreeMap<u64, Route>, which: Index| (!running.is_empty()).then(|| running.values().nth(which.index(running.len())).unwrap().clone());
        for (step, happening) in happenings.into_iter().enumerate() {
            match happening {
                Happening::Call => {
                    if let Decision::Route(route) = harness.decide(at(millis)) {
                        running.insert(route.number, route);
                    }
                }
                Happening::Attempt => {
                    harness.broker.advance_clock(at(millis));
                    let mut history = AttemptHistory::default();
                    if let NextTarget::Untried(route) = harness.broker.next_target(&INGRESS, &mut history, &mut harness.rng) {
                        harness.broker.commit_route(&route, at(millis));
                        running.insert(route.number, route);
                    }
                }
                Happening::Ends(which, source, status, total_tokens) => {
                    let Some(route) = any(&running, which) else { continue };
                    let (served, id) = (router(usize::from(route.router().0)), format!("A_1_1_{step}"));
                    let source = if route.relayed { Source::Attempt } else { source };
                    let probe = route.kind.decides_recovery();
                    let report = TestObservation {
                        source,
                        decision: Some(route.number),
                        probe,
                        stamped_path: Some(&served),
                        total_tokens,
                        sent_at: route.relayed.then(|| at(millis)),
                        ..log(&served, status, &id, millis, millis + 1)
                    };
                    harness.learn(&report, at(millis));
                    // A message has no stamp, so it ends no call.
                    if source != Source::Message {
                        running.remove(&route.number);
                    }
                }
                Happening::Abandoned(which) => {
                    let Some(route) = any(&running, which) else { continue };
                    abandon(&mut harness, &route, at(millis));
                    running.remove(&route.number);
                }
                Happening::Wait(wait) => {
                    millis += wait;
                    harness.tick(at(millis));
                    running.retain(|number, _| harness.broker.in_flight.all().any(|(other, _)| other == *number));
                }
            }
            prop_assert_eq!(invariants::broken(&harness.broker), None);
            for id in (0..4).map(RouterId) {
                let calls = running.values().filter(|route| route.router() == id).count();
                prop_assert_eq!(harness.broker.in_flight.pending(id) as usize, calls);
            }
        }
        for route in running.values() {
            abandon(&mut harness, route, at(millis));
        }
        harness.tick(at(millis + 200_000));
        prop_assert_eq!(harness.broker.in_flight.all().count(), 0);
        prop_assert!(harness.broker.routers.values().all(|router| router.health().active_probes() == 0));
    }

    /// What a client left when it was on its way was counted by its upstream too.
    #[test]
    fn calls_that_were_sent_stay_in_the_limits(attempts in 1_usize..40) {
        let mut harness = limited(Policy::RoundRobin);
        let full = |harness: &Harness| {
            let limits = harness.broker.limits.as_ref().unwrap();
            (0..4).map(RouterId).map(|id| limits.exceeded(id, 1_000_000).is_some()).collect::<Vec<_>>()
        };
        let mut sent = Vec::new();
        for _ in 0..attempts {
            let Decision::Route(route) = harness.decide(START) else { panic!("all serve") };
            sent.push(route);
        }
        let before = full(&harness);
        for route in &sent {
            harness.broker.apply(BrokerInput::Abandoned { route, was_sent: true }, START);
        }
        prop_assert_eq!(before, full(&harness));
        prop_assert_eq!(harness.broker.in_flight.all().count(), 0);
    }

    /// Whatever was sent and not made takes nothing of the limits.
    #[test]
    fn abandoned_calls_take_nothing(attempts in 1_usize..40) {
        let mut harness = limited(Policy::RoundRobin);
        let mut sent = Vec::new();
        for _ in 0..attempts {
            let Decision::Route(route) = harness.decide(START) else { panic!("all serve") };
            sent.push(route);
        }
        let full = |harness: &Harness| (0..4).map(RouterId).any(|id| harness.broker.limits.as_ref().unwrap().exceeded(id, 1_000_000).is_some());
        prop_assert!(!full(&harness) || sent.iter().any(|route| route.reservation.tokens > 0));
        sent.iter().for_each(|route| abandon(&mut harness, route, START));
        prop_assert!(!full(&harness));
    }
}
