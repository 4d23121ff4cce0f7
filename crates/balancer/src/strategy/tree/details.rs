//! What the settings say of the nodes of a tree. Shared and never changed, so that a choice can be described and carried out without
//! the tree, which changes with its routers' health.

use std::sync::Arc;

use super::explanation::Explanation;
use super::{NodeId, Policy, Target, TargetKind};
use crate::strategy::PickStep;
use crate::table::Table;
use types::outcome::FailureRule;
use types::request::Patch;

/// By node.
#[derive(Debug, Default)]
pub struct TreeDetails(Table<NodeId, NodeDetails>);

#[derive(Debug)]
pub(super) struct NodeDetails {
    pub(super) name: Option<String>,
    patch: Arc<Patch>,
    retry_on: Option<Arc<FailureRule>>,
    /// Boxed, because most nodes are leaves.
    pub(super) branch: Option<Box<BranchDetails>>,
}

#[derive(Debug)]
pub(super) struct BranchDetails {
    pub(super) policy: Policy,
    pub(super) children: usize,
}

impl TreeDetails {
    pub(super) fn reserve(&mut self, more: usize) {
        self.0.reserve(more);
    }

    /// The next node.
    pub(super) fn push(&mut self, target: &Target) {
        let branch = match &target.kind {
            TargetKind::Router(_) => None,
            TargetKind::Branch { policy, targets } => {
                Some(Box::new(BranchDetails { policy: policy.clone(), children: targets.len() }))
            }
        };
        let Target { name, patch, retry_on, .. } = target;
        let (name, patch, retry_on) = (name.clone(), Arc::clone(patch), retry_on.clone());
        self.0.push(NodeDetails { name, patch, retry_on, branch });
    }

    pub(super) fn get(&self, node: NodeId) -> Option<&NodeDetails> {
        self.0.get(node)
    }

    pub(super) fn is_nameless_branch(&self, node: NodeId) -> bool {
        self.get(node).is_some_and(|node| node.name.is_none() && node.branch.is_some())
    }

    /// What changes in a request that goes to a leaf.
    pub fn patch(&self, leaf: NodeId) -> Option<&Arc<Patch>> {
        self.get(leaf).map(|node| &node.patch)
    }

    /// The answers of this leaf after which a request may be sent to another one, where the user lists them.
    pub fn retry_on(&self, leaf: NodeId) -> Option<&Arc<FailureRule>> {
        self.get(leaf)?.retry_on.as_ref()
    }

    /// The reasons of a path in a few words each; with `{:#}` also the conditions that did not match.
    pub const fn why<'a>(&'a self, steps: &'a [PickStep]) -> Explanation<'a> {
        Explanation { details: self, steps }
    }
}
