//! How a choice heeds limits, and what it takes of them: whoever has no room for a request is passed over while another one
//! has. Where nobody has, the request goes where it would go without limits: the user's limits never cost an answer.
//!
//! Nothing here costs more than to see that a pool has no limits, where it has none.

use rand::Rng;

use super::pool::RateLimitScope;
use super::routers::Router;
use super::{Broker, LimitVerdict, Pool, Route, RouteKind, TokenReservation, WhenAllDisabled};
use crate::load::rate_limit::{LimitExceeded, RateLimiter, Usage};
use crate::strategy::{Candidate, RateLimitFilter};
use types::outcome::{CallObservation, Outcome};
use types::request::Request;
use types::router::{RouterId, RouterPath};
use types::time::BrokerTime;

impl TokenReservation {
    /// Among whom the choice was made, if not among all.
    pub(super) fn among(self, limits: Option<&RateLimiter>) -> Option<RateLimitFilter<'_>> {
        limits.filter(|_| matches!(self.limit, LimitVerdict::Diverted(..))).map(|limits| (limits, self.tokens))
    }
}

impl Broker {
    /// What becomes of a choice: in a pool with limits, if its router has no room for the request, the choice is made again
    /// among those that are wanted and have, and stays if none has.
    #[inline]
    pub(super) fn apply_rate_limits<R: Rng>(
        &self,
        pool: &Pool,
        route: &mut Route,
        request: &impl Request,
        rng: &mut R,
        wanted: impl Fn(RouterId) -> bool,
    ) {
        if pool.has_rate_limits() {
            self.reselect_within_limits(pool, route, request, rng, wanted);
        }
    }

    /// With what probability a router comes then depends on who has room, which nobody asks all of them: so it is not told.
    /// Apart, so that other pools do not pay for it.
    #[inline(never)]
    fn reselect_within_limits<R: Rng>(
        &self,
        pool: &Pool,
        route: &mut Route,
        request: &impl Request,
        rng: &mut R,
        wanted: impl Fn(RouterId) -> bool,
    ) {
        let (tokens, first) = (request.size().estimated_tokens(), route.router());
        route.chosen.p = None;
        route.reservation = TokenReservation { tokens, limit: LimitVerdict::Within };
        let Some(limits) = &self.limits else { return };
        let Some(exceeded) = limits.exceeded(first, tokens) else { return };
        let others = match route.kind {
            RouteKind::Normal | RouteKind::Probe => Some(pool.tree()),
            RouteKind::LastResort => pool.last_resort(),
            // Whoever is back first is no matter of room.
            RouteKind::Panic => pool.disabled().filter(|_| pool.when_all_disabled() != WhenAllDisabled::Soonest),
        };
        let wanted = |other: &Candidate| wanted(other.router);
        let other =
            others.and_then(|tree| self.candidates(tree, request, rng).within_limits((limits, tokens)).find(wanted));
        let Some(other) = other else {
            route.reservation.limit = LimitVerdict::Exceeded(exceeded);
            return;
        };
        if matches!(route.kind, RouteKind::Normal | RouteKind::Probe) {
            route.kind = if self.probes(other.router) { RouteKind::Probe } else { RouteKind::Normal };
        }
        route.reservation.limit = LimitVerdict::Diverted(first, exceeded);
        route.chosen = Candidate { p: None, ..other };
    }

    /// Begins to count where the settings ask for it now, and forgets where they do no more.
    pub(super) fn configure_rate_limits(&mut self) {
        for pool in &mut self.pools {
            let routers = pool.tree().routers();
            let settings = routers.filter_map(|id| self.routers.get(usize::from(id.0))).map(Router::settings);
            let limits = settings.filter_map(|settings| settings.rate_limit);
            pool.configure_rate_limits(limits.fold(RateLimitScope::Nothing, |all, rate_limit| {
                match (all, rate_limit.tpm) {
                    (_, Some(_)) | (RateLimitScope::Tokens, _) => RateLimitScope::Tokens,
                    _ => RateLimitScope::Calls,
                }
            }));
        }
        self.limits = if self.pools.iter().any(Pool::has_rate_limits) {
            let mut limits = self.limits.take().unwrap_or_default();
            limits.configure(self.routers.iter().map(|router| router.settings().rate_limit));
            Some(limits)
        } else {
            None
        };
    }

    /// A log says what a call used; an error used nothing, unless it says so. Whose call it was only its stamp can say; without
    /// one only that of a client which named the router itself is certainly not one of ours.
    pub(super) fn learn_usage(&mut self, report: &CallObservation<'_>, outcome: &Outcome, now: BrokerTime) {
        let Some(limits) = &mut self.limits else { return };
        let foreign = match report.stamp_id {
            Some(_) => report.decision.is_none(),
            None => report.ingress.is_some() && report.ingress == report.served_path,
        };
        let CallObservation { decision, total_tokens: used, quota: remaining, .. } = *report;
        let tokens = used.or_else(|| (outcome.status >= 400).then_some(0));
        limits.learn(&Usage { router: outcome.router, decision, foreign, tokens, remaining }, now);
    }

    /// The routers that might have served the request of a decision, had they had room for it; but for the one that its reason
    /// names.
    pub(super) fn skipped_for_limits(
        &self,
        pool: &Pool,
        route: &Route,
    ) -> impl Iterator<Item = (&RouterPath, LimitExceeded)> {
        let named = |id| {
            id == route.router() || matches!(route.reservation.limit, LimitVerdict::Diverted(first, _) if first == id)
        };
        let others = pool.tree().eligible_routers().filter(move |router| !named(*router));
        others.filter_map(|router| {
            let exceeded = self.limits.as_ref()?.exceeded(router, route.reservation.tokens)?;
            Some((self.path(router)?, exceeded))
        })
    }
}
