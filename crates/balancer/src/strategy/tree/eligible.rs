//! The children of a branch that may serve, per tier. They lie in blocks, so that a child that comes or goes changes one block
//! and the sums of the others, however many children there are.

use smallvec::SmallVec;

use crate::strategy::EligibleChild;

/// Children per block.
const CHILDREN_PER_BLOCK: u16 = 128;

/// What a router may be used for: each tier only where nothing in those before it may serve the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tier {
    /// Serves, or has a free probe slot.
    #[default]
    Serving,
    /// Is being probed already.
    LastResort,
    /// Is disabled, and may serve when nothing else can (Envoy's panic mode).
    Disabled,
}

impl Tier {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Serving, Self::LastResort, Self::Disabled];
}

/// Children with neighbouring numbers.
#[derive(Debug, Clone, Default)]
struct Block {
    /// In configured order.
    children: Vec<EligibleChild>,
    uniform: bool,
    /// The number and the weights of the children of all blocks before this one.
    before: usize,
    weight_before: f64,
}

impl Block {
    fn weight(&self) -> f64 {
        self.children.last().map_or(0.0, |last| last.cumulative_weight)
    }

    /// Sums the weights up from this place on.
    fn accumulate(&mut self, from: usize) {
        let mut sum =
            from.checked_sub(1).and_then(|place| self.children.get(place)).map_or(0.0, |entry| entry.cumulative_weight);
        for entry in self.children.iter_mut().skip(from) {
            sum += entry.weight;
            entry.cumulative_weight = sum;
        }
        self.uniform = self.children.windows(2).all(|two| two[0].weight == two[1].weight);
    }
}

/// The children of a branch that may serve in one tier.
#[derive(Debug, Clone, Default)]
pub struct Eligible {
    /// By the child's number.
    blocks: SmallVec<[Block; 1]>,
    count: usize,
    total: f64,
    uniform: bool,
    /// The shares of the children, above 0 and at most 1, each with how many have it: a handful, because a slow start has ten
    /// steps.
    shares: SmallVec<[(f64, u32); 1]>,
}

impl Eligible {
    /// These children, in order; shares are up to the caller.
    pub(super) fn new(children: impl Iterator<Item = EligibleChild>) -> Self {
        let mut eligible = Self::default();
        for child in children {
            eligible.block(child.child).children.push(child);
        }
        eligible.blocks.iter_mut().for_each(|block| block.accumulate(0));
        eligible.sum_up();
        eligible
    }

    /// A child comes, changes or goes; one that stays keeps its current weight.
    pub(super) fn set(&mut self, child: u16, now: Option<EligibleChild>) {
        if now.is_none() && self.get(child).is_none() {
            return;
        }
        let block = self.block(child);
        let from = match (block.children.binary_search_by_key(&child, |entry| entry.child), now) {
            (Ok(place), Some(now)) => {
                let entry = &mut block.children[place];
                *entry = EligibleChild { current_weight: entry.current_weight, ..now };
                place
            }
            (Ok(place), None) => {
                block.children.remove(place);
                place
            }
            (Err(place), Some(now)) => {
                block.children.insert(place, now);
                place
            }
            (Err(_), None) => return,
        };
        block.accumulate(from);
        self.sum_up();
    }

    fn block(&mut self, child: u16) -> &mut Block {
        let place = usize::from(child / CHILDREN_PER_BLOCK);
        if place >= self.blocks.len() {
            self.blocks.resize_with(place + 1, Block::default);
        }
        &mut self.blocks[place]
    }

    fn sum_up(&mut self) {
        (self.count, self.total, self.uniform) = (0, 0.0, true);
        let mut weight = None;
        for block in &mut self.blocks {
            (block.before, block.weight_before) = (self.count, self.total);
            self.count += block.children.len();
            self.total += block.weight();
            if let Some(first) = block.children.first() {
                self.uniform &= block.uniform && *weight.get_or_insert(first.weight) == first.weight;
            }
        }
    }

    /// One child's share was `before` and is `after`, each 0 if it may not serve.
    pub(super) fn set_share(&mut self, before: f64, after: f64) {
        if let Some(place) = self.shares.iter().position(|(share, _)| *share == before) {
            let (_, count) = &mut self.shares[place];
            *count -= 1;
            if *count == 0 {
                self.shares.swap_remove(place);
            }
        }
        match self.shares.iter_mut().find(|(share, _)| *share == after) {
            Some((_, count)) => *count += 1,
            None if after > 0.0 => self.shares.push((after, 1)),
            None => {}
        }
    }

    /// The greatest share of a child; 0 if none may serve.
    pub(super) fn best(&self) -> f64 {
        self.shares.iter().map(|(share, _)| *share).fold(0.0, f64::max)
    }

