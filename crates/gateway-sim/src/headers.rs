//! Header sets as the gateway keeps them: exact names, each with its values in order.
//!
//! Names coming off the wire are in canonical spelling. Names written by a configuration or a processor stay as written
//! until the set is sent, so a wrong spelling never matches a masked, removed or static name: that is the gateway's
//! behaviour.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use gecholog_protocol::gl_config;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// What stands in messages in place of a masked value.
const MASK: &str = "*****MASKED*****";

/// Never part of a header set: they belong to one connection's framing.
const FRAMING: [&str; 2] = ["Host", "Transfer-Encoding"];

/// Framing too, but Go takes these out of chunked messages only.
const CHUNKED_FRAMING: [&str; 2] = ["Content-Length", "Trailer"];

pub(crate) type Names = BTreeSet<String>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) BTreeMap<String, Vec<String>>);

impl Headers {
    pub(crate) fn from_wire(map: &HeaderMap) -> Headers {
        let mut set = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in map {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            set.entry(canonical(name.as_str())).or_default().push(value);
        }
        if set.contains_key("Transfer-Encoding") {
            set.retain(|name, _| !CHUNKED_FRAMING.contains(&name.as_str()));
        }
        for name in FRAMING {
            set.remove(name);
        }
        // Go's reading of RFC 7234, section 5.4.
        if set.get("Pragma").is_some_and(|values| values[0] == "no-cache") {
            set.entry("Cache-Control".to_owned()).or_insert_with(|| vec!["no-cache".to_owned()]);
        }
        Headers(set)
    }

    /// Reads a header set that a processor may have written; the error says what it is instead. As in Go, `null` is an
    /// empty set, an empty list or an empty value, by where it stands.
    pub(crate) fn from_json(json: &str) -> Result<Headers, String> {
        let read: Option<BTreeMap<String, Option<Vec<Option<String>>>>> =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        let text = |values: Option<Vec<Option<String>>>| {
            values.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect()
        };
        Ok(Headers(read.unwrap_or_default().into_iter().map(|(name, values)| (name, text(values))).collect()))
    }

    pub(crate) fn to_json(&self) -> Bytes {
        serde_json::to_vec(&self.0).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
    }

    /// The same set as messages show it: a masked header has one masked value, however many it has.
    pub(crate) fn masked(&self, masked: &Names) -> Headers {
        let hide = |(name, values): (&String, &Vec<String>)| {
            let values = if masked.contains(name) { vec![MASK.to_owned()] } else { values.clone() };
            (name.clone(), values)
        };
        Headers(self.0.iter().map(hide).collect())
    }

    /// The set as it is sent, in canonical spelling: masked headers come from `truth`, all others from `self`.
    pub(crate) fn to_send(&self, masked: &Names, truth: &Headers) -> Headers {
        let mut sent = Headers::default();
        sent.append(truth.0.iter().filter(|(name, _)| masked.contains(*name)));
        sent.append(self.0.iter().filter(|(name, _)| !masked.contains(*name)));
        sent
    }

    /// Adds each value under the canonical spelling of its name. Headers without a value are not added.
    fn append<'a>(&mut self, headers: impl Iterator<Item = (&'a String, &'a Vec<String>)>) {
        for (name, values) in headers.filter(|(_, values)| !values.is_empty()) {
            self.0.entry(canonical(name)).or_default().extend(values.iter().cloned());
        }
    }

    /// Removes `names` and returns those that were there.
    pub(crate) fn remove(&mut self, names: &Names) -> Names {
        let present: Names = names.iter().filter(|name| self.0.contains_key(*name)).cloned().collect();
        self.0.retain(|name, _| !present.contains(name));
        present
    }

    /// The names of this set that are neither in `kept` nor in `removed`.
    pub(crate) fn names_not_in(&self, kept: &Headers, removed: &Names) -> Names {
        self.0.keys().filter(|name| !kept.0.contains_key(*name) && !removed.contains(*name)).cloned().collect()
    }

    /// Appends every header to `map`; a name or value that HTTP forbids is an error, as in Go's client.
    pub(crate) fn write(&self, map: &mut HeaderMap) -> Result<(), hyper::http::Error> {
        for (name, values) in &self.0 {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            for value in values {
                map.append(&name, HeaderValue::from_str(value)?);
            }
        }
        Ok(())
    }

    /// Appends what HTTP allows to `map`, as Go's server does: a name that it forbids is left out, a line end in a value
    /// becomes a space. Values with other control characters are left out too, which Go would send.
    pub(crate) fn write_allowed(&self, map: &mut HeaderMap) {
        for (name, values) in &self.0 {
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
            for value in values {
                let line = value.replace(['\r', '\n'], " ");
                if let Ok(value) = HeaderValue::from_str(line.trim_matches([' ', '\t'])) {
                    map.append(&name, value);
                }
            }
        }
    }

    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }
}

