//! The `request` and `response` processors of the configuration, and field filters.
//!
//! Rows are resolved into the order in which they run, sync members apart from async ones, so that no other
//! module has to know that the response side runs its last row first.

use std::collections::BTreeSet;
use std::time::Duration;

use super::place::ConfigNode;
use super::rules;

/// Rows in running order; empty rows are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) sync: Vec<Vec<Processor>>,
    pub(crate) post: Vec<Vec<Processor>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Processor {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) timeout: Duration,
    /// Replaces fields that exist; otherwise adds fields that do not.
    pub(crate) modifier: bool,
    pub(crate) required: bool,
    pub(crate) input: Filter,
    pub(crate) writes: BTreeSet<String>,
}

/// Which fields pass: the included ones (all, if none are named) that are not excluded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    include: BTreeSet<String>,
    exclude: BTreeSet<String>,
}

impl Filter {
    pub(crate) fn passes(&self, field: &str) -> bool {
        (self.include.is_empty() || self.include.contains(field)) && !self.exclude.contains(field)
    }
}

pub(super) fn read(side: &ConfigNode<'_>, last_row_first: bool) -> Rows {
    let mut rows = Rows::default();
    for row in side.field("processors").list() {
        let members: Vec<(bool, Processor)> = row.list().iter().map(read_one).collect();
        require_unique(&row, &members);
        let (post, sync): (Vec<_>, Vec<_>) = members.into_iter().partition(|(is_async, _)| *is_async);
        push(&mut rows.sync, sync);
        push(&mut rows.post, post);
    }
    if last_row_first {
        rows.sync.reverse();
        rows.post.reverse();
    }
    rows
}

fn push(rows: &mut Vec<Vec<Processor>>, members: Vec<(bool, Processor)>) {
    if !members.is_empty() {
        rows.push(members.into_iter().map(|(_, processor)| processor).collect());
    }
}

fn require_unique(row: &ConfigNode<'_>, members: &[(bool, Processor)]) {
    let all = |part: fn(&Processor) -> &String| members.iter().map(|(_, one)| part(one).clone()).collect::<Vec<_>>();
    row.require(rules::are_unique(&all(|one| &one.name)), "names must differ inside a row");
    row.require(rules::are_unique(&all(|one| &one.subject)), "topics must differ inside a row");
}

fn read_one(place: &ConfigNode<'_>) -> (bool, Processor) {
    let (name, subject) = (place.field("name"), place.field("service_bus_topic"));
    name.require(rules::is_name(name.text()), "must be letters, digits and underscores");
    subject.require(rules::is_subject(subject.text()), "must be made of letters, digits, dots and underscores");
    let processor = Processor {
        name: name.text().to_owned(),
        subject: subject.text().to_owned(),
        timeout: read_timeout(&place.field("timeout")),
        modifier: place.field("modifier").flag(),
        required: place.field("required").flag(),
        input: read_filter(place, "input_fields"),
        writes: read_fields(&place.field("output_fields_write")),
    };
    (place.field("async").flag(), processor)
}

fn read_timeout(place: &ConfigNode<'_>) -> Duration {
    let ms = u64::try_from(place.integer()).unwrap_or(0);
    place.require(ms > 0, "must be at least 1 (milliseconds)");
    Duration::from_millis(ms)
}

pub(super) fn read_filter(place: &ConfigNode<'_>, prefix: &str) -> Filter {
    Filter {
        include: read_fields(&place.field(&format!("{prefix}_include"))),
        exclude: read_fields(&place.field(&format!("{prefix}_exclude"))),
    }
}

fn read_fields(list: &ConfigNode<'_>) -> BTreeSet<String> {
    for field in list.list() {
        field.require(rules::is_name(field.text()), "must be letters, digits and underscores");
    }
    let fields = list.texts();
    list.require(rules::are_unique(&fields), "must not repeat a field");
    fields.into_iter().collect()
}
