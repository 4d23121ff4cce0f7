//! The power of two choices (Mitzenmacher 2001): the better of two children drawn by weight. It avoids herding to the
//! momentarily best one; and because it draws with replacement, the worst child still gets calls: when both draws
//! name it.

use std::cmp::Ordering;

use rand::Rng;

use super::{Choices, EligibleChild, Pick, PickReason, weighted};

/// `compare` orders two different children, the better one first; if they are equal the first draw wins.
pub(super) fn sample<'a, R: Rng>(
    choices: Choices<'a>,
    drawn: &[u16],
    rng: &mut R,
    compare: impl Fn(&EligibleChild, &EligibleChild) -> Ordering,
) -> Option<&'a EligibleChild> {
    let (one, _) = weighted::sample(choices, drawn, rng)?;
    let (other, _) = weighted::sample(choices, drawn, rng)?;
    let better = one.child != other.child && compare(other, one).is_lt();
    Some(if better { other } else { one })
}

/// The pick of a child that was chosen this way.
pub(super) const fn pick(chosen: &EligibleChild) -> Pick {
    chosen.pick(None, PickReason::TwoChoices)
}
