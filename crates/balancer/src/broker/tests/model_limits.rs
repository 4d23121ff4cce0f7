//! Rate limits of single models: what rests for them, for how long, and what becomes of a model's calls; on a stopped clock.

use proptest::prelude::*;

use super::rate_limits::modes;
use super::*;
use crate::health::{HealthSettings, Preset};
use crate::load::model_limits::{MAX_MODEL_BYTES, MAX_MODELS, MAX_ROUTERS};
use crate::load::rate_limit::{LimitExceeded, RateLimit};
use types::outcome::{QuotaRemaining, RateLimitHeaders};
use types::request::Patch;

/// A request of the relay for a model.
#[derive(Debug, Clone, Default)]
struct For {
    model: &'static str,
    preferred: Option<RouterPath>,
    makes_nothing: bool,
}

impl Request for For {
    fn path(&self) -> &str {
        INGRESS
    }

    fn called_model(&self) -> Option<&str> {
        Some(self.model).filter(|model| !model.is_empty())
    }

    fn is_generation(&self) -> bool {
        !self.makes_nothing
    }

    fn preferred(&self) -> Option<&RouterPath> {
        self.preferred.as_ref()
    }
}

fn model(model: &'static str) -> For {
    For { model, ..For::default() }
}

fn with(policy: Policy, routers: usize, set: impl FnOnce(&mut BrokerSettings)) -> Harness {
    let mut settings = settings(routers);
    settings.defaults.health = Preset::Resilient.settings();
    settings.relayed = (0..routers).map(|place| path(&router(place))).collect();
    let Target { kind: TargetKind::Branch { targets, .. }, .. } = settings.pools[0].root.clone() else { panic!() };
    settings.pools[0].root = Target::plain(TargetKind::Branch { policy, targets });
    settings.pools[0].when_all_disabled = WhenAllDisabled::Soonest;
    set(&mut settings);
    Harness::of(settings)
}

fn harness(routers: usize) -> Harness {
    with(Policy::Fallback, routers, |_| ())
}

const fn seconds(seconds: u64) -> Option<RetryAfter> {
    Some(RetryAfter::Delay(Duration::from_secs(seconds)))
}

/// An attempt that is refused for the rate of this model.
fn refusal<'a>(served: &'a str, model: &'a str, wait: u64, now: u64) -> TestObservation<'a> {
    TestObservation {
        served_path: Some(served),
        status: Some(429),
        client_model: Some(model),
        retry_after: seconds(wait),
        sent_at: Some(at(now)),
        ..TestObservation::empty(Source::Attempt)
    }
}

impl Harness {
    fn refuse(&mut self, place: usize, model: &str, wait: u64, now: u64) {
        self.learn(&refusal(&router(place), model, wait, now), at(now));
    }

    fn next(&mut self, request: &For, history: &mut AttemptHistory, now: u64) -> NextTarget {
        self.broker.advance_clock(at(now));
        let next = self.broker.next_target(request, history, &mut self.rng);
        if let NextTarget::Untried(route) | NextTarget::Retry(route) = &next {
            self.broker.commit_route(route, at(now));
        }
        self.emitted.extend(self.broker.take_changes());
        assert_eq!(invariants::broken(&self.broker), None);
        next
    }

    /// Where a new call goes, if anywhere.
    fn goes(&mut self, request: &For, now: u64) -> Option<Route> {
        match self.next(request, &mut AttemptHistory::default(), now) {
            NextTarget::Untried(route) => Some(route),
            NextTarget::Retry(route) => panic!("nothing was tried: {route:?}"),
            NextTarget::None { .. } => None,
        }
    }

    fn place(&mut self, name: &'static str, now: u64) -> Option<u16> {
        self.goes(&model(name), now).map(|route| route.router().0)
    }

    fn reason(&self, route: &Route) -> String {
        self.broker.description(route.pool).unwrap().reason(route).to_string()
    }

    fn limited(&self) -> Vec<(String, String)> {
        let shown = self.broker.router_statuses(0..usize::MAX, START).into_iter();
        let of_router = |one: RouterStatus| {
            let name = one.router.to_string();
            one.rests_for.into_iter().map(move |resting| (name.clone(), resting.model.to_string()))
        };
        shown.flat_map(of_router).collect()
    }
}

