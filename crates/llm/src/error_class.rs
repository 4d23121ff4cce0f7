//! What an error answer means: one class from its status, headers and body.
//!
//! The class decides who is asked next, whether the target stays in, what metrics count and what users name in their settings.
//! In doubt the status decides, and a fault that may be the caller's is the caller's: nobody must be able to take a target
//! away from everybody else by what they write into a request.

use std::fmt;
use std::str::FromStr;

use crate::error_body::ErrorBody;
use crate::error_words::{self, Sentence};
use crate::headers::AnswerHeaders;
use crate::json::RawJson;

/// What is wrong with an answer, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// The target takes no more from us for now (429).
    RateLimited,
    /// The target has no room for anybody for now (503, 529).
    Overloaded,
    /// Our account at the target has no quota, credit or budget left (402, and vendors' words with other statuses).
    QuotaExhausted,
    /// The target refuses our key, account or region (401, 403 but not as a page for people, and vendors' words with 400).
    KeyRefused,
    /// The target has no such model or deployment. A 404 that does not say so is an [`ErrorClass::InvalidRequest`].
    NotFound,
    /// The request is longer than the target takes (413, and vendors' words with 400).
    ContextTooLong,
    /// The target refuses the content of the request or of its own answer.
    ContentFiltered,
    /// The caller's fault in any other way: 4xx.
    InvalidRequest,
    /// The target's fault: 424, 425, 498, and 5xx but 501, 503, 505 and 529.
    ServerError,
    /// The answer broke off, or is not what its headers say.
    BrokenAnswer,
    /// A good status with no answer in it.
    EmptyAnswer,
    /// No answer in time, by our limits or by the target's own word (408).
    TimedOut,
    /// No connection to the target.
    Unreachable,
    /// The target does not know what HTTP asks of it (501, 505): nobody's fault.
    Unsupported,
}

use ErrorClass::{
    BrokenAnswer, ContentFiltered, ContextTooLong, EmptyAnswer, InvalidRequest, KeyRefused, NotFound, Overloaded,
    QuotaExhausted, RateLimited, ServerError, TimedOut, Unreachable, Unsupported,
};

/// The names that settings, metrics and log entries use. They are an interface: never change one.
const NAMES: [(ErrorClass, &str); 14] = [
    (RateLimited, "rate_limited"),
    (Overloaded, "overloaded"),
    (QuotaExhausted, "quota_exhausted"),
    (KeyRefused, "key_refused"),
    (NotFound, "not_found"),
    (ContextTooLong, "context_too_long"),
    (ContentFiltered, "content_filtered"),
    (InvalidRequest, "invalid_request"),
    (ServerError, "server_error"),
    (BrokenAnswer, "broken_answer"),
    (EmptyAnswer, "empty_answer"),
    (TimedOut, "timed_out"),
    (Unreachable, "unreachable"),
    (Unsupported, "unsupported"),
];

/// A name that no class has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no error class; the classes are {}", ErrorClass::all().map(ErrorClass::name).collect::<Vec<_>>().join(", "))]
pub struct UnknownErrorClass {
    /// The name as written.
    pub name: String,
}

