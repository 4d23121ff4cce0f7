//! A pool's tree: branches with their strategy, leaves with their router, and which of them may serve now.
//!
//! The nodes stand in one list, parents before children, so that everything derived is renewed in one walk from the end.
//! That happens when a standing changes (rare), so that a decision (frequent) only reads.

mod known;
mod room;
mod told;
mod turns;
mod view;

use std::sync::Arc;

pub use known::Known;
pub use room::Roominess;
use told::Told;
pub use told::WhyClosed;
pub use view::Shown;

use super::query::{Field, Query};
use super::{Asks, Note, Open, conditional, round_robin, sticky};
use crate::load::Speed;
use crate::outcome::FailureRule;
use crate::request::{Patch, Request};
use crate::router::{RouterId, RouterPath};

/// A node's place in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(u16);

impl NodeId {
    /// The whole pool.
    pub const ROOT: Self = Self(0);
}

/// What a user wrote: a router, or a branch over further targets.
#[derive(Debug, Clone)]
pub struct Target {
    /// What reasons call it, and conditions point to.
    pub name: Option<String>,
    /// Its share among its siblings; finite and not negative.
    pub weight: f64,
    /// Taken out by the user.
    pub drained: bool,
    /// What changes in a request that goes to this leaf, all that it inherits included; empty for a branch.
    pub patch: Arc<Patch>,
    /// The answers of this leaf after which a request may be sent elsewhere, if the user lists them: `on_status_codes`.
    pub leads: Option<Arc<FailureRule>>,
    /// Router or branch.
    pub kind: Kind,
}

impl Target {
    /// A target with nothing special about it.
    pub fn plain(kind: Kind) -> Self {
        Self { name: None, weight: 1.0, drained: false, patch: Arc::default(), leads: None, kind }
    }
}

/// A leaf or a branch.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A leaf.
    Router(RouterPath),
    /// A branch.
    Branch {
        /// How it chooses.
        mode: Mode,
        /// Among whom.
        targets: Vec<Target>,
    },
}

/// How a branch chooses.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Weighted random.
    LoadBalance,
    /// In turn, by weight.
    RoundRobin,
    /// The first in order.
    Fallback,
    /// Of two, the one that will have answered first.
    Fastest,
    /// Of two, the one with fewer calls under way.
    LeastBusy,
    /// By the hash of a field.
    Sticky(Field),
    /// By conditions.
    Conditional {
        /// The first that holds counts.
        conditions: Arc<[Condition]>,
        /// Where requests go for which none holds.
        default: Option<u16>,
    },
}

/// Where requests go that fulfil a query.
#[derive(Debug, Clone)]
pub struct Condition {
    /// What they must fulfil.
    pub query: Query,
    /// The place of the target among its siblings.
    pub then: u16,
}

#[derive(Debug, Clone)]
struct Node {
    name: Option<String>,
    weight: f64,
    drained: bool,
    patch: Arc<Patch>,
    leads: Option<Arc<FailureRule>>,
    identity: u64,
    /// The parent, and the place among its children.
    parent: Option<(NodeId, u16)>,
    kind: NodeKind,
    /// The part of its weight that counts now; 0 if it may not serve.
    share: f64,
}

#[derive(Debug, Clone)]
enum NodeKind {
    Leaf(RouterId),
    /// Apart, because most nodes are leaves and a branch is large.
    Branch(Box<Branch>),
}

/// A branch, ready to choose.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) mode: Mode,
    pub(super) children: Vec<NodeId>,
    open: Vec<Open>,
    /// All that may serve weigh the same.
    even: bool,
    /// The middle of what is known of them.
    middle: Option<Speed>,
}

/// A pool's tree.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Vec<Node>,
    /// What it asks of requests.
    asks: Arc<Asks>,
    /// Somebody in it takes turns.
    turns: bool,
    /// Somebody in it chooses by what was learnt.
    learns: bool,
}

/// What of a request the modes of a tree ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Fields of the body.
    pub body: bool,
    /// Headers, or the session, which is one.
    pub headers: bool,
}