#[test]
fn a_refused_model_goes_elsewhere_until_its_time_is_over_and_the_others_go_on() {
    for policy in modes() {
        let mut harness = with(policy.clone(), 2, |_| ());
        let first = harness.goes(&model("hot"), 0).unwrap();
        let place = usize::from(first.router().0);
        harness.refuse(place, "hot", 20, 0);
        assert_eq!((harness.out(), harness.stats(place).rate_limited), (Vec::new(), 1), "{policy:?}");
        let (mut hot, mut others) = ([0; 2], [0; 2]);
        for millis in (1..20_000).step_by(100) {
            let route = harness.goes(&model("hot"), millis).unwrap();
            hot[usize::from(route.router().0)] += 1;
            others[usize::from(harness.place("other", millis).unwrap())] += 1;
        }
        assert_eq!(hot[place], 0, "{policy:?}");
        assert!(others[place] > 0, "{policy:?}: {others:?}");
        let after: Vec<_> = (0..100).filter_map(|call| harness.place("hot", 20_000 + call)).collect();
        assert!(after.contains(&first.router().0), "{policy:?}: its time is over");
        assert_eq!(harness.limited(), []);
    }
}

#[test]
fn the_stamp_says_why_a_call_goes_elsewhere_and_only_that_calls() {
    let mut harness = harness(2);
    harness.refuse(0, "hot", 20, 0);
    let route = harness.goes(&model("hot"), 1).unwrap();
    assert_eq!(route.reservation.limit, LimitVerdict::Diverted(RouterId(0), LimitExceeded::Model(0)));
    let expected = "first in order, 2 of 2 serve; instead of /azure/r0/, no room: rate limit of the model";
    assert_eq!((harness.reason(&route).as_str(), route.kind, route.chosen.p), (expected, RouteKind::Normal, None));
    for other in [model("other"), model(""), For { makes_nothing: true, ..model("hot") }] {
        let route = harness.goes(&other, 2).unwrap();
        assert_eq!((route.router(), route.chosen.p), (RouterId(0), Some(1.0)), "{other:?}");
        assert_eq!(harness.reason(&route), "first in order, 2 of 2 serve");
    }
    let explained = harness.broker.explain(&Decision::Route(route));
    assert_eq!(explained.matches("/azure/r0/").count(), 1, "it is said once: {explained}");
    let other = harness.goes(&model("other"), 3).unwrap();
    let explained = harness.broker.explain(&Decision::Route(other));
    assert!(!explained.contains("rests"), "it is no matter of this model's: {explained}");
    harness.refuse(1, "hot", 20, 4);
    let NextTarget::None { why, .. } = harness.next(&model("hot"), &mut AttemptHistory::default(), 5) else { panic!() };
    let explained = harness.broker.explain(&Decision::Pass(why));
    assert!(explained.contains("; not /azure/r0/ (rests for one model until 2027-01-15T08:00:20Z)"), "{explained}");
    assert!(!explained.contains("hot"), "another client's model is no other's business: {explained}");
}

/// What is drawn for the one that rests goes to another, so how likely that one is hangs on who rests.
#[test]
fn the_stamp_says_no_probability_where_a_router_rests_for_the_model() {
    let mut harness = with(Policy::LoadBalance, 3, |_| ());
    harness.refuse(0, "hot", 20, 0);
    for call in 1..50 {
        assert_eq!(harness.goes(&model("hot"), call).unwrap().chosen.p, None);
        assert_eq!(harness.goes(&model("other"), call).unwrap().chosen.p, Some(1.0 / 3.0));
    }
    assert_eq!(harness.goes(&model("hot"), 20_001).unwrap().chosen.p, Some(1.0 / 3.0));
}

