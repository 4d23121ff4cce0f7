//! Poisonous requests: requests that fail on every router are at fault themselves.
//!
//! A client that retries a bad prompt must not eject one router after the other. A request is at fault if a second
//! router fails it that has answered something else since the first router failed it; two dead routers answer
//! nothing, so a health check that fails on both is not blamed. A request that succeeds anywhere is cleared. Payloads
//! are not kept: their length and a digest of both ends suffice to recognise a request, at constant cost.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use super::Broker;
use super::learn::Verdict;
use crate::health::Effect;
use types::outcome::{CallObservation, Class, Outcome};
use types::router::RouterId;
use types::time::{BrokerTime, GatewayTime};
use types::transition::{Advisory, BrokerEvent};

/// How long a failed request is remembered.
pub(super) const MEMORY: Duration = Duration::from_secs(60);
/// Requests remembered, about 16 KB; beyond that the oldest leaves early.
pub(super) const CAPACITY: usize = 256;
/// Bytes of each end of a payload that are hashed.
const END: usize = 4_096;

/// What a request is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PayloadDigest {
    length: usize,
    digest: u64,
}

impl PayloadDigest {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes.get(..END).unwrap_or(bytes));
        hasher.write(bytes.len().checked_sub(END).and_then(|start| bytes.get(start..)).unwrap_or_default());
        Self { length: bytes.len(), digest: hasher.finish() }
    }
}

/// A request that has failed.
#[derive(Debug, Clone, PartialEq)]
struct Suspect {
    payload: PayloadDigest,
    /// Where it failed, and when by the broker's clock and by the gateway's.
    router: RouterId,
    at: BrokerTime,
    stopped: Option<GatewayTime>,
    /// The epoch of the ejection that it caused.
    tripped: Option<u32>,
    convicted: bool,
}

/// What is known about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing that would excuse the router.
    Nothing,
    /// It was found at fault before.
    Known,
    /// It is at fault, as known from now on. With the router that failed it first, and the epoch of the ejection it
    /// caused there.
    Convicted(RouterId, Option<u32>),
}

/// The requests that failed recently, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Suspects(VecDeque<Suspect>);

