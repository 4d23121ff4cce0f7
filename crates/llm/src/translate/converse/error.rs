//! Bedrock's errors in OpenAI's form.

use crate::json::RawJson;
use crate::translate::write;

/// The type in OpenAI's words of one of Bedrock's exceptions; of another one the status decides.
fn kind(exception: &str, status: Option<u16>) -> &'static str {
    let is = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(exception));
    if is(&["ValidationException", "ResourceNotFoundException", "ConflictException"]) {
        "invalid_request_error"
    } else if is(&["AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"]) {
        "authentication_error"
    } else if is(&["ThrottlingException", "ServiceQuotaExceededException"]) {
        "rate_limit_error"
    } else {
        match status {
            Some(401 | 403) => "authentication_error",
            Some(429) => "rate_limit_error",
            Some(400..=499) => "invalid_request_error",
            _ => "server_error",
        }
    }
}

/// The name of an exception of all forms that `x-amzn-errortype` and `__type` have:
/// `ThrottlingException:http://internal.amazon.com/…`, `com.amazon.coral.service#ThrottlingException`.
fn exception_name(text: &str) -> &str {
    let name = text.split([':', ';']).next().unwrap_or_default().trim();
    name.rsplit('#').next().unwrap_or_default()
}

/// Translates the body of an answer with an error status, which stays. `amazon_type` is the answer's `x-amzn-errortype`.
pub fn error(status: u16, amazon_type: Option<&str>, body: &[u8]) -> Vec<u8> {
    let body = RawJson::parse(body).ok();
    let field = |names: [&str; 2]| names.into_iter().find_map(|name| body?.field(name)?.text());
    let typed = field(["__type", "code"]);
    let exception = exception_name(amazon_type.or(typed.as_deref()).unwrap_or_default());
    let message = field(["message", "Message"]);
    let message = message.as_deref().unwrap_or("the model's vendor answered with an error without a message");
    let mut out = Vec::new();
    write_error(&mut out, exception, Some(status), message);
    out
}

/// Appends an error object in OpenAI's form.
pub(super) fn write_error(out: &mut Vec<u8>, exception: &str, status: Option<u16>, message: &str) {
    out.extend_from_slice(b"{\"error\":{\"message\":");
    write::string(out, message);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(kind(exception, status).as_bytes());
    out.extend_from_slice(b"\",\"param\":null,\"code\":");
    if exception.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        write::string(out, exception);
    }
    out.extend_from_slice(b"}}");
}
