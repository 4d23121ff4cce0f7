//! The attempts of one request that may be sent more than once, and its position in the order of candidates.
//!
//! It follows the same order whose first candidate a single choice takes, and checks health and rate limits at each
//! step. A router that was tried is returned again only when no other one is left; whether that is worth a wait is
//! decided in `retry`.

use rand::Rng;
use smallvec::{SmallVec, smallvec};

use super::choose::no_router;
use super::routers::Router;
use super::unavailability::Unavailability;
use super::{Broker, LimitVerdict, Pass, Pool, Route, RouteKind, TokenReservation};
use crate::strategy::{Candidate, CandidateCursor, Candidates, NodeId, PickContext, PickReason, PickStep, Tier, Tree};
use types::outcome::PayloadDigest;
use types::request::Request;
use types::router::{PoolId, RouterId};
use types::time::BrokerTime;

/// Why a router is not sent a request that it has failed in an earlier call.
const FAILED_BEFORE: &str = "it has failed this request before";

/// The attempts of one request.
#[derive(Debug, Clone, Default)]
pub struct AttemptHistory {
    cursor: CandidateCursor,
    /// The settings that the cursor is valid for.
    config_generation: u64,
    tried: SmallVec<[Tried; 4]>,
    /// Routers that were not sent the request.
    passed_over: SmallVec<[PassedOver; 1]>,
    /// What the request is recognised by, until its earlier failures are looked up.
    digest: Option<PayloadDigest>,
    /// Routers that have failed the same request in another call: they are offered after all others that serve.
    failed_before: SmallVec<[RouterId; 2]>,
    /// The pool of the tree that the client brought along.
    pub(super) client_pool: Option<PoolId>,
}

#[derive(Debug, Clone, Copy)]
struct Tried {
    router: RouterId,
    /// Whether one more attempt there may help.
    again: bool,
}

/// A router that was not sent the request.
#[derive(Debug, Clone, Copy)]
struct PassedOver {
    router: RouterId,
    reason: &'static str,
    /// It can be sent the request if no other router serves it.
    may_serve: bool,
}

/// The next target of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum NextTarget {
    /// A router that was not tried.
    Untried(Route),
    /// All were tried: one of them again.
    Retry(Route),
    /// No router, and why.
    None {
        /// The reason.
        why: Pass,
        /// Until when, and what for.
        unavailability: Unavailability,
    },
}

impl AttemptHistory {
    /// That of a request which is recognised by this digest if it comes again.
    pub fn of_request(digest: PayloadDigest) -> Self {
        Self { digest: Some(digest), ..Self::default() }
    }

    /// The request was sent there; `again`: one more attempt there may help.
    pub fn note(&mut self, router: RouterId, again: bool) {
        // In the order of their last attempts.
        self.tried.retain(|tried| tried.router != router);
        self.tried.push(Tried { router, again });
    }

    /// This router was not sent the request, for this reason; decisions from now on say so of the first. `may_serve`: it can be
    /// sent it if no other router serves it.
    pub fn note_passed_over(&mut self, router: RouterId, reason: &'static str, may_serve: bool) {
        self.note(router, false);
        self.passed_over.push(PassedOver { router, reason, may_serve });
    }

    /// Offers the routers again that were passed over and may serve.
    pub fn offer_passed_over(&mut self) {
        let passed_over = std::mem::take(&mut self.passed_over);
        let is_offered = |router| passed_over.iter().any(|one| one.router == router && one.may_serve);
        self.tried.retain(|tried| !is_offered(tried.router));
        self.cursor = CandidateCursor::default();
    }

    pub(super) fn has_tried(&self, router: RouterId) -> bool {
        self.tried.iter().any(|tried| tried.router == router)
    }

    /// Those that were not tried for longest come first.
    fn last_try(&self, router: RouterId) -> Option<usize> {
        self.tried.iter().position(|tried| tried.router == router)
    }

    pub(super) fn may_retry(&self, router: RouterId) -> bool {
        self.tried.iter().all(|tried| tried.router != router || tried.again)
    }

    /// The next untried candidate; at the end of the order, one that came back before the cursor.
    fn next_untried<R: Rng>(
        &mut self,
        tree: &Tree,
        context: PickContext<'_>,
        request: &impl Request,
        rng: &mut R,
        usable: impl Fn(RouterId) -> bool,
    ) -> Option<Candidate> {
        let cursor = std::mem::take(&mut self.cursor);
        let wanted = |router| !self.has_tried(router) && usable(router);
        let mut rest = Candidates::new(tree, request, rng).with(context).starting_at(cursor);
        let next_untried = rest.next_wanted(wanted);
        let cursor = rest.into_cursor();
        let next_untried =
            next_untried.or_else(|| Candidates::new(tree, request, rng).with(context).next_wanted(wanted));
        self.cursor = cursor;
        next_untried
    }
}

