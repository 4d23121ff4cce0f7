//! Plans against scripts of answers, with a stopped clock: the limits hold whatever the answers are.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::broker::tests::report::{Source, TestObservation};
use crate::broker::{
    AttemptHistory, Broker, BrokerInput, BrokerSettings, NextTarget, Pass, PoolSettings, Route, RouterSettings,
    Unavailability, WhenAllDisabled,
};
use crate::strategy::{Policy, Target, TargetKind};
use std::time::Duration;
use types::outcome::{ErrorClass, RetryAfter, SetBy, TransportFailure};
use types::router::{PoolId, RouterId, RouterPath};
use types::time::BrokerTime;
use types::transition::HealthState;

const INGRESS: &str = "/azure/";
/// The limit of each attempt in these worlds.
const FIRST_BYTE: Duration = Duration::from_secs(30);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn path(number: usize) -> RouterPath {
    RouterPath::parse(&format!("/azure/r{number}/")).unwrap()
}

/// One answer of a script: what a target does when it is called.
#[derive(Debug, Clone, Copy)]
struct Answer {
    /// 0: no answer at all.
    status: u16,
    takes: u64,
    /// Seconds.
    retry_after: Option<u64>,
}

const fn at_once(status: u16) -> Answer {
    Answer { status, takes: 1, retry_after: None }
}

/// A leaf of every mode, and branches of leaves.
fn tree(policy: &Policy, sizes: &[usize]) -> Target {
    let mut number = 0;
    let mut leaf = || {
        number += 1;
        Target::plain(TargetKind::Router(path(number - 1)))
    };
    let branch = |size: &usize| match size {
        1 => leaf(),
        size => {
            let targets = (0..*size).map(|_| leaf()).collect();
            Target::plain(TargetKind::Branch { policy: Policy::Fallback, targets })
        }
    };
    let targets = sizes.iter().map(branch).collect();
    Target::plain(TargetKind::Branch { policy: policy.clone(), targets })
}

/// What one request came to.
#[derive(Debug, Default)]
struct RequestTrace {
    tried: Vec<usize>,
    pauses: Vec<Duration>,
    stop: Option<GiveUp>,
    took: Duration,
    /// When the client may come back, after the last attempt.
    retry_at: Option<BrokerTime>,
}

struct Harness {
    broker: Broker,
    budget: RetryBudget,
    /// What was sent, counted when it was.
    spent: RetryBudget,
    limits: RetryLimits,
    now: BrokerTime,
    rng: SmallRng,
}