/// What the refusal says is left is that of the model too.
#[test]
fn what_is_left_for_one_model_is_not_what_is_left_for_others() {
    let mut harness =
        with(Policy::Fallback, 2, |settings| settings.defaults.rate_limit = Some(RateLimit { rpm: None, tpm: None }));
    let left = QuotaRemaining { amount: 0, reset: Duration::from_secs(60) };
    let quota = RateLimitHeaders { requests: Some(left), tokens: None };
    harness.learn(&TestObservation { quota, ..refusal("/azure/r0/", "hot", 60, 0) }, at(0));
    assert_eq!((harness.place("hot", 1), harness.place("other", 2)), (Some(1), Some(0)));
}

/// A long stream that began before the refusal.
#[test]
fn only_a_call_that_was_sent_after_the_refusal_shows_its_end() {
    let mut harness = harness(1);
    harness.refuse(0, "hot", 60, 10_000);
    let good = TestObservation { status: Some(200), retry_after: None, ..refusal("/azure/r0/", "hot", 0, 9_999) };
    harness.learn(&good, at(20_000));
    assert_eq!(harness.limited().len(), 1);
    harness.learn(&TestObservation { sent_at: Some(at(10_000)), ..good }, at(20_001));
    assert_eq!(harness.limited(), []);
}

#[test]
fn its_beginning_and_its_end_are_emitted_once_each() {
    let mut harness = harness(2);
    for now in [0, 500, 1_000] {
        harness.refuse(0, "hot", 20, now);
    }
    harness.tick(at(20_500));
    assert_eq!(harness.limited(), [(router(0), "hot".to_owned())], "the last refusal counts");
    assert_eq!(harness.broker.next_deadline().map(|due| due.since(START).as_millis()), Some(21_000));
    harness.tick(at(21_000));
    let change = |until| {
        let (router, model) = (path(&router(0)), "hot".into());
        BrokerEvent::ModelLimit(ModelLimitChange { router, model, until })
    };
    assert_eq!(harness.emitted, [change(Some(at(20_000))), change(None)]);
}

/// Two busy models take nothing from a third one.
#[test]
fn each_of_some_models_has_a_limit_of_its_own() {
    let mut harness = harness(2);
    harness.refuse(0, "one", 60, 0);
    harness.refuse(0, "two", 30, 1_000);
    assert_eq!((harness.out(), harness.limited().len()), (Vec::new(), 2));
    assert_eq!(["one", "two", "three"].map(|model| harness.place(model, 1_001)), [Some(1), Some(1), Some(0)]);
    harness.tick(at(31_000));
    assert_eq!(["one", "two", "three"].map(|model| harness.place(model, 31_001)), [Some(1), Some(0), Some(0)]);
    // A good answer ends the limit of its model alone.
    harness.refuse(0, "two", 30, 32_000);
    let good = TestObservation { status: Some(200), retry_after: None, ..refusal("/azure/r0/", "one", 0, 33_000) };
    harness.learn(&good, at(34_000));
    assert_eq!(harness.limited(), [(router(0), "two".to_owned())]);
}

