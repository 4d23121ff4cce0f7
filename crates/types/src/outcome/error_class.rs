//! What is wrong with an answer, in one vocabulary for retries, health, metrics, stamps and settings.
//!
//! `llm` finds the class from an answer's status, headers and body; [`ErrorClass::of_status`] is what is left without them.

use std::fmt;
use std::str::FromStr;

/// What is wrong with an answer, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// The target takes no more from us for now (429).
    RateLimited,
    /// The target has no room for any call for now (503, 529).
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
    /// The target does not know what HTTP asks of it (501, 505): not the target's fault.
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
#[error("{name:?} is not an error class; the classes are {}", ErrorClass::all().map(ErrorClass::name).collect::<Vec<_>>().join(", "))]
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
