//! The query for finished calls, of `/api/v1/calls`, the bus and `broker why`.

use std::str::FromStr;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use super::trace_ids::{made_trace, trace_number};
use super::{CallClass, CallRecord, KeptCall, trace_ids};
use types::time::BrokerTime;

/// Calls of a page: by default, and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 500;

/// A query as written; calls must match all fields that are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallQuery {
    /// Any id of the call: its own, a session, a transaction, a decision, a trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// A router that was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// A model that was asked for, sent, or named by the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `429`, or `5xx`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// RFC 3339; calls that ended then or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// RFC 3339; calls that ended before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The number of calls of a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The start of the page: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryFault(String);

/// One page of finished calls, the newest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CallsPage {
    pub replica: String,
    pub calls: Vec<CallRecord>,
    /// The cursor of the next page; null on the last one.
    pub next: Option<String>,
}

/// A valid query.
#[derive(Debug, Clone, Default)]
pub struct CallFilter {
    query: CallQuery,
    trace: Option<String>,
    id: Option<String>,
    status: Option<StatusFilter>,
    class: Option<CallClass>,
    since: Option<BrokerTime>,
    until: Option<BrokerTime>,
    pub(super) limit: usize,
    /// Only calls with a smaller number.
    pub(super) before: Option<u64>,
    /// Ids that must be in the JSON of a call, or in its trace id, which is derived from its session.
    keys: Vec<(Finder<'static>, Option<u128>)>,
    /// Texts that must be in the JSON of a call.
    texts: Vec<Finder<'static>>,
}

impl CallQuery {
    /// The fields that a query may have, for messages.
    const NAMES: &str = "id, trace, session, pool, router, model, status, class, since, until, limit, cursor";

    /// Parses the query of a URL, without its question mark.
    ///
    /// # Errors
    /// It has an unknown field, or one twice.
    pub fn of_url(query: &str) -> Result<Self, QueryFault> {
        let mut fields = serde_json::Map::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = value.replace('+', " ");
            let value = percent_encoding::percent_decode_str(&plain).decode_utf8_lossy().into_owned();
            if fields.insert(name.to_owned(), value.into()).is_some() {
                return Err(QueryFault(format!("{} is given twice", super::record::short(name))));
            }
        }
        Self::of_json(&serde_json::Value::Object(fields))
    }

