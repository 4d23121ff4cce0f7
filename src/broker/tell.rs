//! A decision in words, for those who look: which router and why, and who was passed over and until when. Slow.

use super::{Broker, Decision, Pass, Pool};
use crate::event::Standing;
use crate::router::{RouterId, RouterPath};
use crate::strategy::{NodeId, Note, WhyClosed};

impl Broker {
    /// A decision in words. Slow; for those who look.
    pub fn tell(&self, decision: &Decision) -> String {
        let ingress = |pool| self.pool(pool).map_or("?", |pool| pool.ingress().as_str());
        let passed = |pool| self.pool(pool).map(|pool| self.passed(pool)).unwrap_or_default();
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
                let why = pool.tree().why(&route.chosen.why);
                format!("{} -> {router}{p}: {why:#}{}", pool.ingress(), self.passed(pool))
            }
        }
    }

    /// The routers of a pool that may not serve whatever the request is, each with the reason.
    pub fn passed_over(&self, pool: &Pool) -> impl Iterator<Item = (&RouterPath, String)> {
        pool.tree().closed().filter_map(|(router, why)| Some((self.path(router)?, self.why_closed(router, why))))
    }

    fn passed(&self, pool: &Pool) -> String {
        self.passed_over(pool).map(|(router, why)| format!("; not {router} ({why})")).collect()
    }

    /// The tree knows that a router is out; why and until when is its standing's to say.
    fn why_closed(&self, router: RouterId, why: WhyClosed) -> String {
        let standing = self.routers.get(usize::from(router.0)).map(|router| router.health.standing());
        if let (WhyClosed::Disabled, Some(hold)) = (why, self.operator.drained.get(&router)) {
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

/// Where a request went no further, and why.
fn dead(pool: &Pool, dead_end: Option<(NodeId, Note)>) -> String {
    let Some(step) = dead_end else { return String::new() };
    let meant = if step.1 == Note::NoMatch { "" } else { ", and nothing there may serve" };
    format!(": {:#}{meant}", pool.tree().why(&[step]))
}
