//! Every vendor's error answers and the class of each.

use llm::ErrorClass::{self, *};
use llm::Protocol;
use llm::answer::answer_error;
use llm::error_class::{classify, is_ambiguous_refusal, other_account_may_answer, refuses_account};
use llm::headers::AnswerHeaders;
use llm::stream::{StreamEnd, StreamState};
use proptest::prelude::*;
use serde_json::{Value, json};

fn class(status: u16, body: &Value) -> Option<ErrorClass> {
    classify(status, &AnswerHeaders::default(), body.to_string().as_bytes())
}

fn check(vendor: &str, cases: &[(u16, Value, ErrorClass)]) {
    for (status, body, expected) in cases {
        assert_eq!(class(*status, body), Some(*expected), "{vendor}: {status} {body}");
        assert_eq!(class(*status, &json!([body])), Some(*expected), "{vendor}: in an array: {status} {body}");
    }
}

/// An error of OpenAI's.
fn openai(kind: &str, code: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": if code.is_empty() { Value::Null } else { code.into() }}})
}

#[test]
fn s1_1_openai_errors() {
    let invalid = "invalid_request_error";
    check(
        "OpenAI",
        &[
            (
                429,
                openai("insufficient_quota", "insufficient_quota", "You exceeded your current quota"),
                QuotaExhausted,
            ),
            (429, openai("insufficient_quota", "", "You exceeded your current quota, please check"), QuotaExhausted),
            (400, openai(invalid, "billing_hard_limit_reached", "Billing hard limit has been reached"), QuotaExhausted),
            (429, openai("requests", "organization_spend_limit_exceeded", "x"), QuotaExhausted),
            (429, openai("requests", "project_spend_limit_exceeded", "x"), QuotaExhausted),
            (400, openai(invalid, "", "Billing hard limit has been reached"), QuotaExhausted),
            (429, openai("requests", "rate_limit_exceeded", "Rate limit reached for gpt-4o"), RateLimited),
            (
                429,
                openai(
                    "tokens",
                    "rate_limit_exceeded",
                    "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 40000.",
                ),
                ContextTooLong,
            ),
            (401, openai(invalid, "invalid_api_key", "Incorrect API key provided: sk-x"), KeyRefused),
            (400, openai(invalid, "invalid_api_key", "Incorrect API key provided: sk-x"), KeyRefused),
            (
                403,
                openai("request_forbidden", "unsupported_country_region_territory", "Country not supported"),
                KeyRefused,
            ),
            (
                404,
                openai(invalid, "model_not_found", "The model `gpt-9` does not exist or you do not have access to it."),
                NotFound,
            ),
            (404, openai(invalid, "", "The model `gpt-9` does not exist"), NotFound),
            (404, openai(invalid, "", "No thread found with id 'thread_x'."), InvalidRequest),
            (
                400,
                openai(invalid, "previous_response_not_found", "Previous response with id 'resp_x' not found."),
                InvalidRequest,
            ),
            (
                400,
                openai(invalid, "context_length_exceeded", "This model's maximum context length is 8192 tokens."),
                ContextTooLong,
            ),
            (400, openai(invalid, "", "This model's maximum context length is 8192 tokens."), ContextTooLong),
            (400, openai(invalid, "content_policy_violation", "Your request was rejected"), ContentFiltered),
            (
                400,
                openai(invalid, "moderation_blocked", "Your request was rejected by the safety system."),
                ContentFiltered,
            ),
            (400, openai(invalid, "unsupported_value", "Unsupported value: 'temperature'"), InvalidRequest),
            (503, openai("service_unavailable_error", "slow_down", "Slow down"), Overloaded),
            (
                500,
                openai("service_unavailable_error", "server_is_overloaded", "Our servers are currently overloaded."),
                Overloaded,
            ),
            (500, openai("service_unavailable_error", "", "x"), Overloaded),
            (500, openai("server_error", "", "The server had an error while processing your request"), ServerError),
            (500, openai(invalid, "", "The server had an error"), ServerError),
            (424, json!({"error": {"message": "x"}}), ServerError),
            (
                424,
                openai(
                    "external_connector_error",
                    "http_error",
                    "Error retrieving tool list from MCP server: 'x'. Http status code: 424 (Failed Dependency)",
                ),
                InvalidRequest,
            ),
        ],
    );
}

#[test]
fn s1_1_azure_errors() {
    check(
        "Azure",
        &[
            (
                404,
                json!({"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}),
                NotFound,
            ),
            (
                404,
                json!({"error": {"message": "The API deployment for this resource does not exist. If you created the deployment"}}),
                NotFound,
            ),
            (404, json!({"error": {"code": "404", "message": "Resource not found"}}), InvalidRequest),
            (
                429,
                json!({"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation have exceeded call rate limit. Please retry after 7 seconds."}}),
                RateLimited,
            ),
            (
                400,
                json!({"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "type": null, "param": "prompt", "code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": true}}}}}),
                ContentFiltered,
            ),
            (
                401,
                json!({"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."}}),
                KeyRefused,
            ),
            (401, json!({"statusCode": 401, "message": "Unauthorized. Access token is missing, invalid"}), KeyRefused),
            (403, json!({"error": {"code": "QuotaExceeded", "message": "Out of call volume quota."}}), QuotaExhausted),
            (
                500,
                json!({"error": {"code": "InternalServerError", "message": "Backend returned unexpected response."}}),
                ServerError,
            ),
        ],
    );
}

#[test]
fn s1_1_anthropic_errors() {
    let error = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"});
    let spent = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "x", "details": {"error_code": "enforced_spend_limit_reached"}}});
    check(
        "Anthropic",
        &[
            (
                400,
                error("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
                QuotaExhausted,
            ),
            (
                400,
                error(
                    "invalid_request_error",
                    "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
                ),
                QuotaExhausted,
            ),
            (
                400,
                error("invalid_request_error", "You have reached your specified workspace API usage limits."),
                QuotaExhausted,
            ),
            (
                429,
                error(
                    "rate_limit_error",
                    "This request would exceed your organization's rate limit of 30,000 input tokens per minute",
                ),
                RateLimited,
            ),
            (429, error("rate_limit_error", "You have reached your monthly spend limit."), QuotaExhausted),
            (429, spent, QuotaExhausted),
            (402, error("billing_error", "x"), QuotaExhausted),
            (401, error("authentication_error", "invalid x-api-key"), KeyRefused),
            (403, error("permission_error", "x"), KeyRefused),
            (400, error("invalid_request_error", "This organization has been disabled."), KeyRefused),
            (
                400,
                error(
                    "invalid_request_error",
                    "You're out of extra usage. Add more at claude.ai/settings/usage and keep going.",
                ),
                QuotaExhausted,
            ),
            (
                400,
                error(
                    "invalid_request_error",
                    "Third-party apps now draw from your extra usage, not your plan limits. Add more at claude.ai/settings/usage.",
                ),
                QuotaExhausted,
            ),
            (404, error("not_found_error", "model: claude-9"), NotFound),
            (404, error("not_found_error", "File not found"), InvalidRequest),
            (400, error("invalid_request_error", "model: Field required"), InvalidRequest),
            (400, error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), ContextTooLong),
            (413, error("request_too_large", "Request exceeds the maximum size"), ContextTooLong),
            (400, error("invalid_request_error", "Output blocked by content filtering policy"), ContentFiltered),
            (400, error("invalid_request_error", "messages: roles must alternate"), InvalidRequest),
            (500, error("api_error", "Internal server error"), ServerError),
            (529, error("overloaded_error", "Overloaded"), Overloaded),
            (500, error("overloaded_error", "Overloaded"), Overloaded),
        ],
    );
}

/// Groq, of a request that its limit never lets through.
const TOO_LARGE_FOR_A_MINUTE: &str =
    "Request too large for model `llama` in organization `org` on tokens per minute (TPM): Limit 6000, Requested 14368";
/// Vertex, of a model that is there.
const NOT_FOR_PROJECT: &str = "Project `12345` is not allowed to use Publisher Model `projects/p/locations/global/publishers/anthropic/models/claude-opus-4`";
/// Gemini, of a model that an account without payment does not have.
const LIMIT_OF_NONE: &str = "You exceeded your current quota, please check your plan and billing details.\n* Quota exceeded for metric: \
    generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 0, model: gemini-3-pro\nPlease retry in 40.1s.";

