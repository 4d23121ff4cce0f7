//! Calls of ours that are under way: a decision puts one in, the log that shows its stamp takes it out, or else its time. With
//! each stands `what` whoever counts it wants to know then.
//!
//! Decisions have rising numbers and all calls the same patience, so a queue is enough: it is in order of both, and no step
//! but finding a number costs more the fuller it is. What is over stays until everything before it is over too.

use std::collections::VecDeque;

use types::time::BrokerTime;

/// How many decisions are remembered, 1.5 MB of them: beyond 300 a second of which no log is seen, the oldest leave early, as
/// if their time were over.
pub const CAPACITY: usize = 65_536;

#[derive(Debug, Clone, Copy, PartialEq)]
struct InFlightCall<T> {
    number: u64,
    ends: BrokerTime,
    /// What is known of it; nothing any more if it is over.
    what: Option<T>,
}

/// All of them, the oldest first. The first is not over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InFlight<T>(VecDeque<InFlightCall<T>>);

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Copy> InFlight<T> {
    /// Puts a call in. Whether it was, which only a number that was there before is not; and what was known of the oldest that
    /// had to make room.
    pub(super) fn begin(&mut self, number: u64, what: T, ends: BrokerTime) -> (bool, Option<T>) {
        if self.0.back().is_some_and(|last| last.number >= number) {
            return (false, None);
        }
        let oldest = if self.0.len() < CAPACITY { None } else { self.pop_oldest() };
        self.0.push_back(InFlightCall { number, ends, what: Some(what) });
        (true, oldest)
    }

    /// Takes a call out: what was known of it, if it was still under way.
    pub(super) fn end(&mut self, number: u64) -> Option<T> {
        let place = self.0.binary_search_by_key(&number, |call| call.number).ok()?;
        let what = self.0.get_mut(place)?.what.take();
        self.drop_finished();
        what
    }

    /// Takes a call out whose time is over, one at a time.
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
