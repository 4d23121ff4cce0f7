//! From an observation to the class and the cause of its outcome, for a router with these settings.

use crate::broker::RouterSettings;
use types::outcome::{CallFacts, Cause, Class, ErrorClass, FailureRule, JudgedAnswer, RetryAfter, TransportFailure};
use types::time::BrokerTime;

/// What an answer means: first its status and error class, then what these hide.
/// `cut_off`: whether the gateway gave up before the answer was complete.
#[inline]
pub(super) fn classify(
    settings: &RouterSettings,
    facts: &CallFacts<'_>,
    status: u16,
    now: BrokerTime,
    cut_off: impl FnOnce() -> bool,
) -> (Class, Cause) {
    let CallFacts { answer: seen, details, key, transport_failure: failure, is_ambiguous_refusal, .. } = *facts;
    let failure_class = failure.and_then(TransportFailure::error_class);
    let answer = JudgedAnswer {
        // A failure has no status of its own; what stands there is what the client was sent.
        status: if failure.is_some() { 200 } else { status },
        error_class: details.error_class.or(failure_class),
        // The log entry of a failed attempt of a relay has no headers either.
        gateway_generated: seen.gateway_generated && failure.is_none(),
        missing: details.missing,
        key,
    };
    let class = settings.failures.classify(answer);
    let cause = match failure {
        _ if class == Class::Refused && !is_ambiguous_refusal => refusal(answer.error_class, seen.retry_after, now),
        Some(failure) => Cause::Transport(failure),
        None if seen.gateway_generated => Cause::Unreachable(status),
        None => Cause::Answered(status),
    };
    if failure.is_some() {
        return (of_failure(answer, class), cause);
    }
    if cut_off() {
        return (Class::Failure, Cause::CutOff);
    }
    if class != Class::Success {
        return (class, cause);
    }
    match details.latency.zip(settings.health.slow) {
        Some((latency, slow)) if latency > slow => (Class::Failure, Cause::TooSlow),
        _ if seen.html && (200..300).contains(&status) => (Class::Neutral, cause),
        _ => (class, cause),
    }
}

/// The class of a call that failed without a status: what breaks off counts, whatever statuses the settings list; what
/// carries an error counts as that error would.
fn of_failure(answer: JudgedAnswer, by_rule: Class) -> Class {
    let standard = FailureRule::Standard.classify(answer);
    match (by_rule, standard) {
        (Class::Success, _) | (Class::Neutral, Class::Failure | Class::Success) => Class::Failure,
        (Class::Neutral, other) => other,
        (by_rule, _) => by_rule,
    }
}

/// Why a target refuses this side's key or account.
fn refusal(error_class: Option<ErrorClass>, retry_after: Option<RetryAfter>, now: BrokerTime) -> Cause {
    if error_class != Some(ErrorClass::QuotaExhausted) {
        return Cause::KeyRefused;
    }
    // The moment from which the upstream says that it will answer again, in whole seconds since 1970.
    let wait = retry_after.and_then(RetryAfter::wait);
    Cause::AccountQuotaExhausted(wait.and_then(|wait| u32::try_from(now.after(wait).as_nanos() / 1_000_000_000).ok()))
}
