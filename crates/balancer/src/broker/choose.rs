//! The choice of a router for one request: the first candidate of the first tier that has one.

use rand::Rng;

use super::{Broker, Decision, Pass, PathRole, Pool, PoolId, Route, RouteKind, WhenAllDisabled};
use crate::health::Health;
use crate::strategy::{Candidate, CandidateCursor, Tier};
use types::request::Request;
use types::router::RouterId;

impl Broker {
    /// The router for a request, and why. Reads only; health is that of the last input, so advance the clock first.
    pub fn choose<R: Rng>(&self, request: &impl Request, rng: &mut R) -> Decision {
        let Some(PathRole::Ingress(id)) = self.path_roles.get(request.path()).copied() else {
            return Decision::Pass(Pass::UnknownIngress);
        };
        let Some(pool) = self.pool(id) else { return Decision::Pass(Pass::UnknownIngress) };
        let (chosen, kind) = match CandidateCursor::of_one_step().next(pool.tree(), self.context(), request, rng) {
            Some(chosen) => {
                let kind = self.kind(chosen.router);
                (chosen, kind)
            }
            None => match self.choose_when_none_serves(pool, request, rng, |_| true) {
                Some(found) => found,
                None => return Decision::Pass(no_router(id, pool, request)),
            },
        };
        let mut route = Route { relayed: false, ..self.route(id, chosen, kind) };
        self.apply_rate_limits(pool, &mut route, request, rng, |_| true);
        Decision::Route(route)
    }

    /// The choice when no router is available, among those that are wanted. Not inlined, because it is rare.
    #[inline(never)]
    pub(super) fn choose_when_none_serves<R: Rng>(
        &self,
        pool: &Pool,
        request: &impl Request,
        rng: &mut R,
        wanted: impl Fn(RouterId) -> bool,
    ) -> Option<(Candidate, RouteKind)> {
        if let Some(chosen) = self.candidates(pool, Tier::LastResort, request, rng).next_wanted(&wanted) {
            return Some((chosen, RouteKind::LastResort));
        }
        let chosen = match pool.when_all_disabled() {
            WhenAllDisabled::Soonest => {
                let soonest = self.soonest(pool, request, wanted)?;
                self.candidate(pool, Tier::Disabled, soonest, request, rng)?
            }
            WhenAllDisabled::Any | WhenAllDisabled::Pass => {
                self.candidates(pool, Tier::Disabled, request, rng).next_wanted(wanted)?
            }
        };
        Some((chosen, RouteKind::Panic))
    }

    /// Of disabled routers the one that is back first, one call at a time: after one was sent a call the next is asked when that is
    /// over, or takes too long, and none twice at a time. Those whose upstreams have announced their waits are asked only now and then,
    /// one by each request, and only by those that can show that it is back (which generate something); they keep no calls from the others.
    fn soonest(&self, pool: &Pool, request: &impl Request, wanted: impl Fn(RouterId) -> bool) -> Option<RouterId> {
        let (mut is_asked, mut may_be_early) = (false, request.is_generation());
        let disabled = || {
            let disabled = pool.tree().eligible_for(Tier::Disabled, request);
            let known = disabled.filter_map(|router| Some((router, self.routers.get(router)?.health())));
            known.map(|(router, health)| (router, health, health.active_probes() > 0, health.waits_as_announced()))
        };
        for (router, health, is_busy, is_announced) in disabled() {
            let just_now = health.was_asked_just_now();
            is_asked |= !is_announced && is_busy && just_now;
            may_be_early &= !is_announced || !just_now && (is_busy || wanted(router));
        }
        let may_ask = |(router, _, is_busy, is_announced): &(RouterId, &Health, bool, bool)| {
            !is_busy && (!is_announced || may_be_early) && wanted(*router)
        };
        let soonest = disabled().filter(|_| !is_asked).filter(may_ask).min_by_key(|(_, health, ..)| health.until());
        soonest.map(|(router, ..)| router)
    }

    /// What a call to a router that may serve is.
    pub(super) fn kind(&self, router: RouterId) -> RouteKind {
        if self.probes(router) { RouteKind::Probe } else { RouteKind::Normal }
    }

    pub(super) fn probes(&self, router: RouterId) -> bool {
        self.routers.is_on_probation(router)
    }
}

/// Why a pool has no router for a request.
pub(super) fn no_router(id: PoolId, pool: &Pool, request: &impl Request) -> Pass {
    if pool.is_available() { Pass::NoMatchingTarget(id, pool.tree().dead_end(request)) } else { Pass::AllDisabled(id) }
}
