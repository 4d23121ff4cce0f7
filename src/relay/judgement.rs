//! What an attempt came to: for the retry plan, and for the health of its target.

use bytes::Bytes;
use jiff::Timestamp;

use super::attempt_guard::{AttemptEnd, AttemptGuard};
use super::hold::{UpstreamResponse, answer_headers};
use super::metrics;
use super::target::Target;
use crate::telemetry::Counts;
use balancer::retry::AttemptResult;
use gecholog_protocol::missing::{Missing, Naming};
use gecholog_protocol::{answer_headers as gateway, upstream_body};
use llm::{error_class, usage};
use types::outcome::TransportFailure;
use types::time::BrokerTime;

/// What an attempt came to, in the words of the plan and of health. One that came to nothing is told.
pub(super) fn judge<'n>(
    target: &Target<'_>,
    came: Result<UpstreamResponse, TransportFailure>,
    naming: impl FnOnce() -> Naming<'n>,
    underway: &mut AttemptGuard,
) -> (AttemptResult, Option<(UpstreamResponse, AttemptEnd)>) {
    match came {
        Ok(answer) => {
            let (end, ended) = ending(&answer, target, naming, (underway.now(), underway.counts()));
            underway.answered(&answer.head.headers, &answer.held);
            (ended, Some((answer, end)))
        }
        Err(breakage) => {
            if matches!(breakage, TransportFailure::Exhausted | TransportFailure::DeadlineExceeded) {
                underway.end_without_blame(breakage.as_str());
                return (AttemptResult::Broken(breakage), None);
            }
            let unreached = matches!(breakage, TransportFailure::Connect | TransportFailure::ConnectTimeout);
            // Behind the gateway it is the gateway that could not be reached, and no router is to blame.
            if unreached && target.is_behind_gateway() {
                underway.end_without_blame(metrics::GATEWAY_AWAY);
            } else if breakage == TransportFailure::Stale {
                underway.end_without_blame(breakage.as_str());
            } else {
                underway.finish(AttemptEnd::broken(breakage));
            }
            (AttemptResult::Broken(breakage), None)
        }
    }
}

/// What an answer says, to health and to the plan.
fn ending<'n>(
    answer: &UpstreamResponse,
    target: &Target<'_>,
    naming: impl FnOnce() -> Naming<'n>,
    (now, counts): (BrokerTime, &Counts),
) -> (AttemptEnd, AttemptResult) {
    let status = answer.head.status.as_u16();
    let headers = answer_headers(&answer.head.headers);
    // Only an error, or a short answer, is here to its end.
    let body = if status >= 400 || answer.rest.is_none() { answer.start() } else { Bytes::new() };
    let received = Timestamp::from_nanosecond(i128::from(now.as_nanos())).ok();
    let error_class = error_class::classify(status, &headers, &body).or(answer.error_class);
    let used = match &answer.stream {
        Some(stream) => stream.usage(),
        None if headers.is_json() && !headers.is_compressed() => usage::of_answer(&body),
        None => Ok(None),
    };
    if used.is_err() {
        counts.count_invalid_usage();
    }
    let missing = Missing::of_error(status, error_class, &body);
    let end = AttemptEnd {
        hint: gateway::retry_after(status, &headers, &body, received),
        html: headers.is_html(),
        error_class,
        // What cannot be believed is unknown.
        usage: used.ok().flatten(),
        quota: gateway::rate_limits(&headers, received),
        missing: missing.map(|missing| naming().of(missing)),
        gateway_generated: status >= 400 && target.is_behind_gateway() && upstream_body::gateway_generated(&body),
        ..AttemptEnd::with(status)
    };
    (end, AttemptResult::Answered { status, error_class, missing: end.missing })
}