impl Broker {
    /// The next target after these attempts: the one that made what the request names, if it may serve, then the order of the
    /// policies. Reads only; advance the clock first.
    pub fn next_target<R: Rng>(&self, request: &impl Request, history: &mut AttemptHistory, rng: &mut R) -> NextTarget {
        let mut next = self.next_preferred(request, history, rng);
        if let NextTarget::Untried(route) | NextTarget::Retry(route) = &mut next {
            let not_sent = history.passed_over.first().map(|one| (one.router, one.reason));
            let serves =
                |router: &RouterId| self.routers.get(*router).is_some_and(|router| !router.health().is_ejected());
            let failed = history.failed_before.iter().find(|failed| **failed != route.router() && serves(failed));
            route.passed_over = not_sent.or(failed.map(|failed| (*failed, FAILED_BEFORE)));
        }
        next
    }

    /// Looks up which routers have failed the same request in an earlier call, once for each call. Somebody who asks again is not sent
    /// there while another router serves; and what all refuse is soon known to be the request's fault.
    pub fn recall_failures(&self, history: &mut AttemptHistory, now: BrokerTime) {
        if let Some(digest) = history.digest.take() {
            history.failed_before = self.suspects.failed_by(digest, now).collect();
        }
    }

    fn next_preferred<R: Rng>(&self, request: &impl Request, history: &mut AttemptHistory, rng: &mut R) -> NextTarget {
        let Some(preferred) = request.preferred().and_then(|path| self.router_at(path.as_str())) else {
            return self.next_in_order(request, history, rng);
        };
        let mut next = match self.preferred_target(preferred, request, history, rng) {
            Some(route) => NextTarget::Untried(route),
            None => self.next_in_order(request, history, rng),
        };
        if let NextTarget::Untried(route) | NextTarget::Retry(route) = &mut next
            && route.router() != preferred
        {
            route.instead_of = Some(preferred);
        }
        next
    }

    /// The target that made what the request names, if it was not tried and may serve; within its rate limits.
    fn preferred_target<R: Rng>(
        &self,
        preferred: RouterId,
        request: &impl Request,
        history: &AttemptHistory,
        rng: &mut R,
    ) -> Option<Route> {
        let id = self.pool_of(request, history)?;
        let pool = self.pool(id)?;
        let wanted = |router| !history.has_tried(router) && self.may_test(request, router);
        let leaves = self.routers.get(preferred).map(Router::leaves).unwrap_or_default();
        let mut leaves = leaves.iter().filter(|(of, _)| *of == id).map(|(_, leaf)| *leaf);
        let leaf = leaves.find(|leaf| pool.tree().may_serve(*leaf, request)).filter(|_| wanted(preferred))?;
        let why = smallvec![PickStep { branch: NodeId::ROOT, reason: PickReason::Affinity, serving: 0 }];
        let chosen = Candidate { router: preferred, leaf, p: None, why };
        let mut route = self.route(id, chosen, self.kind(preferred));
        self.apply_rate_limits(pool, &mut route, request, rng, wanted);
        (!route.is_early()).then_some(route)
    }

    /// Whether a router needs no probe, or this call can be one: the success of a call that generates nothing shows nothing but
    /// where only such calls have failed.
    fn may_test(&self, request: &impl Request, router: RouterId) -> bool {
        let of_others = |router: &Router| router.health().failed_without_generation();
        request.is_generation() || !self.probes(router) || self.routers.get(router).is_some_and(of_others)
    }

    /// The pool whose tree is chosen over.
    pub(super) fn pool_of(&self, request: &impl Request, history: &AttemptHistory) -> Option<PoolId> {
        self.pool_at(request.path()).map(|id| history.client_pool.unwrap_or(id))
    }

