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

use super::super::OutputError;
use super::admin::path;
use super::{LINK, connect_as, run};
use crate::calls::{StatusFilter, from_log};
use crate::clock::Clock;
use crate::config::OperatorAccess;
use crate::nats::ConnectionStatus;
use call::{relay_fields, status};
use gecholog_protocol::logged_call::LoggedCall;
use records::LoggedEntries;
use sessions::{OutputLine, Sessions};
use types::outcome::LogEntry;
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
            let select = |logged: &LoggedCall<'_>| self.select(logged, &operator.trace_header);
            let mut entries = pin!(LoggedEntries::new(entries, client, &operator.nats, select).batches());
            let grouped = self.grouped || self.session.is_some();
            let (clock, mut sessions) = (Clock::start(), Sessions::new(grouped));
            // Held calls are shown before Ctrl-C ends the command; without any, it ends by itself.
            let mut stop = pin!(tokio::signal::ctrl_c());
            loop {
                let wait = sessions.due().map(|due| due.since(clock.now()));
                let (shown, last) = tokio::select! {
                    batch = entries.next() => match batch {
                        Some(batch) => (batch.into_iter().flat_map(|entry| sessions.take(entry.call, clock.now())).collect(), false),
                        None => (sessions.rest(), true),
                    },
                    () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                        (sessions.late(clock.now()), false)
                    }
                    _ = &mut stop, if grouped => (sessions.rest(), true),
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
    fn select(&self, logged: &LoggedCall<'_>, trace_header: &str) -> Option<bool> {
        let LogEntry { answer, ingress, session, stamped_path, .. } = logged.entry;
        if self.session.is_some() && self.session.as_deref() != session {
            return None;
        }
        let is_one_of = |wanted: &Option<RouterPath>, found: &[Option<&str>]| {
            wanted.as_ref().is_none_or(|wanted| found.contains(&Some(wanted.as_str())))
        };
        let has_status =
            |wanted: StatusFilter| status(&logged.entry).is_some_and(|status| wanted.matches(status.into()));
        let is_wanted = is_one_of(&self.router, &[answer.served_path, stamped_path])
            && is_one_of(&self.pool, &[ingress])
            && self.status.is_none_or(has_status)
            && self.trace.as_ref().is_none_or(|wanted| has_trace(logged, trace_header, wanted));
        Some(is_wanted)
    }
}

fn print(shown: &[OutputLine]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    shown.iter().filter(|shown| shown.is_wanted()).try_for_each(|shown| write!(out, "{shown}"))?;
    out.flush()
}

/// Whether a call has a trace id, in the relay's part of the entry or in the client's headers.
fn has_trace(logged: &LoggedCall<'_>, configured: &str, wanted: &String) -> bool {
    let by_relay = &relay_fields(logged)["trace_ids"];
    by_relay.as_array().is_some_and(|ids| ids.iter().any(|id| id == wanted))
        || from_log::trace_ids(logged, configured).all().contains(wanted)
}

#[cfg(test)]
mod tests {
    use gecholog_protocol::log_entry;
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    fn entry() -> Vec<u8> {
        let entry = json!({
            "session_id": "s-1",
            "request": {
                "gl_path": "/a/", "original_gl_path": "/in/", "ingress_headers": {"X-Trace-Id": ["mine"]},
                "broker": {"router": "/a/", "why": "random, 2 of 2 serve"},
            },
            "response": {"gl_path": "/a/", "inbound_status_code": 429},
        });
        serde_json::to_vec(&entry).unwrap()
    }

    #[test]
    fn filters() {
        let some = |text: &str| Some(text.to_owned());
        let path = |text: &str| Some(fixtures::path(text));
        let status = |text: &str| Some(text.parse::<StatusFilter>().unwrap());
        let none = WatchArgs::default;
        for (args, wanted) in [
            (none(), Some(true)),
            (WatchArgs { router: path("/a/"), ..none() }, Some(true)),
            (WatchArgs { router: path("/b/"), ..none() }, Some(false)),
            (WatchArgs { pool: path("/in/"), ..none() }, Some(true)),
            (WatchArgs { pool: path("/a/"), ..none() }, Some(false)),
            (WatchArgs { status: status("429"), ..none() }, Some(true)),
            (WatchArgs { status: status("4xx"), ..none() }, Some(true)),
            (WatchArgs { status: status("5XX"), ..none() }, Some(false)),
            (WatchArgs { session: some("s-1"), ..none() }, Some(true)),
            (WatchArgs { session: some("s-2"), ..none() }, None),
            (WatchArgs { trace: some("mine"), ..none() }, Some(true)),
            (WatchArgs { trace: some("yours"), ..none() }, Some(false)),
        ] {
            let selected = args.select(&log_entry::read_call(&entry()).unwrap(), "x-trace-id");
            assert_eq!(selected, wanted, "{args:?}");
        }
    }
}
