//! A call, from an entry of the gateway's log: the few fields that are shown, cut to fit a screen.
//!
//! Queries, URLs and bodies are never shown: the gateway does not mask keys in a query. The entry itself is not kept, so that
//! calls that wait for others take little memory.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::super::clean;
use crate::calls::cost::dollars;
use crate::calls::{CallRecord, from_log};
use balancer::retry::{AttemptResult, RetryDecision, retry_decision};
use gecholog_protocol::log_entry;
use llm::Usage;
use types::outcome::{ErrorClass, NamedBy};
use types::time::BrokerTime;

/// Characters of a text that are shown.
const MAX_TEXT_CHARS: usize = 300;

/// The fields of a call that are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Call {
    /// Whether it passed the filters.
    pub(super) wanted: bool,
    pub(super) session: String,
    pub(super) transaction: String,
    pub(super) ingress: String,
    pub(super) router: String,
    pub(super) status: Option<u64>,
    /// Why the relay got no good answer, if it did not.
    pub(super) broken: Option<String>,
    why: String,
    /// The upstream's time in milliseconds.
    took: Option<u64>,
    used: CallUsage,
    over: String,
    started: Option<Timestamp>,
    stopped: Option<Timestamp>,
}

impl Call {
    /// Parses an entry.
    pub(super) fn from_entry(entry: &Value, wanted: bool) -> Self {
        let (request, response, timer) = (&entry["request"], &entry["response"], &entry["ingress_egress_timer"]);
        let stamp = &request["broker"];
        let why = match (stamp["why"].as_str(), stamp["would"].as_str()) {
            (Some(why), Some(would)) => format!("would be {would} ({why})"),
            (Some(why), None) => why.to_owned(),
            (None, _) => "no stamp".to_owned(),
        };
        let errors = response["error"].as_array().into_iter().flatten();
        let mut of_the_relay = errors.filter(|error| error["name"] == "relay");
        let moment = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        Self {
            wanted,
            session: text(&entry["session_id"]),
            transaction: text(&entry["transaction_id"]),
            ingress: text(ingress(entry)),
            router: text(&response["gl_path"]),
            status: status(entry),
            broken: of_the_relay.next().and_then(|error| error["details"].as_str()).map(short),
            why: short(&why),
            took: response["outbound_inbound_timer"]["duration"].as_u64(),
            used: CallUsage::default(),
            over: text(&timer["stop"]),
            started: moment(&timer["start"]),
            stopped: moment(&timer["stop"]),
        }
    }

    /// The same, with its usage.
    pub(super) fn with(self, used: CallUsage) -> Self {
        Self { used, ..self }
    }

    /// The call in one line; `attempt` is the number of one that follows others of the same call.
    pub(super) fn line(&self, attempt: Option<u32>) -> String {
        let follows = attempt.map(|number| format!("\u{21b3} attempt {number} ")).unwrap_or_default();
        [
            self.over.clone(),
            self.transaction.clone(),
            format!("{} {follows}-> {}", self.ingress, self.router),
            number(self.status, ""),
            number(self.took, " ms"),
            self.used.to_string(),
            self.why.clone(),
        ]
        .join("  ")
    }

    /// Its columns in a row of a group: router, status, time, tokens, and the reason.
    pub(super) fn row(&self) -> [String; 5] {
        let broken = self.broken.as_ref().map(|broken| format!("{broken}; ")).unwrap_or_default();
        [
            self.router.clone(),
            number(self.status, ""),
            number(self.took, " ms"),
            self.used.to_string(),
            format!("{broken}{}", self.why),
        ]
    }

    /// Whether an answer like this one ends a call of the relay, which does not retry it. A branch's own `on_status_codes` may
    /// make it retry such answers; then further attempts are shown separately.
    pub(super) fn ends_its_call(&self) -> bool {
        let Some(status) = self.status.and_then(|status| u16::try_from(status).ok()) else { return false };
        let answered = AttemptResult::Answered {
            status,
            error_class: ErrorClass::of_status(status),
            missing: None,
            not_for_account: false,
        };
        let leads_on = retry_decision(answered, Some(NamedBy::Target), None) != RetryDecision::DoNotRetry;
        self.broken.is_none() && !leads_on
    }

    /// When it ended, by the log.
    pub(super) fn over(&self) -> &str {
        &self.over
    }
}

/// The usage of a call, its model and its cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CallUsage {
    usage: Option<Usage>,
    model: Option<String>,
    nano_usd: Option<u64>,
}

impl CallUsage {
    /// From an entry: its answer, and the cost if the relay wrote it.
    pub(super) fn from_entry(entry: &Value, bytes: &[u8]) -> Self {
        let Ok(logged) = log_entry::read_call(bytes) else { return Self::default() };
        let record = from_log::any_record(&logged, "", None, BrokerTime::from_nanos(0));
        Self { nano_usd: entry["request"]["broker_call"]["cost"]["nano_usd"].as_u64(), ..Self::from_record(&record) }
    }

    /// From the record of a broker.
    pub(super) fn from_record(record: &CallRecord) -> Self {
        let nano_usd = record.cost.as_ref().map(|cost| cost.nano_usd);
        Self { usage: record.usage, model: record.models().next().map(short), nano_usd }
    }

