//! `conditional`: the child of the first condition that holds, else the default's. A child that was meant and cannot serve is
//! not replaced by the default: the default is for requests that nobody meant.

use super::tree::Condition;
use super::{Named, Note, Open};
use crate::request::Request;

pub(super) fn next<Q: Request>(
    conditions: &[Condition],
    default: Option<u16>,
    open: &[Open],
    drawn: &[u16],
    request: &Q,
) -> Option<Named> {
    if !drawn.is_empty() {
        return None;
    }
    let (child, note) = meant(conditions, default, request);
    let child = child.filter(|child| open.iter().any(|open| open.child == *child))?;
    Some(Named { child, p: Some(1.0), note })
}

/// The child that a request is meant for, whether it may serve or not, and why.
pub(super) fn meant<Q: Request>(conditions: &[Condition], default: Option<u16>, request: &Q) -> (Option<u16>, Note) {
    let matched = conditions.iter().enumerate().find(|(_, condition)| condition.query.holds(request));
    match (matched, default) {
        (Some((number, condition)), _) => {
            (Some(condition.then), Note::Matched(u16::try_from(number).unwrap_or(u16::MAX)))
        }
        (None, Some(default)) => (Some(default), Note::Default),
        (None, None) => (None, Note::NoMatch),
    }
}
