//! The parts of a message's content as blocks.

use std::fmt;
use std::ops::Range;

use super::request::Draft;
use crate::json::{Cursor, RawJson, unescaped_name};
use crate::translate::object_fields::{Others, pick_of};
use crate::translate::write;
use crate::translate::{TranslateError, has_half_a_character, invalid};

/// A part of a content.
pub(super) enum Part<'a> {
    /// A text, which is a JSON string, and the part around it where it has one.
    Text(RawJson<'a>, Option<RawJson<'a>>),
    /// Anything else.
    Other(RawJson<'a>),
}

/// Where a part stands, written out only where it is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    message: usize,
    /// The message's field.
    field: &'static str,
    part: Option<usize>,
}

impl Path {
    /// The block of this number in a message's `thinking_blocks`.
    pub(super) const fn thinking(message: usize, block: usize) -> Self {
        Self { message, field: "thinking_blocks", part: Some(block) }
    }

    const fn content(message: usize, part: Option<usize>) -> Self {
        Self { message, field: "content", part }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "messages[{}].{}", self.message, self.field)?;
        self.part.map_or(Ok(()), |part| write!(f, "[{part}]"))
    }
}

/// In what a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockRole {
    System,
    User,
    Assistant,
    ToolResult,
}

/// Calls `visit` with each part of a content: a text, or an array of parts.
pub(super) fn parts<'a>(
    content: RawJson<'a>,
    message: usize,
    mut visit: impl FnMut(Part<'a>, Path) -> Result<(), TranslateError>,
) -> Result<(), TranslateError> {
    if content.quoted().is_some() {
        return visit(Part::Text(content, None), Path::content(message, None));
    }
    if !content.is_array() {
        return Err(invalid(format!("messages[{message}].content"), "it is neither a text nor an array"));
    }
    let mut parts = content.elements().enumerate();
    parts.try_for_each(|(index, part)| one_part(part, Path::content(message, Some(index)), &mut visit))
}

fn one_part<'a>(
    part: RawJson<'a>,
    path: Path,
    visit: &mut impl FnMut(Part<'a>, Path) -> Result<(), TranslateError>,
) -> Result<(), TranslateError> {
    if part.quoted().is_some() {
        return visit(Part::Text(part, None), path);
    }
    let kind = part.field("type").and_then(RawJson::text);
    let name = match kind.as_deref() {
        Some("text") => "text",
        Some("refusal") => "refusal",
        Some(_) => return visit(Part::Other(part), path),
        None => return Err(invalid(format!("{path}.type"), "it is missing or no text")),
    };
    match part.field(name).filter(|text| text.quoted().is_some()) {
        Some(text) => visit(Part::Text(text, Some(part)), path),
        None => Err(invalid(format!("{path}.{name}"), "it is missing or no text")),
    }
}

/// Writes the parts of a content as blocks.
pub(super) fn write_content(
    draft: &mut Draft<'_, '_>,
    out: &mut Vec<u8>,
    content: RawJson<'_>,
    message: usize,
    place: BlockRole,
) -> Result<(), TranslateError> {
    let citations = place == BlockRole::User && draft.options.rules().user_citations;
    parts(content, message, |part, path| match part {
        Part::Text(value, fields) => text(draft, out, value, fields, path, citations).map(|_| ()),
        Part::Other(part) => block(draft, out, part, path, place),
    })
}

/// Writes a text, unless it is blank: the vendor refuses blank texts. Returns where its JSON string is.
pub(super) fn text(
    draft: &mut Draft<'_, '_>,
    out: &mut Vec<u8>,
    text: RawJson<'_>,
    part: Option<RawJson<'_>>,
    path: Path,
    citations: bool,
) -> Result<Option<Range<usize>>, TranslateError> {
    // The body has been checked; only this escape can still be half a character.
    if has_half_a_character(text.bytes()) {
        return Err(invalid(path.to_string(), "the text has an escape that is no character"));
    }
    if write::is_blank_string(text) {
        return Ok(None);
    }
    out.reserve(text.bytes().len() + 64);
    write::comma(out);
    out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
    let start = out.len();
    out.extend_from_slice(text.bytes());
    let written = start..out.len();
    if let Some(part) = part {
        part.for_each_field(|name, value| match name {
            b"type" | b"text" | b"refusal" => {}
            _ if value.is_blank() => {}
            b"cache_control" if value.is_object() => write::raw(out, "cache_control", value),
            b"citations" if citations && draft.passes() => write::raw(out, "citations", value),
            name => draft.leave_out("messages", format!("{path}.{}", String::from_utf8_lossy(name))),
        });
    }
    out.push(b'}');
    Ok(Some(written))
}