impl Harness {
    fn new(root: Target, consecutive: u32, disabled_time: Duration) -> Self {
        let mut defaults = RouterSettings::default();
        defaults.health.disabled_time = disabled_time;
        defaults.health.consecutive = consecutive;
        let ingress = RouterPath::parse(INGRESS).unwrap();
        let pools = vec![PoolSettings { ingress, root, when_all_disabled: WhenAllDisabled::default() }];
        Self {
            broker: Broker::new(BrokerSettings { pools, defaults, ..BrokerSettings::default() }),
            budget: RetryBudget::new(RetryBudgetSettings::default()),
            spent: RetryBudget::new(RetryBudgetSettings::default()),
            limits: RetryLimits::default(),
            now: BrokerTime::from_nanos(1_800_000_000_000_000_000),
            rng: SmallRng::seed_from_u64(7),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.broker.apply(BrokerInput::Tick, self.now);
    }

    /// Routers that serve just now.
    fn serving(&self) -> Vec<usize> {
        let states = self.broker.routers().enumerate();
        states.filter(|(_, (_, state, _))| *state == HealthState::Serving).map(|(place, _)| place).collect()
    }

    /// One request; `answer` gets the index of the called target and the number of its calls so far.
    fn request(&mut self, mut answer: impl FnMut(usize, usize) -> Answer) -> RequestTrace {
        let mut plan = RetryPlan::new(self.limits, self.now);
        let mut history = AttemptHistory::default();
        let (mut trace, began) = (RequestTrace::default(), self.now);
        loop {
            self.broker.apply(BrokerInput::Tick, self.now);
            let offer = self.broker.next_target(&INGRESS, &mut history, &mut self.rng);
            if matches!(offer, NextTarget::Retry(_)) {
                let untried = self.serving().into_iter().find(|place| !trace.tried.contains(place));
                assert_eq!(untried, None, "offered again while an untried one serves");
            }
            plan.reserve(&mut self.budget, self.now);
            trace.retry_at = self.broker.retry_at(&INGRESS, &history, self.now, |router| plan.not_before(router));
            let step = plan.next(offer, self.now, &mut self.rng);
            if !matches!(step, Step::Send(_)) {
                plan.refund(&mut self.budget);
            }
            match step {
                Step::Stop(stop) => {
                    trace.stop = Some(stop);
                    break;
                }
                Step::Pause(pause) => {
                    trace.pauses.push(pause);
                    self.pass(pause);
                }
                Step::AwaitTarget { at_most, spread } => {
                    trace.pauses.push(at_most.saturating_add(spread));
                    self.pass(at_most.saturating_add(spread));
                }
                Step::Send(route) => {
                    assert!(self.now < plan.deadline(), "there is time for an answer");
                    let by = self.now.after(FIRST_BYTE).min(plan.deadline());
                    let place = usize::from(route.router().0);
                    let before = trace.tried.iter().filter(|tried| **tried == place).count();
                    if trace.tried.is_empty() {
                        self.spent.deposit(self.now)
                    } else {
                        self.spent.withdraw(self.now);
                    }
                    trace.tried.push(place);
                    self.broker.commit_route(&route, self.now);
                    if self.attempt(&route, by, answer(place, before), &mut plan, &mut history)
                        == RetryDecision::DoNotRetry
                    {
                        break;
                    }
                }
            }
        }
        trace.took = self.now.since(began);
        trace
    }

    /// One attempt, as the relay makes it.
    fn attempt(
        &mut self,
        route: &Route,
        by: BrokerTime,
        answer: Answer,
        plan: &mut RetryPlan,
        history: &mut AttemptHistory,
    ) -> RetryDecision {
        let began = self.now;
        let end = began.after(millis(answer.takes));
        self.pass(end.min(by).since(began));
        let broken = (answer.status == 0 || end >= by).then_some(TransportFailure::FirstByteTimeout);
        let wait = answer.retry_after.map(Duration::from_secs).filter(|_| broken.is_none());
        let served = self.broker.path(route.router()).unwrap().to_string();
        let report = TestObservation {
            served_path: Some(&served),
            status: Some(if broken.is_some() { 504 } else { answer.status }),
            retry_after: wait.map(RetryAfter::Delay),
            transport_failure: broken,
            sent_at: Some(began),
            probe: route.kind.decides_recovery(),
            decision: Some(route.number),
            ..TestObservation::empty(Source::Attempt)
        };
        report.apply(&mut self.broker, self.now);
        let ended = match broken {
            Some(failure) => AttemptResult::Broken(failure),
            None => AttemptResult::Answered {
                status: answer.status,
                error_class: ErrorClass::of_status(answer.status),
                missing: None,
                other_account_may_answer: false,
            },
        };
        let lead = retry_decision(ended, Some(SetBy::Target), None);
        plan.note_retry_after(route.router(), wait, self.now);
        history.note(route.router(), lead == RetryDecision::AnyTarget);
        lead
    }
}

/// Whether a request ended because its targets are out for too long.
fn is_waiting(trace: &RequestTrace) -> bool {
    matches!(trace.stop, Some(GiveUp::NoTarget(Unavailability { until: Some(_), .. })))
}

/// Fallback over this many routers that stay out for ten minutes.
fn fallback(routers: usize) -> Harness {
    Harness::new(tree(&Policy::Fallback, &vec![1; routers]), 1, Duration::from_secs(600))
}

#[test]
fn elsewhere_at_once() {
    let mut harness = fallback(3);
    let trace = harness.request(|place, _| at_once(if place == 2 { 200 } else { 503 }));
    assert_eq!(trace.tried, [0, 1, 2]);
    assert_eq!((trace.pauses.len(), trace.stop, trace.took), (0, None, millis(3)));
    let trace = harness.request(|_, _| at_once(200));
    assert_eq!(trace.tried, [2], "the next request does not go where this one failed");
}

#[test]
fn a_callers_own_fault_is_answered_and_goes_nowhere_else() {
    for status in [400, 413, 422] {
        assert_eq!(fallback(2).request(|_, _| at_once(status)).tried, [0], "{status}");
    }
}

#[test]
fn the_rest_of_a_branch_comes_before_its_siblings() {
    for seed in 0..20 {
        let mut harness = Harness::new(tree(&Policy::LoadBalance, &[2, 2, 2]), 1, Duration::from_secs(600));
        harness.rng = SmallRng::seed_from_u64(seed);
        let trace = harness.request(|_, _| at_once(500));
        assert_eq!(trace.tried.len(), 4);
        assert_eq!((trace.tried[0] % 2, trace.tried[1]), (0, trace.tried[0] + 1), "{:?}", trace.tried);
        assert_eq!((trace.tried[2] % 2, trace.tried[3]), (0, trace.tried[2] + 1), "{:?}", trace.tried);
    }
}

#[test]
fn the_same_target_only_after_a_pause_and_only_where_it_may_serve() {
    let mut harness = Harness::new(tree(&Policy::Fallback, &[1]), 10, Duration::from_secs(600));
    let trace = harness.request(|_, _| at_once(500));
    assert_eq!((trace.tried.len(), trace.stop), (4, Some(GiveUp::Attempts)));
    assert_eq!(trace.pauses.len(), 3);
    for (pause, bound) in trace.pauses.iter().zip([500, 1_000, 2_000]) {
        assert!(*pause <= millis(bound), "{pause:?} of {bound} ms");
    }
    let trace = fallback(1).request(|_, _| at_once(500));
    assert_eq!((trace.tried.len(), trace.pauses.len()), (1, 0), "it is out for longer than the request may last");
    assert!(is_waiting(&trace), "{trace:?}");
}

#[test]
fn who_says_the_same_again_is_not_asked_again() {
    let mut harness = Harness::new(tree(&Policy::Fallback, &[1, 1]), 10, Duration::from_secs(600));
    let trace = harness.request(|_, _| at_once(401));
    assert_eq!((trace.tried, trace.stop), (vec![0, 1], Some(GiveUp::NoTarget(Unavailability::default()))));
}

#[test]
fn an_upstreams_own_word_is_waited_for_where_it_fits() {
    let limited = |retry_after| Answer { retry_after: Some(retry_after), ..at_once(429) };
    let trace = fallback(1).request(|_, before| if before == 0 { limited(2) } else { at_once(200) });
    assert_eq!((trace.tried.len(), trace.pauses.len()), (2, 1));
    assert!((millis(2_000)..millis(2_501)).contains(&trace.pauses[0]), "{:?}", trace.pauses);
    let trace = fallback(1).request(|_, _| limited(90));
    assert_eq!((trace.tried.len(), trace.took), (1, millis(1)), "it answers at once");
    let trace = fallback(2).request(|place, _| if place == 0 { limited(2) } else { at_once(200) });
    assert_eq!((trace.tried, trace.pauses.len()), (vec![0, 1], 0), "another target is tried without a wait");
}

/// It is the soonest of all targets, whatever the last of them said.
#[test]
fn a_client_is_told_when_the_first_target_is_back() {
    let limited = |retry_after| Answer { retry_after: Some(retry_after), ..at_once(429) };
    // The waits of the targets in seconds, how often a request is sent, and when the client may come back.
    for (waits, attempts, expected) in [
        (&[30, 90][..], 2, Some(30)),
        (&[90, 30], 2, Some(30)),
        (&[90, 80, 70], 3, Some(70)),
        (&[90, 80, 70], 2, Some(0)),
        (&[90], 4, Some(90)),
    ] {
        let mut harness = fallback(waits.len());
        harness.limits.attempts = attempts;
        let trace = harness.request(|place, _| limited(waits[place]));
        let wait = trace.retry_at.map(|at| at.since(harness.now).as_millis().div_ceil(1_000));
        assert_eq!(wait, expected, "{waits:?}: {trace:?}");
    }
    // An early probe: what its target says now is later than what it said before.
    let mut harness = fallback(1);
    let mut settings = BrokerSettings::clone(harness.broker.settings());
    settings.pools[0].when_all_disabled = WhenAllDisabled::Soonest;
    harness.broker.apply(BrokerInput::Configured(&settings), harness.now);
    harness.request(|_, _| limited(70));
    harness.pass(millis(6_000));
    let trace = harness.request(|_, _| limited(300));
    assert_eq!((trace.tried.len(), trace.retry_at.map(|at| at.since(harness.now))), (1, Some(millis(300_000))));
    // Targets that are not taken out: what they said is all that is known.
    let mut harness = Harness::new(tree(&Policy::Fallback, &[1, 1]), 100, Duration::ZERO);
    harness.limits.attempts = 2;
    let waits = [40, 70];
    let trace = harness.request(|place, _| Answer { retry_after: Some(waits[place]), ..at_once(503) });
    assert_eq!(trace.retry_at.map(|at| at.since(harness.now)), Some(millis(39_999)));
    let trace = harness.request(|place, _| at_once(if place == 0 { 401 } else { 500 }));
    assert_eq!(trace.retry_at, Some(harness.now), "the second may serve at once");
    let trace = harness.request(|_, _| at_once(401));
    assert_eq!(trace.retry_at, None, "both would refuse again");
}

/// One request every five seconds asks the target that is back first; none is held, that one neither.
#[test]
fn where_all_targets_have_announced_waits_no_request_is_held() {
    let mut harness = fallback(3);
    let mut settings = BrokerSettings::clone(harness.broker.settings());
    settings.pools[0].when_all_disabled = WhenAllDisabled::Soonest;
    harness.broker.apply(BrokerInput::Configured(&settings), harness.now);
    let limited = |_, _| Answer { retry_after: Some(90), ..at_once(429) };
    assert_eq!(harness.request(limited).tried, [0, 1, 2]);
    let mut asked = Vec::new();
    for second in 1..88 {
        harness.pass(millis(1_000));
        let trace = harness.request(limited);
        let Some(GiveUp::NoTarget(unavailability)) = trace.stop else { panic!("{second}: {trace:?}") };
        assert!(unavailability.announced && unavailability.rate_limited, "{second}: {trace:?}");
        assert_eq!(unavailability.until, trace.retry_at, "{second}: {trace:?}");
        assert!(trace.tried.len() <= 1, "{second}: {trace:?}");
        asked.extend(trace.tried.iter().map(|place| (*place, second)));
    }
    assert!((15..=18).contains(&asked.len()), "{asked:?}");
    // Each names its wait anew, and then another is back first.
    assert!(asked.iter().enumerate().all(|(number, (place, _))| *place == number % 3), "{asked:?}");
    harness.pass(millis(6_000));
    let (trace, now) = (harness.request(|_, _| at_once(200)), harness.now);
    assert_eq!(
        (trace.tried.len(), trace.retry_at.map(|at| at <= now)),
        (1, Some(false)),
        "it is back sooner than it said"
    );
}

#[test]
fn a_request_that_finds_everybody_out_waits_only_if_that_can_help() {
    let mut harness = fallback(2);
    harness.request(|_, _| at_once(500));
    let trace = harness.request(|_, _| at_once(200));
    assert!(is_waiting(&trace) && trace.took.is_zero(), "{trace:?}");
    harness.pass(Duration::from_secs(590));
    let trace = harness.request(|_, _| at_once(200));
    assert_eq!((trace.tried, trace.stop), (vec![0], None), "it is back within the request's time");
}

#[test]
fn a_silent_target_costs_its_limit_and_no_more() {
    let silent = Answer { status: 200, takes: 3_600_000, retry_after: None };
    let mut harness = fallback(2);
    let trace = harness.request(|place, _| if place == 0 { silent } else { at_once(200) });
    assert_eq!((trace.tried, trace.took), (vec![0, 1], millis(30_001)));
    let mut harness = fallback(9);
    harness.limits.timeout = millis(60_000);
    let trace = harness.request(|_, _| silent);
    assert_eq!((trace.tried.len(), trace.took, trace.stop), (2, millis(60_000), Some(GiveUp::Time)));
}

#[test]
fn an_outage_is_not_multiplied() {
    let mut harness = Harness::new(tree(&Policy::Fallback, &[1]), 1_000_000, Duration::ZERO);
    harness.limits.backoff = Backoff { base: millis(2), cap: millis(2) };
    let (mut requests, mut calls) = (0, 0);
    let began = harness.now;
    while harness.now.since(began) < Duration::from_secs(60) {
        calls += harness.request(|_, _| at_once(500)).tried.len();
        requests += 1;
        harness.pass(millis(1));
    }
    let most = f64::from(requests) * 1.2 + 10.0 * 70.0;
    assert!((calls as f64) < most, "{calls} calls of {requests} requests");
    assert!(calls > requests as usize + 500, "it is used: {calls} calls of {requests} requests");
}

#[test]
fn the_budget_of_the_first_request() {
    let mut budget = RetryBudget::new(RetryBudgetSettings { ratio: 0.5, per_second: 0 });
    let now = BrokerTime::from_nanos(5_000_000_000);
    assert!(!budget.withdraw(now));
    budget.deposit(now);
    assert!(!budget.withdraw(now));
    budget.deposit(now);
    assert!(budget.withdraw(now) && !budget.withdraw(now));
    budget.deposit(now);
    budget.deposit(now);
    assert!(budget.has_budget(now.after(Duration::from_secs(9))));
    assert!(!budget.has_budget(now.after(Duration::from_secs(10))), "what was ten seconds ago is forgotten");
}

/// How many retries a budget has room for.
fn retries_left(budget: &RetryBudget, now: BrokerTime) -> usize {
    let mut budget = budget.clone();
    std::iter::from_fn(|| budget.withdraw(now).then_some(())).count()
}

#[test]
fn what_is_reserved_and_not_sent_goes_back() {
    let mut harness = fallback(2);
    let (mut rng, now) = (SmallRng::seed_from_u64(1), harness.now);
    let (mut plan, mut history) = (RetryPlan::new(RetryLimits::default(), now), AttemptHistory::default());
    let settings = RetryBudgetSettings { ratio: 1.0, per_second: 0 };
    let mut budget = RetryBudget::new(settings);
    plan.reserve(&mut budget, now);
    plan.refund(&mut budget);
    assert_eq!(retries_left(&budget, now), 0, "no request was sent, so there is nothing to retry");
    let mut send = |plan: &mut RetryPlan, budget: &mut RetryBudget, now| {
        plan.reserve(budget, now);
        let offer = harness.broker.next_target(&INGRESS, &mut history, &mut rng);
        let step = plan.next(offer, now, &mut rng);
        if let Step::Send(route) = &step {
            history.note(route.router(), true);
        }
        step
    };
    assert!(matches!(send(&mut plan, &mut budget, now), Step::Send(_)));
    assert_eq!(retries_left(&budget, now), 1);
    assert!(matches!(send(&mut plan, &mut budget, now), Step::Send(_)));
    assert_eq!(retries_left(&budget, now), 0);
    plan.pass_over();
    let later = now.after(Duration::from_secs(1));
    plan.reserve(&mut budget, later);
    assert_eq!(retries_left(&budget, later), 0, "what was passed over is paid for");
    plan.refund(&mut budget);
    assert_eq!(retries_left(&budget, later), 1, "in the second in which it was counted");
    let mut other = RetryPlan::new(RetryLimits::default(), later);
    budget.withdraw(later);
    plan.reserve(&mut budget, later);
    let offer = harness.broker.next_target(&INGRESS, &mut AttemptHistory::default(), &mut SmallRng::seed_from_u64(1));
    assert_eq!(plan.next(offer.clone(), later, &mut SmallRng::seed_from_u64(1)), Step::Stop(GiveUp::Budget));
    let until = Some(later.after(millis(100)));
    let none = NextTarget::None {
        why: Pass::AllDisabled(PoolId(0)),
        unavailability: Unavailability { until, ..Unavailability::default() },
    };
    let step = plan.next(none, later, &mut SmallRng::seed_from_u64(1));
    assert!(matches!(step, Step::AwaitTarget { .. }), "to wait takes nothing of it: {step:?}");
    other.reserve(&mut budget, later);
    let step = other.next(offer, later, &mut SmallRng::seed_from_u64(1));
    assert!(matches!(step, Step::Send(_)), "the first attempt is never limited: {step:?}");
    harness.pass(Duration::ZERO);
}

fn modes() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(Policy::Fallback), Just(Policy::LoadBalance), Just(Policy::RoundRobin)]
}

