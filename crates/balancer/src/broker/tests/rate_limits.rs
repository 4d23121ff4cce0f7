//! Rate limits: which router is passed over for which, in which mode, and what is said of it; on a stopped clock.

use proptest::prelude::*;

use super::*;
use crate::load::rate_limit::{LimitExceeded, RateLimit};
use crate::strategy::{Condition, Field, Query, Test};
use types::outcome::{QuotaRemaining, RateLimitHeaders};
use types::request::RequestSize;

/// A request of this many bytes that allows an answer of this many tokens.
struct Sized(usize, u64);

impl Request for Sized {
    fn path(&self) -> &str {
        INGRESS
    }

    fn size(&self) -> RequestSize {
        RequestSize { bytes: self.0, max_output_tokens: Some(self.1) }
    }
}

const fn rpm(rpm: u32) -> Option<RateLimit> {
    Some(RateLimit { rpm: Some(rpm), tpm: None })
}

const fn tpm(tpm: u32) -> Option<RateLimit> {
    Some(RateLimit { rpm: None, tpm: Some(tpm) })
}

fn leaf(place: usize) -> Target {
    Target::plain(TargetKind::Router(path(&router(place))))
}

fn branch(policy: Policy, targets: Vec<Target>) -> Target {
    Target::plain(TargetKind::Branch { policy, targets })
}

/// One pool; the routers have these limits.
fn settings_of(root: Target, limits: &[Option<RateLimit>]) -> BrokerSettings {
    let mut settings = BrokerSettings { pools: vec![pool(root)], ..settings(0) };
    for (place, rate_limit) in limits.iter().enumerate() {
        let own = RouterSettings { rate_limit: *rate_limit, ..settings.defaults.clone() };
        settings.routers.insert(path(&router(place)), own);
    }
    settings
}

fn world_of(settings: &BrokerSettings) -> Harness {
    Harness::of(settings.clone())
}

fn harness(policy: Policy, limits: &[Option<RateLimit>]) -> Harness {
    let root = branch(policy, (0..limits.len()).map(leaf).collect());
    world_of(&settings_of(root, limits))
}

impl Harness {
    fn route(&mut self, request: &impl Request, millis: u64) -> Route {
        let (decision, _) = decide(&mut self.broker, request, at(millis), &mut self.rng);
        assert_eq!(invariants::broken(&self.broker), None);
        let Decision::Route(route) = decision else { panic!("no router") };
        route
    }
}

/// All modes that do not ask what the request says, and one that does.
pub(super) fn modes() -> Vec<Policy> {
    vec![
        Policy::LoadBalance,
        Policy::RoundRobin,
        Policy::Fallback,
        Policy::Fastest,
        Policy::LeastBusy,
        Policy::Sticky(Field::Path),
    ]
}

#[test]
fn a_router_over_its_limits_is_passed_over_in_every_mode() {
    for policy in modes() {
        let mut harness = harness(policy.clone(), &[rpm(3), None, rpm(4)]);
        let mut counts = [0; 3];
        for call in 0..60 {
            let route = harness.route(&INGRESS, call * 500);
            assert_eq!(route.chosen.p, None, "{policy:?}: not all of them are asked");
            assert!(!matches!(route.reservation.limit, LimitVerdict::Exceeded(_)), "{policy:?}");
            counts[usize::from(route.router().0)] += 1;
        }
        assert!(counts[0] <= 3 && counts[2] <= 4 && counts[1] >= 53, "{policy:?}: {counts:?}");
        if !matches!(policy, Policy::Sticky(_)) {
            assert_eq!(counts[0], 3, "{policy:?}: {counts:?}");
        }
    }
}

#[test]
fn a_router_over_its_limits_is_owed_nothing_in_a_round_robin() {
    let mut harness = harness(Policy::RoundRobin, &[rpm(20), None, None]);
    for call in 0..1_000 {
        harness.route(&INGRESS, call * 50);
    }
    let names: Vec<_> = (0..30).map(|call| harness.route(&INGRESS, 70_000 + call).router().0).collect();
    assert!(names.windows(2).all(|two| two[0] != two[1]), "in turn, and no row of one: {names:?}");
    assert_eq!(names.iter().filter(|place| **place == 0).count(), 10);
}

