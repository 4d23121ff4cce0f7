//! The words by which vendors say what is wrong: codes, types, reasons. They are protocol: only the vendor writes them.

use crate::ErrorClass::{self, *};

/// Words that mean the same whatever the status is. Compared without regard to case.
const SPECIFIC: &[(&str, ErrorClass)] = &[
    // OpenAI and those that copy it.
    ("insufficient_quota", QuotaExhausted),
    ("billing_hard_limit_reached", QuotaExhausted),
    ("billing_not_active", QuotaExhausted),
    ("insufficient_credits", QuotaExhausted),
    ("insufficient_balance", QuotaExhausted),
    ("exceeded_current_quota_error", QuotaExhausted),
    ("payment_required", QuotaExhausted),
    ("quota_exceeded", QuotaExhausted),
    ("QuotaExceeded", QuotaExhausted),
    ("spend_limit_reached", QuotaExhausted),
    ("organization_spend_limit_exceeded", QuotaExhausted),
    ("project_spend_limit_exceeded", QuotaExhausted),
    // Groq: the organization's spend limit.
    ("blocked_api_access", QuotaExhausted),
    ("budget_exceeded", QuotaExhausted),
    ("token_quota_reached", QuotaExhausted),
    ("credits_exhausted", QuotaExhausted),
    // one-api and new-api.
    ("insufficient_user_quota", QuotaExhausted),
    ("invalid_api_key", KeyRefused),
    ("incorrect_api_key", KeyRefused),
    ("InvalidApiKey", KeyRefused),
    ("account_deactivated", KeyRefused),
    ("access_terminated", KeyRefused),
    ("organization_restricted", KeyRefused),
    ("ip_not_authorized", KeyRefused),
    ("unsupported_country_region_territory", KeyRefused),
    ("invalid_authentication_error", KeyRefused),
    // A tool's server that the request names did not answer: OpenAI, Azure.
    ("external_connector_error", InvalidRequest),
    // LiteLLM's proxy.
    ("expired_key", KeyRefused),
    ("model_not_found", NotFound),
    ("model_not_available", NotFound),
    ("model_not_supported", NotFound),
    ("model_decommissioned", NotFound),
    ("model_deprecated", NotFound),
    ("model_does_not_exist", NotFound),
    ("deployment_not_found", NotFound),
    ("invalid_model", NotFound),
    ("unknown_model", NotFound),
    ("unavailable_model", NotFound),
    ("unsupported_model", NotFound),
    ("ModelNotFound", NotFound),
    ("model_terms_required", NotFound),
    ("model_permission_blocked_org", NotFound),
    ("model_permission_blocked_project", NotFound),
    // LiteLLM's proxy, by whom the model is kept from.
    ("key_model_access_denied", NotFound),
    ("team_model_access_denied", NotFound),
    ("user_model_access_denied", NotFound),
    ("project_model_access_denied", NotFound),
    ("org_model_access_denied", NotFound),
    ("rate_limit_exceeded", RateLimited),
    ("rate_limit_reached_error", RateLimited),
    ("rate_limit_error", RateLimited),
    ("rate_limited", RateLimited),
    ("too_many_requests", RateLimited),
    // Cerebras.
    ("token_quota_exceeded", RateLimited),
    ("too_many_tokens_error", RateLimited),
    ("request_quota_exceeded", RateLimited),
    ("too_many_requests_error", RateLimited),
    ("TooManyRequests", RateLimited),
    ("slow_down", Overloaded),
    ("overloaded", Overloaded),
    ("server_overloaded", Overloaded),
    // OpenAI's Responses (Wei-Shaw/sub2api#6631).
    ("server_is_overloaded", Overloaded),
    ("service_unavailable_error", Overloaded),
    ("engine_overloaded", Overloaded),
    ("engine_overloaded_error", Overloaded),
    ("model_overloaded", Overloaded),
    ("service_tier_capacity_exceeded", Overloaded),
    ("context_length_exceeded", ContextTooLong),
    ("context_window_exceeded", ContextTooLong),
    ("exceed_context_size_error", ContextTooLong),
    ("tokens_limit_reached", ContextTooLong),
    ("request_too_large", ContextTooLong),
    ("content_filter", ContentFiltered),
    ("content_filtered", ContentFiltered),
    ("content_policy_violation", ContentFiltered),
    ("moderation_blocked", ContentFiltered),
    ("image_content_policy_violation", ContentFiltered),
    ("data_inspection_failed", ContentFiltered),
    ("DataInspectionFailed", ContentFiltered),
    // Azure.
    ("DeploymentNotFound", NotFound),
    // The model is there, and not for this operation.
    ("OperationNotSupported", Unsupported),
    ("ResponsibleAIPolicyViolation", ContentFiltered),
    // Azure's images.
    ("contentFilter", ContentFiltered),
    ("AuthenticationFailed", KeyRefused),
    ("AuthenticationTypeDisabled", KeyRefused),
    ("Unauthorized", KeyRefused),
    ("RateLimitReached", RateLimited),
    // Anthropic.
    ("enforced_spend_limit_reached", QuotaExhausted),
    ("billing_error", QuotaExhausted),
    ("authentication_error", KeyRefused),
    ("overloaded_error", Overloaded),
    // Gemini and Vertex.
    ("API_KEY_INVALID", KeyRefused),
    ("API_KEY_SERVICE_BLOCKED", KeyRefused),
    ("API_KEY_IP_ADDRESS_BLOCKED", KeyRefused),
    ("API_KEY_HTTP_REFERRER_BLOCKED", KeyRefused),
    ("ACCESS_TOKEN_EXPIRED", KeyRefused),
    ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", KeyRefused),
    ("CREDENTIALS_MISSING", KeyRefused),
    ("UNAUTHENTICATED", KeyRefused),
    ("RESOURCE_EXHAUSTED", RateLimited),
    ("UNAVAILABLE", Overloaded),
    // Bedrock.
    ("ServiceQuotaExceededException", QuotaExhausted),
    ("UnrecognizedClientException", KeyRefused),
    ("InvalidSignatureException", KeyRefused),
    ("IncompleteSignatureException", KeyRefused),
    ("SignatureDoesNotMatch", KeyRefused),
    ("MissingAuthenticationTokenException", KeyRefused),
    ("InvalidClientTokenId", KeyRefused),
    ("ExpiredTokenException", KeyRefused),
    ("ResourceNotFoundException", NotFound),
    ("ThrottlingException", RateLimited),
    ("TooManyRequestsException", RateLimited),
    ("ServiceUnavailableException", Overloaded),
    ("ModelNotReadyException", Overloaded),
    // Databricks.
    ("RESOURCE_DOES_NOT_EXIST", NotFound),
    ("ENDPOINT_NOT_FOUND", NotFound),
    // Alibaba's DashScope.
    ("Arrearage", QuotaExhausted),
    ("Model.AccessDenied", NotFound),
    ("AllocationQuota.FreeTierOnly", NotFound),
    ("Throttling", RateLimited),
    ("Throttling.RateQuota", RateLimited),
    ("Throttling.AllocationQuota", RateLimited),
    // Volcengine's Ark.
    ("AccountOverdueError", QuotaExhausted),
    ("ModelNotOpen", NotFound),
    ("InvalidEndpointOrModel.NotFound", NotFound),
    ("ServerOverloaded", Overloaded),
    ("SensitiveContentDetected", ContentFiltered),
    ("InputTextSensitiveContentDetected", ContentFiltered),
    ("OutputTextSensitiveContentDetected", ContentFiltered),
];

