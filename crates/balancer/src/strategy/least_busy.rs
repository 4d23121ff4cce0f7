//! `least_busy`: of two drawn by weight, the one with fewer calls of ours under way for its weight.

use rand::Rng;

use super::{Named, Open, Those, two};

pub(super) fn next<R: Rng>(those: Those<'_>, drawn: &[u16], rng: &mut R) -> Option<Named> {
    let pending = |open: &Open| f64::from(those.known.pending(open));
    // By each weight, without a division.
    let busier = |one: &Open, other: &Open| (pending(one) * other.weight).total_cmp(&(pending(other) * one.weight));
    two::draw(those, drawn, rng, busier).map(two::named)
}
