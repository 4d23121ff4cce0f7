//! Vocabulary: what a message of the bus says about one finished request, and the one classification of answers.
//!
//! Every trigger, probe and metric asks [`FailureRule::classify`] and nothing else, so that no two of them can disagree
//! about what a failure is. A caller's own bad request is [`Class::Neutral`]: it must never take a router away from
//! everybody else. Nothing here knows which routers exist; `broker` finds out whom a [`Report`] is about.

use std::fmt;
use std::time::Duration;

use crate::router::RouterId;
use crate::time::GatewayTime;

/// What an answer says about the router that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
}

impl Evidence {
    /// Whether the call was sent to find out.
    pub const fn is_probe(self) -> bool {
        matches!(self, Self::Probe(_))
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
    /// The upstream says that the deployment does not exist (`error.code` `DeploymentNotFound`).
    pub deployment_missing: bool,
    /// The field without which this log cannot be learnt from, if the gateway's filters took it away.
    pub filtered: Option<&'static str>,
    /// The transaction's id; a client can make two calls share one.
    pub transaction: Option<&'a str>,
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
            deployment_missing: false,
            filtered: None,
            transaction: None,
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
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "answered {status}"),
            Self::Unreachable(status) => write!(f, "unreachable (the gateway says {status})"),
            Self::FailsOften(status) => write!(f, "fails too often (last {status})"),
            Self::UsedUp => f.write_str("its rate limit is used up"),
            Self::CutOff => f.write_str("took so long that the client was cut off"),
            Self::TooSlow => f.write_str("too slow"),
            Self::UnknownToGateway => f.write_str("unknown to the gateway"),
        }
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

/// Which answers count as failures: `BROKER_FAILURE_STATUS`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum FailureRule {
    /// 429, 503, 529, 408, every other 5xx, and a 404 that says the deployment does not exist.
    #[default]
    Standard,
    /// These statuses and no others.
    Listed(Vec<StatusRange>),
    /// Everything but 2xx: the rule of the reference broker.
    AnyButSuccess,
}

/// A range of statuses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusRange {
    low: u16,
    high: u16,
}

/// A part of a status list that cannot be read; reads after the part itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is no status (429), range (500-599) or class (5xx) from 100 to 999")]
pub struct StatusFault {
    /// The part, as written.
    pub part: String,
}

impl StatusRange {
    fn parse(part: &str) -> Option<Self> {
        let (low, high) = match part.strip_suffix("xx").or_else(|| part.strip_suffix("XX")) {
            Some(hundreds) => {
                let hundreds: u16 = hundreds.parse().ok()?;
                (hundreds.checked_mul(100)?, hundreds.checked_mul(100)?.checked_add(99)?)
            }
            None => {
                let (low, high) = part.split_once('-').unwrap_or((part, part));
                (low.trim().parse().ok()?, high.trim().parse().ok()?)
            }
        };
        (low >= 100 && high <= 999 && low <= high).then_some(Self { low, high })
    }

    const fn has(self, status: u16) -> bool {
        self.low <= status && status <= self.high
    }
}

impl FailureRule {
    /// Reads `any`, or codes, ranges and classes separated by commas: `404,408,429,500-599,5xx`.
    ///
    /// # Errors
    /// Every part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, Vec<StatusFault>> {
        if text.trim().eq_ignore_ascii_case("any") {
            return Ok(Self::AnyButSuccess);
        }
        let mut ranges = Vec::new();
        let mut faults = Vec::new();
        for part in text.split(',').map(str::trim) {
            match StatusRange::parse(part) {
                Some(range) => ranges.push(range),
                None => faults.push(StatusFault { part: part.to_owned() }),
            }
        }
        if faults.is_empty() { Ok(Self::Listed(ranges)) } else { Err(faults) }
    }

    /// What an answer with this status says about its router.
    ///
    /// `made_by_gateway`: the upstream was never reached, so no status of it can mean "overloaded".
    /// `deployment_missing`: the body of a 404 says so.
    pub fn classify(&self, status: u16, made_by_gateway: bool, deployment_missing: bool) -> Class {
        let listed = match self {
            Self::Standard => matches!(status, 408 | 429 | 500..=599) || (status == 404 && deployment_missing),
            Self::Listed(ranges) => ranges.iter().any(|range| range.has(status)),
            Self::AnyButSuccess => !(200..300).contains(&status),
        };
        match status {
            429 if listed => Class::RateLimited,
            503 | 529 if listed && !made_by_gateway => Class::Overloaded,
            _ if listed => Class::Failure,
            200..=399 => Class::Success,
            _ => Class::Neutral,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_rule() {
        let rule = FailureRule::Standard;
        for (status, class) in [
            (200, Class::Success),
            (204, Class::Success),
            (302, Class::Success),
            (400, Class::Neutral),
            (401, Class::Neutral),
            (404, Class::Neutral),
            (408, Class::Failure),
            (422, Class::Neutral),
            (429, Class::RateLimited),
            (500, Class::Failure),
            (502, Class::Failure),
            (503, Class::Overloaded),
            (504, Class::Failure),
            (529, Class::Overloaded),
            (599, Class::Failure),
            (100, Class::Neutral),
            (600, Class::Neutral),
        ] {
            assert_eq!(rule.classify(status, false, false), class, "{status}");
        }
        assert_eq!(rule.classify(404, false, true), Class::Failure, "the deployment is gone");
        assert_eq!(rule.classify(503, true, false), Class::Failure, "a gateway's 503 is a name that does not resolve");
    }

    #[test]
    fn a_list_replaces_the_rule() {
        let rule = FailureRule::parse("404, 408,429,500-502,529").unwrap_or_default();
        for (status, class) in [
            (404, Class::Failure),
            (408, Class::Failure),
            (429, Class::RateLimited),
            (500, Class::Failure),
            (503, Class::Neutral),
            (529, Class::Overloaded),
            (200, Class::Success),
            (400, Class::Neutral),
        ] {
            assert_eq!(rule.classify(status, false, false), class, "{status}");
        }
        assert_eq!(FailureRule::parse("5xx").unwrap_or_default().classify(503, false, false), Class::Overloaded);
    }

    #[test]
    fn any_is_the_reference_rule() {
        let rule = FailureRule::parse("any").unwrap_or_default();
        for (status, class) in [
            (201, Class::Success),
            (302, Class::Failure),
            (400, Class::Failure),
            (401, Class::Failure),
            (429, Class::RateLimited),
            (503, Class::Overloaded),
        ] {
            assert_eq!(rule.classify(status, false, false), class, "{status}");
        }
    }

    #[test]
    fn every_unreadable_part_of_a_list_is_named() {
        let faults = FailureRule::parse("404,abc,,99,1000,503-500,10xx,-1").unwrap_err();
        let parts: Vec<_> = faults.iter().map(|fault| fault.part.as_str()).collect();
        assert_eq!(parts, ["abc", "", "99", "1000", "503-500", "10xx", "-1"]);
    }
}