/// The limit is the account's then.
#[test]
fn one_model_more_takes_the_whole_router_out() {
    let models: [&'static str; MAX_MODELS + 1] = ["one", "two", "three", "four", "five"];
    let mut harness = harness(2);
    for model in models {
        assert_eq!(harness.out(), Vec::<String>::new());
        harness.refuse(0, model, if model == "five" { 30 } else { 60 }, 0);
    }
    assert_eq!((harness.until(0), harness.limited().len()), (Some(at(30_000)), MAX_MODELS));
    assert_eq!(models.map(|model| harness.place(model, 1)), [Some(1); MAX_MODELS + 1]);
    // The times of the others are longer, and go on.
    harness.tick(at(30_000));
    assert_eq!((harness.place("one", 30_001), harness.place("five", 30_001)), (Some(1), Some(0)));
    // After their time there is room for others; and at other routers they are other limits.
    harness.tick(at(60_000));
    harness.refuse(1, "six", 60, 60_000);
    harness.refuse(0, "five", 60, 60_000);
    assert_eq!(["five", "six", "seven"].map(|model| harness.place(model, 60_001)), [Some(1), Some(0), Some(0)]);
}

#[test]
fn what_rests_the_whole_router_as_before() {
    let base = |harness: &mut Harness, report: TestObservation<'_>| {
        harness.learn(&report, at(0));
        (harness.out().len(), harness.limited().len())
    };
    let (served, long) = (router(0), "m".repeat(MAX_MODEL_BYTES + 1));
    let refused = refusal(&served, "hot", 20, 0);
    for (about, report, expected) in [
        ("a model of the client's", refused, (0, 1)),
        ("a longest name", TestObservation { client_model: Some(&long[1..]), ..refused }, (0, 1)),
        ("a time that is assumed", TestObservation { retry_after: None, ..refused }, (0, 1)),
        ("a model of the settings'", TestObservation { client_model: None, ..refused }, (1, 0)),
        ("a name that is too long", TestObservation { client_model: Some(&long), ..refused }, (1, 0)),
        ("no name", TestObservation { client_model: Some(""), ..refused }, (1, 0)),
        ("another error", TestObservation { status: Some(503), ..refused }, (1, 0)),
        ("the client's key", TestObservation { key: Some(SetBy::Client), ..refused }, (0, 0)),
        ("nothing to be made", TestObservation { makes_nothing: true, ..refused }, (0, 0)),
    ] {
        assert_eq!(base(&mut harness(2), report), expected, "{about}");
    }
    let short = TestObservation { retry_after: Some(RetryAfter::Delay(Duration::from_millis(900))), ..refused };
    let mut paused = harness(2);
    assert_eq!((base(&mut paused, short), paused.until(0)), ((0, 1), None), "a short time");
    paused.tick(at(900));
    assert_eq!(paused.limited(), []);
    let set = |change: fn(&mut HealthSettings)| {
        with(Policy::Fallback, 2, |settings| {
            settings.defaults.health = HealthSettings::default();
            change(&mut settings.defaults.health);
        })
    };
    let unnamed = TestObservation { retry_after: None, ..refused };
    assert_eq!(base(&mut set(|_| ()), unnamed), (1, 0), "no time, and none is assumed: a failure");
    assert_eq!(base(&mut set(|health| health.retry_after.honor = false), refused), (1, 0), "no time counts");
    assert_eq!(base(&mut set(|health| health.disabled_time = Duration::ZERO), refused), (0, 0), "never out");
    let mut of_gateway = with(Policy::Fallback, 2, |settings| settings.relayed.clear());
    assert_eq!(base(&mut of_gateway, refused), (1, 0), "a router of the gateway");
}

#[test]
fn a_router_that_is_out_is_not_out_for_one_model_too() {
    let mut harness = harness(2);
    let failed = TestObservation { client_model: None, ..refusal("/azure/r0/", "hot", 20, 0) };
    harness.learn(&failed, at(0));
    harness.refuse(0, "hot", 60, 1_000);
    assert_eq!((harness.until(0), harness.limited()), (Some(at(61_000)), Vec::new()), "it is out for longer");
    // A call from before that ends when it is back.
    harness.tick(at(61_000));
    let before = BrokerTime::from_nanos(START.as_nanos() - 1);
    harness.learn(&TestObservation { sent_at: Some(before), ..refusal("/azure/r0/", "hot", 20, 0) }, at(61_001));
    assert_eq!(harness.limited(), []);
}

#[test]
fn a_probe_that_meets_the_limit_of_a_model_leaves_the_router_on_probation() {
    let mut harness = with(Policy::Fallback, 2, |settings| settings.defaults.health.consecutive = 1);
    let failed = TestObservation { status: Some(500), retry_after: None, ..refusal("/azure/r0/", "hot", 0, 0) };
    harness.learn(&failed, at(0));
    harness.tick(at(60_000));
    let probe = harness.goes(&model("hot"), 60_000).unwrap();
    assert_eq!((probe.router(), probe.kind), (RouterId(0), RouteKind::Probe));
    let report =
        TestObservation { decision: Some(probe.number), probe: true, ..refusal("/azure/r0/", "hot", 20, 60_000) };
    harness.learn(&report, at(60_001));
    assert_eq!(harness.place("hot", 60_002), Some(1));
    let probe = harness.goes(&model("other"), 60_003).unwrap();
    assert_eq!((probe.router(), probe.kind), (RouterId(0), RouteKind::Probe));
}

