//! Walks JSON that others wrote, looks at the few fields we need and skips the rest without looking.
//!
//! Our own, because no parser at hand skips a megabyte of escapes as fast as the log brings them. It checks no more than it
//! must to find where a value ends: strings, brackets and their depth; so it neither recurses nor copies, and an odd value
//! in a field that is not read has no effect. Text is returned as written between its quotes. What has an escape or is
//! no UTF-8 reads as absent: no path, id or code of the gateway has either.

use memchr::memchr;
use serde_json::Value;

use types::request::{Found, LONGEST_VALUE};

/// Something is missing: a bracket, a quote, a colon, or the whole value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntaxError;

/// A place in a message at which a value begins. The caller may read the value, walk into it, or leave it:
/// then it is skipped.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One value, as written in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawJson<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// The beginning of a message.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: skip_space(bytes, 0) }
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.bytes.get(self.at) == Some(&b'{')
    }

    /// The value as written. Moves the cursor behind it.
    ///
    /// # Errors
    /// It has no end.
    pub fn raw(&mut self) -> Result<RawJson<'a>, SyntaxError> {
        let start = self.at;
        self.skip()?;
        Ok(RawJson(&self.bytes[start..self.at]))
    }

    /// The value's [`RawJson::text`]. Moves the cursor behind it.
    ///
    /// # Errors
    /// The value has no end.
    pub fn text(&mut self) -> Result<Option<&'a str>, SyntaxError> {
        self.raw().map(RawJson::text)
    }

    /// Goes behind the value.
    ///
    /// # Errors
    /// It has no end.
    pub fn skip(&mut self) -> Result<(), SyntaxError> {
        self.at = skip_value(self.bytes, self.at).ok_or(SyntaxError)?;
        Ok(())
    }

    /// Nothing but space is left.
    ///
    /// # Errors
    /// Something is.
    pub fn end(self) -> Result<(), SyntaxError> {
        if skip_space(self.bytes, self.at) == self.bytes.len() { Ok(()) } else { Err(SyntaxError) }
    }

    /// Visits each field of an object in order, the name as written between its quotes; nothing for other values.
    /// Answers with how many there were and goes behind the value.
    ///
    /// # Errors
    /// The object breaks off, or `show` says so; the fields before have been shown.
    pub fn fields(
        &mut self,
        mut show: impl FnMut(&'a [u8], &mut Self) -> Result<(), SyntaxError>,
    ) -> Result<usize, SyntaxError> {
        if !self.is_object() {
            return self.skip().map(|()| 0);
        }
        let mut count = 0;
        self.step(1);
        if self.take(b'}') {
            return Ok(count);
        }
        loop {
            let name = self.name()?;
            let value = self.at;
            show(name, self)?;
            if self.at == value {
                self.skip()?;
            }
            self.step(0);
            count += 1;
            if self.take(b'}') {
                return Ok(count);
            }
            if !self.take(b',') {
                return Err(SyntaxError);
            }
            self.step(0);
        }
    }

    /// The first element of a list; `None` of anything else. Goes behind the value.
    ///
    /// # Errors
    /// It has no end.
    pub fn first(&mut self) -> Result<Option<RawJson<'a>>, SyntaxError> {
        let raw = self.raw()?;
        let Some(inside) = raw.0.strip_prefix(b"[") else { return Ok(None) };
        let start = skip_space(inside, 0);
        Ok(skip_value(inside, start).map(|end| RawJson(&inside[start..end])))
    }

    /// A field's name and its colon.
    fn name(&mut self) -> Result<&'a [u8], SyntaxError> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(SyntaxError);
        }
        let start = self.at + 1;
        self.at = skip_string(self.bytes, self.at).ok_or(SyntaxError)?;
        let name = &self.bytes[start..self.at - 1];
        self.step(0);
        if !self.take(b':') {
            return Err(SyntaxError);
        }
        self.step(0);
        Ok(name)
    }

    /// Goes over a number of bytes and the space behind them.
    fn step(&mut self, over: usize) {
        self.at = skip_space(self.bytes, self.at + over);
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(there);
        there
    }
}

