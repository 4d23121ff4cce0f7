//! A replica that starts, and operators' orders: where calls go then, whatever else happens.

use proptest::prelude::*;

use super::invariants_prop::{Play, Step, any_settings, step};
use super::*;

const COOLDOWN: u64 = 600;

fn seconds(seconds: u64) -> BrokerTime {
    at(seconds * 1_000)
}

fn out(place: usize, until: Option<BrokerTime>) -> ImportedRouter {
    ImportedRouter { router: path(&router(place)), until, cause: Cause::Answered(500) }
}

fn given(command: Command, until: Option<BrokerTime>) -> OperatorCommand {
    OperatorCommand { command, until, by: "test".to_owned(), reason: String::new() }
}

fn import_states(harness: &mut Harness, takeover: &ImportedState, now: BrokerTime) {
    harness.emitted.extend(harness.broker.apply(BrokerInput::Imported(takeover), now).changes);
    assert_eq!(invariants::broken(&harness.broker), None);
}

fn order(harness: &mut Harness, command: Command, until: Option<BrokerTime>, now: BrokerTime) {
    harness.emitted.extend(harness.broker.apply(BrokerInput::Command(&given(command, until)), now).changes);
    assert_eq!(invariants::broken(&harness.broker), None);
}

/// How many of a hundred calls each router gets.
fn calls(harness: &mut Harness, routers: usize, now: BrokerTime) -> Vec<usize> {
    let chosen: Vec<_> = (0..100).map(|_| harness.choose(now)).collect();
    (0..routers).map(|place| chosen.iter().filter(|to| **to == Some(router(place))).count()).collect()
}

#[test]
fn a_router_that_is_taken_over_as_out_gets_no_call_until_its_probation() {
    for proved in [true, false] {
        let mut harness = Harness::new(3);
        let takeover = ImportedState { routers: vec![out(0, Some(seconds(100)))], proved, ..ImportedState::default() };
        import_states(&mut harness, &takeover, START);
        assert_eq!(calls(&mut harness, 3, seconds(99))[0], 0);
        assert_eq!(harness.broker.next_deadline(), Some(seconds(100)));
        assert_eq!(calls(&mut harness, 3, seconds(100))[0], 1, "on probation, one at a time");
    }
}

#[test]
fn a_router_that_is_taken_over_on_probation_gets_one_call_and_returns_by_it() {
    let mut harness = Harness::new(3);
    import_states(&mut harness, &ImportedState { routers: vec![out(0, None)], ..ImportedState::default() }, START);
    let probe = loop {
        match harness.decide(START) {
            Decision::Route(route) if route.kind == RouteKind::Probe => break route,
            _ => {}
        }
    };
    assert_eq!(calls(&mut harness, 3, START)[0], 0, "the probe is in progress");
    let served = router(0);
    let log = log(&served, 200, "A_1_1_0", 0, 5);
    harness.learn(
        &TestObservation { stamped_path: Some(&served), probe: true, decision: Some(probe.number), ..log },
        seconds(1),
    );
    assert!(calls(&mut harness, 3, seconds(1))[0] > 10);
}

#[test]
fn what_is_not_proved_lasts_no_longer_than_the_routers_own_cooldown_and_gives_no_order() {
    let far = seconds(30 * 86_400);
    let drain = ImportedOverride { given: given(Command::Drain(path(&router(1))), None), since: START };
    for (proved, until, drained) in [(false, seconds(COOLDOWN), false), (true, far, true)] {
        let mut harness = Harness::new(3);
        let routers = vec![out(0, Some(far))];
        import_states(&mut harness, &ImportedState { routers, orders: vec![drain.clone()], proved }, START);
        assert_eq!(harness.until(0), Some(until), "proved: {proved}");
        assert_eq!(calls(&mut harness, 3, seconds(1))[1] == 0, drained, "proved: {proved}");
    }
}

