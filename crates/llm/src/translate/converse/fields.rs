//! The parts of a content, each read in one pass.

use std::borrow::Cow;

use crate::json::RawJson;
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
