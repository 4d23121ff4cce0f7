//! Which answers count as failures, for every trigger, probe and metric.

use std::fmt;

use super::{Class, ErrorClass, SetBy};

/// Which answers count as failures: `BROKER_FAILURE_STATUS`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum FailureRule {
    /// 408, 424, 425, 429, 498 and 5xx except 501 and 505, unless the answer shows that the request is at fault; a 400, 404, 410
    /// or 422 because the deployment or model of the target's own settings does not exist, or a 401 or 403 because it does not for
    /// their own account; a refused key or a used-up quota of the settings. 501 and 505 are about the method or the HTTP
    /// version that the client chose.
    #[default]
    Standard,
    /// Exactly these statuses and error classes.
    Listed(Vec<StatusRange>, Vec<ErrorClass>),
    /// Everything except 2xx: the rule of the reference broker.
    AnyButSuccess,
}

/// As `BROKER_FAILURE_STATUS` spells it; the default is `standard`.
impl fmt::Display for FailureRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("standard"),
            Self::AnyButSuccess => f.write_str("any"),
            Self::Listed(ranges, classes) => {
                let ranges = ranges.iter().map(ToString::to_string);
                let parts: Vec<_> = ranges.chain(classes.iter().map(ToString::to_string)).collect();
                f.write_str(&parts.join(","))
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

/// A part of a status list that does not parse; the message begins with the part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{part:?} is not a status (429), range (500-599) or class (5xx) from 100 to 999, nor an error class (overloaded)"
)]
pub struct StatusError {
    /// The part as written.
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
    /// Parses `any`, or statuses, ranges, classes of statuses and error classes, separated by commas:
    /// `404,408,429,500-599,5xx,overloaded`.
    ///
    /// # Errors
    /// Every part that does not parse.
    pub fn parse(text: &str) -> Result<Self, Vec<StatusError>> {
        if text.trim().eq_ignore_ascii_case("any") {
            return Ok(Self::AnyButSuccess);
        }
        let (mut ranges, mut classes, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for part in text.split(',').map(str::trim) {
            match (StatusRange::parse(part), part.parse()) {
                (Some(range), _) => ranges.push(range),
                (None, Ok(class)) => classes.push(class),
                (None, Err(_)) => faults.push(StatusError { part: part.to_owned() }),
            }
        }
        if faults.is_empty() { Ok(Self::Listed(ranges, classes)) } else { Err(faults) }
    }

    /// The union of two rules.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Listed(mut ranges, mut classes), Self::Listed(more_ranges, more_classes)) => {
                ranges.extend(more_ranges);
                classes.extend(more_classes);
                Self::Listed(ranges, classes)
            }
            (Self::Standard, other) | (other, Self::Standard) => other,
            (Self::AnyButSuccess, _) | (_, Self::AnyButSuccess) => Self::AnyButSuccess,
        }
    }

    /// Whether an answer is listed by its status or by its error class, if that is known; the default rule lists none.
    pub fn lists(&self, status: u16, class: Option<ErrorClass>) -> bool {
        match self {
            Self::Standard => false,
            Self::Listed(ranges, classes) => {
                ranges.iter().any(|range| range.has(status)) || class.is_some_and(|class| classes.contains(&class))
            }
            Self::AnyButSuccess => !(200..300).contains(&status),
        }
    }

    /// Whether it lists this error class by name.
    pub fn names(&self, class: ErrorClass) -> bool {
        matches!(self, Self::Listed(_, classes) if classes.contains(&class))
    }

    /// The effect of an answer on its router's health.
    pub fn classify(&self, answer: JudgedAnswer) -> Class {
        let error_class = answer.error_class.or_else(|| ErrorClass::of_status(answer.status));
        let is_failure = match self {
            Self::Standard => answer.is_standard_failure(error_class),
            Self::Listed(..) | Self::AnyButSuccess => self.lists(answer.status, error_class),
        };
        match answer.status {
            _ if is_failure => answer.failure(error_class),
            200..=399 if error_class.is_none() => Class::Success,
            _ => Class::Neutral,
        }
    }
}

