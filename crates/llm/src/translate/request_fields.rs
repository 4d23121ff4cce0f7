//! The fields at the top of a request, read in one pass for everything that is asked of them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{TranslateError, invalid};
use crate::json::{Cursor, RawJson, unescaped_name, without_mark};
use crate::request_view::MAX_FIELDS;

/// The fields at the top of a body that is one JSON object, in their order; of one that stands twice the last one.
#[derive(Debug, Clone)]
pub struct RequestFields<'a> {
    body: &'a [u8],
    list: Vec<(Cow<'a, str>, RawJson<'a>)>,
    are_too_many: bool,
    /// All of the body is known to be JSON, not only where its values begin and end.
    is_checked: bool,
    model: Option<RawJson<'a>>,
    stream: Option<RawJson<'a>>,
}

impl<'a> RequestFields<'a> {
    /// Reads a body; `None` if it is anything but one JSON object.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let mut read = Self::new(body);
        let mut cursor = Cursor::new(body);
        if cursor.peek() != Some(b'{') {
            return None;
        }
        let whole = cursor.fields(|name, value| {
            read.add(unescaped_name(name), value.raw()?);
            Ok(())
        });
        (whole.is_ok() && cursor.is_at_end()).then_some(read)
    }

    /// The same of a body of which parts become another body, so that all of it must be JSON.
    pub(crate) fn read_checked(body: &'a [u8]) -> Option<Self> {
        let mut json = serde_json::Deserializer::from_slice(without_mark(body));
        let mut read = Self { is_checked: true, ..Self::new(body) };
        json.deserialize_map(FieldVisitor(&mut read)).and_then(|()| json.end()).is_ok().then_some(read)
    }

    /// Whether all of the body is JSON.
    pub(super) fn are_checked(&self) -> bool {
        self.is_checked || serde_json::from_slice::<IgnoredAny>(without_mark(self.body)).is_ok()
    }

    fn new(body: &'a [u8]) -> Self {
        let list = Vec::with_capacity(16);
        Self { body, list, are_too_many: false, is_checked: false, model: None, stream: None }
    }

    fn add(&mut self, name: Cow<'a, str>, value: RawJson<'a>) {
        match &*name {
            "model" => self.model = Some(value),
            "stream" => self.stream = Some(value),
            _ => {}
        }
        if self.are_too_many {
            return;
        }
        if let Some((_, known)) = self.list.iter_mut().find(|(other, _)| *other == name) {
            *known = value;
        } else if self.list.len() < MAX_FIELDS {
            self.list.push((name, value));
        } else {
            self.are_too_many = true;
        }
    }

    /// The whole body.
    pub(crate) const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The model's name; empty where there is none.
    pub fn model(&self) -> Cow<'a, str> {
        self.model.and_then(RawJson::text).unwrap_or_default()
    }

    /// Whether a stream is asked for.
    pub fn is_stream(&self) -> bool {
        self.stream.is_some_and(RawJson::is_true)
    }

    /// Whether the usage is asked for at the end of a stream.
    pub(super) fn includes_usage(&self) -> bool {
        self.get("stream_options").and_then(|options| options.field("include_usage")).is_some_and(RawJson::is_true)
    }

    /// All fields.
    pub(crate) fn list(&self) -> &[(Cow<'a, str>, RawJson<'a>)] {
        &self.list
    }

    /// A field that is there and not null.
    pub(crate) fn get(&self, name: &str) -> Option<RawJson<'a>> {
        self.list.iter().find(|(other, _)| other == name).map(|(_, value)| *value).filter(|value| !value.is_null())
    }

    /// The number of fields before that one.
    pub(crate) fn position(&self, name: &str) -> usize {
        self.list.iter().position(|(other, _)| other == name).unwrap_or(usize::MAX)
    }

    /// The fields of a request that is translated.
    ///
    /// # Errors
    /// It is no request: `fields` is `None`, it is no text in UTF-8, or there are more than [`MAX_FIELDS`].
    pub(super) fn of_request(fields: Option<Self>) -> Result<Self, TranslateError> {
        let fields = fields.filter(|fields| fields.is_checked || std::str::from_utf8(fields.body).is_ok());
        let fields = fields.ok_or_else(TranslateError::not_an_object)?;
        if fields.are_too_many {
            return Err(invalid("body", format!("must have at most {MAX_FIELDS} fields")));
        }
        Ok(fields)
    }
}

/// Adds the fields of an object.
struct FieldVisitor<'r, 'a>(&'r mut RequestFields<'a>);

impl<'a> Visitor<'a> for FieldVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(FieldName(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            self.0.add(name, value.into());
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct FieldName<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_counts_and_keeps_the_first_place() {
        let body = br#"{"model":"a","x":1,"mod\u0065l":"b","stream":true,"y":null}"#;
        let fields = RequestFields::read(body).unwrap();
        let names: Vec<_> = fields.list().iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["model", "x", "stream", "y"]);
        assert_eq!((fields.model().as_ref(), fields.is_stream()), ("b", true));
        assert_eq!((fields.get("y"), fields.position("x"), fields.position("z")), (None, 1, usize::MAX));
        for body in ["", "[]", "7", "{", r#"{"a":1} x"#, r#"{"a":1}{}"#] {
            assert!(RequestFields::read(body.as_bytes()).is_none(), "{body}");
            assert!(RequestFields::read_checked(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn what_is_checked_has_the_same_fields_and_is_json_throughout() {
        for body in [
            r#"{"model":"a","x":1,"mod\u0065l":"b","stream":true,"y":null}"#,
            "\u{feff} { \"messages\" : [ {\"a\": \"\\\"}\"} ] , \"n\" : 1.5e3 } ",
            "{}",
        ] {
            let (read, checked) = (RequestFields::read(body.as_bytes()), RequestFields::read_checked(body.as_bytes()));
            let (read, checked) = (read.unwrap(), checked.unwrap());
            let values = |fields: &RequestFields<'_>| {
                fields
                    .list()
                    .iter()
                    .map(|(name, value)| (name.clone().into_owned(), value.bytes().to_vec()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(values(&read), values(&checked), "{body}");
            assert_eq!((read.model(), read.is_stream()), (checked.model(), checked.is_stream()), "{body}");
            assert!(read.are_checked() && checked.are_checked(), "{body}");
        }
        for body in
            [r#"{"a":[1 2]}"#, r#"{"a":tru}"#, r#"{"a":"\x"}"#, "{\"a\":\"\n\"}", r#"{"a":{"b"}}"#, r#"{"a":01}"#]
        {
            assert!(RequestFields::read_checked(body.as_bytes()).is_none(), "{body}");
            assert!(!RequestFields::read(body.as_bytes()).is_some_and(|fields| fields.are_checked()), "{body}");
        }
    }

    #[test]
    fn a_body_of_too_many_fields_still_has_its_model_and_is_not_translated() {
        let many: String = (0..2 * MAX_FIELDS).map(|number| format!("\"f{number}\":1,")).collect();
        let body = format!("{{{many}\"model\":\"a\",\"stream\":true}}");
        let fields = RequestFields::read(body.as_bytes()).unwrap();
        assert_eq!((fields.list().len(), fields.model().as_ref(), fields.is_stream()), (MAX_FIELDS, "a", true));
        let refused = RequestFields::of_request(Some(fields)).unwrap_err().to_string();
        assert_eq!(refused, "body: must have at most 1024 fields");
        assert!(RequestFields::of_request(RequestFields::read(b"{\"a\":\"\xFF\"}")).is_err());
    }
}
