//! What the relay counts, and in which words: see [`crate::telemetry::RelayCounters`]. A call is counted when its answer begins, or
//! when its client went away before that; an attempt when it is over.

use std::sync::Arc;

use hyper::Response;

use super::Relay;
use super::local_reply::{LocalReply, ReplyCode};
use super::proxy_body::ProxyBody;
use crate::shared_broker::SharedBroker;
use balancer::retry::GiveUp;
use types::outcome::{ErrorClass, TransportFailure};

/// A target's answer was passed on, whatever it says.
const ANSWERED: &str = "answered";
/// The client was gone before there was an answer.
const CLIENT_GONE: &str = "client_gone";
/// The gateway could not be reached, and so no router either.
pub(super) const GATEWAY_UNREACHABLE: &str = "gateway_unreachable";

/// All kinds begin at zero.
pub(super) fn begin(relay: &Relay) {
    let counts = &relay.broker.counts().relayed;
    counts.begin(Arc::clone(&relay.calls), relay.limits.calls);
    counts.calls.preregister(LocalReply::codes().chain([ANSWERED, CLIENT_GONE]));
    let answered = [200, 300, 400, 429, 500].map(answered);
    counts.attempts.preregister(
        answered
            .into_iter()
            .chain(TransportFailure::ALL.map(TransportFailure::as_str))
            .chain([CLIENT_GONE, GATEWAY_UNREACHABLE]),
    );
    counts.errors.preregister(ErrorClass::ALL);
    counts.given_up.preregister(GiveUp::ALL_STR);
}

/// A call that has come.
pub(super) struct CallCounter {
    broker: SharedBroker,
    ended: &'static str,
}

impl CallCounter {
    pub(super) fn begin(broker: SharedBroker) -> Self {
        Self { broker, ended: CLIENT_GONE }
    }

    /// Its answer begins.
    pub(super) fn end(mut self, response: Response<ProxyBody>) -> Response<ProxyBody> {
        self.ended = response.extensions().get().map_or(ANSWERED, |ReplyCode(code)| *code);
        response
    }
}

impl Drop for CallCounter {
    fn drop(&mut self) {
        self.broker.counts().relayed.calls.count(self.ended, self.broker.now());
    }
}

/// It is not sent once more.
pub(super) fn count_local_reply(broker: &SharedBroker, stop: GiveUp) {
    broker.counts().relayed.given_up.count(stop.as_str(), broker.now());
}

/// An attempt is over: with this status, or without a good answer; and what was wrong with it.
pub(super) fn attempt(broker: &SharedBroker, result: Result<u16, TransportFailure>, error_class: Option<ErrorClass>) {
    if let Some(class) = error_class {
        broker.counts().relayed.errors.count(class, broker.now());
    }
    broker.counts().relayed.attempts.count(result.map_or_else(TransportFailure::as_str, answered), broker.now());
}

/// An attempt is over without anything that its router is to blame for: for this reason, or because the client went away.
pub(super) fn neutral_attempt(broker: &SharedBroker, reason: Option<&'static str>) {
    broker.counts().relayed.attempts.count(reason.unwrap_or(CLIENT_GONE), broker.now());
}

const fn answered(status: u16) -> &'static str {
    match status {
        429 => "answered_429",
        ..300 => "answered_2xx",
        300..400 => "answered_3xx",
        400..500 => "answered_4xx",
        500.. => "answered_5xx",
    }
}
