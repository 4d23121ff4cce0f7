//! The record of a call that does not pass the gateway: what its log entry is made of, collected while it runs.
//!
//! No header with credentials, and none that the settings add, stands in it with its value; nor does a query.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderName;
use hyper::http::request;
use hyper::{HeaderMap, Uri};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::credentials::is_credential;
use super::session::Session;
use crate::calls::cost::{self, Cost};
use crate::calls::{CallClass, TraceIds};
use crate::shared_broker::SharedBroker;
use gecholog_protocol::entry::{self, Entry, Header};
use llm::{Usage, model};
use types::outcome::{Attempt, CallAnswer, RetryAfter, SetBy, TransportFailure};
use types::request::Patch;
use types::router::RouterPath;
use types::time::BrokerTime;

/// How the gateway spells what must not be seen.
const MASKED: &str = "*****MASKED*****";

/// Where entries go.
#[derive(Debug)]
pub(super) struct Entries {
    log: mpsc::Sender<Vec<u8>>,
    broker: SharedBroker,
}

impl Entries {
    pub(super) fn new(log: mpsc::Sender<Vec<u8>>, broker: SharedBroker) -> Self {
        broker.counts().relayed.entries.preregister([()]);
        Self { log, broker }
    }

    /// Whether they have a reader: without a bus there is none.
    pub(super) fn are_wanted(&self) -> bool {
        !self.log.is_closed()
    }

    /// Written here: one piece of memory that goes to another thread costs less than the dozens that the entry is made of.
    fn send(&self, record: LogEntryDraft, attempt: &Attempt<'_>, usage: Option<Usage>) {
        let now = self.broker.now();
        match self.log.try_reserve() {
            Ok(place) => place.send(record.entry(attempt, usage, now)),
            Err(TrySendError::Closed(())) => {}
            Err(TrySendError::Full(())) => {
                if let Some(total) = self.broker.counts().relayed.entries.count((), now) {
                    tracing::warn!(
                        total,
                        "log entries of the relay come faster than the bus takes them: the newest are dropped"
                    );
                }
            }
        }
    }
}

/// What is known of a call before it is sent.
#[derive(Debug, Clone)]
pub(super) struct LogEntryDraft {
    pub(super) entries: Arc<Entries>,
    pub(super) session: Session,
    pub(super) ingress: RouterPath,
    pub(super) stamp: Bytes,
    pub(super) subpath: String,
    /// The head of the request as it was sent.
    pub(super) sent: Arc<request::Parts>,
    pub(super) ingress_payload: LoggedBody,
    pub(super) outbound_payload: LoggedBody,
    pub(super) patch: Arc<Patch>,
    /// By whose prices it is paid, if that is known.
    pub(super) priced_by: Option<&'static str>,
    pub(super) traces: TraceIds,
    /// The model that was sent and the one that was asked for.
    pub(super) models: Vec<String>,
    pub(super) received_at: BrokerTime,
    /// What is known of the answer so far.
    pub(super) answer: Option<RecordedAnswer>,
}

/// A body as an entry shows it. What is too long for one is only counted, so that little waits for the bus.
#[derive(Debug, Clone, Default)]
pub(super) struct LoggedBody {
    body: Bytes,
    /// How many bytes there were, if they are not here.
    left_out: Option<usize>,
}

impl LoggedBody {
    pub(super) fn new(body: &Bytes) -> Self {
        let left_out = Some(body.len()).filter(|length| *length > entry::MAX_PAYLOAD_BYTES);
        Self { body: if left_out.is_some() { Bytes::new() } else { body.clone() }, left_out }
    }

    fn shown(&self) -> Cow<'_, [u8]> {
        shown(&self.body, self.left_out)
    }
}

fn shown(body: &[u8], left_out: Option<usize>) -> Cow<'_, [u8]> {
    match left_out {
        Some(length) => Cow::Owned(format!("left out: {length} bytes").into_bytes()),
        None => Cow::Borrowed(body),
    }
}

/// What is known of an answer.
#[derive(Debug, Clone)]
pub(super) struct RecordedAnswer {
    headers: HeaderMap,
    body: Vec<u8>,
    /// How many bytes there were.
    length: usize,
}

impl RecordedAnswer {
    pub(super) fn new(headers: &HeaderMap) -> Self {
        Self { headers: headers.clone(), body: Vec::new(), length: 0 }
    }

    /// A part of the body came. What is too long for an entry is only counted.
    pub(super) fn add(&mut self, part: &[u8]) {
        self.length += part.len();
        if self.length <= entry::MAX_PAYLOAD_BYTES {
            self.body.extend_from_slice(part);
        }
    }
}

impl LogEntryDraft {
    /// Has the entry of an attempt published that ended now.
    pub(super) fn publish(self, attempt: &Attempt<'_>, usage: Option<Usage>) {
        let entries = Arc::clone(&self.entries);
        entries.send(self, attempt, usage);
    }

