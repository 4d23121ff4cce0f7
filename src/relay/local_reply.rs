//! Our own answers: errors in the form that OpenAI's clients know, with codes that say that they are ours.
//!
//! None of them looks like a bad key, and each that is worth another try says when.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::http::response;
use hyper::{Method, Response, StatusCode};
use llm::Protocol;
use llm::provider::{EndpointError, PrepareError};
use llm::translate::TranslateError;
use serde_json::json;

use super::provider_target::{ANTHROPIC_VERSION, NotSentReason};
use super::proxy_body::ProxyBody;
use crate::provider_auth;
use crate::wrong_tokens::TooManyWrongTokens;

/// The methods that are passed on. `TRACE` would hand a target's own key to the client, `CONNECT` asks for a tunnel, and no API
/// has others.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
/// The same, as the header `Allow` has them.
pub(super) const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Whether a method is passed on.
pub(super) fn is_allowed(method: &Method) -> bool {
    METHODS.contains(method)
}

/// The mark of an answer of ours, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReplyCode(pub(super) &'static str);

/// What we have to say ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LocalReply {
    /// No pool serves this path.
    NoPool,
    /// The method is none of [`METHODS`].
    Method,
    /// It asks for another protocol, such as WebSocket.
    Upgrade,
    /// It names no host, or several.
    Host,
    /// More than one thing says how long the request is.
    AmbiguousLength,
    /// The path could be read as one outside the target's address.
    OddPath,
    /// The body is larger than this, in bytes.
    TooLarge(usize),
    /// The body did not come in time.
    TooSlow,
    /// The client broke off its body.
    Incomplete,
    /// There is no room for another call.
    Busy,
    /// This process has no descriptors, memory or ports left to call a target with.
    Exhausted,
    /// Too many wrong operators' tokens.
    TooManyWrongTokens(TooManyWrongTokens),
    /// No target of the pool serves this model; those that there are.
    UnknownModel(String, Arc<[String]>),
    /// The request names no model, and no target sets one; those that there are.
    NoModel(Arc<[String]>),
    /// What is wrong with the configuration that the client sent along.
    ClientConfig(Vec<String>),
    /// No target could be sent this request.
    NotSent(NotSentReason),
    /// Every target was tried in vain, or none was left. With a summary of the attempts.
    AllTargetsUnavailable(String),
    /// Every target is asked too often. With a summary of the attempts.
    AllTargetsRateLimited(String),
}

