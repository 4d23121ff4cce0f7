//! A tree as it is shown: each target with the share of the calls that it gets now. It refuses to guess: below a branch that
//! chooses by conditions, who gets how much is the clients' doing, and no share is told.

use serde::Serialize;

use super::{Branch, Mode, Node, NodeId, NodeKind, Tree};
use crate::router::{RouterId, RouterPath};

/// One target, with all that stands in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// What the user calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its router, if it is a leaf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterPath>,
    /// How it chooses, if it is a branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// Its weight among its siblings, as it was written.
    pub weight: f64,
    /// Taken out in the file.
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

impl Mode {
    /// As the pools file spells it.
    pub const fn word(&self) -> &'static str {
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
    /// The whole tree. A file nests only so deep, and so does this.
    pub fn show(&self, path: &impl Fn(RouterId) -> Option<RouterPath>) -> Option<Shown> {
        let share = if self.serves() { 1.0 } else { 0.0 };
        self.show_node(NodeId::ROOT, Some(share), path)
    }

    fn show_node(
        &self,
        id: NodeId,
        share: Option<f64>,
        path: &impl Fn(RouterId) -> Option<RouterPath>,
    ) -> Option<Shown> {
        let node = self.node(id)?;
        let Node { name, weight, drained, kind, .. } = node;
        let (router, mode, targets) = match kind {
            NodeKind::Leaf(router) => (path(*router), None, Vec::new()),
            NodeKind::Branch(branch) => {
                let shown = (0_u16..).zip(&branch.children).filter_map(|(place, child)| {
                    let part = branch.share(place);
                    self.show_node(*child, share.zip(part).map(|(above, here)| above * here), path)
                });
                (None, Some(branch.mode.word()), shown.collect())
            }
        };
        Some(Shown {
            name: name.clone(),
            router,
            mode,
            weight: *weight,
            drained: *drained,
            serves: node.serves(),
            share,
            probation: false,
            targets,
        })
    }
}

impl Shown {
    /// Marks the routers on probation, and takes the other shares from `settled`: the same tree without those routers.
    pub fn on_probation(&mut self, settled: &Self, is_on_probation: &impl Fn(&RouterPath) -> bool) {
        for (target, settled) in self.targets.iter_mut().zip(&settled.targets) {
            target.probation = target.router.as_ref().is_some_and(is_on_probation);
            target.share = if target.probation { None } else { settled.share };
            target.on_probation(settled, is_on_probation);
        }
    }
}

impl Branch {
    /// The part of its calls that a child gets.
    fn share(&self, child: u16) -> Option<f64> {
        let place = self.open.binary_search_by_key(&child, |open| open.child).ok();
        let Some((place, open)) = place.and_then(|place| Some((place, self.open.get(place)?))) else {
            return Some(0.0);
        };
        match &self.mode {
            Mode::LoadBalance | Mode::RoundRobin | Mode::Sticky(_) => {
                self.open.last().map(|last| open.weight / last.upto)
            }
            Mode::Fallback => Some(if place == 0 { 1.0 } else { 0.0 }),
            Mode::Fastest | Mode::LeastBusy | Mode::Conditional { .. } => None,
        }
    }
}
