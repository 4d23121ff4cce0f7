//! Observations of finished calls by their source: each source has only the fields that it knows, so that a rule for one cannot
//! be applied to another.

use std::time::Duration;

use super::{ErrorClass, PayloadDigest, RateLimitHeaders, RetryAfter, SetBy, TransportFailure};
use crate::time::{BrokerTime, GatewayTime};

/// A finished call as one source saw it, before any router is resolved.
#[derive(Debug, Clone, Copy)]
pub enum CallObservation<'a> {
    /// A response processor's message: it arrives early and has few fields.
    Message(&'a ResponseMessage<'a>),
    /// The message of the one-row configuration: it arrives as early, and there is no stamp, so that the log has no better
    /// information.
    OneRow(&'a ResponseMessage<'a>),
    /// The gateway's log: it arrives last and has all fields.
    Log {
        /// The fields of the entry.
        entry: &'a LogEntry<'a>,
        /// The number of the decision, if the entry's stamp is this replica's.
        decision: Option<u64>,
    },
    /// A call of the relay, which knows everything about it. The call's log entry adds nothing to the classification.
    Attempt(&'a Attempt<'a>),
}

/// The fields of an answer that every source has.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CallAnswer<'a> {
    /// The router that served the call (`response.gl_path`).
    pub served_path: Option<&'a str>,
    /// The transaction id; a client can make two calls share one.
    pub transaction: Option<&'a str>,
    /// The upstream's status (`inbound_status_code`).
    pub status: Option<u16>,
    /// The answer has no headers at all, so the gateway generated it (docs/gateway-protocol.md 4.7).
    pub gateway_generated: bool,
    /// The answer is an HTML page.
    pub html: bool,
    /// How long the upstream requests not to be called.
    pub retry_after: Option<RetryAfter>,
}

/// The fields that are known after the answer's body was read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CallDetails {
    /// The decision was a probe.
    pub probe: bool,
    /// The error class by status, headers and body.
    pub error_class: Option<ErrorClass>,
    /// The origin of the name of the deployment or model that does not exist according to the upstream.
    pub missing: Option<SetBy>,
    /// The upstream's latency; in a log in whole milliseconds, as the gateway measures it.
    pub latency: Option<Duration>,
    /// Completion tokens, if the upstream reports them.
    pub completion_tokens: Option<u64>,
    /// Tokens of prompt and completion, if the upstream reports them.
    pub total_tokens: Option<u64>,
    /// The remaining rate-limit quota that the upstream reports.
    pub quota: RateLimitHeaders,
}

/// A message of the gateway to a response processor.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ResponseMessage<'a> {
    pub answer: CallAnswer<'a>,
    /// The status sent to the client (`egress_status_code`).
    pub egress_status: Option<u16>,
    /// The message does not carry the answer's headers.
    pub headers_missing: bool,
    /// A processor answered in place of the upstream.
    pub processor_generated: bool,
    /// When the gateway received the request.
    pub started: Option<GatewayTime>,
}

/// An entry of the gateway's log.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LogEntry<'a> {
    pub answer: CallAnswer<'a>,
    /// The information from the answer's body and the timers.
    pub details: CallDetails,
    /// The router that was requested when the gateway routed (`request.gl_path`).
    pub routed_path: Option<&'a str>,
    /// The router that the client called.
    pub ingress: Option<&'a str>,
    /// The router that the broker's stamp names; only in the two-row configuration.
    pub stamped_path: Option<&'a str>,
    /// The id of the decision that wrote that stamp.
    pub stamp_id: Option<&'a str>,
    /// The status sent to the client (`egress_status_code`).
    pub egress_status: Option<u16>,
    /// A processor answered in place of the upstream.
    pub processor_generated: bool,
    /// A relay marked the call as one that generates nothing: the opposite of
    /// [`Request::is_generation`](crate::request::Request::is_generation).
    pub makes_nothing: bool,
    /// Whose key was sent, where a relay says so. Not of a refused key of a target: that of another replica may not be this one's
    /// (keys are renewed replica by replica), so what becomes of it is nothing that this one learns from.
    pub key: Option<SetBy>,
    /// As [`Attempt::transport_failure`], of which the upstream has a part; only in entries of a relay.
    pub transport_failure: Option<TransportFailure>,
    /// As [`Attempt::client_model`]; only in entries of a relay.
    pub client_model: Option<&'a str>,
    /// The digest of the client's whole request; only in entries of a relay, which shortens long payloads.
    pub payload_digest: Option<PayloadDigest>,
    /// The needed field that the gateway's filters removed, if one is missing.
    pub filtered: Option<&'static str>,
    /// The gateway's report on processors that failed, as JSON.
    pub processor_errors: Option<&'a [u8]>,
    /// The session id, which a client may set.
    pub session: Option<&'a str>,
    /// When the gateway received the request.
    pub started: Option<GatewayTime>,
    /// When the gateway answered the client.
    pub stopped: Option<GatewayTime>,
    /// The client's payload.
    pub payload: Option<&'a [u8]>,
}

