//! The messages that the gateway sends to its processors: requests, responses, and row 2's requests with our stamp.
//!
//! A message does not state its kind (docs/gateway-protocol.md 2.3). With a field `egress_status_code` of any value it is a
//! response, which is never answered with a route.

use serde_json::Value;

use super::answer_headers::Headers;
use super::reply::Degradation;
use super::{Malformed, object, stamp, transaction};
use llm::headers::AnswerHeaders;
use llm::json::{Cursor, RawJson, SyntaxError};
use llm::retry_after;
use types::outcome::ResponseMessage;
use types::request::{FieldValue, MAX_FIELD_VALUE_BYTES, Request, RequestNeeds, RequestSize};

/// A message on one of our subjects, with the fields that the gateway's configuration lets through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Message<'a> {
    /// The router of the stamp, in a message of row 2.
    pub stamped_router: Option<&'a str>,
    /// Whether it is about a finished request.
    pub is_response: bool,
    /// The observation, if it is.
    pub response: ResponseMessage<'a>,
    /// The JSON request, as it would be sent.
    pub payload: Option<RawJson<'a>>,
    /// The target's changes to it, in a message of row 2.
    pub patch: Option<RawJson<'a>>,
    headers: Option<RawJson<'a>>,
}

/// A request that waits for its router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRequest<'a> {
    path: &'a str,
    payload: Option<RawJson<'a>>,
    headers: Option<RawJson<'a>>,
}

/// The most output tokens that a field of a request's body allows, if it is such a field.
pub fn max_output_tokens(name: &[u8], value: RawJson<'_>) -> Option<u64> {
    let says = matches!(name, b"max_tokens" | b"max_completion_tokens" | b"max_output_tokens");
    if says { value.unsigned() } else { None }
}

impl<'a> RouteRequest<'a> {
    /// The JSON request, if the gateway's configuration lets us see it.
    pub const fn body(&self) -> Option<RawJson<'a>> {
        self.payload
    }

    /// The needed fields that the message does not have.
    pub const fn missing(&self, needs: RequestNeeds) -> Option<Degradation> {
        if needs.body && self.payload.is_none() {
            Some(Degradation::NoBody)
        } else if needs.headers && self.headers.is_none() {
            Some(Degradation::NoHeaders)
        } else {
            None
        }
    }
}

impl Request for RouteRequest<'_> {
    fn path(&self) -> &str {
        self.path
    }

    fn param(&self, names: &[String]) -> Option<FieldValue> {
        let mut found = self.payload;
        for name in names {
            found = found?.field(name);
        }
        let found = found?;
        if found.bytes().len() > MAX_FIELD_VALUE_BYTES {
            Some(FieldValue::TooLong)
        } else {
            found.value().map(FieldValue::Value)
        }
    }

    fn size(&self) -> RequestSize {
        let Some(payload) = self.payload else { return RequestSize::default() };
        let mut longest = None;
        // What breaks off has been refused when the message was read.
        let _ = payload.cursor().fields(|name, value| {
            longest = max_output_tokens(name, value.raw()?).max(longest);
            Ok(())
        });
        RequestSize { bytes: payload.bytes().len(), max_output_tokens: longest }
    }

    fn header(&self, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        // What breaks off has been refused when the message was read.
        let _ = self.headers.map(|headers| {
            headers.cursor().fields(|other, list| {
                if other.eq_ignore_ascii_case(name.as_bytes()) {
                    let list = list.raw()?.value();
                    let texts = list.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
                    values.extend(texts.map(str::to_owned));
                }
                Ok(())
            })
        });
        values
    }
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut message = Self {
            stamped_router: None,
            is_response: false,
            response: ResponseMessage { headers_missing: true, ..ResponseMessage::default() },
            payload: None,
            patch: None,
            headers: None,
        };
        let mut answer = AnswerHeaders::default();
        object(bytes, |cursor| cursor.fields(|name, value| message.read_field(name, value, &mut answer)))?;
        let response = &mut message.response;
        // Its body is never sent with it.
        response.answer.retry_after = response
            .answer
            .status
            .or(response.egress_status)
            .and_then(|status| retry_after::of_answer(status, &answer, &[], None));
        // A success without any header is not an upstream's: a processor made it.
        response.processor_generated = response.answer.gateway_generated && response.answer.status == Some(200);
        response.started = response.answer.transaction.and_then(transaction::started);
        Ok(message)
    }

    /// The request that waits for a router.
    ///
    /// # Errors
    /// There is no path, or it is not a text.
    pub fn request(&self) -> Result<RouteRequest<'a>, Malformed> {
        let path = self.response.answer.served_path.ok_or(Malformed::NoPath)?;
        Ok(RouteRequest { path, payload: self.payload, headers: self.headers })
    }

    fn read_field(
        &mut self,
        name: &[u8],
        value: &mut Cursor<'a>,
        answer: &mut AnswerHeaders<'a>,
    ) -> Result<(), SyntaxError> {
        let response = &mut self.response;
        match name {
            b"gl_path" => response.answer.served_path = value.plain()?,
            b"broker" => self.stamped_router = stamp::read(value)?.router,
            // The outbound body is preferred to the inbound one: an earlier processor may have changed it.
            b"outbound_payload" => self.payload = Some(value.raw()?),
            b"ingress_payload" => self.payload = self.payload.or(Some(value.raw()?)),
            b"outbound_headers" => self.headers = Some(value.raw()?),
            b"ingress_headers" => self.headers = self.headers.or(Some(value.raw()?)),
            b"broker_patch" => self.patch = Some(value.raw()?),
            b"inbound_status_code" => response.answer.status = value.raw()?.status(),
            b"inbound_headers" => {
                let headers = Headers::read(value)?;
                (response.answer.gateway_generated, response.answer.html) =
                    (headers.are_none, headers.fields.is_html());
                *answer = headers.fields;
                response.headers_missing = false;
            }
            b"egress_headers" => response.answer.transaction = session_transaction(value)?,
            b"egress_status_code" => {
                self.is_response = true;
                response.egress_status = value.raw()?.status();
            }
            _ => {}
        }
        Ok(())
    }
}

/// The transaction id among the headers sent to the client: that of `Session-Id`, else, since a gateway can name the header
/// otherwise, the first value that has the form of an id.
fn session_transaction<'a>(headers: &mut Cursor<'a>) -> Result<Option<&'a str>, SyntaxError> {
    let mut found = None;
    headers.fields(|name, values| {
        if found.is_none() || name == b"Session-Id" {
            let value = values.raw()?.first().and_then(RawJson::plain);
            found = value.filter(|value| transaction::is_id(value)).or(found);
        }
        Ok(())
    })?;
    Ok(found)
}
