//! Our answers to the gateway. Zero bytes mean "go on as if we were not there".

use super::scan::Raw;
use super::stamp::{self, Mode, Signature};
use super::{Message, patch};
use crate::broker::{Broker, Decision};
use crate::request::Patch;
use crate::router::RouterPath;

/// The answer to a request: the router for the one-row configuration, the stamp for the two-row one, and what the target
/// changes in the body for either; the gateway takes whichever its configuration lets us write.
pub fn route(signature: &Signature, broker: &Broker, decision: &Decision, body: Option<Raw<'_>>) -> Vec<u8> {
    let Decision::Route(route) = decision else { return Vec::new() };
    let Some(router) = broker.path(route.router()) else { return Vec::new() };
    let mut out = Vec::with_capacity(stamp::MAX + 128);
    out.push(b'{');
    if signature.mode() == Mode::Balance {
        push_path(&mut out, router.as_str());
        out.push(b',');
        let patch = broker.pool(route.pool).and_then(|pool| pool.tree().patch(route.chosen.leaf));
        if let Some(patch) = patch.filter(|patch| !patch.is_empty()) {
            push_patch(&mut out, patch, body);
        }
    }
    out.extend_from_slice(b"\"broker\":");
    if !stamp::write(&mut out, signature, broker, route) {
        return Vec::new();
    }
    out.push(b'}');
    out
}

/// The answer to row 2: what the stamp in the message says, and the body with its patch. Any replica can give it.
pub fn apply(message: &Message<'_>) -> Vec<u8> {
    let Some(router) = message.stamped.and_then(|router| RouterPath::parse(router).ok()) else { return Vec::new() };
    let mut out = Vec::with_capacity(128);
    out.push(b'{');
    push_path(&mut out, router.as_str());
    if let Some(body) = message.patch.zip(message.payload).and_then(|(raw, body)| patch::apply(&patch::read(raw), body)) {
        out.extend_from_slice(b",\"outbound_payload\":");
        out.extend_from_slice(&body);
    }
    out.push(b'}');
    out
}

fn push_patch(out: &mut Vec<u8>, patch: &Patch, body: Option<Raw<'_>>) {
    out.extend_from_slice(b"\"broker_patch\":");
    out.extend_from_slice(&patch::write(patch));
    out.push(b',');
    if let Some(body) = body.and_then(|body| patch::apply(patch, body)) {
        out.extend_from_slice(b"\"outbound_payload\":");
        out.extend_from_slice(&body);
        out.push(b',');
    }
}

/// A router's path has no character that JSON would escape.
fn push_path(out: &mut Vec<u8>, router: &str) {
    out.extend_from_slice(b"\"gl_path\":\"");
    out.extend_from_slice(router.as_bytes());
    out.push(b'"');
}