#[test]
fn many_refusals_of_one_model_are_no_bad_success_rate() {
    let mut harness = harness(2);
    for second in 0..100 {
        harness.refuse(0, "hot", 20, second * 200);
    }
    assert_eq!((harness.out(), harness.stats(0).rate_limited), (Vec::new(), 100));
}

/// Within one call: those that were tried, and those that rest for its model.
#[test]
fn a_call_that_is_sent_on_meets_no_router_that_rests_for_its_model() {
    let mut harness = harness(4);
    harness.refuse(0, "hot", 60, 0);
    harness.refuse(2, "hot", 30, 0);
    let mut history = AttemptHistory::default();
    let mut places = Vec::new();
    let until = loop {
        match harness.next(&model("hot"), &mut history, 1) {
            NextTarget::Untried(route) => {
                history.note(route.router(), false);
                places.push(route.router().0);
            }
            NextTarget::Retry(route) => panic!("{route:?}"),
            NextTarget::None { unavailability, .. } => break unavailability.until,
        }
    };
    assert_eq!((places, until), (vec![1, 3], Some(at(30_000))));
    // One that rests no more, before where the call has come to.
    let NextTarget::Untried(back) = harness.next(&model("hot"), &mut history, 60_000) else { panic!("two are back") };
    assert!([0, 2].contains(&back.router().0));
}

#[test]
fn affinity_gives_way_too() {
    let mut harness = harness(3);
    harness.refuse(1, "hot", 60, 0);
    let prefers = |name| For { preferred: Some(path(&router(1))), ..model(name) };
    let other = harness.goes(&prefers("other"), 1).unwrap();
    assert_eq!((other.router(), harness.reason(&other).as_str()), (RouterId(1), "affinity"));
    let hot = harness.goes(&prefers("hot"), 1).unwrap();
    let reason = harness.reason(&hot);
    assert_ne!(hot.router(), RouterId(1));
    assert!(
        reason.ends_with(
            "instead of /azure/r1/, no room: rate limit of the model; affinity with /azure/r1/ not possible"
        ),
        "{reason}"
    );
}

#[test]
fn where_all_rest_for_a_model_its_calls_wait_and_the_others_are_served() {
    for (mode, announces) in [
        (WhenAllDisabled::Soonest, true),
        (WhenAllDisabled::Soonest, false),
        (WhenAllDisabled::Any, true),
        (WhenAllDisabled::Pass, true),
    ] {
        let mut harness = with(Policy::Fallback, 2, |settings| settings.pools[0].when_all_disabled = mode);
        for (place, wait) in [(0, 40), (1, 30)] {
            let retry_after = seconds(wait).filter(|_| announces);
            harness.learn(&TestObservation { retry_after, ..refusal(&router(place), "hot", wait, 0) }, at(0));
        }
        let offer = harness.next(&model("hot"), &mut AttemptHistory::default(), 1_000);
        let NextTarget::None { why, unavailability } = offer else { panic!("{mode:?}: {offer:?}") };
        let expected = Unavailability {
            until: Some(at(if announces { 30_000 } else { 5_000 })),
            rate_limited: true,
            announced: announces && mode == WhenAllDisabled::Soonest,
        };
        assert_eq!(unavailability, expected, "{mode:?}");
        let words = harness.broker.explain(&Decision::Pass(why));
        assert!(words.starts_with("/azure/: nothing may serve; not /azure/r0/ (rests for one model until "), "{words}");
        let history = AttemptHistory::default();
        let retry_at = |name| harness.broker.retry_at(&model(name), &history, at(1_000), |_| None);
        assert_eq!((retry_at("hot"), retry_at("other")), (expected.until, Some(at(1_000))), "{mode:?}");
        assert_eq!(harness.place("other", 1_001), Some(0), "{mode:?}");
    }
}

