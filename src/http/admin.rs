//! Commands of operators: with their token, they go to this replica and, over the bus, to all others.

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::HttpState;
use super::api::{document, refusal};
use crate::admin::{AdminAction, AdminRequest, AdminResult, MAX_REQUEST_BYTES};
use crate::telemetry::TokenInterface;
use types::router::RouterPath;

pub(super) async fn router(
    State(sources): State<HttpState>,
    Path((router, action)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let known =
        AdminAction::from_name(&action).filter(|action| !matches!(action, AdminAction::Weight | AdminAction::Mode));
    let Some(action) = known else {
        return refusal(StatusCode::NOT_FOUND, "drain, resume, disable, enable: not another action");
    };
    match path(&router) {
        Ok(router) => execute(sources, action, headers, body, |ask| ask.router = Some(router)).await,
        Err((status, why)) => refusal(status, &why),
    }
}

pub(super) async fn weight(
    State(sources): State<HttpState>,
    Path(pool): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match path(&pool) {
        Ok(pool) => execute(sources, AdminAction::Weight, headers, body, |ask| ask.pool = Some(pool)).await,
        Err((status, why)) => refusal(status, &why),
    }
}

pub(super) async fn mode(State(sources): State<HttpState>, headers: HeaderMap, body: Body) -> Response {
    execute(sources, AdminAction::Mode, headers, body, |_| {}).await
}

type Rejection = (StatusCode, String);

/// A router's path, percent-encoded as one segment of a URL: `%2Fazure%2Fgpt4%2F`.
fn path(text: &str) -> Result<RouterPath, Rejection> {
    RouterPath::parse(text).map_err(|fault| (StatusCode::NOT_FOUND, format!("{text:?} {fault}")))
}

async fn execute(
    sources: HttpState,
    action: AdminAction,
    headers: HeaderMap,
    body: Body,
    complete: impl FnOnce(&mut AdminRequest),
) -> Response {
    if let Err((status, why)) = admit(&sources, &headers).await {
        return refusal(status, &why);
    }
    let Ok(body) = to_bytes(body, MAX_REQUEST_BYTES).await else {
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 4096 bytes, or broke off");
    };
    let who = "the HTTP API";
    let asked = AdminRequest::read(&body).map(|mut asked| {
        complete(&mut asked);
        asked
    });
    let own = asked.and_then(|asked| Ok((asked.clone().command(action, who.to_owned(), sources.broker.now())?, asked)));
    let (own, asked) = match own {
        Ok(both) => both,
        Err(fault) => return refusal(StatusCode::BAD_REQUEST, &fault.to_string()),
    };
    let who = format!("HTTP of {}", sources.broker.replica());
    let done = sources.peers.send_command(&who, action, &asked, &own).await;
    answer(&done)
}

/// 404 if no replica applied it: it names a router or pool that no replica has.
fn answer(done: &[AdminResult]) -> Response {
    let changed = done.iter().filter(|done| done.error.is_none()).count();
    let status = if changed > 0 { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let error = done.iter().find_map(|done| done.error.as_deref()).filter(|_| changed == 0);
    document(status, &json!({"changed": changed, "replicas": done, "error": error}))
}

/// The token of an `Authorization` header. Its scheme is in any case, with one space or more behind it (RFC 9110, 11.1 and 11.4).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
}

/// Checks the operators' token. The answer to a wrong one is delayed.
async fn admit(sources: &HttpState, headers: &HeaderMap) -> Result<(), Rejection> {
    let Some(token) = sources.peers.token() else {
        let why = "this broker is read-only: set BROKER_ADMIN_TOKEN (or BROKER_ADMIN_TOKEN_FILE)";
        return Err((StatusCode::FORBIDDEN, why.to_owned()));
    };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(bearer);
    if given.is_some_and(|given| token.matches(given)) {
        return Ok(());
    }
    // Only a wrong token is delayed, not a missing one.
    if headers.contains_key(AUTHORIZATION)
        && let Err(fault) = sources.wrong_tokens.delay(TokenInterface::Http).await
    {
        return Err((StatusCode::TOO_MANY_REQUESTS, fault.to_string()));
    }
    let why = match given {
        Some(_) => "the operators' token is wrong: it must be the broker's own BROKER_ADMIN_TOKEN",
        None => "needs Authorization: Bearer with the operators' token",
    };
    Err((StatusCode::UNAUTHORIZED, why.to_owned()))
}
