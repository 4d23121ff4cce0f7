//! Round-robin state: each committed choice advances it, and a new tree inherits it from the tree before a reload.
//!
//! The roots correspond, and below them children of the same identity. One guess is made: a branch without a name,
//! whose identity depends on its children, corresponds to the one at the same index.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::{Branch, Eligible, Node, NodeId, NodeKind, Policy, RouterFilter, Tier, Tree};
use crate::strategy::{EligibleChild, round_robin};

/// The indices of a child among its siblings, now and before.
type MatchedChild = (u16, u16);

impl Tree {
    /// Commits a choice. If it was made among `among` only, as others are over their limits, those neither gain nor lose by it;
    /// otherwise a long run of requests would follow once they are within their limits again.
    #[inline]
    pub fn advance(&mut self, leaf: NodeId, tier: Tier, among: Option<&RouterFilter<'_>>) {
        if self.turns {
            self.advance_turns(leaf, tier, among);
        }
    }

    #[inline(never)]
    fn advance_turns(&mut self, leaf: NodeId, tier: Tier, among: Option<&RouterFilter<'_>>) {
        let mut at = self.node(leaf).and_then(|node| node.parent);
        while let Some((id, place)) = at {
            let took_part = among
                .zip(self.branch(id))
                .map(|(among, branch)| self.eligible_among(branch.eligible(tier), tier, among));
            let Some(node) = self.nodes.get_mut(id) else { return };
            at = node.parent;
            if let NodeKind::Branch(branch) = &mut node.kind
                && matches!(branch.policy, Policy::RoundRobin)
            {
                round_robin::advance(&mut branch.tiers[tier as usize], place, |child| {
                    took_part.as_ref().is_none_or(|took_part| took_part.get(child).is_some())
                });
            }
        }
    }

    /// Continues where `old` was. Eligibility is still that of `old`: the next refresh applies what changed.
    pub(crate) fn inherit_rr_state(&mut self, old: &Self) {
        if !self.turns || !old.turns {
            return;
        }
        let mut waiting = vec![(NodeId::ROOT, NodeId::ROOT)];
        while let Some((now, then)) = waiting.pop() {
            let matched = self.matched(now, old, then);
            let child = |tree: &Self, id, place: u16| tree.branch(id)?.children.get(usize::from(place)).copied();
            waiting.extend(matched.iter().filter_map(|(new, was)| child(self, now, *new).zip(child(old, then, *was))));
            if let Some(branch) = self.branch_mut(now)
                && let Some(before) = old.branch(then)
            {
                branch.inherit_rr_state(before, matched);
            }
        }
    }

    /// The corresponding children of two branches.
    fn matched(&self, now: NodeId, old: &Self, then: NodeId) -> Vec<MatchedChild> {
        let mut left: FxHashMap<u64, Vec<u16>> = FxHashMap::default();
        let before: Vec<_> = old.children(then).collect();
        for (place, _, node) in before.iter().rev() {
            left.entry(node.identity).or_default().push(*place);
        }
        let mut matched = Vec::new();
        let mut strangers = Vec::new();
        for (place, id, node) in self.children(now) {
            match left.get_mut(&node.identity).and_then(Vec::pop) {
                Some(was) => matched.push((place, was)),
                None if self.details.is_nameless_branch(id) => strangers.push(place),
                None => {}
            }
        }
        let left: BTreeSet<u16> = left.into_values().flatten().collect();
        let nameless: BTreeSet<u16> =
            before.iter().filter(|(_, id, _)| old.details.is_nameless_branch(*id)).map(|(place, ..)| *place).collect();
        let same_place = strangers.into_iter().filter(|place| left.contains(place) && nameless.contains(place));
        matched.extend(same_place.map(|place| (place, place)));
        matched
    }

    fn children(&self, branch: NodeId) -> impl Iterator<Item = (u16, NodeId, &Node)> {
        let children = self.branch(branch).map(|branch| branch.children.as_slice()).unwrap_or_default();
        (0_u16..).zip(children).filter_map(|(place, id)| Some((place, *id, self.node(*id)?)))
    }
}

impl Branch {
    fn inherit_rr_state(&mut self, before: &Self, matched: Vec<MatchedChild>) {
        if !matches!((&self.policy, &before.policy), (Policy::RoundRobin, Policy::RoundRobin)) {
            return;
        }
        let places: FxHashMap<u16, u16> = matched.into_iter().map(|(now, then)| (then, now)).collect();
        let then = before.eligible(Tier::Serving);
        let stay = then.iter().filter_map(|entry| {
            let child = *places.get(&entry.child)?;
            // The ids of nodes are others in each tree.
            Some(EligibleChild { child, node: *self.children.get(usize::from(child))?, ..*entry })
        });
        let mut stay: Vec<_> = stay.collect();
        stay.sort_by_key(|entry| entry.child);
        let mut now = Eligible::new(stay.into_iter());
        round_robin::rescale(&mut now, then.total());
        self.tiers[Tier::Serving as usize] = now;
    }
}