#[test]
fn nested_branches_and_conditions_are_respected() {
    let deep = branch(Policy::Fallback, vec![leaf(0), leaf(1)]);
    let settings = settings_of(branch(Policy::Fallback, vec![deep, leaf(2)]), &[rpm(1), rpm(1), rpm(1)]);
    let mut harness = world_of(&settings);
    let names: Vec<_> = (0..4).filter_map(|call| harness.choose(at(call))).collect();
    assert_eq!(names, [0, 1, 2, 0].map(router), "branch by branch, and then as without budgets");
    let query = Query::Field(Field::Path, vec![Test::Eq(INGRESS.into())]);
    let conditions = vec![Condition { query, then: 0 }].into();
    let policy = Policy::Conditional { conditions, default: Some(1) };
    let mut harness = world_of(&settings_of(branch(policy, vec![leaf(0), leaf(1)]), &[rpm(1), None]));
    harness.route(&INGRESS, 0);
    let route = harness.route(&INGRESS, 1);
    assert_eq!(
        (route.router(), route.reservation.limit),
        (RouterId(0), LimitVerdict::Exceeded(LimitExceeded::Rpm)),
        "it is meant for no other"
    );
}

#[test]
fn where_all_are_over_their_limits_a_request_goes_where_it_would_without_budgets() {
    let full = [rpm(1), rpm(1)];
    let mut harness = harness(Policy::Fallback, &full);
    assert_eq!(harness.route(&INGRESS, 0).reservation.limit, LimitVerdict::Within);
    assert_eq!(harness.route(&INGRESS, 1).reservation.limit, LimitVerdict::Diverted(RouterId(0), LimitExceeded::Rpm));
    for call in 2..9 {
        let route = harness.route(&INGRESS, call);
        assert_eq!(
            (route.router(), route.reservation.limit),
            (RouterId(0), LimitVerdict::Exceeded(LimitExceeded::Rpm))
        );
    }
    assert_eq!(harness.route(&INGRESS, 62_000).reservation.limit, LimitVerdict::Within);
}

#[test]
fn tokens_are_estimated_and_corrected_by_the_log() {
    let mut harness = harness(Policy::Fallback, &[tpm(1_000), None]);
    let request = Sized(400, 500);
    let first = harness.route(&request, 0);
    assert_eq!((first.router(), first.reservation.tokens), (RouterId(0), 600));
    assert_eq!(harness.route(&request, 1).router(), RouterId(1), "600 more are too many");
    assert_eq!(harness.route(&Sized(400, 300), 2).router(), RouterId(0), "400 are not");
    assert_eq!(harness.route(&request, 3).reservation.limit, LimitVerdict::Diverted(RouterId(0), LimitExceeded::Tpm));
    let served = router(0);
    let call =
        TestObservation { decision: Some(first.number), total_tokens: Some(17), ..log(&served, 200, "A_1_1_0", 0, 5) };
    harness.learn(&TestObservation { stamped_path: Some(&served), stamp_id: Some("x-0"), ..call }, at(10));
    assert_eq!(harness.route(&Sized(400, 483), 11).router(), RouterId(0), "417 are used now");
    assert_eq!(harness.route(&Sized(0, 1), 12).router(), RouterId(1));
}

#[test]
fn an_error_used_a_request_and_no_tokens() {
    let mut harness = harness(Policy::Fallback, &[Some(RateLimit { rpm: Some(2), tpm: Some(1_000) }), None]);
    let (request, served) = (Sized(0, 1_000), router(0));
    for (status, exceeded) in [(400, None), (413, Some(LimitExceeded::Rpm))] {
        let route = harness.route(&request, status);
        let id = format!("A_{status}_1_0");
        let log = log(&served, u16::try_from(status).unwrap(), &id, status, status + 1);
        harness.learn(&TestObservation { decision: Some(route.number), stamp_id: Some("x"), ..log }, at(status + 1));
        assert_eq!(harness.broker.limits.as_ref().unwrap().exceeded(RouterId(0), 1_000), exceeded, "{status}");
    }
}

