//! Escapes in JSON that are half a character.

use memchr::memchr;

/// Whether a string in this JSON has an escape that is one half of a pair without the other, such as `\ud83d` alone: nothing else can be
/// wrong in JSON that has been checked, and vendors refuse it.
pub(super) fn has_half_a_character(json: &[u8]) -> bool {
    let mut rest = json;
    // A backslash stands in strings only, and the letter behind it belongs to it.
    while let Some(escape) = memchr(b'\\', rest).and_then(|at| rest.get(at + 1..)) {
        let length = match code_unit(escape) {
            None => 1,
            Some(0xD800..=0xDBFF) => {
                let second = escape.get(5..).and_then(|behind| behind.strip_prefix(b"\\")).and_then(code_unit);
                if !matches!(second, Some(0xDC00..=0xDFFF)) {
                    return true;
                }
                11
            }
            Some(0xDC00..=0xDFFF) => return true,
            Some(_) => 5,
        };
        rest = escape.get(length..).unwrap_or_default();
    }
    false
}

/// The number of an escape that begins behind its backslash.
fn code_unit(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(b"u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_of_characters() {
        for (json, is_half) in [
            (r#""\ud83d lone""#, true),
            (r#""lone \udca9""#, true),
            (r#""\udca9\ud83d""#, true),
            (r#""\ud83d\ud83d\udca9""#, true),
            (r#""\uD83D\n\uDCA9""#, true),
            (r#"{"a":[{"\ud83d":1}]}"#, true),
            (r#""\ud83d\udca9""#, false),
            (r#""\ud83d\udca9\u00e4\\""#, false),
            (r#""\u00e4\n""#, false),
            (r#""\\ud83d""#, false),
            (r#""\\\\ud83d""#, false),
            (r#""\\\ud83d""#, true),
            (r#""\n""#, false),
            (r#"{"a":1e999}"#, false),
        ] {
            assert_eq!(has_half_a_character(json.as_bytes()), is_half, "{json}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_parsers_refuse(escapes in prop::collection::vec(prop::sample::select(
            &["\\ud83d", "\\udca9", "\\u00e4", "\\\\", "\\n", "u", "d83d", "\\\"", "\\ud800", "\\uDFFF"][..]), 0..8)) {
            let json = format!("\"{}\"", escapes.concat());
            prop_assert_eq!(has_half_a_character(json.as_bytes()), serde_json::from_str::<String>(&json).is_err(), "{}", json);
        }
    }
}
