//! Calls of this replica in flight, each with data for its owner. A decision adds one; the log that shows its stamp,
//! or its timeout, removes it.
//!
//! Decision numbers rise and all calls have the same timeout, so a queue is sorted by both: only finding a number
//! takes longer the more there are. A finished call stays until every earlier one is finished too.

use std::collections::VecDeque;

use types::time::BrokerTime;

/// Decisions kept, about 1.5 MB. Beyond 300 a second without a log, the oldest are removed early, as if they had
/// timed out.
pub const CAPACITY: usize = 65_536;

#[derive(Debug, Clone, Copy, PartialEq)]
struct InFlightCall<T> {
    number: u64,
    ends: BrokerTime,
    /// The owner's data; `None` once the call is finished.
    what: Option<T>,
}

/// Oldest first. The first one is not finished.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InFlight<T>(VecDeque<InFlightCall<T>>);

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Copy> InFlight<T> {
    /// Adds a call. Returns whether it was added (a known number is not), and the data of the oldest call if that was
    /// evicted.
    pub(super) fn begin(&mut self, number: u64, what: T, ends: BrokerTime) -> (bool, Option<T>) {
        if self.0.back().is_some_and(|last| last.number >= number) {
            return (false, None);
        }
        let oldest = if self.0.len() < CAPACITY { None } else { self.pop_oldest() };
        self.0.push_back(InFlightCall { number, ends, what: Some(what) });
        (true, oldest)
    }

    /// Removes a call and returns its data, if it was still in flight.
    pub(super) fn end(&mut self, number: u64) -> Option<T> {
        let place = self.0.binary_search_by_key(&number, |call| call.number).ok()?;
        let what = self.0.get_mut(place)?.what.take();
        self.drop_finished();
        what
    }

    /// Removes one call that has timed out.
    pub(super) fn expire(&mut self, now: BrokerTime) -> Option<T> {
        if self.next_expiry()? <= now { self.pop_oldest() } else { None }
    }

    pub(super) fn next_expiry(&self) -> Option<BrokerTime> {
        self.0.front().map(|first| first.ends)
    }

    pub(super) fn active(&self) -> impl Iterator<Item = T> {
        self.0.iter().filter_map(|call| call.what)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn pop_oldest(&mut self) -> Option<T> {
        let what = self.0.pop_front()?.what;
        self.drop_finished();
        what
    }

    fn drop_finished(&mut self) {
        while self.0.front().is_some_and(|first| first.what.is_none()) {
            self.0.pop_front();
        }
    }
}
