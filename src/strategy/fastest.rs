//! `fastest`: of two drawn by weight, the one that will have answered first: how long it takes, times the calls that it would
//! then have under way, by its weight. Per completion token where that is known of both, else per call.
//!
//! A newcomer gets one request and no second one before that has told how fast it is; only where nearly all are new at once,
//! at the start, it may, because nobody is better.

use rand::Rng;
use smallvec::SmallVec;

use super::{Named, Those, two};
use crate::load::Load;

/// How often another one is drawn in place of a newcomer that has its request. Both draws name the same few newcomers so
/// often in a row only where there are hardly any others.
const REDRAWS: usize = 3;

pub(super) fn next<R: Rng>(those: Those<'_>, drawn: &[u16], rng: &mut R) -> Option<Named> {
    let first = faster(those, drawn, rng)?;
    if !those.known.is_tried(first.child) {
        return Some(first);
    }
    let mut passed: SmallVec<[u16; 8]> = drawn.iter().copied().chain([first.child]).collect();
    for _ in 0..REDRAWS {
        let Some(next) = faster(those, &passed, rng) else { break };
        if !those.known.is_tried(next.child) {
            return Some(next);
        }
        passed.push(next.child);
    }
    Some(first)
}

fn faster<R: Rng>(those: Those<'_>, drawn: &[u16], rng: &mut R) -> Option<Named> {
    two::next(those, drawn, rng, |one, other| {
        let loads = (those.known.of(one.child), those.known.of(other.child));
        let (takes, other_takes) = match (loads.0.speed.token, loads.1.speed.token) {
            (Some(one), Some(other)) => (one, other),
            _ => (loads.0.speed.call, loads.1.speed.call),
        };
        // By each weight, without a division: that takes longer than all the rest.
        let cost = cost(takes, loads.0) * other.weight;
        cost.total_cmp(&(self::cost(other_takes, loads.1) * one.weight))
    })
}

fn cost(takes: f64, load: Load) -> f64 {
    takes * (f64::from(load.pending) + 1.0)
}
