//! The children of a branch that are within their rate limits, as if the others could not serve, so that policies
//! need not know about limits. Built only for a request whose first router is over a limit; other requests do not pay
//! for it.

use rand::Rng;

use super::{Branch, NodeKind, Policy, Tree};
use crate::load::rate_limit::RateLimiter;
use crate::strategy::{Choices, EligibleChild, Pick};
use types::request::Request;

/// The limiter, and the tokens of the request.
pub type RateLimitFilter<'a> = (&'a RateLimiter, u32);

/// Children that may serve and are within their limits.
#[derive(Debug)]
pub(in crate::strategy) struct WithinLimits {
    open: Vec<EligibleChild>,
    uniform: bool,
}

impl WithinLimits {
    /// The policy's next child among them. Not inlined, because it is rare.
    #[inline(never)]
    pub(in crate::strategy) fn next<Q: Request, R: Rng>(
        &self,
        mode: &Policy,
        choices: Choices<'_>,
        drawn: &[u16],
        request: &Q,
        rng: &mut R,
    ) -> Option<Pick> {
        mode.next(Choices { open: &self.open, uniform: self.uniform, ..choices }, drawn, request, rng)
    }

    pub(super) fn has(&self, child: u16) -> bool {
        self.open.binary_search_by_key(&child, |open| open.child).is_ok()
    }
}

impl Tree {
    /// The leaves with room for this many tokens, and the branches with such a leaf.
    #[inline(never)]
    pub(in crate::strategy) fn within_limits(&self, branch: &Branch, among: RateLimitFilter<'_>) -> WithinLimits {
        let mut cumulative_weight = 0.0;
        let is_within_limits = |open: &&EligibleChild| self.is_within_limits(branch, open, among);
        let kept = branch.open.iter().filter(is_within_limits).map(|open| {
            cumulative_weight += open.weight;
            EligibleChild { cumulative_weight, ..*open }
        });
        let open: Vec<_> = kept.collect();
        WithinLimits { uniform: uniform(&open), open }
    }

    fn is_within_limits(&self, above: &Branch, child: &EligibleChild, (limits, tokens): RateLimitFilter<'_>) -> bool {
        if let Some(router) = child.router {
            return limits.exceeded(router, tokens).is_none();
        }
        let node = above.children.get(usize::from(child.child)).and_then(|id| self.node(*id));
        match node.map(|node| &node.kind) {
            Some(NodeKind::Branch(branch)) => {
                branch.open.iter().any(|child| self.is_within_limits(branch, child, (limits, tokens)))
            }
            Some(NodeKind::Leaf(_)) | None => false,
        }
    }
}

/// Whether all weights are equal.
pub(super) fn uniform(open: &[EligibleChild]) -> bool {
    open.windows(2).all(|two| two.iter().all(|open| open.weight == two[0].weight))
}