/// `{"Content-Length":[]}`: how the gateway lists names that it removed. It lists them as headers, so a masked one has a
/// masked value.
pub(crate) fn names_json(names: &Names, masked: &Names) -> Bytes {
    Headers(names.iter().map(|name| (name.clone(), Vec::new())).collect()).masked(masked).to_json()
}

/// `x-ratelimit-reset` becomes `X-Ratelimit-Reset`. What cannot be a header name stays as it is.
pub(crate) fn canonical(name: &str) -> String {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return name.to_owned();
    }
    gl_config::canonical(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect())
    }

    fn names(names: &[&str]) -> Names {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_are_spelled_as_go_spells_them() {
        assert_eq!(canonical("x-ratelimit-REMAINING-tokens"), "X-Ratelimit-Remaining-Tokens");
        assert_eq!(canonical("te"), "Te");
    }

    #[test]
    fn masked_names_come_from_the_truth_only_and_the_rest_in_canonical_spelling() {
        let written = set(&[("Api-Key", "forged"), ("content-type", "text/plain"), ("Content-Type", "a/b")]);
        let sent = written.to_send(
            &names(&["Api-Key", "Authorization"]),
            &set(&[("Authorization", "real"), ("X", "1"), ("api-key", "not masked in this spelling")]),
        );
        let mut expected = set(&[("Authorization", "real")]);
        expected.0.insert("Content-Type".to_owned(), vec!["a/b".to_owned(), "text/plain".to_owned()]);
        assert_eq!(sent, expected);
    }

    #[test]
    fn removal_needs_the_exact_spelling() {
        let mut headers = set(&[("Api-Key", "1"), ("Content-Length", "2"), ("X-Other", "3")]);
        let removed = headers.remove(&names(&["Api-Key", "Content-Length", "x-other"]));
        assert_eq!(removed, names(&["Api-Key", "Content-Length"]));
        assert_eq!(headers, set(&[("X-Other", "3")]));
    }

    #[test]
    fn a_masked_header_shows_one_masked_value() {
        let mut headers = Headers::default();
        headers.0.insert("Api-Key".to_owned(), vec!["1".to_owned(), "2".to_owned()]);
        headers.0.insert("X".to_owned(), vec!["1".to_owned(), "2".to_owned()]);
        let masked = names(&["Api-Key"]);
        assert_eq!(headers.masked(&masked).to_json(), r#"{"Api-Key":["*****MASKED*****"],"X":["1","2"]}"#);
        assert_eq!(names_json(&names(&["Api-Key", "X"]), &masked), r#"{"Api-Key":["*****MASKED*****"],"X":[]}"#);
    }

    #[test]
    fn a_server_writes_what_http_allows_and_a_client_refuses_the_rest() {
        let headers = set(&[("X-Line", "a\r\nb\n"), ("bad name", "1"), ("X-Good", "1"), ("X-Control", "a\u{1}b")]);
        assert!(headers.write(&mut HeaderMap::new()).is_err());
        let mut map = HeaderMap::new();
        headers.write_allowed(&mut map);
        assert_eq!((map.len(), &map["x-line"], &map["x-good"]), (2, &"a  b".parse().unwrap(), &"1".parse().unwrap()));
    }

    #[test]
    fn what_is_framing_depends_on_the_message() {
        let wire = |pairs: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.append(*name, HeaderValue::from_static(value));
            }
            Headers::from_wire(&map)
        };
        assert_eq!(wire(&[("host", "h"), ("trailer", "x")]), set(&[("Trailer", "x")]));
        assert_eq!(wire(&[("transfer-encoding", "chunked"), ("trailer", "x"), ("te", "t")]), set(&[("Te", "t")]));
        assert_eq!(wire(&[("pragma", "no-cache")]), set(&[("Cache-Control", "no-cache"), ("Pragma", "no-cache")]));
    }
}
