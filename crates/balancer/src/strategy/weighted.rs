//! `loadbalance`: weighted random. An unavailable child's share goes to the others in proportion.
//!
//! The first draw, which nearly every request needs, is a binary search in the cumulative weights, or an index where
//! all weights are equal; later draws scan the untried children.

use rand::{Rng, RngExt};

use super::{Choices, EligibleChild, Pick, PickReason, untried};

pub(super) fn next<R: Rng>(choices: Choices<'_>, drawn: &[u16], rng: &mut R, reason: PickReason) -> Option<Pick> {
    let (chosen, total) = sample(choices, drawn, rng)?;
    Some(Pick { child: chosen.child, p: Some(chosen.weight / total), reason })
}

/// One of the untried children, and the sum of their weights.
pub(super) fn sample<'a, R: Rng>(choices: Choices<'a>, drawn: &[u16], rng: &mut R) -> Option<(&'a EligibleChild, f64)> {
    if drawn.is_empty() { first(choices, rng) } else { later(choices.open, drawn, rng) }
}

fn first<'a, R: Rng>(Choices { open, uniform, .. }: Choices<'a>, rng: &mut R) -> Option<(&'a EligibleChild, f64)> {
    let last = open.last()?;
    if uniform {
        return open.get(rng.random_range(0..open.len())).map(|chosen| (chosen, last.cumulative_weight));
    }
    let mark = rng.random::<f64>() * last.cumulative_weight;
    // Rounding may put the mark on the very end.
    let chosen = open.get(open.partition_point(|open| open.cumulative_weight <= mark)).unwrap_or(last);
    Some((chosen, last.cumulative_weight))
}

fn later<'a, R: Rng>(open: &'a [EligibleChild], drawn: &[u16], rng: &mut R) -> Option<(&'a EligibleChild, f64)> {
    let total: f64 = untried(open, drawn).map(|open| open.weight).sum();
    let mut mark = rng.random::<f64>() * total;
    let mut last = None;
    for open in untried(open, drawn) {
        last = Some(open);
        if mark < open.weight {
            break;
        }
        mark -= open.weight;
    }
    last.map(|open| (open, total))
}
