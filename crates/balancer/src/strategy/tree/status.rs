//! A tree's status: each target with its current share of new calls. Below a branch that chooses by conditions the
//! share depends on the clients and is not reported.

use rustc_hash::FxHashMap;
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
    /// Its part of the pool's next calls, from 0 to 1: expected, where a hash or a turn decides. Absent where that depends
    /// on what clients ask for, and for a router on probation, which gets a few calls at a time and no share.
    pub share: Option<f64>,
    /// A router that has yet to prove itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub probation: bool,
    /// What stands in it, in the order of the file.
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

/// What a tree is shown with.
struct Showing<'t, P, O> {
    /// The same tree without the routers on probation: the shares are those in it.
    settled: &'t Tree,
    path: P,
    on_probation: O,
}

impl Tree {
    /// The whole tree. A file nests only so deep, and so does this. A router on probation has no share, since it gets a few
    /// calls at a time whatever its weight is; the others have the shares that they would have without it.
    pub fn show(
        &self,
        path: impl Fn(RouterId) -> Option<RouterPath>,
        on_probation: impl Fn(RouterId) -> bool,
    ) -> Option<TargetStatus> {
        let share = if self.has_eligible() { 1.0 } else { 0.0 };
        if !self.routers().any(&on_probation) {
            return self.target_status(NodeId::ROOT, Some(share), &Showing { settled: self, path, on_probation });
        }
        let settled = self.without(&on_probation);
        self.target_status(NodeId::ROOT, Some(share), &Showing { settled: &settled, path, on_probation })
    }

    /// The same tree in which these routers may not serve.
    fn without(&self, these: impl Fn(RouterId) -> bool) -> Self {
        let leaves = self.nodes.iter().filter_map(|node| Some((node.router()?, node.share)));
        let mut shares: FxHashMap<RouterId, f64> = FxHashMap::default();
        for (router, share) in leaves.filter(|(router, _)| !these(*router)) {
            let most = shares.entry(router).or_default();
            *most = most.max(share);
        }
        let mut tree = self.clone();
        tree.refresh(|router| shares.get(&router).copied().unwrap_or_default());
        tree
    }

    fn target_status<P, O>(&self, id: NodeId, share: Option<f64>, showing: &Showing<'_, P, O>) -> Option<TargetStatus>
    where
        P: Fn(RouterId) -> Option<RouterPath>,
        O: Fn(RouterId) -> bool,
    {
        let node = self.node(id)?;
        let Node { name, weight, drained, kind, .. } = node;
        let (router, mode, targets) = match kind {
            NodeKind::Leaf(router) => ((showing.path)(*router), None, Vec::new()),
            NodeKind::Branch(branch) => {
                let settled = showing.settled.branch(id)?;
                let shown = (0_u16..).zip(&branch.children).filter_map(|(place, child)| {
                    let part = settled.share(place);
                    self.target_status(*child, share.zip(part).map(|(above, here)| above * here), showing)
                });
                (None, Some(branch.mode.as_str()), shown.collect())
            }
        };
        // Where nothing is sent anyway, no call finds out about it.
        let weighs = node.parent.and_then(|(id, _)| self.branch(id)).is_some_and(|branch| branch.mode.uses_weights());
        let gets_calls = !*drained && (!weighs || *weight > 0.0);
        let probation = gets_calls && node.router().is_some_and(&showing.on_probation);
        Some(TargetStatus {
            name: name.clone(),
            router,
            mode,
            weight: *weight,
            drained: *drained,
            serves: node.is_eligible(),
            share: if probation { None } else { share },
            probation,
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
