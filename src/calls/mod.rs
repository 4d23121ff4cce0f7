//! Finished calls: one [`CallRecord`] each, with all its attempts.
//!
//! The relay makes a record when one of its calls ends; a call that passes only through the gateway gives the same record from
//! the gateway's log ([`from_log`]). Everything that shows, counts or keeps calls reads this one value: `recent` for the API,
//! the page and `broker why`; `totals` for the metrics; and any number of [`CallSink`]s, such as the file of `BROKER_CALLS`
//! ([`mod@file`]).
//!
//! A record contains ids, names, numbers and times, but never a prompt, an answer, a query, a key, or any header except ids.

pub mod content;
pub mod context;
pub mod cost;
pub mod describe;
pub mod file;
mod filter;
pub mod from_log;
mod histograms;
mod recent;
mod record;
mod totals;
mod trace_ids;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use filter::{CallFilter, CallQuery, CallsPage, NotAStatus, QueryFault, StatusFilter};
pub use histograms::{GenAiHistograms, Histogram, Kind};
pub use recent::{KeptCall, RecentRing};
pub(crate) use record::short;
pub use record::{AttemptFailure, CallAttempt, CallClass, CallRecord, UnknownCallClass, VERSION, Via};
pub use totals::{CallTotals, Key};
pub use trace_ids::{DEFAULT_HEADER, TraceIds, hashed, made_trace};

use content::CallContent;
use file::CallsFile;
use totals::Totals;

/// The default memory for recent calls, in bytes.
pub const DEFAULT_RECENT_BYTES: usize = 16 << 20;

/// The newest calls that are searched for ids; takes a few hundred microseconds.
const MAX_SEARCHED_CALLS: usize = 4_096;

/// The settings of finished calls.
#[derive(Debug, Clone)]
pub struct CallSettings {
    /// The memory of recent calls, in bytes: `BROKER_RECENT_CALLS`.
    pub recent_bytes: usize,
    /// The file of all calls: `BROKER_CALLS`.
    pub file: Option<file::CallFileSettings>,
    /// A request header whose value is a trace id, besides the well-known ones; in lower case: `BROKER_TRACE_HEADER`.
    pub trace_header: String,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self { recent_bytes: DEFAULT_RECENT_BYTES, file: None, trace_header: DEFAULT_HEADER.to_owned() }
    }
}

/// A finished call, as sinks get it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FinishedCall {
    pub record: Arc<CallRecord>,
    /// Its JSON, for the memory of recent calls and the file.
    pub kept: KeptCall,
}

/// A consumer of the finished calls of this replica. It is called on the thread of the call, and must neither wait nor fail: it
/// drops and counts calls that it cannot accept.
pub trait CallSink: Send + Sync + fmt::Debug {
    /// A call has finished. `content` is given only if a sink wants it.
    fn finished(&self, call: &FinishedCall, content: Option<&Arc<CallContent>>);

    /// Whether it wants prompts and answers.
    fn wants_content(&self) -> bool {
        false
    }

    /// The process ends: writes or sends the calls that wait, within 2 s.
    fn close(&self);
}

/// The finished calls of a process.
#[derive(Debug)]
pub struct Calls {
    recent: Mutex<RecentRing>,
    totals: Mutex<Totals>,
    trace_header: OnceLock<String>,
    file: OnceLock<Arc<CallsFile>>,
    sinks: OnceLock<Vec<Arc<dyn CallSink>>>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            recent: Mutex::new(RecentRing::new(DEFAULT_RECENT_BYTES)),
            totals: Mutex::default(),
            trace_header: OnceLock::new(),
            file: OnceLock::new(),
            sinks: OnceLock::new(),
        }
    }
}

impl Calls {
    /// Applies the settings, and passes each call to these sinks from now on, and to the file of `BROKER_CALLS` if it is set.
    /// To be called once, before the first call.
    ///
    /// # Errors
    /// The system has no thread left for the file.
    pub fn begin(&self, settings: &CallSettings, mut sinks: Vec<Arc<dyn CallSink>>) -> std::io::Result<()> {
        lock(&self.recent).limit(settings.recent_bytes);
        // A process calls this once.
        let _ = self.trace_header.set(settings.trace_header.clone());
        if let Some(file) = settings.file.clone() {
            let file = Arc::new(CallsFile::start(file)?);
            sinks.push(file.clone());
            let _ = self.file.set(file);
        }
        let _ = self.sinks.set(sinks);
        Ok(())
    }

