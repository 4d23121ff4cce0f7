//! Our answers to the gateway. Zero bytes mean "go on as if we were not there".

use super::stamp::{self, Mode, Signature};
use crate::broker::{Broker, Decision};
use crate::router::RouterPath;

/// The answer to a request: the router for the one-row configuration, and the stamp for the two-row one; the gateway takes
/// whichever its configuration lets us write.
pub fn route(signature: &Signature, broker: &Broker, decision: &Decision) -> Vec<u8> {
    let Decision::Route(route) = decision else { return Vec::new() };
    let Some(router) = broker.path(route.router()) else { return Vec::new() };
    let mut out = Vec::with_capacity(stamp::MAX + 128);
    out.push(b'{');
    if signature.mode() == Mode::Balance {
        push_path(&mut out, router.as_str());
        out.push(b',');
    }
    out.extend_from_slice(b"\"broker\":");
    if !stamp::write(&mut out, signature, broker, route) {
        return Vec::new();
    }
    out.push(b'}');
    out
}

/// The answer to row 2: the router that the stamp in the message names. Any replica can give it.
pub fn apply(stamped: Option<&str>) -> Vec<u8> {
    let Some(router) = stamped.and_then(|router| RouterPath::parse(router).ok()) else { return Vec::new() };
    let mut out = Vec::with_capacity(128);
    out.push(b'{');
    push_path(&mut out, router.as_str());
    out.push(b'}');
    out
}

/// A router's path has no character that JSON would escape.
fn push_path(out: &mut Vec<u8>, router: &str) {
    out.extend_from_slice(b"\"gl_path\":\"");
    out.extend_from_slice(router.as_bytes());
    out.push(b'"');
}
