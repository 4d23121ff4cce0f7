//! Errors in OpenAI's form, and the clouds' errors in Anthropic's.

use crate::error_body::ErrorBody;
use crate::json::RawJson;
use crate::translate::write;

/// The vendor's types of errors, the status that each comes with, and OpenAI's type. The vendor's own word becomes the code.
/// Source: platform.claude.com/docs/en/api/errors.
const TYPES: [(&str, u16, &str); 11] = [
    ("invalid_request_error", 400, "invalid_request_error"),
    ("authentication_error", 401, "authentication_error"),
    ("billing_error", 402, "insufficient_quota"),
    ("permission_error", 403, "permission_error"),
    ("not_found_error", 404, "not_found_error"),
    ("conflict_error", 409, "conflict_error"),
    ("request_too_large", 413, "invalid_request_error"),
    ("rate_limit_error", 429, "rate_limit_error"),
    ("api_error", 500, "server_error"),
    ("timeout_error", 504, "server_error"),
    ("overloaded_error", 529, "server_error"),
];

/// What the error's details say: a limit on spending, which no waiting of a minute lifts.
const SPEND_LIMITS: [&str; 2] = ["enforced_spend_limit_reached", "contract_spend_limit_reached"];

/// Translates the body of an error answer. Its status stays.
pub fn error(status: u16, body: &[u8]) -> Vec<u8> {
    let read = ErrorBody::read(body);
    let mut out = Vec::with_capacity(body.len().min(4096) + 128);
    write_error(&mut out, &read, Some(status));
    out
}

/// The body of an error answer in the vendor's own form, for a client that speaks its protocol; `None` if it has that form, or is
/// no error. The clouds answer in forms of their own where the model was not asked.
pub(crate) fn own_error(status: u16, body: &[u8]) -> Option<Vec<u8>> {
    let parsed = RawJson::parse(body).ok();
    let has_form = parsed.is_some_and(|body| {
        body.field("type").is_some_and(|kind| kind.is_text("error"))
            && body.field("error").is_some_and(RawJson::is_object)
    });
    if has_form || status < 400 {
        return None;
    }
    let read = ErrorBody::read(body);
    let known = read.words().find_map(|word| TYPES.iter().find(|(name, ..)| *name == word));
    let kind = match (known.or_else(|| TYPES.iter().find(|(_, code, _)| *code == status)), status) {
        (Some((name, ..)), _) => name,
        (None, 408) => "timeout_error",
        // assumed: the vendor's own has status 529.
        (None, 503) => "overloaded_error",
        (None, 400..=499) => "invalid_request_error",
        (None, _) => "api_error",
    };
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"type\":\"error\",\"error\":{");
    write::text(&mut out, "type", kind);
    match read.message.as_deref().filter(|message| !message.trim().is_empty()) {
        Some(message) => write::text(&mut out, "message", message),
        None => write::text(&mut out, "message", &without_message(status)),
    }
    out.extend_from_slice(b"}}");
    Some(out)
}

fn without_message(status: u16) -> String {
    format!("the model answered with status {status}")
}

/// Writes `{"error": …}`. Without a status, as in a stream, what the body says decides alone.
pub(super) fn write_error(out: &mut Vec<u8>, read: &ErrorBody<'_>, status: Option<u16>) {
    let known = read.words().find_map(|word| TYPES.iter().find(|(name, ..)| *name == word));
    let by_status = || TYPES.iter().find(|(_, code, _)| Some(*code) == status);
    let (kind, class) = match known.or_else(by_status) {
        Some((name, _, class)) => (*name, *class),
        None if status.is_some_and(|status| status < 500) => ("invalid_request_error", "invalid_request_error"),
        None => ("api_error", "server_error"),
    };
    let code = read.words().next().unwrap_or(kind);
    let class = if SPEND_LIMITS.contains(&code) { "insufficient_quota" } else { class };
    out.extend_from_slice(b"{\"error\":{");
    match (read.message.as_deref().filter(|message| !message.trim().is_empty()), status) {
        (Some(message), _) => write::text(out, "message", message),
        (None, Some(status)) => write::text(out, "message", &without_message(status)),
        (None, None) => write::text(out, "message", "the model reported an error"),
    }
    write::text(out, "type", class);
    write::json(out, "param", b"null");
    write::text(out, "code", code);
    out.extend_from_slice(b"}}");
}