    /// The process ends: all sinks write or send the calls that wait, each within 2 s.
    pub fn end(&self) {
        self.sinks.get().into_iter().flatten().for_each(|sink| sink.close());
    }

    /// Whether something beside memory and metrics consumes calls: the file of `BROKER_CALLS`, or an export.
    pub fn has_sinks(&self) -> bool {
        self.sinks.get().is_some_and(|sinks| !sinks.is_empty())
    }

    /// Whether a sink wants prompts and answers.
    pub fn wants_content(&self) -> bool {
        self.sinks.get().is_some_and(|sinks| sinks.iter().any(|sink| sink.wants_content()))
    }

    /// The counts of the file's lines, if `BROKER_CALLS` is set.
    pub fn file_counts(&self) -> Option<&file::Counts> {
        self.file.get().map(|file| file.counts())
    }

    /// The configured header of trace ids, in lower case.
    pub fn trace_header(&self) -> &str {
        self.trace_header.get().map_or(DEFAULT_HEADER, String::as_str)
    }

    /// The models that may be labels of metrics: those that the settings name.
    pub fn know_models(&self, models: impl IntoIterator<Item = String>) {
        lock(&self.totals).know_models(models);
    }

    /// Records a finished call. `counts`: this replica counts it and passes it to the sinks; otherwise it is only shown.
    /// `content`: where a sink wants it.
    pub fn finished(&self, record: CallRecord, content: Option<CallContent>, counts: bool) {
        let kept = KeptCall::from_record(&record);
        if counts {
            lock(&self.totals).add(&record);
            if self.has_sinks() {
                let call = FinishedCall { record: Arc::new(record), kept: kept.clone() };
                let content = content.map(Arc::new);
                self.sinks.get().into_iter().flatten().for_each(|sink| sink.finished(&call, content.as_ref()));
            }
        }
        lock(&self.recent).push(kept);
    }

    /// Reads recent calls; `read` runs under the lock and may copy a few.
    pub fn recent<T>(&self, read: impl FnOnce(&RecentRing) -> T) -> T {
        read(&lock(&self.recent))
    }

    /// The sums since the start, by router and model.
    pub fn totals(&self) -> Vec<(Key, CallTotals)> {
        lock(&self.totals).all()
    }

    /// The histograms of OpenTelemetry's conventions since the start.
    pub fn histograms(&self) -> GenAiHistograms {
        lock(&self.totals).histograms().clone()
    }

    /// The records with one of these ids among the newest `MAX_SEARCHED_CALLS`, the newest first.
    pub fn with_ids(&self, ids: &HashSet<String>) -> Vec<CallRecord> {
        let newest = self.newest_first(u64::MAX).take(MAX_SEARCHED_CALLS);
        let wanted = newest.filter(|(_, call)| call.id().is_some_and(|id| ids.contains(&id)));
        wanted.map(|(_, call)| call.record()).collect()
    }

    /// Recent calls with smaller numbers than this one, the newest first. They are read in chunks, so that no call waits long for
    /// a search; calls that are dropped meanwhile are not found.
    fn newest_first(&self, mut before: u64) -> impl Iterator<Item = (u64, KeptCall)> + '_ {
        const SEARCH_CHUNK_CALLS: usize = 64;
        let parts = std::iter::from_fn(move || {
            let part = self.recent(|recent| recent.before(before, SEARCH_CHUNK_CALLS));
            before = part.last()?.0;
            Some(part)
        });
        parts.flatten()
    }

    /// The page for a query. `replica` is this one's id.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn page(&self, replica: &str, query: CallQuery) -> Result<CallsPage, QueryFault> {
        let (calls, next) = self.find(&query.filter(replica)?);
        let next = next.map(|before| CallQuery::cursor(replica, before));
        Ok(CallsPage { replica: replica.to_owned(), calls, next })
    }

    /// The recent calls that match, the newest first, and the start of the next page if there are more.
    fn find(&self, filter: &CallFilter) -> (Vec<CallRecord>, Option<u64>) {
        let mut found = Vec::new();
        let mut before = filter.before.unwrap_or(u64::MAX);
        for (number, call) in self.newest_first(before) {
            // Most calls are ruled out without being parsed.
            if let Some(record) = filter.may_want(&call).then(|| call.record()).filter(|record| filter.wants(record)) {
                if found.len() == filter.limit {
                    return (found, Some(before));
                }
                found.push(record);
            }
            before = number;
        }
        (found, None)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
