//! Decisions as text: which router and why, and which routers were not eligible and until when. Slow.

use super::{Broker, Decision, Pass, Pool, Route, RouteKind};
use crate::strategy::{Ineligible, PickReason, PickStep};
use types::outcome::Cause;
use types::router::{RouterId, RouterPath};
use types::transition::HealthState;

/// Routers that an explanation lists at most: it is part of answers, and made under the lock.
const MAX_LISTED_ROUTERS: usize = 20;

impl Broker {
    /// A decision as text, with the routers that could not be chosen instead, at most twenty of them. Slow.
    pub fn explain(&self, decision: &Decision) -> String {
        let ingress = |pool| self.pool(pool).map_or("?", |pool| pool.ingress().as_str());
        let passed = |pool| self.pool(pool).map(|pool| self.passed(pool, None)).unwrap_or_default();
        match decision {
            Decision::Pass(Pass::UnknownIngress) => "not an ingress of ours".to_owned(),
            Decision::Pass(Pass::AllDisabled(pool)) => {
                format!("{}: nothing may serve{}", ingress(*pool), passed(*pool))
            }
            Decision::Pass(Pass::NoMatchingTarget(id, dead_end)) => {
                let why = self.pool(*id).map(|pool| dead(pool, *dead_end)).unwrap_or_default();
                format!("{}: nothing for this request{why}{}", ingress(*id), passed(*id))
            }
            Decision::Route(route) => {
                let described = self.pool(route.pool).zip(self.description(route.pool));
                let Some(((pool, description), router)) = described.zip(self.path(route.router())) else {
                    return String::new();
                };
                let p = route.chosen.p.map(|p| format!(" (p {p:.3})")).unwrap_or_default();
                let (why, state) = (pool.tree().details().why(&route.chosen.why), description.caveat(route));
                let passed = self.passed(pool, Some(route));
                format!("{} -> {router}{p}: {why:#}{state}{passed}", pool.ingress())
            }
        }
    }

    /// What is wrong with a router that is chosen in this way; `None` if it simply serves.
    #[inline]
    pub(super) fn cause(&self, router: RouterId, kind: RouteKind) -> Option<Cause> {
        if kind == RouteKind::Normal {
            return None;
        }
        match self.routers.get(router)?.health().state() {
            HealthState::Probing { cause } | HealthState::Cooling { cause, .. } => Some(cause),
            HealthState::Serving => None,
        }
    }

    /// The routers of a pool that may not serve any request, each with the reason.
    pub fn ineligible_routers(&self, pool: &Pool) -> impl Iterator<Item = (&RouterPath, String)> {
        pool.tree().ineligible().filter_map(|(router, why)| Some((self.path(router)?, self.ineligibility(router, why))))
    }

    /// Those that could not be chosen instead, by their health and by their limits.
    fn passed(&self, pool: &Pool, chosen: Option<&Route>) -> String {
        let router = chosen.and_then(|route| self.path(route.router()));
        let ineligible = self.ineligible_routers(pool).filter(|(other, _)| Some(*other) != router);
        let skipped = chosen.into_iter().flat_map(|route| self.skipped_for_limits(pool, route));
        let skipped = skipped.map(|(other, exceeded)| (other, format!("no room: {exceeded}")));
        // Of a call for another model that says nothing. Which model is not said: it may be another client's.
        let of_model = chosen.is_none_or(|route| route.reservation.limit.is_of_model());
        let diverted = chosen.and_then(|route| self.path(route.reservation.limit.diverted_from()?));
        let limited = of_model.then(|| self.model_limits_of(pool)).into_iter().flatten();
        let limited = limited.filter(move |(other, ..)| Some(*other) != router && Some(*other) != diverted);
        let limited = limited.map(|(other, models, until)| {
            let models = if models == 1 { "one model".to_owned() } else { format!("{models} models, for one") };
            (other, format!("rests for {models} until {until}"))
        });
        let mut others = ineligible.chain(skipped).chain(limited);
        let listed = others.by_ref().take(MAX_LISTED_ROUTERS);
        let listed: String = listed.map(|(router, why)| format!("; not {router} ({why})")).collect();
        listed + if others.next().is_some() { "; and others" } else { "" }
    }

    /// The tree knows that a router may not serve; its health knows why and until when.
    fn ineligibility(&self, router: RouterId, why: Ineligible) -> String {
        let state = self.routers.get(router).map(|router| router.health().state());
        if let (Ineligible::Disabled, Some(terms)) = (why, self.operator.drained_by(router)) {
            let until = terms.until.map(|until| format!(" until {until}")).unwrap_or_default();
            return format!("drained{until}");
        }
        match (why, state) {
            (Ineligible::Disabled, Some(HealthState::Cooling { until, cause })) => {
                format!("{why} until {until}, {cause}")
            }
            (Ineligible::Disabled, Some(HealthState::Probing { cause })) => {
                format!("on probation and being tried, {cause}")
            }
            _ => why.to_string(),
        }
    }
}

/// Where the search ended, and why.
fn dead(pool: &Pool, dead_end: Option<PickStep>) -> String {
    let Some(step) = dead_end else { return String::new() };
    let meant = if matches!(step.reason, PickReason::NoMatch(_)) { "" } else { ", and nothing there may serve" };
    format!(": {:#}{meant}", pool.tree().details().why(&[step]))
}
