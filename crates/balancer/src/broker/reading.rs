//! What is to be read of a request before a router is chosen for it.

use std::sync::Arc;

use super::{Broker, Decision, Pass, PathRole, Pool};
use crate::strategy::{Asks, Read, Tree};
use types::request::{Request, RequestNeeds};
use types::router::RouterPath;

/// What one pool reads of requests under its present settings.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    pub(super) asks: Option<Arc<Asks>>,
    /// Whether the size is needed, for rate limits.
    pub(super) how_large: bool,
}

impl Reading {
    /// Reads a request, in time proportional to its length.
    pub fn read<'a>(&'a self, request: &'a impl Request) -> Read<'a> {
        Read::new(request, self.asks.as_deref(), self.how_large)
    }
}

impl Broker {
    /// The models that clients may ask the pool at this ingress for, in order, if its settings name those of all targets.
    pub fn models(&self, ingress: &RouterPath) -> Option<&Arc<[String]>> {
        self.tree(ingress)?.models().names()
    }

    /// The models of the pool at this ingress, if the one that is asked for is none of those that its targets serve.
    pub fn models_instead_of(&self, ingress: &RouterPath, asked: &str) -> Option<&Arc<[String]>> {
        self.tree(ingress)?.models().instead_of(asked)
    }

    fn tree(&self, ingress: &RouterPath) -> Option<&Tree> {
        let Some(PathRole::Ingress(id) | PathRole::Relayed(id)) = self.path_roles.get(ingress).copied() else {
            return None;
        };
        self.pool(id).map(Pool::tree)
    }
}

/// Equal where the same settings ask for the same fields.
impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.asks, &other.asks) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same && self.how_large == other.how_large
    }
}

impl Broker {
    /// What is to be read of a request for this path before a router is chosen for it.
    pub fn reading(&self, path: &str) -> Reading {
        let Some(PathRole::Ingress(id) | PathRole::Relayed(id)) = self.path_roles.get(path).copied() else {
            return Reading::default();
        };
        let Some(pool) = self.pool(id) else { return Reading::default() };
        Reading { asks: pool.tree().asks().cloned(), how_large: pool.has_rate_limits() }
    }

    /// The parts of a request that the pool of a decision needs to see.
    pub fn needs(&self, decision: &Decision) -> Option<RequestNeeds> {
        let pool = match decision {
            Decision::Route(route) => route.pool,
            Decision::Pass(Pass::NoMatchingTarget(pool, _)) => *pool,
            Decision::Pass(_) => return None,
        };
        self.pool(pool).map(Pool::needs)
    }
}
