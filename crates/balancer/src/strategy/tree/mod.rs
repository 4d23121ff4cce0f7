//! A pool's tree: branches with their policy, leaves with their router, and which of them may serve now.
//!
//! The nodes are in one list, parents before children, so that all derived values are refreshed in one pass from the
//! end. That happens when a router's health changes (rare), so that a decision (frequent) only reads.

mod eligible;
mod explanation;
mod load_view;
mod rr_state;
mod status;
mod within_limits;

use std::sync::Arc;

use smallvec::SmallVec;

pub use eligible::{Eligible, Tier};
use explanation::Explanation;
pub use explanation::Ineligible;
pub use load_view::LoadView;
pub use status::TargetStatus;
pub use within_limits::RateLimitFilter;

use super::query::{Field, Query};
use super::{Asks, EligibleChild, PickReason, conditional, models, round_robin, sticky};
use crate::load::LatencyEwma;
use types::outcome::FailureRule;
use types::request::{Patch, Request, RequestNeeds};
use types::router::{RouterId, RouterPath};

/// A node's index in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(u16);

impl NodeId {
    /// The root.
    pub const ROOT: Self = Self(0);
}

/// A configured target: a router, or a branch of targets.
#[derive(Debug, Clone)]
pub struct Target {
    /// The name for reasons and conditions.
    pub name: Option<String>,
    /// Relative to its siblings; finite and not negative.
    pub weight: f64,
    /// Drained by the configuration.
    pub drained: bool,
    /// Changes to a request that goes to this leaf, including inherited ones; empty for a branch.
    pub patch: Arc<Patch>,
    /// The statuses of this leaf after which a request may be retried, if configured: `on_status_codes`.
    pub retry_on: Option<Arc<FailureRule>>,
    /// Router or branch.
    pub kind: TargetKind,
}

impl Target {
    /// A target of weight 1 without options.
    pub fn plain(kind: TargetKind) -> Self {
        Self { name: None, weight: 1.0, drained: false, patch: Arc::default(), retry_on: None, kind }
    }
}

/// A leaf or a branch.
#[derive(Debug, Clone)]
pub enum TargetKind {
    /// A leaf.
    Router(RouterPath),
    /// A branch.
    Branch {
        /// The load-balancing policy.
        mode: Policy,
        /// Its children.
        targets: Vec<Target>,
    },
}

/// A load-balancing policy.
#[derive(Debug, Clone)]
pub enum Policy {
    /// Weighted random.
    LoadBalance,
    /// Weighted round robin.
    RoundRobin,
    /// The first in order that may serve.
    Fallback,
    /// The better of two by expected latency.
    Fastest,
    /// The better of two by calls in flight.
    LeastBusy,
    /// By the hash of a request field.
    Sticky(Field),
    /// By conditions on the request.
    Conditional {
        /// The first that holds counts.
        conditions: Arc<[Condition]>,
        /// Where requests go for which none holds.
        default: Option<u16>,
    },
}

/// A condition and its child.
#[derive(Debug, Clone)]
pub struct Condition {
    /// What the request must match.
    pub query: Query,
    /// The index of the child.
    pub then: u16,
}

#[derive(Debug, Clone)]
struct Node {
    name: Option<String>,
    weight: f64,
    drained: bool,
    patch: Arc<Patch>,
    retry_on: Option<Arc<FailureRule>>,
    identity: u64,
    /// The parent, and the index among its children.
    parent: Option<(NodeId, u16)>,
    kind: NodeKind,
}

/// In which tier a router may serve, and the factor on its weight, above 0 and at most 1; `None` if in none.
pub type Standing = Option<(Tier, f64)>;

#[derive(Debug, Clone)]
enum NodeKind {
    Leaf(RouterId, Standing),
    /// Boxed, because most nodes are leaves and a branch is large.
    Branch(Box<Branch>),
}

/// A branch, prepared for picking.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) mode: Policy,
    pub(super) children: Vec<NodeId>,
    /// The children that may serve, per tier.
    tiers: [Eligible; Tier::ALL.len()],
    /// The median latency of its routers.
    median: Option<LatencyEwma>,
}

/// A pool's tree.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Vec<Node>,
    /// What it asks of requests.
    asks: Arc<Asks>,
    /// Somebody in it takes turns.
    turns: bool,
    /// It contains a policy that chooses by load.
    learns: bool,
    /// The models that it serves, if it is known of all targets.
    models: Option<Arc<[String]>>,
    /// Round robins whose children have changed, with the sum of their weights before that.
    unsettled: SmallVec<[(NodeId, Tier, f64); 1]>,
}

