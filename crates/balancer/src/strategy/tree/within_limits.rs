//! The children of a branch that are within their rate limits, as if the others could not serve, so that policies
//! need not know about limits. Built only for a request whose first router is over a limit; other requests do not pay
//! for it.

use super::{Eligible, Tier, Tree};
use crate::load::rate_limit::RateLimiter;
use crate::strategy::EligibleChild;

/// The limiter, and the tokens of the request.
pub type RateLimitFilter<'a> = (&'a RateLimiter, u32);

impl Tree {
    /// The leaves with room for this many tokens, and the branches with such a leaf. Not inlined, because it is rare.
    #[inline(never)]
    pub(in crate::strategy) fn within_limits(
        &self,
        eligible: &Eligible,
        tier: Tier,
        among: RateLimitFilter<'_>,
    ) -> Eligible {
        let is_within_limits = |entry: &&EligibleChild| self.is_within_limits(entry, tier, among);
        Eligible::new(eligible.iter().filter(is_within_limits).copied())
    }

    fn is_within_limits(&self, child: &EligibleChild, tier: Tier, among: RateLimitFilter<'_>) -> bool {
        if let Some(router) = child.router {
            return among.0.exceeded(router, among.1).is_none();
        }
        self.branch(child.node)
            .is_some_and(|branch| branch.eligible(tier).iter().any(|child| self.is_within_limits(child, tier, among)))
    }
}
