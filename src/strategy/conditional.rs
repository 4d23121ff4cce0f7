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
    let matched = conditions.iter().enumerate().find(|(_, condition)| condition.query.holds(request));
    let (child, note) = match matched {
        Some((number, condition)) => (condition.then, Note::Matched(u16::try_from(number).unwrap_or(u16::MAX))),
        None => (default?, Note::Default),
    };
    let serves = open.iter().any(|open| open.child == child);
    serves.then_some(Named { child, p: Some(1.0), note })
}