#[test]
fn the_one_that_is_back_first_is_asked_now_and_then() {
    let mut harness = harness(2);
    harness.refuse(0, "hot", 40, 0);
    harness.refuse(1, "hot", 30, 0);
    let asked: Vec<_> = (0..20).filter_map(|second| Some((second, harness.place("hot", second * 1_000)?))).collect();
    // One that gives no answer does not keep the call from the other.
    assert_eq!(asked, [(5, 1), (10, 0), (15, 1)]);
    // A refusal is news, a success is the end.
    let early = harness.goes(&model("hot"), 20_000).unwrap();
    assert!(early.is_early());
    let reason = harness.reason(&early);
    assert!(reason.ends_with("; no room anywhere: rate limit of the model"), "{reason}");
    harness.refuse(1, "hot", 60, 20_001);
    harness.refuse(0, "hot", 30, 20_001);
    let early = harness.goes(&model("hot"), 25_001).unwrap();
    assert_eq!((early.router(), early.is_early()), (RouterId(0), true));
    let answered = TestObservation { status: Some(200), retry_after: None, ..refusal("/azure/r0/", "hot", 0, 25_001) };
    harness.learn(&answered, at(25_002));
    assert_eq!(harness.limited(), [(router(1), "hot".to_owned())]);
    assert_eq!(
        (harness.place("hot", 25_003), harness.emitted.iter().any(BrokerEvent::may_bring_back)),
        (Some(0), true)
    );
}

/// A router over a limit of ours may serve where the others rest by their upstreams' word.
#[test]
fn a_limit_of_ours_costs_no_answer_where_a_model_rests_elsewhere() {
    let limit = |settings: &mut BrokerSettings| {
        settings.defaults.rate_limit = Some(RateLimit { rpm: Some(2), tpm: None });
    };
    let mut harness = with(Policy::Fallback, 2, limit);
    harness.refuse(0, "hot", 60, 0);
    let places: Vec<_> = (0..4).map(|call| harness.place("hot", call)).collect();
    assert_eq!(places, [Some(1); 4]);
}

#[test]
fn operators_and_new_settings_end_it() {
    let order = |command| OperatorCommand { command, until: None, by: "me".to_owned(), reason: String::new() };
    let (resume, enable) = (Command::Resume(path(&router(0))), Command::Enable(path(&router(0))));
    let (resume, enable) = (order(resume), order(enable));
    let replaced = [path(&router(0))];
    let mut never = with(Policy::Fallback, 2, |_| ()).broker.settings().as_ref().clone();
    never.defaults.health.disabled_time = Duration::ZERO;
    let same = with(Policy::Fallback, 2, |_| ()).broker.settings().as_ref().clone();
    let mut mapped = same.clone();
    let TargetKind::Branch { targets, .. } = &mut mapped.pools[0].root.kind else { panic!() };
    let model_map = [("hot".to_owned(), "cold".to_owned())].into_iter().collect();
    targets[0].patch = Arc::new(Patch { model_map, ..Patch::default() });
    for (about, input, ends) in [
        ("resume", BrokerInput::Command(&resume), true),
        ("enable", BrokerInput::Command(&enable), true),
        ("another address or key", BrokerInput::TargetsReplaced(&replaced), true),
        ("never out", BrokerInput::Configured(&never), true),
        ("another model for its calls", BrokerInput::Configured(&mapped), true),
        ("the same settings again", BrokerInput::Configured(&same), false),
        ("time", BrokerInput::Tick, false),
    ] {
        let mut harness = harness(2);
        harness.refuse(0, "hot", 60, 0);
        let seen = harness.broker.last_change(INGRESS);
        harness.broker.apply(input, at(1));
        assert_eq!(invariants::broken(&harness.broker), None);
        assert_eq!((harness.limited().is_empty(), harness.place("hot", 2) == Some(0)), (ends, ends), "{about}");
        assert!(!ends || harness.broker.last_change(INGRESS) != seen, "{about}: calls that wait look again");
    }
}

