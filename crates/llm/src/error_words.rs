//! The words and sentences by which vendors say what is wrong: one table each.
//!
//! Words (codes, types, reasons) are protocol: only the vendor writes them. Sentences are not: a vendor may quote what the
//! caller sent. So a sentence decides against a target (its key, its quota, its model) only by its *beginning*, quotations
//! left out; what is the caller's fault anyway may be found anywhere in it.

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
    ("credits_exhausted", QuotaExhausted),
    ("invalid_api_key", KeyRefused),
    ("incorrect_api_key", KeyRefused),
    ("InvalidApiKey", KeyRefused),
    ("account_deactivated", KeyRefused),
    ("access_terminated", KeyRefused),
    ("invalid_organization", KeyRefused),
    ("mismatched_organization", KeyRefused),
    ("mismatched_project", KeyRefused),
    ("insufficient_permissions", KeyRefused),
    ("missing_scope", KeyRefused),
    ("ip_not_authorized", KeyRefused),
    ("unsupported_country_region_territory", KeyRefused),
    ("invalid_authentication_error", KeyRefused),
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
    ("rate_limit_exceeded", RateLimited),
    ("rate_limit_reached_error", RateLimited),
    ("rate_limit_error", RateLimited),
    ("rate_limited", RateLimited),
    ("too_many_requests", RateLimited),
    ("TooManyRequests", RateLimited),
    ("slow_down", Overloaded),
    ("overloaded", Overloaded),
    ("server_overloaded", Overloaded),
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
    ("data_inspection_failed", ContentFiltered),
    ("DataInspectionFailed", ContentFiltered),
    // Azure.
    ("DeploymentNotFound", NotFound),
    ("ResponsibleAIPolicyViolation", ContentFiltered),
    ("PermissionDenied", KeyRefused),
    ("AuthenticationFailed", KeyRefused),
    ("AuthenticationTypeDisabled", KeyRefused),
    ("Unauthorized", KeyRefused),
    ("RateLimitReached", RateLimited),
    // Anthropic.
    ("enforced_spend_limit_reached", QuotaExhausted),
    ("billing_error", QuotaExhausted),
    ("authentication_error", KeyRefused),
    ("permission_error", KeyRefused),
    ("overloaded_error", Overloaded),
    // Gemini and Vertex.
    ("BILLING_DISABLED", QuotaExhausted),
    ("API_KEY_INVALID", KeyRefused),
    ("API_KEY_SERVICE_BLOCKED", KeyRefused),
    ("API_KEY_IP_ADDRESS_BLOCKED", KeyRefused),
    ("API_KEY_HTTP_REFERRER_BLOCKED", KeyRefused),
    ("ACCESS_TOKEN_EXPIRED", KeyRefused),
    ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", KeyRefused),
    ("CREDENTIALS_MISSING", KeyRefused),
    ("SERVICE_DISABLED", KeyRefused),
    ("CONSUMER_INVALID", KeyRefused),
    ("CONSUMER_SUSPENDED", KeyRefused),
    ("USER_PROJECT_DENIED", KeyRefused),
    ("UNAUTHENTICATED", KeyRefused),
    ("PERMISSION_DENIED", KeyRefused),
    ("RESOURCE_EXHAUSTED", RateLimited),
    ("UNAVAILABLE", Overloaded),
    // Bedrock.
    ("ServiceQuotaExceededException", QuotaExhausted),
    ("AccessDeniedException", KeyRefused),
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
    // Alibaba's DashScope.
    ("Arrearage", QuotaExhausted),
    ("Throttling", RateLimited),
    ("Throttling.RateQuota", RateLimited),
    ("Throttling.AllocationQuota", RateLimited),
];

/// Words so general that a status knows better; they decide where no status does, as in a stream.
const GENERAL: &[(&str, ErrorClass)] = &[
    ("invalid_request_error", InvalidRequest),
    ("invalid_request", InvalidRequest),
    ("invalid_prompt", InvalidRequest),
    ("BadRequestError", InvalidRequest),
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
    find(SPECIFIC, word)
}

/// What a word means where there is no status.
pub(crate) fn general(word: &str) -> Option<ErrorClass> {
    find(GENERAL, word)
}

/// Beginnings by which a vendor says that our account has nothing left.
const QUOTA: &[&str] = &[
    "your credit balance is too low",
    "billing hard limit has been reached",
    "insufficient balance",
    "insufficient credits",
    "insufficient account balance",
    "this request requires more credits",
    "you have exceeded your monthly included credits",
    "you have run out of credits",
    "your account is not active, please check your billing",
];
/// The same, where the end of the sentence varies: one of [`LIMITS`] must follow.
const QUOTA_LIMIT: &[&str] = &[
    "you have reached your",
    "you've reached your",
    "your organization has reached",
    "your workspace has reached",
    "your account has reached",
    "your team",
    "this organization has reached",
    "this workspace has reached",
];
const LIMITS: &[&str] = &["usage limit", "spend", "credit", "billing"];

