//! Whether a leaf may serve a request that prefers its router.

use super::{NodeId, Tier, Tree};
use types::request::Request;

impl Tree {
    /// Whether a leaf may serve this request, conditions of the branches above it included. A call that makes nothing is exempt from
    /// those: it fetches or deletes what is there, and has no fields that a condition could look at.
    pub(crate) fn may_serve(&self, leaf: NodeId, request: &impl Request) -> bool {
        self.offers(leaf, Tier::Serving) && (!request.is_generation() || self.is_matched(leaf, request))
    }

    /// Whether the conditions above a leaf lead to it.
    fn is_matched(&self, leaf: NodeId, request: &impl Request) -> bool {
        let mut at = leaf;
        while let Some((above, place)) = self.node(at).and_then(|node| node.parent) {
            let matched = self.branch(above).and_then(|branch| branch.matched(request));
            if matched.is_some_and(|(child, _)| child != Some(place)) {
                return false;
            }
            at = above;
        }
        true
    }
}
