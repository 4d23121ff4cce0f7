//! Decides which part of an invalid value a fault may show: nothing that may be a secret.
//!
//! The values of a target's headers and query are sent to it and often are its key, whatever their type by mistake; so
//! may be a value with a name like a key's, anywhere; and a URL can have a password before its `@`.

/// Keys of a target below which nothing is shown.
pub(super) const SENT: [&str; 3] = ["headers", "query", "remove_headers"];
/// Parts of the names of secrets, in lower case and without separators of words.
const NAMES: [&str; 12] = [
    "accesskey",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "passphrase",
    "password",
    "privatekey",
    "secret",
    "subscriptionkey",
    "token",
    "virtualkey",
];
/// Prefixes of the vendors' keys, in lower case.
const KEY_PREFIXES: [&str; 18] = [
    "sk-",
    "sk_",
    "pk-",
    "rk_",
    "akia",
    "asia",
    "aiza",
    "eyj",
    "ya29",
    "ghp_",
    "github_pat_",
    "gsk_",
    "hf_",
    "xai-",
    "pplx-",
    "nvapi-",
    "absk",
    "r8_",
];
/// The most changes between small letters, capitals and digits in a word that a person wrote: `gpt4o` has two.
const MAX_CHANGES: usize = 3;
/// The most letters and digits of a word without a separator.
const MAX_RUN_CHARS: usize = 24;
/// The longest value that is shown where one of a few names belongs, in bytes.
const MAX_CHOICE_BYTES: usize = 40;
/// The longest name of a header or a parameter that is shown, in bytes; longer ones are not names.
const MAX_NAME_BYTES: usize = 64;

/// Whether the value of a field with this name may be secret.
pub(super) fn is_name_of_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    // Numbers of tokens, such as max_tokens, are not secret.
    let plain = plain.replace("tokens", "");
    NAMES.iter().any(|part| plain.contains(part))
}

/// Whether a text has a user or a password in a URL, such as `https://user:password@host`.
pub(super) fn has_user(text: &str) -> bool {
    text.match_indices("://").any(|(at, mark)| {
        let rest = text.get(at + mark.len()..).unwrap_or_default();
        let authority = rest.split(['/', '?', '#', '"', ' ', ',']).next().unwrap_or_default();
        authority.contains('@') || rest.split(['"', ' ', ',']).next().unwrap_or_default().contains('@')
    })
}

/// A value as it may be shown, if it may: without a user in a URL and without a word that looks like a key.
pub(super) fn shown(value: String) -> Option<String> {
    (!has_user(&value) && !has_key(&value)).then_some(value)
}

/// A value where one of a few names belongs, if it may be shown: only what could be such a name, misspelt.
pub(super) fn shown_choice(value: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (value.len() <= MAX_CHOICE_BYTES && value.bytes().all(plain) && !has_key(value)).then_some(value)
}

/// Whether a part of a text looks like a key: it begins like vendors' keys, or looks random.
fn has_key(text: &str) -> bool {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')));
    words.into_iter().any(|word| {
        let lower = word.to_ascii_lowercase();
        KEY_PREFIXES.iter().any(|prefix| lower.len() > prefix.len() && lower.starts_with(prefix)) || is_random(word)
    })
}

/// Whether a word changes between small letters, capitals and digits as words, dates and versions do not.
fn is_random(word: &str) -> bool {
    let runs = word.split(['-', '_']);
    let longest = runs.clone().map(str::len).max().unwrap_or_default();
    let changes = runs.map(|run| run.as_bytes().windows(2).filter(|pair| is_change(pair)).count()).sum::<usize>();
    changes > MAX_CHANGES || longest > MAX_RUN_CHARS
}

/// A capital that begins a word is not a change.
const fn is_change(pair: &[u8]) -> bool {
    match pair {
        [a, b] if a.is_ascii_digit() || b.is_ascii_digit() => a.is_ascii_digit() != b.is_ascii_digit(),
        [a, b] => a.is_ascii_lowercase() && b.is_ascii_uppercase(),
        _ => false,
    }
}

/// The name of a header or a parameter, if it is one: a whole header in place of a name may contain its value.
pub(super) fn shown_name(name: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b' ');
    if name.len() <= MAX_NAME_BYTES && name.bytes().all(plain) { name } else { "…" }
}

/// A key of the file, which by mistake may be a secret.
pub(super) fn shown_key(name: &str) -> &str {
    if has_key(name) { "…" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "api_key",
            "apiKey",
            "API-Key",
            "x-api-key",
            "headers.Authorization",
            "nats_token",
            "Cookie",
            "client.secret",
        ] {
            assert!(is_name_of_secret(name), "{name}");
        }
        for name in ["model", "max_tokens", "maxCompletionTokens", "key", "weight", "targets", "keyed"] {
            assert!(!is_name_of_secret(name), "{name}");
        }
    }

    #[test]
    fn users_in_urls() {
        for url in
            ["https://user:pa55@h/", "nats://t0ken@h", "a, http://u@h", "[\"https://u:p@h\"]", "https://u:p/q@h/"]
        {
            assert!(has_user(url) && shown(url.to_owned()).is_none(), "{url}");
        }
        for url in ["https://h/", "me@example.com", "https://h/ and me@example.com", "a://b"] {
            assert!(!has_user(url), "{url}");
        }
    }

    #[test]
    fn what_looks_like_a_key_is_not_shown_where_a_name_belongs() {
        for key in [
            "sk-proj-abcdef",
            "sk-ant-api03-x",
            "SK-VERY-SECRET",
            "AKIAIOSFODNN7EXAMPLE",
            "AIzaSyD-example",
            "eyJhbGciOiJIUzI1NiJ9",
            "0123456789abcdef0123456789abcdef",
            "550e8400-e29b-41d4-a716-446655440000",
            "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
            "aVeryLongButNotAtAllRandomPassphrase",
            "s3cr3t-word",
            "123456789012345678901234567890",
        ] {
            assert_eq!(shown_choice(key), None, "{key}");
            assert_eq!(shown(format!("Bearer {key}")), None, "{key}");
        }
        for text in ["Bearer something", "two words", "${KEY}", "https://h/", "pass:word", &"ab-".repeat(14), "größe"]
        {
            assert_eq!(shown_choice(text), None, "{text}");
        }
        for name in [
            "opnai",
            "OpenAI-Compatible",
            "gpt-4o-mini",
            "claude-3-5-sonnet-20241022",
            "2026-10-21",
            "roundrobin",
            "SK",
            "",
        ] {
            assert_eq!(shown_choice(name), Some(name));
            assert_eq!(shown(name.to_owned()).as_deref(), Some(name));
        }
        for value in
            ["10 parsecs", "https://host.example.com/v1/chat/completions?a=1", "0.5.1", "10.0.0.1:5390", "/a/b/"]
        {
            assert!(shown(value.to_owned()).is_some(), "{value}");
        }
    }

    #[test]
    fn a_header_in_a_names_place_is_not_shown() {
        assert_eq!(shown_name("X-Api-Key"), "X-Api-Key");
        assert_eq!(shown_name("Api Key"), "Api Key");
        assert_eq!(shown_name("Authorization: Bearer s3cr3t"), "…");
        assert_eq!(shown_name(&"a".repeat(65)), "…");
    }
}
