//! Forms as `multipart/form-data` (RFC 7578), in which audio and images are sent: their fields, and how to change them.
//!
//! Nothing is copied while reading, and files are never looked into.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

/// A form with more parts is refused: no API has a tenth of it.
pub const MAX_PARTS: usize = 1024;
/// The longest boundary that the standard allows, in bytes.
const MAX_BOUNDARY_BYTES: usize = 70;

/// Why a body cannot be read as a form, or not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The content type is another one.
    #[error("the content type is not multipart/form-data")]
    NotMultipart,
    /// The content type names no boundary, or none that the standard allows.
    #[error("the content type has no boundary of 1 to {MAX_BOUNDARY_BYTES} bytes")]
    NoBoundary,
    /// The body does not have the form that its boundary promises.
    #[error("the form breaks off: {0}")]
    Malformed(&'static str),
    /// There are too many parts.
    #[error("the form has more than {MAX_PARTS} parts")]
    TooManyParts,
    /// The new value contains the form's boundary, and would end its own part.
    #[error("the new value of {field:?} contains the boundary of the form")]
    UnsafeValue {
        /// The field's name.
        field: String,
    },
}

/// One part of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// The field's name; empty where it has none.
    pub name: Cow<'a, str>,
    /// Whether it is a file: it has a file name.
    pub is_file: bool,
    /// Its media type, where it says one.
    pub content_type: Option<&'a str>,
    /// What it holds.
    pub content: &'a [u8],
    /// Where it stands in the body, its delimiter and its last line end included.
    range: Range<usize>,
}

impl<'a> Part<'a> {
    /// The value of a field that is no file, if it is text.
    pub fn text(&self) -> Option<&'a str> {
        if self.is_file { None } else { std::str::from_utf8(self.content).ok() }
    }
}

/// The boundary of a form; `None` if the content type is another one or the boundary is not allowed.
fn boundary(content_type: &str) -> Result<Cow<'_, str>, MultipartError> {
    let (kind, rest) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(MultipartError::NotMultipart);
    }
    let boundary = parameter(rest, "boundary").ok_or(MultipartError::NoBoundary)?;
    let is_allowed = (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len()) && !boundary.contains(['\r', '\n']);
    if is_allowed { Ok(boundary) } else { Err(MultipartError::NoBoundary) }
}

/// Whether a content type is that of a form.
pub fn is_multipart(content_type: &str) -> bool {
    !matches!(boundary(content_type), Err(MultipartError::NotMultipart))
}

/// The parts of a form in their order.
///
/// # Errors
/// The body is no form, or breaks off.
pub fn parts<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, MultipartError> {
    let delimiter = format!("--{}", boundary(content_type)?);
    let finder = memmem::Finder::new(delimiter.as_bytes());
    let (mut at, mut is_last) =
        next_delimiter(&finder, body, 0).ok_or(MultipartError::Malformed("the boundary does not stand in it"))?;
    let mut parts = Vec::new();
    while !is_last {
        if parts.len() == MAX_PARTS {
            return Err(MultipartError::TooManyParts);
        }
        let inside = after_line(body, at).ok_or(MultipartError::Malformed("a part has no line end"))?;
        // The line end before a delimiter belongs to it, so an empty content begins where it would end.
        let (next, next_is_last) =
            next_delimiter(&finder, body, inside).ok_or(MultipartError::Malformed("the last delimiter is missing"))?;
        parts.push(part(body, at..next, inside)?);
        (at, is_last) = (next, next_is_last);
    }
    Ok(parts)
}

/// The body of a form without its boundary, which clients make anew each time they send the form: the pieces between. Of anything else,
/// the body in one piece.
pub fn without_boundary<'a>(content_type: &str, body: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let delimiter = boundary(content_type).ok().map(|boundary| format!("--{boundary}"));
    let mut rest = Some(body);
    std::iter::from_fn(move || {
        let body = rest.take()?;
        let found = delimiter.as_ref().and_then(|it| Some((memmem::find(body, it.as_bytes())?, it.len())));
        let Some((at, length)) = found else { return Some(body) };
        rest = body.get(at + length..);
        body.get(..at)
    })
}

