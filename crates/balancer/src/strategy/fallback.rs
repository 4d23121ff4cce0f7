//! `fallback`: in the order that was written, the first that may serve.

use super::{Eligible, Pick, PickReason, untried};

pub(super) fn next(eligible: &Eligible, drawn: &[u16]) -> Option<Pick> {
    untried(eligible, drawn).next().map(|first| first.pick(Some(1.0), PickReason::First))
}
