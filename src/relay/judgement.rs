//! What an attempt came to: for the retry plan, and for the health of its target.

use bytes::Bytes;

use super::attempt_guard::{AttemptEnd, AttemptGuard};
use super::hold::{FailedAttempt, UpstreamAnswer, answer_headers};
use super::metrics;
use super::target::Target;
use balancer::retry::AttemptResult;
use gecholog_protocol::missing::{MissingName, RequestNames};
use gecholog_protocol::upstream_body;
use llm::request_view::asks_for_spare_capacity;
use llm::{error_class, retry_after};
use types::outcome::{ErrorClass, RetryAfter, TransportFailure};
use types::time::BrokerTime;

/// The status of an error that came with a good one: what it says of a wait counts as in any error.
const ERROR_STATUS: u16 = 500;

/// What an attempt came to.
pub(super) struct Judgement {
    /// In the words of the plan.
    pub(super) result: AttemptResult,
    /// When the target asks to be called again.
    pub(super) retry_after: Option<RetryAfter>,
    /// The answer, if one began, and how it ends if it goes on so.
    pub(super) answer: Option<(UpstreamAnswer, AttemptEnd)>,
}

/// What the client chose of what the target is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientChoices<'a> {
    /// An account of a key that is not its own.
    pub(super) account: bool,
    /// The model, unless the target's settings set another.
    pub(super) model: Option<&'a str>,
}

/// What an attempt came to, in the words of the plan and of health. One that failed is reported here.
pub(super) fn judge_attempt<'n>(
    target: &Target<'_>,
    client: ClientChoices<'_>,
    result: Result<UpstreamAnswer, FailedAttempt>,
    names: impl Fn() -> RequestNames<'n>,
    guard: &mut AttemptGuard,
) -> Judgement {
    match result {
        Ok(answer) => {
            let (end, result) = ending(&answer, target, client.account, &names, guard.now());
            note_limited_model(end.error_class, client.model, &names, guard);
            guard.answered(&answer.head.headers, &answer.held);
            Judgement { result, retry_after: end.retry_after, answer: Some((answer, end)) }
        }
        Err(FailedAttempt { failure, error, .. }) => {
            let result = AttemptResult::Broken(failure);
            note_limited_model(failure.error_class(), client.model, &names, guard);
            if matches!(failure, TransportFailure::Exhausted | TransportFailure::DeadlineExceeded) {
                guard.end_without_blame(failure.as_str(), failure != TransportFailure::Exhausted);
                return Judgement { result, retry_after: None, answer: None };
            }
            let retry_after = error.and_then(|error| {
                let (headers, said) = *error;
                let headers = answer_headers(&headers);
                retry_after::of_answer(ERROR_STATUS, &headers, &said, Some(guard.now().timestamp()))
            });
            let unreached = matches!(failure, TransportFailure::Connect | TransportFailure::ConnectTimeout);
            // Behind the gateway it is the gateway that could not be reached, and no router is to blame.
            if unreached && target.is_behind_gateway() {
                guard.end_without_blame(metrics::GATEWAY_UNREACHABLE, false);
            } else if failure == TransportFailure::Stale {
                guard.end_without_blame(failure.as_str(), true);
            } else {
                guard.finish(AttemptEnd { retry_after, ..AttemptEnd::broken(failure) });
            }
            Judgement { result, retry_after, answer: None }
        }
    }
}

/// A rate limit is that of the model, as far as the client chose it; and so is its end.
fn note_limited_model<'n>(
    error_class: Option<ErrorClass>,
    model: Option<&str>,
    names: impl Fn() -> RequestNames<'n>,
    guard: &mut AttemptGuard,
) {
    let is_limited = || error_class == Some(ErrorClass::RateLimited) && names().is_clients_model();
    if model.is_some() && (guard.is_early() || is_limited()) {
        guard.set_client_model(model);
    }
}

/// What an answer says, to health and to the plan.
fn ending<'n>(
    answer: &UpstreamAnswer,
    target: &Target<'_>,
    clients_account: bool,
    names: impl Fn() -> RequestNames<'n>,
    now: BrokerTime,
) -> (AttemptEnd, AttemptResult) {
    let status = answer.head.status.as_u16();
    // Only an error, or a short answer, is here to its end.
    let body = if status >= 400 || answer.rest.is_none() { answer.start() } else { Bytes::new() };
    let headers = answer_headers(&answer.head.headers);
    let received = Some(now.timestamp());
    let error_class = error_class::classify(status, &headers, &body).or(answer.error_class);
    let error_class = match error_class {
        // The client chose an account that is not one of our key's.
        Some(ErrorClass::KeyRefused | ErrorClass::QuotaExhausted)
            if clients_account && error_class::refuses_account(&headers, &body) =>
        {
            Some(ErrorClass::InvalidRequest)
        }
        Some(class) if is_lack_of_capacity(status, class) && chose_spare_capacity(&names()) => {
            Some(ErrorClass::Unsupported)
        }
        class => class,
    };
    let missing = MissingName::of_error(status, error_class, &body);
    let other_account_may_answer =
        error_class.is_some_and(|class| error_class::other_account_may_answer(class, &headers, &body));
    let end = AttemptEnd {
        retry_after: retry_after::of_answer(status, &headers, &body, received),
        html: headers.is_html(),
        error_class,
        is_ambiguous_refusal: error_class::is_ambiguous_refusal(status, &headers, &body),
        quota: retry_after::rate_limits(&headers, received),
        missing: missing.map(|missing| names().named_by(missing)),
        gateway_generated: status >= 400 && target.is_behind_gateway() && upstream_body::gateway_generated(&body),
        ..AttemptEnd::with(status)
    };
    (end, AttemptResult::Answered { status, error_class, missing: end.missing, other_account_may_answer })
}

/// 498 is Groq's "Flex Tier Capacity Exceeded" (console.groq.com, error codes).
const fn is_lack_of_capacity(status: u16, class: ErrorClass) -> bool {
    status == 498 || matches!(class, ErrorClass::RateLimited | ErrorClass::Overloaded)
}

/// The client, and not the settings, chose to be served only while there is capacity to spare: that there is none tells nothing about
/// other calls.
fn chose_spare_capacity(names: &RequestNames<'_>) -> bool {
    let is_overridden = names.patch.is_some_and(|patch| patch.merge.contains_key("service_tier"));
    !is_overridden && names.received.is_some_and(asks_for_spare_capacity)
}
