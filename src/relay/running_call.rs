//! A call in progress. However it ends, it is recorded once: at its answer's end, or when its client is gone.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::HeaderName;

use super::headers;
use super::hold::UpstreamAnswer;
use super::relay_request::RelayRequest;
use super::trace::{FinishedAttempt, FinishedAttempts};
use crate::calls::content::CallContent;
use crate::calls::context::{AttemptContext, CallContext};
use crate::calls::cost;
use crate::calls::{AttemptFailure, CallAttempt, CallClass, CallRecord, TraceIds, Via, short};
use crate::clock::millis;
use crate::shared_broker::SharedBroker;
use crate::stamping::WrittenStamp;
use crate::telemetry::{Counts, gen_ai};
use balancer::retry::AttemptResult;
use llm::{Usage, model};
use types::outcome::{ErrorClass, TransportFailure};
use types::request::Patch;
use types::router::RouterPath;
use types::time::BrokerTime;

/// The trace id of a call, in its answer.
const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// A call, from its request to the end of its answer.
#[derive(Debug)]
pub(super) struct RunningCall {
    broker: SharedBroker,
    pub(super) attempts: FinishedAttempts,
    /// Whose answer the client gets.
    pub(super) served_by: Option<RouterPath>,
    /// Absent until its pool is known, and once it is recorded.
    begun: Option<Box<Begun>>,
}

/// What a call began with, and how far it has come.
#[derive(Debug)]
struct Begun {
    record: CallRecord,
    received_at: BrokerTime,
    traces: TraceIds,
    /// All of its request has come.
    is_read: bool,
    request_bytes: u64,
    /// Kept only where a sink wants it.
    content: Option<Box<CallContent>>,
    /// By whose prices the last answer is paid, if that is known.
    priced_by: Option<&'static str>,
    /// The attempt that is in progress.
    sent: Option<FinishedAttempt>,
}

/// What is known of an answer whose end was still to come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StreamedEnd {
    /// How long its attempt took.
    pub(super) time: Option<Duration>,
    pub(super) broken: Option<TransportFailure>,
    /// Why it could not be translated.
    pub(super) reason: Option<&'static str>,
    pub(super) error_class: Option<ErrorClass>,
    pub(super) usage: Option<Usage>,
    /// The client went away.
    pub(super) gone: bool,
}

impl RunningCall {
    pub(super) fn new(broker: SharedBroker) -> Self {
        Self { broker, attempts: FinishedAttempts::default(), served_by: None, begun: None }
    }

    /// The head of its request is here.
    pub(super) fn begin(&mut self, ingress: &RouterPath, session: &str, headers: &HeaderMap, received_at: BrokerTime) {
        let value = |name: &str| headers.get(name).map(|value| value.as_bytes());
        let traces = TraceIds::from_headers(self.broker.calls().trace_header(), value).or_made(session);
        let record = CallRecord {
            id: session.to_owned(),
            context: CallContext { received_at: Some(received_at), parent: traces.parent(), ..CallContext::default() },
            via: Via::Relay,
            pool: ingress.to_string(),
            session: session.to_owned(),
            ..CallRecord::default()
        };
        let content = self.broker.calls().wants_content().then(Box::default);
        let (is_read, request_bytes, priced_by, sent) = Default::default();
        self.begun =
            Some(Box::new(Begun { record, received_at, traces, is_read, request_bytes, content, priced_by, sent }));
    }

    /// All of its request is here.
    pub(super) fn request(&mut self, view: &RelayRequest<'_>, path: &str, body: &[u8]) {
        let Some(begun) = &mut self.begun else { return };
        (begun.record.model, begun.record.stream) = (view.model().map(short), view.asks_for_stream());
        (begun.is_read, begun.request_bytes) = (true, body.len() as u64);
        if let Some(content) = &mut begun.content {
            content.request.add(body);
        }
        let context = &mut begun.record.context;
        (context.user, context.operation) = (view.user().as_deref().map(short), gen_ai::operation(path));
    }

    /// Its trace ids, for the log entries of its attempts.
    pub(super) fn traces(&self) -> TraceIds {
        self.begun.as_ref().map(|begun| begun.traces.clone()).unwrap_or_default()
    }

    /// The models by which a target's price is found: the one that it is sent with these changes, and the one asked for.
    pub(super) fn models(&self, patch: &Patch) -> Vec<String> {
        let asked = self.begun.as_ref().and_then(|begun| begun.record.model.clone());
        sent_model(patch, asked.as_deref()).into_iter().chain(asked).collect()
    }

