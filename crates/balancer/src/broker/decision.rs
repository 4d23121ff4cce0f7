//! A decision: a router with its reason, or nothing with its reason.

use crate::load::rate_limit::LimitExceeded;
use crate::strategy::{Candidate, NodeId, PickReason};
use types::router::{PoolId, RouterId};

/// What a request gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// This router.
    Route(Route),
    /// Nothing: the gateway goes on as if we were not there.
    Pass(Pass),
}

/// A router, and how it came to be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Counts this replica's decisions, from 0.
    pub number: u64,
    /// The pool that the ingress belongs to.
    pub pool: PoolId,
    /// As what.
    pub kind: RouteKind,
    /// The router, with its place in the tree, its probability and its reason.
    pub chosen: Candidate,
    /// What it takes of that router's rate_limit.
    pub reservation: TokenReservation,
}

/// What a request takes of a rate_limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenReservation {
    /// The tokens that it is expected to use; 0 where nobody asks.
    pub tokens: u32,
    /// Whether limits had room for it.
    pub limit: LimitVerdict,
}

/// Whether limits had room for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitVerdict {
    /// The first router in order had, or has no rate_limit.
    #[default]
    Within,
    /// The first in order was this one, and lacked that.
    Diverted(RouterId, LimitExceeded),
    /// No router that it may go to had: the first in order got it, which lacked that.
    Exceeded(LimitExceeded),
}

/// As what a request is sent to its router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// As any other.
    Normal,
    /// To find out whether the router works again.
    Probe,
    /// Because there is nothing better: a router that is being found out about already.
    LastResort,
    /// Because there is nothing at all, and the user wants a disabled one to be tried then.
    Panic,
}

impl Route {
    /// The router.
    pub const fn router(&self) -> RouterId {
        self.chosen.router
    }
}

/// Why there is no router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The path is no pool's ingress.
    UnknownIngress,
    /// Nothing in the pool may serve.
    AllDisabled(PoolId),
    /// Something may serve, but not this request: no condition holds, or what it is meant for is disabled. With the branch
    /// where it went no further, and whom that would have named.
    NoMatchingTarget(PoolId, Option<(NodeId, PickReason)>),
}