    pub(super) const fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }
}

/// `12+5 tokens gpt-4o $0.000125`, as far as it is known.
impl fmt::Display for CallUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.usage {
            None => f.write_str("-")?,
            Some(usage) => {
                let about = if usage.estimated { "~" } else { "" };
                write!(f, "{about}{}+{} tokens", usage.input(), usage.output)?;
            }
        }
        self.model.iter().try_for_each(|model| write!(f, " {model}"))?;
        self.nano_usd.map_or(Ok(()), |nano| write!(f, " {}", dollars(nano)))
    }
}

/// From the first that came to the last that left.
pub(super) fn span<'a>(calls: impl Iterator<Item = &'a Call> + Clone) -> Option<Duration> {
    let started = calls.clone().filter_map(|call| call.started).min()?;
    let stopped = calls.filter_map(|call| call.stopped).max()?;
    Duration::try_from(stopped.duration_since(started)).ok()
}

/// The ingress of a call, if the entry has none.
pub(super) fn ingress(entry: &Value) -> &Value {
    let original = &entry["request"]["original_gl_path"];
    if original.is_null() { &entry["request"]["gl_path"] } else { original }
}

/// The status of the upstream, else that of the client's answer.
pub(super) fn status(entry: &Value) -> Option<u64> {
    let response = &entry["response"];
    response["inbound_status_code"].as_u64().or(response["egress_status_code"].as_u64())
}

pub(super) fn number(value: Option<u64>, unit: &str) -> String {
    value.map_or("-".to_owned(), |value| format!("{value}{unit}"))
}

fn text(value: &Value) -> String {
    value.as_str().map_or("-".to_owned(), short)
}

fn short(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARS) else { return clean(text) };
    clean(text.get(..end).unwrap_or_default()) + "\u{2026}"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_one_line_without_anything_that_steers_a_terminal_or_is_secret() {
        let entry = json!({
            "session_id": "s-1", "transaction_id": "t-1\u{1b}[31m",
            "ingress_egress_timer": {"stop": "2026-01-01T00:00:00Z"},
            "request": {
                "gl_path": "/a/", "original_gl_path": "/in/", "ingress_query_parameters": {"key": ["s3cret"]},
                "broker": {"router": "/a/", "why": "random, 2 of 2 serve"},
            },
            "response": {
                "gl_path": "/a/", "inbound_status_code": 429, "outbound_inbound_timer": {"duration": 12},
                "inbound_payload": {"model": "gpt-4o", "usage": {"prompt_tokens": 12, "completion_tokens": 5}},
                "error": [{"name": "/a/", "details": "https://h/?key=s3cret"}],
            },
        });
        let bytes = serde_json::to_vec(&entry).unwrap();
        let used = CallUsage { nano_usd: Some(80_000), ..CallUsage::from_entry(&entry, &bytes) };
        let call = Call::from_entry(&entry, true).with(used);
        let line = |follows| {
            format!(
                "2026-01-01T00:00:00Z  t-1\u{fffd}[31m  /in/ {follows}-> /a/  429  12 ms  12+5 tokens gpt-4o $0.00008  random, 2 of 2 serve"
            )
        };
        assert_eq!(call.line(None), line(""));
        assert_eq!(call.line(Some(2)), line("\u{21b3} attempt 2 "));
        assert_eq!(call.row().join("|"), "/a/|429|12 ms|12+5 tokens gpt-4o $0.00008|random, 2 of 2 serve");
        assert_eq!(Call::from_entry(&json!({}), true).line(None), "-  -  - -> -  -  -  -  no stamp");
    }

    #[test]
    fn how_an_attempt_broke_stands_before_why_it_was_made() {
        let entry = json!({
            "request": {"broker": {"why": "the first"}},
            "response": {"gl_path": "/a/", "error": [{"name": "relay", "details": "gave no answer in time"}]},
        });
        assert_eq!(Call::from_entry(&entry, true).row()[4], "gave no answer in time; the first");
    }

    #[test]
    fn nothing_is_longer_than_a_few_lines() {
        let call = Call::from_entry(&json!({"session_id": "\u{fc}".repeat(5_000)}), true);
        assert_eq!(call.session.chars().count(), MAX_TEXT_CHARS + 1);
    }

    #[test]
    fn what_the_relay_passes_on_ends_a_call() {
        for (status, ends) in [
            (200, true),
            (302, true),
            (400, true),
            (413, true),
            (422, true),
            (401, false),
            (404, false),
            (408, false),
            (409, false),
            (424, false),
            (425, false),
            (429, false),
            (498, false),
            (500, false),
            (529, false),
        ] {
            let entry = json!({"response": {"inbound_status_code": status}});
            assert_eq!(Call::from_entry(&entry, true).ends_its_call(), ends, "{status}");
        }
        let broken =
            json!({"response": {"inbound_status_code": 200, "error": [{"name": "relay", "details": "broke off"}]}});
        assert!(
            !Call::from_entry(&broken, true).ends_its_call() && !Call::from_entry(&json!({}), true).ends_its_call()
        );
    }
}
