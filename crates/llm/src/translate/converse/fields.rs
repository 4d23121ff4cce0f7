//! The elements of lists and the parts of a content, each read in one pass.

use std::borrow::Cow;

use crate::json::{Cursor, RawJson, SyntaxError};
use crate::translate::TranslateError;
use crate::translate::object_fields::{Others, pick_of};

/// A part of a content: its kind, what it holds, and the names of what it has beside.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) kind: Cow<'a, str>,
    /// The field that is named as the kind.
    pub(super) value: Option<RawJson<'a>>,
    pub(super) others: Others<'a>,
}

impl<'a> Part<'a> {
    const NAMES: [&'static str; 6] = ["type", "text", "refusal", "image_url", "file", "input_audio"];

    /// Reads a part; `None` of one without a kind.
    pub(super) fn read(part: RawJson<'a>) -> Option<Self> {
        let ([kind, values @ ..], mut others) = pick_of(part, Self::NAMES);
        let (kind, mut own) = (kind?.text()?, None);
        let [_, names @ ..] = Self::NAMES;
        for (name, value) in names.into_iter().zip(values) {
            if kind == name {
                own = value;
            } else {
                others.note(name, value);
            }
        }
        Some(Self { kind, value: own, others })
    }
}

/// Why an element of a list is the last that is read.
#[derive(Debug)]
pub(super) enum ListEnd {
    /// The request's mistake.
    Invalid(TranslateError),
    /// The list breaks off, which one whose end is known does not.
    Syntax,
}

impl From<TranslateError> for ListEnd {
    fn from(error: TranslateError) -> Self {
        Self::Invalid(error)
    }
}

impl From<SyntaxError> for ListEnd {
    fn from(_: SyntaxError) -> Self {
        Self::Syntax
    }
}

/// Reads the elements of a list in one pass with what is in them, up to the first mistake.
pub(super) fn each<'a>(
    list: RawJson<'a>,
    mut visit: impl FnMut(&mut Cursor<'a>) -> Result<(), ListEnd>,
) -> Result<(), TranslateError> {
    let mut mistake = Ok(());
    let _ = list.cursor().elements(|element| {
        visit(element).map_err(|stop| {
            if let ListEnd::Invalid(error) = stop {
                mistake = Err(error);
            }
            SyntaxError
        })
    });
    mistake
}
