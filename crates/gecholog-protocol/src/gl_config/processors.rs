//! The processors of the configuration, and filters of fields.

use super::decode::{Node, Text};
use super::rules;

/// The processors of one context, row by row.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Their place in the file, also where they are absent.
    pub place: String,
    /// The rows, as written.
    pub rows: Vec<Vec<Processor>>,
    /// There may be more, because a variable is unset here.
    pub undecided: bool,
}

impl Rows {
    /// All processors, each with the number of its row.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Processor)> {
        self.rows.iter().enumerate().flat_map(|(row, members)| members.iter().map(move |one| (row, one)))
    }
}

/// A processor. Absent fields depend on a variable that is unset here.
#[derive(Debug, Clone)]
pub struct Processor {
    /// Its place in the file.
    pub place: String,
    pub name: Text,
    /// Its subject.
    pub subject: Text,
    /// How long the gateway waits for its answer, in milliseconds.
    pub timeout: Option<i64>,
    /// Replaces fields that exist; otherwise adds fields that do not.
    pub modifier: Option<bool>,
    /// The call fails without its answer.
    pub required: Option<bool>,
    /// It is called after the client was answered.
    pub is_async: Option<bool>,
    /// The fields that it receives.
    pub input: Filter,
    /// The fields that it may write.
    pub output: Names,
}

/// A list of names, of fields or of headers.
#[derive(Debug, Clone, Default)]
pub struct Names {
    names: Vec<Text>,
    undecided: bool,
}

impl Names {
    pub(super) const fn new(names: Vec<Text>, undecided: bool) -> Self {
        Self { names, undecided }
    }

    /// The names that are known.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter_map(Text::value)
    }

    /// Whether a name is among them, in exactly this spelling; absent if unknown.
    pub fn has(&self, name: &str) -> Option<bool> {
        if self.names.iter().any(|one| one.is(name) == Some(true)) {
            return Some(true);
        }
        let undecided = self.undecided || self.names.iter().any(|name| name.value().is_none());
        (!undecided).then_some(false)
    }
}

/// A filter: the included fields (all, if none are named) that are not excluded.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Its place in the file, also where it is absent.
    pub place: String,
    include: Names,
    exclude: Names,
}

impl Filter {
    /// Whether a field passes; absent if unknown.
    pub fn passes(&self, field: &str) -> Option<bool> {
        let everything = self.include.names.is_empty() && !self.include.undecided;
        let included = if everything { Some(true) } else { self.include.has(field) };
        match (included, self.exclude.has(field)) {
            (Some(false), _) | (_, Some(true)) => Some(false),
            (Some(true), Some(false)) => Some(true),
            _ => None,
        }
    }
}

pub(super) fn read(side: &Node<'_>) -> Rows {
    let list = side.field("processors");
    let rows = list.list();
    let undecided = list.is_unset() || rows.iter().any(Node::is_unset);
    let rows = rows.iter().map(|row| {
        let members: Vec<Processor> = row.list().iter().map(processor).collect();
        unique(row, members.iter().map(|one| &one.name), "has the same name twice in one row");
        unique(row, members.iter().map(|one| &one.subject), "has the same service_bus_topic twice in one row");
        members
    });
    Rows { rows: rows.collect(), place: list.location(), undecided }
}

/// Requires that no two texts are the same; unknown ones are ignored.
pub(super) fn unique<'t>(place: &Node<'_>, texts: impl Iterator<Item = &'t Text>, problem: &str) {
    let texts: Vec<_> = texts.filter_map(Text::value).collect();
    place
        .require(texts.iter().enumerate().all(|(at, text)| !texts.iter().take(at).any(|other| other == text)), problem);
}

fn processor(place: &Node<'_>) -> Processor {
    let (name, subject, timeout) = (place.field("name"), place.field("service_bus_topic"), place.field("timeout"));
    name.require(rules::is_name(name.text().raw()), "must be letters, digits and underscores");
    subject.require(rules::is_subject(subject.text().raw()), "must be letters, digits, dots and underscores");
    timeout.require(timeout.integer().is_some_and(|time| time >= 1), "must be milliseconds, at least 1");
    Processor {
        place: place.location(),
        name: name.text(),
        subject: subject.text(),
        timeout: timeout.integer(),
        modifier: place.field("modifier").flag(),
        required: place.field("required").flag(),
        is_async: place.field("async").flag(),
        input: filter(place, "input_fields"),
        output: fields(&place.field("output_fields_write")),
    }
}

pub(super) fn filter(place: &Node<'_>, prefix: &str) -> Filter {
    let list = |end| fields(&place.field(&format!("{prefix}_{end}")));
    Filter { place: place.location(), include: list("include"), exclude: list("exclude") }
}

fn fields(list: &Node<'_>) -> Names {
    for field in list.list() {
        field.require(rules::is_name(field.text().raw()), "must be letters, digits and underscores");
    }
    let names = list.texts();
    unique(list, names.iter(), "has the same field twice");
    Names::new(names, list.is_unset())
}
