//! `least_busy`: of two children drawn by weight, the one with fewer calls of this replica in flight per weight.

use rand::Rng;

use super::{Choices, EligibleChild, Pick, p2c};

pub(super) fn next<R: Rng>(choices: Choices<'_>, drawn: &[u16], rng: &mut R) -> Option<Pick> {
    let pending = |entry: &EligibleChild| f64::from(choices.load.pending(entry));
    // By each weight, without a division.
    let busier = |one: &EligibleChild, other: &EligibleChild| {
        (pending(one) * other.weight).total_cmp(&(pending(other) * one.weight))
    };
    p2c::sample(choices, drawn, rng, busier).map(p2c::pick)
}
