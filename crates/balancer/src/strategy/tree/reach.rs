//! Which leaves a request can get at all, whatever the health of their routers is, and which of them are alternatives.

use smallvec::SmallVec;

use super::{Branch, Ineligible, Node, NodeId, NodeKind, Policy, Tier, Tree};
use crate::strategy::conditional;
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

    /// The children of a branch that a request can go to.
    fn children_for(&self, branch: &Branch, request: &impl Request) -> impl Iterator<Item = NodeId> {
        let only = match &branch.mode {
            Policy::Conditional { conditions, default } => {
                Some(conditional::match_condition(conditions, *default, request).0)
            }
            _ => None,
        };
        let uses_weights = branch.mode.uses_weights();
        let children = (0_u16..).zip(&branch.children).map(|(place, child)| (place, *child));
        let is_meant = move |place| only.is_none_or(|only| only == Some(place));
        let weighs = move |child| !uses_weights || self.node(child).is_some_and(|node| node.weight > 0.0);
        children.filter(move |(place, child)| is_meant(*place) && weighs(*child)).map(|(_, child)| child)
    }

    /// Whether a leaf gets calls while its router serves: it is not drained by the configuration, and has a weight where weights count.
    pub(crate) fn gets_calls(&self, leaf: NodeId) -> bool {
        !matches!(self.ineligibility(leaf, Tier::Serving), Some(Ineligible::Drained | Ineligible::WeightZero))
    }

    /// The routers of those leaves that may serve a request which another leaf can get too: where they part, no condition decides.
    pub(crate) fn serving_beside(&self, leaf: NodeId) -> impl Iterator<Item = RouterId> {
        let above: SmallVec<[NodeId; 8]> = self.ancestors(leaf).collect();
        let serving = self.leaves().filter(move |(other, _)| *other != leaf && self.offers(*other, Tier::Serving));
        let is_beside = move |other: NodeId| {
            let fork = self.ancestors(other).find(|id| above.contains(id)).and_then(|id| self.branch(id));
            fork.is_some_and(|branch| !matches!(branch.mode, Policy::Conditional { .. }))
        };
        serving.filter(move |(other, _)| is_beside(*other)).map(|(_, router)| router)
    }

    /// The branches above a node, the nearest first.
    fn ancestors(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let above = |id: NodeId| self.node(id)?.parent.map(|(above, _)| above);
        std::iter::successors(above(id), move |id| above(*id))
    }
}