/// The same, of words about the account that a request chooses beside its key.
const ACCOUNT: &[(&str, ErrorClass)] = &[
    // OpenAI.
    ("invalid_organization", KeyRefused),
    ("mismatched_organization", KeyRefused),
    ("mismatched_project", KeyRefused),
    // Gemini and Vertex.
    ("BILLING_DISABLED", QuotaExhausted),
    ("CONSUMER_INVALID", KeyRefused),
    ("CONSUMER_SUSPENDED", KeyRefused),
    ("SERVICE_DISABLED", KeyRefused),
    ("USER_PROJECT_DENIED", KeyRefused),
];

/// Words by which OpenAI and Azure do not know what another account or region has made: a response, or what it has encrypted.
const MADE_ELSEWHERE: &[&str] = &["previous_response_not_found", "invalid_encrypted_content"];

/// Words that say that something is not permitted, and not what: the key, or what the request asks for.
const PERMISSION: &[&str] = &[
    "insufficient_permissions",
    "missing_scope",
    "permission_error",
    "permissions_error",
    "permission_denied_error",
    "PERMISSION_DENIED",
    "IAM_PERMISSION_DENIED",
    "PermissionDenied",
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
];

/// Words so general that a status knows better; they decide where no status does, as in a stream.
const GENERAL: &[(&str, ErrorClass)] = &[
    ("invalid_request_error", InvalidRequest),
    ("invalid_request", InvalidRequest),
    ("invalid_prompt", InvalidRequest),
    // OpenAI's OpenAPI description, `ResponseErrorCode`: images that the request names or holds.
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
    ("image_generation_user_error", InvalidRequest),
    ("BadRequestError", InvalidRequest),
    // DashScope.
    ("InvalidParameter", InvalidRequest),
    // Hugging Face's TGI. assumed: its words for what it answers with 422 where it does not stream.
    ("validation", InvalidRequest),
    ("template_error", InvalidRequest),
    ("tool_error", InvalidRequest),
    ("ValidationException", InvalidRequest),
    ("INVALID_ARGUMENT", InvalidRequest),
    ("FAILED_PRECONDITION", InvalidRequest),
    ("OUT_OF_RANGE", InvalidRequest),
    ("not_found_error", InvalidRequest),
    ("NOT_FOUND", InvalidRequest),
    ("conflict_error", InvalidRequest),
    ("timeout_error", TimedOut),
    ("request_timeout", TimedOut),
    ("DEADLINE_EXCEEDED", TimedOut),
    ("ModelTimeoutException", TimedOut),
    ("UNIMPLEMENTED", Unsupported),
];

fn find(table: &[(&str, ErrorClass)], word: &str) -> Option<ErrorClass> {
    table.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, class)| *class)
}

/// What a word means whatever the status is.
pub(crate) fn specific(word: &str) -> Option<ErrorClass> {
    find(SPECIFIC, word).or_else(|| find(ACCOUNT, word)).or_else(|| is_permission(word).then_some(KeyRefused))
}

/// Whether a word leaves open if the key is refused or only what the request asks for.
pub(crate) fn is_permission(word: &str) -> bool {
    PERMISSION.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Whether a word is about the account that a request chooses beside its key.
pub(crate) fn is_account(word: &str) -> bool {
    find(ACCOUNT, word).is_some()
}

/// Whether a word says that what the request refers to was made with another account.
pub(crate) fn is_made_elsewhere(word: &str) -> bool {
    MADE_ELSEWHERE.contains(&word)
}

/// What a word means where there is no status.
pub(crate) fn general(word: &str) -> Option<ErrorClass> {
    find(GENERAL, word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_stands_twice() {
        let all: Vec<_> =
            [SPECIFIC, ACCOUNT, GENERAL].into_iter().flatten().map(|(word, _)| word.to_ascii_lowercase()).collect();
        for (at, word) in all.iter().enumerate() {
            assert!(!all[..at].contains(word), "{word}");
        }
    }
}
