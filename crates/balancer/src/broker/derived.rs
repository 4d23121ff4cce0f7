//! What is derived from the state of routers and operators: the pools' trees, and which of their targets are eligible.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Broker;
use super::routers::Router;
use types::router::PoolId;

impl Broker {
    /// Updates derived state: the pools' trees from operators' weights; from health and drains, which targets are eligible. Each
    /// writer calls it last, and before it reads what it changed. It visits only what a change touches: the leaves of the
    /// routers that changed, and what is above them.
    pub(super) fn refresh(&mut self) {
        if self.operator.take_reweighed() {
            self.configure(Arc::clone(&self.settings));
        }
        if !self.routers.is_stale() {
            return;
        }
        self.tell_pools();
    }

    /// Not inlined, because most inputs change no router's eligibility.
    #[inline(never)]
    fn tell_pools(&mut self) {
        self.eligibility_changes = self.eligibility_changes.wrapping_add(1);
        self.nothing_due_before =
            self.routers.next_deadline().map_or(self.nothing_due_before, |due| due.min(self.nothing_due_before));
        let change = self.eligibility_changes;
        let Self { routers, operator, pools, effects, .. } = self;
        if routers.take_stale() {
            for pool in pools.values_mut() {
                pool.refresh(|id| operator.readiness(routers, id));
                effects.extend(pool.finish_change(change));
            }
        } else {
            let mut touched: SmallVec<[PoolId; 4]> = SmallVec::new();
            for id in routers.take_changed() {
                let readiness = operator.readiness(routers, id);
                for (pool, leaf) in routers.get(id).map_or(&[][..], Router::leaves) {
                    touched.push(*pool);
                    if let Some(pool) = pools.get_mut(*pool) {
                        pool.set_eligibility(*leaf, readiness);
                    }
                }
            }
            touched.sort_unstable();
            touched.dedup();
            for pool in touched {
                effects.extend(pools.get_mut(pool).and_then(|pool| pool.finish_change(change)));
            }
        }
    }
}