impl Tree {
    /// Builds a tree; `intern_router` gives each router its id. A router without one is left out, and so is
    /// everything after the 65,535th node.
    pub fn new(root: &Target, mut intern_router: impl FnMut(&RouterPath) -> Option<RouterId>) -> Self {
        let mut asks = Asks::default();
        let (nodes, unsettled) = (Vec::new(), SmallVec::new());
        let mut tree = Self { nodes, asks: Arc::default(), turns: false, learns: false, models: None, unsettled };
        tree.models = models::names(root).map(Arc::from);
        let mut waiting = std::collections::VecDeque::from([(root, None)]);
        while let Some((target, parent)) = waiting.pop_front() {
            let Ok(id) = u16::try_from(tree.nodes.len()).map(NodeId) else { break };
            let kind = match &target.kind {
                TargetKind::Router(path) => match intern_router(path) {
                    Some(router) => NodeKind::Leaf(router, None),
                    None => continue,
                },
                TargetKind::Branch { mode, targets } => {
                    asks.add(mode);
                    tree.turns |= matches!(mode, Policy::RoundRobin);
                    tree.learns |= mode.uses_load();
                    let places = (0_u16..).zip(targets);
                    waiting.extend(places.map(|(place, target)| (target, Some((id, place)))));
                    let children = vec![NodeId(u16::MAX); targets.len()];
                    let (mode, tiers) = (mode.clone(), Default::default());
                    NodeKind::Branch(Box::new(Branch { mode, children, tiers, median: None }))
                }
            };
            if let Some((above, place)) = parent {
                tree.link_child(above, place, id);
            }
            let identity = sticky::hash(&identity(target));
            let Target { name, weight, drained, patch, retry_on, .. } = target.clone();
            tree.nodes.push(Node { name, weight, drained, patch, retry_on, identity, parent, kind });
        }
        tree.asks = Arc::new(asks);
        tree.refresh(|_| Some((Tier::Serving, 1.0)));
        tree
    }

    fn link_child(&mut self, parent: NodeId, place: u16, child: NodeId) {
        if let Some(Node { kind: NodeKind::Branch(branch), .. }) = self.nodes.get_mut(usize::from(parent.0))
            && let Some(slot) = branch.children.get_mut(usize::from(place))
        {
            *slot = child;
        }
    }

    /// Derives anew which nodes may serve. A branch has the factor of its best child.
    pub fn refresh(&mut self, standing: impl Fn(RouterId) -> Standing) {
        for place in (0..self.nodes.len()).rev() {
            let (before, after) = self.nodes.split_at_mut(place + 1);
            let Some(node) = before.last_mut() else { continue };
            match &mut node.kind {
                NodeKind::Leaf(router, known) => *known = standing(*router),
                NodeKind::Branch(branch) => {
                    let node = |id: NodeId| after.get(usize::from(id.0).checked_sub(place + 1)?);
                    Tier::ALL.into_iter().for_each(|tier| branch.refresh(tier, node));
                }
            }
        }
    }

    /// Ends a change of one or more routers: round robins go on in the order that they had.
    pub fn settle(&mut self) {
        for (branch, tier, before) in std::mem::take(&mut self.unsettled) {
            if let Some(Node { kind: NodeKind::Branch(branch), .. }) = self.nodes.get_mut(usize::from(branch.0)) {
                round_robin::settle(&mut branch.tiers[tier as usize], before);
            }
        }
    }

    /// One router stands otherwise than before: updates what is above its leaf. [`Tree::settle`] follows.
    pub fn set_standing(&mut self, leaf: NodeId, standing: Standing) {
        let Some(Node { kind: NodeKind::Leaf(_, known), drained, .. }) = self.nodes.get_mut(usize::from(leaf.0)) else {
            return;
        };
        let before = std::mem::replace(known, standing);
        if *drained || before == standing {
            return;
        }
        for tier in Tier::ALL {
            self.update_above(leaf, tier, share_in(before, tier), share_in(standing, tier));
        }
    }

