//! Decodes JSON as the gateway does. Every fault has its place, and expanded values are never shown.
//!
//! Missing and `null` give the zero value, unknown fields and the case of names are ignored, of duplicate names the last one
//! counts, and a wrong type rejects the file. A value that depends on a variable that is unset here can be anything, so its
//! faults are uncertain.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged;

use super::expand::Expanded;

/// A reason why the gateway rejects its file, drops a router, or exits at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// File, line, column and the path in it.
    pub place: String,
    /// The problem; the text continues the place.
    pub problem: String,
    /// False if it depends on a variable that is unset here.
    pub sure: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// A text of the configuration. It is displayed as written, before expansion.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text {
    value: String,
    written: String,
    unset: bool,
}

impl Text {
    /// The text after expansion; `None` if it depends on a variable that is unset here. For comparisons only, never for display.
    pub fn value(&self) -> Option<&str> {
        (!self.unset).then_some(&*self.value)
    }

    /// Whether it is this text; absent if unknown.
    pub fn is(&self, other: &str) -> Option<bool> {
        self.value().map(|value| value == other)
    }

    /// Whether it contains a variable, set or not.
    pub fn has_variable(&self) -> bool {
        self.unset || self.value != self.written
    }

    /// The part after a mark, in the expanded text and in the text as written.
    pub(super) fn after_last(&self, mark: char) -> Self {
        let part = |text: &str| text.split_once(mark).map(|(_, part)| part.to_owned());
        match (part(&self.value), part(&self.written)) {
            // Assumed to be absent: an unset variable could contain the mark, but that is unlikely.
            (None, _) => Self::default(),
            (Some(value), Some(written)) => Self { value, written, unset: self.unset },
            // The variable has the mark.
            (Some(value), None) => Self { value, written: self.written.clone(), unset: self.unset },
        }
    }

    pub(super) fn raw(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.written, f)
    }
}

/// The whole document, and its faults so far.
pub(super) struct Document<'d> {
    pub(super) name: &'d str,
    pub(super) expanded: &'d Expanded,
    pub(super) faults: RefCell<Vec<Fault>>,
}

impl Document<'_> {
    /// A place in the file, readable: line, column and path.
    fn location(&self, offset: usize, path: &str) -> String {
        let (line, column) = self.expanded.position(offset);
        let gap = if path.is_empty() { "" } else { " " };
        format!("{}:{line}:{column}{gap}{path}", self.name)
    }
}

/// A value, or its absence, with its path.
#[derive(Clone)]
pub(super) struct Node<'d> {
    document: &'d Document<'d>,
    value: Option<&'d Value<'d>>,
    path: String,
    /// Its place in the file, also where it is absent.
    offset: usize,
    /// It depends on a variable that is unset here.
    unset: bool,
}

impl<'d> Node<'d> {
    pub(super) fn root(document: &'d Document<'d>, value: &'d Value<'d>) -> Self {
        let root = Self { document, value: None, path: String::new(), offset: 0, unset: false };
        root.inside(Some(value), String::new())
    }

    fn inside(&self, value: Option<&'d Value<'d>>, path: String) -> Self {
        let hangs = value.is_some_and(|value| self.is_variable(&own(value)));
        let value = value.filter(|value| !matches!(value, Value::NullKeyword(_)));
        let unset = hangs || (value.is_none() && self.unset);
        let offset = value.map_or(self.offset, Ranged::start);
        Self { document: self.document, value, path, offset, unset }
    }

    fn is_variable(&self, part: &Range<usize>) -> bool {
        self.document.expanded.is_variable(part)
    }

    /// Its place in the file, readable.
    pub(super) fn location(&self) -> String {
        self.document.location(self.offset, &self.path)
    }

    /// Whether it can be anything, because a variable is unset here.
    pub(super) const fn is_unset(&self) -> bool {
        self.unset
    }

    pub(super) const fn is_absent(&self) -> bool {
        self.value.is_none()
    }

    /// A fault, unless `holds`.
    pub(super) fn rule(&self, holds: bool, problem: &str) -> Option<Fault> {
        (!holds).then(|| Fault { place: self.location(), problem: problem.to_owned(), sure: !self.unset })
    }

    /// A fault for which the gateway rejects the whole file, unless `holds`.
    pub(super) fn require(&self, holds: bool, problem: &str) {
        self.document.faults.borrow_mut().extend(self.rule(holds, problem));
    }

    fn type_fault<T: Default>(&self, right: &str) -> T {
        self.require(self.value.is_none(), &format!("must be {right}"));
        T::default()
    }

    pub(super) fn field(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        let value = match self.value {
            Some(Value::Object(object)) => {
                let mut named =
                    object.properties.iter().rev().filter(|field| field.name.as_str().eq_ignore_ascii_case(name));
                named.next().map(|field| &field.value)
            }
            _ => self.type_fault("an object"),
        };
        self.inside(value, path)
    }

    pub(super) fn text(&self) -> Text {
        match self.value {
            Some(Value::StringLit(text)) => {
                self.part(&text.value, &(text.range.start + 1..text.range.end.saturating_sub(1)))
            }
            _ => Text { unset: self.unset, ..self.type_fault("a text") },
        }
    }

    fn part(&self, value: &str, range: &Range<usize>) -> Text {
        let written = self.document.expanded.written(range).to_owned();
        Text { value: value.to_owned(), written, unset: self.is_variable(range) }
    }

    /// Absent if unknown.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.value {
            Some(Value::BooleanLit(flag)) => Some(flag.value),
            _ if self.unset => None,
            _ => Some(self.type_fault("true or false")),
        }
    }

    /// Absent if unknown.
    pub(super) fn integer(&self) -> Option<i64> {
        match self.value {
            Some(Value::NumberLit(number)) => {
                let read = number.value.parse().ok();
                self.require(read.is_some(), "must be an integer");
                Some(read.unwrap_or_default())
            }
            _ if self.unset => None,
            _ => Some(self.type_fault("an integer")),
        }
    }

    pub(super) fn list(&self) -> Vec<Self> {
        match self.value {
            Some(Value::Array(list)) => {
                let place = |(at, value)| self.inside(Some(value), format!("{}[{at}]", self.path));
                list.elements.iter().enumerate().map(place).collect()
            }
            _ => self.type_fault("a list"),
        }
    }

    pub(super) fn texts(&self) -> Vec<Text> {
        self.list().iter().map(Self::text).collect()
    }

    /// The entries of an object whose names are data.
    pub(super) fn entries(&self) -> Vec<(Text, Self)> {
        let Some(Value::Object(object)) = self.value else { return self.type_fault("an object") };
        let entry = |(name, value): (&'d ObjectPropName<'d>, &'d Value<'d>)| {
            let range = name.range();
            let name = self.part(name.as_str(), &(range.start + 1..range.end.saturating_sub(1)));
            let place = self.inside(Some(value), format!("{}.{name}", self.path));
            (name, place)
        };
        object.properties.iter().map(|field| (&field.name, &field.value)).map(entry).collect()
    }
}

/// The part of the text that decides the value itself, without the contents of a list or an object.
fn own(value: &Value<'_>) -> Range<usize> {
    match value {
        Value::Object(object) => object.range.start..object.range.start,
        Value::Array(list) => list.range.start..list.range.start,
        _ => value.start()..value.end(),
    }
}
