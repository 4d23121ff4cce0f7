//! Reasons as text: why each branch picked its child, and why a leaf may not serve. Fields are named; their values
//! never are.

use std::fmt;

use super::details::BranchDetails;
use super::{Condition, Policy, TreeDetails};
use crate::strategy::{Length, PickReason, PickStep};
use types::request::MAX_FIELD_VALUE_BYTES;

/// Why a leaf may not serve any request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ineligible {
    /// It or a branch above it is drained by the configuration.
    Drained,
    /// It or a branch above it has weight 0 under a policy that uses weights.
    WeightZero,
    /// Its router is ejected or drained by an operator; the broker knows until when.
    Disabled,
}

impl fmt::Display for Ineligible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "drained",
            Self::WeightZero => "weight 0",
            Self::Disabled => "disabled",
        })
    }
}

/// Displays each branch's name and the reason for its pick.
#[derive(Debug)]
pub struct Explanation<'a> {
    pub(super) details: &'a TreeDetails,
    pub(super) steps: &'a [PickStep],
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            self.step(f, *step)?;
        }
        Ok(())
    }
}

impl Explanation<'_> {
    fn step(&self, f: &mut fmt::Formatter<'_>, step: PickStep) -> fmt::Result {
        let PickStep { branch, reason, serving } = step;
        let Some(node) = self.details.get(branch) else { return Ok(()) };
        let Some(BranchDetails { policy, children: of }) = node.branch.as_deref() else { return Ok(()) };
        if let Some(name) = &node.name {
            write!(f, "{name}: ")?;
        }
        let of = *of;
        match (reason, policy) {
            (PickReason::Random, _) => served(f, "random", serving, of),
            (PickReason::RoundRobin, _) => served(f, "in turn", serving, of),
            (PickReason::TwoChoices, policy) => served(f, better_of_two(policy), serving, of),
            (PickReason::First, _) => served(f, "first in order", serving, of),
            (PickReason::Affinity, _) => f.write_str("affinity"),
            (PickReason::Sticky, Policy::Sticky(field)) => write!(f, "sticky by {field}"),
            (PickReason::NoKey(Length::Fits), Policy::Sticky(field)) => {
                write!(f, "no {field}: random, {serving} of {of} serve")
            }
            (PickReason::NoKey(Length::TooLong), Policy::Sticky(field)) => {
                write!(f, "{field} is longer than {MAX_FIELD_VALUE_BYTES} bytes: random, {serving} of {of} serve")
            }
            (PickReason::Matched(number, length), Policy::Conditional { conditions, .. }) => {
                let (before, rest) = conditions.split_at_checked(usize::from(number)).unwrap_or_default();
                write!(f, "condition {} on ", u32::from(number) + 1)?;
                rest.first().map_or(Ok(()), |condition| fields(f, condition))?;
                too_long(f, length)?;
                not(f, before)
            }
            (PickReason::Default(length), Policy::Conditional { conditions, .. }) => {
                f.write_str("no condition holds: default")?;
                too_long(f, length)?;
                not(f, conditions)
            }
            (PickReason::NoMatch(length), Policy::Conditional { conditions, .. }) => {
                f.write_str("no condition holds, and there is no default")?;
                too_long(f, length)?;
                not(f, conditions)
            }
            _ => Ok(()),
        }
    }
}

const fn better_of_two(policy: &Policy) -> &'static str {
    match policy {
        Policy::Fastest => "the faster of two",
        Policy::LeastBusy => "the less busy of two",
        Policy::LoadBalance
        | Policy::RoundRobin
        | Policy::Fallback
        | Policy::Sticky(_)
        | Policy::Conditional { .. } => "the better of two",
    }
}

/// How a child was picked, and among how many. Without `write!`, because every stamp says it.
fn served(f: &mut fmt::Formatter<'_>, how: &str, serving: u16, of: usize) -> fmt::Result {
    let (mut some, mut all) = (itoa::Buffer::new(), itoa::Buffer::new());
    let parts = [how, ", ", some.format(serving), " of ", all.format(of), " serve"];
    parts.into_iter().try_for_each(|part| f.write_str(part))
}

/// Why a condition may be among those that do not hold although one would think that it does.
fn too_long(f: &mut fmt::Formatter<'_>, length: Length) -> fmt::Result {
    match length {
        Length::Fits => Ok(()),
        Length::TooLong => write!(f, " (a value longer than {MAX_FIELD_VALUE_BYTES} bytes matches nothing)"),
    }
}

/// The conditions that were false, where everything is to be said.
fn not(f: &mut fmt::Formatter<'_>, conditions: &[Condition]) -> fmt::Result {
    if !f.alternate() || conditions.is_empty() {
        return Ok(());
    }
    f.write_str(" (false:")?;
    for (number, condition) in (1_u32..).zip(conditions) {
        f.write_str(if number > 1 { "; condition " } else { " condition " })?;
        write!(f, "{number} on ")?;
        fields(f, condition)?;
    }
    f.write_str(")")
}

/// The fields that a condition reads.
fn fields(f: &mut fmt::Formatter<'_>, condition: &Condition) -> fmt::Result {
    let fields: Vec<_> = condition.query.fields().iter().map(ToString::to_string).collect();
    f.write_str(&fields.join(", "))
}
