//! Settings take over: pools are built anew in one step, and what was learnt of a router stays with its path.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Broker, Place, Pool, RouterSettings, Settings};
use crate::event::{Change, Standing};
use crate::router::{PoolId, RouterId, RouterPath};
use crate::strategy::Tree;
use crate::time::Now;

impl Broker {
    /// Builds the pools anew, in one step; routers that were known keep what is known of them, and their turns.
    pub(super) fn configure(&mut self, settings: &Settings) {
        self.edition += 1;
        self.settings = settings.clone();
        self.places.clear();
        let before = std::mem::take(&mut self.pools);
        let before: FxHashMap<&RouterPath, &Pool> = before.iter().map(|pool| (pool.ingress(), pool)).collect();
        let known = (0_u16..).zip(self.routers.iter()).map(|(id, router)| (router.path.clone(), RouterId(id)));
        let mut known: FxHashMap<RouterPath, RouterId> = known.collect();
        let defaults = Arc::new(settings.defaults.clone());
        for pool in &settings.pools {
            let root = self.operator.weighed(&pool.ingress, &pool.root);
            let mut tree = Tree::new(&root, |path| self.enrol(path, &defaults, &mut known));
            let old = before.get(&pool.ingress);
            if let Some(old) = old {
                tree.go_on_from(old.tree());
            }
            let served = old.is_none_or(|old| old.serves());
            let spread = old.map(|old| old.spread().clone()).unwrap_or_default();
            self.pools.push(Pool::new(pool.ingress.clone(), tree, pool.when_all_disabled, (served, spread)));
        }
        for (id, pool) in (0_u16..).zip(&settings.pools) {
            let place = if settings.relayed.contains(&pool.ingress) { Place::Relayed } else { Place::Ingress };
            self.places.insert(pool.ingress.clone(), place(PoolId(id)));
        }
        self.routers.mark_stale();
        self.keep_loads();
        self.keep_budgets();
    }

    fn enrol(
        &mut self,
        path: &RouterPath,
        defaults: &Arc<RouterSettings>,
        known: &mut FxHashMap<RouterPath, RouterId>,
    ) -> Option<RouterId> {
        let own = self.settings.routers.get(path).map(|own| Arc::new(own.clone()));
        let settings = own.unwrap_or_else(|| Arc::clone(defaults));
        let id = match known.get(path) {
            Some(id) => {
                self.routers.set_settings(usize::from(id.0), settings);
                *id
            }
            None => {
                let id = RouterId(u16::try_from(self.routers.len()).ok()?);
                self.routers.push(path.clone(), settings);
                known.insert(path.clone(), id);
                id
            }
        };
        self.places.insert(path.clone(), Place::Router(id));
        Some(id)
    }

    /// Lets those back who are never to be taken out.
    pub(super) fn pardon(&mut self, now: Now, changes: &mut Vec<Change>) {
        for place in 0..self.routers.len() {
            let pardoned = self.routers.change_health(place, |health, settings| {
                let pardoned = settings.disabled_time.is_zero() && health.standing() != Standing::Serving;
                if pardoned {
                    health.serve(now);
                }
                pardoned
            });
            if pardoned == Some(true) {
                self.announce(place, now, Change::Standing, changes);
            }
        }
    }
}
