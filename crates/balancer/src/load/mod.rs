//! Calls in flight and latency of each router, for the policies `fastest` and `least_busy`.
//!
//! Calls in flight are this replica's own, paired with their logs by their stamps; latency is learned from every log.
//! Health is not considered here: a failing router looks slow. Built only where a policy needs it.

mod in_flight;
mod latency_ewma;
pub mod rate_limit;
mod rate_window;

use std::time::Duration;

pub use in_flight::CAPACITY;
pub use latency_ewma::LatencyEwma;

use in_flight::InFlight;
use rustc_hash::FxHashMap;
use types::outcome::Outcome;
use types::router::RouterId;
use types::time::BrokerTime;

/// How long a call through the gateway without a log counts as in flight: as long as the gateway lets a call last
/// (docs/gateway-protocol.md 1.6).
pub const MAX_CALL_DURATION: Duration = Duration::from_secs(200);
/// This many decisions, all older than [`LOG_TIMEOUT`] and none of them seen in a log, raise an advisory.
pub const UNSEEN_STAMPS: u32 = 20;
/// How long a call's log may reasonably take.
pub const LOG_TIMEOUT: Duration = Duration::from_secs(10);
/// The medians of the pools are refreshed at most this often.
const MEDIAN_REFRESH: Duration = Duration::from_secs(1);

/// The load of one router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Calls of this replica in flight.
    pub pending: u32,
    /// Its latency, decayed to now.
    pub speed: LatencyEwma,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Router {
    pending: u32,
    /// The last latency, and when it was learned.
    speed: Option<(LatencyEwma, BrokerTime)>,
}

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

/// The loads of all routers.
#[derive(Debug, Clone, PartialEq)]
pub struct Loads {
    now: BrokerTime,
    routers: Vec<Router>,
    in_flight: InFlight<RouterId>,
    /// Attempts of the relay, by their numbers: they last until the relay reports their end.
    attempts: FxHashMap<u64, RouterId>,
    stamps: Stamps,
    /// When the medians may be refreshed next.
    next_median_refresh: Option<BrokerTime>,
}

impl Default for Loads {
    fn default() -> Self {
        Self {
            now: BrokerTime::from_nanos(0),
            routers: Vec::new(),
            in_flight: InFlight::default(),
            attempts: FxHashMap::default(),
            stamps: Stamps::Unseen(0),
            next_median_refresh: None,
        }
    }
}

impl Loads {
    /// The load of a router in a pool with this median latency. A router without samples counts as the median until
    /// it has one call, and then as the slowest until that call has ended. Latency decays towards the median.
    pub fn load_of(&self, router: RouterId, median: Option<LatencyEwma>) -> Load {
        let Router { pending, speed } = self.routers.get(usize::from(router.0)).copied().unwrap_or_default();
        let speed = match speed {
            Some((speed, at)) => speed.decayed_toward(at, self.now, median.unwrap_or(speed)),
            None if pending == 0 => median.unwrap_or(LatencyEwma::SLOWEST),
            None => LatencyEwma::SLOWEST,
        };
        Load { pending, speed }
    }

    /// The latency as last learned.
    pub fn observed_latency(&self, router: RouterId) -> Option<LatencyEwma> {
        self.routers.get(usize::from(router.0))?.speed.map(|(speed, _)| speed)
    }

    /// Whether a router without samples already has its one call.
    pub fn is_warming_up(&self, router: RouterId) -> bool {
        self.routers.get(usize::from(router.0)).is_some_and(|router| router.pending > 0 && router.speed.is_none())
    }

    /// Calls of this replica in flight to a router.
    pub fn pending(&self, router: RouterId) -> u32 {
        self.routers.get(usize::from(router.0)).map_or(0, |router| router.pending)
    }

    /// The time of the last event.
    pub const fn now(&self) -> BrokerTime {
        self.now
    }

    /// Advances the clock, so that the next choice sees decayed values.
    pub const fn advance_clock(&mut self, now: BrokerTime) {
        self.now = now;
    }

