//! `broker watch`: one line per finished call, from the gateway's own log. It asks no broker.
//!
//! Queries, URLs and bodies are never shown: the gateway does not mask keys that stand in a query.

use std::io::Write as _;

use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;

use super::{clean, connect, run};
use crate::config::Operator;

/// Which calls.
#[derive(Debug, Clone, Default, Args)]
pub struct WatchArgs {
    /// Only calls that this router served, or that were meant for it
    #[arg(long, value_name = "PATH")]
    pub router: Option<String>,
    /// Only answers with this status: 429, or 5xx
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// Only calls of this ingress
    #[arg(long, value_name = "PATH")]
    pub pool: Option<String>,
    /// Only calls of this session, in their order
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Only calls whose header BROKER_TRACE_HEADER (X-Trace-Id) says this
    #[arg(long, value_name = "TEXT")]
    pub trace: Option<String>,
}

impl WatchArgs {
    /// Shows calls until the bus goes away or nobody reads.
    ///
    /// # Errors
    /// The bus does not answer.
    pub fn run(&self, operator: &Operator) -> anyhow::Result<()> {
        run(async {
            let client = connect(operator).await?;
            let mut entries = client.subscribe(operator.nats.logger_subject.clone()).await?;
            while let Some(entry) = entries.next().await {
                let Ok(entry) = serde_json::from_slice::<Value>(&entry.payload) else { continue };
                if !self.wants(&entry, &operator.trace_header) {
                    continue;
                }
                // Whoever reads may have read enough and gone away.
                let mut out = std::io::stdout().lock();
                if writeln!(out, "{}", line(&entry)).and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn wants(&self, entry: &Value, trace_header: &str) -> bool {
        let (request, response) = (&entry["request"], &entry["response"]);
        let same = |wanted: &Option<String>, found: &[&Value]| {
            wanted.as_deref().is_none_or(|wanted| found.iter().any(|found| found.as_str() == Some(wanted)))
        };
        same(&self.router, &[&response["gl_path"], &request["broker"]["router"]])
            && same(&self.pool, &[ingress(entry)])
            && same(&self.session, &[&entry["session_id"]])
            && self.status.as_deref().is_none_or(|wanted| matches(wanted, status(entry)))
            && self.trace.as_deref().is_none_or(|wanted| header(request, trace_header).any(|value| value == wanted))
    }
}

/// The values of a header that the client sent.
fn header<'a>(request: &'a Value, name: &'a str) -> impl Iterator<Item = &'a str> {
    let headers = request["ingress_headers"].as_object().into_iter().flatten();
    let named = headers.filter(move |(other, _)| other.eq_ignore_ascii_case(name));
    named.flat_map(|(_, values)| values.as_array().into_iter().flatten()).filter_map(Value::as_str)
}

fn ingress(entry: &Value) -> &Value {
    let original = &entry["request"]["original_gl_path"];
    if original.is_null() { &entry["request"]["gl_path"] } else { original }
}

fn status(entry: &Value) -> Option<u64> {
    let response = &entry["response"];
    response["inbound_status_code"].as_u64().or(response["egress_status_code"].as_u64())
}

/// `429` is that one, `5xx` all of its hundred.
fn matches(wanted: &str, status: Option<u64>) -> bool {
    let Some(status) = status else { return false };
    match wanted.to_ascii_lowercase().strip_suffix("xx") {
        Some(hundred) => hundred.parse() == Ok(status / 100),
        None => wanted.parse() == Ok(status),
    }
}

/// A call in one line.
fn line(entry: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or("-".to_owned(), clean);
    let (request, response) = (&entry["request"], &entry["response"]);
    let stamp = &request["broker"];
    let number = |value: Option<u64>, unit: &str| value.map_or("-".to_owned(), |value| format!("{value}{unit}"));
    let why = match (stamp["why"].as_str(), stamp["would"].as_str()) {
        (Some(why), Some(would)) => format!("would be {} ({})", clean(would), clean(why)),
        (Some(why), None) => clean(why),
        (None, _) => "no stamp".to_owned(),
    };
    [
        text(&entry["ingress_egress_timer"]["stop"]),
        text(&entry["transaction_id"]),
        format!("{} -> {}", text(ingress(entry)), text(&response["gl_path"])),
        number(status(entry), ""),
        number(response["outbound_inbound_timer"]["duration"].as_u64(), " ms"),
        number(response["inbound_payload"]["usage"]["completion_tokens"].as_u64(), " tokens"),
        why,
    ]
    .join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> Value {
        json!({
            "session_id": "s-1", "transaction_id": "t-1\u{1b}[31m",
            "ingress_egress_timer": {"stop": "2026-01-01T00:00:00Z"},
            "request": {
                "gl_path": "/a/", "original_gl_path": "/in/", "ingress_headers": {"X-Trace-Id": ["mine"]},
                "ingress_query_parameters": {"key": ["s3cret"]},
                "broker": {"router": "/a/", "why": "random, 2 of 2 serve"},
            },
            "response": {
                "gl_path": "/a/", "inbound_status_code": 429, "outbound_inbound_timer": {"duration": 12},
                "inbound_payload": {"usage": {"completion_tokens": 5}},
            },
        })
    }

    #[test]
    fn a_call_is_one_line_without_anything_that_steers_a_terminal_or_is_secret() {
        assert_eq!(
            line(&entry()),
            "2026-01-01T00:00:00Z  t-1\u{fffd}[31m  /in/ -> /a/  429  12 ms  5 tokens  random, 2 of 2 serve"
        );
        assert_eq!(line(&json!({})), "-  -  - -> -  -  -  -  no stamp");
    }

    #[test]
    fn filters() {
        let some = |text: &str| Some(text.to_owned());
        let none = WatchArgs::default;
        for (args, wanted) in [
            (none(), true),
            (WatchArgs { router: some("/a/"), ..none() }, true),
            (WatchArgs { router: some("/b/"), ..none() }, false),
            (WatchArgs { pool: some("/in/"), ..none() }, true),
            (WatchArgs { pool: some("/a/"), ..none() }, false),
            (WatchArgs { status: some("429"), ..none() }, true),
            (WatchArgs { status: some("4xx"), ..none() }, true),
            (WatchArgs { status: some("5XX"), ..none() }, false),
            (WatchArgs { session: some("s-1"), ..none() }, true),
            (WatchArgs { session: some("s-2"), ..none() }, false),
            (WatchArgs { trace: some("mine"), ..none() }, true),
            (WatchArgs { trace: some("yours"), ..none() }, false),
        ] {
            assert_eq!(args.wants(&entry(), "x-trace-id"), wanted, "{args:?}");
        }
    }
}
