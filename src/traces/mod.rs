//! Traces: every finished call as spans of OpenTelemetry, to a collector over OTLP (HTTP, protobuf).
//!
//! Spans are made of finished [`CallRecord`]s, so calls that pass only through the gateway have them too. A thread of its own
//! makes and sends them, from a queue: no call waits for a collector. What does not fit into the queue, and what the collector
//! does not take, is lost and counted; that is one log line a minute at most. Without an endpoint nothing of this exists.

mod export;
mod settings;
mod spans;

use std::fmt;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc;

pub use settings::{Sampling, Settings};

use crate::calls::{CallRecord, CallSink};
use crate::relay::Proxy;
use crate::telemetry::Counter;

/// Calls that wait to be sent. The records are those of the memory of recent calls, as long as they are kept there.
const MAX_QUEUED: usize = 2_048;
/// How long the end of the process waits for what is in the queue.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What became of the calls.
pub(crate) const EXPORTED: &str = "exported";
/// The sampler left them out.
pub(crate) const NOT_SAMPLED: &str = "not_sampled";
/// They came faster than they could be sent.
pub(crate) const QUEUE_FULL: &str = "queue_full";
/// The collector did not take them.
pub(crate) const FAILED: &str = "failed";

/// Calls by what became of them; nothing where traces are off.
pub type TracedCalls = Counter<&'static str>;

/// The queue to the thread that sends.
pub struct Traces {
    queue: Mutex<Option<mpsc::Sender<Arc<CallRecord>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    counts: Arc<TracedCalls>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Traces {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left, or no certificate authorities that can be read.
    pub fn start(settings: Settings, proxy: Proxy, counts: Arc<TracedCalls>) -> io::Result<Self> {
        counts.preregister([EXPORTED, NOT_SAMPLED, QUEUE_FULL, FAILED]);
        let (queue, records) = mpsc::channel(MAX_QUEUED);
        let endpoint = settings.shown_endpoint();
        let exporter = export::Exporter::new(settings, proxy, Arc::clone(&counts))?;
        let thread = thread::Builder::new().name("traces".to_owned()).spawn(move || exporter.run(records))?;
        tracing::info!(endpoint, "calls are sent as traces");
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), counts })
    }
}

impl CallSink for Traces {
    fn finished(&self, record: &Arc<CallRecord>) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = queue.as_ref().is_some_and(|queue| queue.try_send(Arc::clone(record)).is_ok());
        drop(queue);
        if !sent {
            self.counts.count(QUEUE_FULL, record.at);
        }
    }

    /// Takes no more, and waits until what is in the queue is sent, for 2 s at most.
    fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let (ended, end) = sync_channel::<()>(0);
        // A collector that hangs hangs the thread, which then ends with the process.
        let waiting = thread::Builder::new().spawn(move || {
            drop(thread.join());
            drop(ended);
        });
        if waiting.is_ok() && end.recv_timeout(CLOSE_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("ended before every trace was sent");
        }
    }
}