#[test]
fn a_router_that_is_never_taken_out_is_not_taken_over_as_out_unless_an_operator_said_so() {
    for (proved, cause, gets_calls) in
        [(true, Cause::Answered(500), true), (false, Cause::Operator, true), (true, Cause::Operator, false)]
    {
        let mut settings = settings(2);
        settings.defaults.health.disabled_time = Duration::ZERO;
        let mut harness = Harness::of(settings);
        let routers = vec![ImportedRouter { cause, ..out(0, Some(seconds(100))) }];
        import_states(&mut harness, &ImportedState { routers, proved, ..ImportedState::default() }, START);
        assert_eq!(calls(&mut harness, 2, START)[0] > 0, gets_calls, "{cause}, proved: {proved}");
    }
}

#[test]
fn what_this_replica_learnt_or_was_ordered_meanwhile_is_newer() {
    let everything = ImportedState {
        routers: (0..3).map(|place| out(place, Some(seconds(60)))).collect(),
        orders: vec![ImportedOverride { given: given(Command::Drain(path(&router(3))), None), since: START }],
        proved: true,
    };
    let mut harness = Harness::new(5);
    harness.learn(&message(&router(0), 500, "A_1_1_0"), START);
    order(&mut harness, Command::Enable(path(&router(1))), None, START);
    order(&mut harness, Command::Resume(path(&router(3))), None, START);
    import_states(&mut harness, &everything, START);
    assert_eq!(harness.until(0), Some(seconds(COOLDOWN)), "out for longer already");
    let calls = calls(&mut harness, 5, seconds(1));
    assert!(calls[1] > 0 && calls[3] > 0, "enabled and resumed here since: {calls:?}");
    assert_eq!((calls[0], calls[2]), (0, 0));
    // An operator's time that is longer than what was learnt here.
    let longer =
        ImportedState { routers: vec![out(0, Some(seconds(3_600)))], proved: true, ..ImportedState::default() };
    import_states(&mut harness, &longer, seconds(2));
    assert_eq!(harness.until(0), Some(seconds(3_600)));
}

#[test]
fn a_router_that_an_operator_enabled_is_taken_out_by_its_next_failure() {
    for taken_over in [true, false] {
        let mut harness = Harness::new(2);
        if taken_over {
            import_states(
                &mut harness,
                &ImportedState { routers: vec![out(0, Some(seconds(60)))], ..ImportedState::default() },
                START,
            );
        } else {
            order(&mut harness, Command::Disable(path(&router(0))), Some(seconds(60)), START);
        }
        order(&mut harness, Command::Enable(path(&router(0))), None, seconds(1));
        assert!(calls(&mut harness, 2, seconds(1))[0] > 0);
        harness.learn(&log(&router(0), 500, "A_1_1_0", 0, 5), seconds(2));
        assert_eq!(calls(&mut harness, 2, seconds(2))[0], 0);
    }
}

#[test]
fn many_orders_are_taken_over_in_one_step() {
    const MANY: usize = 600;
    let mut harness = Harness::new(MANY);
    let drain = |place| ImportedOverride { given: given(Command::Drain(path(&router(place))), None), since: START };
    let weigh = |place| {
        let (pool, router) = (path(INGRESS), path(&router(place)));
        ImportedOverride { given: given(Command::SetWeight { pool, router, weight: Some(0.0) }, None), since: START }
    };
    let orders = (0..MANY - 300).map(drain).chain((MANY - 300..MANY - 1).map(weigh)).collect();
    let routers = (0..MANY - 1).map(|place| out(place, Some(seconds(60)))).collect();
    import_states(&mut harness, &ImportedState { routers, orders, proved: true }, START);
    assert_eq!(harness.choose(seconds(1)), Some(router(MANY - 1)));
}

/// One thing that may happen, orders and takeovers among them.
#[derive(Debug, Clone)]
enum Happening {
    Step(Step),
    Decide,
    NextTarget,
    Abandon,
    Candidates(Command, Option<u64>),
    TakeOver(Vec<(usize, Option<u64>)>, Vec<(Command, Option<u64>)>, bool),
}

