//! When vendors say to come back.

use std::time::Duration;

use jiff::Timestamp;
use llm::headers::AnswerHeaders;
use llm::retry_after::{MAX_RETRY_AFTER, of_answer, rate_limits, retry_after};
use proptest::prelude::*;
use serde_json::json;
use types::outcome::RetryAfter;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
/// The same moment.
const NOW: i64 = 784_111_777;

fn headers<'a>(headers: &[(&'a str, &'a str)]) -> AnswerHeaders<'a> {
    AnswerHeaders::read(headers.iter().map(|(name, value)| (name.as_bytes(), *value)))
}

fn now() -> Option<Timestamp> {
    Timestamp::from_second(NOW).ok()
}

fn of_headers(list: &[(&str, &str)]) -> Option<RetryAfter> {
    retry_after(&headers(list), b"", now())
}

fn stated(millis: u64) -> Option<RetryAfter> {
    Some(RetryAfter::Delay(Duration::from_millis(millis)))
}

fn refill(millis: u64) -> Option<RetryAfter> {
    Some(RetryAfter::QuotaReset(Duration::from_millis(millis)))
}

#[test]
fn s1_7_retry_after_headers() {
    let digits = "9".repeat(10_000);
    let longest = Some(RetryAfter::Delay(MAX_RETRY_AFTER));
    for (name, value, expected) in [
        ("Retry-After", "2", stated(2_000)),
        ("retry-after", " 1.5 ", stated(1_500)),
        ("RETRY-AFTER", "0", stated(0)),
        ("retry-after", "7s", stated(7_000)),
        ("retry-after", "1m30s", stated(90_000)),
        ("retry-after", "2, 2", stated(2_000)),
        ("retry-after", "1m, 5m", stated(60_000)),
        ("Retry-After-Ms", "43", stated(43)),
        ("X-Ms-Retry-After-Ms", "43.5", Some(RetryAfter::Delay(Duration::from_micros(43_500)))),
        ("Retry-After", "999999999", longest),
        ("Retry-After", "784111787", longest),
        ("Retry-After", "1e300", longest),
        ("Retry-After", "-1", Some(RetryAfter::Unparsable)),
        ("Retry-After", "-0", Some(RetryAfter::Unparsable)),
        ("Retry-After", "1e309", Some(RetryAfter::Unparsable)),
        ("Retry-After", "inf", Some(RetryAfter::Unparsable)),
        ("Retry-After", "NaN", Some(RetryAfter::Unparsable)),
        ("Retry-After", "", Some(RetryAfter::Unparsable)),
        ("Retry-After", "soon", Some(RetryAfter::Unparsable)),
        ("Retry-After", &digits, Some(RetryAfter::Unparsable)),
        ("Retry-Afters", "2", None),
    ] {
        assert_eq!(of_headers(&[(name, value)]), expected, "{name}: {}", value.get(..40).unwrap_or(value));
    }
}

#[test]
fn s1_7_the_three_forms_of_a_date() {
    for (value, expected) in [
        ("Sun, 06 Nov 1994 08:50:07 GMT", stated(30_000)),
        ("Sunday, 06-Nov-94 08:50:07 GMT", stated(30_000)),
        ("Sun Nov  6 08:50:07 1994", stated(30_000)),
        ("Sun Nov 16 08:49:37 1994", stated(864_000_000)),
        ("sun, 6 nov 1994 8:50:07 gmt", stated(30_000)),
        ("Sunday, 06-Nov-1994 08:50:07 GMT", stated(30_000)),
        ("Sun, 06 Nov 1994 08:50:07 +0000", stated(30_000)),
        ("1994-11-06T08:50:07Z", stated(30_000)),
        ("1994-11-06T09:50:07.5+01:00", stated(30_500)),
        ("Sun, 06 Nov 1994 08:50:07 +0000", stated(30_000)),
        ("Sun, 06 Nov 1994 08:50:07 -0000", stated(30_000)),
        ("Sun, 06 Nov 1994 08:50:07 -0100", Some(RetryAfter::Unparsable)),
        ("Sun, 06 Nov 1994 08:48:00 GMT", stated(0)),
        ("Mon, 07 Nov 1994 08:49:60 GMT", stated(86_422_000)),
        ("Sun, 32 Nov 1994 08:50:07 GMT", Some(RetryAfter::Unparsable)),
        ("Sun, 06 Nov 1994 08:50 GMT", Some(RetryAfter::Unparsable)),
        ("Sun, 06 Foo 1994 08:50:07 GMT", Some(RetryAfter::Unparsable)),
        ("Sun, 06 Nov 1994 08:50:07 PST", Some(RetryAfter::Unparsable)),
    ] {
        let with_date = retry_after(&headers(&[("Retry-After", value), ("Date", DATE)]), b"", None);
        assert_eq!(with_date, expected, "{value}: against the answer's own date");
        assert_eq!(of_headers(&[("Retry-After", value)]), expected, "{value}: against the time of receipt");
        let other = [("Retry-After", value), ("Date", "Sunday, 06-Nov-94 08:49:37 GMT")];
        let skewed = Timestamp::from_second(NOW + 7_200).ok();
        assert_eq!(retry_after(&headers(&other), b"", skewed), expected, "{value}: its own date comes first");
        let neither = retry_after(&headers(&[("Retry-After", value)]), b"", None);
        assert_eq!(neither, Some(RetryAfter::Unparsable), "{value}: against nothing");
    }
}

