//! Traces: every finished call as spans of OpenTelemetry, to a collector over OTLP (HTTP, protobuf).
//!
//! Spans are made from finished [`CallRecord`]s, so calls that pass only through the gateway have them too. A thread of its own
//! makes and sends them from a queue: no call waits for a collector. Calls that do not fit into the queue or that the collector
//! rejects are lost and counted, with at most one log line a minute. Without an endpoint the thread does not exist.

mod export;
mod settings;
mod spans;

use std::io;
use std::sync::Arc;

pub use settings::{Sampling, TraceSettings};

use crate::calls::content::CallContent;
use crate::calls::{CallRecord, CallSink, FinishedCall};
use crate::relay::Proxy;
use crate::system::queue::{Bounds, Rejected, WorkQueue};
use crate::telemetry::{Counter, ExportResult};

/// Limits of the queue. Records are shared with the memory of recent calls, so only prompts and answers count as bytes.
const BOUNDS: Bounds = Bounds { items: 2_048, bytes: 16 << 20 };

/// Calls by the result of their export; without kinds where traces are off.
pub type TracedCalls = Counter<ExportResult>;

/// A call that waits to be sent.
#[derive(Debug)]
struct TracedCall {
    record: Arc<CallRecord>,
    content: Content,
}

/// Its prompt and answer.
#[derive(Debug)]
enum Content {
    /// They are not wanted.
    None,
    Kept(Arc<CallContent>),
    /// Too much of others' was waiting.
    LeftOut,
}

impl TracedCall {
    /// Its share of the bytes in the queue.
    fn bytes(&self) -> usize {
        if let Content::Kept(content) = &self.content { content.bytes() } else { 0 }
    }
}

/// The queue to the thread that sends.
#[derive(Debug)]
pub struct Traces {
    queue: WorkQueue<TracedCall>,
    counts: Arc<TracedCalls>,
    wants_content: bool,
}

impl Traces {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left, or no certificate authorities that can be read.
    pub fn start(settings: TraceSettings, proxy: Proxy, counts: Arc<TracedCalls>) -> io::Result<Self> {
        counts.preregister(ExportResult::ALL);
        let (endpoint, wants_content) = (settings.shown_endpoint(), settings.content);
        let exporter = export::Exporter::new(settings, proxy, Arc::clone(&counts))?;
        let queue = WorkQueue::start("traces", BOUNDS, move |records| exporter.run(records))?;
        let content = if wants_content { "with prompts and answers" } else { "without prompts and answers" };
        tracing::info!(endpoint, "calls are sent as traces, {content}");
        Ok(Self { queue, counts, wants_content })
    }
}

impl CallSink for Traces {
    fn finished(&self, call: &FinishedCall, content: Option<&Arc<CallContent>>) {
        let content = content.filter(|_| self.wants_content).cloned().map_or(Content::None, Content::Kept);
        let record = &call.record;
        let call = TracedCall { record: Arc::clone(record), content };
        let bytes = call.bytes();
        let queued = match self.queue.push(call, bytes) {
            Err(Rejected::Bytes(call)) => self.queue.push(TracedCall { content: Content::LeftOut, ..call }, 0),
            queued => queued,
        };
        if queued.is_err() {
            self.counts.count(ExportResult::QueueFull, record.at);
        }
    }

    fn wants_content(&self) -> bool {
        self.wants_content
    }

    /// Closes the queue, and waits until its calls are sent, for 2 s at most.
    fn close(&self) {
        if !self.queue.close() {
            tracing::warn!("stopped before every trace was sent");
        }
    }
}
