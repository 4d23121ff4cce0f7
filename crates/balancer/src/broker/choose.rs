//! The choice of a router for one request: the first candidate of the first tier that has one.

use rand::Rng;

use super::{Broker, Decision, Pass, PathRole, Pool, RouteKind, WhenAllDisabled};
use crate::health::Health;
use crate::strategy::{Candidate, CandidateCursor, Tier};
use types::request::Request;
use types::router::RouterId;
use types::time::BrokerTime;

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
        let mut route = self.route(id, chosen, kind);
        route.relayed = false;
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

    /// Of disabled routers the one that is back first, one call at a time: while one has a call that was sent just now, none of those
    /// that are back later is asked, and one that has a call is not asked again. Of those whose upstreams have announced their waits
    /// only the first is asked, and only now and then, by a call that can show that it is back (`shows_return`); they keep no calls from
    /// the others.
    fn soonest(
        &self,
        disabled: Vec<Candidate>,
        shows_return: bool,
        wanted: impl Fn(&Candidate) -> bool,
    ) -> Option<Candidate> {
        let disabled = || {
            let known = disabled.iter().filter_map(|chosen| Some((chosen, self.routers.get(chosen.router)?.health())));
            known.filter_map(|(chosen, health)| Some((health.until()?, chosen, health)))
        };
        // From these moments on those that are back are not asked.
        let (mut busy_from, mut kept_from) = (BrokerTime::MAX, BrokerTime::MAX);
        for (until, chosen, health) in disabled() {
            let (is_busy, just_now) = (health.active_probes() > 0, health.was_asked_just_now());
            match health.waits_as_announced() {
                true if just_now || !is_busy && !wanted(chosen) => kept_from = kept_from.min(until),
                false if just_now && is_busy && wanted(chosen) => busy_from = busy_from.min(until),
                _ => {}
            }
        }
        let may_ask = |(until, chosen, health): &(BrokerTime, &Candidate, &Health)| {
            let is_early = health.waits_as_announced();
            let is_kept = busy_from <= *until || is_early && (kept_from <= *until || !shows_return);
            !is_kept && health.active_probes() == 0 && wanted(chosen)
        };
        let (_, soonest, _) = disabled().filter(may_ask).min_by_key(|(until, ..)| *until)?;
        Some(Candidate { p: None, ..soonest.clone() })
    }

    /// What a call to a router that may serve is.
    pub(super) fn kind(&self, router: RouterId) -> RouteKind {
        if self.probes(router) { RouteKind::Probe } else { RouteKind::Normal }
    }

    pub(super) fn probes(&self, router: RouterId) -> bool {
        self.routers.get(router).is_some_and(|router| router.health().is_probing())
    }
}
