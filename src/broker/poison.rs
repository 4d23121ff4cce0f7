//! Requests that fail wherever they go: the request's own fault, and no router's.
//!
//! A client that tries a bad prompt again must not take one router after the other away from everybody. A request is
//! convicted if a second router fails it that has answered something else well since the first one failed it: of two routers
//! that are dead, none answers anything, so that the same health check failing on both convicts nobody. Whatever succeeds
//! anywhere is acquitted. It refuses to keep payloads: a length and a digest of both ends are enough to tell that a request
//! came again, and cost the same however long it is.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use super::Broker;
use super::learn::Verdict;
use crate::event::{Change, Notice};
use crate::health::Effect;
use crate::outcome::{Class, Outcome, Report};
use crate::router::RouterId;
use crate::time::{GatewayTime, Now};

/// How long a failed request is remembered.
pub(super) const MEMORY: Duration = Duration::from_secs(60);
/// How many are remembered, 16 KB of them; beyond that the oldest leaves early.
pub(super) const CAPACITY: usize = 256;
/// So many bytes of each end of a payload are looked at.
const END: usize = 4_096;

/// By what a request is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payload {
    length: usize,
    digest: u64,
}

impl Payload {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes.get(..END).unwrap_or(bytes));
        hasher.write(bytes.len().checked_sub(END).and_then(|start| bytes.get(start..)).unwrap_or_default());
        Self { length: bytes.len(), digest: hasher.finish() }
    }
}

/// A request that has failed.
#[derive(Debug, Clone, PartialEq)]
struct Suspect {
    payload: Payload,
    /// Where, and when by our clock and by the gateway's.
    router: RouterId,
    at: Now,
    stopped: Option<GatewayTime>,
    /// The epoch of the trip that it made.
    tripped: Option<u32>,
    convicted: bool,
}

/// What is known of a request that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing that would excuse the router.
    Nothing,
    /// It was convicted before.
    Known,
    /// It is convicted now. The router that failed it first, and the epoch of the trip that it made there.
    Convicted(RouterId, Option<u32>),
}

/// The requests that failed of late, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Suspects(VecDeque<Suspect>);

impl Suspects {
    /// A request failed, as this outcome says, at a router to which the last call that went well began at `well`.
    pub(super) fn failed(
        &mut self,
        payload: Payload,
        outcome: &Outcome,
        well: Option<GatewayTime>,
        now: Now,
    ) -> Finding {
        let Outcome { router, stopped, .. } = *outcome;
        self.forget(now);
        let Some(known) = self.0.iter_mut().find(|suspect| suspect.payload == payload) else {
            if self.0.len() == CAPACITY {
                self.0.pop_front();
            }
            self.0.push_back(Suspect { payload, router, at: now, stopped, tripped: None, convicted: false });
            return Finding::Nothing;
        };
        if known.convicted {
            return Finding::Known;
        }
        if known.router == router || known.stopped.zip(well).is_none_or(|(failed, well)| well <= failed) {
            return Finding::Nothing;
        }
        known.convicted = true;
        Finding::Convicted(known.router, known.tripped)
    }

    /// That failure took its router out.
    pub(super) fn tripped(&mut self, payload: Payload, router: RouterId, epoch: u32) {
        let of_it = |suspect: &&mut Suspect| suspect.payload == payload && suspect.router == router;
        if let Some(suspect) = self.0.iter_mut().find(of_it) {
            suspect.tripped = Some(epoch);
        }
    }

    /// A request was answered well. Its bytes are looked at only if a suspect is as long.
    pub(super) fn succeeded(&mut self, bytes: &[u8]) {
        if self.0.iter().any(|suspect| suspect.payload.length == bytes.len()) {
            let payload = Payload::of(bytes);
            self.0.retain(|suspect| suspect.payload != payload);
        }
    }