#[test]
fn other_replicas_learn_it_from_the_relays_entries() {
    let mut harness = harness(2);
    let (served, ingress) = (router(0), Some(INGRESS));
    let entry = |status, transaction| TestObservation {
        ingress,
        transaction: Some(transaction),
        source: Source::Log,
        status: Some(status),
        ..refusal(&served, "hot", 20, 0)
    };
    harness.learn(&entry(429, "A_1_1_1"), at(0));
    assert_eq!((harness.out(), harness.limited()), (Vec::new(), vec![(router(0), "hot".to_owned())]));
    harness.learn(&TestObservation { retry_after: None, ..entry(200, "A_2_1_1") }, at(2));
    assert_eq!(harness.limited(), []);
    // That of an older version does not say the model.
    harness.learn(&TestObservation { client_model: None, ..entry(429, "A_3_1_1") }, at(3));
    assert_eq!(harness.out(), [router(0)]);
}

#[test]
fn so_many_routers_rest_for_a_model_and_one_more_as_a_whole() {
    let mut harness = harness(MAX_ROUTERS + 1);
    for place in 0..MAX_ROUTERS {
        refusal(&router(place), "hot", 60, 0).apply(&mut harness.broker, at(0));
    }
    assert_eq!((harness.limited().len(), harness.out().len()), (MAX_ROUTERS, 0));
    harness.refuse(MAX_ROUTERS, "hot", 60, 0);
    harness.refuse(0, "hot", 90, 0);
    assert_eq!((harness.limited().len(), harness.out()), (MAX_ROUTERS, vec![router(MAX_ROUTERS)]));
    harness.tick(at(60_000));
    assert_eq!(harness.limited().len(), 1);
}

#[test]
fn a_round_robin_owes_nothing_to_a_router_that_rested_for_one_model() {
    let mut harness = with(Policy::RoundRobin, 3, |_| ());
    harness.refuse(0, "hot", 60, 0);
    for call in 0..300 {
        assert_ne!(harness.place("hot", call), Some(0));
    }
    let names: Vec<_> = (0..30).filter_map(|call| harness.place("other", 400 + call)).collect();
    assert!(names.windows(2).all(|two| two[0] != two[1]), "in turn, and no row of one: {names:?}");
}

const MODELS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

proptest! {
    /// As a plain list knows it: no call goes to a router that rests for its model, unless all do; no other call notices.
    #[test]
    fn a_list_of_what_was_refused_says_where_calls_go(
        policy in prop::sample::select(vec![Policy::LoadBalance, Policy::RoundRobin, Policy::Fallback, Policy::LeastBusy]),
        steps in prop::collection::vec((0_usize..3, 0_usize..6, 1_u64..9, 0_u64..4_000, any::<bool>()), 0..80)
    ) {
        let mut harness = with(policy, 3, |_| ());
        let (mut now, mut list) = (0, [[0; 6]; 3]);
        for (place, name, wait, pause, refuses) in steps {
            now += pause;
            harness.tick(at(now));
            if refuses && harness.state(place) == HealthState::Serving {
                let known = list[place].iter().filter(|until| **until > now).count();
                let is_one_more = list[place][name] <= now && known == MAX_MODELS;
                harness.refuse(place, MODELS[name], wait, now);
                if !is_one_more {
                    list[place][name] = list[place][name].max(now + wait * 1_000);
                }
                prop_assert_eq!(harness.state(place) != HealthState::Serving, is_one_more);
            }
            let rests = |list: &[[u64; 6]; 3], place: usize, model: usize| list[place][model] > now;
            for (number, name) in MODELS.into_iter().enumerate() {
                let serving = (0..3).filter(|place| harness.state(*place) == HealthState::Serving);
                let free: Vec<_> = serving.filter(|place| !rests(&list, *place, number)).collect();
                let route = harness.goes(&model(name), now).filter(|route| route.kind == RouteKind::Normal);
                let chosen = route.as_ref().map(|route| usize::from(route.router().0));
                match chosen {
                    Some(chosen) if free.is_empty() => prop_assert!(rests(&list, chosen, number)),
                    Some(chosen) => prop_assert!(free.contains(&chosen)),
                    None => prop_assert!(free.is_empty()),
                }
                prop_assert_eq!(route.is_some_and(|route| route.is_early()), chosen.is_some() && free.is_empty());
            }
        }
    }
}
