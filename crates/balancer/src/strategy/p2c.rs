//! The power of two choices (Mitzenmacher 2001): of two drawn by weight, the better one. Nobody herds to the one that looks
//! best just now, and with replacement the worst keeps being tried: it comes when both draws name it.

use std::cmp::Ordering;

use rand::Rng;

use super::{Choices, EligibleChild, Pick, PickReason, weighted};

/// `compare` says which of two different ones is better, that is less; where they are level, chance has decided already.
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

/// What is said of a child that was chosen so.
pub(super) const fn pick(chosen: &EligibleChild) -> Pick {
    Pick { child: chosen.child, p: None, reason: PickReason::TwoChoices }
}
