//! A JSON document with positions, and the list of its faults.
//!
//! An [`Item`] is a value with its path, so that faults have a place. Reading continues after a fault: a caller that expects a
//! number and finds another value gets `None`, and the fault is recorded.

use std::fmt;

use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;
use serde::de::DeserializeOwned;

use crate::config::keys::keys;
use crate::config::{Fault, secret};
use crate::fault;

/// Faults that are listed one by one; each takes time in proportion to its line's length.
const MAX_FAULTS: usize = 100;
/// Characters of a value that are shown.
const MAX_VALUE_CHARS: usize = 60;

/// A value in the document, with its path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'p> {
    pub(super) value: &'p Value<'p>,
    path: Path<'p>,
    /// The place of its key, if it has one.
    key: Option<usize>,
}

/// The path to a value, as a list from the value up.
#[derive(Debug, Clone, Copy)]
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Element(&'p Path<'p>, usize),
}

/// The place of a value, formatted once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    offset: usize,
    path: String,
}

/// Collects the faults of a document.
#[derive(Debug)]
pub(super) struct Reader<'s> {
    name: &'s str,
    text: &'s str,
    /// Where each line begins.
    lines: Vec<usize>,
    found: Vec<(usize, Fault)>,
    unlisted: usize,
}

impl<'p> Item<'p> {
    pub(super) const fn root(value: &'p Value<'p>) -> Self {
        Self { value, path: Path::Root, key: None }
    }

    /// The fields of an object with their names; none of anything else.
    pub(super) fn fields(&'p self) -> impl Iterator<Item = (&'p str, Item<'p>)> {
        let properties = self.value.as_object().map(|object| &object.properties[..]).unwrap_or_default();
        properties.iter().map(|property| {
            let name = property.name.as_str();
            let key = Some(property.range.start);
            (name, Item { value: &property.value, path: Path::Key(&self.path, name), key })
        })
    }

    /// The elements of a list; none of anything else.
    pub(super) fn elements(&'p self) -> impl Iterator<Item = Item<'p>> {
        let elements = self.value.as_array().map(|list| &list.elements[..]).unwrap_or_default();
        let item = |(place, value)| Item { value, path: Path::Element(&self.path, place), key: None };
        elements.iter().enumerate().map(item)
    }

    /// A field of an object.
    pub(super) fn get(&'p self, name: &str) -> Option<Item<'p>> {
        self.fields().find(|(other, _)| *other == name).map(|(_, item)| item)
    }

    pub(super) fn place(&self) -> Location {
        Location { offset: self.value.start(), path: self.path.to_string() }
    }

    /// Whether the value may be a secret, because of its purpose or its name.
    fn is_secret(&self) -> bool {
        self.path.is_sent() || self.path.is_called_secret()
    }

    const fn kind(&self) -> &'static str {
        match self.value {
            Value::StringLit(_) => "a text",
            Value::NumberLit(_) => "a number",
            Value::BooleanLit(_) => "true or false",
            Value::Object(_) => "an object",
            Value::Array(_) => "a list",
            Value::NullKeyword(_) => "null",
        }
    }
}

impl Path<'_> {
    const fn parent(&self) -> Option<&Self> {
        match self {
            Self::Root => None,
            Self::Key(parent, _) | Self::Element(parent, _) => Some(parent),
        }
    }

    /// Whether it leads below a target's headers or query. A condition's query, which has the same name, is never sent.
    fn is_sent(&self) -> bool {
        let here = match self {
            Self::Key(Path::Element(Path::Key(_, "conditions"), _), "query") => false,
            Self::Key(_, name) => secret::SENT.contains(name),
            Self::Root | Self::Element(..) => false,
        };
        here || self.parent().is_some_and(Self::is_sent)
    }

    fn is_called_secret(&self) -> bool {
        let here = matches!(self, Self::Key(_, name) if secret::is_name_of_secret(name));
        here || self.parent().is_some_and(Self::is_called_secret)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Element(parent, place) => write!(f, "{parent}[{place}]"),
            Self::Key(parent, name) => {
                let name = if parent.is_sent() { secret::shown_name(name) } else { secret::shown_key(name) };
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
                match parent {
                    _ if name.is_empty() || !name.chars().all(plain) => write!(f, "{parent}[{:?}]", shorten(name)),
                    Path::Root => write!(f, "{name}"),
                    _ => write!(f, "{parent}.{name}"),
                }
            }
        }
    }
}

impl<'s> Reader<'s> {
    /// A reader of a text; `name` is the name of the file in faults.
    pub(super) fn new(name: &'s str, text: &'s str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { name, text, lines: std::iter::once(0).chain(breaks).collect(), found: Vec::new(), unlisted: 0 }
    }

