//! `conditional`: the child of the first condition that matches, else the default. If the matched child may not
//! serve, the default does not replace it: the default is for requests that match nothing.

use std::sync::Arc;

use super::tree::Condition;
use super::{Eligible, Length, Pick, PickReason};
use types::request::{ConditionMatch, Request};

pub(super) fn next<Q: Request>(
    conditions: &Arc<[Condition]>,
    default: Option<u16>,
    eligible: &Eligible,
    drawn: &[u16],
    request: &Q,
) -> Option<Pick> {
    if !drawn.is_empty() {
        return None;
    }
    let (child, reason) = match_condition(conditions, default, request);
    Some(eligible.get(child?)?.pick(Some(1.0), reason))
}

/// The child that a request matches, whether it may serve or not, and why.
pub(super) fn match_condition<Q: Request>(
    conditions: &Arc<[Condition]>,
    default: Option<u16>,
    request: &Q,
) -> (Option<u16>, PickReason) {
    let ConditionMatch { first, too_long } =
        request.condition_match(address(conditions)).unwrap_or_else(|| first_match(conditions, request));
    let length = if too_long { Length::TooLong } else { Length::Fits };
    let matched = first.and_then(|number| Some((number, conditions.get(usize::from(number))?)));
    match (matched, default) {
        (Some((number, condition)), _) => (Some(condition.then), PickReason::Matched(number, length)),
        (None, Some(default)) => (Some(default), PickReason::Default(length)),
        (None, None) => (None, PickReason::NoMatch(length)),
    }
}

/// Which of the conditions a request fulfils first.
pub(super) fn first_match(conditions: &[Condition], request: &impl Request) -> ConditionMatch {
    let mut too_long = false;
    for (number, condition) in (0_u16..).zip(conditions) {
        match condition.query.evaluate(request) {
            Some(true) => return ConditionMatch { first: Some(number), too_long },
            Some(false) => {}
            None => too_long = true,
        }
    }
    ConditionMatch { first: None, too_long }
}

/// By what the conditions of one branch are known: no two have the same as long as both are there.
pub(super) fn address(conditions: &Arc<[Condition]>) -> usize {
    conditions.as_ptr().addr()
}