/// The input of [`FailureRule::classify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JudgedAnswer {
    pub status: u16,
    /// The error class by headers and body; `None` if they were not read: then the status decides.
    pub error_class: Option<ErrorClass>,
    /// The upstream was never reached, so no status of it can mean "overloaded".
    pub gateway_generated: bool,
    /// The origin of the name of the deployment or model that does not exist according to the body.
    pub missing: Option<SetBy>,
    /// The origin of the key; `None` if unknown.
    pub key: Option<SetBy>,
}

impl JudgedAnswer {
    /// An answer of which only the status is known.
    pub fn of_status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    fn is_standard_failure(self, error_class: Option<ErrorClass>) -> bool {
        use ErrorClass::{
            ContentFiltered, ContextTooLong, InvalidRequest, KeyRefused, NotFound, QuotaExhausted, RateLimited,
        };
        // 401, 403 and 429 are about an account: only if that is the settings'.
        let own_key = self.key == Some(SetBy::Target);
        let says_missing =
            matches!(self.status, 400 | 404 | 410 | 422) || own_key && matches!(self.status, 401 | 403 | 429);
        if says_missing && self.missing == Some(SetBy::Target) {
            return true;
        }
        match error_class {
            // Where the account is unknown, a limit of none for a model is a rate limit like any other.
            Some(NotFound) => self.status == 429 && self.key.is_none(),
            None | Some(ContextTooLong | ContentFiltered | InvalidRequest | ErrorClass::Unsupported) => false,
            Some(KeyRefused) => own_key,
            // One client's used-up account tells nothing about those of others.
            Some(RateLimited) => self.key != Some(SetBy::Client),
            // The log does not show whose account it is: a 429 is a rate limit unless the origin of the key is known.
            Some(QuotaExhausted) => match self.key {
                None => ErrorClass::of_status(self.status) == Some(RateLimited),
                Some(by) => by == SetBy::Target,
            },
            Some(_) => true,
        }
    }

