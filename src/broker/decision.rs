//! A decision: a router with its reason, or nothing with its reason.

use std::fmt;

use crate::router::{PoolId, RouterId};

/// What a request gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// This router.
    Route(Route),
    /// Nothing: the gateway goes on as if we were not there.
    Pass(Pass),
}

/// A router, and how it came to be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Route {
    /// Counts this replica's decisions, from 0.
    pub number: u64,
    /// The pool that the ingress belongs to.
    pub pool: PoolId,
    /// The router.
    pub router: RouterId,
    /// The probability with which it was drawn, between 0 and 1.
    pub p: f64,
    /// Why it was this one.
    pub why: Why,
}

/// Why a router was chosen; a few words when shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Drawn at random.
    Random {
        /// How many might have been drawn.
        serving: usize,
        /// How many the pool has.
        of: usize,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { serving, of } => write!(f, "random, {serving} of {of} serve"),
        }
    }
}

/// Why there is no router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The path is no pool's ingress.
    NotOurs,
    /// Every router of the pool is disabled.
    AllDisabled(PoolId),
}
