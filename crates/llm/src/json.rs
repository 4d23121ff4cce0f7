//! Reads the few fields of a JSON text that are needed and skips the rest.
//!
//! A parser that builds or checks everything costs more than the call it looks at. This one finds where values end (strings,
//! brackets, depth) and checks no more than that: it neither recurses nor copies nor panics, and the time it takes grows with
//! the length of the text only. Of a field that stands twice the last one counts, as in `serde_json` and in Go.

use std::borrow::Cow;

use memchr::memchr;
use serde_json::value::RawValue;

use crate::json_skip::{skip_space, skip_string, skip_value};

/// A text without the byte order mark that may stand before it.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// A bracket, quote, colon, comma or value is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the JSON breaks off or is malformed")]
pub struct SyntaxError;

/// A position in a JSON text at which a value begins.
#[derive(Debug, Clone, Default)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One JSON value as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawJson<'a>(&'a [u8]);

/// `null`.
impl Default for RawJson<'_> {
    fn default() -> Self {
        Self(b"null")
    }
}

impl<'a> Cursor<'a> {
    /// The first value of a text; white space and a byte order mark before it are skipped.
    pub fn new(bytes: &'a [u8]) -> Self {
        let bytes = without_mark(bytes);
        Self { bytes, at: skip_space(bytes, 0) }
    }

