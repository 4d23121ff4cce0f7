//! What became of a call's attempts, as data: the words of our own answers and the trace that operators may read both come of
//! it.
//!
//! Only holders of the operators' token can read a trace, because it names targets that clients need not know of. It keeps the
//! last attempts only: their number has no upper limit, and the length of a header has.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::headers;
use crate::admin::Token;
use crate::calls::context::AttemptContext;
use crate::calls::short;
use crate::clock::millis;
use crate::stamping::WrittenStamp;
use balancer::retry::AttemptResult;
use types::outcome::{ErrorClass, TransportFailure};
use types::router::RouterPath;

/// `1`: the client wants a trace.
const EXPLAIN: HeaderName = HeaderName::from_static("x-broker-explain");
/// The operators' token. A header of its own, because `Authorization` is the upstream's.
const TOKEN: HeaderName = HeaderName::from_static("x-broker-token");
/// So many attempts are kept, the last ones: with paths and reasons at their longest that is 8 KB of header, half of what
/// clients usually take.
const MAX_ATTEMPTS: usize = 16;

/// One attempt that has come to an answer, or to nothing.
#[derive(Debug, Clone)]
pub(super) struct FinishedAttempt {
    pub(super) router: RouterPath,
    /// How it ended; absent where it could not be sent.
    pub(super) ended: Option<AttemptResult>,
    /// Why it was not sent, where that is known.
    pub(super) not_sent: Option<String>,
    /// Why its answer could not be translated.
    pub(super) reason: Option<&'static str>,
    /// Until that was known.
    pub(super) time: Duration,
    /// The stamp of its decision.
    pub(super) stamp: WrittenStamp,
    /// The id under which it was sent.
    pub(super) transaction: String,
    /// Until the first byte of its answer's body.
    pub(super) first_byte: Option<Duration>,
    pub(super) context: AttemptContext,
}

/// The attempts of one call, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct FinishedAttempts {
    last: VecDeque<FinishedAttempt>,
    /// How many were made before those.
    left_out: u32,
}

impl FinishedAttempts {
    pub(super) fn note(&mut self, attempt: FinishedAttempt) {
        if self.last.len() >= MAX_ATTEMPTS {
            let first = self.last.pop_front();
            let is_made = first.is_some_and(|first| first.not_sent.is_none());
            self.left_out = self.left_out.saturating_add(is_made.into());
        }
        self.last.push_back(attempt);
    }

    /// Those that are kept, in order.
    pub(super) fn kept(&self) -> impl Iterator<Item = &FinishedAttempt> {
        self.last.iter()
    }

    /// How many were made before those.
    pub(super) const fn left_out(&self) -> u32 {
        self.left_out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Whether the last one was not made because this process had nothing left to make it with.
    pub(super) fn ended_exhausted(&self) -> bool {
        self.last.back().is_some_and(|last| last.ended == Some(AttemptResult::Broken(TransportFailure::Exhausted)))
    }

    /// Whether each was refused by a target that is asked too often, in an answer that began as a good one.
    pub(super) fn ended_rate_limited(&self) -> bool {
        let is_limited = |attempt: &FinishedAttempt| {
            let class = match attempt.ended {
                Some(AttemptResult::Broken(failure)) => failure.error_class(),
                Some(AttemptResult::Answered { error_class, .. }) => error_class,
                None => None,
            };
            class == Some(ErrorClass::RateLimited)
        };
        !self.is_empty() && self.left_out == 0 && self.last.iter().all(is_limited)
    }

    fn trace(&self) -> Value {
        let before = (self.left_out > 0).then(|| json!({"left_out": self.left_out}));
        before.into_iter().chain(self.last.iter().map(FinishedAttempt::shown)).collect()
    }
}

impl FinishedAttempt {
    pub(super) fn new(router: RouterPath, ended: Option<AttemptResult>, time: Duration, stamp: WrittenStamp) -> Self {
        let (not_sent, reason, transaction, first_byte, context) = Default::default();
        Self { router, ended, not_sent, reason, time, stamp, transaction, first_byte, context }
    }

