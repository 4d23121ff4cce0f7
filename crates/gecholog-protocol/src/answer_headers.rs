//! The headers of an upstream's answer as the gateway writes them, and what follows from them and the body for outcomes.

use jiff::Timestamp;
use llm::headers::AnswerHeaders;
use llm::retry_after;
use types::outcome::{QuotaRemaining, RateLimitHeaders, RetryAfter};

use llm::json::{Cursor, RawJson, SyntaxError};

/// The headers of an answer in a message or a log entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Headers<'a> {
    /// There are no headers: no upstream made this answer.
    pub(super) are_none: bool,
    /// The headers that are used.
    pub(super) fields: AnswerHeaders<'a>,
}

impl<'a> Headers<'a> {
    /// Parses an object of lists of values by name; the first value of each counts.
    pub(super) fn read(headers: &mut Cursor<'a>) -> Result<Self, SyntaxError> {
        let mut fields = AnswerHeaders::default();
        let mut are_none = headers.peek() == Some(b'{');
        headers.fields(|name, values| {
            are_none = false;
            if AnswerHeaders::wants(name)
                && let Some(value) = values.raw()?.first().and_then(RawJson::plain)
            {
                fields.add(name, value);
            }
            Ok(())
        })?;
        Ok(Self { are_none, fields })
    }
}

/// The wait that an answer requests. `body`: that of an error; of a good answer only the reset of an exhausted rate limit counts.
/// `received`: when it arrived, needed if it has no `Date`.
pub fn retry_after(
    status: u16,
    headers: &AnswerHeaders<'_>,
    body: &[u8],
    received: Option<Timestamp>,
) -> Option<RetryAfter> {
    let is_empty = || {
        let left = rate_limits(headers, received);
        [left.requests, left.tokens].into_iter().flatten().any(|left| left.amount == 0)
    };
    if status < 400 && !is_empty() {
        return None;
    }
    let body = if status < 400 { &[] } else { body };
    Some(match retry_after::retry_after(headers, body, received)? {
        retry_after::RetryAfter::Stated(wait) => RetryAfter::Delay(wait),
        retry_after::RetryAfter::Refill(wait) => RetryAfter::QuotaReset(wait),
        retry_after::RetryAfter::Unreadable => RetryAfter::Unparsable,
    })
}

/// The remaining rate limits in the headers of an answer.
pub fn rate_limits(headers: &AnswerHeaders<'_>, received: Option<Timestamp>) -> RateLimitHeaders {
    let limits = retry_after::rate_limits(headers, received);
    let left = |left: retry_after::RateLimitHeaders| QuotaRemaining { amount: left.amount, reset: left.reset };
    RateLimitHeaders { requests: limits.requests.map(left), tokens: limits.tokens.map(left) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of(status: u16, headers: &[(&str, &str)], body: &str) -> Option<RetryAfter> {
        let headers = AnswerHeaders::read(headers.iter().map(|(name, value)| (name.as_bytes(), *value)));
        let received = "2026-11-28T12:00:00Z".parse().ok();
        retry_after(status, &headers, body.as_bytes(), received)
    }

    #[test]
    fn line_7_when_to_come_back() {
        let after = |seconds| Some(RetryAfter::Delay(Duration::from_secs(seconds)));
        let gemini = r#"[{"error": {"code": 429, "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}]}}]"#;
        let openai = r#"{"error": {"message": "Rate limit reached. Please try again in 6m0s."}}"#;
        for (status, headers, body, expected) in [
            (429, vec![("Retry-After", "2")], "", after(2)),
            (429, vec![("Retry-After", "Sat, 28 Nov 2026 12:00:30 GMT")], "", after(30)),
            (429, vec![("Retry-After", "Saturday, 28-Nov-26 12:00:30 GMT")], "", after(30)),
            (429, vec![("Retry-After", "Sat Nov 28 12:00:30 2026")], "", after(30)),
            (429, vec![("X-Ratelimit-Reset", "1795867230")], "", after(30)),
            (429, vec![("X-Ratelimit-Reset", "1795867230000")], "", after(30)),
            (429, vec![], gemini, after(2)),
            (429, vec![], openai, after(360)),
            (429, vec![("Retry-After", "soon")], "", Some(RetryAfter::Unparsable)),
            (429, vec![], "", None),
            (200, vec![("Retry-After", "2")], gemini, None),
            (200, vec![("x-ratelimit-reset-tokens", "6s")], "", None),
            (
                200,
                vec![("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "6s")],
                "",
                Some(RetryAfter::QuotaReset(Duration::from_secs(6))),
            ),
        ] {
            assert_eq!(of(status, &headers, body), expected, "{status} {headers:?} {body}");
        }
    }

    #[test]
    fn headers_of_another_shape_say_nothing() {
        for text in ["{}", "null", "[1]", r#"{"Retry-After": 5}"#, r#"{"Retry-After": []}"#] {
            let read = Headers::read(&mut Cursor::new(text.as_bytes()));
            let wait = read.ok().and_then(|read| retry_after(429, &read.fields, b"", None));
            assert_eq!(wait, None, "{text}");
        }
    }

    #[test]
    fn headers_of_the_gateway_are_lists_of_which_the_first_counts() {
        let bytes = br#"{"Content-Type": ["text/html", "b"], "Retry-After": ["7"], "Server": ["x"], "Date": 7}"#;
        let read = Headers::read(&mut Cursor::new(bytes)).unwrap();
        assert!(read.fields.is_html() && !read.are_none);
        assert_eq!(retry_after(503, &read.fields, b"", None), Some(RetryAfter::Delay(Duration::from_secs(7))));
        assert!(Headers::read(&mut Cursor::new(b"{}")).unwrap().are_none);
    }
}