/// Writes a block of the assistant's thinking as the vendor gave it, and returns where it is with the comma before it, and its fields
/// without a counterpart; `None` of what is no such block, has no signature or half a character: that cannot be given back.
pub(super) fn thinking<'a>(out: &mut Vec<u8>, block: RawJson<'a>) -> Option<(Range<usize>, Others<'a>)> {
    if has_half_a_character(block.bytes()) {
        return None;
    }
    let begin = out.len();
    let ([kind, thinking, signature, data, _], others) =
        pick_of(block, ["type", "thinking", "signature", "data", "index"]);
    let is = |name| kind.is_some_and(|kind| kind.is_text(name));
    let text = |value: Option<RawJson<'a>>| value.filter(|value| value.quoted().is_some());
    // A stream has the signature alone in its last piece; clients that put the pieces together have both.
    if let (true, Some(signature)) = (is("thinking"), text(signature).filter(|signature| !signature.is_blank())) {
        write::comma(out);
        out.extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":");
        out.extend_from_slice(text(thinking).map_or(b"\"\"", RawJson::bytes));
        write::raw(out, "signature", signature);
        out.push(b'}');
        return Some((begin..out.len(), others));
    }
    if let (true, Some(data)) = (is("redacted_thinking"), text(data)) {
        write::comma(out);
        out.extend_from_slice(b"{\"type\":\"redacted_thinking\"");
        write::raw(out, "data", data);
        out.push(b'}');
        return Some((begin..out.len(), others));
    }
    None
}

/// Writes a part that is no text, or notes that it is left out.
pub(super) fn block(
    draft: &mut Draft<'_, '_>,
    out: &mut Vec<u8>,
    part: RawJson<'_>,
    path: Path,
    place: BlockRole,
) -> Result<(), TranslateError> {
    let kind = part.field("type").and_then(RawJson::text).unwrap_or_default();
    let is_taken = match (&*kind, place) {
        (_, BlockRole::System) => false,
        // The vendor takes none of them in the assistant's turns.
        ("image_url" | "file", BlockRole::Assistant) | ("input_audio", _) => false,
        ("image_url", _) => return image(draft, out, part, path),
        ("file", _) => return file(draft, out, part, path),
        // The vendor's own blocks.
        ("document", BlockRole::Assistant) => draft.passes() && draft.options.rules().assistant_documents,
        _ => draft.passes(),
    };
    if is_taken {
        write::comma(out);
        out.extend_from_slice(part.bytes());
    } else {
        draft.leave_out_part(path, &kind);
    }
    Ok(())
}

/// Puts a message's `cache_control` at the end of its last block, unless that has one.
pub(super) fn mark_last(blocks: &mut Vec<u8>, mark: Option<RawJson<'_>>) {
    let Some(mark) = mark.filter(|mark| mark.is_object()) else { return };
    if blocks.last() == Some(&b'}') && !is_marked(blocks) {
        blocks.pop();
        write::raw(blocks, "cache_control", mark);
        blocks.push(b'}');
    }
}

/// Whether the last field of the last block is a mark. Marks are short; a text cannot contain the unescaped quotes.
fn is_marked(blocks: &[u8]) -> bool {
    let end = blocks.get(blocks.len().saturating_sub(256)..).unwrap_or_default();
    let name = b",\"cache_control\":";
    memchr::memmem::rfind(end, name).and_then(|at| end.get(at + name.len()..)).is_some_and(|rest| {
        let mut value = Cursor::new(rest);
        value.skip().is_ok() && value.rest() == b"}"
    })
}

fn image(draft: &mut Draft<'_, '_>, out: &mut Vec<u8>, part: RawJson<'_>, path: Path) -> Result<(), TranslateError> {
    let given = part.field("image_url");
    // Some clients send the address without the object around it.
    let url = given.and_then(|given| given.field("url").or(Some(given))).and_then(RawJson::text);
    let param = || format!("{path}.image_url.url");
    let Some(url) = url else { return Err(invalid(param(), "it is missing or no text")) };
    let source = match data_url(&url) {
        Some(Ok(("image/jpg", data))) => Some(Source::Bytes("image/jpeg", data)),
        Some(Ok((kind @ ("image/jpeg" | "image/png" | "image/gif" | "image/webp"), data))) => {
            Some(Source::Bytes(kind, data))
        }
        // The vendor takes no others.
        Some(Ok(_)) => None,
        Some(Err(message)) => return Err(invalid(param(), message)),
        None if is_address(&url) => draft.options.envelope.takes_addresses().then_some(Source::Address(&url)),
        None => return Err(invalid(param(), "it is neither a data URL nor an address with http or https")),
    };
    let Some(source) = source else {
        draft.leave_out_part(path, "image_url");
        return Ok(());
    };
    write::comma(out);
    out.extend_from_slice(b"{\"type\":\"image\"");
    source.write(out);
    end_media(draft, out, part, path, given, "image_url", &["url"]);
    Ok(())
}

