//! The fields of a request's parts, each object read in one pass, with the names of those that have no counterpart.

use std::borrow::Cow;

use crate::json::{Cursor, RawJson, SyntaxError, unescaped_name};
use crate::translate::MAX_DROPPED;

/// The names of the fields that have no counterpart and ask for something, at most [`MAX_DROPPED`].
#[derive(Debug, Default)]
pub(super) struct Others<'a>(Vec<Cow<'a, str>>);

impl<'a> Others<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// Notes a field that is known and does not belong where it stands.
    pub(super) fn note(&mut self, name: &'static str, value: Option<RawJson<'_>>) {
        if value.is_some_and(|value| !value.is_blank()) {
            self.push(Cow::Borrowed(name));
        }
    }

    pub(super) fn push(&mut self, name: Cow<'a, str>) {
        if self.0.len() < MAX_DROPPED {
            self.0.push(name);
        }
    }
}

/// The fields of these names, of which `null` is as if it were not there, and the names of the others. Moves behind the object.
pub(super) fn pick<'a, const N: usize>(
    object: &mut Cursor<'a>,
    names: [&str; N],
) -> Result<([Option<RawJson<'a>>; N], Others<'a>), SyntaxError> {
    let mut others = Others::default();
    let picked = object.pick_or(names, |name, value| {
        if !value.raw()?.is_blank() {
            others.push(unescaped_name(name));
        }
        Ok(())
    })?;
    Ok((picked.map(|field| field.filter(|field| !field.is_null())), others))
}

/// The same of an object whose end is known.
pub(super) fn pick_of<'a, const N: usize>(
    object: RawJson<'a>,
    names: [&str; N],
) -> ([Option<RawJson<'a>>; N], Others<'a>) {
    pick(&mut object.cursor(), names).unwrap_or_else(|SyntaxError| ([None; N], Others::default()))
}

/// The fields of a message; `null` is as if it were not there.
#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    pub(super) role: Option<RawJson<'a>>,
    pub(super) content: Option<RawJson<'a>>,
    pub(super) tool_calls: Option<RawJson<'a>>,
    pub(super) tool_call_id: Option<RawJson<'a>>,
    pub(super) refusal: Option<RawJson<'a>>,
    pub(super) thinking_blocks: Option<RawJson<'a>>,
    pub(super) others: Others<'a>,
}

impl<'a> Message<'a> {
    /// Reads a message and moves behind it.
    pub(super) fn read(message: &mut Cursor<'a>) -> Result<Self, SyntaxError> {
        let mut read = Self::default();
        message.fields(|name, value| {
            let value = value.raw()?;
            // Almost no name is written with escapes.
            if !read.set(name, value) {
                let name = unescaped_name(name);
                if !read.set(name.as_bytes(), value) && !value.is_blank() {
                    read.others.push(name);
                }
            }
            Ok(())
        })?;
        Ok(read)
    }

    /// Sets the field of that name, if there is one.
    fn set(&mut self, name: &[u8], value: RawJson<'a>) -> bool {
        let place = match name {
            b"role" => &mut self.role,
            b"content" => &mut self.content,
            b"tool_calls" => &mut self.tool_calls,
            b"tool_call_id" => &mut self.tool_call_id,
            b"refusal" => &mut self.refusal,
            b"thinking_blocks" => &mut self.thinking_blocks,
            _ => return false,
        };
        *place = Some(value).filter(|value| !value.is_null());
        true
    }

    /// The names of the fields that are lost in a message of this role; whether it gives thinking back, which says what the
    /// assistant thought.
    pub(super) fn lost(&self, role: &str, gives_thinking: bool) -> impl Iterator<Item = &str> {
        let (is_assistant, is_tool) = (role == "assistant", role == "tool");
        let is_said = move |name: &str| match name {
            "reasoning_content" | "reasoning" | "reasoning_details" => gives_thinking,
            // It is in the call too.
            "name" => is_tool,
            _ => false,
        };
        let placed = [
            ("tool_calls", self.tool_calls, is_assistant),
            ("tool_call_id", self.tool_call_id, is_tool),
            ("refusal", self.refusal, is_assistant),
            ("thinking_blocks", self.thinking_blocks, is_assistant),
        ];
        let misplaced = placed
            .into_iter()
            .filter_map(|(name, value, is_right)| value.filter(|value| !is_right && !value.is_blank()).map(|_| name));
        misplaced.chain(self.others.iter().filter(move |name| !is_said(name)))
    }
}

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
