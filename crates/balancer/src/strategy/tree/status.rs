//! A tree's status: each target with its current share of new calls. Below a branch that chooses by conditions the
//! share depends on the clients and is not reported.

use serde::Serialize;

use super::{Branch, Node, NodeId, NodeKind, Policy, Tier, Tree};
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
    /// A router on probation.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub probation: bool,
    /// What stands in it, in the order of the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Self>,
}

impl Tree {
    /// Which children of which branches may serve now in a tier, each with its weight.
    pub(crate) fn eligible(&self, tier: Tier) -> impl Iterator<Item = (NodeId, u16, f64)> {
        let branches = self.nodes.ids().filter_map(move |id| Some((id, self.branch(id)?.eligible(tier))));
        branches.flat_map(|(id, eligible)| eligible.iter().map(move |entry| (id, entry.child, entry.weight)))
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
    tested: &'t Tree,
    tier: Tier,
    path: P,
    on_probation: O,
}

impl Tree {
    /// The whole tree. A file nests only so deep, and so does this. A router on probation has no share, since it gets a few
    /// calls at a time whatever its weight is; the others have the shares that they would have without it.
    pub fn show(
        &self,
        tier: Tier,
        path: impl Fn(RouterId) -> Option<RouterPath>,
        on_probation: impl Fn(RouterId) -> bool,
    ) -> Option<TargetStatus> {
        let share = if self.has_eligible(tier) { 1.0 } else { 0.0 };
        if !self.routers().any(&on_probation) {
            return self.target_status(NodeId::ROOT, Some(share), &Showing { tested: self, tier, path, on_probation });
        }
        let tested = self.without(&on_probation);
        self.target_status(NodeId::ROOT, Some(share), &Showing { tested: &tested, tier, path, on_probation })
    }

    /// The same tree in which these routers may not serve.
    fn without(&self, these: impl Fn(RouterId) -> bool) -> Self {
        let mut tree = self.clone();
        for (leaf, _) in self.leaves().filter(|(_, router)| these(*router)) {
            tree.set_eligibility(leaf, None);
        }
        tree
    }

    fn target_status<P, O>(&self, id: NodeId, share: Option<f64>, showing: &Showing<'_, P, O>) -> Option<TargetStatus>
    where
        P: Fn(RouterId) -> Option<RouterPath>,
        O: Fn(RouterId) -> bool,
    {
        let node = self.node(id)?;
        let Node { weight, drained, kind, .. } = node;
        let (router, mode, targets) = match kind {
            NodeKind::Leaf(router, _) => ((showing.path)(*router), None, Vec::new()),
            NodeKind::Branch(branch) => {
                let tested = showing.tested.branch(id)?;
                let shown = (0_u16..).zip(&branch.children).filter_map(|(place, child)| {
                    let part = tested.share(place, showing.tier);
                    self.target_status(*child, share.zip(part).map(|(above, here)| above * here), showing)
                });
                (None, Some(branch.policy.as_str()), shown.collect())
            }
        };
        // Where nothing is sent anyway, no call finds out about it.
        let weighs = node.parent.and_then(|(id, _)| self.branch(id)).is_some_and(|branch| branch.policy.uses_weights());
        let gets_calls = !*drained && (!weighs || *weight > 0.0);
        let probation = gets_calls && node.router().is_some_and(&showing.on_probation);
        Some(TargetStatus {
            name: self.details.get(id).and_then(|details| details.name.clone()),
            router,
            mode,
            weight: *weight,
            drained: *drained,
            serves: node.share(showing.tier) > 0.0,
            share: if probation { None } else { share },
            probation,
            targets,
        })
    }
}

impl Branch {
    /// The share of the branch's calls that a child gets.
    fn share(&self, child: u16, tier: Tier) -> Option<f64> {
        let eligible = self.eligible(tier);
        let Some(entry) = eligible.get(child) else { return Some(0.0) };
        match &self.policy {
            Policy::LoadBalance | Policy::RoundRobin | Policy::Sticky(_) => Some(entry.weight / eligible.total()),
            Policy::Fallback => Some(if eligible.nth(0) == Some(entry) { 1.0 } else { 0.0 }),
            Policy::Fastest | Policy::LeastBusy | Policy::Conditional { .. } => None,
        }
    }
}
