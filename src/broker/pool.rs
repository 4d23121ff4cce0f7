//! A pool: the tree of targets behind one ingress, and whether anything in it may serve.

use super::{Pass, Route, Spread};
use crate::event::Change;
use crate::router::{RouterId, RouterPath};
use crate::strategy::{NodeId, Tree};

/// What stands behind one ingress.
#[derive(Debug, Clone)]
pub struct Pool {
    ingress: RouterPath,
    tree: Tree,
    /// The same tree with those that may serve only if nothing else can; absent where there are none.
    last_resort: Option<Tree>,
    /// Whether anything could serve when that was last told.
    served: bool,
    spread: Spread,
}

impl Pool {
    /// `served`: what was last told of this ingress; a new one is expected to serve. `spread`: what its calls got so far.
    pub(super) const fn new(ingress: RouterPath, tree: Tree, served: bool, spread: Spread) -> Self {
        Self { ingress, tree, last_resort: None, served, spread }
    }

    /// The router that clients call.
    pub const fn ingress(&self) -> &RouterPath {
        &self.ingress
    }

    /// Its targets.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What its calls got.
    pub const fn spread(&self) -> &Spread {
        &self.spread
    }

    pub(super) fn count(&mut self, route: &Route) {
        self.spread.count(route);
    }

    pub(super) fn count_pass(&mut self, pass: &Pass) {
        self.spread.count_pass(pass);
    }

    /// A choice was used.
    pub(super) fn advance(&mut self, leaf: NodeId) {
        self.tree.advance(leaf);
    }

    /// The targets where those may serve too that are being found out about already; only if there are such.
    pub const fn last_resort(&self) -> Option<&Tree> {
        self.last_resort.as_ref()
    }

    /// Whether anything may serve.
    pub fn serves(&self) -> bool {
        self.tree.serves() || self.last_resort.as_ref().is_some_and(Tree::serves)
    }

    /// Renews who may serve, and who besides if nothing else can; a change if the pool became empty or is no longer so.
    pub(super) fn refresh(
        &mut self,
        may_serve: impl Fn(RouterId) -> bool,
        besides: impl Fn(RouterId) -> bool,
    ) -> Option<Change> {
        self.tree.refresh(&may_serve);
        self.last_resort = self.tree.routers().any(&besides).then(|| {
            let mut tree = self.tree.clone();
            tree.refresh(|id| may_serve(id) || besides(id));
            tree
        });
        let serves = self.serves();
        let served = std::mem::replace(&mut self.served, serves);
        match (served, serves) {
            (true, false) => Some(Change::AllDisabled(self.ingress.clone())),
            (false, true) => Some(Change::SomeEnabled(self.ingress.clone())),
            _ => None,
        }
    }
}