impl Tree {
    /// Builds a tree; `enrol` gives each router its identity. What it gives none is left out, as is what comes after the
    /// 65,535th node.
    pub fn new(root: &Target, mut enrol: impl FnMut(&RouterPath) -> Option<RouterId>) -> Self {
        let mut asks = Asks::default();
        let mut tree = Self { nodes: Vec::new(), asks: Arc::default(), turns: false, learns: false };
        let mut waiting = std::collections::VecDeque::from([(root, None)]);
        while let Some((target, parent)) = waiting.pop_front() {
            let Ok(id) = u16::try_from(tree.nodes.len()).map(NodeId) else { break };
            let kind = match &target.kind {
                Kind::Router(path) => match enrol(path) {
                    Some(router) => NodeKind::Leaf(router),
                    None => continue,
                },
                Kind::Branch { mode, targets } => {
                    asks.add(mode);
                    tree.turns |= matches!(mode, Mode::RoundRobin);
                    tree.learns |= mode.learns();
                    let places = (0_u16..).zip(targets);
                    waiting.extend(places.map(|(place, target)| (target, Some((id, place)))));
                    let children = vec![NodeId(u16::MAX); targets.len()];
                    let (mode, open) = (mode.clone(), Vec::new());
                    NodeKind::Branch(Box::new(Branch { mode, children, open, even: true, middle: None }))
                }
            };
            if let Some((above, place)) = parent {
                tree.adopt(above, place, id);
            }
            let identity = sticky::hash(&identity(target));
            let Target { name, weight, drained, patch, leads, .. } = target.clone();
            tree.nodes.push(Node { name, weight, drained, patch, leads, identity, parent, kind, share: 1.0 });
        }
        tree.asks = Arc::new(asks);
        tree.refresh(|_| 1.0);
        tree
    }

    fn adopt(&mut self, parent: NodeId, place: u16, child: NodeId) {
        if let Some(Node { kind: NodeKind::Branch(branch), .. }) = self.nodes.get_mut(usize::from(parent.0))
            && let Some(slot) = branch.children.get_mut(usize::from(place))
        {
            *slot = child;
        }
    }

    /// Renews what may serve: `share` is the part of its weight that a router gets now, from 0 (it may not serve) to 1. A
    /// branch counts as much as its best.
    pub fn refresh(&mut self, share: impl Fn(RouterId) -> f64) {
        for place in (0..self.nodes.len()).rev() {
            let (before, after) = self.nodes.split_at_mut(place + 1);
            let Some(node) = before.last_mut() else { continue };
            let able = match &mut node.kind {
                NodeKind::Leaf(router) => share(*router),
                NodeKind::Branch(branch) => branch.refresh(|id| after.get(usize::from(id.0).checked_sub(place + 1)?)),
            };
            node.share = if node.drained { 0.0 } else { able };
        }
    }

    /// What it asks of requests.
    pub fn needs(&self) -> Needs {
        self.asks.needs()
    }

    /// The same in detail; nothing if it asks for nothing.
    pub fn asks(&self) -> Option<&Arc<Asks>> {
        (!self.asks.is_empty()).then_some(&self.asks)
    }

    /// Whether anything may serve.
    pub fn serves(&self) -> bool {
        self.nodes.first().is_some_and(Node::serves)
    }

    /// All leaves' routers, in the order of the tree; one may come twice.
    pub fn routers(&self) -> impl Iterator<Item = RouterId> {
        self.nodes.iter().filter_map(Node::router)
    }

    /// The first branch that has something to offer and nothing for this request, and whom it would have named.
    pub fn dead_end(&self, request: &impl Request) -> Option<(NodeId, Note)> {
        let mut serving = (0_u16..).zip(&self.nodes).filter(|(_, node)| node.serves());
        serving.find_map(|(id, node)| {
            let NodeKind::Branch(branch) = &node.kind else { return None };
            let Mode::Conditional { conditions, default } = &branch.mode else { return None };
            let (child, note) = conditional::meant(conditions, *default, request);
            let serves = child.is_some_and(|child| branch.open.iter().any(|open| open.child == child));
            (!serves).then_some((NodeId(id), note))
        })
    }

    /// The routers of those leaves that may serve; one may come twice.
    pub fn open(&self) -> impl Iterator<Item = RouterId> {
        (0_u16..).zip(&self.nodes).filter_map(|(id, node)| {
            let NodeKind::Leaf(router) = node.kind else { return None };
            self.why_closed(NodeId(id)).is_none().then_some(router)
        })
    }

    /// The same targets, of which only these may serve; nothing if none of them may.
    pub fn only(&self, these: impl Fn(RouterId) -> bool) -> Option<Self> {
        if !self.routers().any(&these) {
            return None;
        }
        let mut tree = self.clone();
        tree.refresh(|router| f64::from(these(router)));
        Some(tree).filter(Self::serves)
    }

