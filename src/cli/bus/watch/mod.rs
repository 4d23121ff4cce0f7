//! `broker watch`: one line per finished call, from the gateway's own log.
//!
//! `records` requests the cost of calls from the brokers, `call` parses an entry, and `sessions` finds out which entries are
//! attempts of one call. Queries, URLs and bodies are never shown.

mod call;
mod records;
mod sessions;

use std::io::Write as _;
use std::pin::pin;

use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;

use super::super::OutputError;
use super::admin::path;
use super::{LINK, connect_as, run};
use crate::calls::StatusFilter;
use crate::calls::TraceIds;
use crate::clock::Clock;
use crate::config::OperatorAccess;
use crate::nats::ConnectionStatus;
use call::{Call, ingress, status};
use records::{LoggedEntries, LoggedEntry};
use sessions::{OutputLine, Sessions};
use types::router::RouterPath;

#[derive(Debug, Clone, Default, Args)]
pub struct WatchArgs {
    /// Only calls that this router served or was chosen for
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub router: Option<RouterPath>,
    /// Only answers with this status: 429, or 5xx
    #[arg(long, value_name = "STATUS")]
    pub status: Option<StatusFilter>,
    /// Only calls of this ingress
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub pool: Option<RouterPath>,
    /// Only calls of this session, in their order; the attempts of one call together, as with --grouped
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Only calls with this trace id: traceparent, X-Trace-Id, x-portkey-trace-id or the header BROKER_TRACE_HEADER
    #[arg(long, value_name = "TEXT")]
    pub trace: Option<String>,
    /// The attempts of one call of the relay together, when it is over
    #[arg(long)]
    pub grouped: bool,
}

impl WatchArgs {
    /// Shows calls until the bus is gone or the output is closed.
    ///
    /// # Errors
    /// The bus does not answer.
    pub fn run(&self, operator: &OperatorAccess) -> anyhow::Result<()> {
        run(async {
            let connection = ConnectionStatus::new(LINK, Clock::start());
            let client = connect_as(&connection, operator).await?;
            let subject = &operator.nats.logger_subject;
            let entries = client.subscribe(subject.clone()).await?;
            connection.sync(&client).await;
            // Not on the standard output, whose lines a script may count. If the standard error is closed too, the error is lost.
            drop(writeln!(std::io::stderr(), "watching {subject}"));
            let select = |entry: &Value| self.select(entry, operator);
            let mut entries = pin!(LoggedEntries::new(entries, client, &operator.nats, select).batches());
            let hold = self.grouped || self.session.is_some();
            let (clock, mut sessions) = (Clock::start(), Sessions::new(hold));
            // Held calls are shown before Ctrl-C ends the command; without any, it ends by itself.
            let mut stop = pin!(tokio::signal::ctrl_c());
            loop {
                let wait = sessions.due().map(|due| due.since(clock.now()));
                let (shown, last) = tokio::select! {
                    batch = entries.next() => match batch {
                        Some(batch) => (batch.into_iter().flat_map(|entry| take(entry, &mut sessions, &clock)).collect(), false),
                        None => (sessions.rest(), true),
                    },
                    () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                        (sessions.late(clock.now()), false)
                    }
                    _ = &mut stop, if hold => (sessions.rest(), true),
                };
                print(&shown).map_err(OutputError)?;
                if last {
                    return Ok(());
                }
            }
        })
    }

    /// Whether an entry is shown. Entries of other sessions are dropped (`None`); those that other filters hide still tell
    /// which attempts belong to one call.
    fn select(&self, entry: &Value, operator: &OperatorAccess) -> Option<bool> {
        let other = self.session.as_deref().is_some_and(|wanted| entry["session_id"] != wanted);
        (!other).then(|| self.wants(entry, &operator.trace_header))
    }

    fn wants(&self, entry: &Value, trace_header: &str) -> bool {
        let (request, response) = (&entry["request"], &entry["response"]);
        let same = |wanted: Option<&str>, found: &[&Value]| {
            wanted.is_none_or(|wanted| found.iter().any(|found| found.as_str() == Some(wanted)))
        };
        let is_path =
            |wanted: &Option<RouterPath>, found: &[&Value]| same(wanted.as_ref().map(RouterPath::as_str), found);
        is_path(&self.router, &[&response["gl_path"], &request["broker"]["router"]])
            && is_path(&self.pool, &[ingress(entry)])
            && same(self.session.as_deref(), &[&entry["session_id"]])
            && self.status.is_none_or(|wanted| status(entry).is_some_and(|status| wanted.matches(status)))
            && self.trace.as_deref().is_none_or(|wanted| has_trace(request, trace_header, wanted))
    }
}

fn take(logged: LoggedEntry, sessions: &mut Sessions, clock: &Clock) -> Vec<OutputLine> {
    sessions.take(Call::from_entry(&logged.entry, logged.wanted).with(logged.used), clock.now())
}

fn print(shown: &[OutputLine]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    shown.iter().filter(|shown| shown.is_wanted()).try_for_each(|shown| write!(out, "{shown}"))?;
    out.flush()
}

/// Whether a call has a trace id, in the relay's part of the entry or in the client's headers.
fn has_trace(request: &Value, configured: &str, wanted: &str) -> bool {
    let by_relay = request["broker_call"]["trace_ids"].as_array().into_iter().flatten();
    let value = |name: &str| header(request, name).map(str::as_bytes);
    let by_client = TraceIds::from_headers(configured, value);
    by_relay.filter_map(Value::as_str).chain(by_client.all().iter().map(String::as_str)).any(|id| id == wanted)
}

/// The first value of a header that the client sent.
fn header<'a>(request: &'a Value, name: &str) -> Option<&'a str> {
    let headers = request["ingress_headers"].as_object()?;
    let (_, values) = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
    values.get(0)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    fn entry() -> Value {
        json!({
            "session_id": "s-1",
            "request": {
                "gl_path": "/a/", "original_gl_path": "/in/", "ingress_headers": {"X-Trace-Id": ["mine"]},
                "broker": {"router": "/a/", "why": "random, 2 of 2 serve"},
            },
            "response": {"gl_path": "/a/", "inbound_status_code": 429},
        })
    }

    #[test]
    fn filters() {
        let some = |text: &str| Some(text.to_owned());
        let path = |text: &str| Some(fixtures::path(text));
        let status = |text: &str| Some(text.parse::<StatusFilter>().unwrap());
        let none = WatchArgs::default;
        for (args, wanted) in [
            (none(), true),
            (WatchArgs { router: path("/a/"), ..none() }, true),
            (WatchArgs { router: path("/b/"), ..none() }, false),
            (WatchArgs { pool: path("/in/"), ..none() }, true),
            (WatchArgs { pool: path("/a/"), ..none() }, false),
            (WatchArgs { status: status("429"), ..none() }, true),
            (WatchArgs { status: status("4xx"), ..none() }, true),
            (WatchArgs { status: status("5XX"), ..none() }, false),
            (WatchArgs { session: some("s-1"), ..none() }, true),
            (WatchArgs { session: some("s-2"), ..none() }, false),
            (WatchArgs { trace: some("mine"), ..none() }, true),
            (WatchArgs { trace: some("yours"), ..none() }, false),
        ] {
            assert_eq!(args.wants(&entry(), "x-trace-id"), wanted, "{args:?}");
        }
    }
}
