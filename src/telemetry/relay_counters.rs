//! Counters of the relay: calls by their result for the client, attempts by their result, and calls in flight. Every kind is a
//! fixed word. Where the relay is off no kind is registered, so that metrics do not show zeros.

use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;

use super::Counter;
use types::outcome::ErrorClass;

#[derive(Debug, Default)]
pub struct RelayCounters {
    /// Calls by result: `answered` by a target, whatever its status; `client_gone`; or the code of the relay's own answer.
    pub calls: Counter<&'static str>,
    /// Attempts by result: `answered_2xx` and the like, the transport failure, `client_gone`, or `gateway_unreachable`.
    pub attempts: Counter<&'static str>,
    /// Attempts without a good answer, by error class.
    pub errors: Counter<ErrorClass>,
    /// Calls that were not retried, by reason.
    pub given_up: Counter<&'static str>,
    /// Log entries that could not be published in time.
    pub entries: Counter<()>,
    limit: OnceLock<CallLimit>,
}

/// The limit of calls in flight.
#[derive(Debug)]
struct CallLimit {
    free: Arc<Semaphore>,
    all: usize,
}

impl RelayCounters {
    /// The relay is on, with `all` permits for calls, of which those in `free` are not in use.
    pub fn begin(&self, free: Arc<Semaphore>, all: usize) {
        // A process has one relay.
        let _ = self.limit.set(CallLimit { free, all });
    }

    /// The calls in flight, and their limit; `None` where the relay is off.
    pub fn in_flight(&self) -> Option<(usize, usize)> {
        self.limit.get().map(|limit| (limit.all.saturating_sub(limit.free.available_permits()), limit.all))
    }
}
