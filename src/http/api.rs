//! The read-only documents (status, recent decisions and calls, settings in force) and the metrics.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use super::HttpState;
use crate::calls::{CallQuery, CallRecord, KeptCall};
use crate::nats::ConnectionStatus;
use crate::recent_decisions::CAPACITY;
use crate::status::{self, ConfigStatus, Status};

/// A response that caches do not store and for which browsers do not guess another media type.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(super) fn document(status: StatusCode, document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(bytes) => answer(status, "application/json", bytes),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the document could not be written"),
    }
}

/// An error response with its reason.
pub(super) fn refusal(status: StatusCode, why: &str) -> Response {
    let mut response = answer(status, "application/json", json!({ "error": why }).to_string());
    // RFC 9110, 15.5.2: a 401 names the scheme that is asked for.
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
    }
    response
}

fn status_of(sources: &HttpState) -> Status {
    Status::from_broker(&sources.broker, sources.links.iter().map(ConnectionStatus::show).collect())
}

pub(super) async fn status(State(sources): State<HttpState>) -> Response {
    document(StatusCode::OK, &status_of(&sources))
}

pub(super) async fn metrics(State(sources): State<HttpState>) -> Response {
    let text = status::metrics(status_of(&sources), &sources.broker);
    answer(StatusCode::OK, status::CONTENT_TYPE, text)
}

pub(super) async fn config(State(sources): State<HttpState>) -> Response {
    let shown = ConfigStatus::new(&sources.broker.identity(), sources.bus, &sources.broker.settings());
    document(StatusCode::OK, &shown)
}

/// Recent events, the newest last: decisions of this replica, finished calls, changes.
pub(super) async fn decisions(State(sources): State<HttpState>) -> Response {
    let calls = sources.broker.calls().recent(|recent| recent.newest(0, CAPACITY).1);
    let calls: Vec<CallRecord> = calls.iter().map(KeptCall::record).collect();
    let last = json!({
        "replica": sources.broker.replica(),
        "decisions": sources.broker.recent_entries(|recent| &recent.decisions, 0).0,
        "calls": calls,
        "changes": sources.broker.recent_entries(|recent| &recent.changes, 0).0,
    });
    document(StatusCode::OK, &last)
}

/// The finished calls in memory, the newest first, in pages.
pub(super) async fn calls(State(sources): State<HttpState>, RawQuery(query): RawQuery) -> Response {
    let query = CallQuery::of_url(query.as_deref().unwrap_or_default());
    match query.and_then(|query| sources.broker.calls().page(sources.broker.replica(), query)) {
        Ok(page) => document(StatusCode::OK, &page),
        Err(fault) => refusal(StatusCode::BAD_REQUEST, &fault.to_string()),
    }
}
