//! A pool: the tree of targets behind one ingress, and whether anything in it may serve.

use crate::event::Change;
use crate::router::{RouterId, RouterPath};
use crate::strategy::{NodeId, Tree};

/// What stands behind one ingress.
#[derive(Debug, Clone)]
pub struct Pool {
    ingress: RouterPath,
    tree: Tree,
}

impl Pool {
    pub(super) const fn new(ingress: RouterPath, tree: Tree) -> Self {
        Self { ingress, tree }
    }

    /// The router that clients call.
    pub const fn ingress(&self) -> &RouterPath {
        &self.ingress
    }

    /// Its targets.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// A choice was used.
    pub(super) fn advance(&mut self, leaf: NodeId) {
        self.tree.advance(leaf);
    }

    /// Renews who may serve; a change if the pool became empty or is no longer so.
    pub(super) fn refresh(&mut self, serves: impl Fn(RouterId) -> bool) -> Option<Change> {
        let served = self.tree.serves();
        self.tree.refresh(serves);
        match (served, self.tree.serves()) {
            (true, false) => Some(Change::AllDisabled(self.ingress.clone())),
            (false, true) => Some(Change::SomeEnabled(self.ingress.clone())),
            _ => None,
        }
    }
}
