//! The last router that serves in a pool, or what conditions lead to: a guess never ejects it, and where its settings keep it,
//! neither does a failure.

use super::Broker;
use crate::health::HealthEffect;
use types::outcome::Outcome;
use types::router::RouterId;
use types::time::BrokerTime;

impl Broker {
    /// Whether this is a failure of the last router that serves in some pool, and its settings keep the last one.
    pub(super) fn keeps_last(&mut self, id: RouterId, outcome: &Outcome) -> bool {
        let keeps = || self.routers.get(id).is_some_and(|router| router.settings().health.keep_last);
        if !outcome.class.is_failure() || !keeps() {
            return false;
        }
        self.refresh();
        self.is_last_serving(outcome.router)
    }

    fn is_last_serving(&self, router: RouterId) -> bool {
        let Some(known) = self.routers.get(router).filter(|known| known.health().is_in_service()) else { return false };
        let mut leaves = known.leaves().iter().filter_map(|(pool, leaf)| Some((self.pool(*pool)?, *leaf)));
        leaves.any(|(pool, leaf)| {
            pool.tree().gets_calls(leaf) && pool.has_no_other(leaf, |other| self.is_in_service(other))
        })
    }

    /// Takes a suspected router out, unless it is the last that serves in some pool: that would be too much for a guess.
    pub(super) fn eject_suspected(&mut self, id: RouterId, outcome: &Outcome, now: BrokerTime) -> HealthEffect {
        self.refresh();
        if self.is_last_serving(outcome.router) {
            return HealthEffect::Counted;
        }
        self.change_health(id, now, |health, settings| health.eject_suspected(outcome, settings, now))
    }
}