    /// The next target in the order of the policies.
    fn next_in_order<R: Rng>(&self, request: &impl Request, history: &mut AttemptHistory, rng: &mut R) -> NextTarget {
        let Some((id, pool)) = self.pool_of(request, history).and_then(|id| Some((id, self.pool(id)?))) else {
            return NextTarget::None { why: Pass::UnknownIngress, unavailability: Unavailability::default() };
        };
        if history.config_generation != self.config_generation {
            (history.config_generation, history.cursor) = (self.config_generation, CandidateCursor::default());
        }
        if let Some(route) = self.untried_within_limits(id, pool, request, history, rng) {
            return NextTarget::Untried(route);
        }
        // Those that serve and are left rest for the requested model: for this request they are out.
        let usable = |router| self.may_test(request, router);
        let rests = |router| self.model_limit(router, request).is_some();
        let unseen = |router| !history.has_tried(router) && !rests(router);
        let again = |router| history.may_retry(router) && !rests(router);
        let need = self.offer_when_none_serves(id, pool, request, rng, &unseen);
        // Routers on probation come before those that were tried, disabled ones after.
        if let Some(route) = need.clone().filter(|route| route.kind == RouteKind::LastResort) {
            return NextTarget::Untried(route);
        }
        let usable_again = |router| again(router) && usable(router);
        let serving = pool.tree().eligible_for(Tier::Serving, request).filter(|router| usable_again(*router));
        if let Some(longest_ago) = serving.min_by_key(|router| history.last_try(*router))
            && let Some(chosen) = self.candidate(pool, Tier::Serving, longest_ago, request, rng)
        {
            let kind = self.kind(chosen.router);
            let mut route = self.route(id, chosen, kind);
            self.apply_rate_limits(pool, &mut route, request, rng, usable_again);
            return NextTarget::Retry(route);
        }
        if !request.is_generation() {
            // On probation, and not as a probe: it is better than no answer.
            let mut last_resort = |wanted: &dyn Fn(RouterId) -> bool| {
                let chosen = self.candidates(pool, Tier::Serving, request, rng).next_wanted(wanted)?;
                Some(self.route(id, chosen, RouteKind::LastResort))
            };
            if let Some(route) = last_resort(&unseen) {
                return NextTarget::Untried(route);
            }
            if let Some(route) = last_resort(&again) {
                return NextTarget::Retry(route);
            }
        }
        let need = need.map(NextTarget::Untried);
        let need = need.or_else(|| self.offer_when_none_serves(id, pool, request, rng, &again).map(NextTarget::Retry));
        let need = need.or_else(|| self.offer_resting(id, pool, request, history, rng));
        need.unwrap_or_else(|| self.no_target(id, pool, request, history))
    }

    /// The next router that serves and was not tried, within its limits if one is; none that rests for the requested model. Those that
    /// have failed the request before come last.
    #[inline]
    fn untried_within_limits<R: Rng>(
        &self,
        id: PoolId,
        pool: &Pool,
        request: &impl Request,
        history: &mut AttemptHistory,
        rng: &mut R,
    ) -> Option<Route> {
        let failed_before = std::mem::take(&mut history.failed_before);
        if !failed_before.is_empty() {
            let others = |router| !failed_before.contains(&router);
            if let Some(mut route) = self.untried_among(others, id, pool, request, history, rng) {
                // It would be that among all of them.
                route.chosen.p = None;
                history.failed_before = failed_before;
                return Some(route);
            }
        }
        self.untried_among(|_| true, id, pool, request, history, rng)
    }

    #[inline]
    fn untried_among<R: Rng>(
        &self,
        among: impl Fn(RouterId) -> bool,
        id: PoolId,
        pool: &Pool,
        request: &impl Request,
        history: &mut AttemptHistory,
        rng: &mut R,
    ) -> Option<Route> {
        let has_limits = self.may_limit(pool);
        let before = has_limits.then(|| history.cursor.clone());
        let usable = |router| among(router) && self.may_test(request, router);
        let chosen = history.next_untried(pool.tree(), self.context(), request, rng, usable)?;
        let kind = self.kind(chosen.router);
        let mut route = self.route(id, chosen, kind);
        let wanted = |router| !history.has_tried(router) && usable(router);
        self.apply_rate_limits(pool, &mut route, request, rng, wanted);
        if let Some(cursor) = before.filter(|_| route.is_early() || route.reservation.limit.diverted_from().is_some()) {
            // Routers skipped for their limits are still candidates.
            history.cursor = cursor;
        }
        (!route.is_early()).then_some(route)
    }

    /// The target when no router is available.
    fn offer_when_none_serves<R: Rng>(
        &self,
        id: PoolId,
        pool: &Pool,
        request: &impl Request,
        rng: &mut R,
        wanted: &impl Fn(RouterId) -> bool,
    ) -> Option<Route> {
        let (chosen, kind) = self.choose_when_none_serves(pool, request, rng, wanted)?;
        let mut route = self.route(id, chosen, kind);
        self.apply_rate_limits(pool, &mut route, request, rng, wanted);
        Some(route)
    }

