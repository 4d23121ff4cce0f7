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

    /// The choice when no router is available, among those that are wanted.
    pub(super) fn choose_when_none_serves<R: Rng>(
        &self,
        pool: &Pool,
        request: &impl Request,
        rng: &mut R,
        wanted: impl Fn(RouterId) -> bool,
    ) -> Option<(Candidate, RouteKind)> {
        let wanted = |chosen: &Candidate| wanted(chosen.router);
        if let Some(chosen) = self.candidates(pool, Tier::LastResort, request, rng).find(wanted) {
            return Some((chosen, RouteKind::LastResort));
        }
        let mut order = self.candidates(pool, Tier::Disabled, request, rng);
        let chosen = match pool.when_all_disabled() {
            WhenAllDisabled::Soonest => {
                let disabled = order.collect();
                self.soonest(disabled, request.is_generation(), wanted)?
            }
            WhenAllDisabled::Any | WhenAllDisabled::Pass => order.find(wanted)?,
        };
        Some((chosen, RouteKind::Panic))
    }

    /// Of disabled routers the one that is back first, one call at a time: after one was sent a call the next is asked when that is
    /// over, or takes too long, and none twice at a time. Those whose upstreams have announced their waits are asked only now and then,
    /// one by each request, and only by those that can show that it is back (`shows_return`); they keep no calls from the others.
    fn soonest(
        &self,
        disabled: Vec<Candidate>,
        shows_return: bool,
        wanted: impl Fn(&Candidate) -> bool,
    ) -> Option<Candidate> {
        let (mut is_asked, mut may_be_early) = (false, shows_return);
        let known = || {
            let known = disabled.iter().filter_map(|chosen| Some((chosen, self.routers.get(chosen.router)?.health())));
            known.map(|(chosen, health)| (chosen, health, health.active_probes() > 0, health.waits_as_announced()))
        };
        for (chosen, health, is_busy, is_announced) in known() {
            let just_now = health.was_asked_just_now();
            is_asked |= !is_announced && is_busy && just_now;
            may_be_early &= !is_announced || !just_now && (is_busy || wanted(chosen));
        }
        let may_ask = |(chosen, _, is_busy, is_announced): &(&Candidate, &Health, bool, bool)| {
            !is_busy && (!is_announced || may_be_early) && wanted(chosen)
        };
        let soonest = known().filter(|_| !is_asked).filter(may_ask).min_by_key(|(_, health, ..)| health.until());
        soonest.map(|(chosen, ..)| Candidate { p: None, ..chosen.clone() })
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
