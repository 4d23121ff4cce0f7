//! `broker watch`: one line per finished call, from the gateway's own log. It asks no broker.
//!
//! `call` reads an entry, `sessions` knows which of them are attempts of one call. Queries, URLs and bodies are never shown.

mod call;
mod sessions;

use std::io::Write as _;
use std::str::FromStr;

use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;

use super::super::OutputError;
use super::admin::path;
use super::{connect, run};
use crate::clock::Clock;
use crate::config::Operator;
use crate::nats;
use call::{Call, ingress, status};
use sessions::{Sessions, Shown};
use types::router::RouterPath;

/// Which calls.
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
    /// Only calls whose header BROKER_TRACE_HEADER (X-Trace-Id) has this value
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
    pub fn run(&self, operator: &Operator) -> anyhow::Result<()> {
        run(async {
            let client = connect(operator).await?;
            let subject = &operator.nats.logger_subject;
            let mut entries = client.subscribe(subject.clone()).await?;
            nats::sync_with_server(&client).await;
            // Not among the calls, which a script may count. If the standard error is closed too, the error is lost.
            drop(writeln!(std::io::stderr(), "watching {subject}"));
            let hold = self.grouped || self.session.is_some();
            let (clock, mut sessions) = (Clock::start(), Sessions::new(hold));
            // What is held is shown before Ctrl-C ends us; where nothing is, it does so by itself.
            let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
            loop {
                let wait = sessions.due().map(|due| due.since(clock.now()));
                let (shown, last) = tokio::select! {
                    entry = entries.next() => match entry {
                        Some(entry) => (self.read(&entry.payload, operator, &mut sessions, &clock), false),
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

    fn read(&self, entry: &[u8], operator: &Operator, sessions: &mut Sessions, clock: &Clock) -> Vec<Shown> {
        let Ok(entry) = serde_json::from_slice::<Value>(entry) else { return Vec::new() };
        // Calls of other sessions are dropped; calls that other filters hide still show which belong together.
        if self.session.as_deref().is_some_and(|wanted| entry["session_id"] != wanted) {
            return Vec::new();
        }
        let wanted = self.wants(&entry, &operator.trace_header);
        sessions.take(Call::of(&entry, wanted), clock.now())
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
            && self.trace.as_deref().is_none_or(|wanted| header(request, trace_header).any(|value| value == wanted))
    }
}

fn print(shown: &[Shown]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    shown.iter().filter(|shown| shown.is_wanted()).try_for_each(|shown| write!(out, "{shown}"))?;
    out.flush()
}

/// The values of a header that the client sent.
fn header<'a>(request: &'a Value, name: &'a str) -> impl Iterator<Item = &'a str> {
    let headers = request["ingress_headers"].as_object().into_iter().flatten();
    let named = headers.filter(move |(other, _)| other.eq_ignore_ascii_case(name));
    named.flat_map(|(_, values)| values.as_array().into_iter().flatten()).filter_map(Value::as_str)
}

/// Which statuses are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    /// This one.
    Exactly(u64),
    /// All of a class, by its first digit: `5xx`.
    Class(u64),
}

impl StatusFilter {
    fn matches(self, status: u64) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == status,
            Self::Class(digit) => digit == status / 100,
        }
    }
}

/// What no answer can have as its status.
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