fn command() -> impl Strategy<Value = Command> {
    let place = || (0_usize..5).prop_map(|place| path(&router(place)));
    let weight = prop::option::of(prop_oneof![Just(0.0), Just(1.0), Just(7.0)]);
    prop_oneof![
        place().prop_map(Command::Drain),
        place().prop_map(Command::Resume),
        place().prop_map(Command::Disable),
        place().prop_map(Command::Enable),
        (place(), weight).prop_map(|(router, weight)| Command::SetWeight { pool: path(INGRESS), router, weight }),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let time = || prop::option::of(0_u64..900_000);
    let out = prop::collection::vec((0_usize..5, time()), 0..4);
    let orders = prop::collection::vec((command(), time()), 0..3);
    prop_oneof![
        6 => step().prop_filter_map("decided apart", |step| (!matches!(step, Step::Decide)).then_some(Happening::Step(step))),
        6 => Just(Happening::Decide),
        1 => Just(Happening::NextTarget),
        1 => Just(Happening::Abandon),
        2 => (command(), time()).prop_map(|(command, until)| Happening::Candidates(command, until)),
        1 => (out, orders, any::<bool>()).prop_map(|(out, orders, proved)| Happening::TakeOver(out, orders, proved)),
    ]
}

/// Fails if a router was chosen that may not serve, except where the choice says why.
fn assert_may_be_chosen(broker: &Broker, route: &Route, now: BrokerTime) {
    let router = broker.path(route.router()).unwrap();
    let shown = broker.router_statuses(0..9, now).into_iter().find(|shown| shown.router == *router).unwrap();
    assert_eq!(shown.drained, None, "{router} is drained");
    let expected = match route.kind {
        RouteKind::Normal => PublicState::Enabled,
        RouteKind::Probe | RouteKind::LastResort => PublicState::Probation,
        RouteKind::Panic => PublicState::Disabled,
    };
    assert_eq!(shown.state, expected, "{router}, {:?}", route.kind);
}

fn happen(play: &mut Play<'_>, last: &mut Option<Route>, happening: &Happening) {
    let now = play.now;
    let after = |millis: &Option<u64>| millis.map(|millis| now.after(Duration::from_millis(millis)));
    match happening {
        Happening::Step(step) => play.take(step),
        Happening::Decide => {
            let Harness { broker, rng, emitted, .. } = &mut play.harness;
            let decision = broker.select(&INGRESS, now, rng);
            if let Decision::Route(route) = &decision {
                assert_may_be_chosen(broker, route, now);
                *last = Some(route.clone());
                if route.kind.decides_recovery() {
                    play.probe = Some((route.number, broker.path(route.router()).unwrap().to_string()));
                }
            }
            broker.commit(&decision, now);
            emitted.extend(broker.take_changes());
        }
        Happening::NextTarget => {
            let Harness { broker, rng, emitted, .. } = &mut play.harness;
            broker.advance_clock(now);
            if let NextTarget::Untried(route) | NextTarget::Retry(route) =
                broker.next_target(&INGRESS, &mut AttemptHistory::default(), rng)
            {
                assert_may_be_chosen(broker, &route, now);
                broker.commit_route(&route, now);
                emitted.extend(broker.take_changes());
                *last = Some(route);
            }
        }
        Happening::Abandon => {
            if let Some(route) = last.take() {
                play.harness.broker.apply(BrokerInput::Abandoned { route: &route, was_sent: false }, now);
            }
        }
        Happening::Candidates(command, until) => order(&mut play.harness, command.clone(), after(until), now),
        Happening::TakeOver(routers, orders, proved) => {
            let routers = routers.iter().map(|(place, until)| out(*place, after(until))).collect();
            let order = |(command, until): &(Command, Option<u64>)| ImportedOverride {
                given: given(command.clone(), after(until)),
                since: now,
            };
            let orders = orders.iter().map(order).collect();
            import_states(&mut play.harness, &ImportedState { routers, orders, proved: *proved }, now);
        }
    }
}

proptest! {
    #[test]
    fn a_router_that_may_not_serve_is_chosen_only_where_the_choice_says_so(
        settings in any_settings(),
        happenings in prop::collection::vec(happening(), 0..120)
    ) {
        let harness = Harness::of(settings.clone());
        let (mut play, mut last) = (Play { harness, settings: &settings, now: START, probe: None }, None);
        for happening in &happenings {
            happen(&mut play, &mut last, happening);
            prop_assert_eq!(invariants::broken(&play.harness.broker), None, "after {:?}", happening);
        }
    }
}
