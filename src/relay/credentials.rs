//! The one list of header and query fields by which clients prove who they are. Such a field of a client stays here unless the
//! target has `forward_credentials`, and no log entry shows its value.
//!
//! Names are compared by their letters and digits alone, in lower case: `API_Key`, `api-key` and `apiKey` are one name.

use std::borrow::Cow;

/// Names that mean a credential only as a whole.
const NAMES: &[&str] = &["auth", "code", "credentials", "jwt", "key", "passwd", "pwd", "secret", "sig", "token"];

/// Ends of names that mean a credential whatever stands before them, such as the name of a product.
const ENDINGS: &[&str] = &[
    "accesskey",
    "accesskeyid",
    "accesstoken",
    "apikey",
    "apisecret",
    "apitoken",
    "assertion",
    "authkey",
    "authorization",
    "authtoken",
    "bearertoken",
    "clientcert",
    "clientsecret",
    "cookie",
    "credential",
    "functionskey",
    "heliconeauth",
    "idtoken",
    "masterkey",
    "password",
    "refreshtoken",
    "secretkey",
    "securitytoken",
    "sessiontoken",
    "signature",
    "subscriptionkey",
    "usertoken",
    "virtualkey",
    "xauth",
];

/// Names by which clients choose among the accounts of their key: OpenAI's organization and project, Google's project that pays, also
/// as a field of the query (`$userProject`). They mean nothing with another key, and a vendor answers as if that were refused.
const ACCOUNTS: &[&str] = &["openaiorganization", "openaiproject", "userproject", "xgooguserproject"];

/// A name as names are compared.
pub(super) fn folded(name: &str) -> String {
    if !name.is_ascii() {
        return name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    }
    let mut folded = name.to_ascii_lowercase();
    folded.retain(|letter| letter.is_ascii_alphanumeric());
    folded
}

/// Whether a header or query field of this name carries a credential. All headers of every call that leaves a log entry are asked
/// about, so this neither copies nor compares more than it must: it reads the name from its end.
pub(super) fn is_credential(name: &str) -> bool {
    let folded = if name.is_ascii() { Cow::Borrowed(name) } else { Cow::Owned(folded(name)) };
    let letters = || letters_from_end(&folded);
    let Some(last) = letters().next() else { return false };
    let ends = |known: &&&str| known.as_bytes().last() == Some(&last);
    NAMES.iter().filter(ends).any(|known| letters().eq(known.bytes().rev()))
        || ENDINGS.iter().filter(ends).any(|end| letters().take(end.len()).eq(end.bytes().rev()))
}

/// Whether a header or query field of this name chooses an account of the key that it comes with. It is no secret, and belongs with
/// the key.
pub(super) fn selects_account(name: &str) -> bool {
    let Some(last) = letters_from_end(name).next() else { return false };
    let ends = |known: &&&str| known.as_bytes().last() == Some(&last);
    ACCOUNTS.iter().filter(ends).any(|known| letters_from_end(name).eq(known.bytes().rev()))
}

/// The letters of a name by which names are compared, the last one first.
fn letters_from_end(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().rev().filter(u8::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &[&str] = &[
        "Authorization",
        "Proxy-Authorization",
        "X-Forwarded-Authorization",
        "Cookie",
        "Set-Cookie",
        "api_key",
        "api-key",
        "apiKey",
        "API-KEY",
        "X-Api-Key",
        "x_api_key",
        "X-Goog-Api-Key",
        "X-Portkey-Api-Key",
        "key",
        "subscription-key",
        "Ocp-Apim-Subscription-Key",
        "x-functions-key",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Goog-Signature",
        "X-Auth-Token",
        "X-Auth-Key",
        "auth_token",
        "access_token",
        "X-Access-Token",
        "id_token",
        "token",
        "sig",
        "signature",
        "AWSAccessKeyId",
        "client_secret",
        "password",
        "Helicone-Auth",
        "X-Goog-IAP-JWT-Assertion",
        "X-Forwarded-Client-Cert",
        "code",
    ];

    const OTHERS: &[&str] = &[
        "api-version",
        "max_tokens",
        "X-RateLimit-Remaining-Tokens",
        "page_token",
        "pageToken",
        "Continuation-Token",
        "Idempotency-Key",
        "X-Amz-Date",
        "User-Agent",
        "Content-Type",
        "OpenAI-Organization",
        "anthropic-version",
        "keyword",
        "author",
        "design",
        "encode",
        "model",
        "alt",
        "",
    ];

    #[test]
    fn what_carries_a_credential() {
        for name in CREDENTIALS {
            assert!(is_credential(name), "{name}");
        }
        for name in OTHERS {
            assert!(!is_credential(name), "{name}");
        }
    }

    #[test]
    fn what_chooses_an_account_of_a_key() {
        for name in ["OpenAI-Organization", "openai-project", "X-Goog-User-Project", "$userProject", "openai_project"] {
            assert!(selects_account(name) && !is_credential(name), "{name}");
        }
        for name in ["project", "OpenAI-Beta", "X-Goog-Api-Client", "x-openai-project", "organization", ""] {
            assert!(!selects_account(name), "{name}");
        }
    }

    #[test]
    fn the_list_is_written_as_names_are_compared_and_names_nothing_twice() {
        for name in NAMES.iter().chain(ENDINGS).chain(ACCOUNTS) {
            assert_eq!(folded(name), *name);
            let ends: Vec<_> = ENDINGS.iter().filter(|ending| *ending != name && name.ends_with(*ending)).collect();
            assert!(ends.is_empty(), "{name} is among {ends:?}");
        }
    }
}
