//! What is known of the children of a branch: a router's load is its own, a branch has all the calls of those that may serve
//! in it and their mean speed.

use super::{Branch, NodeId, NodeKind, Tree};
use crate::load::{Load, Loads, Speed};

/// What is known of the children of one branch.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub(super) tree: &'a Tree,
    pub(super) branch: &'a Branch,
    pub(super) loads: Option<&'a Loads>,
}

/// Where nothing is known, all are level.
const NOTHING: Load = Load { pending: 0, speed: Speed::SLOWEST };

impl Known<'_> {
    /// What is known of a child. For a branch that costs as much as there is in it.
    pub(in crate::strategy) fn of(&self, child: u16) -> Load {
        let node = self.branch.children.get(usize::from(child));
        node.zip(self.loads).map_or(NOTHING, |(node, loads)| self.load(*node, loads))
    }

    /// How many calls of ours are under way in a child.
    pub(in crate::strategy) fn pending(&self, child: u16) -> u32 {
        let node = self.branch.children.get(usize::from(child));
        node.zip(self.loads).map_or(0, |(node, loads)| self.pending_in(*node, loads))
    }

    fn pending_in(&self, node: NodeId, loads: &Loads) -> u32 {
        match self.tree.node(node).map(|node| &node.kind) {
            None => 0,
            Some(NodeKind::Leaf(router)) => loads.pending(*router),
            Some(NodeKind::Branch(branch)) => {
                branch.those_below().map(|child| self.pending_in(child, loads)).fold(0, u32::saturating_add)
            }
        }
    }

    /// Whether a child is a newcomer that has its one request.
    pub(in crate::strategy) fn is_tried(&self, child: u16) -> bool {
        let node = self.branch.children.get(usize::from(child)).and_then(|node| self.tree.node(*node));
        match (node.map(|node| &node.kind), self.loads) {
            (Some(NodeKind::Leaf(router)), Some(loads)) => loads.is_tried(*router),
            // A branch is never all new but at the very start, when nobody is better.
            _ => false,
        }
    }

    fn load(&self, node: NodeId, loads: &Loads) -> Load {
        match self.tree.node(node).map(|node| &node.kind) {
            None => NOTHING,
            Some(NodeKind::Leaf(router)) => loads.of(*router, self.branch.middle),
            Some(NodeKind::Branch(branch)) => {
                let children = branch.those_below().map(|child| self.load(child, loads));
                children.reduce(add).map_or(NOTHING, |sum| mean(sum, branch.open.len()))
            }
        }
    }
}

fn add(one: Load, other: Load) -> Load {
    let token = one.speed.token.zip(other.speed.token).map(|(one, other)| one + other);
    let speed = Speed { call: one.speed.call + other.speed.call, token };
    Load { pending: one.pending.saturating_add(other.pending), speed }
}

fn mean(Load { pending, speed: Speed { call, token } }: Load, count: usize) -> Load {
    let count = count.max(1) as f64;
    Load { pending, speed: Speed { call: call / count, token: token.map(|token| token / count) } }
}

impl Tree {
    /// Whether a mode in it chooses by what was learnt.
    pub const fn learns(&self) -> bool {
        self.learns
    }

    /// Finds the middle of what is known in each branch that chooses by it: what a newcomer is taken for there.
    pub fn weigh(&mut self, loads: &Loads) {
        if !self.learns {
            return;
        }
        for place in 0..self.nodes.len() {
            let Some(NodeKind::Branch(branch)) = self.nodes.get(place).map(|node| &node.kind) else { continue };
            if !branch.mode.learns() {
                continue;
            }
            let mut speeds = Vec::with_capacity(branch.open.len());
            self.gather(branch, loads, &mut speeds);
            let middle = Speed::middle(&speeds);
            if let Some(NodeKind::Branch(branch)) = self.nodes.get_mut(place).map(|node| &mut node.kind) {
                branch.middle = middle;
            }
        }
    }

    fn gather(&self, branch: &Branch, loads: &Loads, speeds: &mut Vec<Speed>) {
        for child in branch.those_below() {
            match self.node(child).map(|node| &node.kind) {
                Some(NodeKind::Leaf(router)) => speeds.extend(loads.learnt(*router)),
                Some(NodeKind::Branch(branch)) => self.gather(branch, loads, speeds),
                None => {}
            }
        }
    }
}

impl Branch {
    fn those_below(&self) -> impl Iterator<Item = NodeId> {
        self.open.iter().filter_map(|open| self.children.get(usize::from(open.child)).copied())
    }
}
