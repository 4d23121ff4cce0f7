//! The power of two choices (Mitzenmacher 2001): of two drawn by weight, the better one. Nobody herds to the one that looks
//! best just now, and with replacement the worst keeps being tried: it comes when both draws name it.

use std::cmp::Ordering;

use rand::Rng;

use super::{Named, Note, Open, Those, weighted};

/// `compare` says which of two different ones is better, that is less; where they are level, chance has decided already.
pub(super) fn draw<'a, R: Rng>(
    those: Those<'a>,
    drawn: &[u16],
    rng: &mut R,
    compare: impl Fn(&Open, &Open) -> Ordering,
) -> Option<&'a Open> {
    let (one, _) = weighted::draw(those, drawn, rng)?;
    let (other, _) = weighted::draw(those, drawn, rng)?;
    let better = one.child != other.child && compare(other, one).is_lt();
    Some(if better { other } else { one })
}

/// What is said of a child that was chosen so.
pub(super) const fn named(chosen: &Open) -> Named {
    Named { child: chosen.child, p: None, note: Note::OfTwo }
}