#[test]
fn s1_7_resets_of_empty_buckets() {
    for (reset, expected) in [
        ("6m0s", refill(60_000)),
        ("12ms", refill(12)),
        ("1h2m3.5s", refill(60_000)),
        ("3.5s", refill(3_500)),
        ("7.66s", refill(7_660)),
        ("17", refill(17_000)),
        ("0.25", refill(250)),
        ("784111787", refill(60_000)),
        ("1994-11-06T08:49:57Z", refill(20_000)),
        ("-5s", Some(RetryAfter::Unparsable)),
        ("-1", Some(RetryAfter::Unparsable)),
        ("5 parsecs", Some(RetryAfter::Unparsable)),
        ("1e309", Some(RetryAfter::Unparsable)),
        ("", Some(RetryAfter::Unparsable)),
    ] {
        let bucket = [("X-Ratelimit-Remaining-Requests", "0"), ("X-Ratelimit-Reset-Requests", reset)];
        assert_eq!(of_headers(&bucket), expected, "{reset:?}");
        assert_eq!(of_headers(&bucket[1..]), expected, "{reset:?}, alone");
    }
    for (remaining, limit) in [("-1", "-1"), ("1", "10"), ("0", "0"), ("none", "10")] {
        let bucket = [
            ("x-ratelimit-remaining-tokens", remaining),
            ("x-ratelimit-limit-tokens", limit),
            ("x-ratelimit-reset-tokens", "5s"),
        ];
        assert_eq!(of_headers(&bucket), None, "{remaining} of {limit} is not known to be empty");
    }
    let two = [
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "5s"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "9s"),
        ("anthropic-ratelimit-tokens-reset", "1994-11-06T08:50:30Z"),
    ];
    assert_eq!(of_headers(&two), refill(9_000), "all of them must have room");
    let cerebras = [
        ("x-ratelimit-remaining-requests-day", "900"),
        ("x-ratelimit-reset-requests-day", "33011.38"),
        ("x-ratelimit-remaining-tokens-minute", "0"),
        ("x-ratelimit-reset-tokens-minute", "11.38"),
    ];
    assert_eq!(of_headers(&cerebras), refill(11_380));
}

/// draft-ietf-httpapi-ratelimit-headers, as Hugging Face writes it.
#[test]
fn s1_7_the_header_of_the_draft() {
    for (value, expected) in [
        ("\"api\";r=0;t=25", stated(25_000)),
        ("\"api\"; r=0; t=25", stated(25_000)),
        ("\"api\";t=25;r=0", stated(25_000)),
        ("\"minute\";r=0;t=25, \"day\";r=0;t=600, \"month\";r=9;t=9000", stated(600_000)),
        ("\"api\";r=12;t=25", None),
        ("\"api\";r=0", None),
        ("\"api\";r=0;t=soon", None),
        // Its version 7.
        ("limit=100, remaining=0, reset=5", stated(5_000)),
        ("limit=100,remaining=0;w=60,reset=5;x=1", stated(5_000)),
        ("limit=100, remaining=1, reset=5", None),
        ("limit=100, reset=5", None),
        ("limit=100, remaining=0", None),
        ("limit=100, remaining=0, reset=soon", None),
        ("limit=100, remaining=0, reset=-5", None),
        ("", None),
    ] {
        assert_eq!(of_headers(&[("RateLimit", value)]), expected, "{value}");
        let with_other = [("RateLimit", value), ("Retry-After", "7")];
        assert_eq!(of_headers(&with_other), stated(7_000), "{value}: what is stated comes first");
    }
}

