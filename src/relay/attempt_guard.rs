//! An attempt in progress. However it ends, it is reported once: as an outcome, or as one that says nothing about its target.
//!
//! The last is what happens when it is dropped, as when a client goes away: so no path through the relay can forget a probe slot.

use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;

use super::affinity::{CallAffinity, MakerNotes};
use super::hold::UpstreamAnswer;
use super::log_entry::{LogEntryDraft, RecordedAnswer};
use super::metrics;
use crate::shared_broker::SharedBroker;
use crate::telemetry::Counts;
use balancer::broker::Route;
use llm::Usage;
use llm::affinity::ids_of_answer;
use llm::stream::StreamState;
use types::outcome::{
    Attempt, CallAnswer, CallDetails, CallObservation, ErrorClass, PayloadDigest, RateLimitHeaders, RetryAfter, SetBy,
    TransportFailure,
};
use types::router::RouterPath;
use types::time::BrokerTime;

/// An attempt that has not ended.
#[derive(Debug)]
pub(super) struct AttemptGuard {
    broker: SharedBroker,
    route: Route,
    router: RouterPath,
    transaction: String,
    is_generation: bool,
    began: BrokerTime,
    /// What its log entry is made of, if no other program writes one.
    record: Option<Box<LogEntryDraft>>,
    /// Whose key it carries; behind the gateway that is unknown.
    key: Option<SetBy>,
    /// See [`Attempt::client_model`].
    client_model: Option<Box<str>>,
    /// Why it says nothing about its router; without a reason, the client went away.
    neutral: Option<&'static str>,
    /// Its request is on its way, or was.
    was_sent: bool,
    /// What the client's request is recognised by.
    pub(super) digest: Option<PayloadDigest>,
    reported: bool,
    /// Where it is to be noted what its answer shows to be made.
    notes: Option<MakerNotes>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AttemptEnd {
    pub(super) status: u16,
    pub(super) broken: Option<TransportFailure>,
    pub(super) gateway_generated: bool,
    pub(super) missing: Option<SetBy>,
    pub(super) retry_after: Option<RetryAfter>,
    pub(super) html: bool,
    /// What is wrong with the answer.
    pub(super) error_class: Option<ErrorClass>,
    /// See [`Attempt::is_ambiguous_refusal`].
    pub(super) is_ambiguous_refusal: bool,
    /// What the call used, if the upstream said so.
    pub(super) usage: Option<Usage>,
    /// What is left of the upstream's rate limits.
    pub(super) quota: RateLimitHeaders,
}

impl AttemptEnd {
    /// With this status, and nothing to add.
    pub(super) fn with(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Without a good answer. The status is the one that gateways answer with then.
    pub(super) fn broken(failure: TransportFailure) -> Self {
        let status = match failure {
            TransportFailure::ConnectTimeout | TransportFailure::FirstByteTimeout => 504,
            _ => 502,
        };
        Self { broken: Some(failure), ..Self::with(status) }
    }
}

impl AttemptGuard {
    /// `is_generation`: see [`Request::is_generation`](types::request::Request::is_generation).
    pub(super) fn begin(
        broker: SharedBroker,
        route: Route,
        router: RouterPath,
        transaction: String,
        is_generation: bool,
    ) -> Self {
        let began = broker.now();
        Self {
            broker,
            route,
            router,
            transaction,
            is_generation,
            began,
            record: None,
            key: None,
            client_model: None,
            neutral: None,
            was_sent: false,
            digest: None,
            reported: false,
            notes: None,
        }
    }

    pub(super) const fn is_generation(&self) -> bool {
        self.is_generation
    }

    /// See [`Route::is_early`].
    pub(super) const fn is_early(&self) -> bool {
        self.route.is_early()
    }

    /// It carries this one's key.
    pub(super) fn set_key(&mut self, key: Option<SetBy>) {
        self.key = key;
    }

    /// What becomes of it says something of this model of the client.
    pub(super) fn set_client_model(&mut self, model: Option<&str>) {
        self.client_model = model.map(Into::into);
    }

    /// Its request goes out now.
    pub(super) const fn sends(&mut self) {
        self.was_sent = true;
    }

    /// Keeps a record from now on.
    pub(super) fn record(&mut self, record: LogEntryDraft) {
        self.record = Some(Box::new(record));
    }

