//! The elements of a request's lists and the fields of its objects, each read in one pass, with the names of those that have no
//! counterpart.

use std::borrow::Cow;

use super::{Drops, MAX_DROPPED, TranslateError};
use crate::json::{Cursor, RawJson, SyntaxError, unescaped_name};

/// The names of the fields that have no counterpart and ask for something: at most [`MAX_DROPPED`], the others are counted.
#[derive(Debug, Default)]
pub(super) struct Others<'a> {
    names: Vec<Cow<'a, str>>,
    unnamed: usize,
}

impl<'a> Others<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many there are beside those that are named.
    pub(super) const fn unnamed(&self) -> usize {
        self.unnamed
    }

    /// Notes a field that is known and does not belong where it stands.
    pub(super) fn note(&mut self, name: &'static str, value: Option<RawJson<'_>>) {
        if value.is_some_and(|value| !value.is_blank()) {
            self.push(Cow::Borrowed(name));
        }
    }

    /// Notes a field of another name than those that are known, unless it says nothing.
    pub(super) fn note_unknown(&mut self, name: &'a [u8], value: RawJson<'_>) {
        if !value.is_blank() {
            self.push(unescaped_name(name));
        }
    }

    /// Adds those of an object that stands under `name`.
    pub(super) fn add(&mut self, name: &str, inner: &Others<'_>) {
        for other in inner.iter() {
            self.push(Cow::Owned(format!("{name}.{other}")));
        }
        self.unnamed += inner.unnamed;
    }

    fn push(&mut self, name: Cow<'a, str>) {
        if self.names.len() < MAX_DROPPED {
            self.names.push(name);
        } else {
            self.unnamed += 1;
        }
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

/// Reads the elements of a list, each with its number, in one pass with what is in them, up to the first mistake.
pub(super) fn each<'a>(
    list: RawJson<'a>,
    mut visit: impl FnMut(usize, &mut Cursor<'a>) -> Result<(), ListEnd>,
) -> Result<(), TranslateError> {
    let (mut number, mut mistake) = (0, Ok(()));
    let _ = list.cursor().elements(|element| {
        let visited = visit(number, element);
        number += 1;
        visited.map_err(|stop| {
            if let ListEnd::Invalid(error) = stop {
                mistake = Err(error);
            }
            SyntaxError
        })
    });
    mistake
}

/// The fields of these names, of which `null` is as if it were not there, and the names of the others. Moves behind the object.
pub(super) fn pick<'a, const N: usize>(
    object: &mut Cursor<'a>,
    names: [&str; N],
) -> Result<([Option<RawJson<'a>>; N], Others<'a>), SyntaxError> {
    let mut others = Others::default();
    let picked = object.pick_or(names, |name, value| {
        others.note_unknown(name, value.raw()?);
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

/// Whether a call says by its `type` that it is none of a function: a custom tool's, or of a kind that is still to come. Only
/// functions have a counterpart.
pub(crate) fn calls_no_function(kind: Option<RawJson<'_>>) -> bool {
    kind.is_some_and(|kind| !kind.is_text("function") && kind.text().is_some_and(|kind| kind != "function"))
}

/// The fields of a call in a message; `null` is as if it were not there.
#[derive(Debug)]
pub(super) struct CallFields<'a> {
    pub(super) id: Option<RawJson<'a>>,
    pub(super) kind: Option<RawJson<'a>>,
    pub(super) function: Option<RawJson<'a>>,
    /// The function's name.
    pub(super) name: Option<RawJson<'a>>,
    /// The function's arguments.
    pub(super) arguments: Option<RawJson<'a>>,
    /// Fields without a counterpart, of the call and of its function, such as Gemini's thought signature.
    pub(super) others: Others<'a>,
}

impl<'a> CallFields<'a> {
    /// Reads a call and moves behind it.
    pub(super) fn read(call: &mut Cursor<'a>) -> Result<Self, SyntaxError> {
        let ([id, kind, function, _], mut others) = pick(call, ["id", "type", "function", "index"])?;
        let ([name, arguments], lost) =
            function.map(|function| pick_of(function, ["name", "arguments"])).unwrap_or_default();
        others.add("function", &lost);
        Ok(Self { id, kind, function, name, arguments, others })
    }
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
    pub(super) cache_control: Option<RawJson<'a>>,
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
            b"cache_control" => &mut self.cache_control,
            _ => return false,
        };
        *place = Some(value).filter(|value| !value.is_null());
        true
    }

    /// Notes the fields that are lost in a message of this role. `gives_thinking`: its thinking blocks go out, which say what the
    /// assistant thought.
    pub(super) fn note_lost(&self, drops: &mut Drops, path: impl Fn() -> String, role: &[u8], gives_thinking: bool) {
        let (is_assistant, is_tool) = (role == b"assistant", role == b"tool");
        let may_be_misplaced = [self.tool_calls, self.tool_call_id, self.refusal, self.thinking_blocks];
        if self.others.is_empty() && may_be_misplaced.iter().all(Option::is_none) {
            return;
        }
        for (name, value, is_right) in [
            ("tool_calls", self.tool_calls, is_assistant),
            ("tool_call_id", self.tool_call_id, is_tool),
            ("refusal", self.refusal, is_assistant),
            ("thinking_blocks", self.thinking_blocks, is_assistant),
        ] {
            if !is_right && value.is_some_and(|value| !value.is_blank()) {
                drops.push(format!("{}.{name}", path()));
            }
        }
        drops.push_fields_but(&path, &self.others, |name| match name {
            "reasoning_content" | "reasoning" | "reasoning_details" => gives_thinking,
            // It is in the call too.
            "name" => is_tool,
            _ => false,
        });
    }
}