#[test]
fn s1_1_what_is_not_for_our_account_is_known_whatever_the_status_is() {
    let google = |message: &str| json!({"error": {"code": 400, "message": message, "status": "FAILED_PRECONDITION"}});
    let invalid = |code: &str| openai("invalid_request_error", code, "x");
    let too_large = |code: &str| openai("tokens", code, TOO_LARGE_FOR_A_MINUTE);
    for (class, body, expected) in [
        (NotFound, google(NOT_FOR_PROJECT), true),
        (NotFound, google("User location is not supported for the API use."), false),
        (NotFound, google("models/x is not found"), false),
        (NotFound, google("`Project p` is odd"), false),
        (NotFound, google(""), false),
        (InvalidRequest, invalid("previous_response_not_found"), true),
        (InvalidRequest, invalid("invalid_encrypted_content"), true),
        (
            InvalidRequest,
            openai("invalid_request_error", "", "Files [file-2] were not found due to ownership verification failure."),
            true,
        ),
        (InvalidRequest, invalid("unsupported_value"), false),
        (InvalidRequest, openai("invalid_request_error", "", "previous_response_not_found"), false),
        (ContextTooLong, too_large("rate_limit_exceeded"), true),
        (ContextTooLong, too_large("request_too_large"), false),
        (ContextTooLong, openai("tokens", "rate_limit_exceeded", "x"), false),
    ] {
        let found = other_account_may_answer(class, &AnswerHeaders::default(), body.to_string().as_bytes());
        assert_eq!(found, expected, "{class} {body}");
    }
    let packed = AnswerHeaders::read([(&b"content-encoding"[..], "br")]);
    assert!(!other_account_may_answer(
        InvalidRequest,
        &packed,
        invalid("previous_response_not_found").to_string().as_bytes()
    ));
}

#[test]
fn s1_1_what_is_about_the_account_that_a_request_chooses() {
    let refuses = |body: Value| refuses_account(&AnswerHeaders::default(), body.to_string().as_bytes());
    let google = |reason: &str| json!({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "x", "details": [{"reason": reason}]}});
    for code in ["mismatched_organization", "mismatched_project", "invalid_organization"] {
        assert!(refuses(openai("invalid_request_error", code, "x")), "{code}");
    }
    assert!(refuses(google("USER_PROJECT_DENIED")) && refuses(google("SERVICE_DISABLED")));
    assert!(!refuses(openai("invalid_request_error", "invalid_api_key", "mismatched_organization")));
    assert!(!refuses(google("API_KEY_INVALID")));
}

