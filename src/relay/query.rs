//! The query of a client's request on its way to a target with an address of its own: what the target's settings say wins over
//! every spelling of the same name, and credentials stay here.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::credentials::{folded, is_credential, selects_account};

/// What stands in a query as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A name is decoded at most this often; a name that is still encoded then does not go on.
const MAX_DECODINGS: usize = 4;

/// The fields that a target's settings say.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct OwnQuery(Vec<Field>);

#[derive(Clone, PartialEq, Eq)]
struct Field {
    /// The name as names are compared.
    folded: String,
    /// Name and value, encoded.
    text: String,
}

impl OwnQuery {
    /// Adds a field, neither part of it encoded.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
        self.0.push(Field { folded: folded(name), text: format!("{}={}", encode(name), encode(value)) });
    }

    /// Adds a field whose parts are encoded already, unless there is one of this name.
    pub(super) fn add_encoded(&mut self, name: &str, value: &str) {
        let folded = folded(&percent_decode_str(name).decode_utf8_lossy());
        if self.0.iter().all(|own| own.folded != folded) {
            self.0.push(Field { folded, text: format!("{name}={value}") });
        }
    }

    /// Whether a key of the settings is among them.
    pub(super) fn has_credential(&self) -> bool {
        self.0.iter().any(|own| is_credential(&own.folded))
    }

    /// The client's query with these fields instead of its own of the same names, and without its credentials, and what chooses
    /// an account of them, unless `forwards`. What stays of the client's stays byte for byte.
    pub(super) fn merged(&self, client: Option<&str>, forwards: bool) -> Option<String> {
        let client = client.into_iter().flat_map(|query| query.split('&')).filter_map(|fields| {
            // Some servers take ; for &.
            let kept: Vec<_> = fields.split(';').filter(|field| self.lets_pass(field, forwards)).collect();
            let kept = kept.join(";");
            (!kept.is_empty()).then_some(kept)
        });
        let own = self.0.iter().map(|field| field.text.clone());
        let all: Vec<_> = client.chain(own).collect();
        (!all.is_empty()).then(|| all.join("&"))
    }

    fn lets_pass(&self, field: &str, forwards: bool) -> bool {
        let Some(name) = name(field) else { return false };
        self.0.iter().all(|own| own.folded != name) && (forwards || !(is_credential(&name) || selects_account(&name)))
    }
}

/// The name of a client's field as names are compared; `None` if it is encoded more than [`MAX_DECODINGS`] times over. An index in
/// brackets is not part of it: some servers read `a[]` and `a[0]` as `a`.
fn name(field: &str) -> Option<String> {
    let mut name = field.split('=').next().unwrap_or_default().to_owned();
    for _ in 0..=MAX_DECODINGS {
        let decoded = percent_decode_str(&name).decode_utf8_lossy();
        if decoded == name {
            let indexed = name.split('[').next().filter(|before| !before.is_empty()).unwrap_or(&name);
            return Some(folded(indexed));
        }
        name = decoded.into_owned();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn azure() -> OwnQuery {
        let mut own = OwnQuery::default();
        own.set("api-version", "2024-02-01");
        own
    }

    #[test]
    fn the_settings_win_over_every_spelling_of_a_name() {
        for spelling in [
            "api-version=evil",
            "api%2Dversion=evil",
            "api%2dversion=evil",
            "%61pi-version=evil",
            "api%252Dversion=evil",
            "api%25252Dversion=evil",
            "API-VERSION=evil",
            "Api%2DVersion=evil",
            "api-version=evil&api-version=worse",
            "api-version",
            "+api-version=evil",
            "api-version+=evil",
            "api-version%20=evil",
            "api-version%00=evil",
            "api_version=evil",
            "api-version[]=evil",
            "api-version%5B0%5D=evil",
            ";api-version=evil",
            "api-version=evil;api-version=worse",
            "api%FF-version=evil",
            "%2525252525252561pi-version=evil",
        ] {
            assert_eq!(azure().merged(Some(spelling), false).as_deref(), Some("api-version=2024-02-01"), "{spelling}");
            let between = format!("a=1&{spelling}&b=2");
            let merged = azure().merged(Some(&between), true);
            assert_eq!(merged.as_deref(), Some("a=1&b=2&api-version=2024-02-01"), "{spelling}");
        }
        let merged = azure().merged(Some("a=1;api-version=evil;b"), false);
        assert_eq!(merged.as_deref(), Some("a=1;b&api-version=2024-02-01"));
    }

    #[test]
    fn everything_else_of_the_client_stays_as_it_is() {
        for query in
            ["a=1&b", "a%20b=1%262%3D3&a=+", "versions=api-version", "a=b=c", "q=%25", "q[]=1&q[]=2", "%zz=1", "ä=ö"]
        {
            assert_eq!(OwnQuery::default().merged(Some(query), false).as_deref(), Some(query));
            let expected = format!("{query}&api-version=2024-02-01");
            assert_eq!(azure().merged(Some(query), false), Some(expected));
        }
        for nothing in [None, Some(""), Some("&&")] {
            assert_eq!(OwnQuery::default().merged(nothing, false), None, "{nothing:?}");
        }
        let mut odd = OwnQuery::default();
        odd.set("a b", "1&2=3");
        assert_eq!(odd.merged(None, false).as_deref(), Some("a%20b=1%262%3D3"));
    }

    #[test]
    fn a_field_that_the_settings_say_is_not_added_again() {
        let mut own = azure();
        own.add_encoded("Api%2DVersion", "2023-05-15");
        own.add_encoded("alt", "sse");
        assert_eq!(own.merged(None, false).as_deref(), Some("api-version=2024-02-01&alt=sse"));
    }

    #[test]
    fn credentials_stay_here_unless_they_are_forwarded() {
        for field in [
            "key=s",
            "api_key=s",
            "api%5Fkey=s",
            "KEY=s",
            "subscription-key=s",
            "X-Amz-Security-Token=s",
            "sig=s",
            "access%255ftoken=s",
        ] {
            let query = format!("a=1&{field}");
            assert_eq!(OwnQuery::default().merged(Some(&query), false).as_deref(), Some("a=1"), "{field}");
            assert_eq!(OwnQuery::default().merged(Some(&query), true), Some(query));
        }
        let mut own = OwnQuery::default();
        own.set("key", "own");
        assert_eq!(own.merged(Some("key=theirs"), true).as_deref(), Some("key=own"));
        assert_eq!(own.merged(Some("key=theirs"), false).as_deref(), Some("key=own"), "the target's own goes out");
    }

    proptest! {
        #[test]
        fn a_name_that_a_server_reads_as_ours_does_not_pass(encode in prop::collection::vec(any::<bool>(), 11), upper: bool, twice: bool) {
            let mut spelled = String::new();
            for (letter, encode) in "api-version".chars().zip(encode) {
                let letter = if upper { letter.to_ascii_uppercase() } else { letter };
                if encode { spelled.push_str(&format!("%{:02x}", letter as u32)); } else { spelled.push(letter); }
            }
            if twice {
                spelled = spelled.replace('%', "%25");
            }
            let merged = azure().merged(Some(&format!("{spelled}=evil")), true);
            prop_assert_eq!(merged.as_deref(), Some("api-version=2024-02-01"));
        }
    }
}