fn answers() -> impl Strategy<Value = Answer> {
    let status = prop_oneof![
        4 => Just(503), 4 => Just(500), 4 => Just(429), 2 => Just(0), 1 => Just(401), 1 => Just(409), 1 => Just(200),
        1 => Just(400),
    ];
    let takes = prop_oneof![4 => 0_u64..50, 1 => 0_u64..100_000];
    (status, takes, prop::option::of(0_u64..90)).prop_map(|(status, takes, retry_after)| Answer {
        status,
        takes,
        retry_after,
    })
}

proptest! {
    #[test]
    fn the_limits_hold_for_any_script(
        policy in modes(),
        sizes in prop::collection::vec(1_usize..4, 1..4),
        consecutive in 1_u32..4,
        disabled in prop_oneof![Just(0_u64), 1_u64..20, Just(600)],
        attempts in 1_u32..7,
        whole in 1_u64..90_000,
        script in prop::collection::vec(answers(), 1..12),
        gaps in prop::collection::vec(0_u64..5_000, 1..5),
    ) {
        let mut harness = Harness::new(tree(&policy, &sizes), consecutive, Duration::from_secs(disabled));
        harness.limits = RetryLimits { attempts, timeout: millis(whole), ..RetryLimits::default() };
        let mut script = script.iter().cycle();
        for gap in gaps {
            let trace = harness.request(|_, _| *script.next().unwrap());
            prop_assert!(trace.tried.len() <= attempts as usize, "{trace:?}");
            prop_assert!(trace.took <= millis(whole), "{trace:?}");
            // At least a millisecond each, so there is an end.
            prop_assert!(trace.pauses.len() as u64 <= whole, "{trace:?}");
            let first: Vec<_> = trace.tried.iter().take(1).collect();
            prop_assert!(trace.stop.is_some() || !first.is_empty(), "{trace:?}");
            prop_assert_eq!(retries_left(&harness.budget, harness.now), retries_left(&harness.spent, harness.now), "{:?}", trace);
            harness.pass(millis(gap));
        }
    }

    #[test]
    fn pauses_are_drawn_between_nothing_and_a_bound_that_doubles(before in 0_u32..100, seed in any::<u64>()) {
        let backoff = Backoff::default();
        let pause = backoff.sample(before, &mut SmallRng::seed_from_u64(seed));
        let bound = millis(500).saturating_mul(1 << before.min(10)).min(Duration::from_secs(8));
        prop_assert!(pause <= bound);
    }
}

