//! A pool's tree: branches with their policy, leaves with their router, and which of them may serve now.
//!
//! The nodes are in one list, parents before children, so that all derived values are refreshed in one pass from the
//! end. That happens when a router's health changes (rare), so that a decision (frequent) only reads.

mod affinity;
mod details;
mod eligibility;
mod eligible;
mod explanation;
mod filtered;
mod load_view;
mod reach;
mod rr_state;
mod status;

use std::sync::{Arc, LazyLock};

use smallvec::SmallVec;

pub use details::TreeDetails;
pub use eligibility::Eligibility;
pub use eligible::{Eligible, Tier};
pub use explanation::Ineligible;
pub use filtered::RouterFilter;
pub use load_view::LoadView;
pub use status::TargetStatus;

use super::query::{Field, Query};
use super::{PickReason, PickStep, RequestInputs, conditional, sticky};
use crate::load::LatencyEwma;
use crate::table::{Id, Table};
use types::outcome::FailureRule;
use types::request::{Patch, Request, RequestNeeds};
use types::router::{RouterId, RouterPath};

/// A node's index in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(u16);

impl Id for NodeId {
    fn new(place: u16) -> Self {
        Self(place)
    }

    fn place(self) -> usize {
        usize::from(self.0)
    }
}

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
        // Most targets change nothing, and all of them share that.
        static NOTHING: LazyLock<Arc<Patch>> = LazyLock::new(Arc::default);
        Self { name: None, weight: 1.0, drained: false, patch: Arc::clone(&NOTHING), retry_on: None, kind }
    }

    /// How many targets it consists of, itself included.
    pub(crate) fn size(&self) -> usize {
        match &self.kind {
            TargetKind::Router(_) => 1,
            TargetKind::Branch { targets, .. } => 1 + targets.iter().map(Self::size).sum::<usize>(),
        }
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
        policy: Policy,
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
    weight: f64,
    drained: bool,
    identity: u64,
    /// The parent, and the index among its children.
    parent: Option<(NodeId, u16)>,
    kind: NodeKind,
}

#[derive(Debug, Clone)]
enum NodeKind {
    Leaf(RouterId, Eligibility),
    /// Boxed, because most nodes are leaves and a branch is large.
    Branch(Box<Branch>),
}

/// A branch, prepared for picking.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) policy: Policy,
    pub(super) children: Vec<NodeId>,
    /// The children that may serve, per tier.
    tiers: [Eligible; Tier::ALL.len()],
    /// The median latency of its routers.
    median: Option<LatencyEwma>,
}

/// A pool's tree.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Table<NodeId, Node>,
    details: Arc<TreeDetails>,
    /// What it asks of requests.
    inputs: Arc<RequestInputs>,
    /// A branch in it takes turns.
    turns: bool,
    /// It contains a policy that chooses by load.
    learns: bool,
    /// Round robins whose children have changed, with the sum of their weights before that.
    unscaled: SmallVec<[(NodeId, Tier, f64); 1]>,
}

impl Tree {
    /// Builds a tree; `intern_router` gives each router its id. A router without one is left out, and so is
    /// everything after the 65,535th node.
    pub fn new(root: &Target, mut intern_router: impl FnMut(&RouterPath) -> Option<RouterId>) -> Self {
        let mut inputs = RequestInputs::default();
        let unscaled = SmallVec::new();
        let (mut nodes, mut details) = (Table::default(), TreeDetails::default());
        nodes.reserve(root.size());
        details.reserve(root.size());
        let (asked, described) = Default::default();
        let mut tree = Self { nodes, details: described, inputs: asked, turns: false, learns: false, unscaled };
        let mut waiting = std::collections::VecDeque::from([(root, None)]);
        while let Some((target, parent)) = waiting.pop_front() {
            let Ok(id) = u16::try_from(tree.nodes.len()).map(NodeId) else { break };
            let kind = match &target.kind {
                TargetKind::Router(path) => match intern_router(path) {
                    Some(router) => NodeKind::Leaf(router, None),
                    None => continue,
                },
                TargetKind::Branch { policy, targets } => {
                    inputs.add(policy);
                    tree.turns |= matches!(policy, Policy::RoundRobin);
                    tree.learns |= policy.uses_load();
                    let places = (0_u16..).zip(targets);
                    waiting.extend(places.map(|(place, target)| (target, Some((id, place)))));
                    let children = vec![NodeId(u16::MAX); targets.len()];
                    let (policy, tiers) = (policy.clone(), Default::default());
                    NodeKind::Branch(Box::new(Branch { policy, children, tiers, median: None }))
                }
            };
            if let Some((above, place)) = parent {
                tree.link_child(above, place, id);
            }
            let identity = sticky::hash(&identity(target));
            details.push(target);
            tree.nodes.push(Node { weight: target.weight, drained: target.drained, identity, parent, kind });
        }
        (tree.inputs, tree.details) = (Arc::new(inputs), Arc::new(details));
        tree.refresh(|_| Some((Tier::Serving, 1.0)));
        tree
    }

