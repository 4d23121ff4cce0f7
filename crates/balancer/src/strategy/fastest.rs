//! `fastest`: of two drawn by weight, the one that will have answered first: how long it takes, times the calls that it would
//! then have under way, by its weight. Per completion token where that is known of both, else per call.
//!
//! A newcomer gets one request and no second one before that has told how fast it is; only where nearly all are new at once,
//! at the start, it may, because nobody is better.

use rand::Rng;
use smallvec::SmallVec;

use super::{Choices, EligibleChild, Pick, p2c};
use crate::load::Load;

/// How often another one is drawn in place of a newcomer that has its request. Both draws name the same few newcomers so
/// often in a row only where there are hardly any others.
const REDRAWS: usize = 3;

pub(super) fn next<R: Rng>(choices: Choices<'_>, drawn: &[u16], rng: &mut R) -> Option<Pick> {
    let first = faster(choices, drawn, rng)?;
    if !choices.load.is_warming_up(first) {
        return Some(p2c::pick(first));
    }
    let mut passed: SmallVec<[u16; 8]> = drawn.iter().copied().chain([first.child]).collect();
    for _ in 0..REDRAWS {
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
        let (takes, other_takes) = match (load.speed.token, other_load.speed.token) {
            (Some(token), Some(other_token)) => (token, other_token),
            _ => (load.speed.call, other_load.speed.call),
        };
        // By each weight, without a division: that takes longer than all the rest.
        (cost(takes, load) * other.weight).total_cmp(&(cost(other_takes, other_load) * one.weight))
    })
}

fn cost(takes: f64, load: Load) -> f64 {
    takes * (f64::from(load.pending) + 1.0)
}
