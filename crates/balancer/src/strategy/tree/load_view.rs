//! The load of a branch's children: a router's own load; for a branch the calls of all its eligible children and
//! their mean latency.

use super::{Branch, Eligible, RouterFilter, Tier, Tree};
use crate::load::{LatencyEwma, Load, LoadReader, Loads};
use crate::strategy::{Choices, EligibleChild};

/// The load of the children of one branch.
#[derive(Debug, Clone, Copy)]
pub struct LoadView<'a> {
    pub(super) tree: &'a Tree,
    pub(super) branch: &'a Branch,
    pub(super) loads: Option<LoadReader<'a>>,
    pub(super) tier: Tier,
}

/// Without load data all children are equal.
const NOTHING: Load = Load { pending: 0, latency: LatencyEwma::MAX };

impl LoadView<'_> {
    /// The load of a child. For a branch this visits everything in it.
    pub(in crate::strategy) fn load_of(&self, child: &EligibleChild) -> Load {
        self.loads.map_or(NOTHING, |loads| self.load(child, loads))
    }

    /// Calls of this replica in flight in a child.
    pub(in crate::strategy) fn pending(&self, child: &EligibleChild) -> u32 {
        self.loads.map_or(0, |loads| self.pending_in(child, loads))
    }

    /// Whether a child without samples already has its one call. A branch is entirely new only at start, when none is
    /// better.
    pub(in crate::strategy) fn is_warming_up(&self, child: &EligibleChild) -> bool {
        self.loads.zip(child.router).is_some_and(|(loads, router)| loads.is_warming_up(router))
    }

    /// The children with such a router, as if the others could not serve.
    pub(in crate::strategy) fn eligible_among(&self, among: &RouterFilter<'_>) -> Eligible {
        self.tree.eligible_among(self.branch.eligible(self.tier), self.tier, among)
    }

    fn load(&self, child: &EligibleChild, loads: LoadReader<'_>) -> Load {
        if let Some(router) = child.router {
            return loads.load_of(router, self.branch.median);
        }
        let Some(branch) = self.tree.branch(child.node) else { return NOTHING };
        let eligible = branch.eligible(self.tier);
        let children = eligible.iter().map(|child| self.load(child, loads));
        children.reduce(add).map_or(NOTHING, |sum| mean(sum, eligible.count()))
    }

    fn pending_in(&self, child: &EligibleChild, loads: LoadReader<'_>) -> u32 {
        if let Some(router) = child.router {
            return loads.pending(router);
        }
        let children = self.tree.branch(child.node).into_iter().flat_map(|branch| branch.eligible(self.tier).iter());
        children.map(|child| self.pending_in(child, loads)).fold(0, u32::saturating_add)
    }
}

impl Branch {
    /// The children that may serve.
    #[inline]
    pub(in crate::strategy) const fn choices<'a>(
        &'a self,
        tree: &'a Tree,
        tier: Tier,
        loads: Option<LoadReader<'a>>,
    ) -> Choices<'a> {
        Choices { eligible: self.eligible(tier), load: LoadView { tree, branch: self, loads, tier } }
    }
}

fn add(one: Load, other: Load) -> Load {
    let token = one.latency.token.zip(other.latency.token).map(|(one, other)| one + other);
    let latency = LatencyEwma { call: one.latency.call + other.latency.call, token };
    Load { pending: one.pending.saturating_add(other.pending), latency }
}

fn mean(Load { pending, latency: LatencyEwma { call, token } }: Load, count: usize) -> Load {
    let count = count.max(1) as f64;
    Load { pending, latency: LatencyEwma { call: call / count, token: token.map(|token| token / count) } }
}

impl Tree {
    /// Whether a policy in it chooses by load.
    pub const fn learns(&self) -> bool {
        self.learns
    }

    /// Refreshes the median latency in each branch that chooses by it: the assumed latency of routers without
    /// samples.
    pub(crate) fn refresh_medians(&mut self, loads: &Loads) {
        if !self.learns {
            return;
        }
        for id in self.nodes.ids() {
            let Some(branch) = self.branch(id) else { continue };
            if !branch.policy.uses_load() {
                continue;
            }
            let mut latencies = Vec::with_capacity(branch.eligible(Tier::Serving).count());
            self.gather(branch, loads, &mut latencies);
            let median = LatencyEwma::median(&latencies);
            if let Some(branch) = self.branch_mut(id) {
                branch.median = median;
            }
        }
    }

    fn gather(&self, branch: &Branch, loads: &Loads, latencies: &mut Vec<LatencyEwma>) {
        for entry in branch.eligible(Tier::Serving).iter() {
            match entry.router {
                Some(router) => latencies.extend(loads.observed_latency(router)),
                None => self.branch(entry.node).into_iter().for_each(|below| self.gather(below, loads, latencies)),
            }
        }
    }
}
