//! The children of a branch that are within their rate limits, as if the others could not serve, so that policies
//! need not know about limits. Built only for a request whose first router is over a limit; other requests do not pay
//! for it.

use super::{Eligible, Tier, Tree};
use crate::load::model_limits::ModelLimits;
use crate::load::rate_limit::{LimitExceeded, RateLimiter};
use crate::strategy::EligibleChild;
use types::router::RouterId;

/// The limits that a request is held against.
#[derive(Debug, Clone, Copy, Default)]
pub struct RateLimitFilter<'a> {
    /// Those of routers, and the tokens of the request.
    pub(crate) routers: Option<(&'a RateLimiter, u32)>,
    /// Those of single models, and the one that is requested.
    pub(crate) models: Option<(&'a ModelLimits, &'a str)>,
}

impl RateLimitFilter<'_> {
    /// The limit of a router that the request would exceed.
    pub(crate) fn exceeded(&self, router: RouterId) -> Option<LimitExceeded> {
        let place = self.models.and_then(|(models, model)| models.place(router, model));
        let of_router = || self.routers.and_then(|(limiter, tokens)| limiter.exceeded(router, tokens));
        place.map(LimitExceeded::Model).or_else(of_router)
    }
}

impl Tree {
    /// The leaves with room for the request, and the branches with such a leaf. Not inlined, because it is rare.
    #[inline(never)]
    pub(in crate::strategy) fn within_limits(
        &self,
        eligible: &Eligible,
        tier: Tier,
        among: &RateLimitFilter<'_>,
    ) -> Eligible {
        let is_within_limits = |entry: &&EligibleChild| self.is_within_limits(entry, tier, among);
        Eligible::new(eligible.iter().filter(is_within_limits).copied())
    }

    fn is_within_limits(&self, child: &EligibleChild, tier: Tier, among: &RateLimitFilter<'_>) -> bool {
        if let Some(router) = child.router {
            return among.exceeded(router).is_none();
        }
        self.branch(child.node)
            .is_some_and(|branch| branch.eligible(tier).iter().any(|child| self.is_within_limits(child, tier, among)))
    }
}
