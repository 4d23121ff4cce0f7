//! The flat object that processors see and the log holds: field name to raw JSON.
//!
//! Values are never parsed here, only carried; payloads are shared, not copied.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::config::{Filter, Processor};
use crate::payload;

#[derive(Clone, Debug, Default)]
pub(crate) struct Object(BTreeMap<Cow<'static, str>, Bytes>);

/// What a processor answered.
pub(crate) type Reply = BTreeMap<String, Bytes>;

impl Object {
    pub(crate) fn get(&self, field: &str) -> Option<&Bytes> {
        self.0.get(field)
    }

    pub(crate) fn set(&mut self, field: &'static str, json: impl Into<Bytes>) {
        self.0.insert(Cow::Borrowed(field), json.into());
    }

    pub(crate) fn set_text(&mut self, field: &'static str, text: &str) {
        self.set(field, payload::string(text));
    }

    /// The bus form of the fields that pass; `None` if none do.
    pub(crate) fn select(&self, filter: &Filter) -> Option<Vec<u8>> {
        let mut out = vec![b'{'];
        for (name, json) in self.0.iter().filter(|(name, _)| filter.passes(name) == Some(true)) {
            begin_field(name, &mut out);
            payload::compact(json, &mut out);
        }
        out.push(b'}');
        (out.len() > 2).then_some(out)
    }

    /// Applies what `processor` may write: a modifier replaces and never adds, an annotator adds and never replaces.
    pub(crate) fn merge(&mut self, processor: &Processor, reply: Reply) {
        for (name, json) in reply {
            let fits = self.0.contains_key(name.as_str()) == processor.modifier;
            if fits && processor.writes.has(&name) == Some(true) {
                self.0.insert(Cow::Owned(name), json);
            }
        }
    }
}

/// Writes `"name":`, behind a comma unless it is the first field of the object that `out` ends in.
fn begin_field(name: &str, out: &mut Vec<u8>) {
    if out.len() > 1 {
        out.push(b',');
    }
    payload::compact(&payload::string(name), out);
    out.push(b':');
}

/// A string as Go decodes it: `null` is empty, and the error says what else it is.
pub(crate) fn read_text(json: &str) -> Result<String, String> {
    let text: Option<String> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    Ok(text.unwrap_or_default())
}

/// Reads a reply: the last of equal names wins, `null` is an empty object. The error is the one of JSON.
///
/// Values are kept byte for byte, invalid UTF-8 included: every byte is read as the character of that number, so that all
/// are text to the parser, and turned back. JSON's own signs are ASCII and not affected.
pub(crate) fn read_reply(bytes: &Bytes) -> Result<Reply, String> {
    if bytes.is_empty() {
        return Ok(Reply::new());
    }
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let fields: Option<BTreeMap<String, &RawValue>> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let own =
        |(name, json): (String, &RawValue)| (name, json.get().chars().filter_map(|c| u8::try_from(c).ok()).collect());
    Ok(fields.unwrap_or_default().into_iter().map(own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_that_say_nothing_are_empty_and_others_are_errors() {
        for empty in ["", "{}", "null", " null "] {
            assert!(read_reply(&Bytes::from_static(empty.as_bytes())).unwrap().is_empty(), "{empty}");
        }
        for wrong in ["[]", "\"a\"", "1", "{\"a\":nope", "{} x", "\u{feff}{}"] {
            assert!(read_reply(&Bytes::copy_from_slice(wrong.as_bytes())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_of_equal_names_wins_and_names_keep_their_case() {
        let reply = read_reply(&Bytes::from_static(br#"{"a":1,"A":2,"a": {"b" : 3} }"#)).unwrap();
        assert_eq!(reply["a"], r#"{"b" : 3}"#);
        assert_eq!(reply["A"], "2");
    }

    #[test]
    fn values_are_kept_byte_for_byte() {
        let reply = read_reply(&Bytes::from_static(b"{\"a\": \"\xff\xc3\xa9\\u00e9\" ,\"\xff\":1}")).unwrap();
        assert_eq!(reply["a"], &b"\"\xff\xc3\xa9\\u00e9\""[..]);
        assert_eq!(reply.len(), 2);
    }
}
