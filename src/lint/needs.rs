//! The fields of requests that the pools need, and so the gateway's configuration must provide.

use balancer::broker::{BrokerSettings, PoolSettings};
use balancer::strategy::{Field, Target, TargetKind};
use types::router::RouterPath;

/// The needs of one pool.
#[derive(Debug, Default)]
pub(super) struct PoolNeeds<'a> {
    /// Its routers, each once, in the order of the tree.
    pub(super) routers: Vec<&'a RouterPath>,
    /// The fields that strategies read, each once.
    pub(super) fields: Vec<&'a Field>,
    /// Whether a target changes the request.
    pub(super) patches: bool,
    /// Whether a strategy chooses by calls in flight.
    pub(super) learns: bool,
    /// A router whose budget counts tokens.
    pub(super) tokens: Option<&'a RouterPath>,
}

/// The needs of all pools.
#[derive(Debug)]
pub(super) struct PoolsNeeds<'a> {
    pub(super) pools: Vec<(&'a RouterPath, PoolNeeds<'a>)>,
}

impl<'a> PoolsNeeds<'a> {
    pub(super) fn for_settings(settings: &'a BrokerSettings) -> Self {
        let counts =
            |router: &RouterPath| settings.for_router(router).rate_limit.is_some_and(|budget| budget.tpm.is_some());
        let pool = |pool: &'a PoolSettings| {
            let mut needs = PoolNeeds::default();
            needs.take(&pool.root);
            needs.tokens = needs.routers.iter().copied().find(|router| counts(router));
            (&pool.ingress, needs)
        };
        // A pool that only the relay serves needs nothing from the gateway.
        let asked = settings.pools.iter().filter(|pool| !settings.relayed.contains(&pool.ingress));
        Self { pools: asked.map(pool).collect() }
    }

    /// Whether a target changes the request.
    pub(super) fn patches(&self) -> bool {
        self.pools.iter().any(|(_, pool)| pool.patches)
    }

    /// The ingress of a pool that chooses by calls in flight.
    pub(super) fn learns(&self) -> Option<&'a RouterPath> {
        self.pools.iter().find(|(_, pool)| pool.learns).map(|(ingress, _)| *ingress)
    }

    /// The first router whose budget counts tokens, behind its ingress.
    pub(super) fn tokens(&self) -> Option<(&'a RouterPath, &'a RouterPath)> {
        self.pools.iter().find_map(|(ingress, pool)| Some((*ingress, pool.tokens?)))
    }

    fn fields(&self) -> impl Iterator<Item = &'a Field> {
        self.pools.iter().flat_map(|(_, pool)| pool.fields.iter().copied())
    }

    /// A field of the JSON body that a strategy reads.
    pub(super) fn param(&self) -> Option<&'a Field> {
        self.fields().find(|field| matches!(field, Field::Param(_)))
    }

    /// A header that a strategy reads.
    pub(super) fn header(&self) -> Option<&'a Field> {
        self.fields().find(|field| matches!(field, Field::Header(_) | Field::Session))
    }

    /// Why the broker needs the body, if it does.
    pub(super) fn body(&self) -> Option<String> {
        let param = self.param().map(|field| format!("a strategy reads {field}"));
        let tokens = || self.tokens().map(|(_, router)| format!("the budget of {router} counts tokens"));
        if self.patches() {
            Some("a target has override_params or a model_map".to_owned())
        } else {
            param.or_else(tokens)
        }
    }
}

impl<'a> PoolNeeds<'a> {
    fn take(&mut self, target: &'a Target) {
        self.patches |= !target.patch.is_empty();
        match &target.kind {
            TargetKind::Router(path) if !self.routers.contains(&path) => self.routers.push(path),
            TargetKind::Router(_) => {}
            TargetKind::Branch { policy, targets } => {
                self.learns |= policy.uses_load();
                for field in policy.fields() {
                    if !self.fields.contains(&field) {
                        self.fields.push(field);
                    }
                }
                targets.iter().for_each(|target| self.take(target));
            }
        }
    }
}
