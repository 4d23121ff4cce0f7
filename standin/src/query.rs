//! Query parameters: read and written as Go does, and the two JSON shapes in which they stand in messages.

use std::collections::BTreeMap;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// Spaces become `+` afterwards, so they are left alone here.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(pub(crate) BTreeMap<String, Vec<String>>);

#[derive(Serialize, Deserialize)]
struct Parameter {
    name: String,
    #[serde(default)]
    details: Vec<String>,
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

    pub(crate) fn from_array(raw: &[u8]) -> Result<Query, String> {
        let read: Option<Vec<Parameter>> = serde_json::from_slice(raw).map_err(|error| error.to_string())?;
        Ok(Query(read.unwrap_or_default().into_iter().map(|one| (one.name, one.details)).collect()))
    }

    pub(crate) fn to_array(&self) -> Bytes {
        let parameter =
            |(name, details): (&String, &Vec<String>)| Parameter { name: name.clone(), details: details.clone() };
        let list: Vec<Parameter> = self.0.iter().map(parameter).collect();
        serde_json::to_vec(&list).map_or_else(|_| Bytes::from_static(b"[]"), Bytes::from)
    }

    pub(crate) fn to_object(&self) -> Bytes {
        serde_json::to_vec(&self.0).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
    }

    /// Puts `other` over this, whole parameters at a time, and returns those that were replaced, with their new values.
    pub(crate) fn overlay(&mut self, other: &Query) -> Query {
        let mut replaced = Query::default();
        for (name, values) in &other.0 {
            if self.0.insert(name.clone(), values.clone()).is_some() {
                replaced.0.insert(name.clone(), values.clone());
            }
        }
        replaced
    }

    /// Only the last value of each parameter.
    pub(crate) fn last_values(mut self) -> Query {
        for values in self.0.values_mut() {
            values.drain(..values.len().saturating_sub(1));
        }
        self
    }

    /// The parameters of this that `kept` does not have.
    pub(crate) fn lost(&self, kept: &Query) -> Query {
        let lost = self.0.iter().filter(|(name, _)| !kept.0.contains_key(*name));
        Query(lost.map(|(name, values)| (name.clone(), values.clone())).collect())
    }
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string().replace(' ', "+")
}

/// `None` if a `%` is not followed by two hexadecimal digits.
fn unescape(text: &str) -> Option<String> {
    let well_formed = text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes();
        digits.len() >= 2 && digits[0].is_ascii_hexdigit() && digits[1].is_ascii_hexdigit()
    });
    let spaced = text.replace('+', " ");
    well_formed.then(|| percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sorted_and_escaped_again() {
        assert_eq!(Query::parse("b=2&a=x+y&a=%26&bad=%zz&c").encode(), "a=x+y&a=%26&b=2&c=");
    }

    #[test]
    fn an_overlay_replaces_whole_parameters_and_tells_the_new_values() {
        let mut query = Query::parse("v=1&v=2&q=1");
        assert_eq!(query.overlay(&Query::parse("v=3&n=4")), Query::parse("v=3"));
        assert_eq!(query.encode(), "n=4&q=1&v=3");
    }
}
