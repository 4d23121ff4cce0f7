//! JSON texts as they are written and compared here.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::json::RawJson;
use crate::translate::BrokenAnswer;

/// What is said of a text with half a character; see [`crate::translate::has_half_a_character`].
pub(super) const HALF_A_CHARACTER: &str = "the text has an escape that is no character";

/// The inside of a JSON string of an answer, for a copy into a line of a server-sent event. That it has an end was all that was
/// checked of it.
pub(super) fn inside(text: RawJson<'_>) -> Result<&[u8], BrokenAnswer> {
    let inside = text.quoted().ok_or(BrokenAnswer("a text in it is none"))?;
    // Nothing but escapes and control letters, among them ends of lines, can be wrong in it.
    let may_be_wrong = inside.iter().fold(false, |may_be, byte| may_be | (*byte < b' ') | (*byte == b'\\'));
    if may_be_wrong && serde_json::from_slice::<IgnoredAny>(text.bytes()).is_err() {
        return Err(BrokenAnswer("a text in it is no JSON"));
    }
    Ok(inside)
}

const MAX_NAME_BYTES: usize = 64;

/// A tool's name as Converse takes it: `[a-zA-Z0-9_-]{1,64}`. Another name gets a part of its hash, so that no two become one.
pub(super) fn tool_name(name: &str) -> Cow<'_, str> {
    safe(name, |letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
}

/// The id of a tool call as Converse takes it: `[a-zA-Z0-9_.:-]{1,64}`.
pub(super) fn tool_id(id: &str) -> Cow<'_, str> {
    safe(id, |letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | ':' | '-'))
}

fn safe(text: &str, good: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&good) && (1..=MAX_NAME_BYTES).contains(&text.len()) {
        return Cow::Borrowed(text);
    }
    let mut hash = crate::sigv4::sha256_hex(text.as_bytes());
    hash.truncate(16);
    let begin: String = text.chars().map(|letter| if good(letter) { letter } else { '_' }).take(40).collect();
    Cow::Owned(format!("{begin}_{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_converse_refuses_are_changed_and_stay_different() {
        assert_eq!(tool_name("get_weather-2"), "get_weather-2");
        assert_eq!(tool_id("call.1:x"), "call.1:x");
        let long = "x".repeat(65);
        let names = ["", "a.b", "a b", "ä", &long, "a/b"].map(|name| tool_name(name).into_owned());
        for (at, name) in names.iter().enumerate() {
            assert!(
                (1..=64).contains(&name.len())
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
            );
            assert!(!names[..at].contains(name));
        }
    }
}
