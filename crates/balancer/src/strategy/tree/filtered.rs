//! The children of a branch of which only some are wanted, as if the others could not serve, so that policies need not know what for:
//! rate limits, or what was tried before. Built only where the first choice is not wanted; other requests do not pay for it.

use std::fmt;

use super::{Eligible, Tier, Tree};
use crate::strategy::EligibleChild;
use types::router::RouterId;

/// The routers for which this holds.
#[derive(Clone, Copy)]
pub struct RouterFilter<'a>(pub(crate) &'a dyn Fn(RouterId) -> bool);

impl RouterFilter<'_> {
    /// Whether a router is one of them.
    pub(crate) fn holds(&self, router: RouterId) -> bool {
        self.0(router)
    }
}

impl fmt::Debug for RouterFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RouterFilter").finish_non_exhaustive()
    }
}

impl Tree {
    /// The leaves with such a router, and the branches with such a leaf. Not inlined, because it is rare.
    #[inline(never)]
    pub(in crate::strategy) fn eligible_among(
        &self,
        eligible: &Eligible,
        tier: Tier,
        among: &RouterFilter<'_>,
    ) -> Eligible {
        Eligible::new(eligible.iter().filter(|entry| self.has_router(entry, tier, among)).copied())
    }

    fn has_router(&self, child: &EligibleChild, tier: Tier, among: &RouterFilter<'_>) -> bool {
        if let Some(router) = child.router {
            return among.holds(router);
        }
        self.branch(child.node)
            .is_some_and(|branch| branch.eligible(tier).iter().any(|child| self.has_router(child, tier, among)))
    }
}