    fn shown(&self) -> Value {
        let why = String::from_utf8_lossy(&self.stamp.why);
        let mut shown = json!({"router": self.router.as_str(), "ms": millis(self.time), "why": why});
        match self.ended {
            Some(AttemptResult::Answered { status, error_class, .. }) => {
                shown["status"] = status.into();
                if let Some(class) = error_class {
                    shown["error_class"] = class.name().into();
                }
            }
            Some(AttemptResult::Broken(_)) | None => shown["broken"] = self.summary().into(),
        }
        shown
    }

    /// What it did, in words that follow its name.
    fn summary(&self) -> String {
        match self.ended {
            Some(AttemptResult::Answered { status, .. }) => format!("answered {status}"),
            Some(AttemptResult::Broken(failure)) => match self.reason {
                Some(reason) => format!("{failure}: {reason}"),
                None => failure.to_string(),
            },
            None => match &self.not_sent {
                Some(reason) => format!("was passed over: {}", short(reason)),
                None => "was not finished".to_owned(),
            },
        }
    }
}

/// In words: `/a/ answered 503 after 12 ms, /b/ gave no answer in time after 400 ms`.
impl fmt::Display for FinishedAttempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.left_out > 0 {
            write!(f, "{} attempts, and then ", self.left_out)?;
        }
        for (place, attempt) in self.last.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", attempt.router, attempt.summary())?;
            // What was passed over, or failed at once, was not waited for.
            if attempt.not_sent.is_none() && millis(attempt.time) > 0 {
                write!(f, " after {} ms", millis(attempt.time))?;
            }
        }
        Ok(())
    }
}

/// Whether a trace is asked for with a token that is not the operators'.
pub(super) fn has_wrong_token(headers: &HeaderMap, token: Option<&Token>) -> bool {
    headers.contains_key(EXPLAIN) && token.zip(given(headers)).is_some_and(|(token, given)| !token.matches(given))
}

/// The token that a client shows.
fn given(headers: &HeaderMap) -> Option<&str> {
    headers.get(TOKEN).map(|given| given.to_str().unwrap_or_default())
}

/// The trace for a client that asks for one with these headers; or, if it may not have it, why and what to do about it.
pub(super) fn requested(
    headers: &HeaderMap,
    token: Option<&Token>,
    attempts: &FinishedAttempts,
) -> Option<HeaderValue> {
    let wanted = headers.get(EXPLAIN)?;
    let why_not = match (token, given(headers)) {
        _ if wanted != "1" => "X-Broker-Explain must be 1",
        (None, _) => "this broker shows no traces: set its BROKER_ADMIN_TOKEN (or BROKER_ADMIN_TOKEN_FILE)",
        (Some(_), None) => "needs X-Broker-Token with the operators' token, the broker's BROKER_ADMIN_TOKEN",
        (Some(token), Some(given)) if !token.matches(given) => {
            "X-Broker-Token is not the operators' token, the broker's BROKER_ADMIN_TOKEN"
        }
        (Some(_), Some(_)) => return Some(value(&attempts.trace())),
    };
    Some(value(&json!({"error": why_not})))
}

