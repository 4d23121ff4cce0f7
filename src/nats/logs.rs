//! The gateway's log: every replica reads all of it and learns from it.
//!
//! It has a connection and a thread of its own: an entry can be a megabyte, and a flood of them must neither delay a decision
//! nor fill the memory. Entries that do not fit are dropped and counted; outcome messages, which arrive over the other
//! connection, still report failures.

use std::time::Duration;

use async_nats::{Client, SubscribeError, Subscriber};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::unconstrained;

use super::{ConnectionState, ConnectionStatus, NatsSettings};
use crate::calls::from_log;
use crate::shared_broker::SharedBroker;
use gecholog_protocol::bypass::{self, Bypass};
use gecholog_protocol::log_entry;
use gecholog_protocol::logged_call::LoggedCall;
use types::outcome::{CallObservation, LogEntry};
use types::transition::IgnoreReason;

/// How long a batch of our own entries is collected after its first one.
const BATCH_DELAY: Duration = Duration::from_millis(1);

/// Subscribes, and learns from log entries until the connection ends.
///
/// # Errors
/// The connection is closed.
pub async fn learn_from_logs(
    client: Client,
    settings: &NatsSettings,
    connection: &ConnectionStatus,
    broker: &SharedBroker,
) -> Result<(), SubscribeError> {
    let entries = client.subscribe(settings.logger_subject.clone()).await?;
    connection.set(ConnectionState::Subscribed);
    // Without tokio's cooperative budget: everything from one read of the connection (some megabytes) is processed at once, so
    // that a burst of thousands of small entries is not dropped, and large ones do not pile up.
    unconstrained(read(entries, broker, &settings.processor)).await;
    Ok(())
}

/// Publishes the relay's log entries in the gateway's form, on the gateway's subject. They do not come back to this replica,
/// which learnt from the call when it ended. Entries that the bus does not accept are dropped. Entries of calls that end close
/// together are sent together: waking this thread, the bus and all listeners for each of them would cost more than the entry.
pub async fn publish_entries(client: Client, settings: &NatsSettings, entries: &mut mpsc::Receiver<Vec<u8>>) {
    let mut together = Vec::new();
    while entries.recv_many(&mut together, entries.max_capacity()).await > 0 {
        for entry in together.drain(..) {
            if let Err(error) = client.publish(settings.logger_subject.clone(), entry.into()).await {
                tracing::debug!(%error, "a log entry could not be published");
            }
        }
        tokio::time::sleep(BATCH_DELAY).await;
    }
    // The relay has ended; the other tasks continue.
    std::future::pending().await
}

async fn read(mut entries: Subscriber, broker: &SharedBroker, processor: &str) {
    while let Some(entry) = entries.next().await {
        learn(&entry.payload, broker, processor);
    }
}

fn learn(entry: &[u8], broker: &SharedBroker, processor: &str) {
    let counts = broker.counts();
    match log_entry::read_call(entry) {
        Ok(logged) => {
            let report = &logged.entry;
            if let Some(why) = report.processor_errors.and_then(|errors| bypass::read(errors, processor)) {
                count_bypass(broker, why);
            }
            if let Some(field) = report.filtered {
                counts.incomplete_logs.count(field, broker.now());
            }
            let learnt = broker.learn(CallObservation::Log { entry: report, decision: None });
            if is_a_call(report, learnt, broker) {
                record(&logged, broker);
            }
            if let Some(why) = learnt
                && let Some(total) = counts.ignored_logs.count(why, broker.now())
            {
                log_ignored(why, total);
            }
        }
        Err(fault) => {
            if let Some(total) = counts.malformed_logs.count(fault, broker.now()) {
                tracing::warn!(total, "a log entry is {fault}: ignored");
            }
        }
    }
}

/// Whether an entry is about a call to a pool, which one of its routers or the ingress itself served.
fn is_a_call(report: &LogEntry<'_>, ignored: Option<IgnoreReason>, broker: &SharedBroker) -> bool {
    match ignored {
        None => true,
        Some(IgnoreReason::Duplicate | IgnoreReason::Echo) => false,
        Some(_) => {
            let ingress = report.ingress.filter(|_| report.answer.status.or(report.egress_status).is_some());
            ingress.is_some_and(|path| broker.ingress_of(path).is_some_and(|ingress| ingress.as_str() == path))
        }
    }
}

/// Records a call that passed only through the gateway. Every replica reads it; the one that decided counts it and writes it to
/// its file. Without a stamp (one row, or a router that was called directly) it is not known which replica decided, and each of
/// them counts the call: docs/calls.md says what the numbers mean then.
fn record(logged: &LoggedCall<'_>, broker: &SharedBroker) {
    let calls = broker.calls();
    if let Some(record) = from_log::record(logged, calls.trace_header(), &broker.prices().book(), broker.now()) {
        let counts = record.replica.as_deref().is_none_or(|replica| replica == broker.replica());
        if counts {
            // The record contains the plausible usage only.
            let _ = broker.counts().valid_usage(logged.usage);
        }
        let content = (counts && calls.wants_content()).then(|| from_log::content(logged));
        calls.finished(record, content, counts);
    }
}

/// Logs only what an operator can fix.
fn log_ignored(why: IgnoreReason, total: u64) {
    match why {
        IgnoreReason::NotApplied => tracing::warn!(
            total,
            "our choice was not applied: look at the second row of request processors (modifier, on the subject that ends in .apply, may write gl_path) in gl_config.json"
        ),
        other => tracing::debug!(total, "log entry {other}"),
    }
}

/// Counts a call that no broker balanced, of any ingress: an entry that names our processor is about an ingress that has it.
fn count_bypass(broker: &SharedBroker, why: Bypass) {
    if let Some(total) = broker.counts().bypassed.count(why, broker.now()) {
        tracing::warn!(total, "a call was not balanced: {why}");
    }
}