    /// The share of a node in a tier was `before` and is `after`: updates its parents up to the first that stays as it was.
    fn update_above(&mut self, mut at: NodeId, tier: Tier, mut before: f64, mut after: f64) {
        while before != after {
            let Some(Node { weight, identity, parent: Some((above, place)), .. }) = self.node(at) else { return };
            let (above, place, router) = (*above, *place, self.router(at));
            let child = EligibleChild {
                child: place,
                router,
                weight: weight * after,
                cumulative_weight: 0.0,
                identity: *identity,
                current_weight: 0.0,
            };
            let counts = *weight > 0.0;
            let (upper, below) = self.nodes.split_at_mut(usize::from(above.0) + 1);
            let Some(Node { kind: NodeKind::Branch(branch), drained, .. }) = upper.last_mut() else { return };
            if branch.mode.uses_weights() && !counts {
                return;
            }
            let Branch { mode, children, tiers, .. } = &mut **branch;
            let Some(eligible) = tiers.get_mut(tier as usize) else { return };
            let (best, total) = (eligible.best(), eligible.total());
            eligible.set(place, (after > 0.0).then_some(child));
            let node = |id: &NodeId| below.get(usize::from(id.0).checked_sub(usize::from(above.0) + 1)?);
            eligible.set_share(before, after, |child| {
                children.get(usize::from(child)).and_then(node).map_or(0.0, |node| node.share(tier))
            });
            if matches!(mode, Policy::RoundRobin)
                && !self.unsettled.iter().any(|known| (known.0, known.1) == (above, tier))
            {
                self.unsettled.push((above, tier, total));
            }
            if *drained {
                return;
            }
            (at, before, after) = (above, best, eligible.best());
        }
    }

    /// What it asks of requests.
    pub fn needs(&self) -> RequestNeeds {
        self.asks.needs()
    }

    /// The same in detail; nothing if it asks for nothing.
    pub fn asks(&self) -> Option<&Arc<Asks>> {
        (!self.asks.is_empty()).then_some(&self.asks)
    }

    /// The models that clients may ask for, in order, if the settings name those of all targets.
    pub fn models(&self) -> Option<&Arc<[String]>> {
        self.models.as_ref()
    }

    /// Whether anything in the tree may serve in this tier.
    pub fn has_eligible(&self, tier: Tier) -> bool {
        self.nodes.first().is_some_and(|root| root.share(tier) > 0.0)
    }

    /// The leaves, each with its router.
    pub fn leaves(&self) -> impl Iterator<Item = (NodeId, RouterId)> {
        (0_u16..).zip(&self.nodes).filter_map(|(id, node)| Some((NodeId(id), node.router()?)))
    }

    /// The router of a leaf.
    pub fn routers(&self) -> impl Iterator<Item = RouterId> {
        self.nodes.iter().filter_map(Node::router)
    }

    /// The first branch that may serve and has nothing for this request, and the reason.
    pub fn dead_end(&self, request: &impl Request) -> Option<(NodeId, PickReason)> {
        let mut serving = (0_u16..).zip(&self.nodes).filter(|(_, node)| node.share(Tier::Serving) > 0.0);
        serving.find_map(|(id, node)| {
            let NodeKind::Branch(branch) = &node.kind else { return None };
            let Policy::Conditional { conditions, default } = &branch.mode else { return None };
            let (child, reason) = conditional::match_condition(conditions, *default, request);
            let serves = child.is_some_and(|child| branch.eligible(Tier::Serving).get(child).is_some());
            (!serves).then_some((NodeId(id), reason))
        })
    }

    /// The routers of those leaves that may serve in a tier; one may come twice.
    pub fn eligible_routers(&self, tier: Tier) -> impl Iterator<Item = RouterId> {
        self.leaves().filter(move |(leaf, _)| self.offers(*leaf, tier)).map(|(_, router)| router)
    }

    /// Whether a leaf may serve in a tier.
    pub fn offers(&self, leaf: NodeId, tier: Tier) -> bool {
        self.ineligibility(leaf, tier).is_none()
    }

    /// The leaves that may not serve any request, and why.
    pub fn ineligible(&self) -> impl Iterator<Item = (RouterId, Ineligible)> {
        self.leaves().filter_map(|(leaf, router)| Some((router, self.ineligibility(leaf, Tier::Serving)?)))
    }