#[test]
fn another_replicas_calls_count_once_and_what_the_upstream_says_holds() {
    let mut harness = harness(Policy::Fallback, &[Some(RateLimit { rpm: Some(2), tpm: None }), None]);
    let served = router(0);
    let theirs = TestObservation {
        stamped_path: Some(&served),
        stamp_id: Some("other-0"),
        ..log(&served, 200, "A_1_1_0", 0, 5)
    };
    harness.learn(&theirs, at(0));
    assert_eq!(harness.learn(&theirs, at(1)), Some(IgnoreReason::Duplicate));
    assert_eq!(harness.route(&INGRESS, 2).router(), RouterId(0));
    assert_eq!(harness.route(&INGRESS, 3).router(), RouterId(1));
    // A client that named the router itself, and one that is unknown.
    let direct = TestObservation { ingress: Some(&served), ..log(&served, 200, "B_1_1_0", 62_000, 62_005) };
    harness.learn(&direct, at(62_000));
    harness.learn(&log(&served, 200, "C_1_1_0", 62_000, 62_005), at(62_001));
    assert_eq!(harness.route(&INGRESS, 62_002).router(), RouterId(0));
    assert_eq!(harness.route(&INGRESS, 62_003).router(), RouterId(1));
    let left = QuotaRemaining { amount: 0, reset: Duration::from_secs(20) };
    let remaining = RateLimitHeaders { requests: Some(left), tokens: None };
    harness.learn(&TestObservation { quota: remaining, ..log(&served, 200, "D_1_1_0", 130_000, 130_005) }, at(130_000));
    assert_eq!(
        harness.route(&INGRESS, 130_001).reservation.limit,
        LimitVerdict::Diverted(RouterId(0), LimitExceeded::Requests)
    );
    assert_eq!(harness.route(&INGRESS, 150_001).reservation.limit, LimitVerdict::Within);
}

#[test]
fn it_is_said_who_had_no_room_and_for_what() {
    let mut harness = harness(Policy::Fallback, &[rpm(1), rpm(1), None]);
    let routes: Vec<_> = (0..3).map(|call| harness.route(&INGRESS, call)).collect();
    let reason = harness.broker.description(routes[2].pool).unwrap().reason(&routes[2]).to_string();
    assert_eq!(reason, "first in order, 3 of 3 serve; instead of /azure/r0/, no room: rpm");
    assert_eq!(routes[2].chosen.p, None);
    let emitted = harness.broker.explain(&Decision::Route(routes[2].clone()));
    assert!(emitted.contains("instead of /azure/r0/, no room: rpm; not /azure/r1/ (no room: rpm)"), "{emitted}");
    let mut harness = self::harness(Policy::Fallback, &[rpm(1)]);
    harness.route(&INGRESS, 0);
    let route = harness.route(&INGRESS, 1);
    let emitted = harness.broker.explain(&Decision::Route(route));
    assert!(emitted.ends_with("; no room anywhere: rpm"), "{emitted}");
}

#[test]
fn a_call_that_is_diverted_to_a_router_on_probation_says_what_is_wrong_with_it() {
    let mut harness = harness(Policy::Fallback, &[rpm(1), None]);
    let failed = log("/azure/r1/", 500, "D_1_1_0", 0, 5);
    harness.learn(&failed, at(10));
    let minute_11 = 11 * 60_000;
    harness.route(&INGRESS, minute_11);
    let route = harness.route(&INGRESS, minute_11 + 1);
    let reason = harness.broker.description(route.pool).unwrap().reason(&route).to_string();
    let expected = "first in order, 2 of 2 serve; instead of /azure/r0/, no room: rpm; on probation (answered 500)";
    assert_eq!((route.kind, reason.as_str()), (RouteKind::Probe, expected));
}

