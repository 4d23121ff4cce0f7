//! The same seeds choose the same routers as when this was recorded (`recorded_choices.txt`): over trees of all policies, while
//! routers fail, cool down, are probed, are drained and are over their limits, by single choices and by requests that are
//! sent more than once.

use rand::RngExt as _;

use super::*;
use crate::load::rate_limit::RateLimit;
use crate::strategy::{Condition, Field, Query, Test};

const TREES: u64 = 160;
const STEPS: usize = 400;

/// A request for a model, of a user.
pub(super) struct TestRequest(pub(super) serde_json::Value);

impl Request for TestRequest {
    fn path(&self) -> &str {
        INGRESS
    }

    fn param(&self, names: &[String]) -> Option<types::request::FieldValue> {
        names.iter().try_fold(&self.0, |value, name| value.get(name)).cloned().map(types::request::FieldValue::Value)
    }
}

/// `turns`: with round robins, whose turns in the tiers beyond the first are another matter.
fn policy(dice: &mut SmallRng, children: u16, turns: bool) -> Policy {
    let model = || Field::parse("params.model").unwrap();
    match dice.random_range(0..9) {
        0 | 1 => Policy::LoadBalance,
        2 if turns => Policy::RoundRobin,
        2 => Policy::LoadBalance,
        3 => Policy::Fallback,
        4 => Policy::Fastest,
        5 => Policy::LeastBusy,
        6 => Policy::Sticky(Field::parse("params.user").unwrap()),
        _ => {
            let condition = |number: u16| Condition {
                query: Query::Field(model(), vec![Test::Eq(serde_json::json!(format!("m{number}")))]),
                then: number % children,
            };
            let default = dice.random_bool(0.7).then(|| dice.random_range(0..children));
            Policy::Conditional { conditions: (0..dice.random_range(1..4)).map(condition).collect(), default }
        }
    }
}

fn target(dice: &mut SmallRng, depth: u32, turns: bool) -> Target {
    let leaf = depth == 0 || (depth < 3 && dice.random_bool(0.6));
    let kind = if leaf {
        TargetKind::Router(path(&router(dice.random_range(0..8))))
    } else {
        let children = dice.random_range(1..5_u16);
        let policy = policy(dice, children, turns);
        TargetKind::Branch { policy, targets: (0..children).map(|_| target(dice, depth - 1, turns)).collect() }
    };
    let weight = [1.0, 1.0, 1.0, 2.0, 0.5, 0.0][dice.random_range(0..6)];
    Target { weight, drained: dice.random_bool(0.03), ..Target::plain(kind) }
}

pub(super) fn settings_of(dice: &mut SmallRng, turns: bool) -> BrokerSettings {
    let mut settings = settings(0);
    let when_all_disabled =
        [WhenAllDisabled::Pass, WhenAllDisabled::Soonest, WhenAllDisabled::Any][dice.random_range(0..3)];
    let when_all_disabled = if turns { WhenAllDisabled::Pass } else { when_all_disabled };
    let root = Target { drained: false, ..target(dice, 3, turns) };
    settings.pools = vec![PoolSettings { when_all_disabled, ..pool(root) }];
    settings.defaults.health.disabled_time = Duration::from_secs(20);
    settings.defaults.health.probe.concurrency = if turns { 100 } else { dice.random_range(1..3) };
    settings.defaults.health.slow_start = Duration::from_secs(if dice.random_bool(0.3) { 10 } else { 0 });
    if dice.random_bool(0.4) {
        settings.defaults.rate_limit = Some(RateLimit { rpm: Some(dice.random_range(1..40)), tpm: None });
    }
    settings
}

/// What was chosen: the kind by a letter, the router by its number.
fn note(said: &mut String, route: &Route) {
    let kind = match route.kind {
        RouteKind::Normal => ' ',
        RouteKind::Probe => 'p',
        RouteKind::LastResort => 'l',
        RouteKind::Panic => 'd',
    };
    let limit = match route.reservation.limit {
        LimitVerdict::Within => "",
        LimitVerdict::Diverted(..) => "<",
        LimitVerdict::Exceeded(_) => "!",
    };
    said.push_str(&format!("{kind}{}{limit}", route.router().0));
}

fn play(seed: u64) -> String {
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut harness = Harness::of(settings_of(&mut dice, seed.is_multiple_of(2)));
    let (mut said, mut millis, mut sent) = (String::new(), 0, Vec::new());
    for step in 0..STEPS {
        let asked = serde_json::json!({
            "model": format!("m{}", dice.random_range(0..5)), "user": format!("u{}", dice.random_range(0..9)),
        });
        match dice.random_range(0..10) {
            0..=3 => match decide(&mut harness.broker, &TestRequest(asked), at(millis), &mut harness.rng).0 {
                Decision::Route(route) => {
                    note(&mut said, &route);
                    sent.push(route);
                }
                Decision::Pass(Pass::AllDisabled(_)) => said.push_str(" -"),
                Decision::Pass(_) => said.push_str(" ?"),
            },
            4 => {
                harness.broker.advance_clock(at(millis));
                let mut history = AttemptHistory::default();
                said.push_str(" (");
                for _ in 0..dice.random_range(1..5) {
                    match harness.broker.next_target(&TestRequest(asked.clone()), &mut history, &mut harness.rng) {
                        NextTarget::Untried(route) | NextTarget::Retry(route) => {
                            note(&mut said, &route);
                            history.note(route.router(), dice.random_bool(0.5));
                            harness.broker.commit_route(&route, at(millis));
                            if dice.random_bool(0.3) && harness.broker.limits.is_none() {
                                harness
                                    .broker
                                    .apply(BrokerInput::Abandoned { route: &route, was_sent: false }, at(millis));
                            } else {
                                sent.push(route);
                            }
                        }
                        NextTarget::None { .. } => said.push_str(" -"),
                    }
                }
                said.push(')');
            }
            5..=7 if !sent.is_empty() => {
                let route = sent.swap_remove(dice.random_range(0..sent.len()));
                let served = harness.broker.path(route.router()).unwrap().to_string();
                let (status, id) = ([200, 200, 500, 429, 400][dice.random_range(0..5)], format!("A_1_1_{step}"));
                let latency = Some(Duration::from_millis(dice.random_range(50..5_000)));
                let source = if route.relayed { Source::Attempt } else { Source::Log };
                let report = TestObservation {
                    source,
                    decision: Some(route.number),
                    probe: route.kind.decides_recovery(),
                    stamped_path: Some(&served),
                    sent_at: route.relayed.then(|| at(millis)),
                    latency,
                    ..log(&served, status, &id, millis, millis + 1)
                };
                report.apply(&mut harness.broker, at(millis));
            }
            _ => millis += dice.random_range(0..4_000),
        }
    }
    said
}

#[test]
fn the_same_seeds_choose_the_same_routers() {
    let table: String = (0..TREES)
        .map(|seed| {
            let said = play(seed);
            let begin: String = said.chars().take(90).collect();
            format!("{seed} {:016x}{begin}\n", crate::strategy::hash(&said))
        })
        .collect();
    let recorded = include_str!("recorded_choices.txt");
    let differ: Vec<_> = table.lines().zip(recorded.lines()).filter(|(now, then)| now != then).collect();
    assert!(table == recorded, "{} of {TREES} differ: {differ:#?}", differ.len());
}
