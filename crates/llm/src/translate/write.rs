//! Writes JSON piece by piece, from values that have been checked.

use crate::json::RawJson;

/// The text as a JSON string.
pub(super) fn to_json(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    string(&mut out, text);
    out
}

/// Appends the text as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    // Writing a text to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// A whole number.
pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

/// The comma before all but the first of a list or an object's fields.
pub(crate) fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'[' | b'{' | b':')) {
        out.push(b',');
    }
}

/// A comma where one is needed, a name as it stands between its quotes, and its colon.
pub(crate) fn name(out: &mut Vec<u8>, name: impl AsRef<[u8]>) {
    comma(out);
    out.push(b'"');
    out.extend_from_slice(name.as_ref());
    out.extend_from_slice(b"\":");
}

/// A field with a value that stands in checked JSON.
pub(crate) fn raw(out: &mut Vec<u8>, field: impl AsRef<[u8]>, value: RawJson<'_>) {
    json(out, field, value.bytes());
}

/// The same of a field whose name is the client's, and may need escapes.
pub(super) fn clients_field(out: &mut Vec<u8>, field: &str, value: RawJson<'_>) {
    comma(out);
    string(out, field);
    out.push(b':');
    out.extend_from_slice(value.bytes());
}

/// A field with a value that is JSON.
pub(crate) fn json(out: &mut Vec<u8>, field: impl AsRef<[u8]>, value: &[u8]) {
    name(out, field);
    out.extend_from_slice(value);
}

/// A field with a list, of which this is the inside.
pub(super) fn list(out: &mut Vec<u8>, field: &str, inside: &[u8]) {
    name(out, field);
    out.push(b'[');
    out.extend_from_slice(inside);
    out.push(b']');
}

/// A string whose inside is JSON already.
pub(super) fn quoted(out: &mut Vec<u8>, inside: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(inside);
    out.push(b'"');
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_texts() {
        for (text, blank) in [
            (r#""""#, true),
            (r#"" \n\t\r ""#, true),
            (r#"" \u0020\u00a0""#, true),
            ("\"\u{a0}\u{2003}\"", true),
            (r#""\\n""#, false),
            (r#"" a""#, false),
            (r#""ä""#, false),
            (r#""\u0041""#, false),
            (r#"" \ud83d""#, false),
        ] {
            assert_eq!(is_blank_string(RawJson::parse(text.as_bytes()).unwrap()), blank, "{text}");
        }
    }
}