impl LocalReply {
    const fn code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoPool => (StatusCode::NOT_FOUND, "no_such_pool"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Upgrade => (StatusCode::NOT_IMPLEMENTED, "upgrade_not_supported"),
            Self::Host => (StatusCode::BAD_REQUEST, "bad_host"),
            Self::AmbiguousLength => (StatusCode::BAD_REQUEST, "ambiguous_length"),
            Self::OddPath => (StatusCode::BAD_REQUEST, "bad_path"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "request_too_slow"),
            Self::Incomplete => (StatusCode::BAD_REQUEST, "request_incomplete"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "broker_busy"),
            Self::Exhausted => (StatusCode::SERVICE_UNAVAILABLE, "broker_exhausted"),
            Self::TooManyWrongTokens(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_wrong_tokens"),
            Self::UnknownModel(..) => (StatusCode::NOT_FOUND, "model_not_found"),
            Self::NoModel(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::ClientConfig(_) => (StatusCode::BAD_REQUEST, "invalid_config"),
            Self::NotSent(reason) => match reason {
                NotSentReason::Prepare(PrepareError::Translate(_)) => (StatusCode::BAD_REQUEST, "invalid_request"),
                NotSentReason::Prepare(PrepareError::Endpoint(
                    EndpointError::InvalidModel | EndpointError::InvalidPath,
                )) => (StatusCode::BAD_REQUEST, "invalid_request"),
                NotSentReason::Prepare(_) | NotSentReason::Incapable(_) | NotSentReason::Address => {
                    (StatusCode::NOT_FOUND, "not_supported")
                }
                NotSentReason::NoKey => (StatusCode::SERVICE_UNAVAILABLE, "no_key"),
                NotSentReason::NoMemory => (StatusCode::SERVICE_UNAVAILABLE, "broker_busy"),
                NotSentReason::NoTime => (StatusCode::SERVICE_UNAVAILABLE, "all_targets_unavailable"),
            },
            Self::AllTargetsRateLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "all_targets_rate_limited"),
            Self::AllTargetsUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "all_targets_unavailable"),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::NoPool => "No pool of the broker serves this path.".to_owned(),
            Self::Method => format!("The broker does not pass on this method: use one of {ALLOW}."),
            Self::Upgrade => {
                "The broker does not switch to another protocol, such as WebSocket: send the request without Upgrade."
                    .to_owned()
            }
            Self::Host => "The request must have one Host header.".to_owned(),
            Self::AmbiguousLength => {
                "The request's length is ambiguous: send either one Content-Length, or Transfer-Encoding: chunked."
                    .to_owned()
            }
            Self::OddPath => {
                "The path must not have . or .. as a segment, also behind an encoded slash (%2f), a backslash, a control \
                character, an encoded dot or backslash (%2e, %5c), nor anything that is encoded twice (%25..)."
                    .to_owned()
            }
            Self::TooLarge(most) => format!("The request is larger than {} MB.", most >> 20),
            Self::TooSlow => "The request body was not received in time.".to_owned(),
            Self::Incomplete => "The request body ended early.".to_owned(),
            Self::Busy => "The broker has reached its limit of concurrent calls: retry after the time in Retry-After.".to_owned(),
            Self::Exhausted => {
                "The broker has no descriptors, memory or ports left to call a target: retry after the time in Retry-After.".to_owned()
            }
            Self::TooManyWrongTokens(fault) => fault.to_string(),
            Self::UnknownModel(asked, models) => {
                format!("The model `{}` is not served here. Available models: {}.", shortened(asked), listed(models))
            }
            Self::NoModel(models) => format!("The request names no `model`. Available models: {}.", listed(models)),
            Self::ClientConfig(faults) => format!("x-portkey-config: {}.", faults.join("; ")),
            Self::NotSent(reason) => format!("No target of this pool takes the request: {reason}."),
            Self::AllTargetsUnavailable(summary) | Self::AllTargetsRateLimited(summary) => format!("No target could serve this request: {summary}."),
        }
    }

    /// OpenAI's word for it, where the client is at fault.
    fn kind(&self) -> &'static str {
        let is_clients =
            matches!(self, Self::NotSent(_) | Self::UnknownModel(..) | Self::NoModel(_) | Self::ClientConfig(_))
                && self.code().0.is_client_error();
        if is_clients { "invalid_request_error" } else { "broker_error" }
    }

    /// The field that is wrong.
    fn param(&self) -> Option<&str> {
        match self {
            Self::NotSent(NotSentReason::Prepare(PrepareError::Translate(TranslateError::Invalid {
                param, ..
            }))) => Some(param),
            Self::NotSent(NotSentReason::Prepare(PrepareError::Endpoint(EndpointError::InvalidModel)))
            | Self::UnknownModel(..)
            | Self::NoModel(_) => Some("model"),
            _ => None,
        }
    }

    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy | Self::Exhausted | Self::TooManyWrongTokens(_) | Self::NotSent(NotSentReason::NoMemory) => {
                Some(Duration::from_secs(1))
            }
            Self::NotSent(NotSentReason::NoKey) => Some(provider_auth::RETRY_AFTER),
            _ => None,
        }
    }

    pub(super) fn codes() -> impl Iterator<Item = &'static str> {
        let nobody = [Self::AllTargetsUnavailable(String::new()), Self::AllTargetsRateLimited(String::new())];
        let own = [
            Self::NoPool,
            Self::Method,
            Self::Upgrade,
            Self::Host,
            Self::AmbiguousLength,
            Self::OddPath,
            Self::TooLarge(0),
            Self::TooSlow,
            Self::Incomplete,
            Self::Busy,
            Self::Exhausted,
            Self::TooManyWrongTokens(TooManyWrongTokens),
            Self::UnknownModel(String::new(), Arc::default()),
            Self::NoModel(Arc::default()),
            Self::ClientConfig(Vec::new()),
            Self::NotSent(NotSentReason::NoKey),
            Self::NotSent(NotSentReason::Address),
            Self::NotSent(NotSentReason::Prepare(PrepareError::Endpoint(EndpointError::InvalidModel))),
        ];
        own.into_iter().chain(nobody).map(|own| own.code().1)
    }

    /// The answer, in the form that the client's errors have by its request.
    pub(super) fn response(&self, asked: &Parts) -> Response<ProxyBody> {
        let (status, code) = self.code();
        let body = error_body(asked, status, self.kind(), code, &self.message(), self.param());
        let mut response = Response::new(ProxyBody::buffered([body]));
        *response.status_mut() = status;
        response.extensions_mut().insert(ReplyCode(code));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Self::Method => drop(headers.insert(header::ALLOW, HeaderValue::from_static(ALLOW))),
            // What follows on this connection may be the rest of the request, or another one.
            Self::Host | Self::AmbiguousLength => {
                drop(headers.insert(header::CONNECTION, HeaderValue::from_static("close")))
            }
            _ => {}
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds(wait));
        }
        response
    }
}

