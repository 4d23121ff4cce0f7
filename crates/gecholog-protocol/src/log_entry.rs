//! Parses an entry of the gateway's log (docs/gateway-protocol.md 3) in one pass, which skips unneeded fields.
//!
//! Each payload occurs twice in an entry and can be a megabyte. Payloads are not copied, and only `error.code` and the usage of
//! the upstream's answer are read, and the request's path and `model` if the answer reports that one of them does not exist.

use std::time::Duration;

use super::answer_headers::Headers;
use super::logged_call::{Details, LoggedCall};
use super::missing::MissingName;
use super::{Malformed, object, stamp, transaction};
use jiff::Timestamp;
use llm::error_class;
use llm::headers::AnswerHeaders;
use llm::json::{Cursor, RawJson, SyntaxError};
use llm::retry_after::MAX_RETRY_AFTER;
use llm::{retry_after, usage};
use types::outcome::{ErrorClass, LogEntry, RetryAfter, SetBy, TransportFailure};
use types::time::GatewayTime;

/// The fields without which nothing can be learnt from an entry, and that the gateway's filters can remove.
pub const NEEDED: [&str; 2] = ["response.gl_path", "response.inbound_status_code"];

/// Parses an entry, for learning.
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8]) -> Result<LogEntry<'_>, Malformed> {
    read_call(bytes).map(|call| call.entry)
}

/// The same, with the fields that only the call's record needs.
///
/// # Errors
/// What is wrong with it.
pub fn read_call(bytes: &[u8]) -> Result<LoggedCall<'_>, Malformed> {
    let mut parts = Parts {
        entry: LogEntry::default(),
        upstream: Timer::default(),
        has_status: false,
        headers: AnswerHeaders::default(),
        payload: &[],
        details: Details::default(),
    };
    object(bytes, |cursor| parts.read(cursor))?;
    Ok(parts.finish())
}

/// The fields that were found so far.
struct Parts<'a> {
    entry: LogEntry<'a>,
    /// `outbound_inbound_timer`: runs while the upstream works.
    upstream: Timer<'a>,
    /// There is an `inbound_status_code`, valid or not.
    has_status: bool,
    /// The headers of the upstream's answer.
    headers: AnswerHeaders<'a>,
    /// The body of the upstream's answer.
    payload: &'a [u8],
    details: Details<'a>,
}

/// A timer of the gateway, as written.
#[derive(Default)]
struct Timer<'a> {
    start: Option<&'a str>,
    stop: Option<&'a str>,
    millis: Option<u64>,
}

impl<'a> Parts<'a> {
    fn read(&mut self, object: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        object.fields(|name, value| {
            match name {
                b"transaction_id" => self.entry.answer.transaction = value.plain()?,
                b"session_id" => self.entry.session = value.plain()?,
                b"ingress_egress_timer" => {
                    let timer = Timer::read(value)?;
                    self.entry.started = timer.start.and_then(moment);
                    self.entry.stopped = timer.stop.and_then(moment);
                }
                b"request" => self.read_request(value)?,
                b"response" => self.read_response(value)?,
                _ => {}
            }
            Ok(())
        })
    }

    fn read_request(&mut self, request: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        let entry = &mut self.entry;
        request.fields(|name, value| {
            match name {
                b"gl_path" => entry.routed_path = value.plain()?,
                b"original_gl_path" => entry.ingress = value.plain()?,
                b"control" => entry.processor_generated = true,
                b"error" => entry.processor_errors = Some(value.raw()?.bytes()),
                b"ingress_payload" => {
                    let payload = value.raw()?;
                    (entry.payload, self.details.received) = (Some(payload.bytes()), Some(payload));
                }
                b"ingress_headers" => self.details.headers = Some(value.raw()?),
                b"outbound_payload" => self.details.sent = Some(value.raw()?),
                b"broker_patch" => self.details.patch = Some(value.raw()?),
                b"ingress_subpath" => self.details.subpath = Some(value.raw()?),
                b"url" => self.details.url = Some(value.raw()?),
                b"broker_call" => {
                    let call = value.raw()?;
                    let says = |name| call.field(name).is_some_and(RawJson::is_true);
                    entry.makes_nothing = says("makes_nothing");
                    let text = |name| call.field(name).and_then(RawJson::plain);
                    entry.payload_digest = text("payload_digest").and_then(|digest| digest.parse().ok());
                    entry.client_model = text("client_model");
                    // It knows more than the entry shows: what broke off has no headers and no body there.
                    entry.details.error_class = text("class").and_then(|class| class.parse().ok());
                    // A key may be another one here: keys are renewed replica by replica.
                    let is_shared = says("own_key") && entry.details.error_class != Some(ErrorClass::KeyRefused);
                    let by_target = is_shared.then_some(SetBy::Target);
                    entry.key = if says("clients_key") { Some(SetBy::Client) } else { by_target };
                    let failure = text("failure").zip(entry.details.error_class);
                    entry.transport_failure =
                        failure.and_then(|(name, class)| TransportFailure::from_name(name, class));
                    let wait = call.field("retry_after_ms").and_then(RawJson::unsigned).map(Duration::from_millis);
                    entry.answer.retry_after = wait.map(|wait| RetryAfter::Delay(wait.min(MAX_RETRY_AFTER)));
                    self.details.call = Some(call);
                }
                b"broker" => {
                    let mut stamp = stamp::ParsedStamp::default();
                    let read = |value: &mut Cursor<'a>| stamp::read(value).map(|read| stamp = read);
                    self.details.stamp = Some(value.raw_with(read)?);
                    (entry.stamped_path, entry.stamp_id, entry.details.probe) = (stamp.router, stamp.id, stamp.probe);
                }
                _ => {}
            }
            Ok(())
        })?;
        entry.ingress = entry.ingress.or(entry.routed_path);
        Ok(())
    }

