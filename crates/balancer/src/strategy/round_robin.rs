//! `round_robin`: smooth and weighted. Each gains its weight per choice, whoever is ahead is named and pays all of them
//! back: exact over one cycle, and nobody is named twice in a row who need not be (nginx's rule, written anew).

use super::{EligibleChild, Pick, PickReason, untried};

pub(super) fn next(open: &[EligibleChild], drawn: &[u16]) -> Option<Pick> {
    let ahead = untried(open, drawn).reduce(|best, open| {
        if open.current_weight + open.weight > best.current_weight + best.weight { open } else { best }
    })?;
    Some(Pick { child: ahead.child, p: None, reason: PickReason::Turn })
}

/// Counts a choice that was used, among those that took part in it.
pub(super) fn advance(open: &mut [EligibleChild], chosen: u16, took_part: impl Fn(u16) -> bool) {
    let mut total = 0.0;
    for open in open.iter_mut().filter(|open| took_part(open.child)) {
        open.current_weight += open.weight;
        total += open.weight;
    }
    for open in open.iter_mut().filter(|open| open.child == chosen) {
        open.current_weight -= total;
    }
}

/// Somebody left or came, and the weights had the sum `before`: turns are brought to the new sum, and to a mean of zero, so
/// that those that stay go on in their order and nobody jumps.
pub(super) fn settle(open: &mut [EligibleChild], before: f64) {
    let total: f64 = open.iter().map(|open| open.weight).sum();
    if before <= 0.0 || total <= 0.0 {
        return;
    }
    let scale = total / before;
    let sum: f64 = open.iter().map(|open| open.current_weight * scale).sum();
    // What is only rounding stays: else it would decide between those who are level, and nobody changed anything.
    let sum = if sum.abs() > total * 1e-9 { sum } else { 0.0 };
    for open in open {
        open.current_weight = open.current_weight * scale - sum * open.weight / total;
    }
}
