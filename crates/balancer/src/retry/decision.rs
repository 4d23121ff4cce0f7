//! Which answers are worth another attempt, and where.
//!
//! Not the classification of [`types::outcome`], which judges routers: a 409 is no router's fault and is worth
//! another attempt; a 401 for the broker's key to a target is that target's fault only while another target has a
//! working key.

use types::outcome::{ErrorClass, FailureRule, SetBy, TransportFailure};

/// How an attempt ended before anything was sent to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    Answered {
        status: u16,
        /// What is wrong with it; `None` if nothing is.
        error_class: Option<ErrorClass>,
        /// Who named the deployment or model of which it says that it does not exist.
        missing: Option<SetBy>,
        /// It says that another account may get an answer: ours may not use the model, has not made the response or the reasoning that
        /// the request refers to, or has a limit per minute that the request exceeds.
        other_account_may_answer: bool,
    },
    /// Without a complete answer.
    Broken(TransportFailure),
}

/// Where the next attempt may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryDecision {
    /// Nowhere: this is the answer.
    DoNotRetry,
    /// To another target only, because this one would answer the same.
    OtherTarget,
    /// To another target, or after a pause to the same one.
    AnyTarget,
}

/// Judges the end of an attempt. `key`: whose key the target was called with; behind the gateway that is unknown.
/// `listed`: exactly these answers are sent to each other target once, instead of the defaults.
pub fn retry_decision(ended: AttemptResult, key: Option<SetBy>, listed: Option<&FailureRule>) -> RetryDecision {
    let (status, class, missing, other_account_may_answer) = match ended {
        AttemptResult::Answered { status, error_class, missing, other_account_may_answer } => {
            (status, error_class, missing, other_account_may_answer)
        }
        // Another target may have a connection that is open already; waiting for one would hold descriptors that are needed.
        AttemptResult::Broken(TransportFailure::Exhausted) => return RetryDecision::OtherTarget,
        AttemptResult::Broken(failure) => return broken(failure, listed),
    };
    if let Some(rule) = listed {
        let lists = rule.lists(status, class);
        return if lists { RetryDecision::OtherTarget } else { RetryDecision::DoNotRetry };
    }
    // The next target has another account.
    if other_account_may_answer && key == Some(SetBy::Target) {
        return RetryDecision::OtherTarget;
    }
    by_default(status, class, missing, key)
}

/// There is no answer to give; the same target is asked again unless it said that it would refuse, or the failure's class is listed.
fn broken(failure: TransportFailure, listed: Option<&FailureRule>) -> RetryDecision {
    let class = failure.error_class();
    let is_listed = class.is_some_and(|class| listed.is_some_and(|rule| rule.names(class)));
    match class {
        _ if is_listed => RetryDecision::OtherTarget,
        Some(ErrorClass::KeyRefused | ErrorClass::QuotaExhausted | ErrorClass::NotFound | ErrorClass::Unsupported) => {
            RetryDecision::OtherTarget
        }
        _ => RetryDecision::AnyTarget,
    }
}

