//! The numbers and codes of vendors that report an error in a form of their own, mostly with status 200: MiniMax, Spark, Baidu, Zhipu,
//! Tencent.

use crate::ErrorClass::{
    self, ContentFiltered, ContextTooLong, InvalidRequest, KeyRefused, NotFound, Overloaded, QuotaExhausted,
    RateLimited, ServerError, TimedOut, Unsupported,
};
use crate::json::RawJson;

/// Fields of errors in forms of vendors' own, and what stands beside them.
pub(crate) const FIELDS: [&[u8]; 11] = [
    b"code",
    b"error_code",
    b"error_msg",
    b"id",
    b"message",
    b"msg",
    b"request_id",
    b"requestId",
    b"status",
    b"success",
    b"type",
];

/// Fields that surround an answer as well as an error, and say nothing themselves.
const ENVELOPE: [&[u8]; 12] = [
    b"Response",
    b"base_resp",
    b"created",
    b"extra_info",
    b"header",
    b"log_id",
    b"model",
    b"object",
    b"service_tier",
    b"sid",
    b"trace_id",
    b"usage",
];

/// Whether the top of an answer or an event reports an error in one of these forms, and no answer stands beside it. The numbers of
/// Baidu and Zhipu have no form of their own, and are no such report.
pub(crate) fn reports_error(top: RawJson<'_>) -> bool {
    let (mut failed, mut sid, mut code, mut answers) = (false, false, false, false);
    let is_error = |number: Option<RawJson<'_>>| number.and_then(RawJson::unsigned).is_some_and(|number| number != 0);
    top.for_each_field(|name, value| match name {
        b"base_resp" => failed |= is_error(value.field("status_code")),
        b"header" => failed |= value.field("sid").is_some() && is_error(value.field("code")),
        b"Response" => failed |= value.field("Error").is_some_and(|error| !error.is_blank()),
        b"ErrorMsg" => failed |= value.is_object() && !value.is_blank(),
        b"sid" => sid = true,
        b"code" => code = is_error(Some(value)),
        b"choices" | b"Choices" => {
            let messages = value.elements().flat_map(|choice| choice.pick(["message", "delta", "Message", "Delta"]));
            for message in messages.flatten() {
                message.for_each_field(|name, value| {
                    answers |= !matches!(name, b"role" | b"Role" | b"name" | b"index") && !value.is_blank();
                });
            }
        }
        _ => {
            let says_something = matches!(value.bytes().first(), Some(b'"' | b'[' | b'{')) && !value.is_blank();
            answers |= says_something && !FIELDS.contains(&name) && !ENVELOPE.contains(&name);
        }
    });
    (failed || (sid && code)) && !answers
}

/// MiniMax's `base_resp.status_code`. Source: platform.minimax.io, api-reference/errorcode.
pub(crate) const fn minimax(code: u64) -> ErrorClass {
    match code {
        1001 => TimedOut,
        // Calls, tokens, connections, growth of the rate.
        1002 | 1039 | 1041 | 2045 => RateLimited,
        1004 | 2049 => KeyRefused,
        1008 | 2056 => QuotaExhausted,
        1026 | 1027 => ContentFiltered,
        1042..=1044 | 2013 | 2037 | 2039 | 2042 | 2048 => InvalidRequest,
        // A model that the plan does not have.
        2061 => NotFound,
        _ => ServerError,
    }
}

/// iFlytek Spark's `code`, `header.code`. Source: xfyun.cn, doc/spark/Web, error codes.
pub(crate) const fn spark(code: u64) -> ErrorClass {
    match code {
        10003..=10005 | 10163 => InvalidRequest,
        10006 | 10007 | 10310 | 11202 | 11203 | 11210 => RateLimited,
        10008 | 10110 => Overloaded,
        10013 | 10014 | 10019 | 10021 => ContentFiltered,
        10015 | 10016 | 11200 => KeyRefused,
        // The limit of a day.
        11201 => QuotaExhausted,
        10907 => ContextTooLong,
        _ => ServerError,
    }
}

/// Baidu's `error_code`. Source: ai.baidu.com, ai-doc/WENXINWORKSHOP/tlmyncueh. assumed: 336001 to 336007 are faults of parameters and
/// 336103 of the length of the prompt, as its SDKs take them.
pub(crate) const fn baidu(code: u64) -> ErrorClass {
    match code {
        2 | 4 | 336_100 => Overloaded,
        3 | 336_001..=336_003 | 336_006 | 336_007 => InvalidRequest,
        6 | 13 | 14 | 100 | 110 | 111 => KeyRefused,
        17 | 19 => QuotaExhausted,
        18 | 336_501 | 336_502 => RateLimited,
        336_103 => ContextTooLong,
        _ => ServerError,
    }
}

/// Zhipu's `code`, from 1000 to 1399; `None` if it is none of those that are known. Source: docs.bigmodel.cn, api/api-code.
pub(crate) const fn zhipu(code: u64) -> Option<ErrorClass> {
    Some(match code {
        1000..=1004 | 1110..=1112 | 1121 => KeyRefused,
        // In arrears; the limit of a day, of a plan; a plan that is over.
        1113 | 1304 | 1308..=1310 => QuotaExhausted,
        1120 | 1230 | 1234 => ServerError,
        1210 | 1213..=1215 | 1220..=1222 => InvalidRequest,
        // A model that does not exist, or that the plan does not have.
        1211 | 1311 => NotFound,
        1212 => Unsupported,
        1261 => ContextTooLong,
        1301 => ContentFiltered,
        1302 | 1303 | 1305 | 1313 => RateLimited,
        1312 => Overloaded,
        _ => return None,
    })
}

/// Tencent's `Response.Error.Code`, by its beginning. Sources: cloud.tencent.com, common error codes; the SDK's `hunyuan/v20230901`.
const TENCENT: &[(&str, ErrorClass)] = &[
    ("AuthFailure", KeyRefused),
    ("UnauthorizedOperation", KeyRefused),
    ("UnsupportedOperation.NonWhitelistAccount", KeyRefused),
    ("FailedOperation.ServiceNotActivated", KeyRefused),
    ("FailedOperation.ServiceStopArrears", QuotaExhausted),
    ("FailedOperation.ServiceStop", KeyRefused),
    ("FailedOperation.FreeResourcePackExhausted", QuotaExhausted),
    ("FailedOperation.ResourcePackExhausted", QuotaExhausted),
    ("FailedOperation.EngineServerLimitExceeded", RateLimited),
    ("FailedOperation.EngineRequestTimeout", TimedOut),
    ("RequestLimitExceeded", RateLimited),
    ("LimitExceeded", RateLimited),
    ("InvalidParameterValue.Model", NotFound),
    ("InvalidParameter", InvalidRequest),
    ("InvalidRequest", InvalidRequest),
    ("MissingParameter", InvalidRequest),
    ("UnknownParameter", InvalidRequest),
    ("OperationDenied.TextIllegalDetected", ContentFiltered),
    ("OperationDenied.ImageIllegalDetected", ContentFiltered),
    ("ResourceInsufficient", Overloaded),
    ("ResourceUnavailable", Overloaded),
];

/// See [`TENCENT`].
pub(crate) fn tencent(code: &str) -> ErrorClass {
    let known = TENCENT.iter().find(|(beginning, _)| code.starts_with(beginning));
    known.map_or(ServerError, |(_, class)| *class)
}
