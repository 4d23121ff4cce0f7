//! What the relay counts, and in which words: see [`crate::telemetry::Relayed`]. A call is counted when its answer begins, or
//! when its client went away before that; an attempt when it is over.

use std::sync::Arc;

use hyper::Response;

use super::Relay;
use super::answer::{Code, Own};
use super::stream::Passing;
use crate::attempt::Stop;
use crate::handle::Handle;
use crate::outcome::Breakage;

/// A target's answer was passed on, whatever it says.
const ANSWERED: &str = "answered";
/// The client was gone before there was an answer.
const CLIENT_GONE: &str = "client_gone";
/// The gateway could not be reached, and so no router either.
pub(super) const GATEWAY_AWAY: &str = "gateway_unreachable";

/// All kinds begin at zero.
pub(super) fn begin(relay: &Relay) {
    let counts = &relay.handle.counts().relayed;
    counts.begin(Arc::clone(&relay.calls), relay.room.calls);
    counts.calls.expect(Own::codes().chain([ANSWERED, CLIENT_GONE]));
    let answered = [200, 300, 400, 429, 500].map(answered);
    counts
        .attempts
        .expect(answered.into_iter().chain(Breakage::ALL.map(Breakage::word)).chain([CLIENT_GONE, GATEWAY_AWAY]));
    counts.given_up.expect(Stop::WORDS);
}

/// A call that has come.
pub(super) struct Call {
    handle: Handle,
    ended: &'static str,
}

impl Call {
    pub(super) fn begin(handle: Handle) -> Self {
        Self { handle, ended: CLIENT_GONE }
    }

    /// Its answer begins.
    pub(super) fn end(mut self, response: Response<Passing>) -> Response<Passing> {
        self.ended = response.extensions().get().map_or(ANSWERED, |Code(code)| *code);
        response
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.handle.counts().relayed.calls.count(self.ended, self.handle.now());
    }
}

/// It is not sent once more.
pub(super) fn given_up(handle: &Handle, stop: Stop) {
    handle.counts().relayed.given_up.count(stop.word(), handle.now());
}

/// An attempt is over: with this status, or without a good answer.
pub(super) fn attempt(handle: &Handle, came: Result<u16, Breakage>) {
    handle.counts().relayed.attempts.count(came.map_or_else(Breakage::word, answered), handle.now());
}

/// An attempt is over without anything that its router is to blame for: for this reason, or because the client went away.
pub(super) fn neutral_attempt(handle: &Handle, reason: Option<&'static str>) {
    handle.counts().relayed.attempts.count(reason.unwrap_or(CLIENT_GONE), handle.now());
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