    /// An attempt is sent, to a target of this provider.
    pub(super) fn sending(
        &mut self,
        router: &RouterPath,
        stamp: &WrittenStamp,
        transaction: String,
        provider: Option<&'static str>,
    ) {
        let context = AttemptContext { sent: Some(self.broker.now()), provider: provider.map(gen_ai::provider) };
        if let Some(begun) = &mut self.begun {
            let attempt = FinishedAttempt::new(router.clone(), None, Duration::ZERO, stamp.clone());
            begun.sent = Some(FinishedAttempt { transaction, context, ..attempt });
        }
    }

    /// The connection of an attempt had been closed after this time, and it is sent again as this transaction.
    pub(super) fn resent(&mut self, time: Duration, transaction: String) {
        let now = self.broker.now();
        let Some(sent) = self.begun.as_mut().and_then(|begun| begun.sent.as_mut()) else { return };
        let context = AttemptContext { sent: Some(now), ..sent.context };
        let again = FinishedAttempt { transaction, context, ..sent.clone() };
        let ended = Some(AttemptResult::Broken(TransportFailure::Stale));
        self.attempts.note(FinishedAttempt { ended, time, ..std::mem::replace(sent, again) });
    }

    /// An attempt has come to an answer, or to nothing.
    pub(super) fn note(&mut self, mut attempt: FinishedAttempt) {
        if let Some(sent) = self.begun.as_mut().and_then(|begun| begun.sent.take()) {
            (attempt.transaction, attempt.context) = (sent.transaction, sent.context);
        }
        self.attempts.note(attempt);
    }

    /// What an answer says besides, whose request had these changes; if it comes to the client, it stands in the record.
    /// `priced_by`: the provider by whose prices it is paid, if that is known. Returns what it used.
    pub(super) fn answered(
        &mut self,
        answer: &UpstreamAnswer,
        patch: &Patch,
        priced_by: Option<&'static str>,
    ) -> Option<Usage> {
        let begun = self.begun.as_mut()?;
        begun.record.usage = self.broker.counts().valid_usage(answer.usage(begun.request_bytes));
        begun.priced_by = priced_by;
        begun.record.sent_model = sent_model(patch, begun.record.model.as_deref());
        begun.record.served_model = model::of_answer(&answer.start()).map(short);
        begun.record.usage
    }

    /// The counters of the process.
    pub(super) fn counts(&self) -> &Counts {
        self.broker.counts()
    }

    /// The length of its request's body, in bytes.
    pub(super) fn request_bytes(&self) -> u64 {
        self.begun.as_ref().map_or(0, |begun| begun.request_bytes)
    }

    /// Its answer begins with this head.
    pub(super) fn head(&mut self, status: u16, headers: &mut HeaderMap) {
        let Some(begun) = &mut self.begun else { return };
        if let Some(id) = begun.traces.first() {
            headers.insert(TRACE_ID, headers::value(id));
        }
        begun.record.status = Some(status);
    }

    /// A part of its answer goes to the client.
    pub(super) fn answers(&mut self, part: &[u8]) {
        if let Some(content) = self.begun.as_mut().and_then(|begun| begun.content.as_mut()) {
            content.answer.add(part);
        }
    }

    /// All of its answer was there when that began.
    pub(super) fn finish(mut self) {
        self.record(None);
    }

    /// Its answer has ended so.
    pub(super) fn finish_stream(mut self, end: StreamedEnd) {
        self.record(Some(end));
    }

