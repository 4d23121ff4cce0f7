//! The calls of this replica in flight: one table, in which each has its router, when it was sent, and what it holds of that
//! router: a probe slot, a reservation of its rate limits. Status, draining, `least_busy` and `fastest` read it.
//!
//! A call that passes the gateway ends with the message or the log that shows its stamp, or when the gateway has cut it off
//! for sure. What it used is known from its log, which comes last. An attempt of the relay lasts as long as it takes: the
//! relay always reports its end.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::load::rate_limit::Reservation;
use crate::table::Table;
use types::router::RouterId;
use types::time::BrokerTime;

/// How long a call through the gateway may last: then the gateway closes it (docs/gateway-protocol.md 1.6). An upstream may
/// take longer, but few do.
pub(crate) const MAX_CALL_DURATION: Duration = Duration::from_secs(200);

/// Calls kept at most, each for calls through the gateway and for attempts of the relay; 48 bytes each. Beyond 300 a second
/// without a log, the oldest are removed early, as if they had timed out.
pub const MAX_CALLS: usize = 65_536;

/// The table grows by copying only up to here, and then at once to its capacity: it grows under the broker's lock, and to copy
/// half of the capacity takes some hundred times as long as a decision.
const FEW_CALLS: usize = 1_024;

/// One call in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct InFlightCall {
    /// Where it was sent.
    pub(crate) router: RouterId,
    pub(crate) started: BrokerTime,
    /// It holds a probe slot of its router.
    pub(crate) probe: bool,
    /// What it takes of the router's rate limits.
    pub(crate) reservation: Option<Reservation>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    call: InFlightCall,
    /// The call is over, and its log, which says what it used, is yet to come.
    over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct CallCounts {
    running: u32,
    timed_out: u64,
}

/// All calls of this replica in flight.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct InFlight {
    /// By number, from `first` on, and so by the time of their start; `None` for what is not here (any more). The first one is
    /// here.
    calls: VecDeque<Option<Entry>>,
    first: u64,
    /// Attempts of the relay, by their numbers.
    attempts: FxHashMap<u64, InFlightCall>,
    routers: Table<RouterId, CallCounts>,
    /// A stamp was seen, so the ends of calls can be known.
    paired: bool,
}

impl InFlight {
    /// A call was sent. A known number is not added again. Evict first.
    pub(crate) fn start(&mut self, number: u64, call: InFlightCall) {
        if self.calls.is_empty() {
            self.first = number;
        }
        let entry = Entry { call, over: false };
        if self.calls.len() == self.calls.capacity() && self.calls.len() >= FEW_CALLS {
            self.calls.reserve_exact(MAX_CALLS - self.calls.len());
        }
        match number.cmp(&self.first.wrapping_add(self.calls.len() as u64)) {
            Ordering::Equal => self.calls.push_back(Some(entry)),
            Ordering::Greater if self.place(number, entry) => {}
            Ordering::Greater | Ordering::Less => return,
        }
        self.routers.get_or_grow(call.router).running += 1;
    }

    /// The next call that has to make room for this one.
    pub(crate) fn evict(&mut self, number: u64) -> Option<(u64, InFlightCall)> {
        let full = !self.calls.is_empty() && number.wrapping_sub(self.first) >= MAX_CALLS as u64;
        if full && number > self.first { self.pop_first() } else { None }
    }

    /// The relay sent an attempt and will report its end. Beyond the capacity it is not kept.
    pub(crate) fn start_attempt(&mut self, number: u64, call: InFlightCall) {
        if self.attempts.len() < MAX_CALLS && self.attempts.insert(number, call).is_none() {
            self.routers.get_or_grow(call.router).running += 1;
        }
    }

    /// A call is over; its log, which says what it used, is yet to come.
    pub(crate) fn answered(&mut self, number: u64) -> Option<InFlightCall> {
        if let Some(call) = self.attempts.get(&number).copied() {
            self.finish(number);
            if call.reservation.is_some() {
                self.place(number, Entry { call, over: true });
            }
            return Some(call);
        }
        self.paired = true;
        let entry = self.entry(number)?.as_mut()?;
        let (call, over) = (entry.call, std::mem::replace(&mut entry.over, true));
        if !over {
            self.close(call.router, false);
        }
        if !call.probe && call.reservation.is_none() {
            self.finish(number);
        }
        Some(call)
    }

