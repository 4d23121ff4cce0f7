//! `fallback`: in the order that was written, the first that may serve.

use super::{Named, Note, Open, left};

pub(super) fn next(open: &[Open], drawn: &[u16]) -> Option<Named> {
    left(open, drawn).next().map(|first| Named { child: first.child, p: Some(1.0), note: Note::First })
}
