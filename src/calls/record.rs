//! The record of one finished call, and its JSON form, which docs/calls.md documents. Within a version, fields may be added,
//! but none changes its meaning.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::context::{AttemptContext, CallContext};
use super::cost::Cost;
use super::trace_ids::{made_trace, trace_number};
use llm::Usage;
use types::outcome::{ErrorClass, UnknownErrorClass};
use types::time::BrokerTime;

/// The version of the JSON form.
pub const VERSION: u32 = 1;

/// A finished call. The length of texts that clients choose is limited: see [`super::TraceIds`] and `short`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallRecord {
    /// [`VERSION`]
    pub v: u32,
    /// The session of a relayed call, the transaction of any other.
    pub id: String,
    /// When this broker saw its end.
    pub at: BrokerTime,
    /// The replica that decided or relayed; absent without a stamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    pub via: Via,
    /// The ingress that was called.
    pub pool: String,
    /// The gateway's session.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// Search keys: the client's trace ids, or the one that was made for it.
    pub trace_ids: Vec<String>,
    /// The model that the client asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model that was sent to the target, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_model: Option<String>,
    /// The model in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_model: Option<String>,
    /// The router whose answer the client got; absent where the relay answered itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// The status that the client got; absent if it went away before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub class: CallClass,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// Time from the request to the first byte of the answer for the client, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u64>,
    /// Time from the request to the end of the call, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    pub attempts: Vec<CallAttempt>,
    /// The number of attempts before those that are listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts_left_out: u32,
    /// Absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Absent: unknown (which differs from 0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Whether the answer came from a cache: always `none`, because there is no cache yet.
    pub cache: Cow<'static, str>,
    #[serde(skip)]
    pub context: CallContext,
}

/// Why there is no complete answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptFailure {
    /// The target was chosen, but was not sent the request.
    PassedOver,
    /// A result of `gecholog_broker_relay_attempts_total`, perhaps of another version of the broker.
    #[serde(untagged)]
    Broken(Cow<'static, str>),
}

impl AttemptFailure {
    /// The name in JSON.
    pub fn name(&self) -> &str {
        match self {
            Self::PassedOver => "passed_over",
            Self::Broken(name) => name,
        }
    }
}

/// One attempt: the same request to one target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CallAttempt {
    pub router: String,
    /// The id of the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The probability of that choice, 0 to 1; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// The reason of the choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// It probes a router on probation.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
    /// The gateway's transaction.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub transaction: String,
    /// The status of the target's answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub class: CallClass,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<AttemptFailure>,
    /// Why its answer could not be decoded or translated; the text continues "the answer is broken:".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Time from sending the request to the first byte of the answer's body, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<u64>,
    /// Time from sending the request to the end of the attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// How often the request was sent: more than once if reused connections were closed.
    pub tries: u32,
    #[serde(skip)]
    pub context: AttemptContext,
}

impl CallRecord {
    /// The attempts that are kept, each with its number among those that were made, from 1; without one where the target was
    /// passed over.
    pub fn numbered_attempts(&self) -> impl Iterator<Item = (Option<u32>, &CallAttempt)> {
        let mut made = self.attempts_left_out;
        self.attempts.iter().map(move |attempt| {
            let is_made = attempt.failure != Some(AttemptFailure::PassedOver);
            made = made.saturating_add(is_made.into());
            (is_made.then_some(made), attempt)
        })
    }
}

/// The path of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Through the relay, which may have used the gateway too.
    #[default]
    Relay,
    /// Through the gateway only.
    Gateway,
}

/// The result of a call or an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallClass {
    /// Answered.
    #[default]
    Success,
    /// An error of this class.
    Error(ErrorClass),
    /// The client disconnected first.
    ClientGone,
    /// Ended by the broker, for example because the time of the call was over.
    Broker,
    /// No target was available.
    NoTarget,
    /// An unknown class, in a record of another version of the broker.
    Unknown,
}

/// An unknown name of a class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be success, client_gone, broker, no_target or an error class: {0}")]
pub struct UnknownCallClass(UnknownErrorClass);