    /// Leaves that may not serve whatever the request is, and why.
    pub fn closed(&self) -> impl Iterator<Item = (RouterId, WhyClosed)> {
        (0_u16..).zip(&self.nodes).filter_map(|(id, node)| {
            let NodeKind::Leaf(router) = node.kind else { return None };
            self.why_closed(NodeId(id)).map(|why| (router, why))
        })
    }

    fn why_closed(&self, leaf: NodeId) -> Option<WhyClosed> {
        let mut at = Some(leaf);
        while let Some(node) = at.and_then(|id| self.node(id)) {
            if node.drained {
                return Some(WhyClosed::Drained);
            }
            let above = node.parent.and_then(|(id, place)| self.branch(id).map(|branch| (branch, place)));
            if above.is_some_and(|(branch, _)| branch.mode.weighs()) && node.weight <= 0.0 {
                return Some(WhyClosed::WeightZero);
            }
            if !node.serves() && matches!(node.kind, NodeKind::Leaf(_)) {
                return Some(WhyClosed::Disabled);
            }
            at = node.parent.map(|(id, _)| id);
        }
        None
    }

    /// What changes in a request that goes to a leaf.
    pub fn patch(&self, leaf: NodeId) -> Option<&Arc<Patch>> {
        self.node(leaf).map(|node| &node.patch)
    }

    /// The answers of a leaf after which a request may be sent elsewhere, if the user lists them.
    pub fn leads(&self, leaf: NodeId) -> Option<&Arc<FailureRule>> {
        self.node(leaf)?.leads.as_ref()
    }

    /// The reasons of some steps, in a few words each; `{:#}` says besides which conditions were false.
    pub const fn why<'a>(&'a self, steps: &'a [(NodeId, Note)]) -> Told<'a> {
        Told { tree: self, steps }
    }

    pub(super) fn branch(&self, id: NodeId) -> Option<&Branch> {
        match &self.node(id)?.kind {
            NodeKind::Branch(branch) => Some(branch),
            NodeKind::Leaf(_) => None,
        }
    }

    /// The router of a leaf.
    pub fn router(&self, id: NodeId) -> Option<RouterId> {
        self.node(id)?.router()
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::from(id.0))
    }
}

impl Node {
    fn serves(&self) -> bool {
        self.share > 0.0
    }

    const fn router(&self) -> Option<RouterId> {
        match self.kind {
            NodeKind::Leaf(router) => Some(router),
            NodeKind::Branch(_) => None,
        }
    }
}

impl Mode {
    /// Whether it chooses by what was learnt.
    pub const fn learns(&self) -> bool {
        matches!(self, Self::Fastest | Self::LeastBusy)
    }

    /// Whether weights mean anything in it.
    pub const fn weighs(&self) -> bool {
        !matches!(self, Self::Fallback | Self::Conditional { .. })
    }
}

impl Branch {
    /// Lists those children that may serve, and tells the greatest share among them. Who stays keeps its turn, who comes back
    /// begins in the middle.
    fn refresh<'n>(&mut self, node: impl Fn(NodeId) -> Option<&'n Node>) -> f64 {
        let weighs = self.mode.weighs();
        let total = self.open.last().map_or(0.0, |open| open.upto);
        let mut before = std::mem::take(&mut self.open).into_iter().peekable();
        let (mut upto, mut best) = (0.0, 0.0_f64);
        for (child, id) in (0_u16..).zip(&self.children) {
            let Some(node) = node(*id).filter(|node| node.serves() && (!weighs || node.weight > 0.0)) else { continue };
            let weight = node.weight * node.share;
            (upto, best) = (upto + weight, best.max(node.share));
            while before.next_if(|open| open.child < child).is_some() {}
            let turn = before.next_if(|open| open.child == child).map_or(0.0, |open| open.turn);
            self.open.push(Open { child, router: node.router(), weight, upto, identity: node.identity, turn });
        }
        self.even = room::even(&self.open);
        round_robin::settle(&mut self.open, total);
        best
    }
}

/// What a target is hashed by: its name, else its router, else all that stands in it.
fn identity(target: &Target) -> String {
    match (&target.name, &target.kind) {
        (Some(name), _) => name.clone(),
        (None, Kind::Router(path)) => path.to_string(),
        (None, Kind::Branch { targets, .. }) => targets.iter().map(|target| identity(target) + ",").collect(),
    }
}