    /// A call of the relay to a candidate.
    #[inline]
    pub(super) fn route(&self, pool: PoolId, chosen: Candidate, kind: RouteKind) -> Route {
        let cause = self.cause(chosen.router, kind);
        Route {
            number: self.decisions,
            pool,
            kind,
            cause,
            chosen,
            reservation: TokenReservation { tokens: 0, limit: LimitVerdict::Within },
            relayed: true,
            instead_of: None,
            passed_over: None,
        }
    }

    /// Why no target is left, and until when.
    fn no_target(&self, id: PoolId, pool: &Pool, request: &impl Request, history: &AttemptHistory) -> NextTarget {
        let rests = pool.tree().reachable(request).any(|router| self.model_limit(router, request).is_some());
        let why = if rests { Pass::AllDisabled(id) } else { no_router(id, pool, request) };
        NextTarget::None { why, unavailability: self.unavailability(pool, request, history) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::broker::tests::fixture::{INGRESS, START, flat};
    use crate::broker::tests::report::{Source, TestObservation};
    use crate::broker::{BrokerInput, invariants};
    use crate::strategy::{Policy, Target as PoolTarget, TargetKind};
    use types::outcome::{CallAnswer, CallObservation, LogEntry, SetBy};
    use types::router::RouterPath;
    use types::transition::HealthState;

    const A: &str = "/azure/a/";
    const B: &str = "/azure/b/";
    const C: &str = "/azure/c/";
    fn broker(routers: &[&str]) -> Broker {
        flat(INGRESS, routers)
    }

    fn report<'a>(source: Source, router: &'a str, status: u16, transaction: &'a str) -> TestObservation<'a> {
        let report = TestObservation::empty(source);
        TestObservation { served_path: Some(router), status: Some(status), transaction: Some(transaction), ..report }
    }

    fn seconds(seconds: u64) -> BrokerTime {
        START.after(Duration::from_secs(seconds))
    }

    fn offer(broker: &mut Broker, now: BrokerTime) -> NextTarget {
        broker.apply(BrokerInput::Tick, now);
        broker.next_target(&INGRESS, &mut AttemptHistory::default(), &mut SmallRng::seed_from_u64(1))
    }

    fn failures(broker: &Broker) -> Vec<u64> {
        broker.routers().map(|(_, _, stats)| stats.failures).collect()
    }

    #[test]
    fn an_attempt_and_its_log_count_once_in_either_order() {
        for attempt_first in [true, false] {
            let mut broker = broker(&[A, B]);
            let attempt = TestObservation { sent_at: Some(START), ..report(Source::Attempt, A, 500, "X_1_1_1") };
            let mut events = [attempt, report(Source::Log, A, 500, "X_1_1_1")];
            if !attempt_first {
                events.reverse();
            }
            for event in &events {
                event.apply(&mut broker, seconds(1));
            }
            assert_eq!(failures(&broker), [1, 0]);
            report(Source::Log, A, 500, "X_1_1_2").apply(&mut broker, seconds(1));
            assert_eq!(failures(&broker), [2, 0], "another call's log counts");
        }
    }

    #[test]
    fn a_log_of_a_call_that_makes_nothing_shows_no_success() {
        let mut broker = broker(&[A, B]);
        for makes_nothing in [true, false] {
            let answer = CallAnswer { served_path: Some(A), status: Some(200), ..CallAnswer::default() };
            let entry = LogEntry { answer, makes_nothing, ..LogEntry::default() };
            let observed = CallObservation::Log { entry: &entry, decision: None };
            broker.apply(BrokerInput::Observed(&observed), START);
        }
        let shown = &broker.snapshot(START).routers[0].stats;
        assert_eq!((shown.neutral, shown.successes), (1, 1));
    }

    #[test]
    fn a_log_of_a_rate_limit_of_the_clients_own_key_shows_none_of_its_router() {
        for (key, out) in [(SetBy::Client, 0), (SetBy::Target, 1)] {
            let mut broker = broker(&[A, B]);
            let answer = CallAnswer { served_path: Some(A), status: Some(429), ..CallAnswer::default() };
            let entry = LogEntry { answer, key: Some(key), ..LogEntry::default() };
            broker.apply(BrokerInput::Observed(&CallObservation::Log { entry: &entry, decision: None }), START);
            let is_out = |(_, state, _): &(_, HealthState, _)| *state != HealthState::Serving;
            assert_eq!(broker.routers().filter(is_out).count(), out, "{key:?}");
        }
    }

    #[test]
    fn an_attempt_from_before_the_trip_is_old_news_and_a_later_one_is_not() {
        let mut broker = broker(&[A]);
        let until = |broker: &Broker| match broker.routers().next().unwrap().1 {
            HealthState::Cooling { until, .. } => until,
            state => panic!("{state:?}"),
        };
        let attempt = |began, id| TestObservation { sent_at: Some(began), ..report(Source::Attempt, A, 500, id) };
        attempt(START, "X_1_1_1").apply(&mut broker, seconds(10));
        attempt(seconds(9), "X_1_2_1").apply(&mut broker, seconds(20));
        assert_eq!(until(&broker), seconds(610));
        // Its log says the same and must not extend the time either.
        report(Source::Log, A, 500, "X_1_2_1").apply(&mut broker, seconds(21));
        assert_eq!(until(&broker), seconds(610));
        attempt(seconds(11), "X_1_3_1").apply(&mut broker, seconds(20));
        assert_eq!(until(&broker), seconds(620));
    }

    #[test]
    fn a_probe_decides_at_once_and_an_abandoned_one_frees_its_permit() {
        let mut broker = broker(&[A]);
        let failed = TestObservation { sent_at: Some(START), ..report(Source::Attempt, A, 500, "X_1_1_1") };
        failed.apply(&mut broker, START);
        let NextTarget::Untried(probe) = offer(&mut broker, seconds(600)) else { panic!("it is back") };
        assert_eq!(probe.kind, RouteKind::Probe);
        broker.commit_route(&probe, seconds(600));
        let NextTarget::Untried(resort) = offer(&mut broker, seconds(600)) else { panic!("there is nothing better") };
        assert_eq!(resort.kind, RouteKind::LastResort);
        broker.apply(BrokerInput::Abandoned { route: &probe, was_sent: true }, seconds(601));
        assert_eq!(invariants::broken(&broker), None);
        let NextTarget::Untried(probe) = offer(&mut broker, seconds(602)) else { panic!("it is back") };
        assert_eq!(probe.kind, RouteKind::Probe, "another may find out");
        broker.commit_route(&probe, seconds(602));
        let worked = report(Source::Attempt, A, 200, "X_1_2_1");
        let worked =
            TestObservation { sent_at: Some(seconds(602)), decision: Some(probe.number), probe: true, ..worked };
        worked.apply(&mut broker, seconds(603));
        assert_eq!(broker.routers().next().unwrap().1, HealthState::Serving);
    }

    #[test]
    fn the_target_that_was_not_tried_for_longest_is_tried_again_first() {
        let root = PoolTarget::plain(TargetKind::Branch {
            policy: Policy::Fallback,
            targets: [A, B, C]
                .map(|path| PoolTarget::plain(TargetKind::Router(RouterPath::parse(path).unwrap())))
                .into(),
        });
        let mut settings = broker(&[A, B, C]).settings().as_ref().clone();
        settings.pools[0].root = root;
        let broker = Broker::new(settings);
        let (mut history, mut rng) = (AttemptHistory::default(), SmallRng::seed_from_u64(1));
        let mut tried = Vec::new();
        for _ in 0..7 {
            let (NextTarget::Untried(route) | NextTarget::Retry(route)) =
                broker.next_target(&INGRESS, &mut history, &mut rng)
            else {
                panic!("all serve")
            };
            history.note(route.router(), true);
            tried.push(broker.path(route.router()).unwrap().as_str());
        }
        assert_eq!(tried, [A, B, C, A, B, C, A]);
    }

    #[test]
    fn a_course_outlives_a_change_of_settings() {
        let mut broker = broker(&[A, B]);
        let (mut history, mut rng) = (AttemptHistory::default(), SmallRng::seed_from_u64(1));
        let NextTarget::Untried(first) = broker.next_target(&INGRESS, &mut history, &mut rng) else {
            panic!("two serve")
        };
        history.note(first.router(), true);
        let settings = broker.settings().clone();
        broker.apply(BrokerInput::Configured(&settings), START);
        let NextTarget::Untried(second) = broker.next_target(&INGRESS, &mut history, &mut rng) else {
            panic!("one is left")
        };
        assert_ne!(first.router(), second.router());
        history.note(second.router(), true);
        assert!(matches!(broker.next_target(&INGRESS, &mut history, &mut rng), NextTarget::Retry(_)));
    }
}
