//! An entry of the gateway's log (docs/gateway-protocol.md 3), written by the relay for a call that did not pass the gateway, so that whatever
//! reads the log sees it like any other. [`super::log_entry`] reads what this writes.
//!
//! The caller masks secrets before it calls.

use std::fmt::Display;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::patch;
use types::request::Patch;
use types::time::BrokerTime;

/// The longest payload that an entry holds, in bytes. Each payload occurs twice in an entry, and both must fit into one message.
pub const MAX_PAYLOAD_BYTES: usize = 128 << 10;
/// A timer that never started, as the gateway writes it.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
/// What the gateway answers where there was no upstream.
const UNREACHABLE_BODY: &[u8] = br#"{"error":"failure making request"}"#;

/// A header's name, and its values.
pub type Header = (String, Vec<String>);

/// What is known of a call.
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
    /// What stands beside the stamp as `broker_call`, a JSON object: the outcome in the broker's words. Empty: nothing.
    pub call: &'a [u8],
    /// What followed the ingress in the path.
    pub rest: &'a str,
    /// Where it went, without a query.
    pub url: &'a str,
    /// The headers that went there.
    pub asked: &'a [Header],
    /// The body that came from the client.
    pub ingress_payload: &'a [u8],
    /// The body that went to the target.
    pub outbound_payload: &'a [u8],
    /// What the target's settings change in the body.
    pub patch: Patch,
    pub status: u16,
    /// The headers of the answer; none where there was no answer.
    pub answered: &'a [Header],
    /// The body of the answer.
    pub inbound_payload: Option<&'a [u8]>,
    /// How it came to no good end.
    pub error: Option<&'a str>,
    /// When the call came, when it was sent, and when it was over.
    pub times: Option<[BrokerTime; 3]>,
}

/// The entry, in bytes.
pub fn write(entry: &Entry<'_>) -> Vec<u8> {
    let inbound = entry.inbound_payload.unwrap_or(UNREACHABLE_BODY);
    let payloads = [entry.ingress_payload, entry.outbound_payload, inbound, inbound];
    let length: usize =
        payloads.iter().map(|payload| payload.len()).filter(|length| *length <= MAX_PAYLOAD_BYTES).sum();
    let mut out = Object::begin(Vec::with_capacity(4_096 + length));
    let [came, sent, over] = entry.times.unwrap_or([BrokerTime::from_nanos(0); 3]);
    out.value("session_id", &json!(entry.session));
    out.value("transaction_id", &json!(entry.transaction));
    out.value("ingress_egress_timer", &timer(came, over));
    out.value("egress_post_timer", &timer(over, over));
    out.raw("request", &request(entry, came, sent));
    out.raw("response", &response(entry, inbound, sent, over));
    out.end()
}

fn request(entry: &Entry<'_>, came: BrokerTime, sent: BrokerTime) -> Vec<u8> {
    let mut out = Object::begin(Vec::new());
    out.value("gl_path", &json!(entry.router));
    out.value("original_gl_path", &json!(entry.ingress));
    out.value("ingress_subpath", &json!(entry.rest));
    out.value("outbound_subpath", &json!(entry.rest));
    out.raw("ingress_payload", &payload(entry.ingress_payload));
    out.raw("outbound_payload", &payload(entry.outbound_payload));
    if !entry.patch.is_empty() {
        out.raw("broker_patch", &patch::write(&entry.patch));
    }
    out.value("outbound_headers", &headers(entry.asked));
    out.value("url", &json!(entry.url));
    out.value("ingress_outbound_timer", &timer(came, sent));
    if !entry.stamp.is_empty() {
        out.raw("broker", entry.stamp);
    }
    if !entry.call.is_empty() {
        out.raw("broker_call", entry.call);
    }
    out.end()
}

fn response(entry: &Entry<'_>, inbound: &[u8], sent: BrokerTime, over: BrokerTime) -> Vec<u8> {
    let mut out = Object::begin(Vec::new());
    out.value("gl_path", &json!(entry.router));
    out.value("inbound_status_code", &json!(entry.status));
    out.value("egress_status_code", &json!(entry.status));
    out.value("inbound_headers", &headers(entry.answered));
    out.value("egress_headers", &headers(entry.answered));
    let inbound = payload(inbound);
    out.raw("inbound_payload", &inbound);
    out.raw("egress_payload", &inbound);
    out.value("outbound_inbound_timer", &timer(sent, over));
    out.value("inbound_egress_timer", &timer(over, over));
    let mut errors = Vec::new();
    if let Some(error) = entry.error {
        errors.push(json!({"name": "relay", "details": error}));
    }
    if entry.status != 200 {
        errors.push(json!({"name": "egress_status_code", "details": entry.status.to_string()}));
    }
    if !errors.is_empty() {
        out.value("error", &Value::Array(errors));
    }
    out.end()
}

/// A body as the gateway shows it: JSON as it is, everything else as one quoted text.
fn payload(body: &[u8]) -> Vec<u8> {
    if body.len() > MAX_PAYLOAD_BYTES {
        return json!(format!("left out: {} bytes", body.len())).to_string().into_bytes();
    }
    match serde_json::from_slice::<IgnoredAny>(body) {
        Ok(_) => body.to_vec(),
        Err(_) => json!(String::from_utf8_lossy(body)).to_string().into_bytes(),
    }
}

fn headers(headers: &[Header]) -> Value {
    Value::Object(headers.iter().map(|(name, values)| (name.clone(), json!(values))).collect())
}

fn timer(start: BrokerTime, stop: BrokerTime) -> Value {
    json!({"start": moment(start), "stop": moment(stop), "duration": stop.since(start).as_millis()})
}

fn moment(now: BrokerTime) -> String {
    Timestamp::from_nanosecond(now.as_nanos().into()).map_or_else(|_| ZERO_TIME.to_owned(), |moment| moment.to_string())
}

/// An object that is being written.
struct Object(Vec<u8>);

impl Object {
    fn begin(mut bytes: Vec<u8>) -> Self {
        bytes.push(b'{');
        Self(bytes)
    }

    fn value(&mut self, name: &str, value: &impl Display) {
        self.raw(name, value.to_string().as_bytes());
    }

    fn raw(&mut self, name: &str, value: &[u8]) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.extend_from_slice(b"\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        self.0.extend_from_slice(value);
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_entry;
    use std::time::Duration;
    use types::outcome::RetryAfter;

    fn entry<'a>() -> Entry<'a> {
        let came = BrokerTime::from_nanos(1_800_000_000_123_456_789);
        Entry {
            session: "AB_1_1_0",
            transaction: "AB_1_1_1",
            ingress: "/azure/",
            router: "/azure/openai/",
            stamp: br#"{"id":"ab-1","router":"/azure/openai/","why":"x"}"#,
            rest: "chat/completions",
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
        let answered = vec![("Retry-After".to_owned(), vec!["3".to_owned()])];
        let bytes = write(&Entry { answered: &answered, status: 429, ..entry() });
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
        assert!(report.started < report.stopped);
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
        for (body, shown) in [
            (&b"data: {}\n\n"[..], json!("data: {}\n\n")),
            (b"", json!("")),
            (b"[1, 2]", json!([1, 2])),
            (b"\xff", json!("\u{fffd}")),
            (&long, json!(format!("left out: {} bytes", long.len()))),
        ] {
            let bytes = write(&Entry { inbound_payload: Some(body), ..entry() });
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["response"]["inbound_payload"], shown);
        }
    }
}
