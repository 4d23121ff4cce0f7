//! What the headers of an upstream's answer say about when to come back.
//!
//! Explicit headers come first: `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after`. Only where all are absent, the reset of
//! an empty bucket counts; it is the time until the bucket is full, longer than any call needs to wait: so at most
//! [`LONGEST_REFILL`]. Dates are measured against the answer's own `Date`, never against a clock of ours. What is negative,
//! infinite or no time at all is [`RetryAfter::Unparsable`]; nothing here can fail.

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

use super::scan::{Cursor, RawJson, SyntaxError};
use types::outcome::{QuotaRemaining, RateLimitHeaders, RetryAfter};

/// The longest that we wait for a bucket to fill.
pub const LONGEST_REFILL: Duration = Duration::from_secs(60);
/// No time that anybody means is longer than this, in bytes.
const LONGEST_TEXT: usize = 64;

/// The headers with a bucket's limit, what remains of it, and when it is full again.
const BUCKETS: [[&[u8]; 3]; 6] = [
    [b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests"],
    [b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens"],
    [
        b"anthropic-ratelimit-requests-limit",
        b"anthropic-ratelimit-requests-remaining",
        b"anthropic-ratelimit-requests-reset",
    ],
    [b"anthropic-ratelimit-tokens-limit", b"anthropic-ratelimit-tokens-remaining", b"anthropic-ratelimit-tokens-reset"],
    [
        b"anthropic-ratelimit-input-tokens-limit",
        b"anthropic-ratelimit-input-tokens-remaining",
        b"anthropic-ratelimit-input-tokens-reset",
    ],
    [
        b"anthropic-ratelimit-output-tokens-limit",
        b"anthropic-ratelimit-output-tokens-remaining",
        b"anthropic-ratelimit-output-tokens-reset",
    ],
];
/// Which of them count requests, and which tokens.
const REQUESTS: [usize; 2] = [0, 2];
const TOKENS: [usize; 4] = [1, 3, 4, 5];
/// The headers by which an upstream says it itself, in the order in which they are believed.
const OWN_WORD: [&[u8]; 3] = [b"retry-after-ms", b"x-ms-retry-after-ms", b"retry-after"];

/// What is of use in an answer's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Headers<'a> {
    /// There is not a single one: no upstream made this answer.
    pub(super) are_none: bool,
    content_type: Option<&'a str>,
    date: Option<&'a str>,
    own_word: [Option<&'a str>; 3],
    buckets: [[Option<&'a str>; 3]; 6],
}

impl<'a> Headers<'a> {
    /// Reads an object of names to lists of values; of each the first counts.
    pub(super) fn read(headers: &mut Cursor<'a>) -> Result<Self, SyntaxError> {
        let mut read = Self::default();
        let is_object = headers.is_object();
        let count = headers.fields(|name, values| {
            if let Some(place) = read.place(name) {
                *place = values.first()?.and_then(RawJson::text).map(str::trim);
            }
            Ok(())
        })?;
        read.are_none = is_object && count == 0;
        Ok(read)
    }

    /// Where the value of a header belongs, if it is of use. Most headers leave at their first letter.
    fn place(&mut self, name: &[u8]) -> Option<&mut Option<&'a str>> {
        let is = |known: &&[u8]| known.eq_ignore_ascii_case(name);
        match name.first()?.to_ascii_lowercase() {
            b'c' => name.eq_ignore_ascii_case(b"content-type").then_some(&mut self.content_type),
            b'd' => name.eq_ignore_ascii_case(b"date").then_some(&mut self.date),
            b'r' | b'x' | b'a' => match OWN_WORD.iter().position(is) {
                Some(place) => self.own_word.get_mut(place),
                None => {
                    let places = BUCKETS.iter().zip(&mut self.buckets);
                    places.filter_map(|(names, places)| places.get_mut(names.iter().position(is)?)).next()
                }
            },
            _ => None,
        }
    }

    /// Whether the answer is a page for people: no API answers so, but many a proxy in front of one.
    pub(super) fn is_html(&self) -> bool {
        let kind = self.content_type.and_then(|kind| kind.get(..9));
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"))
    }

    pub(super) fn hint(&self) -> Option<RetryAfter> {
        let [millis, ms_millis, seconds] = self.own_word;
        let own = [
            millis.map(|text| number(text).map(|millis| seconds_of(millis / 1e3))),
            ms_millis.map(|text| number(text).map(|millis| seconds_of(millis / 1e3))),
            seconds.map(|text| number(text).map(seconds_of).or_else(|| self.until(http_date(text)?))),
        ];
        let said = own.iter().any(Option::is_some);
        match own.into_iter().flatten().flatten().next() {
            Some(wait) => Some(RetryAfter::Delay(wait)),
            None if said => Some(RetryAfter::Unparsable),
            None => self.refill(),
        }
    }

    /// The longest time to full refill of those buckets that are empty.
    fn refill(&self) -> Option<RetryAfter> {
        let empty = self.buckets.iter().filter(|[limit, remaining, _]| *remaining == Some("0") && *limit != Some("0"));
        let resets: Vec<_> = empty.filter_map(|[_, _, reset]| *reset).map(|reset| self.reset(reset)).collect();
        match resets.iter().flatten().max() {
            Some(wait) => Some(RetryAfter::QuotaReset((*wait).min(LONGEST_REFILL))),
            None => (!resets.is_empty()).then_some(RetryAfter::Unparsable),
        }
    }

    /// What is left of the limits: of several buckets the one with the least.
    pub(super) fn remaining(&self) -> RateLimitHeaders {
        let least = |places: &[usize]| {
            let buckets = places.iter().filter_map(|place| self.buckets.get(*place));
            buckets.filter_map(|bucket| self.left(bucket)).min_by_key(|left| left.amount)
        };
        RateLimitHeaders { requests: least(&REQUESTS), tokens: least(&TOKENS) }
    }

    /// -1, no number, or a limit of 0: not known. A reset that is missing or cannot be read is as late as any.
    fn left(&self, [limit, remaining, reset]: &[Option<&str>; 3]) -> Option<QuotaRemaining> {
        let amount = remaining.filter(|_| *limit != Some("0"))?.parse().ok()?;
        let reset = reset.and_then(|reset| self.reset(reset)).unwrap_or(LONGEST_REFILL);
        Some(QuotaRemaining { amount, reset: reset.min(LONGEST_REFILL) })
    }

    /// Seconds, a duration such as `6m0s`, or a moment.
    fn reset(&self, text: &str) -> Option<Duration> {
        let text = Some(text).filter(|text| text.len() <= LONGEST_TEXT)?;
        let span = || Duration::try_from(text.parse::<SignedDuration>().ok()?).ok();
        number(text).map(seconds_of).or_else(span).or_else(|| self.until(text.parse().ok()?))
    }

    /// From the answer's own date to this moment; a moment that is past is now.
    fn until(&self, moment: Timestamp) -> Option<Duration> {
        let date = http_date(self.date?)?;
        Some(Duration::try_from(moment.duration_since(date)).unwrap_or_default())
    }
}

/// What the headers of an answer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Said {
    /// When to come back.
    pub hint: Option<RetryAfter>,
    /// The answer is a page for people.
    pub html: bool,
}

/// What the headers of an answer say that are at hand as names and values.
pub fn of<'a>(headers: impl Iterator<Item = (&'a [u8], &'a str)>) -> Said {
    let mut read = Headers::default();
    for (name, value) in headers {
        if let Some(place) = read.place(name) {
            place.get_or_insert(value.trim());
        }
    }
    Said { hint: read.hint(), html: read.is_html() }
}

/// A number that can be a time: finite and not negative.
fn number(text: &str) -> Option<f64> {
    let number: f64 = Some(text).filter(|text| text.len() <= LONGEST_TEXT)?.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// What is longer than any time can be is as long as that.
fn seconds_of(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn http_date(text: &str) -> Option<Timestamp> {
    let text = Some(text).filter(|text| text.len() <= LONGEST_TEXT)?;
    DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

    fn hint(headers: &Value) -> Option<RetryAfter> {
        let bytes = headers.to_string();
        let mut cursor = Cursor::new(bytes.as_bytes());
        let headers = Headers::read(&mut cursor).ok()?;
        // Whatever they are, it can be asked.
        headers.remaining();
        headers.hint()
    }

    fn of(headers: &[(&str, &str)]) -> Option<RetryAfter> {
        let lists = headers.iter().map(|(name, value)| ((*name).to_owned(), json!([value])));
        hint(&Value::Object(lists.collect()))
    }

    fn after(millis: u64) -> Option<RetryAfter> {
        Some(RetryAfter::Delay(Duration::from_millis(millis)))
    }

    fn refill(millis: u64) -> Option<RetryAfter> {
        Some(RetryAfter::QuotaReset(Duration::from_millis(millis)))
    }

    #[test]
    fn an_upstreams_own_word() {
        let digits = "9".repeat(10_000);
        for (name, value, expected) in [
            ("Retry-After", "2", after(2_000)),
            ("retry-after", " 1.5 ", after(1_500)),
            ("RETRY-AFTER", "0", after(0)),
            ("Retry-After-Ms", "43", after(43)),
            ("X-Ms-Retry-After-Ms", "43.5", Some(RetryAfter::Delay(Duration::from_micros(43_500)))),
            ("Retry-After", "1e18", Some(RetryAfter::Delay(Duration::from_secs(1_000_000_000_000_000_000)))),
            ("Retry-After", "1e300", Some(RetryAfter::Delay(Duration::MAX))),
            ("Retry-After", "-1", Some(RetryAfter::Unparsable)),
            ("Retry-After", "1e309", Some(RetryAfter::Unparsable)),
            ("Retry-After", "inf", Some(RetryAfter::Unparsable)),
            ("Retry-After", "NaN", Some(RetryAfter::Unparsable)),
            ("Retry-After", "", Some(RetryAfter::Unparsable)),
            ("Retry-After", "soon", Some(RetryAfter::Unparsable)),
            ("Retry-After", &digits, Some(RetryAfter::Unparsable)),
            ("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT", Some(RetryAfter::Unparsable)),
            ("Retry-Afters", "2", None),
        ] {
            assert_eq!(of(&[(name, value)]), expected, "{name}: {}", value.get(..40).unwrap_or(value));
        }
    }

    #[test]
    fn a_date_is_measured_against_the_answers_own() {
        for (value, expected) in [
            ("Wed, 21 Oct 2015 07:28:30 GMT", after(30_000)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", after(0)),
            ("Thu, 22 Oct 2015 07:28:00 GMT", after(86_400_000)),
            ("Thu, 32 Oct 2015 07:28:00 GMT", Some(RetryAfter::Unparsable)),
        ] {
            assert_eq!(of(&[("Retry-After", value), ("Date", DATE)]), expected, "{value}");
        }
    }

    #[test]
    fn the_first_that_can_be_read_counts_and_buckets_only_without_them() {
        let bucket = [("X-Ratelimit-Remaining-Tokens", "0"), ("X-Ratelimit-Reset-Tokens", "30s")];
        let with = |own: &[(&str, &str)]| of(&[own, &bucket].concat());
        assert_eq!(with(&[("Retry-After", "9"), ("Retry-After-Ms", "20")]), after(20));
        assert_eq!(with(&[("Retry-After", "9"), ("Retry-After-Ms", "-1")]), after(9_000));
        assert_eq!(with(&[("Retry-After", "x")]), Some(RetryAfter::Unparsable));
        assert_eq!(with(&[]), refill(30_000));
    }

    #[test]
    fn the_reset_of_an_empty_bucket() {
        for (reset, expected) in [
            ("6m0s", refill(60_000)),
            ("12ms", refill(12)),
            ("1h2m3.5s", refill(60_000)),
            ("3.5s", refill(3_500)),
            ("17", refill(17_000)),
            ("0.25", refill(250)),
            ("-5s", Some(RetryAfter::Unparsable)),
            ("-1", Some(RetryAfter::Unparsable)),
            ("1e309", Some(RetryAfter::Unparsable)),
            ("", Some(RetryAfter::Unparsable)),
        ] {
            let headers = [("X-Ratelimit-Remaining-Requests", "0"), ("X-Ratelimit-Reset-Requests", reset)];
            assert_eq!(of(&headers), expected, "{reset:?}");
        }
        for (remaining, limit) in [("-1", "-1"), ("1", "10"), ("0", "0"), ("none", "10")] {
            let headers = [
                ("x-ratelimit-remaining-tokens", remaining),
                ("x-ratelimit-limit-tokens", limit),
                ("x-ratelimit-reset-tokens", "5s"),
            ];
            assert_eq!(of(&headers), None, "{remaining} of {limit} is not known to be empty");
        }
        let two = [
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "5s"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "9s"),
        ];
        assert_eq!(of(&two), refill(9_000), "all of them must have room");
    }

    #[test]
    fn what_is_left_is_the_least_of_what_is_known() {
        let left = |headers: &[(&str, &str)]| {
            let lists = headers.iter().map(|(name, value)| ((*name).to_owned(), json!([value])));
            let bytes = Value::Object(lists.collect()).to_string();
            let RateLimitHeaders { requests, tokens } =
                Headers::read(&mut Cursor::new(bytes.as_bytes())).unwrap().remaining();
            [requests, tokens].map(|left| left.map(|left| (left.amount, left.reset.as_millis())))
        };
        let (requests, tokens) = ("x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens");
        let reset = ("x-ratelimit-reset-requests", "12ms");
        for (headers, expected) in [
            (vec![(requests, "59"), reset], [Some((59, 12)), None]),
            (vec![(requests, "0"), (tokens, "149984")], [Some((0, 60_000)), Some((149_984, 60_000))]),
            (vec![(tokens, "5"), ("x-ratelimit-reset-tokens", "6m0s")], [None, Some((5, 60_000))]),
            (vec![(tokens, "5"), ("x-ratelimit-reset-tokens", "soon")], [None, Some((5, 60_000))]),
            (vec![(tokens, "-1"), (requests, "many")], [None, None]),
            (vec![(tokens, "0"), ("x-ratelimit-limit-tokens", "0")], [None, None]),
            (vec![reset], [None, None]),
            (
                vec![
                    ("anthropic-ratelimit-input-tokens-remaining", "70"),
                    ("anthropic-ratelimit-output-tokens-remaining", "30"),
                    ("anthropic-ratelimit-output-tokens-reset", "2015-10-21T07:28:20Z"),
                    ("anthropic-ratelimit-requests-remaining", "8"),
                    ("date", DATE),
                ],
                [Some((8, 60_000)), Some((30, 20_000))],
            ),
        ] {
            assert_eq!(left(&headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn anthropics_moments() {
        for kind in ["requests", "tokens", "input-tokens", "output-tokens"] {
            let (remaining, reset) =
                (format!("anthropic-ratelimit-{kind}-remaining"), format!("anthropic-ratelimit-{kind}-reset"));
            let headers = [(remaining.as_str(), "0"), (reset.as_str(), "2015-10-21T07:28:20Z"), ("date", DATE)];
            assert_eq!(of(&headers), refill(20_000), "{kind}");
            assert_eq!(of(&headers[..2]), Some(RetryAfter::Unparsable), "no date to measure it against");
        }
    }

    #[test]
    fn what_has_another_shape_says_nothing() {
        for headers in [json!({}), json!(null), json!([1]), json!({"Retry-After": 5}), json!({"Retry-After": []})] {
            assert_eq!(hint(&headers), None, "{headers}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_a_panic(value in "\\PC{0,80}", place in 0_usize..21) {
            let names: Vec<_> = OWN_WORD.iter().chain(BUCKETS.as_flattened()).collect();
            let name = String::from_utf8_lossy(names[place]);
            of(&[(&name, &value), ("x-ratelimit-remaining-tokens", "0"), ("date", DATE)]);
        }
    }
}
