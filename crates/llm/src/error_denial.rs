//! Denials: whether a 401 or 403 refuses our key, or only what this request asks for.
//!
//! A key that may not use one model, file or feature serves everything else, so it must not be taken for a refused one: any
//! caller could take the target away from all others by asking for what it may not have. What names a thing that a request
//! asks for, and says that this is denied, is about the request; all else, and what leaves it open, is about the key.

use crate::ErrorClass::{self, InvalidRequest, NotFound};
use crate::error_sentences::Sentence;

/// Parts of sentences that deny something.
const DENIED: &[&str] = &[
    "access to",
    "can only access",
    "cannot use",
    "denied on",
    "disabled due to",
    "disabled for",
    "doesn't include",
    "have permission",
    "is blocked",
    "is restricted",
    "lacks the required",
    "may not exist",
    "missing approval",
    "missing scopes",
    "must be verified to",
    "not activated",
    "not allowed",
    "not authorized",
    "not available",
    "not enabled",
    "not include",
    "not entitled",
    "not permitted",
    "not supported",
    "only available",
    "permission denied",
    "permission for",
    "permission to",
    "permissions for",
    // Ollama's cloud: `this model requires a subscription, upgrade for access`.
    "requires a subscription",
    "requires terms",
];

/// Beginnings of words for what is missing where it is denied.
const MODELS: &[&str] = &["model", "deployment", "foundation"];

/// Beginnings of words for what else a request asks for.
const OTHERS: &[&str] = &[
    "assistant",
    "cachedcontent",
    "endpoint",
    "feature",
    "file",
    "input",
    "operation",
    "parameter",
    "reasoning",
    "resource",
    "scope",
    "search",
    "tool",
    "voice",
];

/// Parts of sentences about the key or its account, whatever else they name.
const KEY: &[&str] = &[
    // Amazon's API Gateway, of a caller that may not come in at all; what it names is the request's address.
    "access this resource",
    "account has been",
    "all models",
    "any endpoint",
    "any model",
    "any resource",
    "api key is blocked",
    "api key is disabled",
    "api key is invalid",
    // Bedrock, of the right to use bearer keys.
    "callwithbearertoken",
    "expired",
    "incorrect api key",
    "invalid api key",
    "payment method",
    // Azure, where the key's identity has no role at all.
    "principal does not have access",
    // Google, where the key's project is refused.
    "resource project",
    "revoked",
    "subscription key",
    "suspended",
];

/// Beginnings of words for the key and whose it is.
const KEY_WORDS: &[&str] = &[
    "account",
    "apikey",
    "authentic",
    "credential",
    "key",
    "license",
    "licence",
    "signature",
    "subscription",
    "token",
];

/// Whether a denial that names nothing that a request asks for speaks of the key or its account.
pub(crate) fn names_key(message: &str) -> bool {
    let sentence = Sentence::new(message);
    sentence.says_key() || sentence.has(KEY) || sentence.has_word(KEY_WORDS)
}

/// The class of a denial that is about the request: a model that it may not have, or anything else; `None` if it is about the
/// key, or leaves that open.
pub(crate) fn of_request(sentence: &Sentence) -> Option<ErrorClass> {
    if sentence.has(KEY) {
        return None;
    }
    if sentence.is_about_model() {
        return Some(NotFound);
    }
    if !sentence.has(DENIED) {
        return None;
    }
    if sentence.has_word(MODELS) {
        Some(NotFound)
    } else if sentence.has_word(OTHERS) {
        Some(InvalidRequest)
    } else {
        None
    }
}
