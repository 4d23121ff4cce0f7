//! A call, from an entry of the gateway's log: the few fields that are shown, cut to fit a screen.
//!
//! Queries, URLs and bodies are never shown: the gateway does not mask keys in a query. The entry itself is not kept, so that
//! calls that wait for others take little memory.

use std::fmt;
use std::time::Duration;

use super::super::clean;
use crate::calls::cost::dollars;
use crate::calls::{CallRecord, from_log};
use crate::clock::millis;
use balancer::retry::{AttemptResult, RetryDecision, retry_decision};
use gecholog_protocol::logged_call::LoggedCall;
use llm::Usage;
use serde_json::Value;
use types::outcome::{ErrorClass, LogEntry, SetBy};
use types::time::{BrokerTime, GatewayTime};

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
    pub(super) status: Option<u16>,
    /// Why the relay got no good answer, if it did not.
    pub(super) broken: Option<String>,
    why: String,
    /// The upstream's time in milliseconds.
    took: Option<u64>,
    pub(super) used: CallUsage,
    started: Option<GatewayTime>,
    stopped: Option<GatewayTime>,
}

impl Call {
    /// From an entry of the log.
    pub(super) fn from_entry(logged: &LoggedCall<'_>, wanted: bool) -> Self {
        let LogEntry { answer, details, session, ingress, started, stopped, .. } = logged.entry;
        let stamp = logged.stamp();
        let why = match (stamp.why, stamp.would) {
            (Some(why), Some(would)) => format!("would be {would} ({why})"),
            (Some(why), None) => why,
            (None, _) => "no stamp".to_owned(),
        };
        Self {
            wanted,
            session: text(session),
            transaction: text(answer.transaction),
            ingress: text(ingress),
            router: text(answer.served_path),
            status: status(&logged.entry),
            broken: logged.relay_error().as_deref().map(short),
            why: short(&why),
            took: details.latency.map(millis),
            used: CallUsage::from_entry(logged),
            started,
            stopped,
        }
    }

    /// The call in one line; `attempt` is the number of one that follows others of the same call.
    pub(super) fn line(&self, attempt: Option<u32>) -> String {
        let follows = attempt.map(|number| format!("\u{21b3} attempt {number} ")).unwrap_or_default();
        [
            self.over(),
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
        let Some(status) = self.status else { return false };
        let answered = AttemptResult::Answered {
            status,
            error_class: ErrorClass::of_status(status),
            missing: None,
            other_account_may_answer: false,
        };
        let leads_on = retry_decision(answered, Some(SetBy::Target), None) != RetryDecision::DoNotRetry;
        self.broken.is_none() && !leads_on
    }

    /// When it ended, by the log.
    pub(super) fn over(&self) -> String {
        self.stopped.map_or("-".to_owned(), |stopped| stopped.timestamp().to_string())
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
    fn from_entry(logged: &LoggedCall<'_>) -> Self {
        let record = from_log::any_record(logged, "", None, BrokerTime::from_nanos(0));
        Self { nano_usd: relay_fields(logged)["cost"]["nano_usd"].as_u64(), ..Self::from_record(&record) }
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

/// What only the relay writes into an entry; null in any other.
pub(super) fn relay_fields(logged: &LoggedCall<'_>) -> Value {
    logged.relay_call().and_then(|call| serde_json::from_slice(call).ok()).unwrap_or_default()
}

/// From the first that came to the last that left.
pub(super) fn span<'a>(calls: impl Iterator<Item = &'a Call> + Clone) -> Option<Duration> {
    let started = calls.clone().filter_map(|call| call.started).min()?;
    let stopped = calls.filter_map(|call| call.stopped).max()?;
    stopped.as_nanos().checked_sub(started.as_nanos()).map(Duration::from_nanos)
}

/// The status of the upstream, else that of the client's answer.
pub(super) fn status(entry: &LogEntry<'_>) -> Option<u16> {
    entry.answer.status.or(entry.egress_status)
}

pub(super) fn number(value: Option<impl fmt::Display>, unit: &str) -> String {
    value.map_or("-".to_owned(), |value| format!("{value}{unit}"))
}

fn text(value: Option<&str>) -> String {
    value.map_or("-".to_owned(), short)
}

fn short(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARS) else { return clean(text) };
    clean(text.get(..end).unwrap_or_default()) + "\u{2026}"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use gecholog_protocol::log_entry;

    fn call(entry: &Value) -> Call {
        Call::from_entry(&log_entry::read_call(&serde_json::to_vec(entry).unwrap()).unwrap(), true)
    }

    #[test]
    fn a_call_is_one_line_without_anything_that_steers_a_terminal_or_is_secret() {
        let entry = json!({
            "session_id": "s-1", "transaction_id": "t-1",
            "ingress_egress_timer": {"stop": "2026-01-01T00:00:00Z"},
            "request": {
                "gl_path": "/a/", "original_gl_path": "/in/", "ingress_query_parameters": {"key": ["s3cret"]},
                "broker": {"router": "/a/", "why": "random,\u{1b}[31m 2 of 2 serve"},
            },
            "response": {
                "gl_path": "/a/", "inbound_status_code": 429, "outbound_inbound_timer": {"start": "2026-01-01T00:00:00Z", "duration": 12},
                "inbound_payload": {"model": "gpt-4o", "usage": {"prompt_tokens": 12, "completion_tokens": 5}},
                "error": [{"name": "/a/", "details": "https://h/?key=s3cret"}],
            },
        });
        let mut call = call(&entry);
        call.used.nano_usd = Some(80_000);
        let line = |follows| {
            format!(
                "2026-01-01T00:00:00Z  t-1  /in/ {follows}-> /a/  429  12 ms  12+5 tokens gpt-4o $0.00008  random,\u{fffd}[31m 2 of 2 serve"
            )
        };
        assert_eq!(call.line(None), line(""));
        assert_eq!(call.line(Some(2)), line("\u{21b3} attempt 2 "));
        assert_eq!(call.row().join("|"), "/a/|429|12 ms|12+5 tokens gpt-4o $0.00008|random,\u{fffd}[31m 2 of 2 serve");
        assert_eq!(self::call(&json!({})).line(None), "-  -  - -> -  -  -  -  no stamp");
    }

    #[test]
    fn how_an_attempt_broke_stands_before_why_it_was_made() {
        let entry = json!({
            "request": {"broker": {"why": "the first"}},
            "response": {"gl_path": "/a/", "error": [{"name": "relay", "details": "gave no answer in time"}]},
        });
        assert_eq!(call(&entry).row()[4], "gave no answer in time; the first");
    }

    #[test]
    fn nothing_is_longer_than_a_few_lines() {
        let call = call(&json!({"session_id": "\u{fc}".repeat(5_000)}));
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
            assert_eq!(call(&entry).ends_its_call(), ends, "{status}");
        }
        let broken =
            json!({"response": {"inbound_status_code": 200, "error": [{"name": "relay", "details": "broke off"}]}});
        assert!(!call(&broken).ends_its_call() && !call(&json!({})).ends_its_call());
    }
}
