//! The choice of a router for one request: the first candidate of the first tier that has one.

use rand::Rng;

use super::{Broker, Decision, Pass, PathRole, Pool, Route, RouteKind, WhenAllDisabled};
use crate::health::Health;
use crate::strategy::{Candidate, Tier, first};
use types::request::Request;
use types::router::RouterId;

impl Broker {
    /// The router for a request, and why. Reads only; health is that of the last input, so advance the clock first.
    pub fn choose<R: Rng>(&self, request: &impl Request, rng: &mut R) -> Decision {
        let Some(PathRole::Ingress(id)) = self.path_roles.get(request.path()).copied() else {
            return Decision::Pass(Pass::UnknownIngress);
        };
        let Some(pool) = self.pool(id) else { return Decision::Pass(Pass::UnknownIngress) };
        let route = match first(pool.tree(), self.context(), request, rng) {
            Some(chosen) => self.route(id, chosen),
            None => match self.choose_when_none_serves(pool, request, rng, |_| true) {
                Some((chosen, kind)) => Route { kind, ..self.route(id, chosen) },
                None if pool.is_available() => {
                    return Decision::Pass(Pass::NoMatchingTarget(id, pool.tree().dead_end(request)));
                }
                None => return Decision::Pass(Pass::AllDisabled(id)),
            },
        };
        let mut route = Route { relayed: false, ..route };
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
        let mut order = self.candidates(pool, Tier::Disabled, request, rng).filter(wanted);
        let chosen = match pool.when_all_disabled() {
            WhenAllDisabled::Soonest => {
                let health = |chosen: &Candidate| self.routers.get(chosen.router).map(|router| router.health());
                let soonest = order.min_by_key(|chosen| health(chosen).and_then(Health::until))?;
                let busy = health(&soonest).is_none_or(|health| health.active_probes() > 0);
                (!busy).then_some(Candidate { p: None, ..soonest })?
            }
            WhenAllDisabled::Any | WhenAllDisabled::Pass => order.next()?,
        };
        Some((chosen, RouteKind::Panic))
    }

    pub(super) fn probes(&self, router: RouterId) -> bool {
        self.routers.get(router).is_some_and(|router| router.health().is_probing())
    }
}