    /// All faults, in the order of the text.
    pub(super) fn faults(mut self) -> Vec<Fault> {
        self.found.sort_by_key(|(offset, _)| *offset);
        let mut faults: Vec<Fault> = self.found.into_iter().map(|(_, fault)| fault).collect();
        if self.unlisted > 0 {
            let problem = format!("has {} faults more, which are listed when these are fixed", self.unlisted);
            faults.push(Fault::new(self.name, problem));
        }
        faults
    }

    /// The place of a value, readable: `broker.json:12:7 pools[0].targets[1].weight`.
    pub(super) fn location(&self, place: &Location) -> String {
        if self.found.len() == MAX_FAULTS {
            // It will not be listed, and a long line takes long to count.
            return String::new();
        }
        let line = self.lines.partition_point(|start| *start <= place.offset).saturating_sub(1);
        let start = self.lines.get(line).copied().unwrap_or_default();
        let column = self.text.get(start..place.offset).unwrap_or_default().chars().count() + 1;
        let gap = if place.path.is_empty() { "" } else { " " };
        format!("{}:{}:{column}{gap}{}", self.name, line + 1, place.path)
    }

    /// Records a fault of a value.
    pub(super) fn fault(&mut self, item: &Item<'_>, problem: impl Into<String>) {
        let value = match item.value {
            _ if item.is_secret() => None,
            // Cut only afterwards: what is cut off may show that the rest is a secret.
            Value::StringLit(text) => secret::shown(text.value.to_string()),
            // What is inside may be a secret too.
            Value::Object(_) | Value::Array(_) => {
                Some(item.value.text(self.text)).filter(|text| !text.contains('"')).map(str::to_owned)
            }
            other => Some(other.text(self.text).to_owned()),
        };
        self.push(&item.place(), value.map(|value| shorten(&value)), problem.into());
    }

    /// Records a fault of a value that must be one of a few names.
    pub(super) fn choice_fault(&mut self, item: &Item<'_>, problem: impl Into<String>) {
        let text = item.value.as_string_lit().filter(|_| !item.is_secret());
        let value = text.and_then(|text| secret::shown_choice(&text.value)).map(str::to_owned);
        self.push(&item.place(), value, problem.into());
    }

    /// Records a fault of a key, or of its place.
    pub(super) fn key_fault(&mut self, item: &Item<'_>, problem: impl Into<String>) {
        let offset = item.key.unwrap_or_else(|| item.value.start());
        self.push(&Location { offset, ..item.place() }, None, problem.into());
    }

    /// Records that something is missing, or that several values contradict each other.
    pub(super) fn missing(&mut self, item: &Item<'_>, problem: impl Into<String>) {
        self.push(&item.place(), None, problem.into());
    }

    /// The value of a key that must be there.
    pub(super) fn needed<'p>(&mut self, item: &'p Item<'p>, key: &str, needs: &str) -> Option<Item<'p>> {
        let value = item.get(key);
        if value.is_none() {
            self.missing(item, needs);
        }
        value
    }

    /// Records a fault at a place that was formatted before.
    pub(super) fn push(&mut self, place: &Location, value: Option<String>, problem: String) {
        if self.found.len() == MAX_FAULTS {
            self.unlisted += 1;
            return;
        }
        let fault = Fault { place: self.location(place), value, problem };
        self.found.push((place.offset, fault));
    }

    /// Records a syntax error at this byte.
    pub(super) fn syntax(&mut self, offset: usize, problem: String) {
        self.push(&Location { offset, path: String::new() }, None, problem);
    }

    fn must_be(&mut self, item: &Item<'_>, wanted: &str) {
        self.fault(item, format!("must be {wanted}, and is {}", item.kind()));
    }

