//! Reasons in words: why each branch named whom it named, and why a leaf may not serve. They name fields, never values.

use std::fmt;

use super::{Branch, Condition, Mode, NodeId, NodeKind, Tree};
use crate::request::LONGEST_VALUE;
use crate::strategy::{Length, Note};

/// Why a leaf may not serve, whatever the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyClosed {
    /// The user took it out, or what it stands in.
    Drained,
    /// It weighs nothing where weights count, or what it stands in does.
    WeightZero,
    /// Its router may not serve; the broker knows until when.
    Disabled,
}

impl fmt::Display for WhyClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "drained",
            Self::WeightZero => "weight 0",
            Self::Disabled => "disabled",
        })
    }
}

/// Steps, as they are told: each branch by its name, and why it named whom it named.
#[derive(Debug)]
pub struct Told<'a> {
    pub(super) tree: &'a Tree,
    pub(super) steps: &'a [(NodeId, Note)],
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (branch, note)) in self.steps.iter().enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            self.step(f, *branch, *note)?;
        }
        Ok(())
    }
}

impl Told<'_> {
    fn step(&self, f: &mut fmt::Formatter<'_>, branch: NodeId, note: Note) -> fmt::Result {
        let Some(node) = self.tree.node(branch) else { return Ok(()) };
        let NodeKind::Branch(branch) = &node.kind else { return Ok(()) };
        let Branch { mode, children, open, .. } = &**branch;
        if let Some(name) = &node.name {
            write!(f, "{name}: ")?;
        }
        let (serving, of) = (open.len(), children.len());
        match (note, mode) {
            (Note::Random, _) => write!(f, "random, {serving} of {of} serve"),
            (Note::Turn, _) => write!(f, "in turn, {serving} of {of} serve"),
            (Note::OfTwo, Mode::Fastest) => write!(f, "the faster of two, {serving} of {of} serve"),
            (Note::OfTwo, _) => write!(f, "the less busy of two, {serving} of {of} serve"),
            (Note::First, _) => write!(f, "first in order, {serving} of {of} serve"),
            (Note::Sticky, Mode::Sticky(field)) => write!(f, "sticky by {field}"),
            (Note::NoKey(Length::Fits), Mode::Sticky(field)) => {
                write!(f, "no {field}: random, {serving} of {of} serve")
            }
            (Note::NoKey(Length::TooLong), Mode::Sticky(field)) => {
                write!(f, "{field} is longer than {LONGEST_VALUE} bytes: random, {serving} of {of} serve")
            }
            (Note::Matched(number, length), Mode::Conditional { conditions, .. }) => {
                let (before, rest) = conditions.split_at_checked(usize::from(number)).unwrap_or_default();
                write!(f, "condition {} on ", u32::from(number) + 1)?;
                rest.first().map_or(Ok(()), |condition| fields(f, condition))?;
                too_long(f, length)?;
                not(f, before)
            }
            (Note::Default(length), Mode::Conditional { conditions, .. }) => {
                f.write_str("no condition holds: default")?;
                too_long(f, length)?;
                not(f, conditions)
            }
            (Note::NoMatch(length), Mode::Conditional { conditions, .. }) => {
                f.write_str("no condition holds, and there is no default")?;
                too_long(f, length)?;
                not(f, conditions)
            }
            _ => Ok(()),
        }
    }
}

/// Why a condition may be among those that do not hold although one would think that it does.
fn too_long(f: &mut fmt::Formatter<'_>, length: Length) -> fmt::Result {
    match length {
        Length::Fits => Ok(()),
        Length::TooLong => write!(f, " (a value longer than {LONGEST_VALUE} bytes matches nothing)"),
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

/// What a condition asks about.
fn fields(f: &mut fmt::Formatter<'_>, condition: &Condition) -> fmt::Result {
    let fields: Vec<_> = condition.query.fields().iter().map(ToString::to_string).collect();
    f.write_str(&fields.join(", "))
}