#[test]
fn s1_7_moments_since_1970() {
    let now = Timestamp::from_second(1_764_000_000).ok();
    for (value, expected) in [
        ("1764000030", stated(30_000)),
        ("1764000030000", stated(30_000)),
        ("1763999999", stated(0)),
        ("1764000000.5", stated(500)),
    ] {
        for name in ["retry-after", "x-ratelimit-reset", "ratelimit-reset"] {
            assert_eq!(retry_after(&headers(&[(name, value)]), b"", now), expected, "{name}: {value}");
        }
        let bucket = headers(&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", value)]);
        let wait = expected.and_then(RetryAfter::wait).map(RetryAfter::QuotaReset);
        assert_eq!(retry_after(&bucket, b"", now), wait, "a bucket: {value}");
    }
    assert_eq!(retry_after(&headers(&[("retry-after", "1764000030")]), b"", None), Some(RetryAfter::Unparsable));
}

#[test]
fn s1_7_what_bodies_say() {
    let said = |message: &str| json!({"error": {"message": message, "code": "rate_limit_exceeded"}});
    let gemini = |delay: &str| json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x", "details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure"}, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]}});
    for (body, expected) in [
        (gemini("34s"), stated(34_000)),
        (gemini("34.07s"), stated(34_070)),
        (json!([gemini("2s")]), stated(2_000)),
        (json!({"error": {"message": gemini("5s").to_string(), "code": 429}}), stated(5_000)),
        (
            json!({"error": {"message": json!({"error": {"message": gemini("5s").to_string()}}).to_string()}}),
            stated(5_000),
        ),
        (gemini("never"), None),
        (said("Rate limit reached. Please try again in 6m0s. Visit x"), stated(360_000)),
        (said("Rate limit reached. Please try again in 20s."), stated(20_000)),
        (said("Please try again in 1.2s."), stated(1_200)),
        (said("Please try again in 850ms."), stated(850)),
        (said("Please try again in 1h2m3s, or later"), stated(3_723_000)),
        (said("Please retry after 12 seconds. Please go here"), stated(12_000)),
        (said("Try again in 86400 seconds."), stated(86_400_000)),
        (said("Please retry in 34.074824224s."), Some(RetryAfter::Delay(Duration::from_nanos(34_074_824_224)))),
        (said("Please wait 2 minutes and try again"), stated(120_000)),
        (said("Please try again in 1 hour, 2 minutes and 3 seconds."), stated(3_723_000)),
        (said("Rate limit exceeded. Limit resets at: 1994-11-06 08:50:07 UTC"), stated(30_000)),
        (said("Your quota will reset at 1994-11-06T08:50:07.5Z."), stated(30_500)),
        (said("Please retry after 1994-11-06T08:50:07+00:00, or pay"), stated(30_000)),
        (
            said("You have exhausted your capacity on this model. Your quota will reset after 2h26m26s."),
            stated(8_786_000),
        ),
        (said("The limit resets after 90 seconds."), stated(90_000)),
        (said("Rate limit exceeded, resets in ~9s"), stated(9_000)),
        (said("Please try again in ~ a while"), None),
        // Hugging Face, of a model that is loading; other models are there.
        (json!({"error": "Model x is currently loading", "estimated_time": 20.0}), stated(20_000)),
        (json!({"error": "Model x is currently loading", "estimated_time": 2531.1}), stated(60_000)),
        (json!({"error": "Please try again in 3s.", "estimated_time": 20.0}), stated(3_000)),
        (json!({"error": "x", "estimated_time": "soon"}), None),
        (said("upstream connect error: connection reset after 120s"), None),
        (said("Please retry at noon"), None),
        (json!({"error": {"message": "x", "retryAfter": 4}}), stated(4_000)),
        (json!({"message": "x", "retry_after_seconds": 4.5}), stated(4_500)),
        (
            said(
                "You have reached your specified API usage limits. You will regain access on 1994-11-07 at 00:00 UTC.",
            ),
            stated(54_623_000),
        ),
        (said("You will regain access on 1994-11-06 at 00:00 UTC."), stated(0)),
        (said("You will regain access on Monday at noon UTC."), None),
        (said("Please try again in a moment"), None),
        (said("Please try again in 5 parsecs"), None),
        (said("Please retry after 12"), None),
        (json!({"error": "x", "retry_after": 3}), stated(3_000)),
        (json!({"error": {"message": "x", "retry_after_ms": 250}}), stated(250)),
        (
            json!({"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day", "metadata": {"headers": {"X-RateLimit-Reset": "784111787000"}}}}),
            stated(10_000),
        ),
        (json!({"choices": [{"message": {"content": "Please try again in 20s."}}]}), None),
        (json!({"message": -5}), None),
    ] {
        assert_eq!(retry_after(&AnswerHeaders::default(), body.to_string().as_bytes(), now()), expected, "{body}");
    }
}