/// The form with other values in some of its fields: `Some` replaces the field or adds it, `None` removes it. All other parts
/// stay byte for byte; files of the same name are left alone.
///
/// # Errors
/// The body is no form, or a value would break it.
pub fn rewrite(content_type: &str, body: &[u8], changes: &[(&str, Option<&str>)]) -> Result<Vec<u8>, MultipartError> {
    let boundary = boundary(content_type)?;
    let parts = parts(content_type, body)?;
    let mut new = Vec::with_capacity(body.len() + growth(changes));
    let delimiter = format!("--{boundary}");
    let first = parts.first().map_or(0, |part| part.range.start);
    new.extend_from_slice(body.get(..first).unwrap_or_default());
    for (name, value) in changes {
        let Some(value) = value else { continue };
        if value.split('\n').any(|line| line.starts_with(&delimiter)) {
            return Err(MultipartError::UnsafeValue { field: (*name).to_owned() });
        }
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        new.extend_from_slice(head.as_bytes());
        new.extend_from_slice(value.as_bytes());
        new.extend_from_slice(b"\r\n");
    }
    let is_changed = |part: &Part<'_>| !part.is_file && changes.iter().any(|(name, _)| *name == part.name);
    for part in parts.iter().filter(|part| !is_changed(part)) {
        new.extend_from_slice(body.get(part.range.clone()).unwrap_or_default());
    }
    let end = parts.last().map_or(0, |part| part.range.end);
    new.extend_from_slice(body.get(end..).unwrap_or_default());
    Ok(new)
}

/// By how many bytes a form grows at most with these changes.
pub fn growth(changes: &[(&str, Option<&str>)]) -> usize {
    // A name's odd letters are written in three bytes; the delimiter and the words around the name take fewer than 200.
    changes.iter().map(|(name, value)| 3 * name.len() + value.map_or(0, str::len) + 200).sum()
}

/// Where the next line with a delimiter begins, and whether it is the last one.
fn next_delimiter(finder: &memmem::Finder<'_>, body: &[u8], from: usize) -> Option<(usize, bool)> {
    let mut search = from;
    loop {
        let at = search + finder.find(body.get(search..)?)?;
        let begins_line = at == 0 || body.get(at - 1) == Some(&b'\n');
        let behind = body.get(at + finder.needle().len()..)?;
        let is_last = behind.starts_with(b"--");
        // A longer word that begins like the boundary is none.
        let ends_line = is_last || behind.trim_ascii_start().len() < behind.len();
        if begins_line && ends_line {
            return Some((at, is_last));
        }
        search = at + 1;
    }
}

/// Where the line behind the one at `at` begins.
fn after_line(body: &[u8], at: usize) -> Option<usize> {
    memchr::memchr(b'\n', body.get(at..)?).map(|end| at + end + 1)
}

/// The part that stands at `range` and whose headers begin at `inside`.
fn part(body: &[u8], range: Range<usize>, inside: usize) -> Result<Part<'_>, MultipartError> {
    let mut part =
        Part { name: Cow::Borrowed(""), is_file: false, content_type: None, content: &[], range: range.clone() };
    let mut at = inside;
    loop {
        let end = after_line(body, at).filter(|end| *end <= range.end);
        let end = end.ok_or(MultipartError::Malformed("a part has no empty line behind its headers"))?;
        let line = body.get(at..end).unwrap_or_default().trim_ascii();
        at = end;
        if line.is_empty() {
            break;
        }
        // A header that is no text names no field that anybody asks for.
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-disposition") {
            part.name = parameter(value, "name").unwrap_or_default();
            part.is_file = parameter(value, "filename").is_some() || parameter(value, "filename*").is_some();
        } else if name.eq_ignore_ascii_case("content-type") {
            part.content_type = Some(value.trim());
        }
    }
    let content = body.get(at..range.end).unwrap_or_default();
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    part.content = content.strip_suffix(b"\r").unwrap_or(content);
    Ok(part)
}

/// The value of a parameter of a header: `form-data; name="a"; filename=b`.
fn parameter<'a>(header: &'a str, wanted: &str) -> Option<Cow<'a, str>> {
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        let end = rest.find([';', '='])?;
        let (name, behind) = rest.split_at_checked(end)?;
        let Some(value) = behind.strip_prefix('=') else {
            rest = behind;
            continue;
        };
        let (value, behind) = parameter_value(value.trim_start());
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
}

/// The value at the beginning, quoted or not, and what follows it.
fn parameter_value(text: &str) -> (Cow<'_, str>, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, behind) = text.split_at_checked(text.find(';').unwrap_or(text.len())).unwrap_or((text, ""));
        return (Cow::Borrowed(value.trim()), behind);
    };
    let mut escaped = false;
    let end = quoted.find(|letter| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    });
    let (value, behind) = quoted.split_at_checked(end.unwrap_or(quoted.len())).unwrap_or((quoted, ""));
    let value = if value.contains('\\') { Cow::Owned(unescaped(value)) } else { Cow::Borrowed(value) };
    (value, behind.strip_prefix('"').unwrap_or(behind))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.extend(letters.next()),
            letter => plain.push(letter),
        }
    }
    plain
}
