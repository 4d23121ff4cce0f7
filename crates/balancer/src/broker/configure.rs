//! Reloads: pools are rebuilt in one step, and what was learned about a router stays with its path.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Broker, BrokerSettings, Ingresses, PathRole, Pool, RouterSettings};
use crate::health::HealthEffect;
use crate::strategy::Tree;
use crate::table::Table;
use types::router::{PoolId, RouterId, RouterPath};
use types::time::BrokerTime;
use types::transition::HealthState;

impl Broker {
    /// Rebuilds the pools; known routers keep their state, and round robins their position.
    pub(super) fn configure(&mut self, settings: Arc<BrokerSettings>) {
        self.config_generation += 1;
        self.settings = Arc::clone(&settings);
        self.path_roles.clear();
        self.client_pools.clear();
        let before = std::mem::take(&mut self.pools);
        let by_ingress: FxHashMap<&RouterPath, &Pool> = before.values().map(|pool| (pool.ingress(), pool)).collect();
        let known = self.routers.iter().map(|(id, router)| (router.path.clone(), id));
        let mut known: FxHashMap<RouterPath, RouterId> = known.collect();
        let defaults = Arc::new(settings.defaults.clone());
        let targets: usize = settings.pools.iter().map(|pool| pool.root.size()).sum();
        self.routers.reserve(targets.saturating_sub(known.len()));
        for pool in &settings.pools {
            let root = self.operator.with_weight_overrides(&pool.ingress, &pool.root);
            let tree = Tree::new(&root, |path| self.intern_router(path, &defaults, &mut known));
            let new = Pool::new(pool.ingress.clone(), tree, pool.when_all_disabled);
            self.pools.push(match by_ingress.get(&pool.ingress) {
                Some(before) => new.continuing(before),
                None => new,
            });
        }
        let ids: FxHashMap<&RouterPath, PoolId> = self.pools.iter().map(|(id, pool)| (pool.ingress(), id)).collect();
        let renumbered: Table<PoolId, _> = before.values().map(|pool| ids.get(pool.ingress()).copied()).collect();
        self.routers.renumber_pools(&renumbered);
        for (id, pool) in (0_u16..).zip(&settings.pools) {
            let place = if settings.relayed.contains(&pool.ingress) { PathRole::Relayed } else { PathRole::Ingress };
            self.path_roles.insert(pool.ingress.clone(), place(PoolId(id)));
        }
        let Self { routers, pools, .. } = self;
        let leaves =
            pools.iter().flat_map(|(id, pool)| pool.tree().leaves().map(move |(leaf, router)| (id, leaf, router)));
        routers.set_leaves(leaves);
        self.configure_loads();
        self.configure_rate_limits();
        let pools = settings.pools.iter().zip(self.pools());
        let paths = Arc::new(self.routers.values().map(|router| router.path.clone()).collect());
        self.ingresses = Arc::new(Ingresses::new(self.config_generation, pools, &paths));
        self.paths = paths;
    }

    fn intern_router(
        &mut self,
        path: &RouterPath,
        defaults: &Arc<RouterSettings>,
        known: &mut FxHashMap<RouterPath, RouterId>,
    ) -> Option<RouterId> {
        let own = self.settings.routers.get(path).map(|own| Arc::new(own.clone()));
        let settings = own.unwrap_or_else(|| Arc::clone(defaults));
        let relayed = self.settings.relayed.contains(path);
        let id = match known.get(path) {
            Some(id) => {
                self.routers.set_settings(*id, settings, relayed);
                *id
            }
            None => {
                let id = self.routers.push(path.clone(), settings, relayed)?;
                known.insert(path.clone(), id);
                id
            }
        };
        self.path_roles.insert(path.clone(), PathRole::Router(id));
        Some(id)
    }

    /// Ends the cooldowns of these routers; probes find out what they do now.
    pub(super) fn end_cooldowns(&mut self, paths: &[RouterPath], now: BrokerTime) {
        for path in paths {
            if let Some(id) = self.router_at(path.as_str()) {
                self.routers.change_health(id, |health, _| health.end_cooldown(now));
                self.end_model_limits(id);
            }
        }
        self.tick(now);
    }

    /// Readmits routers that are never to be ejected under the new settings.
    pub(super) fn readmit_exempt(&mut self, now: BrokerTime) {
        for id in self.routers.ids() {
            if self.routers.get(id).is_some_and(|router| router.settings().health.disabled_time.is_zero()) {
                self.end_model_limits(id);
            }
            self.change_health(id, now, |health, settings| {
                if !settings.disabled_time.is_zero() || health.state() == HealthState::Serving {
                    return HealthEffect::None;
                }
                health.serve(now);
                HealthEffect::Returned
            });
        }
    }
}
