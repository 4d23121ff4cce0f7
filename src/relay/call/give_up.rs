//! The answer of a call that no target has served: the last upstream answer, or one of our own, and when to come back.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Response};

use super::super::attempt_guard::AttemptEnd;
use super::super::local_reply::{LocalReply, seconds};
use super::super::proxy_body::ProxyBody;
use super::super::{headers, metrics};
use super::Call;
use crate::shared_broker::NoFurtherAttempt;
use crate::telemetry::NeededFor;
use balancer::broker::Unavailability;
use balancer::retry::GiveUp;

/// Why the call was not sent once more.
const REASON: HeaderName = HeaderName::from_static("x-broker-reason");
/// What clients read before `Retry-After`.
const RETRY_AFTER_MS: [HeaderName; 2] =
    [HeaderName::from_static("retry-after-ms"), HeaderName::from_static("x-ms-retry-after-ms")];

impl Call<'_> {
    /// There is nothing left to do: the last answer as it was, or one of our own.
    pub(super) fn give_up(&mut self, stop: NoFurtherAttempt) -> Response<ProxyBody> {
        let NoFurtherAttempt { why, retry_at, explanation } = stop;
        metrics::count_local_reply(&self.relay.broker, why);
        tracing::debug!(ingress = %self.ingress, attempts = %self.running.attempts, "a call is given up: {why}");
        let mut response = match self.last.take() {
            Some((answer, router)) => {
                let end = AttemptEnd::with(answer.head.status.as_u16());
                self.pass_on(answer, &router, None, end)
            }
            None => {
                let mut response = self.own_reply(why, explanation).response(self.head);
                self.set_own_headers(response.headers_mut(), None);
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(REASON, headers::value(&why.to_string()));
        if let Some(at) = retry_at {
            set_retry_after(headers, at.since(self.relay.broker.now()));
        }
        response
    }

    /// What is said where no target has answered.
    fn own_reply(&mut self, why: GiveUp, explanation: Option<String>) -> LocalReply {
        let attempts = &self.running.attempts;
        if attempts.ended_exhausted() {
            if let Some(total) = self.relay.broker.counts().exhausted(NeededFor::RelayConnect, self.relay.broker.now())
            {
                tracing::warn!(total, "the relay has no descriptors, memory or ports left to call targets with");
            }
            return LocalReply::Exhausted;
        }
        if self.plan.sent() == 0
            && let Some(reason) = self.passed_over.take()
        {
            return LocalReply::NotSent(reason);
        }
        let explanation = explanation.filter(|_| attempts.is_empty());
        let summary = explanation.unwrap_or_else(|| format!("{attempts} ({why})"));
        let all_limited = matches!(why, GiveUp::NoTarget(Unavailability { rate_limited: true, .. }));
        match all_limited || attempts.ended_rate_limited() {
            true => LocalReply::AllTargetsRateLimited(summary),
            false => LocalReply::AllTargetsUnavailable(summary),
        }
    }
}

/// When the client may come back: after `wait`. Where that is at once, only a longer wait that the last target asked for is
/// replaced; without one clients know best themselves.
fn set_retry_after(headers: &mut HeaderMap, wait: Duration) {
    let is_named = headers.contains_key(RETRY_AFTER) || RETRY_AFTER_MS.iter().any(|name| headers.contains_key(name));
    if wait.is_zero() && !is_named {
        return;
    }
    for name in &RETRY_AFTER_MS {
        headers.remove(name);
    }
    let wait: HeaderValue = seconds(wait.max(Duration::from_secs(1)));
    headers.insert(RETRY_AFTER, wait);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_the_pools_and_no_shorter_one_of_a_target_stays_beside_it() {
        let named = [("retry-after", "9"), ("retry-after-ms", "90"), ("x-ms-retry-after-ms", "90")];
        for (millis, present, expected) in [
            (0, &named[..0], None),
            (0, &named[..1], Some("1")),
            (0, &named[1..2], Some("1")),
            (1, &named[..0], Some("1")),
            (1_001, &named[..], Some("2")),
            (60_000, &named[1..], Some("60")),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in present {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            set_retry_after(&mut headers, Duration::from_millis(millis));
            let said = headers.get(RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!((said, headers.len()), (expected, usize::from(expected.is_some())), "{millis} ms, {present:?}");
        }
    }
}
