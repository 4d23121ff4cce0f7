//! Whether bytes are JSON, for texts of which parts are copied as they stand.
//!
//! Accepts what `serde_json` accepts when it ignores a value, in half the time: a body is checked whole before each
//! translation, so this is a large part of what that costs. A property holds the two against each other.

use crate::json_skip::skip_space;

const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);
const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);

/// Whether bytes are one JSON value and nothing else. Strings may hold invalid UTF-8 and halves of surrogate pairs.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    only_value(bytes).is_some()
}

fn only_value(bytes: &[u8]) -> Option<()> {
    // The brackets that are still to come, the next one last.
    let mut closing = Vec::new();
    let mut at = skip_space(bytes, 0);
    loop {
        at = match *bytes.get(at)? {
            b'"' => string(bytes, at)?,
            open @ (b'{' | b'[') => {
                let close = open + 2; // in ASCII
                at = skip_space(bytes, at + 1);
                if *bytes.get(at)? == close {
                    at + 1
                } else {
                    closing.push(close);
                    at = first_of(bytes, at, close)?;
                    continue;
                }
            }
            b't' => literal(bytes, at, b"true")?,
            b'f' => literal(bytes, at, b"false")?,
            b'n' => literal(bytes, at, b"null")?,
            _ => number(bytes, at)?,
        };
        loop {
            at = skip_space(bytes, at);
            let Some(close) = closing.last().copied() else { return (at == bytes.len()).then_some(()) };
            let byte = *bytes.get(at)?;
            at += 1;
            if byte == b',' {
                at = first_of(bytes, skip_space(bytes, at), close)?;
                break;
            }
            if byte != close {
                return None;
            }
            closing.pop();
        }
    }
}

/// Where the value begins of what stands at `at`: in an object behind a name and its colon, in an array there.
#[inline]
fn first_of(bytes: &[u8], at: usize, close: u8) -> Option<usize> {
    if close == b']' {
        return Some(at);
    }
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let colon = skip_space(bytes, string(bytes, at)?);
    (bytes.get(colon) == Some(&b':')).then(|| skip_space(bytes, colon + 1))
}

/// Where the string ends whose first quote is at `at`. Eight bytes at once are searched for one that needs a look.
fn string(bytes: &[u8], mut at: usize) -> Option<usize> {
    at += 1;
    loop {
        while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_le_bytes(*word);
            let (quotes, backslashes) = (word ^ QUOTES, word ^ BACKSLASHES);
            let found = (word.wrapping_sub(SPACES) & !word)
                | (quotes.wrapping_sub(LOW) & !quotes)
                | (backslashes.wrapping_sub(LOW) & !backslashes);
            let found = found & HIGH;
            if found != 0 {
                // The lowest bit is right; those above it may come from a borrow.
                at += found.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        at = match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => escape(bytes, at + 1)?,
            0..b' ' => return None,
            _ => at + 1,
        };
    }
}

/// Where the escape ends whose backslash is before `at`.
#[inline]
fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => {
            let digits: &[u8; 4] = bytes.get(at + 1..)?.first_chunk()?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 5)
        }
        _ => None,
    }
}

fn literal(bytes: &[u8], at: usize, name: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(name).then_some(at + name.len())
}

fn number(bytes: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(bytes.get(at) == Some(&b'-'));
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let has_sign = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = digits(bytes, at + 1 + usize::from(has_sign))?;
    }
    Some(at)
}

/// Where the digits end that begin at `at`, of which there must be one.
fn digits(bytes: &[u8], at: usize) -> Option<usize> {
    let count = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then_some(at + count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    fn says_serde(bytes: &[u8]) -> bool {
        serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
    }

    const WHOLE: &str = r#" {"a": [1, -0.5e+10, 0, 1E9, true, false, null, {}, [ ], {"b\"\\\u00e9\ud800 longer than a word": "\/\b\f\n\r\tä"}],
        "": "",	"ends": {"x":[[["deep"]]]}} "#;

    proptest! {
        #[test]
        fn accepts_what_serde_json_accepts_with_a_byte_changed(
            at in 0..WHOLE.len(),
            byte in prop_oneof![any::<u8>(), prop::sample::select(br#"{}[]",:\u0-+.eE tfn"#.to_vec())],
            how in 0..3_u8,
        ) {
            let mut bytes = WHOLE.as_bytes().to_vec();
            prop_assert!(is_json(&bytes));
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
            prop_assert_eq!(is_json(&bytes), says_serde(&bytes), "{}", String::from_utf8_lossy(&bytes));
            prop_assert!(!is_json(&WHOLE.as_bytes()[..at]) || says_serde(&WHOLE.as_bytes()[..at]));
        }

        #[test]
        fn accepts_what_serde_json_accepts_of_pieces(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"a\":", "0", "1", "-", ".", "e", "+", "\\", "\\u",
                    "00e9", " ", "\n", "\u{1}", "true", "tru", "null", "false", "\"long enough for two words\"",
                ]),
                0..9,
            ),
        ) {
            let text = pieces.concat();
            prop_assert_eq!(is_json(text.as_bytes()), says_serde(text.as_bytes()), "{}", text);
        }
    }

    #[test]
    fn a_million_brackets_need_no_stack() {
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        assert!(is_json(deep.as_bytes()) && !is_json(&deep.as_bytes()[1..]));
    }
}
