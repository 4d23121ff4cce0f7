//! A decision in words, for those who look: which router and why, and who was passed over and until when. Slow.

use std::fmt;

use super::{Broker, Decision, Pass, Pool, Room, Route, Sent};
use crate::event::Standing;
use crate::load::budget::Lack;
use crate::outcome::Cause;
use crate::router::{RouterId, RouterPath};
use crate::strategy::{NodeId, Note, WhyClosed};

impl Broker {
    /// A decision in words. Slow; for those who look.
    pub fn tell(&self, decision: &Decision) -> String {
        let ingress = |pool| self.pool(pool).map_or("?", |pool| pool.ingress().as_str());
        let passed = |pool| self.pool(pool).map(|pool| self.passed(pool, None)).unwrap_or_default();
        match decision {
            Decision::Pass(Pass::NotOurs) => "not an ingress of ours".to_owned(),
            Decision::Pass(Pass::AllDisabled(pool)) => {
                format!("{}: nothing may serve{}", ingress(*pool), passed(*pool))
            }
            Decision::Pass(Pass::NothingForIt(id, dead_end)) => {
                let why = self.pool(*id).map(|pool| dead(pool, *dead_end)).unwrap_or_default();
                format!("{}: nothing for this request{why}{}", ingress(*id), passed(*id))
            }
            Decision::Route(route) => {
                let Some((pool, router)) = self.pool(route.pool).zip(self.path(route.router())) else {
                    return String::new();
                };
                let p = route.chosen.p.map(|p| format!(" (p {p:.3})")).unwrap_or_default();
                let (why, standing) = (pool.tree().why(&route.chosen.why), self.although(route));
                let passed = self.passed(pool, Some(router));
                let crowded =
                    self.crowded(pool, route).map(|(router, lack)| format!("; not {router} (no room: {lack})"));
                let crowded: String = crowded.collect();
                format!("{} -> {router}{p}: {why:#}{standing}{passed}{crowded}", pool.ingress())
            }
        }
    }

    /// What stands against the router of a decision and why it was chosen nevertheless; nothing if it simply serves.
    pub fn although(&self, route: &Route) -> Although<'_> {
        let standing = self.routers.get(usize::from(route.router().0)).map(|router| router.health().standing());
        let cause = match standing {
            Some(Standing::Probing { cause } | Standing::Cooling { cause, .. }) => Some(cause),
            Some(Standing::Serving) | None => None,
        };
        let full = match route.claim.room {
            Room::There => None,
            Room::Elsewhere(router, lack) => Some((self.path(router), lack)),
            Room::Nowhere(lack) => Some((None, lack)),
        };
        Although { sent: route.sent, cause, full }
    }

    /// The routers of a pool that may not serve whatever the request is, each with the reason.
    pub fn passed_over(&self, pool: &Pool) -> impl Iterator<Item = (&RouterPath, String)> {
        pool.tree().closed().filter_map(|(router, why)| Some((self.path(router)?, self.why_closed(router, why))))
    }

    fn passed(&self, pool: &Pool, chosen: Option<&RouterPath>) -> String {
        let others = self.passed_over(pool).filter(|(router, _)| Some(*router) != chosen);
        others.map(|(router, why)| format!("; not {router} ({why})")).collect()
    }

    /// The tree knows that a router is out; why and until when is its standing's to say.
    fn why_closed(&self, router: RouterId, why: WhyClosed) -> String {
        let standing = self.routers.get(usize::from(router.0)).map(|router| router.health().standing());
        if let (WhyClosed::Disabled, Some(hold)) = (why, self.operator.hold(router)) {
            let until = hold.until.map(|until| format!(" until {until}")).unwrap_or_default();
            return format!("drained{until}");
        }
        match (why, standing) {
            (WhyClosed::Disabled, Some(Standing::Cooling { until, cause })) => format!("{why} until {until}, {cause}"),
            (WhyClosed::Disabled, Some(Standing::Probing { cause })) => {
                format!("on probation and being tried, {cause}")
            }
            _ => why.to_string(),
        }
    }
}

/// Why a router was chosen that does not simply serve, or was not the first in order, in words.
#[derive(Debug, Clone, Copy)]
pub struct Although<'a> {
    sent: Sent,
    cause: Option<Cause>,
    /// What had no room: this router, or nobody.
    full: Option<(Option<&'a RouterPath>, Lack)>,
}

impl fmt::Display for Although<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.full {
            Some((Some(router), lack)) => write!(f, "; instead of {router}, no room: {lack}")?,
            Some((None, lack)) => write!(f, "; no room anywhere: {lack}")?,
            None => {}
        }
        let Some(cause) = self.cause else { return Ok(()) };
        let standing = match self.sent {
            Sent::ToServe => return Ok(()),
            Sent::ToProve => "on probation",
            Sent::AsLastResort => "on probation and being tried, but nothing else is left",
            Sent::WhileDisabled => "disabled, as all are",
        };
        write!(f, "; {standing} ({cause})")
    }
}

/// Where a request went no further, and why.
fn dead(pool: &Pool, dead_end: Option<(NodeId, Note)>) -> String {
    let Some(step) = dead_end else { return String::new() };
    let meant = if matches!(step.1, Note::NoMatch(_)) { "" } else { ", and nothing there may serve" };
    format!(": {:#}{meant}", pool.tree().why(&[step]))
}
