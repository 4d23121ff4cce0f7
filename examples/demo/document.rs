//! A JSON file with comments, and everything that is wrong with it: each fault with line, column and remedy.
//!
//! Reading goes on after a fault, so that all are reported at once. It knows no particular file.

use std::collections::HashSet;

use gecholog_broker::config::file::FORM;
use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, parse_to_ast};

/// So many characters of a value are shown.
const SHOWN: usize = 40;

/// A value, the way to it, and where it or its key begins.
#[derive(Debug, Clone)]
pub(crate) struct Item<'a> {
    value: &'a Value<'a>,
    path: String,
    offset: usize,
}

/// Collects faults.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    name: &'a str,
    text: &'a str,
    found: Vec<(usize, String)>,
}

impl<'a> Item<'a> {
    /// The fields of an object; none of anything else.
    pub(crate) fn fields(&self) -> Vec<(&'a str, Item<'a>)> {
        let properties = self.value.as_object().map(|object| &object.properties[..]).unwrap_or_default();
        let field = |property: &'a jsonc_parser::ast::ObjectProp<'a>| {
            let name = property.name.as_str();
            let path = match (name.starts_with('/'), self.path.is_empty()) {
                (true, _) => format!("{}[{name:?}]", self.path),
                (false, true) => name.to_owned(),
                (false, false) => format!("{}.{name}", self.path),
            };
            (name, Item { value: &property.value, path, offset: property.range.start })
        };
        properties.iter().map(field).collect()
    }

    /// A field of an object.
    pub(crate) fn get(&self, name: &str) -> Option<Item<'a>> {
        self.fields().into_iter().find(|(other, _)| *other == name).map(|(_, item)| item)
    }

    fn elements(&self) -> Vec<Item<'a>> {
        let elements = self.value.as_array().map(|list| &list.elements[..]).unwrap_or_default();
        let item = |(at, value): (usize, &'a Value<'a>)| Item {
            value,
            path: format!("{}[{at}]", self.path),
            offset: value.start(),
        };
        elements.iter().enumerate().map(item).collect()
    }
}

impl<'a> Document<'a> {
    /// Reads a text; `name` is what the file is called in faults. `None` of `read` is for what could not be read; it need
    /// not report that again.
    ///
    /// # Errors
    ///
    /// All faults, in the order of the text.
    pub(crate) fn read<T>(
        name: &'a str,
        text: &'a str,
        read: impl FnOnce(&mut Self, &Item<'_>) -> Option<T>,
    ) -> Result<T, Vec<String>> {
        let mut document = Self { name, text, found: Vec::new() };
        let result = match parse_to_ast(text, &CollectOptions::default(), &FORM) {
            Ok(parsed) => parsed.value.and_then(|value| {
                let root = Item { value: &value, path: String::new(), offset: value.start() };
                document.duplicates(&root);
                read(&mut document, &root)
            }),
            Err(error) => {
                document.push(error.range().start, format!("is not JSON: {}", error.kind()));
                None
            }
        };
        document.found.sort();
        match result {
            Some(result) if document.found.is_empty() => Ok(result),
            _ if document.found.is_empty() => Err(vec![format!("{name}: is empty")]),
            _ => Err(document.found.into_iter().map(|(_, fault)| fault).collect()),
        }
    }

    /// Something is wrong here.
    pub(crate) fn fault(&mut self, item: &Item<'_>, problem: &str) {
        let gap = if item.path.is_empty() { "" } else { ": " };
        self.push(item.offset, format!("{}{gap}{problem}", item.path));
    }

    fn push(&mut self, offset: usize, problem: String) {
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.found.push((offset, format!("{}:{line}:{column} {problem}", self.name)));
    }

    fn must_be(&mut self, item: &Item<'_>, wanted: &str) {
        let value = item.value.text(self.text);
        let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: String = line.chars().take(SHOWN).collect();
        let more = if shown.len() < line.len() { "…" } else { "" };
        self.fault(item, &format!("must be {wanted}, and is {shown}{more}"));
    }

    /// Whether it is an object with something in it; keys that are not known are faults.
    pub(crate) fn object(&mut self, item: &Item<'_>, known: &[&str], like: &str) -> bool {
        let is = self.filled(item, like);
        for (name, field) in item.fields() {
            if !known.contains(&name) {
                self.fault(&field, &format!("no such key; {}", those(name, known)));
            }
        }
        is
    }

    /// Whether it is an object with something in it, whatever its keys.
    pub(crate) fn filled(&mut self, item: &Item<'_>, like: &str) -> bool {
        let is = item.value.as_object().is_some_and(|object| !object.properties.is_empty());
        if !is {
            self.must_be(item, &format!("an object such as {like}"));
        }
        is
    }

    /// The elements of a list, which must have some.
    pub(crate) fn list<'i>(&mut self, item: &Item<'i>, like: &str) -> Vec<Item<'i>> {
        let elements = item.elements();
        if elements.is_empty() {
            self.must_be(item, &format!("a list such as {like}"));
        }
        elements
    }

    /// One of these words.
    pub(crate) fn word<'i>(&mut self, item: &Item<'i>, known: &[&str]) -> Option<&'i str> {
        let word = item.value.as_string_lit().map(|text| &*text.value);
        match word {
            None => self.must_be(item, &format!("one of {}", known.join(", "))),
            Some(word) if !known.contains(&word) => {
                self.fault(item, &format!("{word:?} is none; {}", those(word, known)))
            }
            Some(_) => {}
        }
        word.filter(|word| known.contains(word))
    }

    /// A field that must be there: a number of this kind; `wanted` says which in words.
    pub(crate) fn number(
        &mut self,
        parent: &Item<'_>,
        name: &str,
        wanted: &str,
        is: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        let number = self.optional(parent, name, wanted, is);
        if parent.get(name).is_none() {
            self.fault(parent, &format!("lacks {name:?}: {wanted}"));
        }
        number
    }

    /// The same where the field may be missing.
    pub(crate) fn optional(
        &mut self,
        parent: &Item<'_>,
        name: &str,
        wanted: &str,
        is: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        let item = parent.get(name)?;
        let literal = item.value.as_number_lit().map(|number| number.value);
        let number =
            literal.and_then(|text| text.parse::<f64>().ok()).filter(|number| number.is_finite() && is(*number));
        if number.is_none() {
            self.must_be(&item, wanted);
        }
        number
    }

    /// Which of two equal keys would count?
    fn duplicates(&mut self, item: &Item<'_>) {
        let mut seen = HashSet::new();
        for (name, field) in item.fields() {
            if !seen.insert(name) {
                self.fault(&field, "is here a second time; leave one");
            }
            self.duplicates(&field);
        }
        item.elements().iter().for_each(|element| self.duplicates(element));
    }
}

/// What there is instead: the word that was probably meant, else all.
pub(crate) fn those(word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::osa_distance(word, known), *known)).min();
    match near {
        Some((edits, near)) if edits <= 2 && edits < word.chars().count() => format!("did you mean {near:?}?"),
        _ => format!("there are {}", known.join(", ")),
    }
}