    fn record(&mut self, end: Option<StreamedEnd>) {
        let Some(begun) = self.begun.take() else { return };
        let now = self.broker.now();
        let Begun { mut record, received_at, traces, is_read, sent, priced_by, content, .. } = *begun;
        if let Some(sent) = sent {
            let time = sent.context.sent.map(|at| now.since(at)).unwrap_or_default();
            self.attempts.note(FinishedAttempt { time, ..sent });
        }
        let is_gone = record.status.is_none();
        (record.attempts, record.attempts_left_out) = self.attempts.recorded(is_gone);
        (record.at, record.trace_ids) = (now, traces.into_vec());
        record.router = self.served_by.take().map(|router| router.to_string());
        record.replica = Some(self.broker.replica().to_owned());
        record.ms = Some(millis(now.since(received_at)));
        let by = |router: &String| record.attempts.iter().rposition(|attempt| attempt.router == *router);
        let last = record.attempts.len().checked_sub(1);
        let place = record.router.as_ref().and_then(by).or(last);
        if let Some(attempt) = place.and_then(|place| record.attempts.get_mut(place)) {
            if let Some(end) = end {
                end.put(attempt);
                record.usage = end.usage;
            }
            record.class = if is_gone { CallClass::ClientGone } else { attempt.class };
            let waited = now.since(received_at).saturating_sub(Duration::from_millis(attempt.ms.unwrap_or(0)));
            record.first_byte_ms = attempt.first_byte_ms.map(|first| first + millis(waited)).filter(|_| place == last);
        } else {
            record.class = match (is_gone, is_read) {
                (true, _) => CallClass::ClientGone,
                (false, true) => CallClass::NoTarget,
                (false, false) => CallClass::Broker,
            };
        }
        if record.router.is_none() {
            record.usage = None;
        }
        cost::price(&mut record, &self.broker.prices().book(), priced_by);
        self.broker.calls().finished(record, content.map(|content| *content), true);
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.record(None);
    }
}

impl StreamedEnd {
    /// Adds the end to what was known of the attempt when its answer began.
    fn put(self, attempt: &mut CallAttempt) {
        if let Some(time) = self.time {
            attempt.ms = Some(millis(time));
        }
        if let Some(broken) = self.broken {
            attempt.failure = Some(AttemptFailure::Broken(broken.as_str().into()));
            attempt.reason = self.reason.map(str::to_owned);
            attempt.class = broken.error_class().map_or(CallClass::Broker, CallClass::Error);
        } else if self.error_class.is_some() {
            attempt.class = self.error_class.into();
        }
        if self.gone {
            attempt.class = CallClass::ClientGone;
        }
    }
}

impl FinishedAttempts {
    /// The attempts as the record has them, and how many were left out before them. Several tries of one decision are one.
    fn recorded(&self, is_gone: bool) -> (Vec<CallAttempt>, u32) {
        let mut recorded: Vec<CallAttempt> = Vec::new();
        let mut before: Option<&FinishedAttempt> = None;
        for attempt in self.kept() {
            let is_again = before.is_some_and(|before| before.stamp == attempt.stamp && before.is_stale());
            let tries = match recorded.last().filter(|_| is_again) {
                Some(earlier) => {
                    let tries = earlier.tries + 1;
                    recorded.pop();
                    tries
                }
                None => 1,
            };
            recorded.push(attempt.recorded(tries));
            before = Some(attempt);
        }
        if let Some(last) =
            recorded.last_mut().filter(|last| is_gone && last.status.is_none() && last.failure.is_none())
        {
            last.class = CallClass::ClientGone;
        }
        (recorded, self.left_out())
    }
}

impl FinishedAttempt {
    fn is_stale(&self) -> bool {
        self.ended == Some(AttemptResult::Broken(TransportFailure::Stale))
    }

    fn recorded(&self, tries: u32) -> CallAttempt {
        let stamp = &self.stamp;
        let (status, class, failure) = match self.ended {
            Some(AttemptResult::Answered { status, error_class, .. }) => (Some(status), error_class.into(), None),
            Some(AttemptResult::Broken(broken)) => (
                None,
                broken.error_class().map_or(CallClass::Broker, CallClass::Error),
                Some(AttemptFailure::Broken(broken.as_str().into())),
            ),
            None => (None, CallClass::Broker, self.not_sent.as_ref().map(|_| AttemptFailure::PassedOver)),
        };
        CallAttempt {
            router: self.router.to_string(),
            decision: text_of(&stamp.id),
            p: stamp.probability,
            why: text_of(&stamp.why),
            probe: stamp.probe,
            transaction: self.transaction.clone(),
            status,
            class,
            failure,
            reason: self.reason.map(str::to_owned),
            first_byte_ms: self.first_byte.map(millis),
            ms: Some(millis(self.time)),
            tries,
            context: self.context,
        }
    }
}

/// The model that a target is sent, if it is another than the client asks for.
fn sent_model(patch: &Patch, asked: Option<&str>) -> Option<String> {
    let set = patch.merge.get("model").and_then(|model| model.as_str());
    let mapped = asked.and_then(|asked| patch.renamed(asked));
    set.or(mapped).filter(|sent| Some(*sent) != asked).map(short)
}

/// A part of a stamp; `None` where that is empty.
fn text_of(part: &[u8]) -> Option<String> {
    (!part.is_empty()).then(|| String::from_utf8_lossy(part).into_owned())
}