/// Beginnings by which a vendor refuses our key, account or region.
const KEY: &[&str] = &[
    "api key not valid",
    "api key not found",
    "api key expired",
    "invalid api key",
    "incorrect api key",
    "invalid authentication",
    "user location is not supported",
    "this organization has been disabled",
    "your organization has been disabled",
    "the security token included in the request",
];

/// Beginnings of a sentence about a model, of which one of [`MISSING`] must follow.
const MODEL: &[&str] = &[
    "model ",
    "models/",
    "the model ",
    "the requested model",
    "this model ",
    "publisher model",
    "the api deployment for this resource",
    "the provided model identifier",
    "could not resolve the foundation model",
    "no endpoints found for",
    "invalid model",
    "unknown model",
    "unsupported model",
    "unable to access model",
];
const MISSING: &[&str] = &[
    "not exist",
    "not found",
    "not available",
    "no longer available",
    "no longer supported",
    "not supported for",
    "decommissioned",
    "has been deprecated",
    "identifier is invalid",
    "could not resolve",
    "no endpoints",
    "invalid model",
    "unknown model",
    "unsupported model",
    "unable to access",
];

/// Parts of sentences that say that the request is too long.
const TOO_LONG: &[&str] = &[
    "maximum context length",
    "context length",
    "context window",
    "context limit",
    "context size",
    "prompt is too long",
    "input is too long",
    "too many tokens",
    "exceeds the maximum number of tokens",
    "maximum prompt length",
    "reduce the length of the messages",
];

/// Parts of sentences that say that the content was refused.
const FILTERED: &[&str] = &[
    "content filtering policy",
    "content management policy",
    "content exists risk",
    "requires moderation and your input was flagged",
    "violates usage guidelines",
    "the prompt could not be submitted",
    "rejected by the safety system",
    "rejected as a result of our safety system",
];

/// A sentence in the form in which it is compared: lower case, quotations left out.
#[derive(Debug)]
pub(crate) struct Sentence(String);

impl Sentence {
    pub(crate) fn new(message: &str) -> Self {
        let mut plain = String::with_capacity(message.len());
        let mut quote = None;
        let mut before = ' ';
        for letter in message.trim_start().chars() {
            match quote {
                // An apostrophe inside a word is no quotation mark.
                None if matches!(letter, '`' | '"') || (letter == '\'' && !before.is_alphanumeric()) => {
                    quote = Some(letter);
                }
                None => plain.extend(letter.to_lowercase()),
                Some(mark) if mark == letter => quote = None,
                Some(_) => {}
            }
            before = letter;
        }
        Self(plain)
    }

    fn begins(&self, with: &[&str]) -> bool {
        with.iter().any(|beginning| self.0.starts_with(beginning))
    }

    fn has(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.0.contains(part))
    }

    /// Our account has nothing left.
    pub(crate) fn says_quota(&self) -> bool {
        self.begins(QUOTA) || (self.begins(QUOTA_LIMIT) && self.has(LIMITS))
    }

    /// The same in OpenAI's words, which Gemini uses of a rate limit as well: only without any word beside it.
    pub(crate) fn says_current_quota(&self) -> bool {
        self.begins(&["you exceeded your current quota"])
    }

    /// Our key, account or region is refused.
    pub(crate) fn says_key(&self) -> bool {
        self.begins(KEY)
    }

    /// The model is missing. `not_found`: the answer says by its status or type that something is.
    pub(crate) fn says_model(&self, not_found: bool) -> bool {
        (self.begins(MODEL) && self.has(MISSING))
            || self.0.trim_end_matches('.').ends_with("is not a valid model id")
            || (not_found && self.begins(&["model:"]))
    }

    /// The request is larger than a limit per minute ever allows: waiting does not help.
    pub(crate) fn says_never_fits(&self) -> bool {
        self.begins(&["request too large for"])
    }

    /// The request is too long.
    pub(crate) fn says_too_long(&self) -> bool {
        self.has(TOO_LONG)
    }

    /// The content was refused.
    pub(crate) fn says_filtered(&self) -> bool {
        self.has(FILTERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_stands_twice() {
        let all: Vec<_> = SPECIFIC.iter().chain(GENERAL).map(|(word, _)| word.to_ascii_lowercase()).collect();
        for (at, word) in all.iter().enumerate() {
            assert!(!all[..at].contains(word), "{word}");
        }
    }

    #[test]
    fn quotations_are_left_out() {
        for (message, plain) in [
            ("The model `gpt-5` doesn't exist", "the model  doesn't exist"),
            ("Invalid value: 'it is' \"b", "invalid value:  "),
            ("  Don't", "don't"),
        ] {
            assert_eq!(Sentence::new(message).0, plain);
        }
    }
}
