//! Errors with a good status in the forms of proxies and of vendors that copy nobody.

use crate::answer::class_of;
use crate::json::RawJson;
use crate::vendor_codes;
use types::outcome::ErrorClass;

/// The error in an answer of a form of its own (FastAPI's, DashScope's, Baidu's, Cloudflare's, problem details by RFC 9457 with the
/// `traceId` of ASP.NET) that has nothing but the fields of one: not any other field, nor an object in one of these, nor a result or
/// a word of success. In doubt an answer is good. `is_problem`: the type says that it has problem details, which may have any other
/// field.
pub(crate) fn foreign_error(value: RawJson<'_>, is_problem: bool) -> Option<ErrorClass> {
    let (mut only, mut says_why, mut failed) = (true, false, false);
    value.for_each_field(|name, field| {
        let is_failure = match name {
            b"error_code" => !field.is_blank() && !matches!(field.bytes(), b"0" | b"\"0\""),
            b"code" => {
                field.unsigned().map_or_else(|| field.text().is_some_and(|code| is_failure(&code)), is_error_status)
            }
            b"success" => field.bytes() == b"false",
            b"status" => field.unsigned().is_some_and(|status| matches!(status, 400..600)),
            b"detail" | b"errors" | b"error_msg" => !field.is_blank(),
            _ => false,
        };
        failed |= is_failure;
        says_why |=
            matches!(name, b"detail" | b"errors" | b"error_msg" | b"message" | b"msg" | b"title") && !field.is_blank();
        only &= match name {
            b"errors" => true,
            b"result" => field.is_blank(),
            b"success" => field.bytes() != b"true",
            b"detail" | b"instance" | b"messages" | b"title" | b"traceId" => !field.is_object(),
            _ => vendor_codes::FIELDS.contains(&name) && !field.is_object(),
        };
    });
    ((only || is_problem) && says_why && failed).then(|| class_of(value))
}

/// A code for machines that is no number and no success, such as `InvalidApiKey`, or the status of an error.
fn is_failure(code: &str) -> bool {
    if let Ok(number) = code.parse() {
        return is_error_status(number);
    }
    let is_success = ["ok", "success", "succeeded", "created", "accepted", "completed"];
    code.bytes().any(|byte| byte.is_ascii_alphabetic())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && !is_success.iter().any(|known| code.eq_ignore_ascii_case(known))
}

/// What other numbers mean, only their vendor knows; Zhipu's are known.
const fn is_error_status(code: u64) -> bool {
    matches!(code, 400..600) || vendor_codes::zhipu(code).is_some()
}
