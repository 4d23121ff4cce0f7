//! `conditional`: the child of the first condition that holds, else the default's. A child that was meant and cannot serve is
//! not replaced by the default: the default is for requests that nobody meant.

use std::sync::Arc;

use super::tree::Condition;
use super::{Length, Named, Note, Open};
use crate::request::{Request, Verdict};

pub(super) fn next<Q: Request>(
    conditions: &Arc<[Condition]>,
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
pub(super) fn meant<Q: Request>(
    conditions: &Arc<[Condition]>,
    default: Option<u16>,
    request: &Q,
) -> (Option<u16>, Note) {
    let Verdict { first, too_long } =
        request.verdict(address(conditions)).unwrap_or_else(|| judge(conditions, request));
    let length = if too_long { Length::TooLong } else { Length::Fits };
    let matched = first.and_then(|number| Some((number, conditions.get(usize::from(number))?)));
    match (matched, default) {
        (Some((number, condition)), _) => (Some(condition.then), Note::Matched(number, length)),
        (None, Some(default)) => (Some(default), Note::Default(length)),
        (None, None) => (None, Note::NoMatch(length)),
    }
}

/// Which of the conditions a request fulfils first.
pub(super) fn judge(conditions: &[Condition], request: &impl Request) -> Verdict {
    let mut too_long = false;
    for (number, condition) in (0_u16..).zip(conditions) {
        match condition.query.judge(request) {
            Some(true) => return Verdict { first: Some(number), too_long },
            Some(false) => {}
            None => too_long = true,
        }
    }
    Verdict { first: None, too_long }
}

/// By what the conditions of one branch are known: no two have the same as long as both are there.
pub(super) fn address(conditions: &Arc<[Condition]>) -> usize {
    conditions.as_ptr().addr()
}
