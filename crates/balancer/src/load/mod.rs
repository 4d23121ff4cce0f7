//! Latency of each router, for the policies `fastest` and `least_busy`, which also read the calls in flight.
//!
//! Latency is learned from every log. Health is not considered here: a failing router looks slow. Built only where a
//! policy needs it.

mod latency_ewma;
pub mod model_limits;
pub mod rate_limit;
mod rate_window;

use std::time::Duration;

pub use latency_ewma::LatencyEwma;

use crate::in_flight::InFlight;
use crate::table::Table;
use types::outcome::Outcome;
use types::router::RouterId;
use types::time::BrokerTime;

/// This many decisions, all older than [`LOG_TIMEOUT`] and none of them seen in a log, raise an advisory.
pub(crate) const UNSEEN_STAMPS: u32 = 20;
/// How long a call's log may reasonably take.
pub(crate) const LOG_TIMEOUT: Duration = Duration::from_secs(10);
/// The medians of the pools are refreshed at most this often.
const MEDIAN_REFRESH: Duration = Duration::from_secs(1);

/// The load of one router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Calls of this replica in flight.
    pub pending: u32,
    /// Its latency, decayed to now.
    pub latency: LatencyEwma,
}

/// The last latency of a router, and when it was learned.
type Learned = Option<(LatencyEwma, BrokerTime)>;

/// Whether the log shows the broker's stamps at all.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stamps {
    /// Decisions so far; no stamp was seen.
    Unseen(u32),
    /// There were enough decisions at this moment.
    Awaited(BrokerTime),
    /// A stamp was seen, or the advisory was raised.
    Settled,
}

/// The latencies of all routers.
#[derive(Debug, Clone, PartialEq)]
pub struct Loads {
    now: BrokerTime,
    routers: Table<RouterId, Learned>,
    stamps: Stamps,
    /// When the medians may be refreshed next.
    next_median_refresh: Option<BrokerTime>,
}

impl Default for Loads {
    fn default() -> Self {
        Self {
            now: BrokerTime::from_nanos(0),
            routers: Table::default(),
            stamps: Stamps::Unseen(0),
            next_median_refresh: None,
        }
    }
}

/// What policies that choose by load read.
#[derive(Debug, Clone, Copy)]
pub struct LoadReader<'a> {
    pub(crate) loads: &'a Loads,
    pub(crate) in_flight: &'a InFlight,
}

impl LoadReader<'_> {
    /// The load of a router in a pool with this median latency. A router without samples counts as the median until
    /// it has one call, and then as the slowest until that call has ended. Latency decays towards the median.
    pub(crate) fn load_of(&self, router: RouterId, median: Option<LatencyEwma>) -> Load {
        let pending = self.pending(router);
        let latency = match self.loads.routers.get(router).copied().flatten() {
            Some((latency, at)) => latency.decayed_toward(at, self.loads.now, median.unwrap_or(latency)),
            None if pending == 0 => median.unwrap_or(LatencyEwma::MAX),
            None => LatencyEwma::MAX,
        };
        Load { pending, latency }
    }

    /// Whether a router without samples already has its one call.
    pub(crate) fn is_warming_up(&self, router: RouterId) -> bool {
        self.loads.observed_latency(router).is_none() && self.pending(router) > 0
    }

    /// Calls of this replica in flight to a router.
    pub fn pending(&self, router: RouterId) -> u32 {
        self.in_flight.pending(router)
    }
}

impl Loads {
    /// The latency as last learned.
    pub(crate) fn observed_latency(&self, router: RouterId) -> Option<LatencyEwma> {
        self.routers.get(router).copied().flatten().map(|(latency, _)| latency)
    }

    /// Advances the clock, so that the next choice sees decayed values.
    pub const fn advance_clock(&mut self, now: BrokerTime) {
        self.now = now;
    }

    /// A decision was answered, and its log will show the stamp.
    pub(crate) const fn await_stamp(&mut self, now: BrokerTime) {
        if let Stamps::Unseen(count) = self.stamps {
            self.stamps = if count + 1 < UNSEEN_STAMPS { Stamps::Unseen(count + 1) } else { Stamps::Awaited(now) };
        }
    }

    /// A stamp was seen.
    pub(crate) const fn stamp_seen(&mut self) {
        self.stamps = Stamps::Settled;
    }

    /// True, once, if the log shows no stamps.
    pub(crate) fn misses_stamps(&mut self, now: BrokerTime) -> bool {
        let unseen = self.next_deadline().is_some_and(|due| due <= now);
        if unseen {
            self.stamps = Stamps::Settled;
        }
        unseen
    }

    /// When time alone changes something.
    pub fn next_deadline(&self) -> Option<BrokerTime> {
        match self.stamps {
            Stamps::Awaited(since) => Some(since.after(LOG_TIMEOUT)),
            Stamps::Unseen(_) | Stamps::Settled => None,
        }
    }

    /// Learns a call's latency. True if the medians should be refreshed.
    pub fn learn(&mut self, outcome: &Outcome, now: BrokerTime) -> bool {
        self.now = now;
        let before = self.observed_latency(outcome.router);
        let Some(sample) = LatencyEwma::from_outcome(outcome, before) else { return false };
        let learned = self.routers.get_or_grow(outcome.router);
        let after = learned.map_or(sample, |(latency, at)| latency.with(sample, at, now));
        *learned = Some((after, now));
        let due = self.next_median_refresh.is_none_or(|due| due <= now);
        if due {
            self.next_median_refresh = Some(now.after(MEDIAN_REFRESH));
        }
        due
    }
}

#[cfg(test)]
mod tests;
