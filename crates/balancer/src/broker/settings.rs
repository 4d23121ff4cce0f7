//! The settings that decisions depend on.

use std::collections::{BTreeMap, BTreeSet};

use super::WhenAllDisabled;
use crate::health;
use crate::load::rate_limit::RateLimit;
use crate::strategy::{Policy, Target, TargetKind};
use types::outcome::FailureRule;
use types::router::RouterPath;

#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The router that clients call.
    pub ingress: RouterPath,
    /// Its targets: a branch.
    pub root: Target,
    /// What happens to a request when all routers are disabled.
    pub when_all_disabled: WhenAllDisabled,
}

/// The settings of one router, in every pool.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouterSettings {
    /// Which answers count as failures.
    pub failures: FailureRule,
    /// How it is ejected and readmitted.
    pub health: health::HealthSettings,
    pub rate_limit: Option<RateLimit>,
}

/// Everything that decisions depend on.
#[derive(Debug, Clone, Default)]
pub struct BrokerSettings {
    /// The pools, at most one per ingress.
    pub pools: Vec<PoolSettings>,
    /// For routers without settings of their own.
    pub defaults: RouterSettings,
    /// For these routers.
    pub routers: BTreeMap<RouterPath, RouterSettings>,
    /// Paths of the relay and not of the gateway: ingresses that only the relay serves, targets that only it reaches.
    pub relayed: BTreeSet<RouterPath>,
}

impl BrokerSettings {
    /// One pool over these routers with equal weights, as configured by environment variables.
    pub fn flat(ingress: RouterPath, routers: Vec<RouterPath>, defaults: RouterSettings) -> Self {
        let targets = routers.into_iter().map(|path| Target::plain(TargetKind::Router(path))).collect();
        let root = Target::plain(TargetKind::Branch { policy: Policy::LoadBalance, targets });
        Self {
            pools: vec![PoolSettings { ingress, root, when_all_disabled: WhenAllDisabled::default() }],
            defaults,
            ..Self::default()
        }
    }

    /// The settings of the pool at an ingress.
    pub fn pool(&self, ingress: &RouterPath) -> Option<&PoolSettings> {
        self.pools.iter().find(|pool| pool.ingress == *ingress)
    }

    /// The settings of a router.
    pub fn for_router(&self, router: &RouterPath) -> &RouterSettings {
        self.routers.get(router).unwrap_or(&self.defaults)
    }
}
