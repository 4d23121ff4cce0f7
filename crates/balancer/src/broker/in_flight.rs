//! Calls in flight, by decision number. For status and for draining; it decides nothing.
//!
//! Bounded in number and, for calls that pass the gateway, in time: a call that is removed without an outcome counts as
//! timed out. An attempt of the relay lasts as long as it takes: the relay always reports its end.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::health::MAX_CALL_DURATION;
use types::router::RouterId;
use types::time::BrokerTime;

/// Calls tracked at most; beyond that the oldest is removed.
pub const CAPACITY: usize = 16_384;

/// The calls of this replica in flight.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlightCalls {
    /// From the oldest open call on; `None` once closed.
    calls: VecDeque<Option<(RouterId, BrokerTime)>>,
    /// The number of the oldest.
    first: u64,
    /// Attempts of the relay, by their numbers.
    attempts: FxHashMap<u64, RouterId>,
    /// Per router: open calls, and calls that timed out.
    routers: Vec<(u32, u64)>,
    /// A stamp was seen in a log, so outcomes can be paired with decisions.
    paired: bool,
}

impl InFlightCalls {
    /// A decision sent a call there.
    pub(super) fn begin(&mut self, number: u64, router: RouterId, now: BrokerTime) {
        if self.calls.is_empty() {
            self.first = number;
        }
        if self.calls.len() >= CAPACITY {
            self.forget_first();
        }
        self.calls.push_back(Some((router, now)));
        self.open_one(router);
    }

    /// The relay began an attempt, and will report its end. Beyond the capacity it is not tracked.
    pub(super) fn begin_attempt(&mut self, number: u64, router: RouterId) {
        if self.attempts.len() < CAPACITY && self.attempts.insert(number, router).is_none() {
            self.open_one(router);
        }
        // The numbers of the others stay their places in the queue.
        if !self.calls.is_empty() {
            self.calls.push_back(None);
            if self.calls.len() > CAPACITY {
                self.forget_first();
            }
        }
    }

    fn open_one(&mut self, router: RouterId) {
        let place = usize::from(router.0);
        if self.routers.len() <= place {
            self.routers.resize(place + 1, (0, 0));
        }
        self.routers[place].0 += 1;
    }

    /// The outcome of a decision is known.
    pub(super) fn end(&mut self, number: u64) {
        self.paired = true;
        if let Some(router) = self.attempts.remove(&number) {
            self.close(router, false);
            return;
        }
        let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let call = place.and_then(|place| self.calls.get_mut(place)).and_then(Option::take);
        if let Some((router, _)) = call {
            self.close(router, false);
        }
        while self.calls.front().is_some_and(Option::is_none) {
            self.calls.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Removes calls that the gateway has cut off by now.
    pub(super) fn expire(&mut self, now: BrokerTime) {
        while self.calls.front().is_some_and(|call| call.is_none_or(|(_, at)| at.after(MAX_CALL_DURATION) <= now)) {
            self.forget_first();
        }
    }

    /// When the oldest call times out.
    pub(super) fn next_deadline(&self) -> Option<BrokerTime> {
        self.calls.front().copied().flatten().map(|(_, at)| at.after(MAX_CALL_DURATION))
    }

    /// Calls in flight to a router. `None` until a stamp was seen in a log.
    pub(super) fn open(&self, router: RouterId) -> Option<u32> {
        self.paired.then(|| self.counts(router).0)
    }

    /// Calls to a router without an outcome; `None` as above.
    pub(super) fn timed_out(&self, router: RouterId) -> Option<u64> {
        self.paired.then(|| self.counts(router).1)
    }

    fn counts(&self, router: RouterId) -> (u32, u64) {
        self.routers.get(usize::from(router.0)).copied().unwrap_or_default()
    }

    fn forget_first(&mut self) {
        if let Some(Some((router, _))) = self.calls.pop_front() {
            self.close(router, true);
        }
        self.first = self.first.wrapping_add(1);
    }

    fn close(&mut self, router: RouterId, timed_out: bool) {
        if let Some((open, forgotten)) = self.routers.get_mut(usize::from(router.0)) {
            *open = open.saturating_sub(1);
            *forgotten += u64::from(timed_out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: RouterId = RouterId(0);
    const B: RouterId = RouterId(3);
    const START: BrokerTime = BrokerTime::from_nanos(1);

    #[test]
    fn calls_are_open_until_their_outcome_is_known() {
        let mut calls = InFlightCalls::default();
        for (number, router) in [(5, A), (6, B), (7, A)] {
            calls.begin(number, router, START);
        }
        assert_eq!(calls.open(A), None, "no stamp has come back yet");
        calls.end(6);
        assert_eq!((calls.open(A), calls.open(B)), (Some(2), Some(0)));
        calls.end(6);
        calls.end(4);
        calls.end(99);
        assert_eq!((calls.open(A), calls.open(B)), (Some(2), Some(0)), "twice, long ago, never");
        calls.end(5);
        calls.end(7);
        assert_eq!((calls.open(A), calls.timed_out(A)), (Some(0), Some(0)));
        calls.begin(8, A, START);
        assert_eq!(calls.open(A), Some(1), "goes on after it was empty");
    }

    #[test]
    fn what_is_never_heard_of_is_forgotten_and_counted() {
        let mut calls = InFlightCalls::default();
        calls.begin(0, A, START);
        calls.begin(1, B, START.after(Duration::from_secs(1)));
        calls.end(77);
        calls.expire(START.after(MAX_CALL_DURATION));
        assert_eq!((calls.open(A), calls.timed_out(A)), (Some(0), Some(1)));
        assert_eq!((calls.open(B), calls.timed_out(B)), (Some(1), Some(0)));
        calls.end(1);
        assert_eq!((calls.open(B), calls.timed_out(B)), (Some(0), Some(0)));
    }

    #[test]
    fn s1_5_attempts_of_the_relay_never_expire_and_keep_the_places_of_other_calls() {
        let mut calls = InFlightCalls::default();
        calls.begin_attempt(0, A);
        calls.begin(1, B, START);
        calls.begin_attempt(2, A);
        calls.begin(3, B, START.after(Duration::from_secs(1)));
        calls.end(99);
        assert_eq!((calls.open(A), calls.open(B)), (Some(2), Some(2)));
        calls.end(3);
        assert_eq!((calls.open(A), calls.open(B)), (Some(2), Some(1)), "found behind the attempt");
        calls.expire(START.after(Duration::from_secs(3_600)));
        assert_eq!((calls.open(A), calls.timed_out(A)), (Some(2), Some(0)));
        assert_eq!((calls.open(B), calls.timed_out(B), calls.next_deadline()), (Some(0), Some(1), None));
        calls.end(0);
        calls.end(2);
        assert_eq!((calls.open(A), calls.timed_out(A)), (Some(0), Some(0)));
    }

    #[test]
    fn it_is_bounded() {
        let mut calls = InFlightCalls::default();
        let more = CAPACITY as u64 + 10;
        for number in 0..more {
            calls.begin(number, A, START);
        }
        calls.end(more - 1);
        assert_eq!(calls.calls.len(), CAPACITY);
        assert_eq!((calls.open(A), calls.timed_out(A)), (Some(CAPACITY as u32 - 1), Some(10)));
    }
}