    fn read_response(&mut self, response: &mut Cursor<'a>) -> Result<(), SyntaxError> {
        response.fields(|name, value| {
            let entry = &mut self.entry;
            match name {
                b"gl_path" => entry.answer.served_path = value.plain()?,
                b"inbound_status_code" => {
                    entry.answer.status = value.raw()?.status();
                    self.has_status = true;
                }
                b"egress_status_code" => entry.egress_status = value.raw()?.status(),
                b"inbound_headers" => {
                    let headers = Headers::read(value)?;
                    (entry.answer.gateway_generated, entry.answer.html) = (headers.are_none, headers.fields.is_html());
                    self.headers = headers.fields;
                }
                b"inbound_payload" => {
                    let (payload, usage) = usage::of_value(value)?;
                    (self.payload, self.details.answer) = (payload.bytes(), Some(payload));
                    self.details.counted = usage.transpose();
                }
                b"error" => self.details.errors = Some(value.raw()?),
                b"token_count" => self.details.token_count = Some(value.raw()?),
                b"outbound_inbound_timer" => self.upstream = Timer::read(value)?,
                _ => {}
            }
            Ok(())
        })
    }

    fn finish(mut self) -> LoggedCall<'a> {
        let filtered = self.filtered();
        let entry = &mut self.entry;
        entry.filtered = filtered;
        if let Some(status) = entry.answer.status.or(entry.egress_status) {
            let received = entry.stopped.map(GatewayTime::timestamp);
            entry.details.quota = retry_after::rate_limits(&self.headers, received);
            let by_answer = || retry_after::of_answer(status, &self.headers, self.payload, received);
            entry.answer.retry_after = entry.answer.retry_after.or_else(by_answer);
            let by_answer = || error_class::classify(status, &self.headers, self.payload);
            entry.details.error_class = entry.details.error_class.or_else(by_answer);
            let missing = MissingName::of_error(status, entry.details.error_class, self.payload);
            entry.details.missing = missing.map(|missing| self.details.who_named(missing));
        }
        entry.started = entry.started.or_else(|| entry.answer.transaction.and_then(transaction::started));
        entry.details.latency = self.upstream.millis.filter(|_| self.upstream.has_run()).map(Duration::from_millis);
        self.details.stated = self.headers.usage().transpose();
        let usage = self.details.usage();
        // The estimate was already made when the call was sent.
        if let Ok(Some(usage)) = usage
            && !usage.estimated
        {
            entry.details.completion_tokens = Some(usage.output).filter(|output| *output > 0);
            entry.details.total_tokens = Some(usage.total());
        }
        LoggedCall { entry: self.entry, usage, details: self.details }
    }

    /// The needed field that the gateway's filters removed. A call that never reached its upstream does not have it either,
    /// which its timer shows: it never started.
    fn filtered(&self) -> Option<&'static str> {
        if self.upstream.start.is_some() && !self.upstream.has_run() {
            None
        } else if self.entry.answer.served_path.is_none() {
            Some(NEEDED[0])
        } else if !self.has_status {
            Some(NEEDED[1])
        } else {
            None
        }
    }
}

impl<'a> Timer<'a> {
    fn read(timer: &mut Cursor<'a>) -> Result<Self, SyntaxError> {
        let mut read = Self::default();
        timer.fields(|name, value| {
            match name {
                b"start" => read.start = value.plain()?,
                b"stop" => read.stop = value.plain()?,
                b"duration" => read.millis = value.raw()?.unsigned(),
                _ => {}
            }
            Ok(())
        })?;
        Ok(read)
    }

    /// A timer that never started says year 1.
    fn has_run(&self) -> bool {
        self.start.is_some_and(|start| !start.starts_with("0001-"))
    }
}

/// A moment in the gateway's spelling, RFC 3339 with nanoseconds.
fn moment(text: &str) -> Option<GatewayTime> {
    let moment: Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_nanosecond()).ok().map(GatewayTime::from_nanos)
}
