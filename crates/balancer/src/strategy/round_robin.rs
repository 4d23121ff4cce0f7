//! `round_robin`: smooth and weighted. Each gains its weight per choice, whoever is ahead is named and pays all of them
//! back: exact over one cycle, and nobody is named twice in a row who need not be (nginx's rule, written anew).

use super::{Named, Note, Open, left};

pub(super) fn next(open: &[Open], drawn: &[u16]) -> Option<Named> {
    let ahead = left(open, drawn)
        .reduce(|best, open| if open.turn + open.weight > best.turn + best.weight { open } else { best })?;
    Some(Named { child: ahead.child, p: None, note: Note::Turn })
}

/// Counts a choice that was used, among those that took part in it.
pub(super) fn advance(open: &mut [Open], chosen: u16, took_part: impl Fn(u16) -> bool) {
    let mut total = 0.0;
    for open in open.iter_mut().filter(|open| took_part(open.child)) {
        open.turn += open.weight;
        total += open.weight;
    }
    for open in open.iter_mut().filter(|open| open.child == chosen) {
        open.turn -= total;
    }
}

/// Somebody left or came, and the weights had the sum `before`: turns are brought to the new sum, and to a mean of zero, so
/// that those that stay go on in their order and nobody jumps.
pub(super) fn settle(open: &mut [Open], before: f64) {
    let total: f64 = open.iter().map(|open| open.weight).sum();
    if before <= 0.0 || total <= 0.0 {
        return;
    }
    let scale = total / before;
    let sum: f64 = open.iter().map(|open| open.turn * scale).sum();
    // What is only rounding stays: else it would decide between those who are level, and nobody changed anything.
    let sum = if sum.abs() > total * 1e-9 { sum } else { 0.0 };
    for open in open {
        open.turn = open.turn * scale - sum * open.weight / total;
    }
}
