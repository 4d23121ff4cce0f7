//! What of a value that is wrong may be shown in a fault: nothing that may be a secret.
//!
//! The values of a target's headers and query are sent to it and often are its key, whatever their type by mistake; so
//! may be a value with a name like a key's, anywhere; and a URL can have a password before its `@`.

/// Keys of a target below which nothing is shown.
pub(super) const SENT: [&str; 3] = ["headers", "query", "remove_headers"];
/// What is part of the names of secrets, without case and without what separates words.
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
/// The longest name that is shown of a header or a parameter, in bytes; longer ones are no names.
const LONGEST_NAME: usize = 64;

/// Whether something of this name may be a secret.
pub(super) fn is_name_of_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    // Numbers of tokens, such as max_tokens, are no secrets.
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

/// A value as it may be shown, if it may: without a user in a URL.
pub(super) fn shown(value: String) -> Option<String> {
    (!has_user(&value)).then_some(value)
}

/// The name of a header or a parameter, if it is one: a whole header in place of a name may contain its value.
pub(super) fn shown_name(name: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b' ');
    if name.len() <= LONGEST_NAME && name.bytes().all(plain) { name } else { "…" }
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
    fn a_header_in_a_names_place_is_not_shown() {
        assert_eq!(shown_name("X-Api-Key"), "X-Api-Key");
        assert_eq!(shown_name("Api Key"), "Api Key");
        assert_eq!(shown_name("Authorization: Bearer s3cr3t"), "…");
        assert_eq!(shown_name(&"a".repeat(65)), "…");
    }
}
