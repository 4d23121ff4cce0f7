//! The gateway's log: every replica reads all of it and learns.
//!
//! Over a connection of its own, away from the decisions' thread: an entry can be a megabyte, and a flood of them must neither
//! delay a decision nor fill the memory. What does not fit is dropped and counted; the outcome messages, which come another
//! way, still teach what matters most.

use std::time::Duration;

use async_nats::{Client, SubscribeError, Subscriber};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::unconstrained;

use super::{ConnectionStatus, LinkState, Settings, sync_with_server};
use crate::calls::from_log;
use crate::shared_broker::SharedBroker;
use gecholog_protocol::bypass::{self, Bypass};
use gecholog_protocol::log_entry;
use gecholog_protocol::logged_call::LoggedCall;
use types::outcome::{CallObservation, LogEntry};
use types::transition::IgnoreReason;

/// So long after entries of our own were published, further ones are gathered.
const BATCH_DELAY: Duration = Duration::from_millis(1);

/// Subscribes and learns until the connection ends.
///
/// # Errors
/// The connection is closed.
pub async fn learn_from_logs(
    client: Client,
    settings: &Settings,
    link: &ConnectionStatus,
    handle: &SharedBroker,
) -> Result<(), SubscribeError> {
    let entries = client.subscribe(settings.logger_subject.clone()).await?;
    sync_with_server(&client).await;
    link.set(LinkState::Ready);
    // Without tokio's budget per turn: what one turn of the connection brought (some megabytes) is read in one turn of ours,
    // so that a burst of thousands of small entries is learnt whole and large ones never pile up.
    unconstrained(read(entries, handle, &settings.processor)).await;
    Ok(())
}

/// Publishes entries of our own, in the gateway's form, where the gateway publishes its own. They do not come back: what they say
/// was learnt when the call ended. What the bus does not take is
/// dropped: an entry is a lesson, not a promise. Entries that end close together go together: to wake this thread, the bus and
/// all listeners for each of them would cost more than the entry.
pub async fn publish_entries(client: Client, settings: &Settings, entries: &mut mpsc::Receiver<Vec<u8>>) {
    let mut together = Vec::new();
    while entries.recv_many(&mut together, entries.max_capacity()).await > 0 {
        for entry in together.drain(..) {
            if let Err(error) = client.publish(settings.logger_subject.clone(), entry.into()).await {
                tracing::debug!(%error, "a log entry could not be published");
            }
        }
        tokio::time::sleep(BATCH_DELAY).await;
    }
    // The relay has ended; the other tasks go on.
    std::future::pending().await
}

async fn read(mut entries: Subscriber, handle: &SharedBroker, processor: &str) {
    while let Some(entry) = entries.next().await {
        learn(&entry.payload, handle, processor);
    }
}

fn learn(entry: &[u8], handle: &SharedBroker, processor: &str) {
    let counts = handle.counts();
    match log_entry::read_call(entry) {
        Ok(logged) => {
            let report = &logged.entry;
            if let Some(why) = report.processor_errors.and_then(|errors| bypass::read(errors, processor)) {
                count_bypass(handle, why);
            }
            if let Some(field) = report.filtered {
                counts.incomplete_logs.count(field, handle.now());
            }
            let learnt = handle.learn(CallObservation::Log { entry: report, decision: None });
            if is_a_call(report, learnt, handle) {
                record(&logged, handle);
            }
            if let Some(why) = learnt
                && let Some(total) = counts.ignored_logs.count(why, handle.now())
            {
                log_ignored(why, total);
            }
        }
        Err(fault) => {
            if let Some(total) = counts.malformed_logs.count(fault, handle.now()) {
                tracing::warn!(total, "a log entry is {fault}: ignored");
            }
        }
    }
}

/// Whether an entry is of a call to a pool: served by one of its routers, or by the ingress itself.
fn is_a_call(report: &LogEntry<'_>, ignored: Option<IgnoreReason>, handle: &SharedBroker) -> bool {
    match ignored {
        None => true,
        Some(IgnoreReason::Duplicate | IgnoreReason::Echo) => false,
        Some(_) => {
            let ingress = report.ingress.filter(|_| report.answer.status.or(report.egress_status).is_some());
            ingress.is_some_and(|path| handle.ingress_of(path).is_some_and(|ingress| ingress.as_str() == path))
        }
    }
}

/// Records a call that passed only through the gateway. Every replica reads it; the one that decided counts it and writes it
/// down. Where no stamp says which that was (one row, or a router that was called itself), nothing else in the log does, and each
/// of them counts it: docs/calls.md says what their numbers mean then.
fn record(logged: &LoggedCall<'_>, handle: &SharedBroker) {
    let calls = handle.calls();
    if let Some(record) = from_log::record(logged, calls.trace_header(), &handle.prices().book(), handle.now()) {
        let counts = record.replica.as_deref().is_none_or(|replica| replica == handle.replica());
        if counts {
            // The record has what can be believed.
            let _ = handle.counts().believed_usage(logged.usage);
        }
        let content = (counts && calls.wants_content()).then(|| from_log::content(logged));
        calls.finished(record, content, counts);
    }
}

/// Only faults that an operator can fix are logged.
fn log_ignored(why: IgnoreReason, total: u64) {
    match why {
        IgnoreReason::NotApplied => tracing::warn!(
            total,
            "our choice was not applied: look at the second row of request processors (modifier, on the subject that ends in .apply, may write gl_path) in gl_config.json"
        ),
        other => tracing::debug!(total, "log entry {other}"),
    }
}

/// A call went by without us. Of ours or not: an entry that names our processor is about an ingress that has it.
fn count_bypass(handle: &SharedBroker, why: Bypass) {
    if let Some(total) = handle.counts().unbalanced.count(why, handle.now()) {
        tracing::warn!(total, "a call was not balanced: {why}");
    }
}
