//! `least_busy`: of two drawn by weight, the one with fewer calls of ours under way for its weight.

use rand::Rng;

use super::{Named, Open, Those, two};

pub(super) fn next<R: Rng>(those: Those<'_>, drawn: &[u16], rng: &mut R) -> Option<Named> {
    let busy = |open: &Open| f64::from(those.known.of(open.child).pending) / open.weight;
    two::next(those, drawn, rng, |one, other| busy(one).total_cmp(&busy(other)))
}
