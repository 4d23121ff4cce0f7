//! A decision: a router with its reason, or nothing with its reason.

use crate::load::budget::Lack;
use crate::strategy::{Candidate, NodeId, Note};
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
    pub sent: Sent,
    /// The router, with its place in the tree, its probability and its reason.
    pub chosen: Candidate,
    /// What it takes of that router's budget.
    pub claim: Claim,
}

/// What a request takes of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim {
    /// The tokens that it is expected to use; 0 where nobody asks.
    pub tokens: u32,
    /// Whether budgets had room for it.
    pub room: Room,
}

/// Whether budgets had room for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Room {
    /// The first router in order had, or has no budget.
    #[default]
    There,
    /// The first in order was this one, and lacked that.
    Elsewhere(RouterId, Lack),
    /// No router that it may go to had: the first in order got it, which lacked that.
    Nowhere(Lack),
}

/// As what a request is sent to its router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// As any other.
    ToServe,
    /// To find out whether the router works again.
    ToProve,
    /// Because there is nothing better: a router that is being found out about already.
    AsLastResort,
    /// Because there is nothing at all, and the user wants a disabled one to be tried then.
    WhileDisabled,
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
    NotOurs,
    /// Nothing in the pool may serve.
    AllDisabled(PoolId),
    /// Something may serve, but not this request: no condition holds, or what it is meant for is disabled. With the branch
    /// where it went no further, and whom that would have named.
    NothingForIt(PoolId, Option<(NodeId, Note)>),
}
