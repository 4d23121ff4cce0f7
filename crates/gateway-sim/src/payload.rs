//! Bodies as JSON: what is JSON stays byte for byte, other text is quoted, other bytes cannot be part
//! of a message.
//!
//! Works on bytes and never parses into a tree: key order, number spelling, duplicate keys and even invalid UTF-8 inside
//! strings must arrive as they were sent.

use bytes::Bytes;
use serde::de::IgnoredAny;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyAsJson {
    /// It is JSON; untouched.
    Json(Bytes),
    /// It is text; now one JSON string.
    Quoted(Bytes),
    /// Go's quoting of it is no JSON string, so it cannot be carried.
    Unquotable,
}

pub(crate) fn from_body(body: Bytes) -> BodyAsJson {
    if is_json(&body) {
        return BodyAsJson::Json(body);
    }
    match std::str::from_utf8(&body).ok().and_then(quote) {
        Some(quoted) => BodyAsJson::Quoted(quoted.into()),
        None => BodyAsJson::Unquotable,
    }
}

pub(crate) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Quotes as Go does, where the result is JSON too. `\a`, `\v`, `\x00` and `\U0001f000` are Go but not JSON.
fn quote(text: &str) -> Option<String> {
    let mut quoted = String::with_capacity(text.len() + 16);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => return None,
            c if printable(c) => quoted.push(c),
            c if u32::from(c) <= 0xffff => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => return None,
        }
    }
    quoted.push('"');
    Some(quoted)
}

/// The standard library's table of printable characters is the one Go's quoting uses, but it is reachable only through
/// `escape_debug`; a letter in front keeps combining marks from being escaped for standing first.
fn printable(c: char) -> bool {
    if c.is_ascii() {
        return true;
    }
    let mut buffer = [b'a', 0, 0, 0, 0];
    let end = 1 + c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..end]).is_ok_and(|pair| pair.escape_debug().nth(1) == Some(c))
}

/// Appends `json` the way it travels on the bus: no white space between tokens, and the characters that could end an
/// HTML script escaped inside strings.
pub(crate) fn compact(json: &[u8], out: &mut Vec<u8>) {
    out.reserve(json.len());
    let (mut in_string, mut copied, mut at) = (false, 0, 0);
    while at < json.len() {
        let (skip, instead): (usize, &[u8]) = match json[at] {
            b'"' => {
                in_string = !in_string;
                (0, b"")
            }
            b'\\' if in_string => {
                at += 2;
                continue;
            }
            b' ' | b'\n' | b'\r' | b'\t' if !in_string => (1, b""),
            b'<' => (1, b"\\u003c"),
            b'>' => (1, b"\\u003e"),
            b'&' => (1, b"\\u0026"),
            0xe2 if json[at..].starts_with(b"\xe2\x80\xa8") => (3, b"\\u2028"),
            0xe2 if json[at..].starts_with(b"\xe2\x80\xa9") => (3, b"\\u2029"),
            _ => (0, b""),
        };
        if skip == 0 {
            at += 1;
            continue;
        }
        out.extend_from_slice(&json[copied..at]);
        out.extend_from_slice(instead);
        at += skip;
        copied = at;
    }
    out.extend_from_slice(&json[copied..]);
}

/// `text` as a JSON string.
pub(crate) fn string(text: &str) -> Bytes {
    // Writing a str into a vector of bytes cannot fail; an empty string is the honest remainder of that impossibility.
    serde_json::to_vec(text).map_or_else(|_| Bytes::from_static(b"\"\""), Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compacted(json: &str) -> String {
        let mut out = Vec::new();
        compact(json.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_bus_form_is_compact_and_escaped_for_html() {
        assert_eq!(compacted(r#" { "a b" : [ 1 , "x < y" ] , "c":"\"& >" } "#), {
            r#"{"a b":[1,"x \u003c y"],"c":"\"\u0026 \u003e"}"#
        });
        assert_eq!(compacted("\"\u{2028}\""), "\"\\u2028\"");
    }

    #[test]
    fn number_spelling_key_order_and_duplicates_survive() {
        assert_eq!(compacted(r#"{"b":1.0e+2,"a":1,"b":-0}"#), r#"{"b":1.0e+2,"a":1,"b":-0}"#);
    }

    #[test]
    fn text_is_quoted_and_control_bytes_are_not() {
        let from_body = |bytes: &'static [u8]| super::from_body(Bytes::from_static(bytes));
        assert_eq!(from_body(b""), BodyAsJson::Quoted("\"\"".into()));
        assert_eq!(from_body("caf\u{e9} <b>\n".as_bytes()), BodyAsJson::Quoted("\"caf\u{e9} <b>\\n\"".into()));
        assert_eq!(from_body("\u{feff}{}".as_bytes()), BodyAsJson::Quoted(r#""\ufeff{}""#.into()));
        assert_eq!(from_body("e\u{301}".as_bytes()), BodyAsJson::Quoted("\"e\u{301}\"".into()));
        for bytes in [&b"\x00"[..], b"\x0b", b"\x7f", b"\xff", "\u{e0001}".as_bytes()] {
            assert_eq!(from_body(bytes), BodyAsJson::Unquotable, "{bytes:?}");
        }
    }

    #[test]
    fn invalid_utf8_inside_a_json_string_is_carried_along() {
        let body = Bytes::from_static(b"{\"a\":\"\xff\"}");
        assert_eq!(from_body(body.clone()), BodyAsJson::Json(body));
    }
}