    /// The class of an answer that is a failure.
    fn failure(self, error_class: Option<ErrorClass>) -> Class {
        match (error_class, self.status) {
            (Some(ErrorClass::KeyRefused | ErrorClass::QuotaExhausted), _) if self.key == Some(SetBy::Target) => {
                Class::Refused
            }
            // It has a limit of none for the model: no rate.
            (Some(ErrorClass::NotFound), 429) if self.key.is_some() => Class::Failure,
            (Some(ErrorClass::RateLimited), _) | (_, 429) => Class::RateLimited,
            (Some(ErrorClass::Overloaded), _) | (_, 503 | 529) if !self.gateway_generated => Class::Overloaded,
            _ => Class::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(status: u16, by: SetBy) -> JudgedAnswer {
        JudgedAnswer { missing: Some(by), ..JudgedAnswer::of_status(status) }
    }

    #[test]
    fn the_class_of_an_answer_decides_and_whose_key_was_sent() {
        use ErrorClass::*;
        let (ours, theirs) = (Some(SetBy::Target), Some(SetBy::Client));
        for (status, class, key, expected) in [
            (400, KeyRefused, ours, Class::Refused),
            (400, KeyRefused, theirs, Class::Neutral),
            (401, KeyRefused, None, Class::Neutral),
            (400, QuotaExhausted, ours, Class::Refused),
            (429, QuotaExhausted, ours, Class::Refused),
            (429, QuotaExhausted, theirs, Class::Neutral),
            (429, RateLimited, ours, Class::RateLimited),
            (429, RateLimited, None, Class::RateLimited),
            (429, RateLimited, theirs, Class::Neutral),
            (429, QuotaExhausted, None, Class::RateLimited),
            (402, QuotaExhausted, None, Class::Neutral),
            (400, RateLimited, None, Class::RateLimited),
            (500, Overloaded, None, Class::Overloaded),
            (429, ContextTooLong, ours, Class::Neutral),
            (500, ContentFiltered, ours, Class::Neutral),
            (404, NotFound, ours, Class::Neutral),
            (200, ServerError, ours, Class::Failure),
            (200, RateLimited, ours, Class::RateLimited),
            (200, KeyRefused, theirs, Class::Neutral),
            (200, ContentFiltered, ours, Class::Neutral),
            (200, EmptyAnswer, None, Class::Failure),
            (307, InvalidRequest, ours, Class::Neutral),
            (501, Unsupported, ours, Class::Neutral),
        ] {
            let answer = JudgedAnswer { error_class: Some(class), key, ..JudgedAnswer::of_status(status) };
            assert_eq!(FailureRule::Standard.classify(answer), expected, "{status} {class} {key:?}");
        }
        for status in [424, 425, 498] {
            assert_eq!(FailureRule::Standard.classify(JudgedAnswer::of_status(status)), Class::Failure, "{status}");
        }
    }

    #[test]
    fn a_list_may_name_error_classes() {
        let rule = FailureRule::parse("context_too_long, 418,overloaded").unwrap_or_default();
        let of =
            |status, class| rule.classify(JudgedAnswer { error_class: Some(class), ..JudgedAnswer::of_status(status) });
        assert_eq!(of(400, ErrorClass::ContextTooLong), Class::Failure);
        assert_eq!(
            (of(400, ErrorClass::InvalidRequest), of(500, ErrorClass::ServerError)),
            (Class::Neutral, Class::Neutral)
        );
        assert_eq!(
            (of(418, ErrorClass::InvalidRequest), of(529, ErrorClass::Overloaded)),
            (Class::Failure, Class::Overloaded)
        );
        assert_eq!(rule.to_string(), "418,context_too_long,overloaded");
        let both = FailureRule::parse("418,context_too_long").unwrap().union(FailureRule::parse("overloaded").unwrap());
        assert_eq!(both, rule);
        assert_eq!(FailureRule::parse(&rule.to_string()), Ok(rule.clone()));
        assert_eq!(rule.union(FailureRule::AnyButSuccess), FailureRule::AnyButSuccess);
    }

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
            assert_eq!(rule.classify(JudgedAnswer::of_status(status)), class, "{status}");
        }
        for status in [400, 404, 410, 422] {
            assert_eq!(rule.classify(missing(status, SetBy::Target)), Class::Failure, "the target's own is gone");
            assert_eq!(rule.classify(missing(status, SetBy::Client)), Class::Neutral, "the client misspelt it");
        }
        assert_eq!(rule.classify(missing(409, SetBy::Target)), Class::Neutral);
        for (status, key, expected) in [
            (401, Some(SetBy::Target), Class::Failure),
            (429, Some(SetBy::Target), Class::Failure),
            (429, Some(SetBy::Client), Class::Neutral),
            (429, None, Class::RateLimited),
            (403, Some(SetBy::Target), Class::Failure),
            (403, Some(SetBy::Client), Class::Neutral),
            (403, None, Class::Neutral),
        ] {
            let answer =
                JudgedAnswer { key, error_class: Some(ErrorClass::NotFound), ..missing(status, SetBy::Target) };
            assert_eq!(rule.classify(answer), expected, "{status} {key:?}: whose account may not have it");
        }
        assert_eq!(
            rule.classify(JudgedAnswer { gateway_generated: true, ..JudgedAnswer::of_status(503) }),
            Class::Failure,
            "a gateway's 503 is a name that does not resolve"
        );
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
            assert_eq!(rule.classify(JudgedAnswer::of_status(status)), class, "{status}");
        }
        assert_eq!(
            FailureRule::parse("5xx").unwrap_or_default().classify(JudgedAnswer::of_status(503)),
            Class::Overloaded
        );
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
            assert_eq!(rule.classify(JudgedAnswer::of_status(status)), class, "{status}");
        }
    }

    #[test]
    fn every_unreadable_part_of_a_list_is_named() {
        let faults = FailureRule::parse("404,abc,,99,1000,503-500,10xx,-1").unwrap_err();
        let parts: Vec<_> = faults.iter().map(|fault| fault.part.as_str()).collect();
        assert_eq!(parts, ["abc", "", "99", "1000", "503-500", "10xx", "-1"]);
    }
}
