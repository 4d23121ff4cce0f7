//! A request that no target may serve is told when the first is back: then one is, and none before; over the trees of
//! `recorded_choices`, while routers fail, ask for waits and are drained.

use rand::RngExt as _;

use super::recorded_choices::{TestRequest, settings_of};
use super::*;
use crate::broker::{AttemptHistory, NextTarget};

const SEEDS: u64 = 400;
const STEPS: usize = 60;

/// What happens next to some router.
fn step(dice: &mut SmallRng, harness: &mut Harness, step: usize, millis: u64) {
    let served = router(dice.random_range(0..8));
    match dice.random_range(0..10) {
        0..=6 => {
            let (status, id) = ([429, 429, 503, 500, 200][dice.random_range(0..5)], format!("A_1_1_{step}"));
            let wait = Duration::from_millis([300, 2_000, 20_000, 90_000][dice.random_range(0..4)]);
            let retry_after = dice.random_bool(0.7).then_some(RetryAfter::Delay(wait));
            harness
                .learn(&TestObservation { retry_after, ..log(&served, status, &id, millis, millis + 1) }, at(millis));
        }
        7 | 8 => {
            let until = dice.random_bool(0.6).then(|| at(millis + dice.random_range(1..60_000)));
            command(harness, Command::Drain(path(&served)), until, millis);
        }
        _ => command(harness, Command::Resume(path(&served)), None, millis),
    }
}

fn command(harness: &mut Harness, command: Command, until: Option<BrokerTime>, millis: u64) {
    let given = OperatorCommand { command, until, by: String::new(), reason: String::new() };
    harness.broker.apply(BrokerInput::Command(&given), at(millis));
}

/// Where this request may go at this moment.
fn next(broker: &Broker, request: &TestRequest, history: &AttemptHistory, now: BrokerTime) -> NextTarget {
    let (mut broker, mut history) = (broker.clone(), history.clone());
    broker.apply(BrokerInput::Tick, now);
    broker.next_target(request, &mut history, &mut SmallRng::seed_from_u64(1))
}

#[test]
fn a_request_that_finds_no_target_knows_when_it_will() {
    let (mut outages, mut of_a_part, mut endless) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut dice = SmallRng::seed_from_u64(seed);
        let mut harness = Harness::of(settings_of(&mut dice, seed.is_multiple_of(2)));
        let mut millis = 0;
        for number in 0..STEPS {
            millis += dice.random_range(0..2_000);
            step(&mut dice, &mut harness, number, millis);
            harness.tick(at(millis));
            let asked = serde_json::json!({"model": format!("m{}", dice.random_range(0..5)), "user": "u"});
            let (request, mut history) = (TestRequest(asked), AttemptHistory::default());
            for _ in 0..dice.random_range(0..3) {
                history.note(RouterId(dice.random_range(0..4)), dice.random_bool(0.5));
            }
            let NextTarget::None { why, unavailability } = next(&harness.broker, &request, &history, at(millis)) else {
                continue;
            };
            let until = unavailability.until;
            let what = format!("seed {seed}, step {number}: {why:?}, {unavailability:?}");
            let found = |now| !matches!(next(&harness.broker, &request, &history, now), NextTarget::None { .. });
            outages += 1;
            of_a_part += u32::from(matches!(why, Pass::NoMatchingTarget(..)));
            let Some(until) = until else {
                endless += 1;
                assert!(!found(at(millis + 86_400_000)), "{what}");
                continue;
            };
            assert!(until > at(millis) && found(until), "{what}");
            // Under the other modes a disabled router may be asked before its time.
            let is_kept = harness.broker.pools()[0].when_all_disabled() == WhenAllDisabled::Pass;
            assert!(!is_kept || !found(BrokerTime::from_nanos(until.as_nanos() - 1)), "{what}");
        }
    }
    assert!(outages > 2_000 && of_a_part > 300 && endless > 300, "{outages} {of_a_part} {endless}");
}