#[test]
fn only_tokens_need_the_body_and_a_reload_keeps_what_is_known() {
    let needs = |rate_limit| {
        let mut harness = harness(Policy::LoadBalance, &[None, rate_limit]);
        let Decision::Route(route) = harness.decide(at(0)) else { panic!("no router") };
        harness.broker.description(route.pool).unwrap().needs().body
    };
    assert_eq!([None, rpm(5), Some(RateLimit::default()), tpm(5)].map(needs), [false, false, false, true]);
    let mut harness = harness(Policy::Fallback, &[rpm(2), None]);
    harness.route(&INGRESS, 0);
    let root = branch(Policy::Fallback, vec![leaf(1), leaf(0)]);
    let settings = settings_of(root, &[rpm(1), rpm(1)]);
    harness.broker.apply(BrokerInput::Configured(&settings), at(1));
    assert_eq!(harness.route(&INGRESS, 2).router(), RouterId(1));
    assert_eq!(
        harness.route(&INGRESS, 3).reservation.limit,
        LimitVerdict::Exceeded(LimitExceeded::Rpm),
        "the other one had its one already"
    );
    harness.broker.apply(BrokerInput::Configured(&settings_of(branch(Policy::Fallback, vec![leaf(0)]), &[])), at(4));
    assert!(harness.broker.limits.is_none());
}

#[test]
fn a_router_that_proves_itself_needs_room_too() {
    let mut harness = harness(Policy::Fallback, &[rpm(1), None]);
    harness.route(&INGRESS, 0);
    harness.learn(&log(&router(0), 500, "A_1_1_0", 0, 5), at(5));
    harness.tick(at(600_005));
    assert_eq!(harness.route(&INGRESS, 600_006).kind, RouteKind::Probe);
}

impl Harness {
    /// All that a request is sent to which everybody refuses, each once, and whether it was for want of anybody else.
    fn history(&mut self, request: &impl Request, millis: u64) -> Vec<Route> {
        let mut history = AttemptHistory::default();
        let mut routes = Vec::new();
        self.broker.advance_clock(at(millis));
        while let NextTarget::Untried(route) = self.broker.next_target(request, &mut history, &mut self.rng) {
            self.broker.commit_route(&route, at(millis));
            assert_eq!(invariants::broken(&self.broker), None);
            history.note(route.router(), false);
            routes.push(route);
            assert!(routes.len() <= 4, "no router is asked twice: {routes:?}");
        }
        routes
    }
}

fn places(routes: &[Route]) -> Vec<u16> {
    routes.iter().map(|route| route.router().0).collect()
}

#[test]
fn a_call_that_is_sent_on_goes_first_to_those_that_have_room() {
    let mut harness = harness(Policy::Fallback, &[rpm(1), None, rpm(1), rpm(2)]);
    assert_eq!(places(&harness.history(&INGRESS, 0)), [0, 1, 2, 3], "all have room");
    let routes = harness.history(&INGRESS, 1);
    assert_eq!(places(&routes), [1, 3, 0, 2], "and then in the order in which it would go without budgets");
    let rooms: Vec<_> = routes.iter().map(|route| route.reservation.limit).collect();
    let instead = LimitVerdict::Diverted(RouterId(0), LimitExceeded::Rpm);
    assert_eq!(
        rooms,
        [instead, instead, LimitVerdict::Exceeded(LimitExceeded::Rpm), LimitVerdict::Exceeded(LimitExceeded::Rpm)]
    );
    assert!(routes.iter().all(|route| route.chosen.p.is_none() && route.kind == RouteKind::Normal));
    assert_eq!(places(&harness.history(&INGRESS, 62_000)), [0, 1, 2, 3], "a minute later");
}

#[test]
fn a_call_that_is_sent_on_takes_the_tokens_of_each_attempt() {
    let mut harness = harness(Policy::Fallback, &[tpm(1_000), tpm(1_000)]);
    let request = Sized(400, 500);
    assert_eq!(
        harness.history(&request, 0).iter().map(|route| route.reservation.tokens).collect::<Vec<_>>(),
        [600, 600]
    );
    assert_eq!(harness.history(&request, 1)[0].reservation.limit, LimitVerdict::Exceeded(LimitExceeded::Tpm));
    assert_eq!(harness.history(&Sized(40, 10), 62_000)[0].reservation.limit, LimitVerdict::Within);
}

