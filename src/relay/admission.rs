//! What of a request can be judged before it is a call: method, framing, path, and whether a target is needed for it at all;
//! and its body.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use tokio::time::{Instant, timeout_at};

use super::body::NoMemory;
use super::heads::LengthLines;
use super::local_reply::{LocalReply, is_allowed};
use super::proxy_body::ProxyBody;
use super::subpath::stays_below;
use super::{Relay, framing, models};
use crate::server::LingerFlag;
use types::router::RouterPath;

/// The ingress of a request that targets are to answer.
///
/// # Errors
/// The answer to one that needs no target: why it is refused, or the models of its pool.
pub(super) fn admit(relay: &Relay, head: &Parts, lines: LengthLines) -> Result<RouterPath, Box<Response<ProxyBody>>> {
    let refuse = |reply: LocalReply| Err(Box::new(reply.response(head)));
    if !is_allowed(&head.method) {
        return refuse(LocalReply::Method);
    }
    if framing::asks_for_upgrade(&head.headers) {
        return refuse(LocalReply::Upgrade);
    }
    if !framing::names_one_host(head) {
        return refuse(LocalReply::Host);
    }
    if !framing::is_request_unambiguous(&head.headers, lines) {
        return refuse(LocalReply::AmbiguousLength);
    }
    let Some(ingress) = relay.broker.ingress_of(head.uri.path()) else { return refuse(LocalReply::NoPool) };
    let subpath = subpath(head, &ingress);
    if !stays_below(subpath) {
        return refuse(LocalReply::OddPath);
    }
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    let asks_for_models = reads && models::is_list(subpath);
    match asks_for_models.then(|| relay.broker.models(&ingress)).flatten() {
        Some(models) => Err(Box::new(models::list(&models))),
        None => Ok(ingress),
    }
}

/// What follows the ingress in a path.
pub(super) fn subpath<'a>(head: &'a Parts, ingress: &RouterPath) -> &'a str {
    head.uri.path().get(ingress.as_str().len()..).unwrap_or_default()
}

/// What a client sends after the head of its request, and what is known of that from its connection.
pub(super) struct ClientBody {
    pub(super) body: Incoming,
    /// The lines of the head that say its length.
    pub(super) lines: LengthLines,
    /// Unset once it was read to its end.
    pub(super) linger: LingerFlag,
}

/// A client that takes longer than its patience for so much of a body, in bytes, is too slow.
const STEP_BYTES: usize = 256 << 10;

/// The whole body: every attempt needs it. `within`: no body may take longer, however steadily it comes.
pub(super) async fn read(
    relay: &Relay,
    ClientBody { mut body, linger, .. }: ClientBody,
    within: Duration,
) -> Result<Bytes, LocalReply> {
    let most = relay.limits.body;
    if body.size_hint().lower() > most as u64 {
        return Err(LocalReply::TooLarge(most));
    }
    let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let end = Instant::now() + within;
    let next_by = || end.min(Instant::now() + relay.limits.client_io_timeout);
    // A byte now and then is no progress.
    let (mut by, mut step) = (next_by(), STEP_BYTES);
    let mut buffer = relay.bodies.buffer(announced.unwrap_or(most));
    while !body.is_end_stream() {
        let frame = match timeout_at(by, body.frame()).await {
            Err(_) => return Err(LocalReply::TooSlow),
            Ok(Some(Err(_))) => return Err(LocalReply::Incomplete),
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if buffer.len() + data.len() > most {
            return Err(LocalReply::TooLarge(most));
        }
        buffer.push(&data).map_err(|NoMemory| LocalReply::Busy)?;
        if buffer.len() >= step {
            (by, step) = (next_by(), buffer.len() + STEP_BYTES);
        }
    }
    linger.set(false);
    Ok(buffer.freeze())
}