    /// Parses the body of a request on the bus; an empty one requests the last calls.
    ///
    /// # Errors
    /// It is not a JSON object, or has unknown fields.
    pub fn of_body(body: &[u8]) -> Result<Self, QueryFault> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let value = serde_json::from_slice(body).map_err(|_| QueryFault("must be a JSON object".to_owned()))?;
        Self::of_json(&value)
    }

    fn of_json(value: &serde_json::Value) -> Result<Self, QueryFault> {
        if !value.is_object() {
            return Err(QueryFault("must be a JSON object".to_owned()));
        }
        Self::deserialize(value).map_err(|_| {
            let known = Self::NAMES;
            let mut wrong = value.as_object().into_iter().flat_map(|fields| fields.keys());
            let wrong = wrong.find(|name| !known.split(", ").any(|known| known == name.as_str()));
            let wrong = wrong.map_or("a value is not a text".to_owned(), |name| {
                format!("no such field: {}", super::record::short(name))
            });
            QueryFault(format!("{wrong}; a query has {known}"))
        })
    }

    /// Checks the values. `replica` is this one's id, which cursors carry.
    ///
    /// # Errors
    /// Everything that is invalid.
    pub fn filter(self, replica: &str) -> Result<CallFilter, QueryFault> {
        let mut faults = Vec::new();
        let status = value(
            "status",
            &self.status,
            |text| text.parse().map_err(|fault: NotAStatus| fault.to_string()),
            &mut faults,
        );
        let class = value(
            "class",
            &self.class,
            |text| text.parse().map_err(|fault: super::UnknownCallClass| fault.to_string()),
            &mut faults,
        );
        let moment = |text: &str| {
            serde_json::from_value(text.into()).map_err(|_| "must be a time such as 2026-01-31T12:00:00Z".to_owned())
        };
        let since = value("since", &self.since, moment, &mut faults);
        let until = value("until", &self.until, moment, &mut faults);
        let limit = |text: &str| {
            let number = text.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
            number.ok_or(format!("must be a whole number from 1 to {MAX_LIMIT}"))
        };
        let limit = value("limit", &self.limit, limit, &mut faults).unwrap_or(DEFAULT_LIMIT);
        let cursor = |text: &str| {
            let number = text.strip_prefix(replica).and_then(|rest| rest.strip_prefix('-')?.parse().ok());
            number.ok_or(format!(
                "must be \"next\" of a page of replica {replica}; without a cursor the newest calls are returned"
            ))
        };
        let before = value("cursor", &self.cursor, cursor, &mut faults);
        if !faults.is_empty() {
            return Err(QueryFault(faults.join("; ")));
        }
        let key = |text: &Option<String>| text.as_deref().map(|text| trace_ids::searched(text).unwrap_or_default());
        let (trace, id) = (key(&self.trace), key(&self.id));
        let keys = [&trace, &id].into_iter().flatten().filter(|key| !key.is_empty());
        let keys = keys.map(|key| (Finder::new(&json_string(key)).into_owned(), trace_number(key))).collect();
        let named = [&self.session, &self.pool, &self.router, &self.model].into_iter().flatten();
        let mut texts: Vec<_> = named.filter(|text| !text.is_empty()).map(|text| json_string(text)).collect();
        texts.extend(status.map(|status| match status {
            StatusFilter::Exactly(number) | StatusFilter::Class(number) => format!("\"status\":{number}"),
        }));
        texts.extend(class.map(|class| format!("\"class\":\"{class}\"")));
        let texts = texts.iter().map(|text| Finder::new(text).into_owned()).collect();
        Ok(CallFilter { trace, id, status, class, since, until, limit, before, keys, texts, query: self })
    }

    /// The cursor of a page that begins below this number.
    pub fn cursor(replica: &str, before: u64) -> String {
        format!("{replica}-{before}")
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn value<T>(
    name: &str,
    text: &Option<String>,
    read: impl FnOnce(&str) -> Result<T, String>,
    faults: &mut Vec<String>,
) -> Option<T> {
    let text = text.as_deref()?.trim();
    read(text).map_err(|fault| faults.push(format!("{name} {fault}"))).ok()
}

impl CallFilter {
    /// Whether a call may match, from a search in its JSON without parsing it.
    pub(super) fn may_want(&self, call: &KeptCall) -> bool {
        let is_in_time = || {
            let at = (self.since.is_some() || self.until.is_some()).then(|| call.at()).flatten();
            self.since.is_none_or(|since| at >= Some(since)) && self.until.is_none_or(|until| at < Some(until))
        };
        let has_key = |(key, trace): &(Finder<'_>, Option<u128>)| {
            key.find(call.json()).is_some()
                || trace.is_some_and(|trace| call.session().is_some_and(|session| trace == made_trace(&session)))
        };
        self.texts.iter().all(|text| text.find(call.json()).is_some()) && self.keys.iter().all(has_key) && is_in_time()
    }

    /// Whether a call matches.
    pub fn wants(&self, record: &CallRecord) -> bool {
        let same = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let Self { query, trace, id, status, class, since, until, .. } = self;
        let router = |wanted: &String| record.attempts.iter().any(|one| one.router == *wanted);
        same(&query.session, &record.session)
            && same(&query.pool, &record.pool)
            && query.router.as_ref().is_none_or(router)
            && query.model.as_deref().is_none_or(|wanted| record.models().any(|model| model == wanted))
            && trace.as_deref().is_none_or(|wanted| record.has_trace(wanted))
            && id.as_deref().is_none_or(|wanted| record.has_id(wanted))
            && status.is_none_or(|wanted| record.status.is_some_and(|status| wanted.matches(status.into())))
            && class.is_none_or(|wanted| record.class == wanted)
            && since.is_none_or(|since| record.at >= since)
            && until.is_none_or(|until| record.at < until)
    }
}

/// A filter for statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    Exactly(u64),
    /// All statuses with this first digit: `5xx`.
    Class(u64),
}

impl StatusFilter {
    pub const fn matches(self, status: u64) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == status,
            Self::Class(digit) => digit == status / 100,
        }
    }
}

/// An invalid filter for statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a status from 100 to 599 such as 429, or a class from 1xx to 5xx")]
pub struct NotAStatus;

impl FromStr for StatusFilter {
    type Err = NotAStatus;