#[test]
fn who_is_asked_again_should_have_room_too() {
    let mut harness = harness(Policy::Fallback, &[rpm(1), rpm(5)]);
    let (mut history, mut offered) = (AttemptHistory::default(), Vec::new());
    for _ in 0..6 {
        let offer = harness.broker.next_target(&INGRESS, &mut history, &mut harness.rng);
        let (NextTarget::Untried(route) | NextTarget::Retry(route)) = offer else {
            panic!("a limit never costs an answer")
        };
        harness.broker.commit_route(&route, at(0));
        history.note(route.router(), true);
        offered.push(route.router().0);
    }
    assert_eq!(offered, [0, 1, 1, 1, 1, 1]);
    let offer = harness.broker.next_target(&INGRESS, &mut history, &mut harness.rng);
    let NextTarget::Retry(route) = offer else { panic!("a limit never costs an answer") };
    assert_eq!((route.router(), route.reservation.limit), (RouterId(0), LimitVerdict::Exceeded(LimitExceeded::Rpm)));
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Decide(usize, u64),
    /// The log of the decision this many back.
    Log(usize, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_u64..20_000).prop_map(Step::Wait),
        6 => (0_usize..400, 0_u64..50).prop_map(|(bytes, longest)| Step::Decide(bytes, longest)),
        2 => (0_usize..5, 0_u64..200).prop_map(|(back, used)| Step::Log(back, used)),
    ];
    prop::collection::vec(step, 0..150)
}

fn any_budget() -> impl Strategy<Value = Option<RateLimit>> {
    let rate_limit = (prop::option::of(1_u32..6), prop::option::of(20_u32..300));
    prop::option::weighted(0.8, rate_limit.prop_map(|(rpm, tpm)| RateLimit { rpm, tpm }))
}

/// A call as a plain list knows it: when, where, its tokens as they are known.
type Call = (u64, usize, u64);

/// Whether a router's list had room, counting this long back.
fn had_room(calls: &[Call], place: usize, rate_limit: Option<RateLimit>, tokens: u64, now: u64, span: u64) -> bool {
    let Some(RateLimit { rpm, tpm }) = rate_limit else { return true };
    let those = || calls.iter().filter(move |(at, of, _)| *of == place && at + span > now);
    let used: u64 = those().map(|(_, _, tokens)| tokens).sum();
    rpm.is_none_or(|rpm| (those().count() as u64) < u64::from(rpm))
        && tpm.is_none_or(|tpm| used + tokens <= u64::from(tpm))
}

