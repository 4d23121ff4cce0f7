//! What of the operators' orders still holds: which routers are drained, and which weights differ from the file's.
//!
//! Pools are derived from both, so they change in here only, and whoever derives sees that they did.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::router::{RouterId, RouterPath};
use crate::strategy::{Kind, Target};
use crate::time::Now;

/// Weights that may differ from the file's, at most.
pub const MOST_WEIGHTS: usize = 1_024;

/// That something holds, by whose word.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hold {
    /// Since when.
    pub since: Now,
    /// Until when; none: until somebody says otherwise.
    pub until: Option<Now>,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A weight that is not the file's.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Weight {
    /// The pool's ingress.
    pub pool: RouterPath,
    /// The router.
    pub router: RouterPath,
    /// What it weighs.
    pub weight: f64,
    /// By whose word.
    #[serde(flatten)]
    pub hold: Hold,
}

/// All that operators ordered and that still holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Operator {
    drained: FxHashMap<RouterId, Hold>,
    weights: Vec<Weight>,
    /// Routers about which this replica has had an order of its own: what others knew before is older.
    ordered: FxHashSet<RouterId>,
    /// Who may serve, or the next deadline, has to be derived anew.
    stale: bool,
    /// The pools' trees have to be built anew.
    reweighed: bool,
}

/// An order whose time is over.
#[derive(Debug)]
pub(super) enum Ended {
    Drain(RouterId, Hold),
    Weight(Weight),
}

impl Operator {
    /// Why and until when a router is drained, if it is.
    pub(super) fn hold(&self, router: RouterId) -> Option<&Hold> {
        self.drained.get(&router)
    }

    pub(super) fn weights(&self) -> &[Weight] {
        &self.weights
    }

    pub(super) fn drain(&mut self, router: RouterId, hold: Hold) {
        self.drained.insert(router, hold);
        self.stale = true;
    }

    pub(super) fn resume(&mut self, router: RouterId) {
        self.drained.remove(&router);
        self.stale = true;
    }

    /// Another weight than the file's in one pool; none: the file's again.
    pub(super) fn weigh(&mut self, pool: &RouterPath, router: &RouterPath, weight: Option<(f64, Hold)>) {
        self.weights.retain(|one| one.pool != *pool || one.router != *router);
        if let Some((weight, hold)) = weight {
            self.weights.push(Weight { pool: pool.clone(), router: router.clone(), weight, hold });
        }
        (self.stale, self.reweighed) = (true, true);
    }

    /// Remembers that there was an order about this router.
    pub(super) fn note_order(&mut self, router: RouterId) {
        self.ordered.insert(router);
    }

    pub(super) fn has_ordered(&self, router: RouterId) -> bool {
        self.ordered.contains(&router)
    }

    pub(super) fn next_deadline(&self) -> Option<Now> {
        let holds = self.drained.values().chain(self.weights.iter().map(|weight| &weight.hold));
        holds.filter_map(|hold| hold.until).min()
    }

    /// Ends what was to hold only until now.
    pub(super) fn expire(&mut self, now: Now) -> Vec<Ended> {
        let over = |hold: &Hold| hold.until.is_some_and(|until| until <= now);
        let drained = self.drained.extract_if(|_, hold| over(hold)).map(|(id, hold)| Ended::Drain(id, hold));
        let mut ended: Vec<_> = drained.collect();
        // A hash map's order is nobody's: replicas and replays tell the same in the same order.
        ended.sort_by_key(|ended| if let Ended::Drain(id, _) = ended { id.0 } else { u16::MAX });
        self.stale |= !ended.is_empty();
        let weights = self.weights.extract_if(.., |weight| over(&weight.hold)).map(Ended::Weight);
        let drains = ended.len();
        ended.extend(weights);
        if ended.len() > drains {
            (self.stale, self.reweighed) = (true, true);
        }
        ended
    }

    /// A pool's targets with the weights that hold now.
    pub(super) fn weighed(&self, pool: &RouterPath, root: &Target) -> Target {
        let mut root = root.clone();
        for weight in self.weights.iter().filter(|weight| weight.pool == *pool) {
            weigh(&mut root, &weight.router, weight.weight);
        }
        root
    }

    /// Whether who may serve has to be derived anew; the caller does so.
    pub(super) const fn take_stale(&mut self) -> bool {
        std::mem::replace(&mut self.stale, false)
    }

    /// Whether the pools' trees have to be built anew; the caller does so.
    pub(super) const fn take_reweighed(&mut self) -> bool {
        std::mem::replace(&mut self.reweighed, false)
    }
}

fn weigh(target: &mut Target, router: &RouterPath, weight: f64) {
    match &mut target.kind {
        Kind::Router(path) if path == router => target.weight = weight,
        Kind::Router(_) => {}
        Kind::Branch { targets, .. } => targets.iter_mut().for_each(|inner| weigh(inner, router, weight)),
    }
}
