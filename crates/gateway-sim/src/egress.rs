//! The way back: what came in from upstream, what processors made of it, and what the client gets.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use crate::headers::Headers;
use crate::outbound::set_names;
use crate::serve::CloseConnection;
use crate::transaction::{Rejection, Transaction};
use crate::upstream::Inbound;

pub(crate) const INTERNAL_ERROR: &str = r#"{"error":"internal server error"}"#;
const NO_PAYLOAD: &str = "gechologobject->GetField: key egress_payload does not exist";

/// What the client gets.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Headers,
    body: Bytes,
}

impl Transaction {
    /// Fills the response side; without an inbound (nothing could be sent) there is no status and no payload.
    pub(crate) fn store_inbound(&mut self, inbound: Option<Inbound>) {
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        if let Some(Inbound { status, headers, body }) = inbound {
            let status = status.to_string();
            self.response.object.set("inbound_status_code", status.clone());
            self.response.object.set("egress_status_code", status);
            self.received = headers;
            self.response.store_payload(["inbound_payload", "egress_payload"], "Payload not a valid json3", body);
        }
        self.response.object.set("inbound_headers", self.received.masked(&config.masked).to_json());
        let (name, values) = self.session_header();
        self.received.0.insert(name, values);
        self.response.object.set("egress_headers", self.received.masked(&config.masked).to_json());
    }

    fn session_header(&self) -> (String, Vec<String>) {
        (self.shared.config.session_header.clone(), vec![self.session.transaction.clone()])
    }

    /// The answer after the sync response processors. `reached`: a request could be sent at all.
    pub(crate) fn answer(&mut self, reached: bool) -> Result<Answer, CloseConnection> {
        let headers = self.merge_egress_headers();
        let internal_error = || (500, Bytes::from_static(INTERNAL_ERROR.as_bytes()));
        let (status, body) = match (self.response.object.get("egress_payload").cloned(), self.wanted_status()) {
            _ if !reached => internal_error(),
            (None, _) => {
                self.response.error("egress_payload", NO_PAYLOAD);
                internal_error()
            }
            (Some(body), Some(status)) => (u16::try_from(status).map_err(|_| CloseConnection)?, body),
            (Some(body), None) => (500, body),
        };
        if !(100..=999).contains(&status) {
            return Err(CloseConnection);
        }
        self.note_status(status);
        Ok(Answer { status, headers, body })
    }

    /// The answer to a request that is rejected; no response processor runs.
    pub(crate) fn reject(&mut self, rejection: Rejection) -> Answer {
        let (status, body) = match rejection {
            Rejection::Unauthorized(fault) => (401, format!(r#"{{"error":"unauthorized {fault}"}}"#).into()),
            Rejection::Required => {
                self.response.error("egress_payload", NO_PAYLOAD);
                (500, Bytes::from_static(INTERNAL_ERROR.as_bytes()))
            }
        };
        let headers = self.merge_egress_headers();
        self.note_status(status);
        Answer { status, headers, body }
    }

    /// As Go decodes it into an integer: `null` is 0, and what is no integer is no status.
    fn wanted_status(&self) -> Option<i64> {
        let json = self.response.object.get("egress_status_code")?;
        serde_json::from_slice::<Option<i64>>(json).ok().map(Option::unwrap_or_default)
    }

    fn note_status(&mut self, status: u16) {
        self.response.object.set("egress_status_code", status.to_string());
        if status != 200 {
            self.response.error("egress_status_code", &status.to_string());
        }
    }

    /// The session header is always there, masked names are upstream's own, and the rest is what processors left.
    fn merge_egress_headers(&mut self) -> Headers {
        let shared = Arc::clone(&self.shared);
        let masked = &shared.config.masked;
        let mut headers = self.response.read("egress_headers", Headers::from_json);
        let removed = headers.remove(&shared.config.removed);
        let discarded = self.response.read("inbound_headers", Headers::from_json).names_not_in(&headers, &removed);
        let object = &mut self.response.object;
        set_names(|json| object.set("egresss_headers_removed", json), &removed, masked);
        set_names(|json| object.set("egresss_headers_discarded", json), &discarded, masked);
        let (name, values) = self.session_header();
        headers.0.insert(name, values);
        let headers = headers.to_send(masked, &self.received);
        self.response.object.set("egress_headers", headers.masked(masked).to_json());
        headers
    }
}

impl Answer {
    /// The answer in HTTP, finished as Go's server finishes it. Informational statuses end as 200.
    pub(crate) fn into_http(self) -> Result<Response<Full<Bytes>>, CloseConnection> {
        let status = if self.status < 200 { 200 } else { self.status };
        let status = StatusCode::from_u16(status).map_err(|_| CloseConnection)?;
        let bare = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let body = if bare { Bytes::new() } else { self.body };
        let mut response = Response::new(Full::new(body.clone()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        self.headers.write_allowed(headers);
        frame(headers, (!bare).then_some(body.len()));
        if status == StatusCode::NOT_MODIFIED {
            headers.remove(header::CONTENT_TYPE);
        }
        Ok(response)
    }
}

/// Content-Length is counted anew; a missing Content-Type is guessed, and JSON looks like plain text to Go.
fn frame(headers: &mut HeaderMap, length: Option<usize>) {
    headers.remove(header::CONTENT_LENGTH);
    let Some(length) = length else { return };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if headers.get(header::CONTENT_ENCODING).is_none_or(HeaderValue::is_empty) {
        headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain; charset=utf-8"));
    }
}
