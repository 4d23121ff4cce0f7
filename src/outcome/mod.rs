//! Vocabulary: what a message of the bus says about one finished request, and the one classification of answers.
//!
//! Every trigger, probe and metric asks [`FailureRule::classify`] and nothing else, so that no two of them can disagree
//! about what a failure is. A caller's own bad request is [`Class::Neutral`]: it must never take a router away from
//! everybody else. Nothing here knows which routers exist; `broker` finds out whom a [`Report`] is about.

mod rule;

use std::fmt;
use std::time::Duration;

pub use rule::{FailureRule, StatusFault, StatusRange};

use crate::router::RouterId;
use crate::time::{GatewayTime, Now};

/// What an answer says about the router that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The router works.
    Success,
    /// The client's own fault: says nothing about the router.
    Neutral,
    /// The router did not do its work.
    Failure,
    /// The upstream has no room for anybody (503, 529).
    Overloaded,
    /// The upstream has no room for us (429).
    RateLimited,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Success, Self::Neutral, Self::Failure, Self::Overloaded, Self::RateLimited];

    /// As metrics and documents spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Neutral => "neutral",
            Self::Failure => "failure",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate_limited",
        }
    }

    /// Whether such an answer takes its router out.
    pub const fn disables(self) -> bool {
        matches!(self, Self::Failure | Self::Overloaded | Self::RateLimited)
    }
}

/// What an upstream says about when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// It said so itself (`retry-after` and its kin).
    After(Duration),
    /// The time to full refill of a bucket that is empty.
    Refill(Duration),
    /// Something stands there that is no time.
    Unreadable,
}

impl Hint {
    /// How long to wait, where that can be read.
    pub const fn wait(self) -> Option<Duration> {
        match self {
            Self::After(wait) | Self::Refill(wait) => Some(wait),
            Self::Unreadable => None,
        }
    }
}

/// Which program sent a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A response processor's message: early, knows little.
    Message,
    /// The one row that both asks and tells: as early, and there is no stamp by which anybody could know better.
    OneRow,
    /// The gateway's log: late, knows everything, and has the last word.
    Log,
    /// A call of our own: we sent it and saw its end. Its log, if one comes, has nothing to add to the judgement.
    Attempt,
}

/// How much an outcome may decide about a router that has yet to prove itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Nothing: a message whose log may still come, or a call that was sent for another reason.
    Hearsay,
    /// It is the last word about a call, and the call may have been any.
    Word,
    /// The call was sent to find out. With the number of our own decision, if it was ours.
    Probe(Option<u64>),
    /// The call was our own.
    Own {
        /// When we sent it, by our own clock.
        began: Now,
        /// The number of the decision, if it was sent to find out.
        permit: Option<u64>,
    },
}

impl Evidence {
    /// Whether the call was sent to find out.
    pub const fn was_asked_for(self) -> bool {
        matches!(self, Self::Probe(_) | Self::Own { permit: Some(_), .. })
    }

    /// The number of our own decision that sent it to find out.
    pub const fn permit(self) -> Option<u64> {
        match self {
            Self::Probe(permit) | Self::Own { permit, .. } => permit,
            Self::Hearsay | Self::Word => None,
        }
    }
}

/// What one message says about one finished request, as it stands there: nothing is resolved yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report<'a> {
    /// Where it came from.
    pub source: Source,
    /// The router that served the call (`response.gl_path`).
    pub served: Option<&'a str>,
    /// The router that was asked for when the gateway routed (`request.gl_path`); only a log knows.
    pub asked: Option<&'a str>,
    /// The router that the client called; only a log knows.
    pub ingress: Option<&'a str>,
    /// The router that our stamp named; only a log of the two-row configuration knows.
    pub stamped: Option<&'a str>,
    /// Which decision wrote that stamp.
    pub stamp_id: Option<&'a str>,
    /// That decision sent the call to find out whether the router works again.
    pub probe: bool,
    /// The decision's number, if it was ours; who reads messages cannot know.
    pub decision: Option<u64>,
    /// What the upstream said (`inbound_status_code`).
    pub status: Option<u16>,
    /// What the client was told (`egress_status_code`).
    pub egress_status: Option<u16>,
    /// The answer has no headers at all: the gateway itself made it (GATEWAY.md 4.7).
    pub made_by_gateway: bool,
    /// The answer's headers were not sent along.
    pub headless: bool,
    /// A processor answered in the upstream's place.
    pub control: bool,
    /// The answer is a page for people.
    pub html: bool,
    /// How long the upstream asks to be left alone.
    pub hint: Option<Hint>,
    /// Who named the deployment or model of which the upstream says that it does not exist.
    pub missing: Option<NamedBy>,
    /// The field without which this log cannot be learnt from, if the gateway's filters took it away.
    pub filtered: Option<&'static str>,
    /// How a call of our own ended without a good answer.
    pub broken: Option<Breakage>,
    /// When we sent a call of our own, by our own clock.
    pub began: Option<Now>,
    /// The transaction's id; a client can make two calls share one.
    pub transaction: Option<&'a str>,
    /// What the gateway says of processors that did not do their work, as JSON; only a log knows.
    pub processor_errors: Option<&'a [u8]>,
    /// The session's id, which a client may name; only a log knows.
    pub session: Option<&'a str>,
    /// When the gateway received the request.
    pub started: Option<GatewayTime>,
    /// When the gateway answered the client.
    pub stopped: Option<GatewayTime>,
    /// How long the upstream took; the gateway counts whole milliseconds.
    pub latency: Option<Duration>,
    /// Completion tokens, where the upstream says.
    pub tokens: Option<u64>,
    /// Tokens of prompt and completion, where the upstream says.
    pub used: Option<u64>,
    /// What the upstream says is left of its limits; only in a log.
    pub remaining: Remaining,
    /// What the client sent, as it stands in the log; only there.
    pub payload: Option<&'a [u8]>,
}