    fn ineligibility(&self, leaf: NodeId, tier: Tier) -> Option<Ineligible> {
        let mut at = Some(leaf);
        while let Some(node) = at.and_then(|id| self.node(id)) {
            if node.drained {
                return Some(Ineligible::Drained);
            }
            let above = node.parent.and_then(|(id, place)| self.branch(id).map(|branch| (branch, place)));
            if above.is_some_and(|(branch, _)| branch.mode.uses_weights()) && node.weight <= 0.0 {
                return Some(Ineligible::WeightZero);
            }
            if node.share(tier) <= 0.0 && matches!(node.kind, NodeKind::Leaf(..)) {
                return Some(Ineligible::Disabled);
            }
            at = node.parent.map(|(id, _)| id);
        }
        None
    }

    /// What changes in a request that goes to a leaf.
    pub fn patch(&self, leaf: NodeId) -> Option<&Arc<Patch>> {
        self.node(leaf).map(|node| &node.patch)
    }

    /// The statuses of this leaf after which a request may be retried, if configured.
    pub fn retry_on(&self, leaf: NodeId) -> Option<&Arc<FailureRule>> {
        self.node(leaf)?.retry_on.as_ref()
    }

    /// The reasons of a path in a few words each; with `{:#}` also the conditions that did not match.
    pub const fn why<'a>(&'a self, steps: &'a [(NodeId, PickReason)]) -> Explanation<'a> {
        Explanation { tree: self, steps }
    }

    pub(super) fn branch(&self, id: NodeId) -> Option<&Branch> {
        match &self.node(id)?.kind {
            NodeKind::Branch(branch) => Some(branch),
            NodeKind::Leaf(..) => None,
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
    /// The factor on its weight in a tier, 0 to 1; 0 if it may not serve.
    fn share(&self, tier: Tier) -> f64 {
        match &self.kind {
            _ if self.drained => 0.0,
            NodeKind::Leaf(_, standing) => share_in(*standing, tier),
            NodeKind::Branch(branch) => branch.eligible(tier).best(),
        }
    }

    const fn router(&self) -> Option<RouterId> {
        match self.kind {
            NodeKind::Leaf(router, _) => Some(router),
            NodeKind::Branch(_) => None,
        }
    }
}

impl Policy {
    /// Whether the policy chooses by load.
    pub const fn uses_load(&self) -> bool {
        matches!(self, Self::Fastest | Self::LeastBusy)
    }

    /// Whether the policy uses weights.
    pub const fn uses_weights(&self) -> bool {
        !matches!(self, Self::Fallback | Self::Conditional { .. })
    }
}

impl Branch {
    /// The children that may serve in a tier.
    #[inline]
    pub(super) const fn eligible(&self, tier: Tier) -> &Eligible {
        &self.tiers[tier as usize]
    }

    /// Lists the children that may serve. A child that stays keeps its current weight; one that returns starts at the mean.
    fn refresh<'n>(&mut self, tier: Tier, node: impl Fn(NodeId) -> Option<&'n Node>) {
        let uses_weights = self.mode.uses_weights();
        let old = std::mem::take(&mut self.tiers[tier as usize]);
        let places = (0_u16..).zip(&self.children);
        let nodes = places.filter_map(|(place, id)| Some((place, node(*id)?)));
        let able = |(_, node): &(u16, &Node)| node.share(tier) > 0.0 && (!uses_weights || node.weight > 0.0);
        let able: Vec<(u16, &Node)> = nodes.filter(able).collect();
        let mut now = Eligible::new(able.iter().map(|(place, node)| EligibleChild {
            child: *place,
            router: node.router(),
            weight: node.weight * node.share(tier),
            cumulative_weight: 0.0,
            identity: node.identity,
            current_weight: old.get(*place).map_or(0.0, |open| open.current_weight),
        }));
        let shares: Vec<f64> = able.iter().map(|(_, node)| node.share(tier)).collect();
        now.set_shares(&shares);
        if matches!(self.mode, Policy::RoundRobin) {
            round_robin::settle(&mut now, old.total());
        }
        self.tiers[tier as usize] = now;
    }
}

fn share_in(standing: Standing, tier: Tier) -> f64 {
    standing.filter(|(of, _)| *of == tier).map_or(0.0, |(_, share)| share)
}

/// The hash input of a target: its name, else its router, else the identities of its children.
fn identity(target: &Target) -> String {
    match (&target.name, &target.kind) {
        (Some(name), _) => name.clone(),
        (None, TargetKind::Router(path)) => path.to_string(),
        (None, TargetKind::Branch { targets, .. }) => targets.iter().map(|target| identity(target) + ",").collect(),
    }
}
