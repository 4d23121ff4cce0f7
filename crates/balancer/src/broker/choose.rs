//! The choice of a router for one request: the first candidate of the first tier that has one.

use rand::Rng;

use super::{Broker, Decision, Pass, PathRole, Pool, Route, RouteKind, WhenAllDisabled};
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
                None if pool.is_available() => {
                    return Decision::Pass(Pass::NoMatchingTarget(id, pool.tree().dead_end(request)));
                }
                None => return Decision::Pass(Pass::AllDisabled(id)),
            },
        };
        let mut decision = Decision::Route(Route { relayed: false, ..self.route(id, chosen, kind) });
        if pool.has_rate_limits()
            && let Decision::Route(route) = &mut decision
        {
            self.reselect_within_limits(pool, route, request, rng, |_| true);
        }
        decision
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
            WhenAllDisabled::Soonest => self.soonest(order.collect(), wanted)?,
            WhenAllDisabled::Any | WhenAllDisabled::Pass => order.find(wanted)?,
        };
        Some((chosen, RouteKind::Panic))
    }

    /// Of disabled routers the one that is back first, unless a call is there already. Of those whose upstreams have announced their
    /// waits only the very first is asked, and only now and then.
    fn soonest(&self, disabled: Vec<Candidate>, wanted: impl Fn(&Candidate) -> bool) -> Option<Candidate> {
        let health = |router| self.routers.get(router).map(|router| router.health());
        let until = |chosen: &Candidate| health(chosen.router).and_then(Health::until);
        let first = disabled.iter().min_by_key(|chosen| until(chosen))?.router;
        let is_asked = |chosen: &Candidate| {
            let is_kept = health(chosen.router)
                .is_none_or(|health| if chosen.router == first { health.rests() } else { health.waits_as_announced() });
            wanted(chosen) && !is_kept
        };
        let soonest = disabled.into_iter().filter(is_asked).min_by_key(until)?;
        let busy = health(soonest.router).is_none_or(|health| health.active_probes() > 0);
        (!busy).then_some(Candidate { p: None, ..soonest })
    }

    /// What a call to a router that may serve is.
    pub(super) fn kind(&self, router: RouterId) -> RouteKind {
        if self.probes(router) { RouteKind::Probe } else { RouteKind::Normal }
    }

    pub(super) fn probes(&self, router: RouterId) -> bool {
        self.routers.get(router).is_some_and(|router| router.health().is_probing())
    }
}