#[test]
fn s1_7_what_plain_texts_say() {
    for (kind, body, expected) in [
        ("text/plain", "Rate limit reached, try again in 20s", stated(20_000)),
        ("Text/Plain; charset=utf-8", "\nToo many requests. Please retry after 12 seconds.\n", stated(12_000)),
        ("", "Rate limit exceeded. Limit resets at: 1994-11-06 08:50:07 UTC", stated(30_000)),
        ("application/octet-stream", "Please try again in 1m30s", stated(90_000)),
        ("text/plain", "Too many requests, please try again later.", None),
        ("text/plain", "upstream connect error or disconnect/reset before headers. reset reason: overflow", None),
        ("text/plain", "", None),
        ("text/plain", "{\"note\": \"try again in 20s\"}", None),
        ("text/plain", "{\"error\": {\"message\": \"try again in 20s\"}}", stated(20_000)),
        ("text/plain", "<p>try again in 20s</p>", None),
        ("text/html", "try again in 20s", None),
        ("application/json", "try again in 20s", None),
        ("audio/mpeg", "try again in 20s", None),
    ] {
        let read = retry_after(&headers(&[("Content-Type", kind)]), body.as_bytes(), now());
        assert_eq!(read, expected, "{kind} {body}");
    }
    let late = format!("{}try again in 20s", " x".repeat(2 << 10));
    assert_eq!(retry_after(&AnswerHeaders::default(), late.as_bytes(), now()), None, "only the first sentences");
    assert_eq!(retry_after(&AnswerHeaders::default(), b"try again in 20s \xff", now()), stated(20_000));
    let packed = headers(&[("Content-Type", "text/plain"), ("Content-Encoding", "gzip")]);
    assert_eq!(retry_after(&packed, b"try again in 20s", now()), None);
}

/// Anthropic's limits of a subscription.
#[test]
fn s1_7_the_reset_of_a_subscription_counts_with_429_where_it_is_used_up() {
    let now = Timestamp::from_second(1_764_000_000).ok();
    let (status, reset) = ("anthropic-ratelimit-unified-status", "Anthropic-RateLimit-Unified-Reset");
    let rejected = [(status, "rejected"), (reset, "1764003600")];
    let empty =
        [("anthropic-ratelimit-tokens-remaining", "0"), ("anthropic-ratelimit-tokens-reset", "2025-11-24T16:00:30Z")];
    for (code, list, expected) in [
        (429, vec![rejected[0], rejected[1]], stated(3_600_000)),
        (429, vec![rejected[0], rejected[1], ("retry-after", "7")], stated(7_000)),
        // A refill, or a word that nobody understands, says less.
        (429, vec![rejected[0], rejected[1], empty[0], empty[1]], stated(3_600_000)),
        (429, vec![rejected[0], rejected[1], ("retry-after", "soon")], stated(3_600_000)),
        (429, vec![rejected[0], empty[0], empty[1]], refill(30_000)),
        (529, vec![rejected[0], rejected[1], empty[0], empty[1]], refill(30_000)),
        (429, vec![rejected[0], (reset, "1763999999")], stated(0)),
        (429, vec![rejected[0], (reset, "soon")], None),
        (429, vec![rejected[0]], None),
        (429, vec![rejected[1]], None),
        (429, vec![(status, "allowed"), rejected[1]], None),
        (429, vec![(status, "allowed_warning"), rejected[1]], None),
        (529, vec![rejected[0], rejected[1]], None),
        (503, vec![rejected[0], rejected[1]], None),
        (200, vec![rejected[0], rejected[1]], None),
    ] {
        assert_eq!(of_answer(code, &headers(&list), b"", now), expected, "{code} {list:?}");
    }
}

