//! A tree's status: each target with its current share of new calls. Below a branch that chooses by conditions the
//! share depends on the clients and is not reported.

use serde::Serialize;

use super::{Branch, Node, NodeId, NodeKind, Policy, Tree};
use types::router::{RouterId, RouterPath};

/// One target and everything below it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetStatus {
    /// The configured name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its router, if it is a leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterPath>,
    /// Its policy, if it is a branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// The configured weight.
    pub weight: f64,
    /// Drained by the configuration.
    pub drained: bool,
    /// Whether it may serve now.
    pub serves: bool,
    /// Its expected share of the pool's new calls, 0 to 1; `None` where it depends on the requests.
    pub share: Option<f64>,
    /// Its children, in configured order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Self>,
}

impl Tree {
    /// Which children of which branches may serve now, each with its weight.
    pub fn eligible(&self) -> impl Iterator<Item = (NodeId, u16, f64)> {
        let branches = (0_u16..).zip(&self.nodes).filter_map(|(id, node)| match &node.kind {
            NodeKind::Branch(branch) => Some((NodeId(id), branch)),
            NodeKind::Leaf(_) => None,
        });
        branches.flat_map(|(id, branch)| branch.open.iter().map(move |open| (id, open.child, open.weight)))
    }
}

impl Policy {
    /// The name in the pools file.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::LoadBalance => "loadbalance",
            Self::RoundRobin => "round_robin",
            Self::Fallback => "fallback",
            Self::Fastest => "fastest",
            Self::LeastBusy => "least_busy",
            Self::Sticky(_) => "sticky",
            Self::Conditional { .. } => "conditional",
        }
    }
}

impl Tree {
    /// The whole tree. The configuration limits the depth, and so the recursion.
    pub fn show(&self, path: &impl Fn(RouterId) -> Option<RouterPath>) -> Option<TargetStatus> {
        let share = if self.has_eligible() { 1.0 } else { 0.0 };
        self.target_status(NodeId::ROOT, Some(share), path)
    }

    fn target_status(
        &self,
        id: NodeId,
        share: Option<f64>,
        path: &impl Fn(RouterId) -> Option<RouterPath>,
    ) -> Option<TargetStatus> {
        let node = self.node(id)?;
        let Node { name, weight, drained, kind, .. } = node;
        let (router, mode, targets) = match kind {
            NodeKind::Leaf(router) => (path(*router), None, Vec::new()),
            NodeKind::Branch(branch) => {
                let shown = (0_u16..).zip(&branch.children).filter_map(|(place, child)| {
                    let part = branch.share(place);
                    self.target_status(*child, share.zip(part).map(|(above, here)| above * here), path)
                });
                (None, Some(branch.mode.as_str()), shown.collect())
            }
        };
        Some(TargetStatus {
            name: name.clone(),
            router,
            mode,
            weight: *weight,
            drained: *drained,
            serves: node.is_eligible(),
            share,
            targets,
        })
    }
}

impl Branch {
    /// The share of the branch's calls that a child gets.
    fn share(&self, child: u16) -> Option<f64> {
        let place = self.open.binary_search_by_key(&child, |open| open.child).ok();
        let Some((place, open)) = place.and_then(|place| Some((place, self.open.get(place)?))) else {
            return Some(0.0);
        };
        match &self.mode {
            Policy::LoadBalance | Policy::RoundRobin | Policy::Sticky(_) => {
                self.open.last().map(|last| open.weight / last.cumulative_weight)
            }
            Policy::Fallback => Some(if place == 0 { 1.0 } else { 0.0 }),
            Policy::Fastest | Policy::LeastBusy | Policy::Conditional { .. } => None,
        }
    }
}