    fn from_str(text: &str) -> Result<Self, NotAStatus> {
        let number = |digits: &str, length: usize| {
            let plain = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let filter = match text.to_ascii_lowercase().strip_suffix("xx") {
            Some(digit) => number(digit, 1).filter(|digit| (1..=5).contains(digit)).map(Self::Class),
            None => number(text, 3).filter(|status| (100..=599).contains(status)).map(Self::Exactly),
        };
        filter.ok_or(NotAStatus)
    }
}

#[cfg(test)]
mod tests {
    use super::super::CallAttempt;
    use super::*;
    use types::outcome::ErrorClass;

    fn record() -> CallRecord {
        let attempt = |router: &str| CallAttempt { router: router.to_owned(), ..CallAttempt::default() };
        CallRecord {
            id: "S_1_0_0".to_owned(),
            session: "S_1_0_0".to_owned(),
            pool: "/llm/".to_owned(),
            trace_ids: vec!["my trace".to_owned()],
            model: Some("gpt-4o".to_owned()),
            served_model: Some("gpt-4o-2024-08-06".to_owned()),
            status: Some(429),
            class: CallClass::Error(ErrorClass::RateLimited),
            at: BrokerTime::from_nanos(1_800_000_000_000_000_000),
            attempts: vec![attempt("/llm/a/"), attempt("/llm/b/")],
            ..CallRecord::default()
        }
    }

    #[test]
    fn each_field_selects() {
        let exported = format!("trace={:032x}", made_trace("S_1_0_0"));
        for (query, wanted) in [
            ("", true),
            ("trace=my+trace", true),
            ("trace=my%20trace", true),
            (exported.as_str(), true),
            ("trace=00000000000000000000000000000001", false),
            ("trace=my", false),
            ("session=S_1_0_0&pool=/llm/", true),
            ("session=S_1_0_1", false),
            ("router=%2Fllm%2Fa%2F", true),
            ("router=/llm/c/", false),
            ("model=gpt-4o", true),
            ("model=gpt-4o-2024-08-06", true),
            ("model=gpt-4", false),
            ("status=429", true),
            ("status=4xx", true),
            ("status=5xx", false),
            ("class=rate_limited", true),
            ("class=success", false),
            ("since=2027-01-15T08:00:00Z", true),
            ("until=2027-01-15T08:00:00Z", false),
            ("since=2027-01-15T08:00:01Z", false),
            ("id=my trace", true),
            ("id=S_1_0_0", true),
            ("id=", false),
        ] {
            let filter = CallQuery::of_url(query).unwrap().filter("r").unwrap();
            assert_eq!(filter.wants(&record()), wanted, "{query}");
            assert!(!wanted || filter.may_want(&KeptCall::from_record(&record())), "{query}");
        }
    }

    #[test]
    fn what_is_wrong_is_all_said() {
        let fault = |query: &str| match CallQuery::of_url(query).and_then(|query| query.filter("r")) {
            Err(fault) => fault.to_string(),
            Ok(_) => panic!("{query} passes"),
        };
        let all = fault("status=6&class=odd&since=now&until=x&limit=0&cursor=other-5");
        for words in
            ["status must be", "class must be", "since must be", "until must be", "limit must be", "cursor must be"]
        {
            assert!(all.contains(words), "{all}");
        }
        assert!(fault("colour=red").contains("no such field: colour; a query has id, trace"));
        assert_eq!(fault("status=4xx&status=5xx"), "status is given twice");
        assert!(CallQuery::of_body(b"[]").is_err() && CallQuery::of_body(br#"{"id":5}"#).is_err());
        assert_eq!(CallQuery::of_body(b""), Ok(CallQuery::default()));
        let cursor = CallQuery { cursor: Some(CallQuery::cursor("r", 7)), ..CallQuery::default() };
        assert_eq!(cursor.filter("r").unwrap().before, Some(7));
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for text in
            ["foo", "", "xx", "6xx", "0xx", "55xx", "5x", "5xxx", "42", "4290", "600", "099", "+42", "-42", "4 9"]
        {
            assert_eq!(text.parse::<StatusFilter>(), Err(NotAStatus), "{text:?}");
        }
        assert_eq!("5XX".parse(), Ok(StatusFilter::Class(5)));
        assert_eq!("529".parse(), Ok(StatusFilter::Exactly(529)));
    }
}
