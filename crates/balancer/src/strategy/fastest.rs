//! `fastest`: of two children drawn by weight, the one expected to answer first: latency times calls in flight
//! including this one, divided by weight. Latency per completion token where it is known of both, else per call.
//!
//! A child without samples gets one call, and no second one until that has ended; only where nearly all children are
//! new, at start, may it get more.

use rand::Rng;
use smallvec::SmallVec;

use super::{Choices, EligibleChild, Pick, p2c};
use crate::load::Load;

/// How often another child is drawn in place of one that is warming up. This many draws in a row find only such
/// children where there are hardly any others.
const MAX_REDRAWS: usize = 3;

pub(super) fn next<R: Rng>(choices: Choices<'_>, drawn: &[u16], rng: &mut R) -> Option<Pick> {
    let first = faster(choices, drawn, rng)?;
    if !choices.load.is_warming_up(first) {
        return Some(p2c::pick(first));
    }
    let mut passed: SmallVec<[u16; 8]> = drawn.iter().copied().chain([first.child]).collect();
    for _ in 0..MAX_REDRAWS {
        let Some(next) = faster(choices, &passed, rng) else { break };
        if !choices.load.is_warming_up(next) {
            return Some(p2c::pick(next));
        }
        passed.push(next.child);
    }
    Some(p2c::pick(first))
}

fn faster<'a, R: Rng>(choices: Choices<'a>, drawn: &[u16], rng: &mut R) -> Option<&'a EligibleChild> {
    p2c::sample(choices, drawn, rng, |one, other| {
        let (load, other_load) = (choices.load.load_of(one), choices.load.load_of(other));
        let (takes, other_takes) = match (load.latency.token, other_load.latency.token) {
            (Some(token), Some(other_token)) => (token, other_token),
            _ => (load.latency.call, other_load.latency.call),
        };
        // By each weight, without a division: that takes longer than all the rest.
        (cost(takes, load) * other.weight).total_cmp(&(cost(other_takes, other_load) * one.weight))
    })
}

fn cost(takes: f64, load: Load) -> f64 {
    takes * (f64::from(load.pending) + 1.0)
}
