//! Observations of finished calls, and the single classification of answers.
//!
//! Every trigger, probe and metric uses [`FailureRule::classify`], so that no two of them can disagree about what a
//! failure is. A caller's own bad request is [`Class::Neutral`]: it must never eject a router that serves other
//! callers. Nothing here knows which routers exist; the broker resolves the router of a [`CallObservation`].

mod error_class;
mod evidence;
mod observation;
mod payload;
mod rule;
mod transport_failure;

use std::fmt;
use std::time::Duration;

pub use error_class::{ErrorClass, UnknownErrorClass};
pub use evidence::Evidence;
pub use observation::{Attempt, CallAnswer, CallDetails, CallFacts, CallObservation, LogEntry, ResponseMessage};
pub use payload::{NoPayloadDigest, PayloadDigest};
pub use rule::{FailureRule, JudgedAnswer, StatusError, StatusRange};
pub use transport_failure::TransportFailure;

use crate::router::RouterId;
use crate::time::GatewayTime;

crate::named_enum! {
    /// The effect of an answer on its router's health.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Class {
        /// The router works.
        Success = "success",
        /// The client's own fault, which tells nothing about the router.
        Neutral = "neutral",
        /// The router failed.
        Failure = "failure",
        /// The upstream is overloaded for every caller (503, 529).
        Overloaded = "overloaded",
        /// The upstream's rate limit for this caller is exhausted (429).
        RateLimited = "rate_limited",
        /// The upstream refuses the key of the settings, or the account's quota is used up, until the account is changed.
        Refused = "refused",
    }
}

impl Class {
    /// Whether such an answer can eject its router.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::Overloaded | Self::RateLimited | Self::Refused)
    }
}

/// When an upstream asks to be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// Given explicitly (`retry-after`, `retry-after-ms` and similar headers).
    Delay(Duration),
    /// Time until an exhausted quota is full again (`x-ratelimit-reset-*`).
    QuotaReset(Duration),
    /// The header is present, but is not a time.
    Unparsable,
}

impl RetryAfter {
    /// The wait, if it could be parsed.
    pub const fn wait(self) -> Option<Duration> {
        match self {
            Self::Delay(wait) | Self::QuotaReset(wait) => Some(wait),
            Self::Unparsable => None,
        }
    }

    /// The wait that the upstream explicitly requests, if it is not 0. The time until a quota is refilled is only an estimate.
    pub fn named_wait(self) -> Option<Duration> {
        match self {
            Self::Delay(wait) if !wait.is_zero() => Some(wait),
            _ => None,
        }
    }
}

/// Who set a part of a request: the name of its deployment or model, or its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetBy {
    /// The client, in the path, the body or the headers of its request.
    Client,
    /// The settings of the target: its address, or the changes that they make to the request.
    Target,
}

/// What is left of one rate limit of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaRemaining {
    /// Requests or tokens left.
    pub amount: u64,
    /// Time until the quota is refilled.
    pub reset: Duration,
}

/// The remaining quotas that an upstream reports (`x-ratelimit-remaining-*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimitHeaders {
    /// Requests, if reported.
    pub requests: Option<QuotaRemaining>,
    /// Tokens, if reported.
    pub tokens: Option<QuotaRemaining>,
}

/// Why a router was ejected; displayed in log lines, stamps and status.
///
/// Replicas exchange it by the names of its variants in snake case, or by those in `rename`: never change one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The upstream answered with this status.
    Answered(u16),
    /// The gateway could not reach the upstream and generated this status.
    Unreachable(u16),
    /// A call of the relay failed without a complete answer.
    Transport(TransportFailure),
    /// Too few of its answers were good; the last one had this status.
    LowSuccessRate(u16),
    /// A good answer reported that nothing is left of its rate limit.
    #[serde(rename = "quota_exhausted")]
    RateLimitExhausted,
    /// It refuses the key of the settings.
    KeyRefused,
    /// The quota or credit of the account of the settings is used up; with the moment, in seconds since 1970, at which that ends
    /// according to the upstream. The moment is shown, but has no effect.
    #[serde(rename = "account_exhausted")]
    AccountQuotaExhausted(Option<u32>),
    /// The gateway gave up before the answer was complete.
    CutOff,
    /// It took longer than the `slow` setting allows.
    TooSlow,
    /// The gateway answered from the ingress although a router was named, so it does not have that router.
    UnknownToGateway,
    /// By an operator's command.
    Operator,
    /// Another replica ejected it for a reason that this version does not know.
    #[default]
    Unknown,
}

impl Cause {
    /// Whether the router was over its rate limit.
    pub fn is_rate_limit(self) -> bool {
        match self {
            Self::Answered(status) => ErrorClass::of_status(status) == Some(ErrorClass::RateLimited),
            Self::Transport(failure) => failure.error_class() == Some(ErrorClass::RateLimited),
            Self::RateLimitExhausted => true,
            _ => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "answered {status}"),
            Self::Unreachable(status) => write!(f, "unreachable (the gateway says {status})"),
            Self::Transport(failure) => failure.fmt(f),
            Self::LowSuccessRate(status) => write!(f, "fails too often (last {status})"),
            Self::RateLimitExhausted => f.write_str("its rate limit is used up"),
            Self::KeyRefused => f.write_str("refuses our key or account"),
            Self::AccountQuotaExhausted(None) => f.write_str("the quota of our account is used up"),
            Self::AccountQuotaExhausted(Some(until)) => {
                let until = jiff::Timestamp::from_second(i64::from(*until)).unwrap_or_default();
                write!(f, "the quota of our account is used up, by its own word until {until}")
            }
            Self::CutOff => f.write_str("took so long that the client was cut off"),
            Self::TooSlow => f.write_str("too slow"),
            Self::UnknownToGateway => f.write_str("unknown to the gateway"),
            Self::Operator => f.write_str("by an operator"),
            Self::Unknown => f.write_str("for a reason that another replica knows"),
        }
    }
}

impl Cause {
    /// As displayed, for documents that people read.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize_displayed<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What one finished call tells about its router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    pub router: RouterId,
    /// The class of the answer.
    pub class: Class,
    /// The status that the class was derived from.
    pub status: u16,
    /// The call asked for something to be made; see [`Request::is_generation`](crate::request::Request::is_generation).
    pub is_generation: bool,
    /// The cause of an ejection, if the answer leads to one.
    pub cause: Cause,
    /// How much it may decide about a router on probation.
    pub evidence: Evidence,
    /// Derived from the router and the transaction, so that every replica draws the same jitter.
    pub jitter_seed: u64,
    /// How long the upstream requests not to be called.
    pub retry_after: Option<RetryAfter>,
    /// When the gateway received the request, if known.
    pub started: Option<GatewayTime>,
    /// When the gateway answered the client, if known.
    pub stopped: Option<GatewayTime>,
    /// The upstream's latency.
    pub latency: Option<Duration>,
    /// Completion tokens, if reported.
    pub completion_tokens: Option<u64>,
}
