//! Writes entries of the gateway's log (docs/gateway-protocol.md 3) for calls of the relay that did not pass the gateway, so
//! that readers of the log see them like any other. [`super::log_entry`] reads what this writes.
//!
//! The caller masks secrets before it calls.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::patch;
use crate::upstream_body::GATEWAY_ERROR;
use types::request::Patch;
use types::time::BrokerTime;

/// The longest payload of an entry, in bytes. Each payload occurs twice in an entry, and both must fit into one message.
pub const MAX_PAYLOAD_BYTES: usize = 128 << 10;

/// The name of the relay's error in `response.error`.
pub(super) const RELAY: &str = "relay";

/// A header's name in small letters, and one of its values. Values of the same name are adjacent.
pub type Header<'a> = (&'a str, Cow<'a, str>);

/// The call of an entry.
#[derive(Debug, Clone, Default)]
pub struct Entry<'a> {
    pub session: &'a str,
    pub transaction: &'a str,
    /// The ingress that was called.
    pub ingress: &'a str,
    /// The router path of the target.
    pub router: &'a str,
    /// The stamp of the decision.
    pub stamp: &'a [u8],
    /// The content of `broker_call`, a JSON object with the outcome in the broker's terms; empty if there is none.
    pub call: &'a [u8],
    /// The rest of the path, after the ingress.
    pub subpath: &'a str,
    /// The URL of the target, without a query.
    pub url: &'a str,
    /// The headers that were sent to it.
    pub request_headers: &'a [Header<'a>],
    /// The body from the client.
    pub ingress_payload: &'a [u8],
    /// The body that was sent to the target.
    pub outbound_payload: &'a [u8],
    /// The changes of the target's settings to the body.
    pub patch: Patch,
    pub status: u16,
    /// The headers of the answer; empty without an answer.
    pub response_headers: &'a [Header<'a>],
    /// The body of the answer.
    pub inbound_payload: Option<&'a [u8]>,
    /// How it failed, if it did.
    pub error: Option<&'a str>,
    /// When the call was received, when it was sent, and when it ended.
    pub times: Option<[BrokerTime; 3]>,
}

/// The entry, in bytes.
pub fn write(entry: &Entry<'_>) -> Vec<u8> {
    let inbound = entry.inbound_payload.unwrap_or(GATEWAY_ERROR);
    let payloads = [entry.ingress_payload, entry.outbound_payload, inbound, inbound];
    let length: usize =
        payloads.iter().map(|payload| payload.len()).filter(|length| *length <= MAX_PAYLOAD_BYTES).sum();
    let mut out = Vec::with_capacity(4_096 + length);
    let times = entry.times.unwrap_or([BrokerTime::from_nanos(0); 3]).map(Moment::from_time);
    let [came, _, over] = &times;
    let mut object = Object::begin(&mut out);
    object.text("session_id", entry.session);
    object.text("transaction_id", entry.transaction);
    object.timer("ingress_egress_timer", came, over);
    object.timer("egress_post_timer", over, over);
    request(object.object("request"), entry, &times);
    response(object.object("response"), entry, inbound, &times);
    object.end();
    out
}

fn request(mut object: Object<'_>, entry: &Entry<'_>, [came, sent, _]: &[Moment; 3]) {
    object.text("gl_path", entry.router);
    object.text("original_gl_path", entry.ingress);
    object.text("ingress_subpath", entry.subpath);
    object.text("outbound_subpath", entry.subpath);
    let ingress_payload = object.payload("ingress_payload", entry.ingress_payload);
    if std::ptr::eq(entry.ingress_payload, entry.outbound_payload) {
        object.copy("outbound_payload", ingress_payload);
    } else {
        object.payload("outbound_payload", entry.outbound_payload);
    }
    if !entry.patch.is_empty() {
        object.raw("broker_patch", &patch::write(&entry.patch));
    }
    object.headers("outbound_headers", entry.request_headers);
    object.text("url", entry.url);
    object.timer("ingress_outbound_timer", came, sent);
    if !entry.stamp.is_empty() {
        object.raw("broker", entry.stamp);
    }
    if !entry.call.is_empty() {
        object.raw("broker_call", entry.call);
    }
    object.end();
}

