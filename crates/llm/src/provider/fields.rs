//! The fields of a request that a provider takes: others are removed, and nothing else changes.

use std::borrow::Cow;

use super::google;
use crate::json::{Cursor, RawJson, unescaped_name, without_mark};
use crate::translate::{DroppedList, Drops, TranslateError, Unsupported, asks_for_nothing, write};

/// Which fields of a request pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRules {
    which: Which,
    /// A field that has another name there, unless that one stands in the request as well.
    renamed: Option<(&'static str, &'static str)>,
    /// Google takes it, which refuses more within messages and tools than others.
    is_google: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Only(&'static [&'static str]),
    Except(&'static [&'static str]),
}

impl FieldRules {
    /// All fields pass.
    pub const ALL: Self = Self::of(Which::All);

    /// Only these pass.
    pub const fn only(names: &'static [&'static str]) -> Self {
        Self::of(Which::Only(names))
    }

    /// All but these pass.
    pub const fn except(names: &'static [&'static str]) -> Self {
        Self::of(Which::Except(names))
    }

    /// The first name becomes the second.
    pub const fn renaming(self, from: &'static str, to: &'static str) -> Self {
        Self { renamed: Some((from, to)), ..self }
    }

    /// The same at Google.
    pub(super) const fn at_google(self) -> Self {
        Self { is_google: true, ..self }
    }

    const fn of(which: Which) -> Self {
        Self { which, renamed: None, is_google: false }
    }

    /// Whether a field of this name passes.
    pub fn allows(&self, name: &str) -> bool {
        match self.which {
            Which::All => true,
            Which::Only(names) => names.contains(&name),
            Which::Except(names) => !names.contains(&name),
        }
    }
}

/// A field of the body: where it begins behind the bracket or comma before, and where the next one is.
struct Span<'a> {
    name: Cow<'a, str>,
    begin: usize,
    end: usize,
    value: RawJson<'a>,
}

/// Removes the fields of the request itself that the rules do not let pass; all other bytes and their order stay, and those that
/// ask for what happens anyway are not named. Of what is in the fields only Google's are changed. A body that is no JSON object
/// passes as it is: what to say of it is up to the vendor.
///
/// # Errors
/// Fields would be removed, and `unsupported` says to refuse that.
pub fn filter<'a>(
    body: &'a [u8],
    rules: &FieldRules,
    unsupported: Unsupported,
) -> Result<(Cow<'a, [u8]>, DroppedList), TranslateError> {
    let untouched = || Ok((Cow::Borrowed(body), DroppedList::default()));
    let passes_all = unsupported == Unsupported::Pass;
    if !rules.is_google && (*rules == FieldRules::ALL || passes_all) {
        return untouched();
    }
    let Some(spans) = spans(body) else { return untouched() };
    let allows = |name: &str| passes_all || rules.allows(name);
    let mut drops = Drops::default();
    let within = if rules.is_google { at_google(&spans, rules, passes_all, &mut drops)? } else { Vec::new() };
    let renamed = rules.renamed.filter(|(_, to)| !spans.iter().any(|span| span.name == *to));
    let new_name = |span: &Span<'_>| renamed.filter(|(from, _)| span.name == *from).map(|(_, to)| to);
    let is_changed = within.iter().any(|within| *within != Within::Kept);
    if !is_changed && spans.iter().all(|span| allows(&span.name) && new_name(span).is_none()) {
        return untouched();
    }
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return untouched() };
    let mut out = body.get(..first.begin).unwrap_or_default().to_vec();
    for (at, span) in spans.iter().enumerate() {
        let (name, within) = (new_name(span), within.get(at).unwrap_or(&Within::Kept));
        if *within == Within::Gone {
            continue;
        }
        if name.is_none() && !allows(&span.name) {
            if !asks_for_nothing(&span.name, span.value) {
                drops.at = at;
                drops.push_field(&span.name);
            }
            continue;
        }
        let text = body.get(span.begin..span.end).unwrap_or_default();
        match (name, within) {
            (Some(name), _) => write_renamed(&mut out, text, name),
            (None, Within::Written(value)) => write::json(&mut out, &*span.name, value),
            (None, Within::Kept | Within::Gone) => {
                write::comma(&mut out);
                out.extend_from_slice(text);
            }
        }
    }
    out.extend_from_slice(body.get(last.end..).unwrap_or_default());
    Ok((Cow::Owned(out), drops.into_list(unsupported)?))
}

/// What becomes of a field by what is in it.
#[derive(Debug, PartialEq, Eq)]
enum Within {
    Kept,
    Written(Vec<u8>),
    Gone,
}

