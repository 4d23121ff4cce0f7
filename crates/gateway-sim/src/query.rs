//! Query parameters: read and written as Go does, and the two JSON shapes in which they stand in messages.

use std::collections::BTreeMap;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::path;

/// Spaces become `+` afterwards, so they are left alone here.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(pub(crate) BTreeMap<String, Vec<String>>);

#[derive(Serialize)]
struct Parameter<'a> {
    name: &'a str,
    details: &'a [String],
}

impl Query {
    /// Pairs that are not well formed are dropped, as Go drops them.
    pub(crate) fn parse(text: &str) -> Query {
        let mut query = Query::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(name), Some(value)) = (unescape(name), unescape(value)) {
                query.0.entry(name).or_default().push(value);
            }
        }
        query
    }

    /// Sorted and escaped; empty for no parameters.
    pub(crate) fn encode(&self) -> String {
        let pair = |(name, values): (&String, &Vec<String>)| {
            let name = escape(name);
            values.iter().map(|value| format!("{name}={}", escape(value))).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(pair).collect::<Vec<_>>().join("&")
    }

    /// As Go decodes it: `null` is no parameter, no value or an empty text, by where it stands; `details` must be there.
    pub(crate) fn from_array(json: &str) -> Result<Query, String> {
        #[derive(Deserialize)]
        struct NamedValues {
            name: Option<String>,
            #[serde(deserialize_with = "Option::deserialize")]
            details: Option<Vec<Option<String>>>,
        }
        let read: Option<Vec<NamedValues>> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let values = |details: Option<Vec<Option<String>>>| {
            details.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect()
        };
        let pair = |one: NamedValues| (one.name.unwrap_or_default(), values(one.details));
        Ok(Query(read.unwrap_or_default().into_iter().map(pair).collect()))
    }

    pub(crate) fn to_array(&self) -> Bytes {
        let list: Vec<_> = self.0.iter().map(|(name, details)| Parameter { name, details }).collect();
        serde_json::to_vec(&list).map_or_else(|_| Bytes::from_static(b"[]"), Bytes::from)
    }

    pub(crate) fn to_object(&self) -> Bytes {
        serde_json::to_vec(&self.0).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
    }

    /// Puts `other` over this, whole parameters at a time, and adds the new values of those that were replaced to
    /// `replaced`.
    pub(crate) fn overwrite_with(&mut self, other: &Query, replaced: &mut Query) {
        for (name, values) in &other.0 {
            if self.0.insert(name.clone(), values.clone()).is_some() {
                replaced.0.entry(name.clone()).or_default().extend(values.iter().cloned());
            }
        }
    }

    /// Only the last value of each parameter.
    pub(crate) fn last_values(mut self) -> Query {
        for values in self.0.values_mut() {
            values.drain(..values.len().saturating_sub(1));
        }
        self
    }

    /// The parameters of this that `kept` does not have.
    pub(crate) fn names_not_in(&self, kept: &Query) -> Query {
        let lost = self.0.iter().filter(|(name, _)| !kept.0.contains_key(*name));
        Query(lost.map(|(name, values)| (name.clone(), values.clone())).collect())
    }
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string().replace(' ', "+")
}

fn unescape(text: &str) -> Option<String> {
    path::decode(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sorted_and_escaped_again() {
        assert_eq!(Query::parse("b=2&a=x+y&a=%26&bad=%zz&c").encode(), "a=x+y&a=%26&b=2&c=");
    }

    #[test]
    fn an_overlay_replaces_whole_parameters_and_collects_the_new_values() {
        let (mut query, mut replaced) = (Query::parse("v=1&v=2&q=1"), Query::default());
        query.overwrite_with(&Query::parse("v=3&n=4"), &mut replaced);
        query.overwrite_with(&Query::parse("v=5"), &mut replaced);
        assert_eq!(replaced, Query::parse("v=3&v=5"));
        assert_eq!(query.encode(), "n=4&q=1&v=5");
    }

    #[test]
    fn parameters_are_decoded_as_go_decodes_them() {
        let read = |json| Query::from_array(json).map(|query| query.encode());
        assert_eq!(read("null").unwrap(), "");
        assert_eq!(read(r#"[{"name":"a","details":["1",null]},{"name":"b","details":null}]"#).unwrap(), "a=1&a=");
        assert_eq!(read(r#"[{"name":"a","details":["1"]},{"name":"a","details":["2"]}]"#).unwrap(), "a=2");
        for wrong in ["{}", "[1]", r#"[{"name":"a"}]"#, r#"[{"name":"a","details":"1"}]"#, "[null]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
