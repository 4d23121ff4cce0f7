//! `loadbalance`: weighted random. An unavailable child's share goes to the others in proportion.
//!
//! The first draw, which nearly every request needs, is a binary search in the cumulative weights, or an index where
//! all weights are equal; later draws scan the untried children.

use rand::{Rng, RngExt};

use super::{Choices, Eligible, EligibleChild, Pick, PickReason, untried};

pub(super) fn next<R: Rng>(choices: Choices<'_>, drawn: &[u16], rng: &mut R, reason: PickReason) -> Option<Pick> {
    let (chosen, total) = sample(choices, drawn, rng)?;
    Some(chosen.pick(Some(chosen.weight / total), reason))
}

/// One of the untried children, and the sum of their weights.
#[inline]
pub(super) fn sample<'a, R: Rng>(choices: Choices<'a>, drawn: &[u16], rng: &mut R) -> Option<(&'a EligibleChild, f64)> {
    if drawn.is_empty() { first(choices.eligible, rng) } else { later(choices.eligible, drawn, rng) }
}

fn first<'a, R: Rng>(eligible: &'a Eligible, rng: &mut R) -> Option<(&'a EligibleChild, f64)> {
    if eligible.count() == 0 {
        return None;
    }
    let chosen = if eligible.is_uniform() {
        eligible.nth(rng.random_range(0..eligible.count()))
    } else {
        eligible.at_weight(rng.random::<f64>() * eligible.total())
    };
    chosen.map(|chosen| (chosen, eligible.total()))
}

/// Not inlined, because it is rare.
#[inline(never)]
fn later<'a, R: Rng>(eligible: &'a Eligible, drawn: &[u16], rng: &mut R) -> Option<(&'a EligibleChild, f64)> {
    let total: f64 = untried(eligible, drawn).map(|entry| entry.weight).sum();
    let mut mark = rng.random::<f64>() * total;
    let mut last = None;
    for entry in untried(eligible, drawn) {
        last = Some(entry);
        if mark < entry.weight {
            break;
        }
        mark -= entry.weight;
    }
    last.map(|entry| (entry, total))
}
