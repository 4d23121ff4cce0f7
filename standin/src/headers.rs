//! Header sets as the gateway keeps them: exact names, each with its values in order.
//!
//! Names coming off the wire are in canonical spelling; names written by a configuration or a processor stay as written,
//! so a wrong spelling never matches. That is the gateway's behaviour, not a lapse.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// What stands in messages in place of a masked value.
const MASK: &str = "*****MASKED*****";

/// Never part of a header set: they belong to one connection's framing.
const FRAMING: [&str; 2] = ["Host", "Transfer-Encoding"];

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
        for name in FRAMING {
            set.remove(name);
        }
        Headers(set)
    }

    /// Reads a header set that a processor may have written; the error says what it is instead.
    pub(crate) fn from_json(raw: &[u8]) -> Result<Headers, String> {
        let read: Option<BTreeMap<String, Option<Vec<String>>>> =
            serde_json::from_slice(raw).map_err(|error| error.to_string())?;
        let set = read.unwrap_or_default();
        Ok(Headers(set.into_iter().map(|(name, values)| (name, values.unwrap_or_default())).collect()))
    }

    pub(crate) fn to_json(&self) -> Bytes {
        serde_json::to_vec(&self.0).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
    }

    /// The same set as others may see it.
    pub(crate) fn masked(&self, masked: &Names) -> Headers {
        let hide = |(name, values): (&String, &Vec<String>)| {
            let values = if masked.contains(name) { vec![MASK.to_owned(); values.len()] } else { values.clone() };
            (name.clone(), values)
        };
        Headers(self.0.iter().map(hide).collect())
    }

    /// Masked names are nobody's to write: their values come from `truth` only.
    pub(crate) fn restore_masked(&mut self, masked: &Names, truth: &Headers) {
        self.0.retain(|name, _| !masked.contains(name));
        let real = truth.0.iter().filter(|(name, _)| masked.contains(*name));
        self.0.extend(real.map(|(name, values)| (name.clone(), values.clone())));
    }

    /// Takes `names` out and returns those that were there. Masked ones are named but stay: so the gateway does it.
    pub(crate) fn remove(&mut self, names: &Names, masked: &Names) -> Names {
        let present: Names = names.iter().filter(|name| self.0.contains_key(*name)).cloned().collect();
        self.0.retain(|name, _| !present.contains(name) || masked.contains(name));
        present
    }

    /// The names of this set that are neither in `kept` nor in `removed`.
    pub(crate) fn lost(&self, kept: &Headers, removed: &Names) -> Names {
        self.0.keys().filter(|name| !kept.0.contains_key(*name) && !removed.contains(*name)).cloned().collect()
    }

    /// Appends every header to `map`; a name or value that HTTP forbids is an error.
    pub(crate) fn write(&self, map: &mut HeaderMap) -> Result<(), hyper::http::Error> {
        for (name, values) in &self.0 {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            for value in values {
                map.append(&name, HeaderValue::from_str(value)?);
            }
        }
        Ok(())
    }

    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }
}

/// `{"Content-Length":[]}`: how the gateway lists names that it took out.
pub(crate) fn names_json(names: &Names) -> Bytes {
    let empty: BTreeMap<&String, [u8; 0]> = names.iter().map(|name| (name, [])).collect();
    serde_json::to_vec(&empty).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
}

/// `x-ratelimit-reset` becomes `X-Ratelimit-Reset`.
pub(crate) fn canonical(name: &str) -> String {
    let mut upper = true;
    let spell = |c: char| {
        let spelled = if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        upper = c == '-';
        spelled
    };
    name.chars().map(spell).collect()
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
    fn masked_names_come_from_the_truth_only() {
        let mut written = set(&[("Api-Key", "forged"), ("Content-Type", "text/plain")]);
        written.restore_masked(&names(&["Api-Key", "Authorization"]), &set(&[("Authorization", "real"), ("X", "1")]));
        assert_eq!(written, set(&[("Authorization", "real"), ("Content-Type", "text/plain")]));
    }

    #[test]
    fn removal_needs_the_exact_spelling_and_spares_masked_names() {
        let mut headers = set(&[("Api-Key", "1"), ("Content-Length", "2"), ("X-Other", "3")]);
        let removed = headers.remove(&names(&["Api-Key", "Content-Length", "x-other"]), &names(&["Api-Key"]));
        assert_eq!(removed, names(&["Api-Key", "Content-Length"]));
        assert_eq!(headers, set(&[("Api-Key", "1"), ("X-Other", "3")]));
    }
}