/// A call that the relay made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempt<'a> {
    /// The answer, or the gateway's answer if there was none.
    pub answer: CallAnswer<'a>,
    /// The information from the answer's body, and the time until its end.
    pub details: CallDetails,
    /// The number of the decision.
    pub decision: u64,
    /// When the call was sent.
    pub sent_at: BrokerTime,
    /// See [`Request::is_generation`](crate::request::Request::is_generation); other successes tell nothing.
    pub is_generation: bool,
    /// The origin of the key; `None` if it is unknown, as behind the gateway.
    pub key: Option<SetBy>,
    /// The model that the client chose, and no setting of the target: of an answer that is rate-limited, and of a call that was sent
    /// although its target rests for this model. Other calls have no use for it.
    pub client_model: Option<&'a str>,
    /// The answer is a refusal, and does not show whether it is about the key or about this request.
    pub is_ambiguous_refusal: bool,
    /// How the call failed without a complete answer.
    pub transport_failure: Option<TransportFailure>,
    /// The digest of the client's whole request.
    pub payload_digest: Option<PayloadDigest>,
}

/// What an observation says for its outcome, whatever its source.
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'a> {
    pub answer: &'a CallAnswer<'a>,
    /// What the answer's body shows; nothing where it was not read.
    pub details: CallDetails,
    /// When the gateway received the request, and when it answered the client.
    pub started: Option<GatewayTime>,
    pub stopped: Option<GatewayTime>,
    /// Whose key was sent; `None` where that is unknown.
    pub key: Option<SetBy>,
    /// The answer leaves open whether its refusal is about the key or about this request.
    pub is_ambiguous_refusal: bool,
    pub transport_failure: Option<TransportFailure>,
    /// See [`Request::is_generation`](crate::request::Request::is_generation); true where that is not known.
    pub is_generation: bool,
}

impl<'a> CallObservation<'a> {
    /// What it says for its outcome; what its source does not say is as if there were nothing to say.
    pub fn facts(&self) -> CallFacts<'a> {
        let plain = |answer, details| CallFacts {
            answer,
            details,
            started: None,
            stopped: None,
            key: None,
            is_ambiguous_refusal: false,
            transport_failure: None,
            is_generation: true,
        };
        match *self {
            Self::Message(message) | Self::OneRow(message) => {
                CallFacts { started: message.started, ..plain(&message.answer, CallDetails::default()) }
            }
            Self::Log { entry, .. } => CallFacts {
                started: entry.started,
                stopped: entry.stopped,
                key: entry.key,
                transport_failure: entry.transport_failure,
                is_generation: !entry.makes_nothing,
                ..plain(&entry.answer, entry.details)
            },
            Self::Attempt(attempt) => CallFacts {
                key: attempt.key,
                is_ambiguous_refusal: attempt.is_ambiguous_refusal,
                transport_failure: attempt.transport_failure,
                is_generation: attempt.is_generation,
                ..plain(&attempt.answer, attempt.details)
            },
        }
    }

    /// See [`Attempt::client_model`].
    pub const fn client_model(&self) -> Option<&'a str> {
        match *self {
            Self::Message(_) | Self::OneRow(_) => None,
            Self::Log { entry, .. } => entry.client_model,
            Self::Attempt(attempt) => attempt.client_model,
        }
    }

    /// The number of this replica's decision, if known.
    pub const fn decision(&self) -> Option<u64> {
        match *self {
            Self::Message(_) | Self::OneRow(_) => None,
            Self::Log { decision, .. } => decision,
            Self::Attempt(attempt) => Some(attempt.decision),
        }
    }
}