fn response(mut object: Object<'_>, entry: &Entry<'_>, inbound: &[u8], [_, sent, over]: &[Moment; 3]) {
    object.text("gl_path", entry.router);
    object.json("inbound_status_code", &entry.status);
    object.json("egress_status_code", &entry.status);
    let headers = object.headers("inbound_headers", entry.response_headers);
    object.copy("egress_headers", headers);
    let inbound = object.payload("inbound_payload", inbound);
    object.copy("egress_payload", inbound);
    object.timer("outbound_inbound_timer", sent, over);
    object.timer("inbound_egress_timer", over, over);
    let mut errors = Vec::new();
    if let Some(error) = entry.error {
        errors.push(json!({"name": RELAY, "details": error}));
    }
    if entry.status != 200 {
        errors.push(json!({"name": "egress_status_code", "details": entry.status.to_string()}));
    }
    if !errors.is_empty() {
        object.json("error", &errors);
    }
    object.end();
}

/// A moment with its JSON, which several timers contain.
struct Moment {
    at: BrokerTime,
    json: String,
}

impl Moment {
    fn from_time(at: BrokerTime) -> Self {
        Self { at, json: format!("\"{}\"", at.timestamp()) }
    }
}

/// A JSON object that is being written, at the end of the entry.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// `name` is one of this file, which need no escapes.
    fn name(&mut self, name: &str) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn raw(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(json);
    }

    /// A copy of a value that the entry already has.
    fn copy(&mut self, name: &str, value: Range<usize>) {
        self.name(name);
        self.out.extend_from_within(value);
    }

    fn object(&mut self, name: &str) -> Object<'_> {
        self.name(name);
        Object::begin(self.out)
    }

    fn text(&mut self, name: &str, text: &str) {
        self.json(name, text);
    }

    /// Returns the position of the value.
    fn json(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Range<usize> {
        self.name(name);
        let start = self.out.len();
        // Cannot fail: it writes into memory, and every key is a text.
        let _ = serde_json::to_writer(&mut *self.out, value);
        start..self.out.len()
    }

    /// Headers in the gateway's form: names such as `Content-Type`, each with the list of its values.
    fn headers(&mut self, name: &str, headers: &[Header<'_>]) -> Range<usize> {
        self.name(name);
        let start = self.out.len();
        let mut object = Object::begin(self.out);
        for values in headers.chunk_by(|(name, _), (next, _)| name == next) {
            object.header(values);
        }
        object.end();
        start..self.out.len()
    }

    /// The values of one header. Its name has the letters of a token (RFC 9110, 5.6.2), which need no escapes.
    fn header(&mut self, values: &[Header<'_>]) {
        let Some((name, _)) = values.first() else { return };
        self.name(name);
        // The first letter of each word is a capital one; the name ends before its quote and colon.
        let end = self.out.len() - 2;
        let mut begins = true;
        for letter in &mut self.out[end - name.len()..end] {
            if begins {
                letter.make_ascii_uppercase();
            }
            begins = *letter == b'-';
        }
        let _ = serde_json::to_writer(&mut *self.out, &Values(values));
    }

    /// A body in the gateway's form: JSON unchanged, everything else as one text.
    fn payload(&mut self, name: &str, body: &[u8]) -> Range<usize> {
        if body.len() > MAX_PAYLOAD_BYTES {
            return self.json(name, &format!("left out: {} bytes", body.len()));
        }
        if serde_json::from_slice::<IgnoredAny>(body).is_err() {
            // Bytes that are not text become up to six times as long when they are quoted.
            let (empty, start) = (self.is_empty, self.out.len());
            let quoted = self.json(name, &String::from_utf8_lossy(body));
            if quoted.len() <= MAX_PAYLOAD_BYTES {
                return quoted;
            }
            self.out.truncate(start);
            self.is_empty = empty;
            return self.json(name, &format!("left out: {} bytes", body.len()));
        }
        self.raw(name, body);
        self.out.len() - body.len()..self.out.len()
    }

    fn timer(&mut self, name: &str, start: &Moment, stop: &Moment) {
        let mut timer = self.object(name);
        timer.raw("start", start.json.as_bytes());
        timer.raw("stop", stop.json.as_bytes());
        timer.json("duration", &stop.at.since(start.at).as_millis());
        timer.end();
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

/// The values of one header, as a list.
struct Values<'a>(&'a [Header<'a>]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(_, value)| value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::log_entry;
    use std::time::Duration;
    use types::outcome::{ErrorClass, PayloadDigest, RetryAfter, SetBy, TransportFailure};

    fn entry<'a>() -> Entry<'a> {
        let came = BrokerTime::from_nanos(1_800_000_000_123_456_789);
        Entry {
            session: "AB_1_1_0",
            transaction: "AB_1_1_1",
            ingress: "/azure/",
            router: "/azure/openai/",
            stamp: br#"{"id":"ab-1","router":"/azure/openai/","why":"x"}"#,
            subpath: "chat/completions",
            url: "https://h/v1/chat/completions",
            ingress_payload: br#"{"model":"a"}"#,
            outbound_payload: br#"{"model":"b"}"#,
            status: 200,
            inbound_payload: Some(br#"{"usage":{"prompt_tokens":1,"completion_tokens":7}}"#),
            times: Some([came, came, came.after(Duration::from_millis(250))]),
            ..Entry::default()
        }
    }

    #[test]
    fn what_is_written_is_read_like_the_gateways_own() {
        let response_headers = vec![("retry-after", Cow::Borrowed("3"))];
        let bytes = write(&Entry { response_headers: &response_headers, status: 429, ..entry() });
        let report = log_entry::read(&bytes).unwrap();
        assert_eq!((report.answer.served_path, report.routed_path), (Some("/azure/openai/"), Some("/azure/openai/")));
        assert_eq!((report.ingress, report.stamped_path), (Some("/azure/"), Some("/azure/openai/")));
        assert_eq!((report.answer.status, report.answer.transaction), (Some(429), Some("AB_1_1_1")));
        assert_eq!(
            (report.filtered, report.answer.gateway_generated, report.processor_generated),
            (None, false, false)
        );
        assert_eq!(
            (report.details.completion_tokens, report.details.latency),
            (Some(7), Some(Duration::from_millis(250)))
        );
        assert_eq!(report.answer.retry_after, Some(RetryAfter::Delay(Duration::from_secs(3))));
        assert!(report.started < report.stopped && !report.makes_nothing);
        assert_eq!((report.key, report.details.error_class), (None, Some(ErrorClass::RateLimited)));
        let listing =
            write(&Entry { call: br#"{"class":"success","makes_nothing":true,"clients_key":true}"#, ..entry() });
        let listing = log_entry::read(&listing).unwrap();
        assert_eq!((listing.makes_nothing, listing.key), (true, Some(SetBy::Client)));
        assert_eq!((listing.details.error_class, listing.payload_digest), (None, None));
    }

    #[test]
    fn what_a_relay_knows_of_its_attempt_is_read_by_other_replicas() {
        let digest = PayloadDigest::from_ends(b"{}");
        let call = format!(r#"{{"class":"key_refused","payload_digest":"{digest}","retry_after_ms":41000}}"#);
        let bytes = write(&Entry { call: call.as_bytes(), status: 502, ..entry() });
        let report = log_entry::read(&bytes).unwrap();
        assert_eq!(report.key, None, "it may be another one here");
        assert_eq!((report.details.error_class, report.payload_digest), (Some(ErrorClass::KeyRefused), Some(digest)));
        assert_eq!(report.answer.retry_after, Some(RetryAfter::Delay(Duration::from_secs(41))));
    }

    #[test]
    fn whose_key_was_sent_and_how_an_attempt_failed_is_read_as_it_was_seen() {
        let read = |call: &str| {
            let bytes = write(&Entry { call: call.as_bytes(), status: 502, ..entry() });
            let report = log_entry::read(&bytes).unwrap();
            (report.key, report.transport_failure)
        };
        for (call, expected) in [
            (r#"{"class":"quota_exhausted","own_key":true}"#, (Some(SetBy::Target), None)),
            (r#"{"class":"key_refused","own_key":true}"#, (None, None)),
            (r#"{"class":"quota_exhausted","own_key":true,"clients_key":true}"#, (Some(SetBy::Client), None)),
            (r#"{"class":"quota_exhausted","own_key":"true"}"#, (None, None)),
            (r#"{"class":"timed_out"}"#, (None, None)),
            (r#"{"class":"rate_limited","failure":"no_answer_in_time"}"#, (None, None)),
            (r#"{"class":"timed_out","failure":"of a later version"}"#, (None, None)),
            (r#"{"class":"broker","failure":"stale_connection"}"#, (None, None)),
            (r#"{"failure":"no_answer_in_time"}"#, (None, None)),
        ] {
            assert_eq!(read(call), expected, "{call}");
        }
        let errors = ErrorClass::ALL
            .into_iter()
            .flat_map(|class| [TransportFailure::ErrorEvent(class), TransportFailure::ErrorAnswer(class)]);
        for failure in TransportFailure::ALL.into_iter().chain(errors) {
            let Some(class) = failure.error_class() else { continue };
            let call = format!(r#"{{"class":"{class}","failure":"{}"}}"#, failure.as_str());
            assert_eq!(read(&call).1, Some(failure), "{call}");
        }
    }

    #[test]
    fn whose_limit_a_rate_limit_is_and_what_versions_before_say_of_it() {
        for (call, model) in [
            (r#"{"class":"rate_limited","client_model":"gpt-4o","trace_ids":[]}"#, Some("gpt-4o")),
            // As it was written before there was the field: the limit is the target's.
            (r#"{"class":"rate_limited","trace_ids":[],"cost":{"usd":0.1}}"#, None),
            (r#"{"class":"rate_limited","client_model":7}"#, None),
            (r#"{"class":"rate_limited","client_model":null}"#, None),
        ] {
            let bytes = write(&Entry { call: call.as_bytes(), status: 429, ..entry() });
            let report = log_entry::read(&bytes).unwrap();
            assert_eq!(report.client_model, model, "{call}");
            assert_eq!(report.details.error_class, Some(ErrorClass::RateLimited), "{call}");
        }
    }

    #[test]
    fn headers_are_spelled_as_the_gateway_spells_them() {
        let header = |name, value| (name, Cow::Borrowed(value));
        let request_headers = [
            header("x-ratelimit-remaining-tokens", "5"),
            header("api_key", "a \"b\""),
            header("x-twice", "1"),
            header("x-twice", "2"),
        ];
        let bytes = write(&Entry { request_headers: &request_headers, ..entry() });
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            value["request"]["outbound_headers"],
            json!({"X-Ratelimit-Remaining-Tokens": ["5"], "Api_key": ["a \"b\""], "X-Twice": ["1", "2"]})
        );
        assert_eq!(value["response"]["inbound_headers"], json!({}));
    }

    #[test]
    fn a_call_without_an_answer_looks_like_one_that_the_gateway_could_not_make() {
        let bytes = write(&Entry { status: 502, inbound_payload: None, error: Some("no \"luck\""), ..entry() });
        let report = log_entry::read(&bytes).unwrap();
        assert_eq!((report.answer.status, report.answer.gateway_generated), (Some(502), true));
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["response"]["error"][0]["details"], "no \"luck\"");
        assert_eq!(value["response"]["egress_payload"]["error"], "failure making request");
    }

    #[test]
    fn payloads_of_every_kind_keep_the_entry_json_and_short() {
        let long = vec![b'a'; MAX_PAYLOAD_BYTES + 1];
        // Six times as long when it is quoted.
        let controls = vec![1; MAX_PAYLOAD_BYTES / 2];
        for (body, shown) in [
            (&b"data: {}\n\n"[..], json!("data: {}\n\n")),
            (b"", json!("")),
            (b"[1, 2]", json!([1, 2])),
            (b"\xff", json!("\u{fffd}")),
            (&long, json!(format!("left out: {} bytes", long.len()))),
            (&controls, json!(format!("left out: {} bytes", controls.len()))),
        ] {
            let bytes = write(&Entry { inbound_payload: Some(body), ..entry() });
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["response"]["inbound_payload"], shown);
        }
    }
}