#[test]
fn routers_are_named_by_place() {
    let harness = fallback(2);
    assert_eq!(harness.broker.path(RouterId(1)), Some(&path(1)), "the tests count on it");
}

#[test]
fn a_resend_is_counted_and_takes_no_attempt_from_another_target() {
    let now = BrokerTime::from_nanos(1_800_000_000_000_000_000);
    let limits = RetryLimits { attempts: 2, timeout: millis(60_000), ..RetryLimits::default() };
    let mut budget = RetryBudget::new(RetryBudgetSettings { ratio: 0.0, per_second: 1 });
    let mut plan = RetryPlan::new(limits, now);
    assert!(plan.resend(&mut budget, now.after(millis(59_999))), "within its time");
    assert_eq!(plan.sent(), 1);
    assert!(plan.resend(&mut budget, now));
    assert_eq!((plan.resend(&mut budget, now), plan.sent()), (false, 2), "as often as it may be");
    assert!(!RetryPlan::new(limits, now).resend(&mut budget, now.after(millis(60_000))), "its time is over");
    let once = RetryLimits { attempts: 1, ..limits };
    assert!(!RetryPlan::new(once, now).resend(&mut budget, now), "with one attempt nothing is sent twice");
    let harness = fallback(2);
    let (mut plan, mut history) = (RetryPlan::new(limits, now), AttemptHistory::default());
    let mut rng = SmallRng::seed_from_u64(1);
    let mut budget = RetryBudget::new(RetryBudgetSettings { ratio: 0.0, per_second: 10 });
    for sent in [1, 3] {
        let next = harness.broker.next_target(&INGRESS, &mut history, &mut rng);
        plan.reserve(&mut budget, now);
        let Step::Send(route) = plan.next(next, now, &mut rng) else { panic!("attempt {sent}") };
        assert_eq!(plan.sent(), sent);
        history.note(route.router(), false);
        assert!(plan.resend(&mut budget, now));
    }
    let mut spent = RetryBudget::new(RetryBudgetSettings { ratio: 0.0, per_second: 0 });
    let mut plan = RetryPlan::new(limits, now);
    assert_eq!((plan.resend(&mut spent, now), plan.sent()), (false, 0), "the budget of all requests is spent");
}
