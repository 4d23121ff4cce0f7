//! Which answers are worth another attempt, and where.
//!
//! Not the classification of [`types::outcome`], which judges routers: a 409 is no router's fault and is worth
//! another attempt; a 401 for the broker's key to a target is that target's fault only while another target has a
//! working key.

use types::outcome::{FailureRule, NamedBy, TransportFailure};

/// How an attempt ended before anything was sent to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    /// With an answer.
    Answered {
        /// Its status.
        status: u16,
        /// Who named the deployment or model of which it says that it does not exist.
        missing: Option<NamedBy>,
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

/// Judges the end of an attempt. `own_key`: the target was called with its configured key and not with the client's.
/// `listed`: exactly these statuses are retried, instead of the defaults.
pub fn retry_decision(ended: AttemptResult, own_key: bool, listed: Option<&FailureRule>) -> RetryDecision {
    let (status, missing) = match ended {
        AttemptResult::Answered { status, missing } => (status, missing),
        // Another target may have a connection that is open already; to wait for one would hold what is lacking.
        AttemptResult::Broken(TransportFailure::Exhausted) => return RetryDecision::OtherTarget,
        AttemptResult::Broken(_) => return RetryDecision::AnyTarget,
    };
    let missing = match status {
        // Another target may have what the client asked for.
        404 => missing.is_some(),
        400 => missing == Some(NamedBy::Target),
        _ => false,
    };
    // The same target would refuse the same key, path, method or version again.
    let elsewhere = missing || matches!(status, 401..=404 | 501 | 505);
    let leads = match listed {
        Some(rule) => rule.lists(status),
        None => matches!(status, 408 | 409 | 429 | 500..=599) || (matches!(status, 401..=404) && own_key) || missing,
    };
    match (leads, elsewhere) {
        (false, _) => RetryDecision::DoNotRetry,
        (true, true) => RetryDecision::OtherTarget,
        (true, false) => RetryDecision::AnyTarget,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, own_key: bool) -> RetryDecision {
        retry_decision(AttemptResult::Answered { status, missing: None }, own_key, None)
    }

    #[test]
    fn which_answers_lead_on() {
        for status in [408, 409, 429, 500, 502, 503, 504, 529, 599] {
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
            (404, NamedBy::Target, RetryDecision::OtherTarget),
            (404, NamedBy::Client, RetryDecision::OtherTarget),
            (400, NamedBy::Target, RetryDecision::OtherTarget),
            (400, NamedBy::Client, RetryDecision::DoNotRetry),
        ] {
            let missing = AttemptResult::Answered { status, missing: Some(by) };
            assert_eq!(
                retry_decision(missing, false, None),
                expected,
                "{status}, named by {by:?}: no key makes it exist"
            );
        }
        assert_eq!(
            retry_decision(AttemptResult::Broken(TransportFailure::FirstByteTimeout), false, None),
            RetryDecision::AnyTarget
        );
        assert_eq!(
            retry_decision(AttemptResult::Broken(TransportFailure::Exhausted), false, None),
            RetryDecision::OtherTarget
        );
    }

    #[test]
    fn a_list_replaces_them() {
        let listed = FailureRule::parse("404,429").ok();
        let of = |status| {
            retry_decision(AttemptResult::Answered { status, missing: Some(NamedBy::Client) }, true, listed.as_ref())
        };
        assert_eq!((of(404), of(429)), (RetryDecision::OtherTarget, RetryDecision::AnyTarget));
        assert_eq!((of(503), of(401)), (RetryDecision::DoNotRetry, RetryDecision::DoNotRetry));
        let broken = AttemptResult::Broken(TransportFailure::Connect);
        assert_eq!(
            retry_decision(broken, true, listed.as_ref()),
            RetryDecision::AnyTarget,
            "there is no answer to give"
        );
    }
}
