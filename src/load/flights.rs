//! Calls of ours that are under way: a decision puts one in, the log that shows its stamp takes it out, or else its time.
//!
//! Decisions have rising numbers and all calls the same patience, so a queue is enough: it is in order of both, and no step
//! but finding a number costs more the fuller it is. What is over stays until everything before it is over too.

use std::collections::VecDeque;

use crate::router::RouterId;
use crate::time::Now;

/// How many decisions are remembered, 1.5 MB of them: beyond 300 a second of which no log is seen, the oldest leave early, as
/// if their time were over.
pub const CAPACITY: usize = 65_536;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Flight {
    number: u64,
    ends: Now,
    /// Where; nowhere any more if it is over.
    router: Option<RouterId>,
}

/// All of them, the oldest first. The first is not over.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Flights(VecDeque<Flight>);

impl Flights {
    /// Puts a call in. Whether it was, which only a number that was there before is not; and where the oldest was that had to
    /// make room.
    pub(super) fn begin(&mut self, number: u64, router: RouterId, ends: Now) -> (bool, Option<RouterId>) {
        if self.0.back().is_some_and(|last| last.number >= number) {
            return (false, None);
        }
        let oldest = if self.0.len() < CAPACITY { None } else { self.leave() };
        self.0.push_back(Flight { number, ends, router: Some(router) });
        (true, oldest)
    }

    /// Takes a call out: where it was, if it was still under way.
    pub(super) fn end(&mut self, number: u64) -> Option<RouterId> {
        let place = self.0.binary_search_by_key(&number, |flight| flight.number).ok()?;
        let router = self.0.get_mut(place)?.router.take();
        self.tidy();
        router
    }

    /// Takes a call out whose time is over, one at a time.
    pub(super) fn expire(&mut self, now: Now) -> Option<RouterId> {
        if self.next_expiry()? <= now { self.leave() } else { None }
    }

    pub(super) fn next_expiry(&self) -> Option<Now> {
        self.0.front().map(|first| first.ends)
    }

    pub(super) fn under_way(&self) -> impl Iterator<Item = RouterId> {
        self.0.iter().filter_map(|flight| flight.router)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn leave(&mut self) -> Option<RouterId> {
        let router = self.0.pop_front()?.router;
        self.tidy();
        router
    }

    fn tidy(&mut self) {
        while self.0.front().is_some_and(|first| first.router.is_none()) {
            self.0.pop_front();
        }
    }
}