impl<'a> RawJson<'a> {
    /// The text, if it is a string that means what it says letter by letter.
    pub fn text(self) -> Option<&'a str> {
        let inside = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if memchr(b'\\', inside).is_some() { None } else { std::str::from_utf8(inside).ok() }
    }

    /// The number, if it is a whole one that is not negative.
    pub fn number(self) -> Option<u64> {
        std::str::from_utf8(self.0).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
    }

    /// The value itself, parsed. Text that is no UTF-8 has its odd characters replaced.
    pub fn value(self) -> Option<Value> {
        let parsed = serde_json::from_slice(self.0);
        parsed.or_else(|_| serde_json::from_str(&String::from_utf8_lossy(self.0))).ok()
    }

    /// The value itself, unless it is too long to be looked at.
    pub fn found(self) -> Option<Found> {
        if self.0.len() > LONGEST_VALUE { Some(Found::TooLong) } else { self.value().map(Found::Value) }
    }

    /// A field of an object; the last one, if the name is repeated.
    pub fn field(self, name: &str) -> Option<Self> {
        let mut found = None;
        let quoted = serde_json::to_string(name).ok()?;
        self.cursor()
            .fields(|other, value| {
                if Some(other) == quoted.as_bytes().get(1..quoted.len() - 1) {
                    found = Some(value.raw()?);
                }
                Ok(())
            })
            .ok()?;
        found
    }

    /// A walk into the value.
    pub const fn cursor(self) -> Cursor<'a> {
        Cursor { bytes: self.0, at: 0 }
    }

    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The HTTP status, if it is one: 100 to 999, as the gateway takes them.
    pub fn status(self) -> Option<u16> {
        self.number().and_then(|number| u16::try_from(number).ok()).filter(|status| (100..=999).contains(status))
    }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// Where the value that begins at `at` ends.
fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => skip_string(bytes, at),
        b'{' | b'[' => skip_nested(bytes, at),
        _ => {
            let literal = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
            let length = bytes[at..].iter().take_while(literal).count();
            (length > 0).then_some(at + length)
        }
    }
}

/// Where the string ends whose first quote is at `at`. Looks for quotes only: one behind an even number of backslashes is
/// the last, so that text full of other escapes costs no more than prose.
fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut from = at + 1;
    loop {
        let quote = find_quote(bytes, from)?;
        let backslashes = bytes[from..quote].iter().rev().take_while(|byte| **byte == b'\\').count();
        from = quote + 1;
        if backslashes % 2 == 0 {
            return Some(from);
        }
    }
}

/// The next quote. Most are near, names and short values, so the first words are searched here, eight bytes at once, before
/// the call to the search that is fast over a distance is worth its price.
fn find_quote(bytes: &[u8], mut from: usize) -> Option<usize> {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    for _ in 0..3 {
        let Some(word) = bytes.get(from..).and_then(<[u8]>::first_chunk) else { break };
        let differs = u64::from_le_bytes(*word) ^ QUOTES;
        let equal = differs.wrapping_sub(LOW) & !differs & HIGH;
        if equal != 0 {
            return Some(from + equal.trailing_zeros() as usize / 8);
        }
        from += 8;
    }
    memchr(b'"', bytes.get(from..)?).map(|distance| from + distance)
}

/// Where the object or list ends that begins at `at`.
fn skip_nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = skip_string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(bytes: &[u8]) -> Result<RawJson<'_>, SyntaxError> {
        let mut cursor = Cursor::new(bytes);
        let raw = cursor.raw()?;
        cursor.end().map(|()| raw)
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
            any::<String>().prop_map(Value::from),
            "[\\\\\"a{}\\[\\]:,]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("[a-c\\\\\"]{0,3}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_fields_of_an_object_are_those_a_parser_finds(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            let raw = message(&text).unwrap();
            let mut found = serde_json::Map::new();
            let count = Cursor::new(&text).fields(|name, value| {
                let name = [b"\"", name, b"\""].concat();
                found.insert(serde_json::from_slice(&name).unwrap(), serde_json::from_slice(value.raw()?.0).unwrap());
                Ok(())
            });
            prop_assert_eq!(count, Ok(found.len()));
            prop_assert_eq!(&found, &value.as_object().cloned().unwrap_or_default());
            prop_assert_eq!(Cursor::new(&text).fields(|_, _| Ok(())), Ok(found.len()), "left alone, a value is skipped");
            prop_assert_eq!(raw.number(), value.as_u64());
            let plain = value.as_str().filter(|text| serde_json::to_string(text).unwrap().len() == text.len() + 2);
            prop_assert_eq!(raw.text(), plain);
            let first = value.as_array().and_then(|list| list.first().cloned());
            let found = Cursor::new(&text).first().unwrap();
            prop_assert_eq!(found.map(|raw| serde_json::from_slice::<Value>(raw.0).unwrap()), first);
        }

        #[test]
        fn what_breaks_off_is_broken(value in json(), cut in 0.0..1.0_f64) {
            let text = serde_json::to_vec(&serde_json::json!([value])).unwrap();
            let cut = (text.len() as f64 * cut) as usize;
            prop_assert_eq!(message(&text[..cut]), Err(SyntaxError));
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            if let Ok(raw) = message(&bytes) {
                let _ = (raw.text(), raw.number(), raw.status());
            }
            let _ = Cursor::new(&bytes).fields(|_, value| value.first().map(|_| ()));
        }
    }

    #[test]
    fn a_million_brackets_need_no_stack() {
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        assert!(message(deep.as_bytes()).is_ok());
        assert_eq!(message(&deep.as_bytes()[..999_999]), Err(SyntaxError));
    }
}