#[test]
fn s1_7_the_most_trusted_word_that_can_be_read_counts() {
    let bucket = [("X-Ratelimit-Remaining-Tokens", "0"), ("X-Ratelimit-Reset-Tokens", "30s")];
    let body = json!({"error": {"message": "Please try again in 4s."}}).to_string();
    let with =
        |own: &[(&str, &str)], body: &str| retry_after(&headers(&[own, &bucket].concat()), body.as_bytes(), now());
    assert_eq!(with(&[("Retry-After", "9"), ("Retry-After-Ms", "20")], &body), stated(20));
    assert_eq!(with(&[("Retry-After", "9"), ("Retry-After-Ms", "-1")], &body), stated(9_000));
    assert_eq!(with(&[("Retry-After", "x")], &body), stated(4_000));
    assert_eq!(with(&[("Retry-After", "0")], &body), stated(4_000), "at once hides no wait");
    assert_eq!(with(&[("Retry-After", "0")], ""), stated(0));
    assert_eq!(with(&[("Retry-After", "9")], &body), stated(9_000));
    assert_eq!(with(&[("Retry-After", "x")], ""), Some(RetryAfter::Unparsable));
    assert_eq!(with(&[], &body), stated(4_000));
    assert_eq!(with(&[], ""), refill(30_000));
}

#[test]
fn s1_7_what_is_left_is_the_least_of_what_is_known() {
    let left = |list: &[(&str, &str)]| {
        let limits = rate_limits(&headers(list), None);
        [limits.requests, limits.tokens].map(|left| left.map(|left| (left.amount, left.reset.as_millis())))
    };
    let (requests, tokens) = ("x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens");
    let reset = ("x-ratelimit-reset-requests", "12ms");
    for (list, expected) in [
        (vec![(requests, "59"), reset], [Some((59, 12)), None]),
        (vec![(requests, "0"), (tokens, "149984")], [Some((0, 60_000)), Some((149_984, 60_000))]),
        (vec![(tokens, "5"), ("x-ratelimit-reset-tokens", "6m0s")], [None, Some((5, 60_000))]),
        (vec![(tokens, "-1"), (requests, "many")], [None, None]),
        (vec![(tokens, "0"), ("x-ratelimit-limit-tokens", "0")], [None, None]),
        (vec![reset], [None, None]),
        (
            vec![
                ("anthropic-ratelimit-input-tokens-remaining", "70"),
                ("anthropic-ratelimit-output-tokens-remaining", "30"),
                ("anthropic-ratelimit-output-tokens-reset", "1994-11-06T08:49:57Z"),
                ("anthropic-ratelimit-requests-remaining", "8"),
                ("date", DATE),
            ],
            [Some((8, 60_000)), Some((30, 20_000))],
        ),
    ] {
        assert_eq!(left(&list), expected, "{list:?}");
    }
}

proptest! {
    #[test]
    fn s1_7_a_written_span_is_read(minutes in 0_u64..90, seconds in 0_u64..60, millis in 0_u64..1000) {
        let text = format!("{minutes}m{seconds}s{millis}ms");
        let wait = Duration::from_millis(minutes * 60_000 + seconds * 1000 + millis);
        prop_assert_eq!(of_headers(&[("retry-after", &text)]), Some(RetryAfter::Delay(wait)));
    }

    #[test]
    fn s1_7_no_text_panics_and_none_is_longer_than_the_longest(value in "\\PC{0,70}|[0-9.smhd :,-]{0,20}|[A-Za-z, -]{0,9}[0-9: -]{0,20}", name in 0_usize..5) {
        let name = ["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-reset-tokens", "date"][name];
        let body = json!({"error": {"message": format!("try again in {value}"), "retry_after": value}}).to_string();
        for body in [body.as_bytes(), b""] {
            let wait = retry_after(&headers(&[(name, &value)]), body, now()).and_then(RetryAfter::wait);
            prop_assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
        }
    }

    #[test]
    fn s1_7_any_body_can_be_asked(bytes: Vec<u8>) {
        retry_after(&AnswerHeaders::default(), &bytes, None);
    }
}

fn after_status(status: u16, headers: &[(&str, &str)], body: &str) -> Option<RetryAfter> {
    let headers = AnswerHeaders::read(headers.iter().map(|(name, value)| (name.as_bytes(), *value)));
    let received = "2026-11-28T12:00:00Z".parse().ok();
    of_answer(status, &headers, body.as_bytes(), received)
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
        assert_eq!(after_status(status, &headers, body), expected, "{status} {headers:?} {body}");
    }
}