    /// The first byte of the value; `None` at the end of the text.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Where it stands, counted from the first byte that is no byte order mark.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// Returns the value and moves behind it.
    ///
    /// # Errors
    /// The value has no end.
    pub fn raw(&mut self) -> Result<RawJson<'a>, SyntaxError> {
        self.raw_with(Self::skip)
    }

    /// Moves behind the value.
    ///
    /// # Errors
    /// The value has no end.
    pub fn skip(&mut self) -> Result<(), SyntaxError> {
        self.at = skip_value(self.bytes, self.at).ok_or(SyntaxError)?;
        Ok(())
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The value's [`RawJson::plain`]. Moves behind it.
    ///
    /// # Errors
    /// The value has no end.
    pub fn plain(&mut self) -> Result<Option<&'a str>, SyntaxError> {
        self.raw().map(RawJson::plain)
    }

    /// Whether nothing but white space follows; otherwise moves to what does.
    pub fn is_at_end(&mut self) -> bool {
        self.at = skip_space(self.bytes, self.at);
        self.at >= self.bytes.len()
    }

    /// Calls `visit` with the name of each field of an object, as it stands between its quotes, and a cursor at its value;
    /// what `visit` does not read is skipped. Any other kind of value has no fields. Moves behind the value.
    ///
    /// # Errors
    /// The object breaks off, or `visit` returned an error; the fields before have been visited.
    pub fn fields(
        &mut self,
        mut visit: impl FnMut(&'a [u8], &mut Self) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        self.members(b'{', b'}', |cursor| {
            let name = cursor.name()?;
            cursor.visit_value(|cursor| visit(name, cursor))
        })
    }

    /// The value, behind which `read` moves.
    ///
    /// # Errors
    /// The value has no end, or `read` returned an error.
    pub fn raw_with(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), SyntaxError>,
    ) -> Result<RawJson<'a>, SyntaxError> {
        let start = self.at;
        read(self)?;
        Ok(RawJson(self.bytes.get(start..self.at).unwrap_or_default()))
    }

    /// Several fields of an object, of one that stands twice the last one. Moves behind the object.
    ///
    /// # Errors
    /// The object breaks off.
    pub(crate) fn pick<const N: usize>(&mut self, names: [&str; N]) -> Result<[Option<RawJson<'a>>; N], SyntaxError> {
        self.pick_or(names, |_, _| Ok(()))
    }

    /// The same; `other` gets the other fields as [`Self::fields`] gives them.
    ///
    /// # Errors
    /// The object breaks off, or `other` returned an error.
    pub(crate) fn pick_or<const N: usize>(
        &mut self,
        names: [&str; N],
        mut other: impl FnMut(&'a [u8], &mut Self) -> Result<(), SyntaxError>,
    ) -> Result<[Option<RawJson<'a>>; N], SyntaxError> {
        let mut found = [None; N];
        self.fields(|name, value| {
            let plain = names.iter().position(|known| known.as_bytes() == name);
            let escaped = || {
                memchr(b'\\', name)?;
                let name = unescaped_name(name);
                names.iter().position(|known| *known == name)
            };
            match plain.or_else(escaped).and_then(|at| found.get_mut(at)) {
                Some(place) => *place = Some(value.raw()?),
                None => other(name, value)?,
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `visit` with a cursor at each element of an array; what `visit` does not read is skipped. Any other kind of
    /// value has no elements. Moves behind the value.
    ///
    /// # Errors
    /// The array breaks off, or `visit` returned an error; the elements before have been visited.
    pub fn elements(&mut self, mut visit: impl FnMut(&mut Self) -> Result<(), SyntaxError>) -> Result<(), SyntaxError> {
        self.members(b'[', b']', |cursor| cursor.visit_value(&mut visit))
    }

    /// Calls `visit` at each member of a value between these brackets. Moves behind the value.
    #[inline]
    fn members(
        &mut self,
        open: u8,
        close: u8,
        mut visit: impl FnMut(&mut Self) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        if self.peek() != Some(open) {
            return self.skip();
        }
        self.step(1);
        if self.take(close) {
            return Ok(());
        }
        loop {
            visit(self)?;
            if self.take(close) {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(SyntaxError);
            }
            self.step(0);
        }
    }

    fn visit_value(&mut self, visit: impl FnOnce(&mut Self) -> Result<(), SyntaxError>) -> Result<(), SyntaxError> {
        let value = self.at;
        visit(self)?;
        if self.at == value {
            self.skip()?;
        }
        self.step(0);
        Ok(())
    }

    /// Reads a field's name and its colon.
    fn name(&mut self) -> Result<&'a [u8], SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(SyntaxError);
        }
        let start = self.at + 1;
        self.at = skip_string(self.bytes, self.at).ok_or(SyntaxError)?;
        let name = self.bytes.get(start..self.at - 1).ok_or(SyntaxError)?;
        self.step(0);
        if !self.take(b':') {
            return Err(SyntaxError);
        }
        self.step(0);
        Ok(name)
    }

    /// Moves over a number of bytes and the white space behind them.
    fn step(&mut self, bytes: usize) {
        self.at = skip_space(self.bytes, self.at + bytes);
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }
}

impl<'a> From<&'a RawValue> for RawJson<'a> {
    fn from(value: &'a RawValue) -> Self {
        Self(value.get().as_bytes())
    }
}

impl<'a> RawJson<'a> {
    /// The only value of a text.
    ///
    /// # Errors
    /// The value has no end, or something follows it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SyntaxError> {
        let mut cursor = Cursor::new(bytes);
        let raw = cursor.raw()?;
        if cursor.is_at_end() { Ok(raw) } else { Err(SyntaxError) }
    }

    /// The bytes of the value.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// A cursor at the value.
    pub const fn cursor(self) -> Cursor<'a> {
        Cursor { bytes: self.0, at: 0 }
    }

    /// The text of a string, escapes resolved; `None` of other values and of invalid UTF-8.
    pub fn text(self) -> Option<Cow<'a, str>> {
        if let Some(plain) = self.plain() {
            return Some(Cow::Borrowed(plain));
        }
        self.quoted()?;
        serde_json::from_slice(self.0).ok().map(Cow::Owned)
    }

    /// The text of a string that is written without escapes; `None` of other values and of invalid UTF-8.
    pub fn plain(self) -> Option<&'a str> {
        let inside = self.quoted()?;
        if memchr(b'\\', inside).is_some() { None } else { std::str::from_utf8(inside).ok() }
    }

    /// The bytes of a string as they stand between its quotes, escapes and all.
    pub fn quoted(self) -> Option<&'a [u8]> {
        self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// Whether this is exactly that string, written without escapes.
    pub(crate) fn is_text(self, text: &str) -> bool {
        self.quoted() == Some(text.as_bytes())
    }

    /// A whole number that is not negative.
    pub fn unsigned(self) -> Option<u64> {
        let text = std::str::from_utf8(self.0).ok()?;
        text.starts_with(|first: char| first.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    }

    /// An HTTP status: 100 to 999.
    pub fn status(self) -> Option<u16> {
        self.unsigned().and_then(|number| u16::try_from(number).ok()).filter(|status| (100..=999).contains(status))
    }

    pub fn is_null(self) -> bool {
        self.0 == b"null"
    }

    pub fn is_true(self) -> bool {
        self.0 == b"true"
    }

    pub fn is_object(self) -> bool {
        self.0.first() == Some(&b'{')
    }

    pub fn is_array(self) -> bool {
        self.0.first() == Some(&b'[')
    }

    /// Whether this says nothing: `null`, `false`, `""`, `[]` or `{}`.
    pub(crate) fn is_blank(self) -> bool {
        match self.0 {
            b"null" | b"false" | b"\"\"" | b"" => true,
            [b'[' | b'{', inside @ .., _] => inside.trim_ascii().is_empty(),
            _ => false,
        }
    }

    /// The value as a tree. Invalid UTF-8 in texts is replaced.
    pub fn value(self) -> Option<serde_json::Value> {
        let parsed = serde_json::from_slice(self.0);
        parsed.or_else(|_| serde_json::from_str(&String::from_utf8_lossy(self.0))).ok()
    }

    /// A field of an object, whether or not its name is written with escapes.
    pub fn field(self, name: &str) -> Option<Self> {
        let mut found = None;
        // Nothing here can break off: the end of the value is known.
        let _ = self.cursor().fields(|other, value| {
            let is_same = other == name.as_bytes() || (memchr(b'\\', other).is_some() && unescaped_name(other) == name);
            if is_same {
                found = Some(value.raw()?);
            }
            Ok(())
        });
        found
    }

    /// Several fields of an object in one pass; see [`Self::field`].
    pub(crate) fn pick<const N: usize>(self, names: [&str; N]) -> [Option<Self>; N] {
        // Nothing here can break off: the end of the value is known.
        self.cursor().pick(names).unwrap_or([None; N])
    }

    /// The elements of an array, up to where it breaks off; of any other kind of value there are none.
    pub fn elements(self) -> impl Iterator<Item = Self> {
        let mut cursor = self.cursor();
        let mut more = cursor.take(b'[');
        std::iter::from_fn(move || {
            cursor.step(0);
            let element = more.then(|| cursor.raw().ok()).flatten()?;
            cursor.step(0);
            more = cursor.take(b',');
            Some(element)
        })
    }

    /// The first element of an array.
    pub fn first(self) -> Option<Self> {
        self.elements().next()
    }

    /// Calls `visit` with each field of an object, the name as it stands between its quotes.
    pub fn for_each_field(self, mut visit: impl FnMut(&'a [u8], Self)) {
        let _ = self.cursor().fields(|name, value| {
            visit(name, value.raw()?);
            Ok(())
        });
    }
}

/// A name as it is meant, of its bytes between the quotes; one that is no text is as it stands, with its odd bytes replaced.
pub(crate) fn unescaped_name(name: &[u8]) -> Cow<'_, str> {
    if let Some(name) = unescaped(name) {
        return Cow::Owned(name);
    }
    std::str::from_utf8(name).map_or_else(|_| String::from_utf8_lossy(name), Cow::Borrowed)
}