    pub(super) fn text<'p>(&mut self, item: &Item<'p>) -> Option<&'p str> {
        let text = item.value.as_string_lit();
        if text.is_none() {
            self.must_be(item, "a text");
        }
        text.map(|text| &*text.value)
    }

    /// A text that is not empty.
    pub(super) fn word<'p>(&mut self, item: &Item<'p>) -> Option<&'p str> {
        let word = self.text(item)?;
        if word.is_empty() {
            self.fault(item, "must not be empty");
        }
        Some(word).filter(|word| !word.is_empty())
    }

    /// A number that is finite and not negative; `wanted` describes it for a fault.
    pub(super) fn amount(&mut self, item: &Item<'_>, wanted: &str) -> Option<f64> {
        let Some(literal) = item.value.as_number_lit() else {
            self.must_be(item, wanted);
            return None;
        };
        let number = serde_json::from_str::<f64>(literal.value).ok().filter(|number| *number >= 0.0);
        if number.is_none() {
            self.fault(item, format!("must be {wanted}, finite and not negative"));
        }
        number
    }

    /// One of some words.
    pub(super) fn one_of<T: Copy>(&mut self, item: &Item<'_>, choices: &[(&str, T)]) -> Option<T> {
        let word = self.text(item)?;
        let chosen = choices.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            let known: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let near = nearest(word, &known).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
            self.choice_fault(item, format!("must be {}{near}", names.join(" or ")));
        }
        chosen
    }

    /// True or false.
    pub(super) fn flag(&mut self, item: &Item<'_>) -> Option<bool> {
        let flag = item.value.as_boolean_lit().map(|flag| flag.value);
        if flag.is_none() {
            self.must_be(item, "true or false");
        }
        flag
    }

    /// Whether it is a list that is not empty; `of` describes its elements for a fault.
    pub(super) fn list(&mut self, item: &Item<'_>, of: &str) -> bool {
        match item.value.as_array() {
            None => self.must_be(item, &format!("a list of {of}")),
            Some(list) if list.elements.is_empty() => self.fault(item, format!("is empty; it must contain {of}")),
            Some(_) => return true,
        }
        false
    }

    /// Whether it is an object.
    pub(super) fn map(&mut self, item: &Item<'_>, like: &str) -> bool {
        let is = item.value.as_object().is_some();
        if !is {
            self.must_be(item, &format!("an object such as {like}"));
        }
        is
    }

    /// Whether it is an object; keys that this type of the schema does not have are faults.
    pub(super) fn object<T: DeserializeOwned>(&mut self, item: &Item<'_>, like: &str) -> bool {
        let (is, known) = (self.map(item, like), keys::<T>());
        for (name, field) in item.fields().filter(|(name, _)| !known.contains(name)) {
            let problem = match (foreign(name), nearest(name, known)) {
                (Some(instead), _) => format!("no such key; {instead}"),
                (None, Some(near)) => format!("no such key; did you mean {near}?"),
                (None, None) => format!("no such key; there are {}", known.join(", ")),
            };
            self.key_fault(&field, problem);
        }
        is
    }

    /// Any value, as JSON.
    pub(super) fn json(&mut self, item: &Item<'_>) -> Option<serde_json::Value> {
        Some(match item.value {
            Value::StringLit(text) => serde_json::Value::String(text.value.clone().into_owned()),
            Value::BooleanLit(flag) => serde_json::Value::Bool(flag.value),
            Value::NullKeyword(_) => serde_json::Value::Null,
            Value::NumberLit(number) => match serde_json::from_str(number.value) {
                Ok(number) => number,
                Err(_) => {
                    self.fault(item, "must be a number that JSON can write, such as 200 or 0.7");
                    return None;
                }
            },
            Value::Array(_) => {
                let elements: Vec<_> = item.elements().map(|element| self.json(&element)).collect();
                serde_json::Value::Array(elements.into_iter().collect::<Option<_>>()?)
            }
            Value::Object(_) => serde_json::Value::Object(self.json_map(item)?),
        })
    }

    /// An object, as JSON.
    pub(super) fn json_map(&mut self, item: &Item<'_>) -> Option<serde_json::Map<String, serde_json::Value>> {
        let fields: Vec<_> = item.fields().map(|(name, field)| Some((name.to_owned(), self.json(&field)?))).collect();
        fields.into_iter().collect()
    }

    /// Every duplicate key of an object: JSON readers disagree on which one counts.
    pub(super) fn duplicates(&mut self, item: &Item<'_>) {
        let mut seen = std::collections::HashSet::new();
        for (name, field) in item.fields() {
            if !seen.insert(name) {
                self.key_fault(&field, "is here a second time: which of them counts?");
            }
            self.duplicates(&field);
        }
        for element in item.elements() {
            self.duplicates(&element);
        }
    }
}

/// The known word that was probably meant, if one is near.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let lower = word.to_ascii_lowercase();
    let (edits, near) = fault::nearest(&lower, known.iter().copied())?;
    (edits < lower.chars().count()).then_some(near)
}

/// The key of this file for a key of other gateways' configurations.
fn foreign(name: &str) -> Option<&'static str> {
    match name {
        "provider" | "virtual_key" | "virtualKey" | "api_key" | "apiKey" => {
            Some("a target names one of the gateway's routers with \"router\", or a \"provider\" with its \"api_key\"")
        }
        "on_status_codes" | "retry_on" => Some("it belongs into \"strategy\""),
        "retry" => Some("a call that failed is answered with its error; the next one goes elsewhere"),
        "sticky" => Some("it is a mode: {\"mode\": \"sticky\", \"key\": \"headers.X-User\"}"),
        _ => None,
    }
}

/// The beginning of a text, in one line.
pub(super) fn shorten(text: &str) -> String {
    let end = text.char_indices().nth(MAX_VALUE_CHARS * 4).map_or(text.len(), |(at, _)| at);
    let words: Vec<_> = text.get(..end).unwrap_or(text).split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_VALUE_CHARS) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or(&line).trim_end()),
        None => line,
    }
}
