//! What each router is busy with and how fast it has been: what the modes `fastest` and `least_busy` choose by.
//!
//! A fold over events like all of the core: decisions that were answered, stamps that the log has shown, outcomes, time.
//! Calls under way are this replica's own and nobody else's, found again by their stamps; speed is learnt from every log. It
//! refuses to know pools and to judge health: a router that fails looks slow here, and whether it may serve is asked
//! elsewhere. Nobody builds one where no mode asks for it.

mod in_flight;
mod latency_ewma;
pub mod rate_limit;
mod rate_window;

use std::time::Duration;

pub use in_flight::CAPACITY;
pub use latency_ewma::LatencyEwma;

use in_flight::InFlight;
use types::outcome::Outcome;
use types::router::RouterId;
use types::time::BrokerTime;

/// How long a call counts as under way of which no log is seen: as long as the gateway lets one last (GATEWAY.md 1.6), so
/// that none is taken for over that is not.
pub const MAX_CALL_DURATION: Duration = Duration::from_secs(200);
/// So many decisions, [`LOG_TIMEOUT`] old and none of them seen in a log, are worth a word.
pub const UNSEEN_STAMPS: u32 = 20;
/// How long the log of a call may reasonably take.
pub const LOG_TIMEOUT: Duration = Duration::from_secs(10);
/// How often at most the middles of the pools are worth finding anew.
const MEDIAN_REFRESH: Duration = Duration::from_secs(1);

/// What a choice knows of one router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Calls of this replica that are under way there.
    pub pending: u32,
    /// How fast it is, by all that is known now.
    pub speed: LatencyEwma,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Router {
    pending: u32,
    /// What was learnt, and when last.
    speed: Option<(LatencyEwma, BrokerTime)>,
}

/// Whether logs show our stamps at all.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stamps {
    /// So many decisions, and no stamp was seen.
    Unseen(u32),
    /// There were enough of them at this moment.
    Awaited(BrokerTime),
    /// One was seen, or it was said that none is.
    Settled,
}

/// The loads of all routers.
#[derive(Debug, Clone, PartialEq)]
pub struct Loads {
    now: BrokerTime,
    routers: Vec<Router>,
    in_flight: InFlight<RouterId>,
    stamps: Stamps,
    /// From when on the middles are worth finding anew.
    next_median_refresh: Option<BrokerTime>,
}

impl Default for Loads {
    fn default() -> Self {
        Self {
            now: BrokerTime::from_nanos(0),
            routers: Vec::new(),
            in_flight: InFlight::default(),
            stamps: Stamps::Unseen(0),
            next_median_refresh: None,
        }
    }
}

impl Loads {
    /// What is known of a router among others of this `median`. A newcomer is as fast as the median until it has one request,
    /// and then as slow as can be until that one has told how fast it is. What is known fades towards the median.
    pub fn load_of(&self, router: RouterId, median: Option<LatencyEwma>) -> Load {
        let Router { pending, speed } = self.routers.get(usize::from(router.0)).copied().unwrap_or_default();
        let speed = match speed {
            Some((speed, at)) => speed.decayed_toward(at, self.now, median.unwrap_or(speed)),
            None if pending == 0 => median.unwrap_or(LatencyEwma::SLOWEST),
            None => LatencyEwma::SLOWEST,
        };
        Load { pending, speed }
    }

    /// What was last learnt of a router.
    pub fn observed_latency(&self, router: RouterId) -> Option<LatencyEwma> {
        self.routers.get(usize::from(router.0))?.speed.map(|(speed, _)| speed)
    }

    /// Whether a router is a newcomer that has its one request.
    pub fn is_warming_up(&self, router: RouterId) -> bool {
        self.routers.get(usize::from(router.0)).is_some_and(|router| router.pending > 0 && router.speed.is_none())
    }

    /// Calls of ours that are under way at a router.
    pub fn pending(&self, router: RouterId) -> u32 {
        self.routers.get(usize::from(router.0)).map_or(0, |router| router.pending)
    }

    /// The moment of the last event.
    pub const fn now(&self) -> BrokerTime {
        self.now
    }

    /// Nothing has happened but time. Before a choice, so that it sees what is known as old as it is.
    pub const fn advance_clock(&mut self, now: BrokerTime) {
        self.now = now;
    }

    /// The decision of this number was answered.
    pub fn begin(&mut self, number: u64, router: RouterId, now: BrokerTime) {
        self.now = now;
        let place = usize::from(router.0);
        if place >= self.routers.len() {
            self.routers.resize_with(place + 1, Router::default);
        }
        if let Stamps::Unseen(count) = self.stamps {
            self.stamps = if count + 1 < UNSEEN_STAMPS { Stamps::Unseen(count + 1) } else { Stamps::Awaited(now) };
        }
        let (begun, oldest) = self.in_flight.begin(number, router, now.after(MAX_CALL_DURATION));
        if let Some(router) = self.routers.get_mut(place) {
            router.pending = router.pending.saturating_add(u32::from(begun));
        }
        self.finish(oldest);
    }

    /// A log has shown the stamp of this decision: the call is over, whatever came of it.
    pub fn end(&mut self, number: u64) {
        self.stamps = Stamps::Settled;
        let over = self.in_flight.end(number);
        self.finish(over);
    }

    /// Forgets calls of which nothing will be heard. True if it is time to say that logs show no stamps; only once.
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

    /// A log told how a call ended. True if the middles should be found anew.
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

    /// Whether each router's count is that of its calls, and each call ends in time.
    pub fn is_consistent(&self) -> bool {
        let mut counts = vec![0_u32; self.routers.len()];
        for router in self.in_flight.active() {
            if let Some(count) = counts.get_mut(usize::from(router.0)) {
                *count += 1;
            }
        }
        counts.into_iter().eq(self.routers.iter().map(|router| router.pending)) && self.in_flight.len() <= CAPACITY
    }

    /// Whether nothing is under way anywhere.
    pub fn is_idle(&self) -> bool {
        self.routers.iter().all(|router| router.pending == 0)
    }

    fn finish(&mut self, router: Option<RouterId>) {
        if let Some(router) = router.and_then(|router| self.routers.get_mut(usize::from(router.0))) {
            router.pending = router.pending.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