    /// In configured order.
    #[inline]
    pub(in crate::strategy) fn iter(&self) -> impl Iterator<Item = &EligibleChild> {
        self.blocks.iter().flat_map(|block| &block.children)
    }

    pub(in crate::strategy) fn iter_mut(&mut self) -> impl Iterator<Item = &mut EligibleChild> {
        self.blocks.iter_mut().flat_map(|block| &mut block.children)
    }

    pub(in crate::strategy) const fn count(&self) -> usize {
        self.count
    }

    /// The weights of all.
    pub(in crate::strategy) const fn total(&self) -> f64 {
        self.total
    }

    /// Whether all weights are equal.
    pub(in crate::strategy) const fn is_uniform(&self) -> bool {
        self.uniform
    }

    pub(in crate::strategy) fn get(&self, child: u16) -> Option<&EligibleChild> {
        let children = &self.blocks.get(usize::from(child / CHILDREN_PER_BLOCK))?.children;
        children.get(children.binary_search_by_key(&child, |entry| entry.child).ok()?)
    }

    /// The one at this place among them.
    #[inline]
    pub(in crate::strategy) fn nth(&self, place: usize) -> Option<&EligibleChild> {
        if let [block] = &self.blocks[..] {
            return block.children.get(place);
        }
        let block = self.blocks.partition_point(|block| block.before <= place).checked_sub(1)?;
        let block = self.blocks.get(block)?;
        block.children.get(place - block.before)
    }

    /// The one whose weight, added to those before it, first exceeds `mark`; the last one if rounding put the mark beyond it.
    #[inline]
    pub(in crate::strategy) fn at_weight(&self, mark: f64) -> Option<&EligibleChild> {
        let place = match &self.blocks[..] {
            [_] => 0,
            blocks => blocks.partition_point(|block| block.weight_before <= mark).checked_sub(1)?,
        };
        let block = self.blocks.get(place)?;
        let mark = mark - block.weight_before;
        let chosen = block.children.get(block.children.partition_point(|entry| entry.cumulative_weight <= mark));
        chosen.or_else(|| block.children.last()).or_else(|| self.nth(self.count.checked_sub(1)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::strategy::NodeId;

    fn child(child: u16, weight: f64) -> EligibleChild {
        EligibleChild {
            child,
            node: NodeId::ROOT,
            router: None,
            weight,
            cumulative_weight: 0.0,
            identity: 0,
            current_weight: 0.0,
        }
    }

    #[test]
    fn a_child_that_goes_without_having_been_there_changes_nothing() {
        let mut eligible = Eligible::new([child(0, 1.0)].into_iter());
        eligible.set(CHILDREN_PER_BLOCK, None);
        assert_eq!(eligible.nth(0).map(|entry| entry.child), Some(0));
        assert_eq!(eligible.at_weight(0.0).map(|entry| entry.child), Some(0));
    }

    proptest! {
        /// The greatest share is that of the children that are there.
        #[test]
        fn the_best_share_is_that_of_some_child(steps in prop::collection::vec((0_usize..6, 0_u8..=10), 0..60)) {
            let (mut eligible, mut shares) = (Eligible::default(), [0.0_f64; 6]);
            for (child, tenths) in steps {
                let before = std::mem::replace(&mut shares[child], f64::from(tenths) / 10.0);
                eligible.set_share(before, shares[child]);
                prop_assert_eq!(eligible.best(), shares.iter().copied().fold(0.0, f64::max));
            }
        }

        /// However children come and go, all is as if it were built anew.
        #[test]
        fn a_change_is_like_building_anew(
            steps in prop::collection::vec((0_u16..1_200, prop::sample::select(vec![0.0, 1.0, 1.0, 2.0])), 0..300),
            mark in 0.0..1.0_f64,
        ) {
            let (mut eligible, mut model) = (Eligible::default(), std::collections::BTreeMap::new());
            for (number, weight) in steps {
                let now = (weight > 0.0).then(|| child(number, weight));
                eligible.set(number, now);
                let _ = match now {
                    Some(now) => model.insert(number, now),
                    None => model.remove(&number),
                };
            }
            let anew = Eligible::new(model.values().copied());
            prop_assert!(eligible.iter().eq(anew.iter()));
            prop_assert_eq!(eligible.count(), model.len());
            prop_assert_eq!(model.is_empty() || eligible.is_uniform(), model.values().all(|one| model.values().all(|other| one.weight == other.weight)));
            for (place, one) in model.values().enumerate() {
                prop_assert_eq!(eligible.nth(place).map(|entry| entry.child), Some(one.child));
                prop_assert!(eligible.get(one.child).is_some());
            }
            let (mark, mut sum) = (mark * eligible.total(), 0.0);
            let expected = model.values().find(|entry| { sum += entry.weight; sum > mark });
            prop_assert_eq!(eligible.at_weight(mark).map(|entry| entry.child), expected.map(|entry| entry.child));
        }
    }
}