/// JSON in a header: what is not ASCII is escaped.
fn value(json: &Value) -> HeaderValue {
    let mut text = String::new();
    for letter in json.to_string().chars() {
        match letter {
            ' '..='~' => text.push(letter),
            _ => letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    headers::value(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::path;

    const OWN: &str = "the-operators-own-token";

    fn attempt(ended: Option<AttemptResult>, why: &str) -> FinishedAttempt {
        let router = path("/llm/a/");
        let stamp = WrittenStamp { why: why.to_owned().into(), ..WrittenStamp::default() };
        FinishedAttempt::new(router, ended, Duration::from_micros(12_999), stamp)
    }

    const fn answered(status: u16) -> Option<AttemptResult> {
        Some(AttemptResult::Answered { status, error_class: None, missing: None, other_account_may_answer: false })
    }

    fn attempts(several: impl IntoIterator<Item = FinishedAttempt>) -> FinishedAttempts {
        let mut attempts = FinishedAttempts::default();
        several.into_iter().for_each(|one| attempts.note(one));
        attempts
    }

    fn ask(headers: &[(HeaderName, &str)], token: Option<&str>, attempts: &FinishedAttempts) -> Option<Value> {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let value = requested(&all, token.map(Token::new).as_ref(), attempts)?;
        Some(serde_json::from_str(value.to_str().unwrap()).unwrap())
    }

    #[test]
    fn the_words_and_the_trace_say_the_same() {
        let broken = Some(AttemptResult::Broken(TransportFailure::FirstByteTimeout));
        let passed = FinishedAttempt { not_sent: Some("its model takes no tools".to_owned()), ..attempt(None, "") };
        let all = [attempt(answered(503), "first"), attempt(broken, "zweite Größe 🦀"), passed];
        let attempts = attempts(all);
        assert_eq!(
            attempts.to_string(),
            "/llm/a/ answered 503 after 12 ms, /llm/a/ gave no answer in time after 12 ms, \
             /llm/a/ was passed over: its model takes no tools"
        );
        assert_eq!(
            ask(&[(EXPLAIN, "1"), (TOKEN, OWN)], Some(OWN), &attempts),
            Some(json!([
                {"router": "/llm/a/", "status": 503, "ms": 12, "why": "first"},
                {"router": "/llm/a/", "broken": "gave no answer in time", "ms": 12, "why": "zweite Größe 🦀"},
                {"router": "/llm/a/", "broken": "was passed over: its model takes no tools", "ms": 12, "why": ""},
            ]))
        );
    }

    #[test]
    fn only_who_asks_and_holds_the_token_reads_it() {
        let attempts = attempts([attempt(answered(503), "first")]);
        assert_eq!(ask(&[(TOKEN, OWN)], Some(OWN), &attempts), None, "not asked for");
        for (headers, token, words) in [
            (vec![(EXPLAIN, "1"), (TOKEN, OWN)], None, "BROKER_ADMIN_TOKEN_FILE"),
            (vec![(EXPLAIN, "1")], Some(OWN), "needs X-Broker-Token"),
            (vec![(EXPLAIN, "1"), (TOKEN, "")], Some(OWN), "not the operators' token"),
            (vec![(EXPLAIN, "1"), (TOKEN, "ü")], Some(OWN), "not the operators' token"),
            (vec![(EXPLAIN, "1"), (TOKEN, "the-operators-own-toke")], Some(OWN), "not the operators' token"),
            (vec![(EXPLAIN, "yes"), (TOKEN, OWN)], Some(OWN), "must be 1"),
        ] {
            let reported = ask(&headers, token, &attempts).unwrap();
            let said = reported["error"].as_str().unwrap();
            assert!(said.contains(words) && !said.contains(OWN), "{headers:?}: {reported}");
            assert_eq!(reported.as_object().unwrap().len(), 1, "and nothing else: {reported}");
        }
    }

    #[test]
    fn it_holds_the_last_ones_and_says_how_many_went_before() {
        let router = path(&format!("/{}/", "a".repeat(78)));
        let long = FinishedAttempt { router, ..attempt(answered(500), &"x".repeat(200)) };
        let many =
            attempts((0..100_u16).map(|number| FinishedAttempt { ended: answered(400 + number), ..long.clone() }));
        let reported = ask(&[(EXPLAIN, "1"), (TOKEN, OWN)], Some(OWN), &many).unwrap();
        assert_eq!(reported[0], json!({"left_out": 84}));
        assert_eq!((reported.as_array().unwrap().len(), &reported[16]["status"]), (17, &json!(499)));
        assert!(reported.to_string().len() <= 8 << 10, "{}", reported.to_string().len());
        assert!(many.to_string().starts_with("84 attempts, and then /aaa"));
        assert_eq!(ask(&[(EXPLAIN, "1"), (TOKEN, OWN)], Some(OWN), &FinishedAttempts::default()), Some(json!([])));
    }
}
