//! `round_robin`: smooth weighted round robin, by nginx's algorithm. Each child gains its weight per choice; the
//! leader is picked and pays the sum of the weights. Exact over one cycle, and no child is picked twice in a row
//! without need.

use super::{Eligible, Pick, PickReason, untried};

pub(super) fn next(eligible: &Eligible, drawn: &[u16]) -> Option<Pick> {
    let ahead = untried(eligible, drawn).reduce(|best, entry| {
        if entry.current_weight + entry.weight > best.current_weight + best.weight { entry } else { best }
    })?;
    Some(ahead.pick(None, PickReason::RoundRobin))
}

/// Commits a choice among the children that took part in it.
pub(super) fn advance(eligible: &mut Eligible, chosen: u16, took_part: impl Fn(u16) -> bool) {
    let mut total = 0.0;
    for entry in eligible.iter_mut().filter(|entry| took_part(entry.child)) {
        entry.current_weight += entry.weight;
        total += entry.weight;
    }
    for entry in eligible.iter_mut().filter(|entry| entry.child == chosen) {
        entry.current_weight -= total;
    }
}

/// Rescales the current weights after a child came or left, when the weights had the sum `before`: to the new sum and
/// a mean of zero, so that the remaining children keep their order.
pub(super) fn rescale(eligible: &mut Eligible, before: f64) {
    let total = eligible.total();
    if before <= 0.0 || total <= 0.0 {
        return;
    }
    let scale = total / before;
    let sum: f64 = eligible.iter().map(|entry| entry.current_weight * scale).sum();
    // Rounding errors are left alone: removing them would decide between equal children.
    let sum = if sum.abs() > total * 1e-9 { sum } else { 0.0 };
    for entry in eligible.iter_mut() {
        entry.current_weight = entry.current_weight * scale - sum * entry.weight / total;
    }
}