impl ErrorClass {
    /// All classes, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(class, _)| class)
    }

    /// The name that settings, metrics and log entries use.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(class, _)| *class == self).map_or("unknown", |(_, name)| name)
    }

    /// Whether the request is to blame, so that the answer must never count against a target.
    pub const fn is_callers_fault(self) -> bool {
        matches!(self, ContextTooLong | ContentFiltered | InvalidRequest)
    }

    /// Whether the answer counts against the target that gave it.
    pub const fn is_targets_fault(self) -> bool {
        !self.is_callers_fault() && !matches!(self, Unsupported)
    }

    /// The class by the status alone; `None` below 400.
    pub const fn of_status(status: u16) -> Option<Self> {
        Some(match status {
            ..400 => return None,
            401 | 403 => KeyRefused,
            402 => QuotaExhausted,
            408 => TimedOut,
            413 => ContextTooLong,
            424 | 425 | 498 => ServerError,
            429 => RateLimited,
            400..500 => InvalidRequest,
            503 | 529 => Overloaded,
            501 | 505 | 600.. => Unsupported,
            500..600 => ServerError,
        })
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ErrorClass {
    type Err = UnknownErrorClass;

    fn from_str(name: &str) -> Result<Self, UnknownErrorClass> {
        let known = NAMES.iter().find(|(_, known)| *known == name).map(|(class, _)| *class);
        known.ok_or_else(|| UnknownErrorClass { name: name.to_owned() })
    }
}

impl serde::Serialize for ErrorClass {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for ErrorClass {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// The class of an answer with an error status; `None` below 400. Of the body the first 64 KB are read, as plain bytes:
/// compressed ones say nothing, and then the status decides.
pub fn classify(status: u16, headers: &AnswerHeaders<'_>, body: &[u8]) -> Option<ErrorClass> {
    let by_status = ErrorClass::of_status(status)?;
    let body = if headers.is_compressed() { &[] } else { body };
    let error = ErrorBody::read(body);
    // Bedrock: `ThrottlingException:http://internal.amazon.com/…`.
    let amazon = headers.amazon_error.and_then(|text| text.split([':', ';']).next()).map(str::trim);
    let class = by_words(&error, amazon, Some(status));
    // A page for people comes from a firewall in front, and what a caller wrote may be what it dislikes.
    let is_firewall = status == 403 && headers.is_html();
    Some(class.unwrap_or(if is_firewall { InvalidRequest } else { by_status }))
}

/// The class of an error inside a body that is already known to hold one, where no status tells: a stream's event, or an
/// answer with a good status.
pub(crate) fn classify_error_body(body: &[u8]) -> ErrorClass {
    without_status(&ErrorBody::read(body))
}

/// The same for the value of an `error` field.
pub(crate) fn classify_error(error: RawJson<'_>) -> ErrorClass {
    without_status(&ErrorBody::of_error(error))
}

fn without_status(error: &ErrorBody<'_>) -> ErrorClass {
    // Some vendors number their errors in their own way.
    let number = error.number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number < 600);
    by_words(error, None, None)
        .or_else(|| number.and_then(ErrorClass::of_status))
        .or_else(|| error.words().find_map(error_words::general))
        .unwrap_or(ServerError)
}

/// The class by what the error says itself, or else what the answer says that it quotes.
fn by_words(error: &ErrorBody<'_>, amazon: Option<&str>, status: Option<u16>) -> Option<ErrorClass> {
    let quoted = || by_own_words(&ErrorBody::read(error.quoted.as_deref()?.as_bytes()), None, status);
    by_own_words(error, amazon, status).or_else(quoted)
}

/// The class by an error's words, and then by its sentence.
fn by_own_words(error: &ErrorBody<'_>, amazon: Option<&str>, status: Option<u16>) -> Option<ErrorClass> {
    let word = error.words().chain(amazon).find_map(error_words::specific);
    // A sentence that begins with a quotation or says nothing new costs a copy of it: only where it can matter.
    if word.is_some_and(|class| class != RateLimited) {
        return word;
    }
    let Some(message) = error.message.as_deref() else { return word };
    let sentence = Sentence::new(message);
    let not_found = status == Some(404) || error.words().any(|word| word.eq_ignore_ascii_case("not_found_error"));
    let is_4xx = status.is_none_or(|status| (400..500).contains(&status));
    if !is_4xx {
        return word;
    }
    if word.is_some() && sentence.says_never_fits() {
        Some(ContextTooLong)
    } else if sentence.says_quota() {
        Some(QuotaExhausted)
    } else if word.is_some() {
        word
    } else if sentence.says_model(not_found) {
        Some(NotFound)
    } else if sentence.says_current_quota() {
        Some(QuotaExhausted)
    } else if sentence.says_key() {
        Some(KeyRefused)
    } else if sentence.says_too_long() {
        Some(ContextTooLong)
    } else if sentence.says_filtered() {
        Some(ContentFiltered)
    } else {
        None
    }
}