    /// The entry, in bytes.
    fn entry(self, attempt: &Attempt<'_>, usage: Option<Usage>, now: BrokerTime) -> Vec<u8> {
        let Attempt {
            transport_failure: broken,
            sent_at,
            answer: CallAnswer { served_path, transaction, status, .. },
            ..
        } = *attempt;
        let router = served_path.unwrap_or_default();
        // One without a good end says nothing that anybody should take for an answer.
        let answer = self.answer.filter(|_| broken.is_none());
        let left_out = |answer: &RecordedAnswer| Some(answer.length).filter(|length| *length > answer.body.len());
        let inbound = answer.as_ref().map(|answer| shown(&answer.body, left_out(answer)));
        let body = answer.as_ref().map(|answer| answer.body.as_slice());
        let served = body.and_then(model::of_answer);
        let models = served.as_deref().into_iter().chain(self.models.iter().map(String::as_str));
        let book = self.entries.broker.prices().book();
        let cost = usage.and_then(|usage| cost::cost_of(&book, router, self.priced_by, models, &usage));
        let call = call_object(attempt, usage, self.traces, cost);
        let error = broken.map(|broken| broken.to_string());
        let url = url_without_query(&self.sent.uri);
        let response_headers = answer.as_ref().map(|answer| logged_headers(&answer.headers)).unwrap_or_default();
        entry::write(&Entry {
            session: self.session.id(),
            transaction: transaction.unwrap_or_default(),
            ingress: self.ingress.as_str(),
            router,
            stamp: &self.stamp,
            call: &call,
            subpath: &self.subpath,
            url: &url,
            request_headers: &logged_headers(&self.sent.headers),
            ingress_payload: &self.ingress_payload.shown(),
            outbound_payload: &self.outbound_payload.shown(),
            patch: Arc::unwrap_or_clone(self.patch),
            status: status.unwrap_or_default(),
            response_headers: &response_headers,
            inbound_payload: inbound.as_deref(),
            error: error.as_deref(),
            times: Some([self.received_at, sent_at, now]),
        })
    }
}

/// What the entry says of the outcome, beside the stamp: class, tokens, cost, trace ids.
fn call_object(attempt: &Attempt<'_>, usage: Option<Usage>, traces: TraceIds, cost: Option<Cost>) -> Vec<u8> {
    let class = match attempt.transport_failure {
        Some(broken) => broken.error_class().map_or(CallClass::Broker, CallClass::Error),
        None => attempt.details.error_class.into(),
    };
    let object = CallObject {
        class,
        makes_nothing: !attempt.is_generation,
        failure: attempt.transport_failure.map(TransportFailure::as_str),
        clients_key: attempt.key == Some(SetBy::Client),
        own_key: attempt.key == Some(SetBy::Target),
        client_model: attempt.client_model,
        payload_digest: attempt.payload_digest.map(|digest| digest.to_string()),
        retry_after_ms: attempt.transport_failure.and(named_wait(attempt)),
        trace_ids: traces.into_vec(),
        usage,
        cost,
    };
    // All of its keys are texts: it cannot fail.
    serde_json::to_vec(&object).unwrap_or_default()
}

fn named_wait(attempt: &Attempt<'_>) -> Option<u64> {
    let wait = attempt.answer.retry_after.and_then(RetryAfter::named_wait)?;
    u64::try_from(wait.as_millis()).ok()
}

#[derive(Debug, Serialize)]
struct CallObject<'a> {
    class: CallClass,
    /// How there came no complete answer, of which the entry shows only a 502 or 504.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
    /// Its success shows nothing about its target.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    makes_nothing: bool,
    /// A refusal or a rate limit shows nothing about its target.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    clients_key: bool,
    /// It was sent with the key of the settings: a used-up quota is that of an account which other replicas use too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own_key: bool,
    /// A rate limit, or its end, is that of this model, which the client chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_model: Option<&'a str>,
    /// By which replicas recognise a request that several targets refuse.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_digest: Option<String>,
    /// The wait that an answer names which the entry does not show.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    trace_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
}

/// Headers as an entry has them, without secrets.
fn logged_headers(headers: &HeaderMap) -> Vec<Header<'_>> {
    let mut logged: Vec<Header<'_>> = Vec::with_capacity(headers.len());
    let mut of: Option<(&HeaderName, bool)> = None;
    for (name, value) in headers {
        let secret = match of {
            Some((known, secret)) if known == name => secret,
            _ => is_credential(name.as_str()),
        };
        of = Some((name, secret));
        let shown = if secret || value.is_sensitive() {
            Cow::Borrowed(MASKED)
        } else {
            String::from_utf8_lossy(value.as_bytes())
        };
        logged.push((name.as_str(), shown));
    }
    logged
}

/// Where a request went.
fn url_without_query(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    [uri.scheme_str().unwrap_or_default(), "://", authority, uri.path()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn secrets_are_masked() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ratelimit-remaining-tokens", "5"),
            ("authorization", "Bearer a"),
            ("api-key", "b"),
            ("api_key", "c"),
            ("x-auth-token", "d"),
            ("x-amz-security-token", "e"),
            ("set-cookie", "f"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut own = HeaderValue::from_static("own");
        own.set_sensitive(true);
        headers.append("x-own", own);
        let shown = logged_headers(&headers);
        let of = |name: &str| shown.iter().find(|(other, _)| *other == name).map(|(_, value)| &**value);
        assert_eq!(of("x-ratelimit-remaining-tokens"), Some("5"));
        for name in
            ["authorization", "api-key", "api_key", "x-auth-token", "x-amz-security-token", "set-cookie", "x-own"]
        {
            assert_eq!(of(name), Some(MASKED), "{name}");
        }
    }
}
