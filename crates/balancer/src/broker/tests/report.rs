//! What one message says of a call, with all fields that any source has, so that a test can say the same thing from each.

use std::time::Duration;

use super::super::{Applied, Broker, BrokerInput};
use super::fixture::START;
use types::outcome::{
    Attempt, CallAnswer, CallDetails, CallObservation, ErrorClass, LogEntry, PayloadDigest, RateLimitHeaders,
    ResponseMessage, RetryAfter, SetBy, TransportFailure,
};
use types::time::{BrokerTime, GatewayTime};

/// A variant of [`CallObservation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Source {
    #[default]
    Message,
    OneRow,
    Log,
    Attempt,
}

/// See the types that it becomes; what the source does not have is left out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TestObservation<'a> {
    pub(crate) source: Source,
    pub(crate) served_path: Option<&'a str>,
    pub(crate) routed_path: Option<&'a str>,
    pub(crate) ingress: Option<&'a str>,
    pub(crate) stamped_path: Option<&'a str>,
    pub(crate) stamp_id: Option<&'a str>,
    pub(crate) probe: bool,
    pub(crate) makes_nothing: bool,
    pub(crate) decision: Option<u64>,
    pub(crate) status: Option<u16>,
    pub(crate) egress_status: Option<u16>,
    pub(crate) headers_missing: bool,
    pub(crate) processor_generated: bool,
    pub(crate) html: bool,
    pub(crate) retry_after: Option<RetryAfter>,
    pub(crate) missing: Option<SetBy>,
    pub(crate) error_class: Option<ErrorClass>,
    pub(crate) key: Option<SetBy>,
    pub(crate) client_model: Option<&'a str>,
    pub(crate) is_ambiguous_refusal: bool,
    pub(crate) filtered: Option<&'static str>,
    pub(crate) transport_failure: Option<TransportFailure>,
    pub(crate) sent_at: Option<BrokerTime>,
    pub(crate) transaction: Option<&'a str>,
    pub(crate) started: Option<GatewayTime>,
    pub(crate) stopped: Option<GatewayTime>,
    pub(crate) latency: Option<Duration>,
    pub(crate) completion_tokens: Option<u64>,
    pub(crate) total_tokens: Option<u64>,
    pub(crate) quota: RateLimitHeaders,
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) payload_digest: Option<PayloadDigest>,
}

impl TestObservation<'_> {
    /// Nothing but its source.
    pub(crate) fn empty(source: Source) -> Self {
        Self { source, ..Self::default() }
    }

    pub(crate) fn apply(&self, broker: &mut Broker, now: BrokerTime) -> Applied {
        let Self { served_path, transaction, status, html, retry_after, .. } = *self;
        let answer = CallAnswer { served_path, transaction, status, gateway_generated: false, html, retry_after };
        let Self { probe, error_class, missing, latency, completion_tokens, total_tokens, quota, .. } = *self;
        let details = CallDetails { probe, error_class, missing, latency, completion_tokens, total_tokens, quota };
        let message = ResponseMessage {
            answer,
            egress_status: self.egress_status,
            headers_missing: self.headers_missing,
            processor_generated: self.processor_generated,
            started: self.started,
        };
        let entry = LogEntry {
            // No answer of an upstream stands there.
            answer: CallAnswer { gateway_generated: self.transport_failure.is_some(), ..answer },
            details,
            routed_path: self.routed_path,
            ingress: self.ingress,
            stamped_path: self.stamped_path,
            stamp_id: self.stamp_id,
            egress_status: self.egress_status,
            processor_generated: self.processor_generated,
            filtered: self.filtered,
            started: self.started,
            stopped: self.stopped,
            payload: self.payload,
            makes_nothing: self.makes_nothing,
            key: self.key,
            transport_failure: self.transport_failure,
            client_model: self.client_model,
            payload_digest: self.payload_digest,
            processor_errors: None,
            session: None,
        };
        let attempt = Attempt {
            answer,
            details,
            // No decision has such a number.
            decision: self.decision.unwrap_or(u64::MAX),
            sent_at: self.sent_at.unwrap_or(START),
            is_generation: !self.makes_nothing,
            key: self.key,
            client_model: self.client_model,
            is_ambiguous_refusal: self.is_ambiguous_refusal,
            transport_failure: self.transport_failure,
            payload_digest: self.payload_digest,
        };
        let observation = match self.source {
            Source::Message => CallObservation::Message(&message),
            Source::OneRow => CallObservation::OneRow(&message),
            Source::Log => CallObservation::Log { entry: &entry, decision: self.decision },
            Source::Attempt => CallObservation::Attempt(&attempt),
        };
        broker.apply(BrokerInput::Observed(&observation), now)
    }
}
