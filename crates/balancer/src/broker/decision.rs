//! A decision: a router and the reason, or no router and the reason.

use crate::load::rate_limit::LimitExceeded;
use crate::strategy::{Candidate, PickStep, Tier};
use types::outcome::Cause;
use types::router::{PoolId, RouterId};

/// The answer to one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// A router.
    Route(Route),
    /// No router: the gateway continues as if there were no broker.
    Pass(Pass),
}

/// A router, and how it was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Counts this replica's decisions, from 0.
    pub number: u64,
    /// The pool of the ingress.
    pub pool: PoolId,
    /// The kind of the choice.
    pub kind: RouteKind,
    /// What was wrong with the router, where it does not simply serve.
    pub cause: Option<Cause>,
    /// The router, with its leaf, probability and reason.
    pub chosen: Candidate,
    /// What the request takes of the router's rate limits.
    pub reservation: TokenReservation,
    /// It is an attempt of the relay, which reports its end however long it takes.
    pub relayed: bool,
    /// The target that made what the request names, where another one had to be chosen.
    pub instead_of: Option<RouterId>,
    /// The first router that was chosen before and not sent the request, and why not.
    pub passed_over: Option<(RouterId, &'static str)>,
}

impl Decision {
    /// The pool that it was made for, if there is one.
    pub const fn pool(&self) -> Option<PoolId> {
        match self {
            Self::Route(route) => Some(route.pool),
            Self::Pass(Pass::NoMatchingTarget(pool, _) | Pass::AllDisabled(pool)) => Some(*pool),
            Self::Pass(Pass::UnknownIngress) => None,
        }
    }
}

/// What a request takes of a router's rate limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenReservation {
    /// Expected tokens; 0 in a pool without token limits.
    pub tokens: u32,
    /// Whether the limits allowed it.
    pub limit: LimitVerdict,
}

/// Whether rate limits allowed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitVerdict {
    /// The first router in order is within its limits, or has none.
    #[default]
    Within,
    /// The first in order was this router, and this limit would have been exceeded.
    Diverted(RouterId, LimitExceeded),
    /// No eligible router is within its limits: the first in order gets the request, and exceeds this limit.
    Exceeded(LimitExceeded),
}

impl LimitVerdict {
    /// Whether the limit is that of the requested model.
    pub(super) const fn is_of_model(self) -> bool {
        matches!(self, Self::Diverted(_, LimitExceeded::Model(_)) | Self::Exceeded(LimitExceeded::Model(_)))
    }

    /// The router that the request did not get.
    pub(super) const fn diverted_from(self) -> Option<RouterId> {
        match self {
            Self::Diverted(first, _) => Some(first),
            Self::Within | Self::Exceeded(_) => None,
        }
    }
}

/// The kind of a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// A router that serves.
    Normal,
    /// A router on probation, as a probe.
    Probe,
    /// A router on probation, not as a probe, because no other one is left.
    LastResort,
    /// A disabled router, because no other one is left, and `when_all_disabled` asks for it (Envoy's panic mode).
    Panic,
}

impl RouteKind {
    /// Whether how the call ends decides whether the router serves again.
    pub const fn decides_recovery(self) -> bool {
        matches!(self, Self::Probe | Self::Panic)
    }

    /// The tier that such a router is in.
    pub(crate) const fn tier(self) -> Tier {
        match self {
            Self::Normal | Self::Probe => Tier::Serving,
            Self::LastResort => Tier::LastResort,
            Self::Panic => Tier::Disabled,
        }
    }
}

impl Route {
    /// Whether the router rests for the requested model, and is asked all the same because nothing else is left.
    pub const fn is_early(&self) -> bool {
        matches!(self.reservation.limit, LimitVerdict::Exceeded(LimitExceeded::Model(_)))
    }

    pub const fn router(&self) -> RouterId {
        self.chosen.router
    }
}

/// Why there is no router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The path is no pool's ingress.
    UnknownIngress,
    /// No target of the pool is available.
    AllDisabled(PoolId),
    /// Targets are available, but not for this request: no condition matched, or the matched target is disabled. With
    /// the branch where the search ended.
    NoMatchingTarget(PoolId, Option<PickStep>),
}
