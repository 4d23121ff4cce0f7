//! Where something is wrong in a file of prices, and the list of all that is.

use std::fmt;

use crate::json::{RawJson, without_mark};

/// Faults that are listed one by one.
const MAX_FAULTS: usize = 100;

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceFault {
    /// From 1; 0 for what concerns the whole file.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    /// The way to the value, such as `models["openai/gpt-4o"].input`; empty for what concerns the whole file.
    pub path: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl fmt::Display for PriceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

/// A text and what was found wrong with it.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: &'a [u8],
    faults: Vec<PriceFault>,
    unlisted: usize,
}

impl<'a> Document<'a> {
    /// A text that is JSON.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn new(text: &'a [u8]) -> Result<(Self, RawJson<'a>), Vec<PriceFault>> {
        let text = without_mark(text);
        let whole = |line, column, problem| vec![PriceFault { line, column, path: String::new(), problem }];
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(text) {
            let problem = error.to_string();
            let problem = problem.split(" at line ").next().unwrap_or(&problem);
            return Err(whole(error.line(), error.column(), format!("is no JSON: {problem}")));
        }
        let Ok(value) = RawJson::parse(text) else {
            return Err(whole(0, 0, "is no JSON".to_owned()));
        };
        let mut document = Self { text, faults: Vec::new(), unlisted: 0 };
        if !value.is_object() {
            document.fault(
                value,
                &Path::ROOT,
                "must be an object such as {\"models\": {\"openai/gpt-4o\": {\"input\": 2.5}}}",
            );
        }
        Ok((document, value))
    }

    pub(super) fn fault(&mut self, value: RawJson<'_>, path: &Path<'_>, problem: impl Into<String>) {
        if self.faults.len() == MAX_FAULTS {
            self.unlisted += 1;
            return;
        }
        let offset = value.bytes().as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        self.faults.push(PriceFault { line, column, path: path.to_string(), problem: problem.into() });
    }

    pub(super) const fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// What was read, if nothing is wrong.
    pub(super) fn finish<T>(mut self, read: T) -> Result<T, Vec<PriceFault>> {
        if self.unlisted > 0 {
            let problem = format!("has {} faults more, which are listed when these are fixed", self.unlisted);
            self.faults.push(PriceFault { line: 0, column: 0, path: String::new(), problem });
        }
        if self.faults.is_empty() { Ok(read) } else { Err(self.faults) }
    }

    /// A whole number of tokens.
    pub(super) fn tokens(&mut self, value: RawJson<'_>, path: &Path<'_>) -> Option<u64> {
        let text = std::str::from_utf8(value.bytes()).ok();
        let text = text.map(|text| text.strip_suffix(".0").unwrap_or(text));
        let tokens = text.and_then(|text| text.parse().ok());
        if tokens.is_none() {
            self.fault(value, path, "must be a whole number of tokens, such as 128000");
        }
        tokens
    }

    pub(super) fn date(&mut self, value: RawJson<'_>, path: &Path<'_>) -> Option<jiff::civil::Date> {
        let date = value.text().filter(|text| text.len() == 10).and_then(|text| text.parse().ok());
        if date.is_none() {
            self.fault(value, path, "must be a date such as \"2027-01-31\"");
        }
        date
    }
}

/// The way to a value, as a list from the value up: it becomes a text only where there is a fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    name: &'p str,
}

impl Path<'static> {
    pub(super) const ROOT: Self = Path { parent: None, name: "" };
}

impl<'p> Path<'p> {
    pub(super) const fn below(&'p self, name: &'p str) -> Path<'p> {
        Path { parent: Some(self), name }
    }
}

impl fmt::Display for Path<'_> {
    /// `models["openai/gpt-4o"].input`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return Ok(()) };
        let name = self.name;
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        match parent.parent {
            _ if !plain => write!(f, "{parent}[{name:?}]"),
            None => f.write_str(name),
            Some(_) => write!(f, "{parent}.{name}"),
        }
    }
}
