//! Which nodes may serve: derived from the eligibility of the routers, for the whole tree or along one path from a leaf.

use super::{Branch, Eligible, Node, NodeId, NodeKind, Policy, Tier, Tree};
use crate::strategy::{EligibleChild, round_robin};
use types::router::RouterId;

/// In which tier a router may serve, and the factor on its weight, above 0 and at most 1; `None` if in none.
pub type Eligibility = Option<(Tier, f64)>;

impl Tree {
    /// Derives anew which nodes may serve. A branch has the factor of its best child.
    pub fn refresh(&mut self, eligibility: impl Fn(RouterId) -> Eligibility) {
        for id in self.nodes.ids().rev() {
            let Some((node, below)) = self.nodes.get_mut_and_later(id) else { continue };
            match &mut node.kind {
                NodeKind::Leaf(router, known) => *known = eligibility(*router),
                NodeKind::Branch(branch) => Tier::ALL.into_iter().for_each(|tier| branch.refresh(tier, &below)),
            }
        }
    }

    /// Ends a change of one or more routers: round robins go on in the order that they had.
    pub fn rescale_round_robins(&mut self) {
        for (branch, tier, before) in std::mem::take(&mut self.unscaled) {
            if let Some(branch) = self.branch_mut(branch) {
                round_robin::rescale(&mut branch.tiers[tier as usize], before);
            }
        }
    }

    /// The eligibility of one leaf changed: updates its ancestors. [`Tree::rescale_round_robins`] follows.
    pub(crate) fn set_eligibility(&mut self, leaf: NodeId, eligibility: Eligibility) {
        let Some(Node { kind: NodeKind::Leaf(_, known), drained, .. }) = self.nodes.get_mut(leaf) else {
            return;
        };
        let before = std::mem::replace(known, eligibility);
        if *drained || before == eligibility {
            return;
        }
        for tier in Tier::ALL {
            self.update_above(leaf, tier, share_in(before, tier), share_in(eligibility, tier));
        }
    }

    /// The share of a node in a tier was `before` and is `after`: updates its parents up to the first that stays as it was.
    fn update_above(&mut self, mut at: NodeId, tier: Tier, mut before: f64, mut after: f64) {
        while before != after {
            let Some(Node { weight, identity, parent: Some((above, place)), .. }) = self.node(at) else { return };
            let (above, place, router) = (*above, *place, self.router(at));
            let child = EligibleChild {
                child: place,
                node: at,
                router,
                weight: weight * after,
                cumulative_weight: 0.0,
                identity: *identity,
                current_weight: 0.0,
            };
            let counts = *weight > 0.0;
            let parent = self.nodes.get_mut(above);
            let Some(Node { kind: NodeKind::Branch(branch), drained, .. }) = parent else { return };
            if branch.policy.uses_weights() && !counts {
                return;
            }
            let Branch { policy, tiers, .. } = &mut **branch;
            let Some(eligible) = tiers.get_mut(tier as usize) else { return };
            let (best, total) = (eligible.best(), eligible.total());
            eligible.set(place, (after > 0.0).then_some(child));
            eligible.set_share(before, after);
            if matches!(policy, Policy::RoundRobin)
                && !self.unscaled.iter().any(|known| (known.0, known.1) == (above, tier))
            {
                self.unscaled.push((above, tier, total));
            }
            if *drained {
                return;
            }
            (at, before, after) = (above, best, eligible.best());
        }
    }
}

impl Node {
    /// The factor on its weight in a tier, 0 to 1; 0 if it may not serve.
    pub(super) fn share(&self, tier: Tier) -> f64 {
        match &self.kind {
            _ if self.drained => 0.0,
            NodeKind::Leaf(_, eligibility) => share_in(*eligibility, tier),
            NodeKind::Branch(branch) => branch.eligible(tier).best(),
        }
    }
}

impl Branch {
    /// Lists the children that may serve. A child that stays keeps its current weight; one that returns starts at the mean.
    fn refresh<'n>(&mut self, tier: Tier, node: impl Fn(NodeId) -> Option<&'n Node>) {
        let uses_weights = self.policy.uses_weights();
        let old = std::mem::take(&mut self.tiers[tier as usize]);
        let places = (0_u16..).zip(&self.children);
        let nodes = places.filter_map(|(place, id)| Some((place, *id, node(*id)?)));
        let able = |(_, _, node): &(u16, NodeId, &Node)| node.share(tier) > 0.0 && (!uses_weights || node.weight > 0.0);
        let able: Vec<_> = nodes.filter(able).collect();
        let mut now = Eligible::new(able.iter().map(|(place, id, node)| EligibleChild {
            child: *place,
            node: *id,
            router: node.router(),
            weight: node.weight * node.share(tier),
            cumulative_weight: 0.0,
            identity: node.identity,
            current_weight: old.get(*place).map_or(0.0, |entry| entry.current_weight),
        }));
        able.iter().for_each(|(.., node)| now.set_share(0.0, node.share(tier)));
        if matches!(self.policy, Policy::RoundRobin) {
            round_robin::rescale(&mut now, old.total());
        }
        self.tiers[tier as usize] = now;
    }
}

fn share_in(eligibility: Eligibility, tier: Tier) -> f64 {
    eligibility.filter(|(of, _)| *of == tier).map_or(0.0, |(_, share)| share)
}