/// What becomes of each field at Google.
fn at_google(
    spans: &[Span<'_>],
    rules: &FieldRules,
    passes_all: bool,
    drops: &mut Drops,
) -> Result<Vec<Within>, TranslateError> {
    let others = google::Others { function_call: rules.allows("function_call"), unknown: passes_all };
    let (mut within, mut has_no_tools) = (Vec::with_capacity(spans.len()), false);
    for (at, span) in spans.iter().enumerate() {
        drops.at = at;
        if span.value.is_null() {
            // Refused: floneum/kalosm#354.
            within.push(Within::Gone);
            continue;
        }
        let written = google::rewrite(&span.name, span.value, others, drops)?;
        has_no_tools |= span.name == "tools" && written.as_deref() == Some(b"[]");
        within.push(written.map_or(Within::Kept, Within::Written));
    }
    for (at, (span, within)) in spans.iter().zip(&mut within).enumerate() {
        let is_gone = match &*span.name {
            // An empty list is refused, and with it what says which of them to call.
            "tools" => has_no_tools,
            "tool_choice" => has_no_tools || google::is_choice_of_no_function(span.value, passes_all),
            _ => false,
        };
        let asks = span.name == "tool_choice" && !["auto", "none"].iter().any(|text| span.value.is_text(text));
        if is_gone && asks && *within != Within::Gone {
            drops.at = at;
            drops.push_field(&span.name);
        }
        if is_gone {
            *within = Within::Gone;
        }
    }
    Ok(within)
}

/// Changes fields of the request itself: each gets a value, in JSON, or goes (`None`). All other bytes and their order stay; a
/// field that was not there comes last. A body that is no JSON object passes as it is.
pub fn set<'a>(body: &'a [u8], changes: &[(&str, Option<&str>)]) -> Cow<'a, [u8]> {
    let Some(spans) = spans(body) else { return Cow::Borrowed(body) };
    let change = |name: &str| changes.iter().find(|(changed, _)| *changed == name);
    let is_there = |name: &str| spans.iter().any(|span| span.name == name);
    if changes.iter().all(|(name, value)| value.is_none() && !is_there(name)) {
        return Cow::Borrowed(body);
    }
    let mut out = Vec::with_capacity(body.len() + 64);
    out.extend_from_slice(spans.first().map_or(b"{", |first| body.get(..first.begin).unwrap_or_default()));
    for span in &spans {
        match change(&span.name) {
            Some((_, None)) => {}
            Some((name, Some(value))) => {
                write::json(&mut out, name, value.as_bytes());
            }
            None => {
                write::comma(&mut out);
                out.extend_from_slice(body.get(span.begin..span.end).unwrap_or_default());
            }
        }
    }
    for (name, value) in changes.iter().filter(|(name, _)| !is_there(name)) {
        if let Some(value) = value {
            write::json(&mut out, name, value.as_bytes());
        }
    }
    out.extend_from_slice(spans.last().map_or(b"}", |last| body.get(last.end..).unwrap_or_default()));
    Cow::Owned(out)
}

/// Appends a field under another name.
fn write_renamed(out: &mut Vec<u8>, field: &[u8], name: &str) {
    write::comma(out);
    let begin = field.iter().position(|byte| *byte == b'"').unwrap_or(0);
    // A field's name is a value like any other.
    let mut cursor = Cursor::new(field.get(begin..).unwrap_or_default());
    let length = cursor.raw().map_or(0, |name| name.bytes().len());
    out.extend_from_slice(field.get(..begin).unwrap_or_default());
    out.extend_from_slice(format!("\"{name}\"").as_bytes());
    out.extend_from_slice(field.get(begin + length..).unwrap_or_default());
}

/// The fields of a body that is one object and nothing else.
fn spans(body: &[u8]) -> Option<Vec<Span<'_>>> {
    let mut cursor = Cursor::new(body);
    if cursor.peek() != Some(b'{') {
        return None;
    }
    // A byte order mark is no part of the cursor's bytes.
    let mark = body.len() - without_mark(body).len();
    let mut begin = mark + cursor.position() + 1;
    let mut spans: Vec<Span<'_>> = Vec::new();
    let read = cursor.fields(|name, value| {
        let raw = value.raw()?;
        let end = mark + value.position();
        // White space behind a value is a part of its field.
        let rest = body.get(end..).unwrap_or_default();
        let end = end + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        spans.push(Span { name: unescaped_name(name), begin, end, value: raw });
        begin = end + 1;
        Ok(())
    });
    (read.is_ok() && cursor.is_at_end()).then_some(spans)
}