    fn forget(&mut self, now: Now) {
        while self.0.front().is_some_and(|suspect| suspect.at.after(MEMORY) <= now) {
            self.0.pop_front();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Broker {
    fn seeks_poison(&self, router: RouterId) -> bool {
        self.routers.get(usize::from(router.0)).is_some_and(|router| router.settings().health.poison)
    }

    /// Whether a request that failed is at fault itself (`poison`). If that is found out now, the router that it failed at
    /// first may be tried at once.
    pub(super) fn is_at_fault(
        &mut self,
        report: &Report<'_>,
        outcome: &Outcome,
        now: Now,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(payload) = report.payload.filter(|_| self.seeks_poison(outcome.router)) else { return false };
        match outcome.class {
            Class::Success => self.suspects.succeeded(payload),
            // No request makes a rate limit by what it says.
            Class::Neutral | Class::RateLimited => {}
            Class::Failure | Class::Overloaded => {
                let router = self.routers.get(usize::from(outcome.router.0));
                let well = router.and_then(|router| router.record.last_good_start);
                match self.suspects.failed(Payload::of(payload), outcome, well, now) {
                    Finding::Nothing => {}
                    Finding::Known => return true,
                    Finding::Convicted(first, tripped) => {
                        self.excuse(first, tripped, outcome.router, now, changes);
                        return true;
                    }
                }
            }
        }
        false
    }

    fn excuse(&mut self, first: RouterId, tripped: Option<u32>, second: RouterId, now: Now, changes: &mut Vec<Change>) {
        if let (Some(first), Some(second)) = (self.path(first), self.path(second)) {
            changes.push(Change::Notice(Notice::RequestAtFault(first.clone(), second.clone())));
        }
        let place = usize::from(first.0);
        let tried = tripped.and_then(|epoch| self.routers.change_health(place, |health, _| health.try_at_once(epoch)));
        if tried == Some(true) {
            self.announce(place, now, Change::Standing, changes);
        }
    }

    /// A message has counted against a router, and its log says that the request was at fault: that is taken back.
    pub(super) fn acquit(
        &mut self,
        outcome: &Outcome,
        verdict: Option<Verdict>,
        now: Now,
        changes: &mut Vec<Change>,
    ) -> Option<Verdict> {
        let place = usize::from(outcome.router.0);
        self.routers.record(place)?.add(outcome);
        let Verdict { effect, epoch } = verdict?;
        if self.routers.change_health(place, |health, _| health.acquit(effect, epoch)) == Some(true) {
            self.announce(place, now, Change::Standing, changes);
        }
        None
    }

    /// Which trip a request made, should it turn out to be at fault.
    pub(super) fn remember_trip(&mut self, report: &Report<'_>, router: RouterId, verdict: Option<Verdict>) {
        if let (Some(Verdict { effect: Effect::Tripped, epoch }), Some(payload)) = (verdict, report.payload)
            && self.seeks_poison(router)
        {
            self.suspects.tripped(Payload::of(payload), router, epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now::from_nanos(1_000_000_000_000);
    const A: RouterId = RouterId(0);
    const B: RouterId = RouterId(1);

    fn at(seconds: u64) -> Now {
        START.after(Duration::from_secs(seconds))
    }

    /// A failure of this router, answered at this second of the gateway's clock.
    fn failure(router: RouterId, second: u64) -> Outcome {
        Outcome {
            router,
            class: Class::Failure,
            status: 500,
            cause: crate::outcome::Cause::Answered(500),
            evidence: crate::outcome::Evidence::Word,
            lot: 0,
            hint: None,
            started: gateway(second),
            stopped: gateway(second),
            latency: None,
            tokens: None,
        }
    }

    fn gateway(second: u64) -> Option<GatewayTime> {
        Some(GatewayTime::from_nanos(second * 1_000_000_000))
    }

    fn bad() -> Payload {
        Payload::of(b"{\"prompt\": \"bad\"}")
    }

    #[test]
    fn who_fails_where_others_succeed_is_convicted() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.failed(bad(), &failure(A, 0), None, at(0)), Finding::Nothing);
        suspects.tripped(bad(), A, 3);
        assert_eq!(
            suspects.failed(bad(), &failure(A, 2), gateway(1), at(2)),
            Finding::Nothing,
            "the same router again"
        );
        assert_eq!(suspects.failed(bad(), &failure(B, 4), gateway(3), at(4)), Finding::Convicted(A, Some(3)));
        assert_eq!(suspects.failed(bad(), &failure(B, 5), None, at(5)), Finding::Known);
    }

    #[test]
    fn two_dead_routers_convict_nobody() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.failed(bad(), &failure(A, 10), None, at(10)), Finding::Nothing);
        for well in [None, gateway(9), gateway(10)] {
            assert_eq!(
                suspects.failed(bad(), &failure(B, 11), well, at(11)),
                Finding::Nothing,
                "answered well at {well:?}"
            );
        }
    }

    #[test]
    fn a_success_acquits() {
        let mut suspects = Suspects::default();
        suspects.failed(bad(), &failure(A, 0), None, at(0));
        suspects.succeeded(b"{\"prompt\": \"bat\"}");
        assert_eq!(suspects.len(), 1, "another of the same length");
        suspects.succeeded(b"{\"prompt\": \"bad\"}");
        assert_eq!(suspects.failed(bad(), &failure(B, 2), gateway(1), at(2)), Finding::Nothing);
    }

    #[test]
    fn nothing_is_remembered_for_longer_than_a_minute_nor_beyond_the_capacity() {
        let mut suspects = Suspects::default();
        suspects.failed(bad(), &failure(A, 0), None, at(0));
        assert_eq!(suspects.failed(bad(), &failure(B, 60), gateway(1), at(60)), Finding::Nothing, "a minute later");
        for n in 0..1_000_u32 {
            suspects.failed(Payload::of(&n.to_be_bytes()), &failure(A, 61), None, at(61));
        }
        assert_eq!(suspects.len(), CAPACITY);
    }

    #[test]
    fn payloads_differ_by_length_and_by_either_end() {
        let long = vec![b'a'; 100_000];
        let changed = |place: usize| {
            let mut other = long.clone();
            other[place] = b'b';
            Payload::of(&other)
        };
        assert_eq!(Payload::of(&long), Payload::of(&long.clone()));
        assert_ne!(Payload::of(&long), Payload::of(&long[1..]));
        assert_ne!(Payload::of(&long), changed(0));
        assert_ne!(Payload::of(&long), changed(99_999));
    }
}
