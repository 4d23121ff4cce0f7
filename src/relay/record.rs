//! The record of a call that does not pass the gateway: what its log entry is made of, collected while it runs.
//!
//! No header with credentials, and none that the settings add, stands in it with its value; nor does a query.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderName;
use hyper::{HeaderMap, Uri};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::credentials::is_credential;
use super::session::Session;
use crate::calls::cost::{self, Cost, Priced};
use crate::calls::{CallClass, TraceIds};
use crate::shared_broker::SharedBroker;
use gecholog_protocol::entry::{self, Entry, Header};
use llm::{Usage, model};
use types::outcome::{ErrorClass, TransportFailure};
use types::request::Patch;
use types::router::RouterPath;
use types::time::BrokerTime;

/// The one kind of entry that is counted.
const DROPPED: &str = "dropped";
/// How the gateway spells what must not be seen.
const MASKED: &str = "*****MASKED*****";

/// Where entries go.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    log: mpsc::Sender<Bytes>,
    handle: SharedBroker,
}

impl Entries {
    pub(super) fn new(log: mpsc::Sender<Bytes>, handle: SharedBroker) -> Self {
        handle.counts().relayed.entries.preregister([DROPPED]);
        Self { log, handle }
    }

    /// Whether they have a reader: without a bus there is none.
    pub(super) fn are_wanted(&self) -> bool {
        !self.log.is_closed()
    }

    fn send(&self, entry: Vec<u8>, now: BrokerTime) {
        if let Err(TrySendError::Full(_)) = self.log.try_send(entry.into())
            && let Some(total) = self.handle.counts().relayed.entries.count(DROPPED, now)
        {
            tracing::warn!(
                total,
                "log entries of the relay come faster than the bus takes them: the newest are dropped"
            );
        }
    }
}

/// What is known of a call before it is sent.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) entries: Entries,
    pub(super) session: Session,
    pub(super) ingress: RouterPath,
    pub(super) stamp: Bytes,
    pub(super) rest: String,
    pub(super) uri: Uri,
    pub(super) asked: HeaderMap,
    pub(super) ingress_payload: Bytes,
    pub(super) outbound_payload: Bytes,
    pub(super) patch: Arc<Patch>,
    /// By whose prices it is paid, if that is known.
    pub(super) priced_by: Option<&'static str>,
    pub(super) traces: TraceIds,
    /// The model that was sent and the one that was asked for.
    pub(super) models: Vec<String>,
    pub(super) came: BrokerTime,
    /// What is known of the answer so far.
    pub(super) answer: Option<RecordedAnswer>,
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

/// How a recorded call ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordEnd<'a> {
    pub(super) router: &'a str,
    pub(super) transaction: &'a str,
    pub(super) status: u16,
    pub(super) broken: Option<TransportFailure>,
    pub(super) error_class: Option<ErrorClass>,
    pub(super) usage: Option<Usage>,
    pub(super) sent: BrokerTime,
    pub(super) over: BrokerTime,
}

impl Record {
    /// Publishes the entry.
    pub(super) fn publish(self, ending: RecordEnd<'_>) {
        let left_out;
        // One without a good end says nothing that anybody should take for an answer.
        let answer = self.answer.filter(|_| ending.broken.is_none());
        let inbound = match &answer {
            None => None,
            Some(answer) if answer.length > answer.body.len() => {
                left_out = format!("left out: {} bytes", answer.length);
                Some(left_out.as_bytes())
            }
            Some(answer) => Some(answer.body.as_slice()),
        };
        let body = answer.as_ref().map(|answer| answer.body.as_slice());
        let priced = Priced { router: ending.router, provider: self.priced_by };
        let served = body.and_then(model::of_answer);
        let models = served.as_deref().into_iter().chain(self.models.iter().map(String::as_str));
        let book = self.entries.handle.prices().book();
        let cost = ending.usage.and_then(|usage| cost::cost_of(&book, priced, models, &usage));
        let call = call_object(&ending, self.traces, cost);
        let error = ending.broken.map(|broken| broken.to_string());
        let url = url_without_query(&self.uri);
        let answered = answer.as_ref().map(|answer| logged_headers(&answer.headers)).unwrap_or_default();
        let entry = entry::write(&Entry {
            session: self.session.id(),
            transaction: ending.transaction,
            ingress: self.ingress.as_str(),
            router: ending.router,
            stamp: &self.stamp,
            call: &call,
            rest: &self.rest,
            url: &url,
            asked: &logged_headers(&self.asked),
            ingress_payload: &self.ingress_payload,
            outbound_payload: &self.outbound_payload,
            patch: Arc::unwrap_or_clone(self.patch),
            status: ending.status,
            answered: &answered,
            inbound_payload: inbound,
            error: error.as_deref(),
            times: Some([self.came, ending.sent, ending.over]),
        });
        self.entries.send(entry, ending.over);
    }
}

/// What the entry says of the outcome, beside the stamp: class, tokens, cost, trace ids.
fn call_object(ending: &RecordEnd<'_>, traces: TraceIds, cost: Option<Cost>) -> Vec<u8> {
    let class = match ending.broken {
        Some(broken) => broken.error_class().map_or(CallClass::Broker, CallClass::Error),
        None => ending.error_class.into(),
    };
    let object = CallObject { class, trace_ids: traces.into_vec(), usage: ending.usage, cost };
    // All of its keys are texts: it cannot fail.
    serde_json::to_vec(&object).unwrap_or_default()
}

#[derive(Debug, Serialize)]
struct CallObject {
    class: CallClass,
    trace_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
}

/// Headers as the gateway's log spells them: `Content-Type`, each with its values.
fn logged_headers(headers: &HeaderMap) -> Vec<Header<'_>> {
    let header = |name: &HeaderName| {
        let secret = is_credential(name.as_str());
        let shown = headers.get_all(name).iter().map(|value| match secret || value.is_sensitive() {
            true => Cow::Borrowed(MASKED),
            false => String::from_utf8_lossy(value.as_bytes()),
        });
        (canonical(name.as_str()), shown.collect())
    };
    headers.keys().map(header).collect()
}

/// Where a request went.
fn url_without_query(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    [uri.scheme_str().unwrap_or_default(), "://", authority, uri.path()].concat()
}

/// The first letter of each word in capitals.
fn canonical(name: &str) -> String {
    let mut spelled = String::with_capacity(name.len());
    let mut begins = true;
    for letter in name.chars() {
        spelled.push(if begins { letter.to_ascii_uppercase() } else { letter });
        begins = letter == '-';
    }
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn secrets_are_masked_and_names_spelled_as_the_gateway_does() {
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
        let of = |name: &str| shown.iter().find(|(other, _)| other == name).map(|(_, values)| &*values[0]);
        assert_eq!(of("X-Ratelimit-Remaining-Tokens"), Some("5"));
        for name in
            ["Authorization", "Api-Key", "Api_key", "X-Auth-Token", "X-Amz-Security-Token", "Set-Cookie", "X-Own"]
        {
            assert_eq!(of(name), Some(MASKED), "{name}");
        }
    }
}
