//! Faults for people to read: those in what a user wrote (a setting, a pools file, a file of prices), and errors with their causes.

use std::error::Error;
use std::fmt;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The variable or flag; or file, line, column and the path in it.
    pub place: String,
    /// What was written there, unless it is secret.
    pub value: Option<String>,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl Fault {
    /// A fault that does not show what was written.
    pub fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), value: None, problem: problem.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value:?}: {}", self.place, self.problem),
            None => write!(f, "{}: {}", self.place, self.problem),
        }
    }
}

/// The most single-letter edits at which a word is a misspelling and not another word.
const MAX_EDIT_DISTANCE: usize = 2;

/// The known word that was probably meant, if one is near, and by how many edits.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<(usize, &'k str)> {
    let length = word.chars().count();
    // A text of another length is not a misspelling, and comparing a long one would take long.
    let near = known.into_iter().filter(|known| known.chars().count().abs_diff(length) <= MAX_EDIT_DISTANCE);
    let near = near.map(|known| (strsim::osa_distance(word, known), known)).min()?;
    (near.0 <= MAX_EDIT_DISTANCE).then_some(near)
}

/// The longest text of an error, in characters.
const MAX_ERROR_LENGTH: usize = 500;

/// The text of an error and of its causes, each of them once: libraries often name only its kind, and which certificate or limit it
/// is about is further down. The other side's own words may be among them, so it is one line of at most 500 characters.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text.chars().filter(|letter| !letter.is_control()).take(MAX_ERROR_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_what_caused_it_each_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer{text}")]
        struct Outer {
            text: &'static str,
            source: std::io::Error,
        }
        let error = |text, inner: &str| Outer { text, source: std::io::Error::other(inner.to_owned()) };
        assert_eq!(with_causes(&error("", "a wrong name")), "outer: a wrong name");
        assert_eq!(with_causes(&error(": a wrong name", "a wrong name")), "outer: a wrong name");
        assert_eq!(with_causes(&error("", "\x1b[2J\n")), "outer: [2J");
        assert_eq!(with_causes(&error("", &"x".repeat(1_000))).len(), MAX_ERROR_LENGTH);
    }
}
