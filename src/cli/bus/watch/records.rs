//! The entries of the gateway's log, with the cost of their calls.
//!
//! The entry of a call through the gateway has no cost: prices are settings of the brokers. So their records of such calls are
//! requested, the same ones that `/api/v1/calls` and `broker why` show, several at a time. If no broker answers, the cost is
//! left out.

use std::io::Write as _;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::call::{Call, CallUsage};
use crate::calls::{CallRecord, Via};
use crate::nats::NatsSettings;
use crate::nats::peers::{self, MAX_IDS, RECORDS};
use gecholog_protocol::log_entry;
use gecholog_protocol::logged_call::LoggedCall;
use types::outcome::LogEntry;

/// How long entries are collected before their records are requested; the brokers read the same entries meanwhile.
const COLLECT_TIME: Duration = Duration::from_millis(100);
/// The most entries of one request: two ids are requested for each.
const MAX_ENTRIES: usize = MAX_IDS / 2;
/// How long records are requested again that no broker has yet: it makes them when a call ends, which on a busy machine may be
/// later than the entry is read here.
const RECORD_TIMEOUT: Duration = Duration::from_secs(3);

/// An entry of the log.
#[derive(Debug)]
pub(super) struct LoggedEntry {
    pub(super) call: Call,
    /// How its record is found, while only that has its cost.
    record: Option<RecordKey>,
}

/// What a record of a broker and an entry of the log have in common, as it was written and not as it is shown.
#[derive(Debug)]
struct RecordKey {
    transaction: String,
    session: String,
    router: Option<String>,
}

/// The entries of the log as they arrive.
pub(super) struct LoggedEntries<'a, F> {
    entries: Subscriber,
    client: Client,
    settings: &'a NatsSettings,
    /// Whether an entry is wanted; `None` drops it.
    select: F,
    /// The last request was not answered, and that was reported.
    unanswered: bool,
    /// The brokers did not have all records of the last batch in time: those of the next one are requested once, so that calls
    /// without a record do not delay all others.
    missing: bool,
}

impl<'a, F: Fn(&LoggedCall<'_>) -> Option<bool>> LoggedEntries<'a, F> {
    pub(super) const fn new(entries: Subscriber, client: Client, settings: &'a NatsSettings, select: F) -> Self {
        Self { entries, client, settings, select, unanswered: false, missing: false }
    }

    /// The entries in their order, in batches. Ends with the connection.
    pub(super) fn batches(self) -> impl Stream<Item = Vec<LoggedEntry>> {
        stream::unfold(self, async |mut entries| entries.batch().await.map(|batch| (batch, entries)))
    }

    async fn batch(&mut self) -> Option<Vec<LoggedEntry>> {
        let first = self.entries.next().await?;
        let mut batch: Vec<_> = self.read(&first.payload).into_iter().collect();
        if batch.iter().any(|entry| entry.record.is_some()) {
            let end = Instant::now() + COLLECT_TIME;
            while batch.len() < MAX_ENTRIES
                && let Ok(Some(next)) = timeout_at(end, self.entries.next()).await
            {
                batch.extend(self.read(&next.payload));
            }
            self.add_records(&mut batch).await;
        }
        Some(batch)
    }

    fn read(&self, bytes: &[u8]) -> Option<LoggedEntry> {
        let logged = log_entry::read_call(bytes).ok()?;
        let call = Call::from_entry(&logged, (self.select)(&logged)?);
        let needs_record = call.wanted && logged.relay_call().is_none() && call.used.usage().is_some();
        Some(LoggedEntry { call, record: needs_record.then(|| RecordKey::of(&logged.entry)) })
    }

    async fn add_records(&mut self, batch: &mut [LoggedEntry]) {
        let end = Instant::now() + if self.missing { Duration::ZERO } else { RECORD_TIMEOUT };
        loop {
            let open = batch.iter().filter_map(|entry| entry.record.as_ref());
            let ids: Vec<_> = open.flat_map(RecordKey::ids).collect();
            let ids = serde_json::to_vec(&ids).unwrap_or_default();
            match peers::ask::<Vec<CallRecord>>(&self.client, self.settings, RECORDS, ids).await {
                Ok(records) => {
                    let records = records.concat();
                    self.unanswered = false;
                    batch.iter_mut().for_each(|entry| entry.use_record(&records));
                    self.missing = batch.iter().any(|entry| entry.record.is_some());
                    if !self.missing || Instant::now() >= end {
                        return;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.unanswered, true) {
                        // If the standard error is closed too, the error is lost.
                        drop(writeln!(
                            std::io::stderr(),
                            "the cost of calls through the gateway is not shown: {error}"
                        ));
                    }
                    return;
                }
            }
        }
    }
}

