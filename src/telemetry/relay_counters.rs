//! What the relay counts: calls by how they ended for the client, attempts by what came of them, and how many are in progress.
//! Every kind is an enum of ours. Where the relay is off there is nothing, not even a zero.

use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;

use super::Counter;

/// The counts of the relay.
#[derive(Debug, Default)]
pub struct RelayCounters {
    /// Calls by how they ended: `answered` by a target, whatever it said; `client_gone`; or the code of our own answer.
    pub calls: Counter<&'static str>,
    /// Attempts by what came of them: `answered_2xx` and the like, how they broke, `client_gone`, or `gateway_unreachable`.
    pub attempts: Counter<&'static str>,
    /// Attempts that came to no good answer, by their error class.
    pub errors: Counter<&'static str>,
    /// Calls that were not sent once more, by why not.
    pub given_up: Counter<&'static str>,
    /// Log entries that the bus did not take in time.
    pub entries: Counter<&'static str>,
    room: OnceLock<CallLimit>,
}

/// The places of calls.
#[derive(Debug)]
struct CallLimit {
    free: Arc<Semaphore>,
    all: usize,
}

impl RelayCounters {
    /// The relay is on; `free` of `all` places for calls are not in use.
    pub fn begin(&self, free: Arc<Semaphore>, all: usize) {
        // A process has one relay.
        let _ = self.room.set(CallLimit { free, all });
    }

    /// How many calls are in progress, and how many there may be. Nothing where the relay is off.
    pub fn in_flight(&self) -> Option<(usize, usize)> {
        self.room.get().map(|room| (room.all.saturating_sub(room.free.available_permits()), room.all))
    }
}