    /// A decision was answered.
    pub fn begin(&mut self, number: u64, router: RouterId, now: BrokerTime) {
        self.now = now;
        if let Stamps::Unseen(count) = self.stamps {
            self.stamps = if count + 1 < UNSEEN_STAMPS { Stamps::Unseen(count + 1) } else { Stamps::Awaited(now) };
        }
        let (begun, oldest) = self.in_flight.begin(number, router, now.after(MAX_CALL_DURATION));
        if begun {
            self.start(router);
        }
        self.finish(oldest);
    }

    /// The relay began an attempt, and will report its end however long it takes. Beyond the capacity it is not tracked.
    pub fn begin_attempt(&mut self, number: u64, router: RouterId, now: BrokerTime) {
        self.now = now;
        if self.attempts.len() < CAPACITY && self.attempts.insert(number, router).is_none() {
            self.start(router);
        }
    }

    fn start(&mut self, router: RouterId) {
        let place = usize::from(router.0);
        if place >= self.routers.len() {
            self.routers.resize_with(place + 1, Router::default);
        }
        if let Some(router) = self.routers.get_mut(place) {
            router.pending = router.pending.saturating_add(1);
        }
    }

    /// A log has shown the stamp of this decision: the call is over.
    pub fn end(&mut self, number: u64) {
        self.stamps = Stamps::Settled;
        let over = self.attempts.remove(&number).or_else(|| self.in_flight.end(number));
        self.finish(over);
    }

    /// Expires calls without a log. True, once, if the log shows no stamps.
    pub fn expire(&mut self, now: BrokerTime) -> bool {
        self.now = now;
        while let Some(over) = self.in_flight.expire(now) {
            self.finish(Some(over));
        }
        let unseen = matches!(self.stamps, Stamps::Awaited(since) if since.after(LOG_TIMEOUT) <= now);
        if unseen {
            self.stamps = Stamps::Settled;
        }
        unseen
    }

    /// When time alone changes something.
    pub fn next_deadline(&self) -> Option<BrokerTime> {
        let awaited = match self.stamps {
            Stamps::Awaited(since) => Some(since.after(LOG_TIMEOUT)),
            Stamps::Unseen(_) | Stamps::Settled => None,
        };
        match (self.in_flight.next_expiry(), awaited) {
            (Some(expiry), Some(awaited)) => Some(expiry.min(awaited)),
            (expiry, awaited) => expiry.or(awaited),
        }
    }

    /// Learns a call's latency. True if the medians should be refreshed.
    pub fn learn(&mut self, outcome: &Outcome, now: BrokerTime) -> bool {
        self.now = now;
        let place = usize::from(outcome.router.0);
        if place >= self.routers.len() {
            self.routers.resize_with(place + 1, Router::default);
        }
        let Some(router) = self.routers.get_mut(place) else { return false };
        let before = router.speed.map(|(speed, _)| speed);
        let Some(sample) = LatencyEwma::from_outcome(outcome, before) else { return false };
        let after = router.speed.map_or(sample, |(speed, at)| speed.with(sample, at, now));
        router.speed = Some((after, now));
        let due = self.next_median_refresh.is_none_or(|due| due <= now);
        if due {
            self.next_median_refresh = Some(now.after(MEDIAN_REFRESH));
        }
        due
    }

    /// Whether each router's count matches its calls, and the number of calls is bounded.
    pub fn is_consistent(&self) -> bool {
        let mut counts = vec![0_u32; self.routers.len()];
        for router in self.in_flight.active().chain(self.attempts.values().copied()) {
            if let Some(count) = counts.get_mut(usize::from(router.0)) {
                *count += 1;
            }
        }
        counts.into_iter().eq(self.routers.iter().map(|router| router.pending)) && self.in_flight.len() <= CAPACITY
    }

    /// Whether nothing but attempts of the relay is in flight.
    pub fn is_idle(&self) -> bool {
        let pending = self.routers.iter().map(|router| router.pending as usize).sum::<usize>();
        pending == self.attempts.len()
    }

    fn finish(&mut self, router: Option<RouterId>) {
        if let Some(router) = router.and_then(|router| self.routers.get_mut(usize::from(router.0))) {
            router.pending = router.pending.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
