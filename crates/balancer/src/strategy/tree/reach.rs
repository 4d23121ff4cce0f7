//! Which leaves a request can get at all, whatever the health of their routers is, and which of them are alternatives.

use smallvec::SmallVec;

use super::{Branch, Ineligible, Node, NodeId, NodeKind, Policy, Tier, Tree};
use crate::strategy::EligibleChild;
use types::request::Request;
use types::router::RouterId;

impl Tree {
    /// The routers that a request can go to once they serve: where its conditions lead, not drained by the configuration, and
    /// with a weight where the policy uses weights. One may come twice.
    pub(crate) fn reachable(&self, request: &impl Request) -> impl Iterator<Item = RouterId> {
        let mut waiting: SmallVec<[NodeId; 8]> = SmallVec::from_slice(&[NodeId::ROOT]);
        std::iter::from_fn(move || {
            while let Some(id) = waiting.pop() {
                match self.node(id) {
                    Some(Node { drained: false, kind: NodeKind::Leaf(router, _), .. }) => return Some(*router),
                    Some(Node { drained: false, kind: NodeKind::Branch(branch), .. }) => {
                        waiting.extend(self.children_for(branch, request));
                    }
                    _ => {}
                }
            }
            None
        })
    }

    /// The routers that may serve a request in a tier, in configured order; one may come twice. In one walk, where drawing all
    /// candidates one after the other would take as long as the square of their number.
    pub(crate) fn eligible_for(&self, tier: Tier, request: &impl Request) -> impl Iterator<Item = RouterId> {
        let mut waiting: SmallVec<[(NodeId, Option<RouterId>); 8]> = SmallVec::from_slice(&[(NodeId::ROOT, None)]);
        std::iter::from_fn(move || {
            loop {
                let (id, router) = waiting.pop()?;
                if router.is_some() {
                    return router;
                }
                let Some(branch) = self.branch(id) else { continue };
                let only = branch.matched(request).map(|(child, _)| child);
                let below = waiting.len();
                let eligible =
                    branch.eligible(tier).iter().filter(|entry| only.is_none_or(|only| only == Some(entry.child)));
                waiting.extend(eligible.map(|entry| (entry.node, entry.router)));
                waiting[below..].reverse();
            }
        })
    }

    /// The children of a branch that a request can go to.
    fn children_for(&self, branch: &Branch, request: &impl Request) -> impl Iterator<Item = NodeId> {
        let only = branch.matched(request).map(|(child, _)| child);
        let uses_weights = branch.policy.uses_weights();
        let children = (0_u16..).zip(&branch.children).map(|(place, child)| (place, *child));
        let is_meant = move |place| only.is_none_or(|only| only == Some(place));
        let weighs = move |child| !uses_weights || self.node(child).is_some_and(|node| node.weight > 0.0);
        children.filter(move |(place, child)| is_meant(*place) && weighs(*child)).map(|(_, child)| child)
    }

    /// Whether a leaf gets calls while its router serves: it is not drained by the configuration, and has a weight where weights count.
    pub(crate) fn gets_calls(&self, leaf: NodeId) -> bool {
        !matches!(self.ineligibility(leaf, Tier::Serving), Some(Ineligible::Drained | Ineligible::WeightZero))
    }

    /// Whether another router serves each request that a leaf can get, as far as no condition decides.
    pub(crate) fn has_alternative(&self, leaf: NodeId, serves: &impl Fn(RouterId) -> bool) -> bool {
        let mut at = leaf;
        while let Some((above, place)) = self.node(at).and_then(|node| node.parent) {
            if let Some(branch) = self.branch(above)
                && !matches!(branch.policy, Policy::Conditional { .. })
                && branch
                    .eligible(Tier::Serving)
                    .iter()
                    .any(|entry| entry.child != place && self.serves_all(entry, serves))
            {
                return true;
            }
            at = above;
        }
        false
    }

    /// Whether some router below a child serves, whatever the request.
    fn serves_all(&self, entry: &EligibleChild, serves: &impl Fn(RouterId) -> bool) -> bool {
        if let Some(router) = entry.router {
            return serves(router);
        }
        let Some(branch) = self.branch(entry.node) else { return false };
        let eligible = branch.eligible(Tier::Serving);
        match &branch.policy {
            Policy::Conditional { default, .. } => {
                let whole = default.is_some() && eligible.count() == branch.children.len();
                whole && eligible.iter().all(|child| self.serves_all(child, serves))
            }
            Policy::LoadBalance
            | Policy::Fallback
            | Policy::RoundRobin
            | Policy::LeastBusy
            | Policy::Fastest
            | Policy::Sticky(_) => eligible.iter().any(|child| self.serves_all(child, serves)),
        }
    }
}