impl Default for CallRecord {
    fn default() -> Self {
        Self {
            v: VERSION,
            id: String::new(),
            at: BrokerTime::from_nanos(0),
            replica: None,
            via: Via::default(),
            pool: String::new(),
            session: String::new(),
            trace_ids: Vec::new(),
            model: None,
            sent_model: None,
            served_model: None,
            router: None,
            status: None,
            class: CallClass::default(),
            stream: false,
            first_byte_ms: None,
            ms: None,
            attempts: Vec::new(),
            attempts_left_out: 0,
            usage: None,
            cost: None,
            cache: Cow::Borrowed("none"),
            context: CallContext::default(),
        }
    }
}

impl CallRecord {
    /// The models by which the price is looked up, the best first.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        [&self.served_model, &self.sent_model, &self.model].into_iter().filter_map(|model| model.as_deref())
    }

    /// Whether it has this id: its own, or that of its session, a transaction, a decision or a trace.
    pub fn has_id(&self, id: &str) -> bool {
        if id.is_empty() {
            return false;
        }
        let of_attempt = |one: &CallAttempt| one.transaction == id || one.decision.as_deref() == Some(id);
        self.id == id || self.session == id || self.has_trace(id) || self.attempts.iter().any(of_attempt)
    }

    /// Whether this is one of its trace ids, or that of the trace under which it is exported.
    pub fn has_trace(&self, id: &str) -> bool {
        self.trace_ids.iter().any(|one| one == id)
            || trace_number(id).is_some_and(|number| number == made_trace(self.session_or_id()))
    }

    /// The text from which the trace id of a call without a `traceparent` is derived.
    pub fn session_or_id(&self) -> &str {
        if self.session.is_empty() { &self.id } else { &self.session }
    }
}

/// The longest text of a client or a vendor that is kept, in bytes, except for trace ids.
pub(super) const MAX_TEXT_BYTES: usize = 128;

/// The first [`MAX_TEXT_BYTES`] of a text, without control characters.
pub(crate) fn short<'a>(text: impl Into<Cow<'a, str>>) -> String {
    within(text.into(), MAX_TEXT_BYTES)
}

