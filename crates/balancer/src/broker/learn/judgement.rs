//! From an observation to the class and the cause of its outcome, for a router with these settings.

use crate::broker::RouterSettings;
use crate::in_flight::MAX_CALL_DURATION;
use types::outcome::{
    CallObservation, Cause, Class, ErrorClass, FailureRule, JudgedAnswer, RetryAfter, TransportFailure,
};
use types::time::BrokerTime;

/// What an answer means: first its status and error class, then what these hide.
/// `by_relay`: the relay called the target itself, so the gateway's longest call does not apply.
pub(super) fn judge(
    settings: &RouterSettings,
    report: &CallObservation<'_>,
    status: u16,
    now: BrokerTime,
    by_relay: impl FnOnce() -> bool,
) -> (Class, Cause) {
    let failure_class = report.transport_failure.and_then(TransportFailure::error_class);
    let answer = JudgedAnswer {
        // A failure has no status of its own; what stands there is what the client was sent.
        status: if report.transport_failure.is_some() { 200 } else { status },
        error_class: report.error_class.or(failure_class),
        gateway_generated: report.gateway_generated,
        missing: report.missing,
        key: report.key,
    };
    let class = settings.failures.classify(answer);
    let cause = cause(report, status, class, answer.error_class, now);
    if report.transport_failure.is_some() {
        return (of_failure(answer, class), cause);
    }
    match report.latency {
        Some(latency) if latency >= MAX_CALL_DURATION && !by_relay() => (Class::Failure, Cause::CutOff),
        Some(latency) if class == Class::Success && settings.health.slow.is_some_and(|slow| latency > slow) => {
            (Class::Failure, Cause::TooSlow)
        }
        _ if report.html && (200..300).contains(&status) && class == Class::Success => (Class::Neutral, cause),
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

fn cause(
    report: &CallObservation<'_>,
    status: u16,
    class: Class,
    error_class: Option<ErrorClass>,
    now: BrokerTime,
) -> Cause {
    if class == Class::Refused {
        return match error_class {
            Some(ErrorClass::QuotaExhausted) => Cause::AccountExhausted(announced(report, now)),
            _ => Cause::KeyRefused,
        };
    }
    match report.transport_failure {
        Some(failure) => Cause::Transport(failure),
        None if report.gateway_generated => Cause::Unreachable(status),
        None => Cause::Answered(status),
    }
}

/// The moment from which the upstream says that it will answer again, in whole seconds since 1970.
fn announced(report: &CallObservation<'_>, now: BrokerTime) -> Option<u32> {
    let wait = report.retry_after.and_then(RetryAfter::wait)?;
    u32::try_from(now.after(wait).as_nanos() / 1_000_000_000).ok()
}
