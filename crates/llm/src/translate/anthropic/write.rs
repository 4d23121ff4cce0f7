//! Writes JSON piece by piece, from values that have been checked.

use crate::json::RawJson;

/// The text as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    // Writing a text to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// A whole number.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

/// The comma before all but the first of a list or an object's fields.
pub(super) fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'[' | b'{')) {
        out.push(b',');
    }
}

/// A comma where one is needed, a name that needs no escapes, and its colon.
pub(super) fn name(out: &mut Vec<u8>, name: &str) {
    comma(out);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A field with a value that stands in checked JSON.
pub(super) fn raw(out: &mut Vec<u8>, field: &str, value: RawJson<'_>) {
    name(out, field);
    out.extend_from_slice(value.bytes());
}

/// A field with a text.
pub(super) fn text(out: &mut Vec<u8>, field: &str, value: &str) {
    name(out, field);
    string(out, value);
}

/// Whether a string says nothing but white space; other values are no blank strings.
pub(super) fn is_blank_string(value: RawJson<'_>) -> bool {
    match value.quoted() {
        None => false,
        Some(inside) => match inside.first() {
            None => true,
            Some(first) if first.is_ascii_graphic() && *first != b'\\' => false,
            Some(_) => value.text().is_some_and(|text| text.trim().is_empty()),
        },
    }
}
