//! `fallback`: in the order that was written, the first that may serve.

use super::{EligibleChild, Pick, PickReason, untried};

pub(super) fn next(open: &[EligibleChild], drawn: &[u16]) -> Option<Pick> {
    untried(open, drawn).next().map(|first| Pick { child: first.child, p: Some(1.0), reason: PickReason::First })
}