fn file(draft: &mut Draft<'_, '_>, out: &mut Vec<u8>, part: RawJson<'_>, path: Path) -> Result<(), TranslateError> {
    let given = part.field("file");
    let field = |name| given.and_then(|given| given.field(name)).and_then(RawJson::text);
    let (data, title) = (field("file_data"), field("filename"));
    let param = || format!("{path}.file.file_data");
    let Some(data) = data else {
        // An id of OpenAI's store of files.
        if field("file_id").is_some() {
            draft.leave_out_part(path, "file");
            return Ok(());
        }
        return Err(invalid(param(), "it is missing or no text"));
    };
    let source = match data_url(&data) {
        Some(Ok(("application/pdf", data))) => Some(Source::Bytes("application/pdf", data)),
        // Anything but PDF would have to be decoded to text.
        Some(Ok(_)) => None,
        Some(Err(message)) => return Err(invalid(param(), message)),
        // The beginning of a PDF in base64.
        None if data.starts_with("JVBERi0") => Some(Source::Bytes("application/pdf", &data)),
        None => (is_address(&data) && draft.options.envelope.takes_addresses()).then_some(Source::Address(&data)),
    };
    let Some(source) = source else {
        draft.leave_out_part(path, "file");
        return Ok(());
    };
    write::comma(out);
    out.extend_from_slice(b"{\"type\":\"document\"");
    source.write(out);
    if let Some(title) = title.filter(|title| !title.trim().is_empty()) {
        write::text(out, "title", &title);
    }
    end_media(draft, out, part, path, given, "file", &["file_data", "filename"]);
    Ok(())
}

/// Writes what a part has beside its source, and notes what is left out. `name` is the field of `inner`, of which `known` are
/// written.
fn end_media(
    draft: &mut Draft<'_, '_>,
    out: &mut Vec<u8>,
    part: RawJson<'_>,
    path: Path,
    inner: Option<RawJson<'_>>,
    name: &str,
    known: &[&str],
) {
    let mut others = Others::default();
    if let Some(inner) = inner {
        let mut lost = Others::default();
        inner.for_each_field(|raw_name, value| {
            let field = unescaped_name(raw_name);
            let is_default = field == "detail" && value.is_text("auto");
            if !is_default && !known.contains(&&*field) {
                lost.note_unknown(raw_name, value);
            }
        });
        others.add(name, &lost);
    }
    part.for_each_field(|raw_name, value| match &*unescaped_name(raw_name) {
        "type" => {}
        "cache_control" if value.is_object() => write::raw(out, "cache_control", value),
        field if field == name => {}
        _ => others.note_unknown(raw_name, value),
    });
    draft.drops_of("messages").push_fields(|| path.to_string(), &others);
    out.push(b'}');
}

/// Where the bytes of an image or a document are.
enum Source<'a> {
    /// The type and the bytes in base64.
    Bytes(&'a str, &'a str),
    /// The vendor fetches it; we do not.
    Address(&'a str),
}

impl Source<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        write::name(out, "source");
        out.push(b'{');
        match self {
            Self::Bytes(kind, data) => {
                write::text(out, "type", "base64");
                write::text(out, "media_type", kind);
                write::text(out, "data", data);
            }
            Self::Address(url) => {
                write::text(out, "type", "url");
                write::text(out, "url", url);
            }
        }
        out.push(b'}');
    }
}

fn is_address(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// The type and the base64 of a data URL; `None` of what is none.
fn data_url(url: &str) -> Option<Result<(&str, &str), &'static str>> {
    let is_data = url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    let rest = url.get(5..).filter(|_| is_data)?;
    let Some((head, data)) = rest.split_once(',') else { return Some(Err("the data URL has no comma")) };
    let mut words = head.split(';');
    let kind = words.next().unwrap_or_default();
    if !words.any(|word| word.trim().eq_ignore_ascii_case("base64")) {
        return Some(Err("the data URL is not in base64"));
    }
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if data.is_empty() || !data.bytes().all(is_base64) {
        return Some(Err("the data URL has no data, or other letters than base64"));
    }
    Some(Ok((kind, data)))
}