impl Suspects {
    /// A request failed on a router whose last successful call began at `well`.
    pub(super) fn failed(
        &mut self,
        payload: PayloadDigest,
        outcome: &Outcome,
        well: Option<GatewayTime>,
        now: BrokerTime,
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

    /// That failure ejected its router.
    pub(super) fn tripped(&mut self, payload: PayloadDigest, router: RouterId, epoch: u32) {
        let of_it = |suspect: &&mut Suspect| suspect.payload == payload && suspect.router == router;
        if let Some(suspect) = self.0.iter_mut().find(of_it) {
            suspect.tripped = Some(epoch);
        }
    }

    /// A request succeeded. It is hashed only if a suspect has the same length.
    pub(super) fn succeeded(&mut self, bytes: &[u8]) {
        if self.0.iter().any(|suspect| suspect.payload.length == bytes.len()) {
            let payload = PayloadDigest::from_bytes(bytes);
            self.0.retain(|suspect| suspect.payload != payload);
        }
    }

    fn forget(&mut self, now: BrokerTime) {
        while self.0.front().is_some_and(|suspect| suspect.at.after(MEMORY) <= now) {
            self.0.pop_front();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Broker {
    fn detects_poison(&self, router: RouterId) -> bool {
        self.routers.get(usize::from(router.0)).is_some_and(|router| router.settings().health.poison)
    }

    /// Whether a failed request is itself at fault (the `poison` setting). When that is found out, the first router
    /// it failed on is probed at once.
    pub(super) fn is_at_fault(
        &mut self,
        report: &CallObservation<'_>,
        outcome: &Outcome,
        now: BrokerTime,
        changes: &mut Vec<BrokerEvent>,
    ) -> bool {
        let Some(payload) = report.payload.filter(|_| self.detects_poison(outcome.router)) else { return false };
        match outcome.class {
            Class::Success => self.suspects.succeeded(payload),
            // No request makes a rate limit by what it says.
            Class::Neutral | Class::RateLimited | Class::Refused => {}
            Class::Failure | Class::Overloaded => {
                let router = self.routers.get(usize::from(outcome.router.0));
                let well = router.and_then(|router| router.stats.last_good_start);
                match self.suspects.failed(PayloadDigest::from_bytes(payload), outcome, well, now) {
                    Finding::Nothing => {}
                    Finding::Known => return true,
                    Finding::Convicted(first, tripped) => {
                        self.clear_first_router(first, tripped, outcome.router, now, changes);
                        return true;
                    }
                }
            }
        }
        false
    }

    fn clear_first_router(
        &mut self,
        first: RouterId,
        tripped: Option<u32>,
        second: RouterId,
        now: BrokerTime,
        changes: &mut Vec<BrokerEvent>,
    ) {
        if let (Some(first), Some(second)) = (self.path(first), self.path(second)) {
            changes.push(BrokerEvent::Advisory(Advisory::RequestAtFault(first.clone(), second.clone())));
        }
        let place = usize::from(first.0);
        let tried =
            tripped.and_then(|epoch| self.routers.change_health(place, |health, _| health.probe_immediately(epoch)));
        if tried == Some(true) {
            self.emit_transition(place, now, BrokerEvent::HealthChanged, changes);
        }
    }

    /// A message has counted against a router and its log says that the request was at fault: undoes that.
    pub(super) fn undo_failure(
        &mut self,
        outcome: &Outcome,
        verdict: Option<Verdict>,
        now: BrokerTime,
        changes: &mut Vec<BrokerEvent>,
    ) -> Option<Verdict> {
        let place = usize::from(outcome.router.0);
        self.routers.stats(place)?.add(outcome);
        let Verdict { effect, epoch } = verdict?;
        if self.routers.change_health(place, |health, _| health.undo_failure(effect, epoch)) == Some(true) {
            self.emit_transition(place, now, BrokerEvent::HealthChanged, changes);
        }
        None
    }

    /// Remembers which ejection a request caused, in case it turns out to be at fault.
    pub(super) fn remember_trip(&mut self, report: &CallObservation<'_>, router: RouterId, verdict: Option<Verdict>) {
        if let (Some(Verdict { effect: Effect::Tripped, epoch }), Some(payload)) = (verdict, report.payload)
            && self.detects_poison(router)
        {
            self.suspects.tripped(PayloadDigest::from_bytes(payload), router, epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: BrokerTime = BrokerTime::from_nanos(1_000_000_000_000);
    const A: RouterId = RouterId(0);
    const B: RouterId = RouterId(1);

    fn at(seconds: u64) -> BrokerTime {
        START.after(Duration::from_secs(seconds))
    }

    /// A failure of this router, answered at this second of the gateway's clock.
    fn failure(router: RouterId, second: u64) -> Outcome {
        Outcome {
            router,
            class: Class::Failure,
            status: 500,
            cause: types::outcome::Cause::Answered(500),
            evidence: types::outcome::Evidence::Passive,
            jitter_seed: 0,
            retry_after: None,
            started: gateway(second),
            stopped: gateway(second),
            latency: None,
            completion_tokens: None,
        }
    }

    fn gateway(second: u64) -> Option<GatewayTime> {
        Some(GatewayTime::from_nanos(second * 1_000_000_000))
    }

    fn bad() -> PayloadDigest {
        PayloadDigest::from_bytes(b"{\"prompt\": \"bad\"}")
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
            suspects.failed(PayloadDigest::from_bytes(&n.to_be_bytes()), &failure(A, 61), None, at(61));
        }
        assert_eq!(suspects.len(), CAPACITY);
    }

    #[test]
    fn payloads_differ_by_length_and_by_either_end() {
        let long = vec![b'a'; 100_000];
        let changed = |place: usize| {
            let mut other = long.clone();
            other[place] = b'b';
            PayloadDigest::from_bytes(&other)
        };
        assert_eq!(PayloadDigest::from_bytes(&long), PayloadDigest::from_bytes(&long.clone()));
        assert_ne!(PayloadDigest::from_bytes(&long), PayloadDigest::from_bytes(&long[1..]));
        assert_ne!(PayloadDigest::from_bytes(&long), changed(0));
        assert_ne!(PayloadDigest::from_bytes(&long), changed(99_999));
    }
}
