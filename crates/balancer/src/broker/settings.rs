//! What shapes decisions, as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;

use super::WhenAllDisabled;
use crate::health;
use crate::load::rate_limit::RateLimit;
use crate::strategy::{Policy, Target, TargetKind};
use types::outcome::FailureRule;
use types::router::RouterPath;

/// What one pool is made of.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The router that clients call.
    pub ingress: RouterPath,
    /// What stands behind it: a branch.
    pub root: Target,
    /// What becomes of a request when all routers are disabled.
    pub when_all_disabled: WhenAllDisabled,
}

/// What belongs to one router, wherever it stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouterSettings {
    /// Which answers count as failures.
    pub failures: FailureRule,
    /// How it is taken out.
    pub health: health::HealthSettings,
    /// What it may get within a minute.
    pub rate_limit: Option<RateLimit>,
}

/// Everything that shapes decisions.
#[derive(Debug, Clone, Default)]
pub struct BrokerSettings {
    /// The pools, at most one per ingress.
    pub pools: Vec<PoolSettings>,
    /// For every router that has none of its own.
    pub defaults: RouterSettings,
    /// For these routers.
    pub routers: BTreeMap<RouterPath, RouterSettings>,
    /// The paths that are the relay's and not the gateway's: ingresses that only it serves, targets that only it reaches.
    pub relayed: BTreeSet<RouterPath>,
}

impl BrokerSettings {
    /// One pool that spreads evenly over some routers: what the environment can say.
    pub fn flat(ingress: RouterPath, routers: Vec<RouterPath>, defaults: RouterSettings) -> Self {
        let targets = routers.into_iter().map(|path| Target::plain(TargetKind::Router(path))).collect();
        let root = Target::plain(TargetKind::Branch { mode: Policy::LoadBalance, targets });
        Self {
            pools: vec![PoolSettings { ingress, root, when_all_disabled: WhenAllDisabled::default() }],
            defaults,
            ..Self::default()
        }
    }

    /// Eight hexadecimal digits that differ when the settings do; the same in every replica.
    pub fn fingerprint(&self) -> String {
        let mut hasher = fnv::FnvHasher::default();
        // The settings hold numbers and patterns that have no hash of their own; their debug text has everything.
        hasher.write(format!("{self:?}").as_bytes());
        format!("{:08x}", hasher.finish() >> 32)
    }

    /// Those of a router.
    pub fn for_router(&self, router: &RouterPath) -> &RouterSettings {
        self.routers.get(router).unwrap_or(&self.defaults)
    }
}
