//! The last router that serves in a pool: a guess never ejects it, and where its settings keep it, neither does a failure.

use super::Broker;
use crate::health::Effect;
use types::outcome::Outcome;
use types::router::RouterId;
use types::time::BrokerTime;
use types::transition::BrokerEvent;

impl Broker {
    /// Whether this is a failure of the last router that serves in some pool, and its settings keep the last one.
    pub(super) fn keeps_last(&mut self, place: usize, outcome: &Outcome, changes: &mut Vec<BrokerEvent>) -> bool {
        let keeps = self.routers.get(place).is_some_and(|router| router.settings().health.keep_last);
        if !keeps || !outcome.class.is_failure() {
            return false;
        }
        self.refresh(changes);
        self.is_last_serving(outcome.router)
    }

    fn is_last_serving(&self, router: RouterId) -> bool {
        self.is_in_service(router)
            && self.pools.iter().any(|pool| pool.is_last_serving(router, |other| self.is_in_service(other)))
    }

    /// Takes a suspected router out, unless it is the last that serves in some pool: that would be too much for a guess.
    pub(super) fn eject_suspected(
        &mut self,
        place: usize,
        outcome: &Outcome,
        now: BrokerTime,
        changes: &mut Vec<BrokerEvent>,
    ) -> Effect {
        self.refresh(changes);
        if self.is_last_serving(outcome.router) {
            return Effect::Counted;
        }
        let convicted =
            self.routers.change_health(place, |health, settings| health.eject_suspected(outcome, settings, now));
        convicted.unwrap_or(Effect::None)
    }
}
