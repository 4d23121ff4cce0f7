//! Which answers count as failures: the one classification that every trigger, probe and count uses.

use std::fmt;

use super::{Class, NamedBy};

/// Which answers count as failures: `BROKER_FAILURE_STATUS`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum FailureRule {
    /// 429, 503, 529, 408, every other 5xx but 501 and 505, and a 400 or 404 that says that the deployment or model does not
    /// exist which the target's own settings name. 501 and 505 are about the method or the HTTP version that the client chose.
    #[default]
    Standard,
    /// These statuses and no others.
    Listed(Vec<StatusRange>),
    /// Everything but 2xx: the rule of the reference broker.
    AnyButSuccess,
}

/// As `BROKER_FAILURE_STATUS` spells it; the rule of ours is `standard`.
impl fmt::Display for FailureRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("standard"),
            Self::AnyButSuccess => f.write_str("any"),
            Self::Listed(ranges) => {
                let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
                f.write_str(&ranges.join(","))
            }
        }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high { write!(f, "{}", self.low) } else { write!(f, "{}-{}", self.low, self.high) }
    }
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

    /// Whether this status is on the list, whatever else the answer says.
    pub fn lists(&self, status: u16) -> bool {
        match self {
            Self::Standard => matches!(status, 408 | 429 | 500 | 502..=504 | 506..=599),
            Self::Listed(ranges) => ranges.iter().any(|range| range.has(status)),
            Self::AnyButSuccess => !(200..300).contains(&status),
        }
    }

    /// What an answer with this status says about its router.
    ///
    /// `made_by_gateway`: the upstream was never reached, so no status of it can mean "overloaded".
    /// `missing`: the body says that a deployment or model does not exist, which was named by this side.
    pub fn classify(&self, status: u16, made_by_gateway: bool, missing: Option<NamedBy>) -> Class {
        let missing = matches!(status, 400 | 404) && missing == Some(NamedBy::Target);
        let listed = self.lists(status) || (missing && *self == Self::Standard);
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
            (405, Class::Neutral),
            (411, Class::Neutral),
            (413, Class::Neutral),
            (414, Class::Neutral),
            (415, Class::Neutral),
            (417, Class::Neutral),
            (426, Class::Neutral),
            (431, Class::Neutral),
            (500, Class::Failure),
            (501, Class::Neutral),
            (502, Class::Failure),
            (503, Class::Overloaded),
            (504, Class::Failure),
            (505, Class::Neutral),
            (506, Class::Failure),
            (529, Class::Overloaded),
            (599, Class::Failure),
            (100, Class::Neutral),
            (600, Class::Neutral),
        ] {
            assert_eq!(rule.classify(status, false, None), class, "{status}");
        }
        for status in [400, 404] {
            assert_eq!(rule.classify(status, false, Some(NamedBy::Target)), Class::Failure, "the target's own is gone");
            assert_eq!(rule.classify(status, false, Some(NamedBy::Client)), Class::Neutral, "the client misspelt it");
        }
        assert_eq!(rule.classify(401, false, Some(NamedBy::Target)), Class::Neutral);
        assert_eq!(rule.classify(503, true, None), Class::Failure, "a gateway's 503 is a name that does not resolve");
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
            assert_eq!(rule.classify(status, false, None), class, "{status}");
        }
        assert_eq!(FailureRule::parse("5xx").unwrap_or_default().classify(503, false, None), Class::Overloaded);
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
            assert_eq!(rule.classify(status, false, None), class, "{status}");
        }
    }

    #[test]
    fn every_unreadable_part_of_a_list_is_named() {
        let faults = FailureRule::parse("404,abc,,99,1000,503-500,10xx,-1").unwrap_err();
        let parts: Vec<_> = faults.iter().map(|fault| fault.part.as_str()).collect();
        assert_eq!(parts, ["abc", "", "99", "1000", "503-500", "10xx", "-1"]);
    }
}