    /// An answer began so.
    pub(super) fn answered(&mut self, headers: &HeaderMap, held: &[Bytes]) {
        if let Some(record) = &mut self.record {
            let mut answered = RecordedAnswer::new(headers);
            held.iter().for_each(|part| answered.add(part));
            record.answer = Some(answered);
        }
    }

    /// A part of its body came.
    pub(super) fn add(&mut self, part: &[u8]) {
        if let Some(answer) = self.record.as_mut().and_then(|record| record.answer.as_mut()) {
            answer.add(part);
        }
    }

    /// Notes the ids that a good answer shows to be kept by its target, now and as more of a stream comes.
    pub(super) fn teach(&mut self, call: &CallAffinity, answer: &mut UpstreamAnswer) {
        let Some(notes) = call.notes().filter(|_| answer.head.status.is_success()) else { return };
        match &mut answer.stream {
            Some(stream) => {
                self.notes = Some(notes.clone());
                self.note_ids(stream);
            }
            None => notes.note(ids_of_answer(&answer.start()), &self.router),
        }
    }

    /// Notes the ids that a stream has shown since.
    pub(super) fn note_ids(&self, stream: &mut StreamState) {
        if let Some(notes) = &self.notes {
            notes.note(stream.take_ids(), &self.router);
        }
    }

    /// It has ended in a way that says nothing about its router. `reason`: as metrics spell it.
    pub(super) const fn end_without_blame(&mut self, reason: &'static str, was_sent: bool) {
        self.neutral = Some(reason);
        self.was_sent = was_sent;
    }

    /// It ended in a way that says nothing about its router, and is sent to the same once more as this transaction.
    pub(super) fn resent(&mut self, reason: &'static str, transaction: String) {
        metrics::neutral_attempt(&self.broker, Some(reason));
        self.transaction = transaction;
        self.began = self.broker.now();
    }

    /// The moment.
    pub(super) fn now(&self) -> BrokerTime {
        self.broker.now()
    }

    /// The counters of the process.
    pub(super) fn counts(&self) -> &Counts {
        self.broker.counts()
    }

    /// How long it has taken so far.
    pub(super) fn time(&self) -> Duration {
        self.broker.now().since(self.began)
    }

    /// It has ended so.
    pub(super) fn finish(&mut self, mut end: AttemptEnd) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let error_class = end.broken.map_or(end.error_class, TransportFailure::error_class);
        metrics::attempt(&self.broker, end.broken.map_or(Ok(end.status), Err), error_class);
        let record = self.record.take();
        if let (Some(_), Some(failure)) = (&record, end.broken) {
            // Its entry says so too, as the gateway's would.
            end.status = AttemptEnd::broken(failure).status;
        }
        // What is estimated here was estimated when the call was sent.
        let usage = end.usage.filter(|usage| !usage.estimated);
        let attempt = Attempt {
            answer: CallAnswer {
                served_path: Some(self.router.as_str()),
                transaction: Some(&self.transaction),
                status: Some(end.status),
                gateway_generated: end.gateway_generated,
                html: end.html,
                retry_after: end.retry_after,
            },
            details: CallDetails {
                // A disabled one that is tried because there is nothing else finds out too.
                probe: self.route.kind.decides_recovery(),
                error_class,
                missing: end.missing,
                latency: Some(self.time()),
                completion_tokens: usage.map(|usage| usage.output),
                total_tokens: usage.map(|usage| usage.total()),
                quota: end.quota,
            },
            decision: self.route.number,
            sent_at: self.began,
            is_generation: self.is_generation,
            key: self.key,
            client_model: self.client_model.as_deref(),
            is_ambiguous_refusal: end.is_ambiguous_refusal,
            transport_failure: end.broken,
            payload_digest: self.digest,
        };
        self.broker.learn(CallObservation::Attempt(&attempt));
        if let Some(record) = record {
            record.publish(&attempt, end.usage);
        }
    }
}

impl Drop for AttemptGuard {
    fn drop(&mut self) {
        if !self.reported {
            metrics::neutral_attempt(&self.broker, self.neutral);
            self.broker.abandon(&self.route, self.was_sent);
        }
    }
}
