//! `least_busy`: of two drawn by weight, the one with fewer calls of ours under way for its weight.

use rand::Rng;

use super::{Named, Open, Those, two};

pub(super) fn next<R: Rng>(those: Those<'_>, drawn: &[u16], rng: &mut R) -> Option<Named> {
    let pending = |open: &Open| f64::from(those.known.pending(open.child));
    // By each weight, without a division.
    two::next(those, drawn, rng, |one, other| (pending(one) * other.weight).total_cmp(&(pending(other) * one.weight)))
}