/// The same, to compare it with known names.
pub(crate) fn unescaped_bytes(name: &[u8]) -> Cow<'_, [u8]> {
    unescaped(name).map_or(Cow::Borrowed(name), |name| Cow::Owned(name.into_bytes()))
}

/// What a name with escapes means; `None` of any other.
fn unescaped(name: &[u8]) -> Option<String> {
    // Names are short, so a search that takes time to begin is not worth it.
    if !name.contains(&b'\\') {
        return None;
    }
    let quoted = [b"\"", name, b"\""].concat();
    serde_json::from_slice(&quoted).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

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

    fn parsed(raw: RawJson<'_>) -> Value {
        serde_json::from_slice(raw.bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn fields_and_elements_are_those_that_a_parser_finds(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            let raw = RawJson::parse(&text).unwrap();
            let mut fields = serde_json::Map::new();
            raw.for_each_field(|name, value| {
                let name = [b"\"", name, b"\""].concat();
                fields.insert(serde_json::from_slice(&name).unwrap(), parsed(value));
            });
            prop_assert_eq!(&fields, &value.as_object().cloned().unwrap_or_default());
            let mut elements = Vec::new();
            elements.extend(raw.elements().map(parsed));
            prop_assert_eq!(&elements, &value.as_array().cloned().unwrap_or_default());
            prop_assert_eq!(raw.first().map(parsed), elements.first().cloned());
            prop_assert_eq!(raw.unsigned(), value.as_u64());
            prop_assert_eq!(raw.text(), value.as_str().map(Cow::Borrowed));
            let plain = value.as_str().filter(|text| serde_json::to_string(text).unwrap().len() == text.len() + 2);
            prop_assert_eq!(raw.plain(), plain);
            prop_assert!(Cursor::new(&text).fields(|_, _| Ok(())).is_ok(), "an unread value is skipped");
            prop_assert!(Cursor::new(&text).elements(|_| Ok(())).is_ok(), "an unread value is skipped");
        }

        #[test]
        fn a_text_that_is_cut_is_malformed(value in json(), cut in 0.0..1.0_f64) {
            let text = serde_json::to_vec(&serde_json::json!([value])).unwrap();
            let cut = (text.len() as f64 * cut) as usize;
            prop_assert_eq!(RawJson::parse(&text[..cut]), Err(SyntaxError));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            if let Ok(raw) = RawJson::parse(&bytes) {
                let _ = (raw.text(), raw.plain(), raw.status(), raw.is_blank(), raw.first());
            }
            let _ = Cursor::new(&bytes).fields(|_, value| value.elements(|_| Ok(())));
        }
    }

    #[test]
    fn a_million_brackets_need_no_stack() {
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        assert!(RawJson::parse(deep.as_bytes()).is_ok());
        assert_eq!(RawJson::parse(&deep.as_bytes()[..999_999]), Err(SyntaxError));
    }

    #[test]
    fn values_that_say_nothing() {
        for blank in ["null", "false", "\"\"", "[]", "{}", "[ ]", "{\n}"] {
            assert!(RawJson::parse(blank.as_bytes()).unwrap().is_blank(), "{blank}");
        }
        for value in ["0", "true", "\" \"", "[0]", "{\"a\":null}"] {
            assert!(!RawJson::parse(value.as_bytes()).unwrap().is_blank(), "{value}");
        }
    }
}