    fn link_child(&mut self, parent: NodeId, place: u16, child: NodeId) {
        if let Some(slot) = self.branch_mut(parent).and_then(|branch| branch.children.get_mut(usize::from(place))) {
            *slot = child;
        }
    }

    /// What it asks of requests.
    pub fn needs(&self) -> RequestNeeds {
        self.inputs.needs()
    }

    /// The same in detail; nothing if it asks for nothing.
    pub fn inputs(&self) -> Option<&Arc<RequestInputs>> {
        (!self.inputs.is_empty()).then_some(&self.inputs)
    }

    /// Whether anything in the tree may serve in this tier.
    pub(crate) fn has_eligible(&self, tier: Tier) -> bool {
        self.node(NodeId::ROOT).is_some_and(|root| root.share(tier) > 0.0)
    }

    /// The leaves, each with its router.
    pub fn leaves(&self) -> impl Iterator<Item = (NodeId, RouterId)> {
        self.nodes.iter().filter_map(|(id, node)| Some((id, node.router()?)))
    }

    /// The router of a leaf.
    pub fn routers(&self) -> impl Iterator<Item = RouterId> {
        self.nodes.values().filter_map(Node::router)
    }

    /// The first branch that may serve and has nothing for this request, and the reason.
    pub(crate) fn dead_end(&self, request: &impl Request) -> Option<PickStep> {
        let mut serving = self.nodes.iter().filter(|(_, node)| node.share(Tier::Serving) > 0.0);
        serving.find_map(|(id, node)| {
            let NodeKind::Branch(branch) = &node.kind else { return None };
            let (child, reason) = branch.matched(request)?;
            let serves = child.is_some_and(|child| branch.eligible(Tier::Serving).get(child).is_some());
            (!serves).then_some(PickStep { branch: id, reason, serving: branch.serving() })
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
    pub(crate) fn ineligible(&self) -> impl Iterator<Item = (RouterId, Ineligible)> {
        self.leaves().filter_map(|(leaf, router)| Some((router, self.ineligibility(leaf, Tier::Serving)?)))
    }

    fn ineligibility(&self, leaf: NodeId, tier: Tier) -> Option<Ineligible> {
        let mut at = Some(leaf);
        while let Some(node) = at.and_then(|id| self.node(id)) {
            if node.drained {
                return Some(Ineligible::Drained);
            }
            let above = node.parent.and_then(|(id, _)| self.branch(id));
            if above.is_some_and(|branch| branch.policy.uses_weights()) && node.weight <= 0.0 {
                return Some(Ineligible::WeightZero);
            }
            if node.share(tier) <= 0.0 && matches!(node.kind, NodeKind::Leaf(..)) {
                return Some(Ineligible::Disabled);
            }
            at = node.parent.map(|(id, _)| id);
        }
        None
    }

    /// What the settings say of its nodes.
    pub const fn details(&self) -> &Arc<TreeDetails> {
        &self.details
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
        self.nodes.get(id)
    }

    fn branch_mut(&mut self, id: NodeId) -> Option<&mut Branch> {
        match &mut self.nodes.get_mut(id)?.kind {
            NodeKind::Branch(branch) => Some(branch),
            NodeKind::Leaf(..) => None,
        }
    }
}

impl Node {
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

    /// The fields of requests that the policy reads.
    pub fn fields(&self) -> Vec<&Field> {
        match self {
            Self::Sticky(field) => vec![field],
            Self::Conditional { conditions, .. } => {
                conditions.iter().flat_map(|condition| condition.query.fields()).collect()
            }
            Self::LoadBalance | Self::Fallback | Self::RoundRobin | Self::LeastBusy | Self::Fastest => Vec::new(),
        }
    }
}

impl Branch {
    /// The children that may serve in a tier.
    #[inline]
    pub(super) const fn eligible(&self, tier: Tier) -> &Eligible {
        &self.tiers[tier as usize]
    }

    /// How many children serve.
    #[inline]
    pub(super) const fn serving(&self) -> u16 {
        self.eligible(Tier::Serving).count() as u16
    }

    /// Where conditions choose: the child that they choose for a request, whether it may serve or not, and why.
    fn matched(&self, request: &impl Request) -> Option<(Option<u16>, PickReason)> {
        let Policy::Conditional { conditions, default } = &self.policy else { return None };
        Some(conditional::match_condition(conditions, *default, request))
    }
}

/// The hash input of a target: its name, else its router, else the identities of its children.
fn identity(target: &Target) -> String {
    match (&target.name, &target.kind) {
        (Some(name), _) => name.clone(),
        (None, TargetKind::Router(path)) => path.to_string(),
        (None, TargetKind::Branch { targets, .. }) => targets.iter().map(|target| identity(target) + ",").collect(),
    }
}