    /// A call is over, and what it held is free: the caller accounts for it. `None` if it was not in flight any more.
    pub(crate) fn finish(&mut self, number: u64) -> Option<InFlightCall> {
        self.paired = true;
        let (call, over) = match self.attempts.remove(&number) {
            Some(call) => (call, false),
            None => self.entry(number)?.take().map(|entry| (entry.call, entry.over))?,
        };
        if !over {
            self.close(call.router, false);
        }
        self.drop_empty();
        Some(call)
    }

    /// The next call that the gateway has cut off by now.
    pub(crate) fn expire(&mut self, now: BrokerTime) -> Option<(u64, InFlightCall)> {
        if self.next_deadline()? <= now { self.pop_first() } else { None }
    }

    /// When the oldest call times out.
    pub(crate) fn next_deadline(&self) -> Option<BrokerTime> {
        self.calls.front()?.as_ref().map(|entry| entry.call.started.after(MAX_CALL_DURATION))
    }

    /// Calls in flight to a router.
    #[inline]
    pub(crate) fn pending(&self, router: RouterId) -> u32 {
        self.routers.get(router).map_or(0, |counts| counts.running)
    }

    /// The same for status: `None` until a stamp was seen, because without stamps every call seems to last.
    pub(crate) fn running(&self, router: RouterId) -> Option<u32> {
        self.paired.then(|| self.pending(router))
    }

    /// Calls to a router without an outcome; `None` as above.
    pub(crate) fn timed_out(&self, router: RouterId) -> Option<u64> {
        self.paired.then(|| self.routers.get(router).map_or(0, |counts| counts.timed_out))
    }

    /// Whether a call is in flight, or over and without its log.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let call = self.index(number).and_then(|index| self.calls.get(index));
        call.is_some_and(Option::is_some) || self.attempts.contains_key(&number)
    }

    /// Whether this call holds a probe slot of this router.
    pub(crate) fn is_probe(&self, number: u64, router: RouterId) -> bool {
        self.all().any(|(other, call)| other == number && call.probe && call.router == router)
    }

    /// Whether each router's count is that of its calls, and their number is bounded.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut counts: Table<RouterId, u32> = self.routers.values().map(|_| 0).collect();
        let running = self.calls.iter().flatten().filter(|entry| !entry.over).map(|entry| entry.call.router);
        for router in running.chain(self.attempts.values().map(|call| call.router)) {
            *counts.get_or_grow(router) += 1;
        }
        let bounded = self.calls.len() <= MAX_CALLS && self.attempts.len() <= MAX_CALLS;
        bounded && counts.into_iter().eq(self.routers.values().map(|counts| counts.running))
    }

    /// Whether nothing but attempts of the relay is left.
    pub(crate) fn is_quiet(&self) -> bool {
        self.calls.is_empty()
    }

    /// Every call with its number, those whose log is yet to come included.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, &InFlightCall)> {
        let calls = (self.first..).zip(&self.calls).filter_map(|(number, entry)| Some((number, &entry.as_ref()?.call)));
        calls.chain(self.attempts.iter().map(|(number, call)| (*number, call)))
    }

    /// Where the call with this number is in `calls`, or would be; `None` if the number is before the first.
    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    fn entry(&mut self, number: u64) -> Option<&mut Option<Entry>> {
        let index = self.index(number)?;
        self.calls.get_mut(index)
    }

    /// Puts a call to its place; false if that is too far back, or too far ahead.
    fn place(&mut self, number: u64, entry: Entry) -> bool {
        if self.calls.is_empty() {
            self.first = number;
        }
        let Some(place) = self.index(number).filter(|place| *place < MAX_CALLS) else {
            return false;
        };
        if place > self.calls.len() {
            self.calls.resize(place, None);
        }
        match self.calls.get_mut(place) {
            Some(known) => *known = Some(entry),
            None => self.calls.push_back(Some(entry)),
        }
        true
    }

    fn pop_first(&mut self) -> Option<(u64, InFlightCall)> {
        let (number, entry) = (self.first, self.calls.pop_front()?);
        self.first = self.first.wrapping_add(1);
        self.drop_empty();
        let entry = entry?;
        if !entry.over {
            self.close(entry.call.router, true);
        }
        Some((number, entry.call))
    }

    fn drop_empty(&mut self) {
        while self.calls.front().is_some_and(Option::is_none) {
            self.calls.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    fn close(&mut self, router: RouterId, timed_out: bool) {
        if let Some(counts) = self.routers.get_mut(router) {
            counts.running = counts.running.saturating_sub(1);
            counts.timed_out += u64::from(timed_out);
        }
    }
}

#[cfg(test)]
mod tests;
