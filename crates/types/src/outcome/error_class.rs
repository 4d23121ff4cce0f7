//! The classes of errors, for retries, health, metrics, stamps and settings.
//!
//! `llm` finds the class from an answer's status, headers and body; [`ErrorClass::of_status`] uses the status only.

use std::fmt;
use std::str::FromStr;

crate::named_enum! {
    /// What is wrong with an answer, or why there is none, in the order of the documents' table. Settings, metrics and log entries
    /// have the names, so they are an interface: never change one.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum ErrorClass {
        /// The rate limit of the target for this account is exhausted (429).
        RateLimited = "rate_limited",
        /// The target is overloaded for all callers (503, 529).
        Overloaded = "overloaded",
        /// The account at the target has no quota, credit or budget left (402, and vendors' error codes with other statuses).
        QuotaExhausted = "quota_exhausted",
        /// The target refuses the key, account or region (401, 403 except as an HTML page, and vendors' error codes with 400).
        KeyRefused = "key_refused",
        /// The target has no such model or deployment. A 404 that does not say so is an [`ErrorClass::InvalidRequest`].
        NotFound = "not_found",
        /// The request is longer than the target accepts (413, and vendors' error codes with 400).
        ContextTooLong = "context_too_long",
        /// The target refuses the content of the request or of its own answer.
        ContentFiltered = "content_filtered",
        /// Any other fault of the client: 4xx.
        InvalidRequest = "invalid_request",
        /// The target's fault: 424, 425, 498, and 5xx except 501, 503, 505 and 529.
        ServerError = "server_error",
        /// The answer broke off, or is not what its headers say.
        BrokenAnswer = "broken_answer",
        /// A good status with no answer in it.
        EmptyAnswer = "empty_answer",
        /// No answer in time, by the limits of the relay or by the target's status 408.
        TimedOut = "timed_out",
        /// No connection to the target.
        Unreachable = "unreachable",
        /// The target does not support the method or HTTP version (501, 505), which is not its fault.
        Unsupported = "unsupported",
    }
}

use ErrorClass::{
    ContentFiltered, ContextTooLong, InvalidRequest, KeyRefused, Overloaded, QuotaExhausted, RateLimited, ServerError,
    TimedOut, Unsupported,
};

/// An unknown name of a class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not an error class; the classes are {}", ErrorClass::ALL.map(ErrorClass::name).join(", "))]
pub struct UnknownErrorClass {
    /// The name as written.
    pub name: String,
}

impl ErrorClass {
    /// Whether the request is at fault, so that the answer must never count against a target.
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
        Self::from_name(name).ok_or_else(|| UnknownErrorClass { name: name.to_owned() })
    }
}