#[test]
fn s1_1_gemini_errors() {
    let error = |code: u16, status: &str, message: &str, details: Value| json!({"error": {"code": code, "message": message, "status": status, "details": details}});
    let reason = |reason: &str| json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}]);
    check(
        "Gemini",
        &[
            (
                400,
                error(
                    400,
                    "INVALID_ARGUMENT",
                    "API key not valid. Please pass a valid API key.",
                    reason("API_KEY_INVALID"),
                ),
                KeyRefused,
            ),
            (
                400,
                error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", json!([])),
                KeyRefused,
            ),
            (400, error(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", json!([])), KeyRefused),
            (400, error(400, "INVALID_ARGUMENT", "Missing or invalid Authorization header.", json!([])), KeyRefused),
            (400, error(400, "INVALID_ARGUMENT", "Missing Authorization header.", json!([])), KeyRefused),
            (400, error(400, "INVALID_ARGUMENT", "Invalid Authorization header.", json!([])), KeyRefused),
            (400, error(400, "FAILED_PRECONDITION", NOT_FOR_PROJECT, json!([])), NotFound),
            (403, error(403, "PERMISSION_DENIED", NOT_FOR_PROJECT, json!([])), NotFound),
            (429, error(429, "RESOURCE_EXHAUSTED", LIMIT_OF_NONE, json!([{"retryDelay": "40s"}])), NotFound),
            (
                429,
                error(429, "RESOURCE_EXHAUSTED", &LIMIT_OF_NONE.replace("limit: 0", "limit: 10"), json!([])),
                RateLimited,
            ),
            (
                400,
                error(400, "FAILED_PRECONDITION", "User location is not supported for the API use.", json!([])),
                KeyRefused,
            ),
            (
                403,
                error(
                    403,
                    "PERMISSION_DENIED",
                    "Generative Language API has not been used",
                    reason("SERVICE_DISABLED"),
                ),
                KeyRefused,
            ),
            (
                403,
                error(403, "PERMISSION_DENIED", "This API method requires billing", reason("BILLING_DISABLED")),
                QuotaExhausted,
            ),
            (
                429,
                error(
                    429,
                    "RESOURCE_EXHAUSTED",
                    "You exceeded your current quota, please check your plan",
                    json!([{"retryDelay": "7s"}]),
                ),
                RateLimited,
            ),
            (
                404,
                error(
                    404,
                    "NOT_FOUND",
                    "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent.",
                    json!([]),
                ),
                NotFound,
            ),
            (
                404,
                error(
                    404,
                    "NOT_FOUND",
                    "Publisher Model `projects/p/locations/l/publishers/google/models/x` was not found",
                    json!([]),
                ),
                NotFound,
            ),
            (404, error(404, "NOT_FOUND", "Requested entity was not found.", json!([])), InvalidRequest),
            (
                400,
                error(
                    400,
                    "INVALID_ARGUMENT",
                    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                    json!([]),
                ),
                ContextTooLong,
            ),
            (
                400,
                error(
                    400,
                    "INVALID_ARGUMENT",
                    "The prompt could not be submitted. This prompt contains sensitive words",
                    json!([]),
                ),
                ContentFiltered,
            ),
            (
                400,
                error(
                    400,
                    "INVALID_ARGUMENT",
                    "Invalid JSON payload received. Unknown name \"store\": Cannot find field.",
                    json!([]),
                ),
                InvalidRequest,
            ),
            (503, error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.", json!([])), Overloaded),
            (500, error(500, "INTERNAL", "An internal error has occurred.", json!([])), ServerError),
            (501, error(501, "UNIMPLEMENTED", "x", json!([])), Unsupported),
        ],
    );
}

#[test]
fn s1_1_bedrock_errors() {
    let typed = |status: u16, kind: &str, message: &str| {
        let body = json!({"message": message}).to_string();
        classify(status, &AnswerHeaders::read([(&b"x-amzn-ErrorType"[..], kind)]), body.as_bytes())
    };
    for (status, kind, message, expected) in [
        (429, "ThrottlingException", "Too many tokens, please wait before trying again.", RateLimited),
        (400, "ThrottlingException:http://internal.amazon.com/coral/com.amazon.coral.service/", "x", RateLimited),
        (424, "ModelErrorException", "The system encountered an unexpected error", ServerError),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", NotFound),
        (400, "UnrecognizedClientException", "The security token included in the request is invalid.", KeyRefused),
        (403, "", "The security token included in the request is expired", KeyRefused),
        (400, "ValidationException", "The provided model identifier is invalid.", NotFound),
        (400, "ValidationException", "Input is too long for requested model.", ContextTooLong),
        (400, "ValidationException", "Malformed input request", InvalidRequest),
        (
            404,
            "ResourceNotFoundException",
            "Could not resolve the foundation model from the provided model identifier.",
            NotFound,
        ),
        (429, "ModelNotReadyException", "x", Overloaded),
        (503, "ServiceUnavailableException", "x", Overloaded),
        (408, "ModelTimeoutException", "x", TimedOut),
        (500, "InternalServerException", "x", ServerError),
    ] {
        assert_eq!(typed(status, kind, message), Some(expected), "{status} {kind} {message}");
    }
    check(
        "Bedrock",
        &[(400, json!({"__type": "com.amazon.coral.service#ThrottlingException", "Message": "x"}), RateLimited)],
    );
}

#[test]
fn s1_1_errors_of_many_others() {
    check(
        "others",
        &[
            (
                498,
                json!({"error": {"message": "Flex tier capacity exceeded", "code": "capacity_exceeded"}}),
                ServerError,
            ),
            // Groq's spend limit.
            (400, openai("invalid_request_error", "blocked_api_access", "x"), QuotaExhausted),
            (
                400,
                openai("invalid_request_error", "model_decommissioned", "The model `x` has been decommissioned"),
                NotFound,
            ),
            (413, openai("tokens", "rate_limit_exceeded", TOO_LARGE_FOR_A_MINUTE), ContextTooLong),
            (402, openai("unknown_error", "invalid_request_error", "Insufficient Balance"), QuotaExhausted),
            (400, openai("invalid_request_error", "invalid_request_error", "Model Not Exist"), NotFound),
            (400, openai("invalid_request_error", "invalid_request_error", "Content Exists Risk"), ContentFiltered),
            (
                402,
                json!({"error": {"code": 402, "message": "This request requires more credits, or fewer max_tokens. You requested up to 64000 tokens, but can only afford 900."}}),
                ContextTooLong,
            ),
            (
                402,
                json!({"error": {"code": 402, "message": "Prompt tokens limit exceeded: 64128 > 6964. To increase, visit https://openrouter.ai/settings/credits and upgrade to a paid account"}}),
                ContextTooLong,
            ),
            // LM Studio.
            (404, json!({"error": "Unexpected endpoint or method. (POST /chat/completions)"}), Unsupported),
            (400, json!({"error": "x: unexpected endpoint or method"}), InvalidRequest),
            (
                402,
                json!({"error": {"code": 402, "message": "Insufficient credits. Add more using https://x"}}),
                QuotaExhausted,
            ),
            (
                403,
                json!({"error": {"code": 403, "message": "openai/x requires moderation and your input was flagged", "metadata": {"reasons": ["violence"]}}}),
                ContentFiltered,
            ),
            (400, json!({"error": {"code": 400, "message": "foo/bar is not a valid model ID"}}), NotFound),
            (404, json!({"error": {"code": 404, "message": "No endpoints found for foo/bar."}}), NotFound),
            (408, json!({"error": {"code": 408, "message": "Timed out"}}), TimedOut),
            (502, json!({"error": {"code": 502, "message": "Provider returned error"}}), ServerError),
            (
                400,
                json!({"object": "error", "message": "Invalid model: foo", "type": "invalid_model", "param": null, "code": "1500"}),
                NotFound,
            ),
            (
                404,
                json!({"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "param": null, "code": 404}),
                NotFound,
            ),
            (
                429,
                json!({"object": "error", "message": "Service tier capacity exceeded for this model.", "type": "service_tier_capacity_exceeded", "code": "3505"}),
                Overloaded,
            ),
            (404, json!({"error": "model 'llama9' not found"}), NotFound),
            (
                404,
                json!({"error": {"message": "model \"llama9\" not found, try pulling it first", "type": "api_error"}}),
                NotFound,
            ),
            (429, json!({"error": "Model is overloaded", "error_type": "overloaded"}), Overloaded),
            (429, json!({"error": {"type": "exceeded_current_quota_error", "message": "x"}}), QuotaExhausted),
            (429, json!({"error": {"type": "engine_overloaded_error", "message": "x"}}), Overloaded),
            (
                429,
                json!({"code": "x", "error": "Your team abc has either used all available credits or reached its monthly spending limit."}),
                QuotaExhausted,
            ),
            (
                400,
                json!({"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***9d."}),
                KeyRefused,
            ),
            (
                429,
                json!({"error": {"code": 429, "message": "Your prepayment credits are depleted. Please go to x", "status": "RESOURCE_EXHAUSTED"}}),
                QuotaExhausted,
            ),
            (
                400,
                json!({"error": {"code": 400, "message": "Gemini API free tier is not available in your country. Please enable billing", "status": "FAILED_PRECONDITION"}}),
                KeyRefused,
            ),
            (
                400,
                json!({"__type": "ValidationException", "message": "Access to Anthropic models is not allowed from unsupported countries, regions, or territories."}),
                NotFound,
            ),
            (
                403,
                json!({"code": 30001, "message": "Sorry, your account balance is insufficient", "data": null}),
                QuotaExhausted,
            ),
            (
                403,
                json!({"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "not enough balance", "metadata": {}}),
                QuotaExhausted,
            ),
            (
                429,
                json!({"message": "You are using a Trial key, which is limited to 1000 API calls / month. You can continue"}),
                QuotaExhausted,
            ),
            (
                429,
                json!({"message": "You are using a Trial key, which is limited to 10 API calls / minute. You can continue"}),
                RateLimited,
            ),
            (400, json!({"code": "Arrearage", "message": "Access denied", "request_id": "1"}), QuotaExhausted),
            (
                413,
                json!({"error": {"code": "tokens_limit_reached", "message": "Request body too large for gpt-4o model. Max size: 8000 tokens."}}),
                ContextTooLong,
            ),
            (
                404,
                json!({"error": {"code": "NOT_FOUND", "message": "Model not found, inaccessible, and/or not deployed"}}),
                NotFound,
            ),
            (422, json!({"detail": [{"loc": ["body"], "msg": "field required"}]}), InvalidRequest),
            (400, json!({"errors": [{"code": 5007, "message": "No such model @cf/x"}], "success": false}), NotFound),
        ],
    );
}

/// 401 and 403 that name what the request asks for: not the key, which serves everything else.
/// Ollama's own form, its OpenAI-shaped one and its Anthropic-shaped one say the same.
#[test]
fn s1_1_ollamas_limits_in_all_its_forms() {
    let busy = "server busy, please try again.  maximum pending requests exceeded";
    let cloud = "https://ollama.com/upgrade";
    let session = format!("you (a_name) have reached your session usage limit, upgrade for higher limits: {cloud}");
    let weekly = format!(
        "you (someone-1) have reached your weekly usage limit, upgrade for higher limits: {cloud} or add extra usage: https://ollama.com/settings (ref: 1-2)"
    );
    let hourly = "you've reached your hourly usage limit, please wait or upgrade to continue";
    let subscription = format!("this model requires a subscription, upgrade for access: {cloud}");
    for (status, message, anthropics_type, expected) in [
        (503, busy, "overloaded_error", Overloaded),
        // Before 0.1.34.
        (500, busy, "api_error", Overloaded),
        (500, "unexpected server status: llm busy - no slots available", "api_error", Overloaded),
        (503, "Server overloaded, please retry shortly (ref: 1-2)", "overloaded_error", Overloaded),
        (429, &session, "rate_limit_error", QuotaExhausted),
        (429, &weekly, "rate_limit_error", QuotaExhausted),
        (429, hourly, "rate_limit_error", QuotaExhausted),
        (429, "too many concurrent requests", "rate_limit_error", RateLimited),
        (403, &subscription, "permission_error", NotFound),
        (401, "unauthorized", "authentication_error", KeyRefused),
        (500, "llama runner process has terminated: exit status 2", "api_error", ServerError),
    ] {
        let forms = [
            json!({"error": message}),
            json!({"error": {"message": message, "type": "api_error", "param": null, "code": null}}),
            json!({"type": "error", "error": {"type": anthropics_type, "message": message}}),
        ];
        check("Ollama", &forms.map(|form| (status, form, expected)));
    }
    // What a caller wrote stands behind a beginning that is the vendor's.
    for message in [
        "invalid value: you (me) have reached your weekly usage limit",
        "you (me) are wrong about your weekly usage limit",
    ] {
        assert_eq!(class(429, &json!({"error": message})), Some(RateLimited), "{message}");
    }
    assert_eq!(class(500, &json!({"error": "cannot parse: server busy"})), Some(ServerError));
}

#[test]
fn s1_1_a_limit_per_minute_is_no_length_of_the_request() {
    check(
        "a limit",
        &[
            (
                429,
                json!({"message": "Tokens per minute limit exceeded - too many tokens processed.", "type": "too_many_tokens_error", "param": "quota", "code": "token_quota_exceeded"}),
                RateLimited,
            ),
            (429, json!({"message": "Too many tokens, please wait before trying again."}), RateLimited),
            (429, json!({"error": {"message": "Too many tokens: your context window is busy"}}), RateLimited),
            (429, json!({"error": {"message": "x violates usage guidelines"}}), RateLimited),
            (408, json!({"error": {"message": "Timed out: reduce the context length"}}), TimedOut),
            (429, json!({"error": {"message": "Request too large for gpt-4o in organization"}}), ContextTooLong),
        ],
    );
    for (body, expected) in [
        (json!({"error": {"message": "Too many tokens", "code": 429}}), RateLimited),
        (json!({"error": {"message": "Too many tokens, please wait before trying again."}}), RateLimited),
        (json!({"error": {"message": "prompt is too long: too many tokens"}}), ContextTooLong),
    ] {
        let error = format!("data: {}\n\n", body);
        let mut stream = StreamState::new(Protocol::OpenAiChat);
        stream.push(error.as_bytes());
        assert_eq!(stream.finish(), StreamEnd::Failed(expected), "{body}");
    }
}

/// Servers that answer the caller's fault with 5xx: what says so only spares the target, and a limit per minute is none.
#[test]
fn s1_1_a_request_that_is_too_long_or_refused_is_the_callers_fault_also_as_a_servers_error() {
    let llama = |message: &str| json!({"error": {"code": 500, "message": message, "type": "server_error"}});
    check(
        "5xx",
        &[
            (500, llama("input is too large to process. increase the physical batch size"), ContextTooLong),
            (
                500,
                llama(
                    "input (700 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
                ),
                ContextTooLong,
            ),
            (500, llama("Internal error: content management policy"), ContentFiltered),
            (500, llama("failed to decode"), ServerError),
            (500, llama("I got \"the context length\" from the caller"), ServerError),
            (502, json!({"error": {"code": 429, "message": "Too many tokens per minute"}}), ServerError),
            (503, json!({"error": {"type": "overloaded_error", "message": "context window of the queue"}}), Overloaded),
        ],
    );
}

#[test]
fn s1_1_content_that_was_flagged_and_budgets_of_end_users_are_the_requests() {
    let flagged = "anthropic/claude-3-5-haiku requires moderation on Amazon Bedrock. Your input was flagged for \"self-harm/intent\".";
    let over = "ExceededBudget: End User=alice over budget. Spend=300.16, Budget=300.0";
    let mine = "Budget has been exceeded! Current cost: 10, Max budget: 5";
    check(
        "OpenRouter and LiteLLM",
        &[
            (403, json!({"error": {"code": 403, "message": flagged}}), ContentFiltered),
            (403, json!({"error": {"code": 403, "message": "Your input was flagged."}}), ContentFiltered),
            (
                403,
                json!({"error": {"code": 403, "message": "x", "metadata": {"reasons": ["violence"], "flagged_input": "y"}}}),
                ContentFiltered,
            ),
            (400, openai("budget_exceeded", "400", over), InvalidRequest),
            (401, openai("auth_error", "401", over), InvalidRequest),
            (429, openai("budget_exceeded", "429", over), InvalidRequest),
            (400, openai("budget_exceeded", "400", mine), QuotaExhausted),
            (400, openai("expired_key", "400", "Authentication Error - Expired Key."), KeyRefused),
            (
                400,
                json!({"error": {"message": "litellm.BadRequestError: AnthropicException - {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Your credit balance is too low\"}}. Received Model Group=x", "type": null, "code": "400"}}),
                QuotaExhausted,
            ),
            (
                400,
                json!({"error": {"message": "litellm.BadRequestError: VertexAIException BadRequestError - b'{\\n \"error\": {\\n \"code\": 400, \"message\": \"API key not valid.\", \"status\": \"INVALID_ARGUMENT\"}}'", "code": "400"}}),
                KeyRefused,
            ),
        ],
    );
}

#[test]
fn s1_1_the_name_of_a_model_says_nothing_of_our_account() {
    for name in ["Insufficient credits", "your credit balance is too low", "API key not valid"] {
        for rest in ["is not a valid model ID", "is not a valid model ID.", "is not a chat model"] {
            let body = json!({"error": {"code": 400, "message": format!("{name} {rest}")}});
            assert_eq!(class(400, &body), Some(NotFound), "{body}");
        }
    }
}

#[test]
fn s1_1_denials_that_are_about_the_request() {
    let invalid = "invalid_request_error";
    let anthropic = |message: &str| json!({"type": "error", "error": {"type": "permission_error", "message": message}});
    let google = |message: &str, reason: &str| json!({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]}});
    let azure = |code: &str, message: &str| json!({"error": {"code": code, "message": message}});
    check(
        "denials",
        &[
            // OpenAI.
            (
                403,
                openai(invalid, "model_not_found", "Project `proj_x` does not have access to model `gpt-4o`"),
                NotFound,
            ),
            (403, openai(invalid, "", "You are not allowed to sample from this model"), NotFound),
            (
                403,
                openai(
                    invalid,
                    "",
                    "Your organization must be verified to use the model `gpt-image-1`. Please go to: x",
                ),
                NotFound,
            ),
            (403, json!({"error": {"message": "Denied.", "type": invalid, "param": "model", "code": null}}), NotFound),
            (
                401,
                openai(
                    invalid,
                    "",
                    "You have insufficient permissions for this operation. Missing scopes: api.model.images.request.",
                ),
                NotFound,
            ),
            (
                403,
                openai(invalid, "missing_scope", "You have insufficient permissions for this operation."),
                InvalidRequest,
            ),
            // Anthropic.
            (403, anthropic("Your API key does not have permission to use the specified resource."), InvalidRequest),
            (403, anthropic("Your organization does not have access to the model claude-opus-9."), NotFound),
            (403, anthropic("This API key is not allowed to use the code execution tool."), InvalidRequest),
            // Azure.
            (
                401,
                azure(
                    "PermissionDenied",
                    "The principal `0-1` lacks the required data action `Microsoft.CognitiveServices/x` to perform `POST /openai/x` operation.",
                ),
                InvalidRequest,
            ),
            (
                403,
                azure(
                    "Forbidden",
                    "Feature is not supported, missing approval for one or more of the following features: Identification.",
                ),
                InvalidRequest,
            ),
            (403, azure("unavailable_model", "Unavailable model: o9"), NotFound),
            (403, google("CachedContent not found (or permission denied)", ""), InvalidRequest),
            (403, openai(invalid, "", "The 'logprobs' parameter is restricted for your organization"), InvalidRequest),
            (403, openai(invalid, "", "Image input is not allowed on your tier"), InvalidRequest),
            (
                403,
                openai(invalid, "", "Your organization must be verified to generate reasoning summaries"),
                Unsupported,
            ),
            (403, openai(invalid, "", "Tool use is currently disabled for your account"), InvalidRequest),
            (403, openai(invalid, "", "You cannot use model gpt-5 with your plan"), NotFound),
            (403, azure("no_access", "No access to model: o9"), NotFound),
            // Gemini and Vertex.
            (
                403,
                google("You do not have permission to access tuned model tunedModels/x.", "IAM_PERMISSION_DENIED"),
                NotFound,
            ),
            (
                403,
                google(
                    "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/x' (or it may not exist).",
                    "IAM_PERMISSION_DENIED",
                ),
                InvalidRequest,
            ),
            (
                403,
                json!({"error": {"code": 403, "message": "You do not have permission to access the File abc or it may not exist.", "status": "PERMISSION_DENIED"}}),
                InvalidRequest,
            ),
            (
                403,
                json!({"error": {"code": 403, "message": "Project `p` is not allowed to use Publisher Model `projects/x`", "status": "PERMISSION_DENIED"}}),
                NotFound,
            ),
            // Bedrock.
            (
                403,
                json!({"__type": "AccessDeniedException", "Message": "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel on resource: arn:aws:bedrock:us-east-1::foundation-model/x because no identity-based policy allows it"}),
                NotFound,
            ),
            (
                403,
                json!({"__type": "AccessDeniedException", "Message": "Model access is denied due to IAM user or service role is not authorized"}),
                NotFound,
            ),
            (
                400,
                json!({"__type": "ValidationException", "message": "Invocation of model ID x with on-demand throughput isn\u{2019}t supported. Retry your request with the ID or ARN of an inference profile that contains this model."}),
                NotFound,
            ),
            // Others.
            (
                403,
                openai(
                    "permissions_error",
                    "model_permission_blocked_project",
                    "The model `x` is blocked at the project level.",
                ),
                NotFound,
            ),
            (400, openai(invalid, "model_terms_required", "The model `x` requires terms acceptance."), NotFound),
            (
                401,
                json!({"error": {"message": "key not allowed to access model. This key can only access models=['x']. Tried to access y", "type": "key_model_access_denied", "param": "model", "code": "401"}}),
                NotFound,
            ),
            (
                403,
                json!({"error": "Access to model meta/x is restricted and you are not in the authorized list."}),
                NotFound,
            ),
            (403, json!({"error": "The model x is too large to be loaded automatically (16GB > 10GB)"}), NotFound),
            (
                403,
                json!({"success": false, "errors": [{"code": 5018, "message": "This account is not allowed to access this model."}]}),
                NotFound,
            ),
            (
                403,
                json!({"status": "failure", "error": {"message": "User x is not authorized to access model y or model does not exist", "type": "AuthorizationError", "code": "403"}}),
                NotFound,
            ),
            (403, json!({"code": "Model.AccessDenied", "message": "Model access denied."}), NotFound),
            (
                403,
                json!({"code": "The caller does not have permission to execute the specified operation", "error": "Content violates usage guidelines. Team: x, Model: grok"}),
                ContentFiltered,
            ),
        ],
    );
}

/// A refused key is refused with every request: an answer that does not speak of it shows less.
#[test]
fn s1_1_denials_that_leave_open_whether_the_key_is_refused() {
    let none = AnswerHeaders::default();
    for (status, body, expected) in [
        (403, "", true),
        (403, "Forbidden", true),
        (403, r#"{"message":"Forbidden"}"#, true),
        (403, r#"{"detail":"Forbidden"}"#, true),
        (403, r#"{"error":{"type":"forbidden","message":"Request not allowed"}}"#, true),
        (403, r#"{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}"#, true),
        (403, r#"{"error":{"type":"permission_error","message":"x"}}"#, true),
        (403, r#"{"error":{"code":"invalid_api_key","message":"x"}}"#, false),
        (403, r#"{"error":{"message":"Invalid API key provided"}}"#, false),
        (
            403,
            r#"{"error":{"code":403,"message":"Your API key was reported as leaked.","status":"PERMISSION_DENIED"}}"#,
            false,
        ),
        (403, r#"{"error":{"code":403,"message":"Consumer has been suspended.","status":"PERMISSION_DENIED"}}"#, false),
        (403, r#"{"message":"The security token included in the request is expired"}"#, false),
        (403, r#"{"message":"User is not authorized to access this resource"}"#, false),
        (401, "", false),
        (403, r#"{"error":{"code":"model_not_found","message":"x"}}"#, false),
        (500, "Forbidden", false),
    ] {
        assert_eq!(is_ambiguous_refusal(status, &none, body.as_bytes()), expected, "{status} {body}");
    }
    let amazon = |word| AnswerHeaders::read([(&b"x-amzn-errortype"[..], word)]);
    assert!(is_ambiguous_refusal(403, &amazon("ForbiddenException"), br#"{"message":"Forbidden"}"#));
    assert!(!is_ambiguous_refusal(403, &amazon("UnrecognizedClientException"), b"{}"));
}

/// 401 and 403 about the key or its account, whatever else they mention, and those that leave it open.
#[test]
fn s1_1_denials_that_are_about_the_key() {
    let anthropic = |message: &str| json!({"type": "error", "error": {"type": "permission_error", "message": message}});
    let google = |message: &str| json!({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}});
    let azure = |code: &str, message: &str| json!({"error": {"code": code, "message": message}});
    check(
        "keys",
        &[
            (403, anthropic("OAuth token has been revoked. Please obtain a new token."), KeyRefused),
            (403, anthropic("Your organization does not have access to Claude."), KeyRefused),
            (403, anthropic("This organization has been disabled."), KeyRefused),
            (403, json!({"error": {"type": "forbidden", "message": "Request not allowed"}}), KeyRefused),
            (
                401,
                azure(
                    "401",
                    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.",
                ),
                KeyRefused,
            ),
            (401, azure("PermissionDenied", "Principal does not have access to API/Operation."), KeyRefused),
            (403, azure("403", "Access denied due to Virtual Network/Firewall rules."), KeyRefused),
            (403, azure("403", "Out of call volume quota for CognitiveServices.S0 pricing tier."), QuotaExhausted),
            (403, google("Permission denied on resource project my-project."), KeyRefused),
            (403, google("Permission denied: Consumer 'api_key:x' has been suspended."), KeyRefused),
            (403, google("Your API key was reported as leaked. Please use another API key."), KeyRefused),
            (403, google("Method doesn't allow unregistered callers. Please use API Key"), KeyRefused),
            (403, google("Request had insufficient authentication scopes."), KeyRefused),
            (
                403,
                json!({"__type": "AccessDeniedException", "Message": "Authentication failed: Please make sure your API Key is valid."}),
                KeyRefused,
            ),
            (401, openai("invalid_request_error", "", "You didn't provide an API key."), KeyRefused),
            (
                401,
                openai("invalid_request_error", "", "You must be a member of an organization to use the API"),
                KeyRefused,
            ),
            (
                403,
                json!({"error": "This authentication method does not have sufficient permissions to call Inference Providers on behalf of user x"}),
                KeyRefused,
            ),
            (
                403,
                json!({"code": "x", "error": "Your newly created team doesn't have any credits or licenses yet."}),
                QuotaExhausted,
            ),
            (403, json!({"error": {"message": "Key limit exceeded (monthly limit).", "code": 403}}), QuotaExhausted),
            (
                412,
                json!({"error": {"code": "PRECONDITION_FAILED", "message": "Account x is suspended, possibly due to reaching the monthly spending limit"}}),
                QuotaExhausted,
            ),
            (403, json!({"message": "no"}), KeyRefused),
            (401, json!({"detail": "Unauthorized"}), KeyRefused),
            (
                401,
                json!({"error": {"message": "Invalid API key. You do not have permission to access this resource."}}),
                KeyRefused,
            ),
            (401, json!({"detail": "Invalid API key, access to model denied"}), KeyRefused),
            (403, json!({"message": "Invalid API key for model 'x': not allowed"}), KeyRefused),
            (401, json!({"message": "You are not authorized to access this resource."}), KeyRefused),
            (
                403,
                json!({"Message": "User is not authorized to access this resource with an explicit deny"}),
                KeyRefused,
            ),
            (
                403,
                json!({"message": "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:CallWithBearerToken on resource: * with an explicit deny in an identity-based policy"}),
                KeyRefused,
            ),
            (
                401,
                json!({"message": "API key is blocked: this key is blocked and cannot use any endpoint"}),
                KeyRefused,
            ),
            (401, json!({"message": "API key is disabled. Access to all models is blocked."}), KeyRefused),
            (403, json!({"message": "Account has been blocked. It is not permitted to use any resource."}), KeyRefused),
            (
                403,
                json!({"message": "Your account does not have access to any models. Please add a payment method."}),
                KeyRefused,
            ),
            (403, json!({"message": "Model foo: API key expired"}), KeyRefused),
            (401, json!({"message": "Model token expired or revoked"}), KeyRefused),
            (401, json!({"message": "Model API key is invalid"}), KeyRefused),
        ],
    );
}

#[test]
fn s1_1_unknown_bodies_are_judged_by_their_status() {
    for (status, expected) in [
        (200, None),
        (302, None),
        (400, Some(InvalidRequest)),
        (401, Some(KeyRefused)),
        (402, Some(QuotaExhausted)),
        (403, Some(KeyRefused)),
        (404, Some(InvalidRequest)),
        (408, Some(TimedOut)),
        (409, Some(InvalidRequest)),
        (413, Some(ContextTooLong)),
        (422, Some(InvalidRequest)),
        (424, Some(ServerError)),
        (425, Some(ServerError)),
        (429, Some(RateLimited)),
        (498, Some(ServerError)),
        (500, Some(ServerError)),
        (501, Some(Unsupported)),
        (502, Some(ServerError)),
        (503, Some(Overloaded)),
        (504, Some(ServerError)),
        (505, Some(Unsupported)),
        (520, Some(ServerError)),
        (529, Some(Overloaded)),
        (999, Some(Unsupported)),
    ] {
        for body in [
            "",
            "{}",
            "null",
            "<html>invalid_api_key</html>",
            "{\"error\":",
            "[[[",
            "{\"error\":{\"code\":\"new\"}}",
            "\"insufficient_quota\"",
        ] {
            let class = classify(status, &AnswerHeaders::default(), body.as_bytes());
            assert_eq!(class, expected, "{status} {body}");
        }
    }
}

/// An answer that this many gateways, one behind the other, quote as text.
fn in_gateways(inner: &Value, levels: usize) -> Value {
    (0..levels).fold(inner.clone(), |answer, _| json!({"error": {"message": answer.to_string(), "code": 400}}))
}

#[test]
fn s1_1_an_answer_that_is_quoted_as_text_is_read() {
    let inner = json!({"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}});
    let spent = json!({"error": {"code": "insufficient_quota", "message": "x"}});
    let long = json!({"message": format!("This endpoint's maximum context length is 5. {}", "x".repeat(5_000))});
    check(
        "quoted",
        &[
            (400, json!({"error": {"message": inner.to_string(), "code": 400, "status": "Bad Request"}}), KeyRefused),
            (400, json!({"error": {"message": format!("\n{inner:#}"), "code": 400}}), KeyRefused),
            (
                429,
                json!({"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": spent.to_string(), "provider_name": "OpenAI"}}}),
                QuotaExhausted,
            ),
            (
                400,
                json!({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": long.to_string()}}}),
                ContextTooLong,
            ),
            (
                400,
                json!({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "not JSON"}}}),
                InvalidRequest,
            ),
            // QuantumNous/new-api#1451: a gateway's, of a gateway's, of Gemini's.
            (400, in_gateways(&inner, 2), KeyRefused),
            (400, in_gateways(&inner, 3), KeyRefused),
            (400, in_gateways(&inner, 4), InvalidRequest),
            (400, json!({"error": {"message": format!("Invalid value: {spent}"), "code": 400}}), InvalidRequest),
            (
                400,
                json!({"error": {"message": format!("{spent} is not of type 'string' - 'messages.0.content'"), "code": 400}}),
                InvalidRequest,
            ),
            (400, json!({"error": {"message": "{", "code": 400}}), InvalidRequest),
        ],
    );
    let unknown = json!({"error": {"message": "Forbidden", "code": 403}});
    for (answer, is_open) in [(in_gateways(&inner, 2), false), (in_gateways(&unknown, 2), true)] {
        let body = answer.to_string();
        assert_eq!(is_ambiguous_refusal(403, &AnswerHeaders::default(), body.as_bytes()), is_open, "{body}");
    }
}

#[test]
fn s1_1_a_firewalls_page_is_not_a_refused_key() {
    let html = AnswerHeaders::read([(&b"content-type"[..], "text/html; charset=UTF-8")]);
    assert_eq!(classify(403, &html, b"<html>Attention Required!"), Some(InvalidRequest));
    assert_eq!(classify(401, &html, b"<html>"), Some(KeyRefused));
    assert_eq!(classify(502, &html, b"<html>"), Some(ServerError));
    let plain = AnswerHeaders::read([(&b"content-type"[..], "text/plain; charset=UTF-8")]);
    assert_eq!(classify(403, &plain, b"error code: 1020"), Some(InvalidRequest));
    assert_eq!(class(403, &json!({"title": "Error 1010: Access denied", "error_code": 1010})), Some(InvalidRequest));
    assert_eq!(
        class(403, &json!({"message": "Forbidden"})),
        Some(KeyRefused),
        "an API gateway of AWS says so of a key"
    );
}

#[test]
fn s1_1_what_a_caller_wrote_decides_nothing_against_a_target() {
    let sentences = [
        "Your credit balance is too low",
        "API key not valid",
        "Billing hard limit has been reached",
        "User location is not supported",
        "insufficient_quota",
        "The model `x` does not exist",
    ];
    for said in sentences {
        for message in [
            format!("Invalid value: '{said}'"),
            format!("Unknown parameter: {said}"),
            format!("'{said}' is not of type 'object' - 'messages'"),
            format!("\"{said}\" is too short"),
            format!("messages.0.content: {said}"),
        ] {
            let body = openai("invalid_request_error", "", &message);
            assert_eq!(class(400, &body), Some(InvalidRequest), "{message}");
        }
        let elsewhere = json!({"error": {"message": "Bad request", "type": "invalid_request_error", "param": said, "value": {"code": said, "error": said}}, "input": said});
        assert_eq!(class(400, &elsewhere), Some(InvalidRequest), "{elsewhere}");
    }
}

#[test]
fn s1_1_an_error_inside_an_event_and_one_that_is_cut_are_read() {
    let error = r#"{"error":{"code":"insufficient_quota","message":"x"}}"#;
    for body in [
        format!("data: {error}\n\n"),
        format!("event: error\r\ndata:{error}\r\n\r\n"),
        format!("\u{feff} \n{error}"),
        r#"{"error":{"code":"insufficient_quota","message":"xxxxxx"#.to_owned(),
        format!("{{\"error\":{{\"code\":\"insufficient_quota\",\"message\":\"{}\"}}}}", "x".repeat(100_000)),
    ] {
        let class = classify(429, &AnswerHeaders::default(), body.as_bytes());
        assert_eq!(class, Some(QuotaExhausted), "{}", &body[..40]);
    }
    let packed = AnswerHeaders::read([(&b"content-encoding"[..], "gzip")]);
    assert_eq!(classify(429, &packed, error.as_bytes()), Some(RateLimited), "packed bytes say nothing");
}

#[test]
fn s1_1_names_are_stable_and_read_back() {
    let names = ErrorClass::ALL.map(ErrorClass::name);
    assert_eq!(
        names,
        [
            "rate_limited",
            "overloaded",
            "quota_exhausted",
            "key_refused",
            "not_found",
            "context_too_long",
            "content_filtered",
            "invalid_request",
            "server_error",
            "broken_answer",
            "empty_answer",
            "timed_out",
            "unreachable",
            "unsupported"
        ]
    );
    for class in ErrorClass::ALL {
        assert_eq!(class.to_string().parse(), Ok(class));
        let json = serde_json::to_string(&class).unwrap();
        assert_eq!(serde_json::from_str::<ErrorClass>(&json).unwrap(), class);
    }
    let error = "quota".parse::<ErrorClass>().unwrap_err().to_string();
    assert!(error.contains("\"quota\"") && error.contains("quota_exhausted, key_refused"), "{error}");
}

proptest! {
    #[test]
    fn s1_1_any_bytes_have_a_class(status in 0_u16..1200, bytes: Vec<u8>) {
        let class = classify(status, &AnswerHeaders::default(), &bytes);
        prop_assert_eq!(class.is_some(), status >= 400);
    }

    #[test]
    fn s1_1_a_cut_error_is_no_panic(cut in 0_usize..200) {
        let body = r#"[{"error":{"code":400,"message":"é API key \u00e9 not valid","status":"X","details":[{"reason":"API_KEY_INVALID"}]}}]"#;
        classify(400, &AnswerHeaders::default(), &body.as_bytes()[..cut.min(body.len())]);
    }
}

/// What each vendor answers where a model or deployment is not there, whatever its status: as their documents and users' reports have
/// it. Another target may have it.
#[test]
fn s1_1_models_that_are_missing() {
    let invalid = "invalid_request_error";
    let gone = "The model `llama3-8b-8192` has been decommissioned and is no longer supported. Please refer to https://console.groq.com/docs/deprecations for a recommendation on which model to use instead.";
    let google =
        |code: u16, status: &str, message: &str| json!({"error": {"code": code, "message": message, "status": status}});
    let plain = |message: &str| json!({"message": message});
    let mut cases = vec![
        (404, openai(invalid, "model_not_found", "The model `gpt-9` does not exist or you do not have access to it.")),
        (
            400,
            json!({"error": {"message": "The requested model 'gpt-9' does not exist.", "type": invalid, "param": "model", "code": "model_not_found"}}),
        ),
        (400, openai(invalid, "", "invalid model ID")),
        (
            404,
            openai(
                invalid,
                "model_not_found",
                "The model `text-davinci-003` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations",
            ),
        ),
        // Azure, and Azure's models.
        (
            404,
            json!({"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}}),
        ),
        (
            400,
            json!({"error": {"code": "unknown_model", "message": "Unknown model: gpt-9", "details": "Unknown model: gpt-9"}}),
        ),
        // Bedrock.
        (400, plain("The provided model identifier is invalid.")),
        (
            400,
            plain(
                "Invocation of model ID anthropic.claude-3-5-sonnet-20241022-v2:0 with on-demand throughput isn\u{2019}t supported. Retry your request with the ID or ARN of an inference profile that contains this model.",
            ),
        ),
        (
            404,
            json!({"__type": "ResourceNotFoundException", "message": "This model version has reached the end of its life. Please refer to the AWS documentation for more details."}),
        ),
        (404, plain("Could not resolve the foundation model from the model identifier: gpt-9")),
        // Gemini and Vertex.
        (
            404,
            google(
                404,
                "NOT_FOUND",
                "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods.",
            ),
        ),
        (
            404,
            google(
                404,
                "NOT_FOUND",
                "Publisher Model `projects/p/locations/us-central1/publishers/google/models/gemini-9` was not found or your project does not have access to it. Please ensure you are using a valid model version.",
            ),
        ),
        (
            404,
            google(
                404,
                "NOT_FOUND",
                "This model models/gemini-2.0-flash is no longer available to new users. Please update your code to use a newer model.",
            ),
        ),
        (
            400,
            google(
                400,
                "FAILED_PRECONDITION",
                "Publisher Model `projects/p/locations/us-central1/publishers/google/models/gemini-9` is not servable in region us-central1.",
            ),
        ),
        (400, google(400, "INVALID_ARGUMENT", "* GenerateContentRequest.model: unexpected model name format\n")),
        // Anthropic.
        (
            404,
            json!({"type": "error", "error": {"type": "not_found_error", "message": "model: claude-9"}, "request_id": "req_1"}),
        ),
        // Ollama, both its APIs.
        (404, json!({"error": "model 'llama9' not found"})),
        (
            404,
            json!({"error": {"message": "model \"llama9\" not found, try pulling it first", "type": "api_error", "param": null, "code": null}}),
        ),
        // vLLM, before and since 0.10; LM Studio.
        (
            404,
            json!({"object": "error", "message": "The model `m` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}),
        ),
        (
            404,
            json!({"error": {"message": "The model `m` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}}),
        ),
        (
            400,
            json!({"error": {"message": "Invalid model identifier \"m\". Please specify a valid downloaded model", "type": invalid, "param": "model", "code": "model_not_found"}}),
        ),
        // Groq, Mistral, OpenRouter, DeepSeek.
        (400, openai(invalid, "model_decommissioned", gone)),
        (400, openai(invalid, "", gone)),
        (
            400,
            json!({"object": "error", "message": "Invalid model: mistral-9", "type": "invalid_model", "param": null, "code": "1500"}),
        ),
        (400, json!({"error": {"message": "openai/gpt-9 is not a valid model ID", "code": 400}, "user_id": "user_1"})),
        (404, json!({"error": {"message": "No endpoints found for openai/gpt-9.", "code": 404}})),
        (400, openai(invalid, "invalid_request_error", "Model Not Exist")),
    ];
    cases.extend([
        // Together, Fireworks, xAI, Cohere, Perplexity, Cerebras, Hugging Face.
        (404, json!({"id": "n", "error": {"message": "Unable to access model m. Please visit https://api.together.ai/models to view the list of supported models.", "type": invalid, "param": "model", "code": "model_not_available"}})),
        (404, json!({"error": {"message": "Model not found, inaccessible, and/or not deployed", "object": "error", "type": invalid, "code": "NOT_FOUND"}})),
        (404, json!({"code": "Some requested entity was not found", "error": "The model grok-9 does not exist or your team 1 does not have access to it."})),
        (400, json!({"code": "Client specified an invalid argument", "error": "Model not found: grok-9"})),
        (404, json!({"id": "n", "message": "model 'command-9' not found, make sure the correct model ID was used and that you have access to the model."})),
        (400, json!({"error": {"message": "Invalid model 'sonar-9'. Permitted models can be found in the documentation at https://docs.perplexity.ai/getting-started/models.", "type": "invalid_model", "code": 400}})),
        (404, json!({"message": "Model m does not exist or you do not have access to it.", "type": "not_found_error", "param": "model", "code": "model_not_found"})),
        (400, json!({"error": {"message": "The requested model 'm' is not supported by any provider you have enabled.", "type": invalid, "param": "model", "code": "model_not_supported"}})),
        // Moonshot, DashScope, Zhipu, SiliconFlow, Novita, MiniMax, Volcengine.
        (404, json!({"error": {"message": "Not found the model m or Permission denied", "type": "resource_not_found_error"}})),
        (400, json!({"code": "InvalidParameter", "message": "Model not exist.", "request_id": "r"})),
        (400, json!({"error": {"code": "1211", "message": "\u{6a21}\u{578b}\u{4e0d}\u{5b58}\u{5728}\u{ff0c}\u{8bf7}\u{68c0}\u{67e5}\u{6a21}\u{578b}\u{4ee3}\u{7801}\u{3002}"}})),
        (400, json!({"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": null})),
        (404, json!({"code": 404, "reason": "MODEL_NOT_FOUND", "message": "model not found", "metadata": {}})),
        (400, json!({"type": "error", "error": {"type": "bad_request_error", "message": "invalid params, unknown model 'm' (2013)", "http_code": "400"}})),
        (404, json!({"error": {"code": "InvalidEndpointOrModel.NotFound", "message": "The model or endpoint m does not exist or you do not have access to it.", "type": "NotFound"}})),
        // LiteLLM's proxy, Cloudflare, Databricks.
        (400, json!({"error": {"message": "/chat/completions: Invalid model name passed in model=m. Call `/v1/models` to view available models for your key.", "type": invalid, "param": "model", "code": "400"}})),
        (400, json!({"success": false, "errors": [{"code": 5007, "message": "No such model @cf/meta/m or task"}], "result": {}})),
        (404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "The given endpoint does not exist, please retry after checking the specified model and version deployment exists."})),
    ]);
    let cases: Vec<_> = cases.into_iter().map(|(status, body)| (status, body, NotFound)).collect();
    check("missing", &cases);
    let bedrock = AnswerHeaders::read([(&b"x-amzn-errortype"[..], "ValidationException:http://internal.amazon.com/")]);
    let body = br#"{"message":"The provided model identifier is invalid."}"#;
    assert_eq!(classify(400, &bedrock, body), Some(NotFound));
}

/// A model that is there and does not do what is asked for: another may.
#[test]
fn s1_1_models_that_do_not_do_what_is_asked_for() {
    let operation = "The chatCompletion operation does not work with the specified model, gpt-35-turbo-instruct. Please choose different model and try again.";
    check(
        "other operations",
        &[
            (400, json!({"error": {"code": "OperationNotSupported", "message": operation}}), Unsupported),
            (400, json!({"error": "\"all-minilm\" does not support chat"}), Unsupported),
            (400, json!({"error": "registry.ollama.ai/library/gemma:2b does not support tools"}), Unsupported),
            (400, json!({"error": "\"llama3.2\" does not support thinking"}), Unsupported),
            (400, json!({"error": "registry.ollama.ai/library/llama3.2:latest does not support insert"}), Unsupported),
            (
                400,
                json!({"error": {"message": "registry.ollama.ai/library/all-minilm:latest does not support generate", "type": "api_error"}}),
                Unsupported,
            ),
        ],
    );
    let invalid = "invalid_request_error";
    check(
        "not missing",
        &[
            (400, openai(invalid, "", "This model does not support image input"), InvalidRequest),
            (
                400,
                openai(
                    invalid,
                    "unsupported_parameter",
                    "Unsupported parameter: 'max_tokens' is not supported with this model.",
                ),
                InvalidRequest,
            ),
            (400, openai(invalid, "", "Invalid value for messages: the model gpt-9 does not exist"), InvalidRequest),
            (400, openai(invalid, "", "`the model x does not exist` is no tool"), InvalidRequest),
            (404, openai(invalid, "", "No thread found with id 'thread_1'."), InvalidRequest),
        ],
    );
}

/// The class of an error in a failed response, in a stream and whole, of this code.
fn class_of_failed_response(code: &str, message: &str) -> [StreamEnd; 2] {
    let response = json!({"id": "resp_1", "object": "response", "status": "failed", "error": {"code": code, "message": message}, "output": []});
    let event = json!({"type": "response.failed", "response": response});
    let mut stream = StreamState::new(Protocol::OpenAiResponses);
    stream.push(format!("event: response.failed\ndata: {event}\n\n").as_bytes());
    let json = AnswerHeaders::read([(&b"content-type"[..], "application/json")]);
    let whole = answer_error(Protocol::OpenAiResponses, 200, &json, response.to_string().as_bytes());
    [stream.finish(), whole.map_or(StreamEnd::Complete, StreamEnd::Failed)]
}

#[test]
fn s1_1_a_response_that_fails_because_the_servers_have_too_much_to_do() {
    let failed = class_of_failed_response("server_is_overloaded", "Our servers are currently overloaded.");
    assert_eq!(failed, [StreamEnd::Failed(Overloaded); 2]);
}

#[test]
fn s1_1_a_response_that_fails_over_its_images_is_the_requests() {
    for (code, class) in [
        ("invalid_image", InvalidRequest),
        ("invalid_image_format", InvalidRequest),
        ("invalid_base64_image", InvalidRequest),
        ("invalid_image_url", InvalidRequest),
        ("image_too_large", InvalidRequest),
        ("image_too_small", InvalidRequest),
        ("image_parse_error", InvalidRequest),
        ("invalid_image_mode", InvalidRequest),
        ("image_file_too_large", InvalidRequest),
        ("unsupported_image_media_type", InvalidRequest),
        ("empty_image_file", InvalidRequest),
        ("failed_to_download_image", InvalidRequest),
        ("image_file_not_found", InvalidRequest),
        ("image_content_policy_violation", ContentFiltered),
        ("invalid_prompt", InvalidRequest),
        ("server_error", ServerError),
        ("vector_store_timeout", ServerError),
        ("rate_limit_exceeded", RateLimited),
    ] {
        assert_eq!(class_of_failed_response(code, "x"), [StreamEnd::Failed(class); 2], "{code}");
    }
    let flagged = "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt.";
    assert_eq!(class_of_failed_response("invalid_prompt", flagged), [StreamEnd::Failed(ContentFiltered); 2]);
}

/// The class of an error in a stream, before its content.
fn class_in_stream(error: &Value) -> StreamEnd {
    let mut stream = StreamState::new(Protocol::OpenAiChat);
    stream.push(format!("data: {error}\n\n").as_bytes());
    stream.finish()
}

#[test]
fn s1_1_an_error_in_a_stream_that_is_the_requests() {
    let too_many = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 200 `max_new_tokens`";
    for (error, class) in [
        (
            json!({"error": "Input validation error: `temperature` must be strictly positive", "error_type": "validation"}),
            InvalidRequest,
        ),
        (json!({"error": too_many, "error_type": "validation"}), ContextTooLong),
        (json!({"error": "Template error: roles must alternate", "error_type": "template_error"}), InvalidRequest),
        (json!({"error": "Request failed during generation: CUDA", "error_type": "generation"}), ServerError),
        (json!({"error": {"message": "x", "http_status_code": 422}}), InvalidRequest),
        (json!({"error": {"message": "x", "status_code": 429}}), RateLimited),
        (json!({"error": {"message": "x", "statusCode": "503"}}), Overloaded),
        (json!({"error": {"message": "x", "http_status_code": 500, "code": 429}}), RateLimited),
        (json!({"error": {"message": "x", "code": 429, "http_status_code": 500}}), RateLimited),
        (json!({"error": {"message": "x", "type": "image_generation_user_error"}}), InvalidRequest),
        (json!({"error": {"message": "x", "code": "InvalidParameter"}}), InvalidRequest),
        (
            json!({"error": {"code": 499, "message": "The operation was cancelled.", "status": "CANCELLED"}}),
            ServerError,
        ),
    ] {
        assert_eq!(class_in_stream(&error), StreamEnd::Failed(class), "{error}");
    }
}

#[test]
fn s1_1_requests_that_are_too_long_in_the_words_of_many() {
    let cases: Vec<_> = [
        (400, "Unable to submit request because the input token count is 1048577 but the model only supports up to 1048576. Reduce the input token count and try again."),
        (400, "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again."),
        (400, "Malformed input request: expected maxLength: 42000, actual: 52000, please reformat your input and try again."),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 200 `max_new_tokens`"),
        (422, "Input validation error: `inputs` must have less than 1024 tokens. Given: 3000"),
        (400, "Invalid request: Your request exceeded model token limit: 8192"),
        (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure that `max_model_len` is no smaller than the number of text tokens."),
        (400, "Range of input length should be [1, 6000]"),
        (400, "Invalid 'input': maximum input length is 8192 tokens."),
        (400, "Request payload size exceeds the limit: 20971520 bytes."),
        (400, "Too many input tokens. Max input tokens: 8192, request input token count: 10564"),
    ]
    .into_iter()
    .map(|(status, message)| (status, openai("invalid_request_error", "", message), ContextTooLong))
    .collect();
    check("too long", &cases);
    check(
        "DashScope",
        &[(
            400,
            json!({"code": "InvalidParameter", "message": "Range of input length should be [1, 6000]"}),
            ContextTooLong,
        )],
    );
    check(
        "Moonshot",
        &[(
            400,
            openai("invalid_request_error", "", "Your request exceeded model token limit: 8192 (requested: 9000)"),
            ContextTooLong,
        )],
    );
}

#[test]
fn s1_1_content_that_is_refused_in_the_words_of_many() {
    let invalid = "invalid_request_error";
    check(
        "refused",
        &[
            (
                400,
                openai(
                    invalid,
                    "invalid_prompt",
                    "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt.",
                ),
                ContentFiltered,
            ),
            (
                400,
                json!({"error": {"code": "contentFilter", "message": "Your task failed as a result of our safety system."}}),
                ContentFiltered,
            ),
            (
                400,
                json!({"__type": "ValidationException", "message": "This request has been blocked by our content filters."}),
                ContentFiltered,
            ),
            (
                400,
                json!({"error": {"code": 400, "message": "Image generation failed with the following error: The image violates Google's Responsible AI practices.", "status": "INVALID_ARGUMENT"}}),
                ContentFiltered,
            ),
            (400, openai("image_generation_user_error", "moderation_blocked", "x"), ContentFiltered),
            // Cohere.
            (498, json!({"message": "The request or response contains a deny-listed token."}), ContentFiltered),
            (498, json!({"message": "x"}), ServerError),
            (400, openai("image_generation_user_error", "invalid_value", "x"), InvalidRequest),
        ],
    );
}

/// OpenRouter: the model is there, and none of those who serve it do what is asked.
#[test]
fn s1_1_models_that_no_provider_serves_as_asked() {
    let cases: Vec<_> = [
        ("No endpoints found that support tool use. To learn more about provider routing, visit: https://openrouter.ai/docs", Unsupported),
        ("No endpoints found that support image input", Unsupported),
        ("No endpoints found that support the provided 'tool_choice' value.", Unsupported),
        ("No endpoints found that can handle the requested parameters.", Unsupported),
        ("No endpoints found matching your data policy (Free model publication).", Unsupported),
        ("No endpoints found for foo/bar.", NotFound),
    ]
    .into_iter()
    .map(|(message, class)| (404, json!({"error": {"message": message, "code": 404}}), class))
    .collect();
    check("OpenRouter", &cases);
}

#[test]
fn s1_1_what_our_account_may_not_use_as_a_400() {
    let invalid = "invalid_request_error";
    let image = "Your organization must be verified to use the model `gpt-image-1`. Please go to: https://platform.openai.com/settings/organization/general";
    let stream = "Your organization must be verified to stream this model. Please go to: https://platform.openai.com/settings/organization/general";
    check(
        "accounts",
        &[
            (400, openai(invalid, "", image), NotFound),
            (403, openai(invalid, "", image), NotFound),
            (400, openai(invalid, "unsupported_value", stream), Unsupported),
            (403, openai(invalid, "", stream), Unsupported),
            (
                400,
                json!({"__type": "ValidationException", "message": "Your account is not authorized to invoke this API operation."}),
                NotFound,
            ),
            (400, json!({"__type": "ValidationException", "message": "Operation not allowed"}), NotFound),
            (
                400,
                json!({"__type": "ValidationException", "message": "Operation not allowed for this input"}),
                InvalidRequest,
            ),
            (
                400,
                openai(invalid, "", "Invalid value: Your organization must be verified to use the model x"),
                InvalidRequest,
            ),
        ],
    );
    for (message, expected) in [(image, true), ("Operation not allowed", true), (stream, false)] {
        let body = json!({"message": message}).to_string();
        assert_eq!(
            other_account_may_answer(NotFound, &AnswerHeaders::default(), body.as_bytes()),
            expected,
            "{message}"
        );
    }
}

#[test]
fn s1_1_models_that_were_retired() {
    let invalid = "invalid_request_error";
    let cases: Vec<_> = [
        (404, "model 'command' was removed on September 15, 2025. Please choose another model."),
        (400, "The model `x` was deprecated on 2025-01-01."),
        (404, "This model is no longer accessible."),
        (410, "The model `x` has reached its end of life on 2025-05-01 and is no longer available."),
        (410, "The model `x` has reached the end of its life."),
        (422, "The model `x` does not exist."),
    ]
    .into_iter()
    .map(|(status, message)| (status, openai(invalid, "", message), NotFound))
    .collect();
    check("retired", &cases);
}

#[test]
fn s1_1_a_long_context_that_our_plan_does_not_have_and_a_call_that_google_cancelled() {
    let extra = "Extra usage is required for long context requests.";
    check(
        "Anthropic and Google",
        &[
            (429, json!({"type": "error", "error": {"type": "rate_limit_error", "message": extra}}), ContextTooLong),
            (
                499,
                json!({"error": {"code": 499, "message": "The operation was cancelled.", "status": "CANCELLED"}}),
                ServerError,
            ),
            (499, json!({"error": {"message": "x"}}), InvalidRequest),
            (409, json!({"error": {"code": "cancelled", "message": "already cancelled"}}), InvalidRequest),
        ],
    );
}
