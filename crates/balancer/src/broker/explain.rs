//! Decisions as text: which router and why, and which routers were not eligible and until when. Slow.

use std::fmt;

use super::{Broker, Decision, LimitVerdict, Pass, Pool, Route, RouteKind};
use crate::load::rate_limit::LimitExceeded;
use crate::strategy::{Ineligible, NodeId, PickReason};
use types::outcome::Cause;
use types::router::{RouterId, RouterPath};
use types::transition::HealthState;

impl Broker {
    /// A decision as text. Slow; for the command line and the page.
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
                let Some((pool, router)) = self.pool(route.pool).zip(self.path(route.router())) else {
                    return String::new();
                };
                let p = route.chosen.p.map(|p| format!(" (p {p:.3})")).unwrap_or_default();
                let (why, state) = (pool.tree().why(&route.chosen.why), self.caveat(route));
                let passed = self.passed(pool, Some(router));
                let skipped_for_limits = self
                    .skipped_for_limits(pool, route)
                    .map(|(router, exceeded)| format!("; not {router} (no room: {exceeded})"));
                let skipped_for_limits: String = skipped_for_limits.collect();
                format!("{} -> {router}{p}: {why:#}{state}{passed}{skipped_for_limits}", pool.ingress())
            }
        }
    }

    /// Why the router of a decision was chosen, as in its stamp.
    pub const fn reason<'a>(&'a self, route: &'a Route) -> RouteReason<'a> {
        RouteReason { broker: self, route }
    }

    /// What is wrong with the chosen router and why it was chosen nevertheless; displays as nothing if it simply
    /// serves.
    pub(crate) fn caveat(&self, route: &Route) -> Caveat<'_> {
        let state = self.routers.get(route.router()).map(|router| router.health().state());
        let cause = match state {
            Some(HealthState::Probing { cause } | HealthState::Cooling { cause, .. }) => Some(cause),
            Some(HealthState::Serving) | None => None,
        };
        let full = match route.reservation.limit {
            LimitVerdict::Within => None,
            LimitVerdict::Diverted(router, exceeded) => Some((self.path(router), exceeded)),
            LimitVerdict::Exceeded(exceeded) => Some((None, exceeded)),
        };
        Caveat { sent: route.kind, cause, full }
    }

    /// The routers of a pool that may not serve any request, each with the reason.
    pub fn ineligible_routers(&self, pool: &Pool) -> impl Iterator<Item = (&RouterPath, String)> {
        pool.tree().ineligible().filter_map(|(router, why)| Some((self.path(router)?, self.ineligibility(router, why))))
    }

    fn passed(&self, pool: &Pool, chosen: Option<&RouterPath>) -> String {
        let others = self.ineligible_routers(pool).filter(|(router, _)| Some(*router) != chosen);
        others.map(|(router, why)| format!("; not {router} ({why})")).collect()
    }

    /// The tree knows that a router may not serve; its health knows why and until when.
    fn ineligibility(&self, router: RouterId, why: Ineligible) -> String {
        let state = self.routers.get(router).map(|router| router.health().state());
        if let (Ineligible::Disabled, Some(hold)) = (why, self.operator.hold(router)) {
            let until = hold.until.map(|until| format!(" until {until}")).unwrap_or_default();
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

/// Displays why a router was chosen, as in its stamp.
#[derive(Debug, Clone, Copy)]
pub struct RouteReason<'a> {
    broker: &'a Broker,
    route: &'a Route,
}

impl fmt::Display for RouteReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broker, route } = self;
        let Some(pool) = broker.pool(route.pool) else { return Ok(()) };
        write!(f, "{}", pool.tree().why(&route.chosen.why))?;
        if route.kind != RouteKind::Normal || route.reservation.limit != LimitVerdict::Within {
            write!(f, "{}", broker.caveat(route))?;
        }
        if let Some(maker) = route.instead_of.and_then(|router| broker.path(router)) {
            write!(f, "; affinity with {maker} not possible")?;
        }
        if let Some((router, reason)) = route.passed_over
            && let Some(router) = broker.path(router)
        {
            write!(f, "; {router} passed over: {reason}")?;
        }
        Ok(())
    }
}

/// Displays why a router was chosen that does not simply serve, or was not the first in order.
#[derive(Debug, Clone, Copy)]
pub struct Caveat<'a> {
    sent: RouteKind,
    cause: Option<Cause>,
    /// The exceeded limit, of this router, or of all of them.
    full: Option<(Option<&'a RouterPath>, LimitExceeded)>,
}

impl fmt::Display for Caveat<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.full {
            Some((Some(router), exceeded)) => write!(f, "; instead of {router}, no room: {exceeded}")?,
            Some((None, exceeded)) => write!(f, "; no room anywhere: {exceeded}")?,
            None => {}
        }
        let Some(cause) = self.cause else { return Ok(()) };
        let state = match self.sent {
            RouteKind::Normal => return Ok(()),
            RouteKind::Probe => "on probation",
            RouteKind::LastResort => "on probation, and nothing else is left",
            RouteKind::Panic => "disabled, and nothing else is left",
        };
        write!(f, "; {state} ({cause})")
    }
}

/// Where the search ended, and why.
fn dead(pool: &Pool, dead_end: Option<(NodeId, PickReason)>) -> String {
    let Some(step) = dead_end else { return String::new() };
    let meant = if matches!(step.1, PickReason::NoMatch(_)) { "" } else { ", and nothing there may serve" };
    format!(": {:#}{meant}", pool.tree().why(&[step]))
}
