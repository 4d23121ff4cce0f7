//! Our answers to the gateway. Zero bytes mean "go on as if we were not there".

use std::fmt;
use std::ops::Range;

use super::scan::Raw;
use super::stamp::{self, Mode, Signature};
use super::{Message, patch};
use crate::broker::{Broker, Decision};
use crate::request::Patch;
use crate::router::RouterPath;

/// What an answer had to do without. Each kind is counted; the first is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// The pool chooses by fields of the body, and the message has none.
    NoBody,
    /// The pool chooses by headers, and the message has none.
    NoHeaders,
    /// The target changes the body, and row 2 does not see it.
    NoBodyToChange,
    /// The target changes the body, and that is no JSON object: it goes out as it is.
    BodyIsNoObject,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::NoBody, Self::NoHeaders, Self::NoBodyToChange, Self::BodyIsNoObject];

    /// As metrics spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoBody => "no_body",
            Self::NoHeaders => "no_headers",
            Self::NoBodyToChange => "no_body_to_change",
            Self::BodyIsNoObject => "body_is_no_object",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBody => "chosen without the fields of the body: let the processor on our subject see outbound_payload",
            Self::NoHeaders => "chosen without the headers: let the processor on our subject see outbound_headers",
            Self::NoBodyToChange => {
                "a body was not changed: let the processor on .apply see broker_patch and outbound_payload, and write the latter"
            }
            Self::BodyIsNoObject => "a body was not changed: it is no JSON object",
        })
    }
}

/// An answer to row 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Where the stamp stands in it; empty if there is none.
    pub stamp: Range<usize>,
    /// What it had to do without.
    pub flaw: Option<Flaw>,
}

/// The answer to a request: the router for the one-row configuration, the stamp for the two-row one, and what the target
/// changes in the body for either; the gateway takes whichever its configuration lets us write.
pub fn route(signature: &Signature, broker: &Broker, decision: &Decision, body: Option<Raw<'_>>) -> Answer {
    let Decision::Route(route) = decision else { return Answer::default() };
    let Some(router) = broker.path(route.router()) else { return Answer::default() };
    let mut flaw = None;
    let mut out = Vec::with_capacity(stamp::MAX + 128);
    out.push(b'{');
    if signature.mode() == Mode::Balance {
        push_path(&mut out, router.as_str());
        out.push(b',');
        let patch = broker.pool(route.pool).and_then(|pool| pool.tree().patch(route.chosen.leaf));
        if let Some(patch) = patch.filter(|patch| !patch.is_empty()) {
            flaw = push_patch(&mut out, patch, body);
        }
    }
    out.extend_from_slice(b"\"broker\":");
    let start = out.len();
    if !stamp::write(&mut out, signature, broker, route) {
        return Answer::default();
    }
    let stamp = start..out.len();
    out.push(b'}');
    Answer { bytes: out, stamp, flaw }
}

/// The answer to row 2: what the stamp in the message says, and the body with its patch. Any replica can give it.
pub fn apply(message: &Message<'_>) -> (Vec<u8>, Option<Flaw>) {
    let Some(router) = message.stamped.and_then(|router| RouterPath::parse(router).ok()) else {
        return (Vec::new(), None);
    };
    let mut out = Vec::with_capacity(128);
    out.push(b'{');
    push_path(&mut out, router.as_str());
    let mut flaw = None;
    match (message.patch, message.payload) {
        (None, _) => {}
        (Some(_), None) => flaw = Some(Flaw::NoBodyToChange),
        (Some(patch), Some(body)) => match patch::apply(&patch::read(patch), body) {
            None => flaw = Some(Flaw::BodyIsNoObject),
            Some(body) => {
                out.extend_from_slice(b",\"outbound_payload\":");
                out.extend_from_slice(&body);
            }
        },
    }
    out.push(b'}');
    (out, flaw)
}

fn push_patch(out: &mut Vec<u8>, patch: &Patch, body: Option<Raw<'_>>) -> Option<Flaw> {
    out.extend_from_slice(b"\"broker_patch\":");
    out.extend_from_slice(&patch::write(patch));
    out.push(b',');
    // Without a body this is row 1 of two; the other one has it.
    let Some(body) = patch::apply(patch, body?) else { return Some(Flaw::BodyIsNoObject) };
    out.extend_from_slice(b"\"outbound_payload\":");
    out.extend_from_slice(&body);
    out.push(b',');
    None
}

/// A router's path has no character that JSON would escape.
fn push_path(out: &mut Vec<u8>, router: &str) {
    out.extend_from_slice(b"\"gl_path\":\"");
    out.extend_from_slice(router.as_bytes());
    out.push(b'"');
}