/// The same, of at most this many bytes.
pub(super) fn within(text: Cow<'_, str>, most: usize) -> String {
    // Without an early return, so that the compiler vectorizes it.
    let is_plain = |text: &str| text.bytes().fold(true, |is_plain, byte| is_plain & matches!(byte, b' '..=b'~'));
    // The usual case.
    if text.len() <= most && is_plain(&text) {
        return text.into_owned();
    }
    let end = (0..=text.len().min(most)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let kept = text.get(..end).unwrap_or_default();
    if is_plain(kept) {
        return kept.to_owned();
    }
    kept.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl CallClass {
    /// The name in metrics and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error(class) => class.name(),
            Self::ClientGone => "client_gone",
            Self::Broker => "broker",
            Self::NoTarget => "no_target",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Option<ErrorClass>> for CallClass {
    fn from(class: Option<ErrorClass>) -> Self {
        class.map_or(Self::Success, Self::Error)
    }
}

impl fmt::Display for CallClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for CallClass {
    type Err = UnknownCallClass;

    fn from_str(name: &str) -> Result<Self, UnknownCallClass> {
        let own = [Self::Success, Self::ClientGone, Self::Broker, Self::NoTarget];
        match own.into_iter().find(|class| class.name() == name) {
            Some(class) => Ok(class),
            None => name.parse().map(Self::Error).map_err(UnknownCallClass),
        }
    }
}

impl Serialize for CallClass {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for CallClass {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        // An unknown class must not make the whole record unusable.
        Ok(name.parse().unwrap_or(Self::Unknown))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_of_a_newer_version_costs_nothing_else_of_the_record() {
        let attempt = CallAttempt { class: CallClass::Success, status: Some(599), ..CallAttempt::default() };
        let record = CallRecord { attempts: vec![attempt.clone(), attempt], ..CallRecord::default() };
        let mut newer = serde_json::to_value(&record).unwrap();
        newer["class"] = json!("bored");
        newer["attempts"][1]["class"] = json!("bored");
        let read: CallRecord = serde_json::from_value(newer).unwrap();
        assert_eq!((read.class, read.attempts[0].class), (CallClass::Unknown, CallClass::Success));
        assert_eq!((read.attempts[1].class, read.attempts[1].status), (CallClass::Unknown, Some(599)));
        assert_eq!(serde_json::to_value(&read).unwrap()["class"], "unknown");
        assert!("bored".parse::<CallClass>().is_err(), "to ask for it is a mistake");
    }

    #[test]
    fn a_failure_of_a_newer_version_is_kept_as_it_is() {
        let written = json!({"attempts": [{"failure": "passed_over"}, {"failure": "bored"}, {"failure": null}, {}]});
        let read: CallRecord = serde_json::from_value(written).unwrap();
        let failures = || read.attempts.iter().map(|attempt| attempt.failure.clone());
        let bored = AttemptFailure::Broken("bored".into());
        assert!(failures().eq([Some(AttemptFailure::PassedOver), Some(bored), None, None]));
        assert_eq!(
            serde_json::to_value(failures().collect::<Vec<_>>()).unwrap(),
            json!(["passed_over", "bored", null, null])
        );
        assert!(failures().flatten().all(|failure| json!(failure.name()) == json!(failure)), "one name in all places");
    }

    #[test]
    fn the_json_form_is_stable() {
        let attempt = CallAttempt {
            router: "/llm/a/".to_owned(),
            decision: Some("x-1".to_owned()),
            p: Some(0.5),
            why: Some("random".to_owned()),
            transaction: "X_1_0_1".to_owned(),
            status: Some(503),
            class: CallClass::Error(ErrorClass::Overloaded),
            ms: Some(12),
            tries: 1,
            ..CallAttempt::default()
        };
        let record = CallRecord {
            id: "X_1_0_0".to_owned(),
            session: "X_1_0_0".to_owned(),
            pool: "/llm/".to_owned(),
            trace_ids: vec!["t".to_owned()],
            status: Some(503),
            class: CallClass::Error(ErrorClass::Overloaded),
            attempts: vec![attempt],
            usage: Some(Usage { input_uncached: 3, ..Usage::default() }),
            ..CallRecord::default()
        };
        let value = serde_json::to_value(&record).unwrap();
        assert_eq!(
            value,
            json!({
                "v": 1, "id": "X_1_0_0", "at": "1970-01-01T00:00:00Z", "via": "relay", "pool": "/llm/", "session": "X_1_0_0",
                "trace_ids": ["t"], "status": 503, "class": "overloaded", "stream": false,
                "attempts": [{"router": "/llm/a/", "decision": "x-1", "p": 0.5, "why": "random", "transaction": "X_1_0_1",
                    "status": 503, "class": "overloaded", "ms": 12, "tries": 1}],
                "usage": {"input_uncached": 3, "cache_read": 0, "cache_write": 0, "cache_write_1h": 0, "output": 0,
                    "reasoning": 0, "audio_input": 0, "audio_output": 0, "estimated": false},
                "cache": "none",
            })
        );
        assert_eq!(serde_json::from_value::<CallRecord>(value).unwrap(), record);
        for id in ["X_1_0_0", "X_1_0_1", "x-1", "t"] {
            assert!(record.has_id(id), "{id}");
        }
        assert!(!record.has_id("") && !record.has_id("X"));
    }

    #[test]
    fn every_class_is_read_by_its_name() {
        let own = [CallClass::Success, CallClass::ClientGone, CallClass::Broker, CallClass::NoTarget];
        for class in own.into_iter().chain(ErrorClass::ALL.into_iter().map(CallClass::Error)) {
            assert_eq!(class.name().parse(), Ok(class));
        }
        assert!("good".parse::<CallClass>().unwrap_err().to_string().contains("overloaded"));
    }

    #[test]
    fn texts_are_short_and_steer_nothing() {
        assert_eq!(short("gpt-4o\u{1b}[31m\n"), "gpt-4o\u{fffd}[31m\u{fffd}");
        assert_eq!(short("ä".repeat(100)).len(), 128);
    }
}