impl RecordKey {
    fn of(entry: &LogEntry<'_>) -> Self {
        let text = |field: Option<&str>| field.unwrap_or_default().to_owned();
        let router = entry.answer.served_path.map(str::to_owned);
        Self { transaction: text(entry.answer.transaction), session: text(entry.session), router }
    }

    /// The ids under which a record of this call can be: its transaction, or the session that a relay made for it.
    fn ids(&self) -> impl Iterator<Item = &str> {
        [&self.transaction, &self.session].into_iter().map(String::as_str).filter(|id| !id.is_empty())
    }
}

impl LoggedEntry {
    /// Takes usage and cost from the record of this call. A client can make calls share a transaction; their usage then
    /// distinguishes them. A relay's record may be of another attempt.
    fn use_record(&mut self, records: &[CallRecord]) {
        let Some(RecordKey { transaction, router, .. }) = &self.record else { return };
        let is_of_attempt = |record: &&CallRecord| {
            record.router == *router && record.attempts.iter().any(|one| one.transaction == *transaction)
        };
        let mut of_attempt = records.iter().filter(is_of_attempt);
        let usage = self.call.used.usage();
        let found = of_attempt.find(|record| record.via == Via::Relay || record.usage.as_ref() == usage);
        if let Some(record) = found {
            (self.call.used, self.record) = (CallUsage::from_record(record), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::CallAttempt;
    use crate::calls::cost::Cost;
    use llm::Usage;
    use serde_json::json;

    fn record(via: Via, router: &str, transaction: &str, output: u64) -> CallRecord {
        let attempt = CallAttempt { transaction: transaction.to_owned(), ..CallAttempt::default() };
        CallRecord {
            via,
            router: Some(router.to_owned()),
            attempts: vec![attempt],
            usage: Some(Usage { output, ..Usage::default() }),
            cost: Some(Cost { nano_usd: output * 1_000_000_000, ..Cost::default() }),
            ..CallRecord::default()
        }
    }

    fn entry(transaction: &str, used: CallUsage) -> LoggedEntry {
        let written = json!({"transaction_id": transaction, "response": {"gl_path": "/a/"}}).to_string();
        let logged = log_entry::read_call(written.as_bytes()).unwrap();
        let mut call = Call::from_entry(&logged, true);
        call.used = used;
        LoggedEntry { call, record: Some(RecordKey::of(&logged.entry)) }
    }

    /// A client may name its session, and so its transactions, as long as it likes.
    #[test]
    fn the_record_of_an_id_that_is_shown_cut_is_found() {
        let id = "t".repeat(1_000);
        let record = record(Via::Gateway, "/a/", &id, 5);
        let mut entry = entry(&id, CallUsage::from_record(&CallRecord { cost: None, ..record.clone() }));
        assert_eq!(entry.record.as_ref().unwrap().ids().collect::<Vec<_>>(), [&id]);
        entry.use_record(&[record]);
        assert_eq!(entry.call.used.to_string(), "0+5 tokens $5.00");
    }

    #[test]
    fn a_record_is_used_that_is_of_the_same_attempt() {
        for (what, records, shown) in [
            ("its own", vec![record(Via::Gateway, "/a/", "t", 5)], "0+5 tokens $5.00"),
            ("none", vec![], "0+5 tokens"),
            ("of another transaction", vec![record(Via::Gateway, "/a/", "u", 5)], "0+5 tokens"),
            ("of another router", vec![record(Via::Gateway, "/b/", "t", 5)], "0+5 tokens"),
            (
                "of several that share a transaction, the one with the same usage",
                vec![record(Via::Gateway, "/a/", "t", 7), record(Via::Gateway, "/a/", "t", 5)],
                "0+5 tokens $5.00",
            ),
            ("the relay's own count", vec![record(Via::Relay, "/a/", "t", 6)], "0+6 tokens $6.00"),
        ] {
            let used = CallUsage::from_record(&CallRecord { cost: None, ..record(Via::Gateway, "/a/", "t", 5) });
            let mut entry = entry("t", used);
            entry.use_record(&records);
            assert_eq!(entry.call.used.to_string(), shown, "{what}");
        }
    }
}