fn by_default(status: u16, class: Option<ErrorClass>, missing: Option<SetBy>, key: Option<SetBy>) -> RetryDecision {
    use ErrorClass::{
        ContentFiltered, ContextTooLong, InvalidRequest, KeyRefused, NotFound, QuotaExhausted, Unsupported,
    };
    let missing = match status {
        // Another target may have what the client asked for.
        404 | 410 | 422 => missing.is_some(),
        400 => missing == Some(SetBy::Target),
        _ => false,
    };
    let own_key = key == Some(SetBy::Target);
    // The same target would refuse the same key, path, method or version again.
    if missing || (own_key && matches!(status, 401..=404)) {
        return RetryDecision::OtherTarget;
    }
    if status == 409 {
        return RetryDecision::AnyTarget;
    }
    match class {
        None => RetryDecision::DoNotRetry,
        Some(KeyRefused | QuotaExhausted) if own_key => RetryDecision::OtherTarget,
        Some(NotFound) if own_key && status != 400 => RetryDecision::OtherTarget,
        Some(QuotaExhausted) if key.is_none() && status == 429 => RetryDecision::AnyTarget,
        Some(KeyRefused | QuotaExhausted) => RetryDecision::DoNotRetry,
        Some(Unsupported) if status < 600 => RetryDecision::OtherTarget,
        // Not this target, but one with higher limits or another filter may take it.
        Some(ContextTooLong | ContentFiltered | InvalidRequest | NotFound)
            if matches!(status, 408 | 429 | 500..=599) =>
        {
            RetryDecision::OtherTarget
        }
        Some(ContextTooLong | ContentFiltered | InvalidRequest | NotFound | Unsupported) => RetryDecision::DoNotRetry,
        Some(_) => RetryDecision::AnyTarget,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, missing: Option<SetBy>) -> AttemptResult {
        AttemptResult::Answered {
            status,
            error_class: ErrorClass::of_status(status),
            missing,
            other_account_may_answer: false,
        }
    }

    fn of_class(status: u16, class: ErrorClass) -> AttemptResult {
        AttemptResult::Answered { status, error_class: Some(class), missing: None, other_account_may_answer: false }
    }

    fn key(own: bool) -> Option<SetBy> {
        Some(if own { SetBy::Target } else { SetBy::Client })
    }

    fn of(status: u16, own_key: bool) -> RetryDecision {
        retry_decision(answered(status, None), key(own_key), None)
    }

    #[test]
    fn which_answers_lead_on() {
        for status in [408, 409, 424, 425, 429, 498, 500, 502, 503, 504, 529, 599] {
            assert_eq!(of(status, false), RetryDecision::AnyTarget, "{status}");
        }
        for status in [200, 201, 204, 301, 400, 405, 413, 415, 418, 422, 451, 600] {
            assert_eq!(of(status, true), RetryDecision::DoNotRetry, "{status}");
        }
        for status in [501, 505] {
            assert_eq!(of(status, false), RetryDecision::OtherTarget, "{status}: another target may implement it");
        }
        for status in [401, 402, 403, 404] {
            assert_eq!(of(status, true), RetryDecision::OtherTarget, "{status} with the target's own key");
            assert_eq!(of(status, false), RetryDecision::DoNotRetry, "{status} with the client's key");
        }
        for (status, by, expected) in [
            (404, SetBy::Target, RetryDecision::OtherTarget),
            (404, SetBy::Client, RetryDecision::OtherTarget),
            (400, SetBy::Target, RetryDecision::OtherTarget),
            (400, SetBy::Client, RetryDecision::DoNotRetry),
            (410, SetBy::Client, RetryDecision::OtherTarget),
            (422, SetBy::Client, RetryDecision::OtherTarget),
            (422, SetBy::Target, RetryDecision::OtherTarget),
        ] {
            let missing = answered(status, Some(by));
            assert_eq!(
                retry_decision(missing, key(false), None),
                expected,
                "{status}, named by {by:?}: no key makes it exist"
            );
        }
        assert_eq!(
            retry_decision(AttemptResult::Broken(TransportFailure::FirstByteTimeout), key(false), None),
            RetryDecision::AnyTarget
        );
        assert_eq!(
            retry_decision(AttemptResult::Broken(TransportFailure::Exhausted), key(false), None),
            RetryDecision::OtherTarget
        );
    }

    #[test]
    fn the_class_of_an_answer_decides_before_its_status() {
        use ErrorClass::*;
        use RetryDecision::{AnyTarget, DoNotRetry, OtherTarget};
        for (status, class, with_own_key, with_the_clients) in [
            (400, KeyRefused, OtherTarget, DoNotRetry),
            (400, QuotaExhausted, OtherTarget, DoNotRetry),
            (429, QuotaExhausted, OtherTarget, DoNotRetry),
            (400, RateLimited, AnyTarget, AnyTarget),
            (400, Overloaded, AnyTarget, AnyTarget),
            (400, ContextTooLong, DoNotRetry, DoNotRetry),
            (429, ContextTooLong, OtherTarget, OtherTarget),
            (400, ContentFiltered, DoNotRetry, DoNotRetry),
            (200, ContentFiltered, DoNotRetry, DoNotRetry),
            (500, ContentFiltered, OtherTarget, OtherTarget),
            (400, NotFound, DoNotRetry, DoNotRetry),
            (412, NotFound, OtherTarget, DoNotRetry),
            (429, NotFound, OtherTarget, OtherTarget),
        ] {
            for (own_key, expected) in [(true, with_own_key), (false, with_the_clients)] {
                let answer = of_class(status, class);
                assert_eq!(
                    retry_decision(answer, key(own_key), None),
                    expected,
                    "{status} {class}, own key: {own_key}"
                );
            }
        }
        let of_unknown_key = of_class(429, QuotaExhausted);
        assert_eq!(retry_decision(of_unknown_key, None, None), AnyTarget);
        let event = |class| retry_decision(AttemptResult::Broken(TransportFailure::ErrorEvent(class)), key(true), None);
        assert_eq!(
            (event(QuotaExhausted), event(Unsupported), event(Overloaded)),
            (OtherTarget, OtherTarget, AnyTarget)
        );
    }

    #[test]
    fn a_list_replaces_them_and_leads_to_each_other_target_once() {
        let listed = FailureRule::parse("404,429,context_too_long").ok();
        let of = |status| retry_decision(answered(status, Some(SetBy::Client)), key(true), listed.as_ref());
        assert_eq!(
            (of(404), of(429), of(413)),
            (RetryDecision::OtherTarget, RetryDecision::OtherTarget, RetryDecision::OtherTarget)
        );
        assert_eq!((of(503), of(401)), (RetryDecision::DoNotRetry, RetryDecision::DoNotRetry));
        let broken = AttemptResult::Broken(TransportFailure::Connect);
        assert_eq!(
            retry_decision(broken, key(true), listed.as_ref()),
            RetryDecision::AnyTarget,
            "there is no answer to give"
        );
    }

    #[test]
    fn a_class_that_is_listed_leads_to_other_targets_only_also_without_an_answer() {
        let listed = FailureRule::parse("timed_out,overloaded,unreachable,5xx").ok();
        let of = |failure| retry_decision(AttemptResult::Broken(failure), key(true), listed.as_ref());
        for failure in [
            TransportFailure::FirstByteTimeout,
            TransportFailure::Stalled,
            TransportFailure::Connect,
            TransportFailure::ErrorEvent(ErrorClass::Overloaded),
            TransportFailure::ErrorAnswer(ErrorClass::Overloaded),
        ] {
            assert_eq!(of(failure), RetryDecision::OtherTarget, "{failure:?}");
        }
        for failure in [TransportFailure::ConnectionClosed, TransportFailure::Stale, TransportFailure::EmptyAnswer] {
            assert_eq!(of(failure), RetryDecision::AnyTarget, "{failure:?}: a status says nothing about it");
        }
    }

    #[test]
    fn what_is_not_for_our_account_leads_on_whatever_the_status_is() {
        use ErrorClass::{ContextTooLong, InvalidRequest, NotFound};
        for (status, class, own_key, expected) in [
            (400, NotFound, true, RetryDecision::OtherTarget),
            (403, NotFound, true, RetryDecision::OtherTarget),
            (400, NotFound, false, RetryDecision::DoNotRetry),
            (400, InvalidRequest, true, RetryDecision::OtherTarget),
            (400, InvalidRequest, false, RetryDecision::DoNotRetry),
            (413, ContextTooLong, true, RetryDecision::OtherTarget),
            (413, ContextTooLong, false, RetryDecision::DoNotRetry),
        ] {
            let missing = (class == NotFound).then_some(SetBy::Client);
            let denied =
                AttemptResult::Answered { status, error_class: Some(class), missing, other_account_may_answer: true };
            assert_eq!(retry_decision(denied, key(own_key), None), expected, "{status}, own key: {own_key}");
        }
        let limit_of_none = of_class(429, ErrorClass::NotFound);
        assert_eq!(retry_decision(limit_of_none, key(true), None), RetryDecision::OtherTarget);
    }
}
