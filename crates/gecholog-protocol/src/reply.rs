//! The broker's replies to the gateway. Zero bytes mean "continue as without a broker".

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::stamp::{self, ReplicaIdentity, Stamp};
use super::{Message, patch};
use llm::json::RawJson;
use types::mode::OperatingMode;
use types::request::Patch;
use types::router::RouterPath;

types::named_enum! {
    /// What a reply had to do without. Each kind is counted, and logged once.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Degradation {
        /// The pool chooses by fields of the body, and the message has none.
        NoBody = "no_body",
        /// The pool chooses by headers, and the message has none.
        NoHeaders = "no_headers",
        /// The target changes the body, and row 2 does not see it.
        NoBodyToChange = "no_body_to_change",
        /// The target changes the body, and that is not a JSON object: it is sent unchanged.
        BodyNotAnObject = "body_not_an_object",
    }
}

impl fmt::Display for Degradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBody => "chosen without the fields of the body: let the processor on our subject see outbound_payload",
            Self::NoHeaders => "chosen without the headers: let the processor on our subject see outbound_headers",
            Self::NoBodyToChange => {
                "a body was not changed: let the processor on .apply see broker_patch and outbound_payload, and write the latter"
            }
            Self::BodyNotAnObject => "a body was not changed: it is not a JSON object",
        })
    }
}

/// A reply to row 1 without the changed body, which can be large and is added outside the lock.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteReply {
    bytes: Vec<u8>,
    /// The range of the stamp in `bytes`; empty without one.
    stamp: Range<usize>,
    /// The target's changes to the body, and the position at which the body is inserted.
    change: Option<(usize, Arc<Patch>)>,
}

impl RouteReply {
    /// The stamp; empty without one.
    pub fn stamp(&self) -> &[u8] {
        self.bytes.get(self.stamp.clone()).unwrap_or_default()
    }

    /// The complete reply, and what it had to do without. Takes time in proportion to the body.
    pub fn complete(mut self, body: Option<RawJson<'_>>) -> (Vec<u8>, Option<Degradation>) {
        // Without a body this is row 1 of two; the other one has it.
        let Some(((at, change), body)) = self.change.zip(body) else { return (self.bytes, None) };
        let Some(body) = patch::apply(&change, body) else { return (self.bytes, Some(Degradation::BodyNotAnObject)) };
        let field = b"\"outbound_payload\":".iter().copied().chain(body).chain([b',']);
        self.bytes.splice(at..at, field);
        (self.bytes, None)
    }
}

/// The reply to a request: the router for the one-row configuration, the stamp for the two-row one, and for both the target's
/// changes to the body. The gateway uses the fields that its configuration lets the broker write.
pub fn route(identity: &ReplicaIdentity, stamp: &Stamp<'_>, patch: Option<&Arc<Patch>>) -> RouteReply {
    let mut change = None;
    let mut out = Vec::with_capacity(stamp::MAX_STAMP_BYTES + 128);
    out.push(b'{');
    if identity.mode() == OperatingMode::Balance {
        push_path(&mut out, stamp.router.as_str());
        out.push(b',');
        if let Some(patch) = patch.filter(|patch| !patch.is_empty()) {
            out.extend_from_slice(b"\"broker_patch\":");
            out.extend_from_slice(&patch::write(patch));
            out.push(b',');
            change = Some((out.len(), Arc::clone(patch)));
        }
    }
    out.extend_from_slice(b"\"broker\":");
    let start = out.len();
    stamp::write(&mut out, identity, stamp);
    let stamp = start..out.len();
    out.push(b'}');
    RouteReply { bytes: out, stamp, change }
}

/// The reply to row 2: the router of the stamp in the message, and the patched body. It can be made by any replica.
pub fn apply(message: &Message<'_>) -> (Vec<u8>, Option<Degradation>) {
    let Some(router) = message.stamped_router.and_then(|router| RouterPath::parse(router).ok()) else {
        return (Vec::new(), None);
    };
    let mut out = Vec::with_capacity(128);
    out.push(b'{');
    push_path(&mut out, router.as_str());
    let mut degradation = None;
    match (message.patch, message.payload) {
        (None, _) => {}
        (Some(_), None) => degradation = Some(Degradation::NoBodyToChange),
        (Some(patch), Some(body)) => match patch::apply(&patch::read(patch), body) {
            None => degradation = Some(Degradation::BodyNotAnObject),
            Some(body) => {
                out.extend_from_slice(b",\"outbound_payload\":");
                out.extend_from_slice(&body);
            }
        },
    }
    out.push(b'}');
    (out, degradation)
}

/// A router's path has no character that JSON would escape.
fn push_path(out: &mut Vec<u8>, router: &str) {
    out.extend_from_slice(b"\"gl_path\":\"");
    out.extend_from_slice(router.as_bytes());
    out.push(b'"');
}
