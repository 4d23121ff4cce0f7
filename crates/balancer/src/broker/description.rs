//! A decision in words, and what it needs to be carried out, without the broker: of what its settings say of the pool, which no
//! request changes.

use std::fmt;
use std::sync::Arc;

use super::{Broker, LimitVerdict, Pool, Route, RouteKind};
use crate::load::rate_limit::LimitExceeded;
use crate::strategy::TreeDetails;
use crate::table::Table;
use types::outcome::{Cause, FailureRule};
use types::request::{Patch, RequestNeeds};
use types::router::{PoolId, RouterId, RouterPath};

/// The paths of all routers.
pub(super) type Paths = Arc<Table<RouterId, RouterPath>>;

/// What the settings say of a pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PoolDescription {
    ingress: RouterPath,
    needs: RequestNeeds,
    details: Arc<TreeDetails>,
    paths: Paths,
}

impl PoolDescription {
    pub(super) fn new(pool: &Pool, paths: &Paths) -> Self {
        let (ingress, details) = (pool.ingress().clone(), Arc::clone(pool.tree().details()));
        Self { ingress, needs: pool.needs(), details, paths: Arc::clone(paths) }
    }

    /// The router that clients call.
    pub const fn ingress(&self) -> &RouterPath {
        &self.ingress
    }

    /// The parts of a request that the pool needs to see.
    pub const fn needs(&self) -> RequestNeeds {
        self.needs
    }

    /// The path of a router; `None` if the broker has none of this id.
    pub fn path(&self, router: RouterId) -> Option<&RouterPath> {
        self.paths.get(router)
    }

    /// What the chosen target changes in the request.
    pub fn patch(&self, route: &Route) -> Option<&Arc<Patch>> {
        self.details.patch(route.chosen.leaf)
    }

    /// The answers after which the request may be sent to another target, where the user lists them.
    pub fn retry_on(&self, route: &Route) -> Option<&Arc<FailureRule>> {
        self.details.retry_on(route.chosen.leaf)
    }

    /// Why the router of a decision was chosen, as in its stamp.
    pub const fn reason<'a>(&'a self, route: &'a Route) -> RouteReason<'a> {
        RouteReason { pool: self, route }
    }

    /// What is wrong with the chosen router and why it was chosen nevertheless; displays as nothing if it simply
    /// serves.
    pub(super) fn caveat(&self, route: &Route) -> Caveat<'_> {
        let full = match route.reservation.limit {
            LimitVerdict::Within => None,
            LimitVerdict::Diverted(router, exceeded) => Some((self.path(router), exceeded)),
            LimitVerdict::Exceeded(exceeded) => Some((None, exceeded)),
        };
        Caveat { sent: route.kind, cause: route.cause, full }
    }
}

impl Broker {
    /// What the settings say of a pool; also of one that a client has brought along.
    pub fn description(&self, pool: PoolId) -> Option<&PoolDescription> {
        self.client_description(pool).or_else(|| self.ingresses.description(pool))
    }

    /// What there is to say of a pool that a client has brought along; `None` for those of the settings.
    pub fn client_description(&self, pool: PoolId) -> Option<&PoolDescription> {
        self.client_pools.description(pool)
    }
}

/// Displays why a router was chosen, as in its stamp.
#[derive(Debug, Clone, Copy)]
pub struct RouteReason<'a> {
    pool: &'a PoolDescription,
    route: &'a Route,
}

impl fmt::Display for RouteReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, route } = self;
        write!(f, "{}", pool.details.why(&route.chosen.why))?;
        if route.kind != RouteKind::Normal || route.reservation.limit != LimitVerdict::Within {
            write!(f, "{}", pool.caveat(route))?;
        }
        if let Some(maker) = route.instead_of.and_then(|router| pool.path(router)) {
            write!(f, "; affinity with {maker} not possible")?;
        }
        if let Some((router, reason)) = route.passed_over
            && let Some(router) = pool.path(router)
        {
            write!(f, "; {router} passed over: {reason}")?;
        }
        Ok(())
    }
}

/// Displays why a router was chosen that does not simply serve, or was not the first in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caveat<'a> {
    sent: RouteKind,
    cause: Option<Cause>,
    /// The exceeded limit, of this router, or of all of them.
    full: Option<(Option<&'a RouterPath>, LimitExceeded)>,
}

impl fmt::Display for Caveat<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.full {
            Some((Some(router), exceeded)) => write!(f, "; instead of {router}, no room: {exceeded}")?,
            Some((None, exceeded)) => write!(f, "; no room anywhere: {exceeded}")?,
            None => {}
        }
        let Some(cause) = self.cause else { return Ok(()) };
        let state = match self.sent {
            RouteKind::Normal => return Ok(()),
            RouteKind::Probe => "on probation",
            RouteKind::LastResort => "on probation, and nothing else is left",
            RouteKind::Panic => "disabled, and nothing else is left",
        };
        write!(f, "; {state} ({cause})")
    }
}
