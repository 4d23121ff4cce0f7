//! `loadbalance`: weighted random. What cannot serve gives its share to the others in proportion.
//!
//! The first draw, the one that nearly every request needs, is a search in the running sums, or a plain index where all weigh
//! the same; later ones walk along those that are left.

use rand::{Rng, RngExt};

use super::{Named, Note, Open, Those, left};

pub(super) fn next<R: Rng>(those: Those<'_>, drawn: &[u16], rng: &mut R, note: Note) -> Option<Named> {
    let (chosen, total) = draw(those, drawn, rng)?;
    Some(Named { child: chosen.child, p: Some(chosen.weight / total), note })
}

/// One of those that were not named yet, and the sum of their weights.
pub(super) fn draw<'a, R: Rng>(those: Those<'a>, drawn: &[u16], rng: &mut R) -> Option<(&'a Open, f64)> {
    if drawn.is_empty() { first(those, rng) } else { later(those.open, drawn, rng) }
}

fn first<'a, R: Rng>(Those { open, even, .. }: Those<'a>, rng: &mut R) -> Option<(&'a Open, f64)> {
    let last = open.last()?;
    if even {
        return open.get(rng.random_range(0..open.len())).map(|chosen| (chosen, last.upto));
    }
    let mark = rng.random::<f64>() * last.upto;
    // Rounding may put the mark on the very end.
    let chosen = open.get(open.partition_point(|open| open.upto <= mark)).unwrap_or(last);
    Some((chosen, last.upto))
}

fn later<'a, R: Rng>(open: &'a [Open], drawn: &[u16], rng: &mut R) -> Option<(&'a Open, f64)> {
    let total: f64 = left(open, drawn).map(|open| open.weight).sum();
    let mut mark = rng.random::<f64>() * total;
    let mut last = None;
    for open in left(open, drawn) {
        last = Some(open);
        if mark < open.weight {
            break;
        }
        mark -= open.weight;
    }
    last.map(|open| (open, total))
}