/// An error of ours in the form that the client's errors have by its request.
fn error_body(asked: &Parts, status: StatusCode, kind: &str, code: &str, message: &str, param: Option<&str>) -> Bytes {
    let error = if speaks_anthropic(asked) {
        let error = json!({"type": anthropic_kind(status), "message": message, "code": code});
        json!({"type": "error", "error": error})
    } else {
        json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
    };
    error.to_string().into()
}

/// The body that a client is sent instead of a target's error that did not come to its end; the head is changed to fit.
pub(super) fn incomplete_error(asked: &Parts, head: &mut response::Parts) -> Bytes {
    let status = head.status;
    head.headers.remove(header::CONTENT_ENCODING);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let message = format!("The target answered {}, and its response was incomplete.", status.as_u16());
    error_body(asked, status, "broker_error", "incomplete_error", &message, None)
}

/// Whether a client knows errors in Anthropic's form. The header comes with all of Anthropic's calls, so it decides where the
/// path says nothing.
fn speaks_anthropic(asked: &Parts) -> bool {
    match Protocol::of_path(asked.uri.path()) {
        Protocol::Anthropic => true,
        Protocol::OpenAiChat | Protocol::OpenAiResponses | Protocol::Gemini => false,
        Protocol::Embeddings
        | Protocol::Images
        | Protocol::Moderations
        | Protocol::Rerank
        | Protocol::Transcription
        | Protocol::Speech
        | Protocol::Generic => asked.headers.contains_key(ANTHROPIC_VERSION),
    }
}

/// Anthropic's word for a status (<https://docs.anthropic.com/en/api/errors>).
fn anthropic_kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        // assumed: Anthropic's own has status 529.
        503 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// This many models are named at most.
fn listed(models: &[String]) -> String {
    const MAX_MODELS: usize = 100;
    let names = models.iter().take(MAX_MODELS).map(String::as_str).collect::<Vec<_>>().join(", ");
    match models.len().saturating_sub(MAX_MODELS) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// A name as a client wrote it, of a length that fits into an answer.
fn shortened(name: &str) -> String {
    const MAX_NAME_CHARS: usize = 100;
    let short: String = name.chars().take(MAX_NAME_CHARS).collect();
    if short.len() < name.len() { format!("{short}…") } else { short }
}

/// Whole seconds, never too few.
pub(super) fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn asked(path: &str, version: bool) -> Parts {
        let request = Request::builder().uri(path);
        let request = if version { request.header(ANTHROPIC_VERSION, "2023-06-01") } else { request };
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn clients_of_anthropics_api_get_its_form() {
        for (path, version, is_anthropic) in [
            ("/llm/v1/messages", false, true),
            ("/llm/v1/messages/count_tokens", true, true),
            ("/llm/v1/messages/count_tokens", false, false),
            ("/llm/v1/chat/completions", true, false),
            ("/llm/v1/embeddings", false, false),
        ] {
            assert_eq!(speaks_anthropic(&asked(path, version)), is_anthropic, "{path} {version}");
        }
    }

    #[test]
    fn methods_are_passed_on_by_their_exact_names() {
        let named: Vec<_> = METHODS.iter().map(Method::as_str).collect();
        assert_eq!(named.join(", "), ALLOW);
        assert_eq!(LocalReply::Method.response(&asked("/", false)).headers()[header::ALLOW], ALLOW);
        for name in ["TRACE", "CONNECT", "get", "Post", "FOO", "PROPFIND", "QUERY"] {
            assert!(!is_allowed(&Method::from_bytes(name.as_bytes()).unwrap()), "{name}");
        }
    }

    #[test]
    fn an_error_of_ours_has_the_form_that_clients_know() {
        for (own, status, wait) in [
            (LocalReply::Busy, 503, Some("1")),
            (LocalReply::AllTargetsUnavailable("a".to_owned()), 503, None),
            (LocalReply::NotSent(NotSentReason::NoKey), 503, Some("5")),
            (LocalReply::NotSent(NotSentReason::NoMemory), 503, Some("1")),
            (LocalReply::NotSent(NotSentReason::Address), 404, None),
            (LocalReply::NoPool, 404, None),
            (LocalReply::Method, 405, None),
            (LocalReply::Upgrade, 501, None),
            (LocalReply::TooLarge(20 << 20), 413, None),
        ] {
            let response = own.response(&asked("/llm/v1/chat/completions", false));
            assert_eq!(response.status(), status);
            let said = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!(said, wait, "{own:?}");
        }
        assert!(LocalReply::TooLarge(20 << 20).message().contains("20 MB"));
    }
}