proptest! {
    /// The chosen router is within its limits in every sixty seconds, or none is, at most a second of rounding apart.
    #[test]
    fn no_router_gets_more_than_its_budget_while_another_has_room(
        policy in prop::sample::select(modes()),
        limits in prop::collection::vec(any_budget(), 4),
        steps in steps()
    ) {
        let root = branch(policy.clone(), vec![leaf(0), branch(policy, vec![leaf(1), leaf(2)]), leaf(3)]);
        let settings = settings_of(root, &limits);
        // Identities follow the tree, a level after the other.
        let of = |broker: &Broker, id: RouterId| (0..4).find(|place| broker.path(id).unwrap().as_str() == router(*place)).unwrap();
        let (mut harness, mut now) = (world_of(&settings), 0);
        let (mut calls, mut routes): (Vec<Call>, Vec<Route>) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Wait(millis) => now += millis,
                Step::Decide(bytes, longest) => {
                    let route = harness.route(&Sized(bytes, longest), now);
                    let (place, tokens) = (of(&harness.broker, route.router()), u64::from(route.reservation.tokens).max(1));
                    let room = |place: usize, span| had_room(&calls, place, limits[place], tokens, now, span);
                    if limits.iter().any(Option::is_some) {
                        prop_assert_eq!(route.chosen.p, None);
                    }
                    match route.reservation.limit {
                        LimitVerdict::Within => prop_assert!(room(place, 60_000)),
                        LimitVerdict::Diverted(first, _) => {
                            prop_assert!(room(place, 60_000) && !room(of(&harness.broker, first), 61_000));
                        }
                        LimitVerdict::Exceeded(_) => prop_assert!((0..4).all(|place| !room(place, 61_000))),
                    }
                    calls.push((now, place, u64::from(route.reservation.tokens)));
                    routes.push(route);
                }
                Step::Log(back, used) => {
                    let Some(number) = routes.len().checked_sub(back + 1) else { continue };
                    let (served, id) = (router(calls[number].1), format!("A_{number}_1_{used}"));
                    let decision = Some(routes[number].number);
                    let report = log(&served, 200, &id, now, now + 1);
                    harness.learn(&TestObservation { decision, stamp_id: Some("x"), stamped_path: Some(&served), total_tokens: Some(used), ..report }, at(now));
                    // The first log of a call counts, as long as its second does.
                    if routes[number].number != u64::MAX && calls[number].0 + 61_000 > now {
                        calls[number].2 = used;
                    }
                    routes[number].number = u64::MAX;
                }
            }
        }
    }

    /// Of those that were not tried, none without room comes before one that has it, and everybody comes once.
    #[test]
    fn a_call_that_is_sent_on_meets_everybody_once_and_those_with_room_first(
        policy in prop::sample::select(modes()),
        limits in prop::collection::vec(any_budget(), 4),
        requests in prop::collection::vec((0_usize..400, 0_u64..50, 0_u64..20_000), 1..20)
    ) {
        let root = branch(policy.clone(), vec![leaf(0), branch(policy, vec![leaf(1), leaf(2)]), leaf(3)]);
        let (mut harness, mut now) = (world_of(&settings_of(root, &limits)), 0);
        for (bytes, longest, wait) in requests {
            now += wait;
            harness.broker.advance_clock(at(now));
            let request = Sized(bytes, longest);
            let (mut history, mut untried) = (AttemptHistory::default(), (0..4).map(RouterId).collect::<Vec<_>>());
            while let NextTarget::Untried(route) = harness.broker.next_target(&request, &mut history, &mut harness.rng) {
                let tokens = request.size().estimated_tokens();
                let room = |id: &RouterId| harness.broker.limits.as_ref().is_none_or(|all| all.exceeded(*id, tokens).is_none());
                prop_assert!(room(&route.router()) || !untried.iter().any(room), "{:?} of {:?}", route, untried);
                prop_assert_eq!(matches!(route.reservation.limit, LimitVerdict::Exceeded(_)), !room(&route.router()));
                let before = untried.len();
                untried.retain(|other| *other != route.router());
                prop_assert_eq!(untried.len() + 1, before, "no router is asked twice");
                history.note(route.router(), false);
                harness.broker.commit_route(&route, at(now));
                prop_assert_eq!(invariants::broken(&harness.broker), None);
            }
            prop_assert!(untried.is_empty());
        }
    }

    /// Where a pool has no limits, those of others change nothing, to the probability.
    #[test]
    fn a_pool_without_budgets_is_as_it_was(policy in prop::sample::select(modes()), steps in steps()) {
        let pools = |rate_limit| {
            let mut settings = settings_of(branch(policy.clone(), (0..3).map(leaf).collect()), &[]);
            let other = PoolSettings { ingress: path("/other/"), ..pool(branch(Policy::LoadBalance, vec![leaf(3)])) };
            settings.pools.push(other);
            settings.routers.insert(path(&router(3)), RouterSettings { rate_limit, ..settings.defaults.clone() });
            world_of(&settings)
        };
        let (mut with, mut without, mut now) = (pools(tpm(5)), pools(None), 0);
        for step in steps {
            match step {
                Step::Wait(millis) | Step::Log(_, millis) => now += millis,
                Step::Decide(bytes, longest) => {
                    let request = Sized(bytes, longest);
                    prop_assert_eq!(with.route(&request, now), without.route(&request, now));
                }
            }
        }
    }
}
