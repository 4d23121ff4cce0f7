//! `fastest`: of two drawn by weight, the one that will have answered first: how long it takes, times the calls that it would
//! then have under way, by its weight. Per completion token where that is known of both, else per call.

use rand::Rng;

use super::{Named, Open, Those, two};
use crate::load::Load;

pub(super) fn next<R: Rng>(those: Those<'_>, drawn: &[u16], rng: &mut R) -> Option<Named> {
    two::next(those, drawn, rng, |one, other| {
        let loads = (those.known.of(one.child), those.known.of(other.child));
        let (takes, other_takes) = match (loads.0.speed.token, loads.1.speed.token) {
            (Some(one), Some(other)) => (one, other),
            _ => (loads.0.speed.call, loads.1.speed.call),
        };
        cost(takes, loads.0, one).total_cmp(&cost(other_takes, loads.1, other))
    })
}

fn cost(takes: f64, load: Load, open: &Open) -> f64 {
    takes * (f64::from(load.pending) + 1.0) / open.weight
}