impl Report<'_> {
    /// A report that says nothing yet.
    pub const fn empty(source: Source) -> Self {
        Self {
            source,
            served: None,
            asked: None,
            ingress: None,
            stamped: None,
            stamp_id: None,
            probe: false,
            decision: None,
            status: None,
            egress_status: None,
            made_by_gateway: false,
            headless: false,
            control: false,
            html: false,
            hint: None,
            missing: None,
            filtered: None,
            broken: None,
            began: None,
            transaction: None,
            processor_errors: None,
            session: None,
            started: None,
            stopped: None,
            latency: None,
            tokens: None,
            used: None,
            remaining: Remaining { requests: None, tokens: None },
            payload: None,
        }
    }
}

/// Who named the deployment or model that a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NamedBy {
    /// The client, in the path or the body of its request.
    Client,
    /// The settings of the target, in its address or by what they change in the body.
    Target,
}

/// How a call of our own ended without a good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breakage {
    /// There was no connection: refused, no such name, no trust.
    Connect,
    /// There was no connection in time.
    ConnectTimeout,
    /// The connection broke before there was an answer.
    NoAnswer,
    /// A connection that had carried earlier calls was closed before any byte of this answer: most often the upstream's
    /// keep-alive timeout, which says nothing about its health.
    Stale,
    /// The answer is not valid HTTP, or its length is ambiguous.
    Protocol,
    /// There was no byte of an answer in time.
    Silent,
    /// The answer broke off.
    Cut,
    /// The answer stood still for too long.
    Stalled,
    /// The stream carried an error.
    ErrorEvent,
    /// It says that it is JSON, and is not.
    Malformed,
    /// We could not call it: this process, not the target, had no descriptors, memory or ports left. Nobody learns from it.
    Exhausted,
}

impl Breakage {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Connect,
        Self::ConnectTimeout,
        Self::NoAnswer,
        Self::Stale,
        Self::Protocol,
        Self::Silent,
        Self::Cut,
        Self::Stalled,
        Self::ErrorEvent,
        Self::Malformed,
        Self::Exhausted,
    ];

    /// As metrics spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "not_connected",
            Self::ConnectTimeout => "not_connected_in_time",
            Self::NoAnswer => "no_answer",
            Self::Stale => "stale_connection",
            Self::Protocol => "protocol_error",
            Self::Silent => "no_answer_in_time",
            Self::Cut => "broke_off",
            Self::Stalled => "stood_still",
            Self::ErrorEvent => "error_in_stream",
            Self::Malformed => "no_json",
            Self::Exhausted => "broker_exhausted",
        }
    }
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "cannot be connected to",
            Self::ConnectTimeout => "takes too long to connect to",
            Self::NoAnswer => "closed the connection without an answer",
            Self::Stale => "closed a reused connection before it answered",
            Self::Protocol => "sent an answer that is not valid HTTP",
            Self::Silent => "gave no answer in time",
            Self::Cut => "broke off in its answer",
            Self::Stalled => "stood still in its answer",
            Self::ErrorEvent => "sent an error in its stream",
            Self::Malformed => "sent JSON that is none",
            Self::Exhausted => "was not called, because the broker itself had no descriptors, memory or ports left",
        })
    }
}

/// What is left of one of an upstream's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// So many.
    pub amount: u64,
    /// When there will be more.
    pub reset: Duration,
}

/// What an upstream says is left of its limits, where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remaining {
    /// Requests.
    pub requests: Option<Left>,
    /// Tokens.
    pub tokens: Option<Left>,
}

/// Why a router was taken out, in the words of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The upstream answered with this status.
    Answered(u16),
    /// The gateway could not reach the upstream and made this status itself.
    Unreachable(u16),
    /// A call of ours came to no good end.
    Broken(Breakage),
    /// Too few of its answers were good; the last one had this status.
    FailsOften(u16),
    /// It works, and said that nothing remains of what it may give us.
    UsedUp,
    /// The client was cut off before the answer came.
    CutOff,
    /// It took longer than the settings allow.
    TooSlow,
    /// The gateway answered from the ingress although we named a router: it does not have that router.
    UnknownToGateway,
    /// An operator said so.
    Ordered,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "answered {status}"),
            Self::Unreachable(status) => write!(f, "unreachable (the gateway says {status})"),
            Self::Broken(breakage) => breakage.fmt(f),
            Self::FailsOften(status) => write!(f, "fails too often (last {status})"),
            Self::UsedUp => f.write_str("its rate limit is used up"),
            Self::CutOff => f.write_str("took so long that the client was cut off"),
            Self::TooSlow => f.write_str("too slow"),
            Self::UnknownToGateway => f.write_str("unknown to the gateway"),
            Self::Ordered => f.write_str("by an operator"),
        }
    }
}

/// In the words of log lines.
impl serde::Serialize for Cause {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What one finished request says about its router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Whose.
    pub router: RouterId,
    /// What the answer means.
    pub class: Class,
    /// The status it was judged by.
    pub status: u16,
    /// The same in the words of log lines.
    pub cause: Cause,
    /// How much it may decide.
    pub evidence: Evidence,
    /// Drawn from the router and the transaction, the same in every replica.
    pub lot: u64,
    /// How long the upstream asks to be left alone.
    pub hint: Option<Hint>,
    /// When the gateway received the request, where that is known.
    pub started: Option<GatewayTime>,
    /// When the gateway answered the client, where that is known.
    pub stopped: Option<GatewayTime>,
    /// How long the upstream took.
    pub latency: Option<Duration>,
    /// Completion tokens.
    pub tokens: Option<u64>,
}
