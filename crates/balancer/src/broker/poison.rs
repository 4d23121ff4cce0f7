//! Requests at fault: what several routers refuse that answer something else well.
//!
//! A client that sends a bad prompt must not eject one router after the other. A request is at fault if two routers have
//! failed it and one of them has answered another request, begun after the first failure. Then the ejections that it
//! caused are undone, and its further failures count for no router. Dead routers answer nothing, so a health check that
//! fails on all is not blamed; and two different requests that fail on the same two routers within ten seconds are an
//! outage, whatever is answered later. A request that succeeds anywhere is cleared. Payloads are not kept: a digest
//! suffices to recognise a request.

use std::collections::VecDeque;
use std::time::Duration;

use smallvec::SmallVec;

use super::Broker;
use super::learn::HealthChange;
use crate::health::HealthEffect;
use types::outcome::{CallObservation, Cause, Class, Evidence, Outcome, PayloadDigest, RetryAfter, TransportFailure};
use types::router::RouterId;
use types::time::{BrokerTime, GatewayTime};
use types::transition::{Advisory, BrokerEvent};

/// How long a failed request is remembered.
pub(super) const SUSPECT_TTL: Duration = Duration::from_secs(60);
/// Requests remembered, about 64 KB; beyond that the oldest leaves early.
pub(super) const MAX_SUSPECTS: usize = 256;
/// Routers remembered of one request.
const MAX_FAILURES_PER_REQUEST: usize = 16;
/// Two requests that fail everywhere within this time are an outage.
const OUTAGE_WINDOW: Duration = Duration::from_secs(10);

/// One router's failure of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RequestFailure {
    router: RouterId,
    /// When, by the broker's clock and by the gateway's.
    at: BrokerTime,
    stopped: Option<GatewayTime>,
    /// The epoch of the ejection that it caused.
    tripped: Option<u32>,
}

/// When a successful call began.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct SuccessStart {
    /// By the gateway's clock.
    started: Option<GatewayTime>,
    /// By the broker's, if the relay sent it.
    sent: Option<BrokerTime>,
}

impl SuccessStart {
    fn is_after(self, failure: &RequestFailure) -> bool {
        let by_gateway = failure.stopped.zip(self.started).is_some_and(|(failed, well)| well > failed);
        by_gateway || self.sent.is_some_and(|well| well >= failure.at)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    Open,
    /// The request is at fault.
    Request,
    /// It failed in an outage.
    Outage,
}

/// A request that has failed.
#[derive(Debug, Clone, PartialEq)]
struct Suspect {
    payload: PayloadDigest,
    /// One per router, the first one first.
    failures: SmallVec<[RequestFailure; 2]>,
    blame: Blame,
}

impl Suspect {
    fn is_forgotten(&self, now: BrokerTime) -> bool {
        self.failures.first().is_some_and(|first| first.at.after(SUSPECT_TTL) <= now)
    }

    fn failed_widely(&self) -> bool {
        self.failures.len() > 1
    }

    fn has_failed_on(&self, router: RouterId) -> bool {
        self.failures.iter().any(|failure| failure.router == router)
    }

    /// Two routers have failed both requests, within the window.
    fn shares_outage(&self, other: &Self, now: BrokerTime) -> bool {
        let is_recent = |failure: &&RequestFailure| now.since(failure.at) <= OUTAGE_WINDOW;
        let recent = self.failures.iter().filter(is_recent);
        recent.filter(|failure| other.has_failed_on(failure.router)).count() > 1
    }

    /// Blames the request if one of its routers has answered another one since it was first refused.
    fn blame_request(&mut self, well: impl Fn(RouterId) -> SuccessStart) -> bool {
        let Some(first) = self.failures.first() else { return false };
        let is_well = self.failures.iter().any(|failure| well(failure.router).is_after(first));
        let blamed = self.blame == Blame::Open && self.failed_widely() && is_well;
        if blamed {
            self.blame = Blame::Request;
        }
        blamed
    }
}

/// What is known about a failed request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PoisonCheck {
    /// Nothing that would excuse the router.
    Nothing,
    /// This router has failed it before, and nothing has answered it since.
    Repeated,
    /// It was found at fault before.
    AlreadyBlamed,
    /// It is at fault, as known from now on. With all who refused it.
    Blamed(SmallVec<[RequestFailure; 2]>),
}

/// The requests that failed recently, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Suspects(VecDeque<Suspect>);

impl Suspects {
    /// A request failed on a router. `well`: when the last successful call of a router began.
    pub(super) fn failed(
        &mut self,
        payload: PayloadDigest,
        outcome: &Outcome,
        well: impl Fn(RouterId) -> SuccessStart,
        now: BrokerTime,
    ) -> PoisonCheck {
        let failure = RequestFailure { router: outcome.router, at: now, stopped: outcome.stopped, tripped: None };
        self.forget(now);
        let Some(place) = self.0.iter().position(|suspect| suspect.payload == payload) else {
            if self.0.len() == MAX_SUSPECTS {
                self.0.pop_front();
            }
            self.0.push_back(Suspect { payload, failures: SmallVec::from_slice(&[failure]), blame: Blame::Open });
            return PoisonCheck::Nothing;
        };
        let Some(known) = self.0.get_mut(place) else { return PoisonCheck::Nothing };
        match known.blame {
            Blame::Request => return PoisonCheck::AlreadyBlamed,
            Blame::Outage => return PoisonCheck::Nothing,
            Blame::Open if known.has_failed_on(failure.router) => return PoisonCheck::Repeated,
            Blame::Open if known.failures.len() < MAX_FAILURES_PER_REQUEST => known.failures.push(failure),
            Blame::Open => return PoisonCheck::Nothing,
        }
        if self.mark_outage(place, now) {
            return PoisonCheck::Nothing;
        }
        let Some(known) = self.0.get_mut(place) else { return PoisonCheck::Nothing };
        if known.blame_request(well) { PoisonCheck::Blamed(known.failures.clone()) } else { PoisonCheck::Nothing }
    }

    /// Whether this request and another one show an outage; neither is blamed then.
    fn mark_outage(&mut self, place: usize, now: BrokerTime) -> bool {
        let Some(known) = self.0.get(place).cloned() else { return false };
        let mut outage = false;
        for other in self.0.iter_mut().filter(|other| other.payload != known.payload) {
            if other.blame != Blame::Request && other.shares_outage(&known, now) {
                other.blame = Blame::Outage;
                outage = true;
            }
        }
        if let Some(known) = self.0.get_mut(place).filter(|_| outage) {
            known.blame = Blame::Outage;
        }
        outage
    }

    /// That failure ejected its router.
    pub(super) fn tripped(&mut self, payload: PayloadDigest, router: RouterId, epoch: u32) {
        let suspect = self.0.iter_mut().find(|suspect| suspect.payload == payload);
        let failure = suspect.and_then(|suspect| suspect.failures.iter_mut().find(|failure| failure.router == router));
        if let Some(failure) = failure {
            failure.tripped = Some(epoch);
        }
    }

    /// A request succeeded, which clears it. It is hashed only if a suspect has the same length. Returns who refused
    /// the requests that are at fault, as this success shows.
    pub(super) fn succeeded(
        &mut self,
        length: usize,
        payload: impl FnOnce() -> Option<PayloadDigest>,
        outcome: &Outcome,
    ) -> Vec<SmallVec<[RequestFailure; 2]>> {
        if self.0.iter().any(|suspect| suspect.payload.length == length) {
            let payload = payload();
            self.0.retain(|suspect| Some(suspect.payload) != payload);
        }
        let sent = match outcome.evidence {
            Evidence::Local { sent_at, .. } => Some(sent_at),
            _ => None,
        };
        let start = SuccessStart { started: outcome.started, sent };
        let well = |router| if router == outcome.router { start } else { SuccessStart::default() };
        let blamed =
            self.0.iter_mut().filter_map(|suspect| suspect.blame_request(well).then(|| suspect.failures.clone()));
        blamed.collect()
    }

    /// The routers that have failed this request and whose failure is remembered, the first one first.
    pub(super) fn failed_by(&self, payload: PayloadDigest, now: BrokerTime) -> impl Iterator<Item = RouterId> {
        let suspect = self.0.iter().find(|suspect| suspect.payload == payload && !suspect.is_forgotten(now));
        suspect.into_iter().flat_map(|suspect| suspect.failures.iter().map(|failure| failure.router))
    }

    fn forget(&mut self, now: BrokerTime) {
        while self.0.front().is_some_and(|suspect| suspect.is_forgotten(now)) {
            self.0.pop_front();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Broker {
    fn detects_poison(&self, router: RouterId) -> bool {
        self.routers.get(router).is_some_and(|router| router.settings().health.poison)
    }

    /// Whether a failed request is itself at fault, or says nothing new (the `poison` setting). When the fault is found
    /// out, the ejections that it caused are undone.
    pub(super) fn is_at_fault(
        &mut self,
        observation: &CallObservation<'_>,
        outcome: &Outcome,
        now: BrokerTime,
    ) -> bool {
        // A success only clears requests that failed, or shows that they are at fault.
        if outcome.class == Class::Success && self.suspects.len() == 0 {
            return false;
        }
        let Some(length) = payload_length(observation).filter(|_| self.detects_poison(outcome.router)) else {
            return false;
        };
        let digest = || digest(observation);
        match outcome.class {
            Class::Success => {
                for failures in self.suspects.succeeded(length, digest, outcome) {
                    self.undo_trips(&failures, now);
                }
                false
            }
            // No request makes a rate limit by what it says, nor the wait of a target that is overloaded.
            Class::Neutral | Class::RateLimited => false,
            Class::Overloaded if outcome.retry_after.and_then(RetryAfter::named_wait).is_some() => false,
            // Nothing of it was sent.
            Class::Failure if is_unconnected(outcome.cause) => false,
            // A refusal may be of what the request asks for, and not say so.
            Class::Failure | Class::Overloaded | Class::Refused => {
                let Some(payload) = digest() else { return false };
                let routers = &self.routers;
                let well = |router: RouterId| {
                    let stats = routers.get(router).map(|router| &router.stats);
                    let start = |stats: &super::RouterStats| SuccessStart {
                        started: stats.last_good_start,
                        sent: stats.last_good_sent,
                    };
                    stats.map(start).unwrap_or_default()
                };
                match self.suspects.failed(payload, outcome, well, now) {
                    PoisonCheck::Nothing => false,
                    // Only a relay itself sends one request to one target again: this one, or another replica's.
                    PoisonCheck::Repeated => relays_digest(observation).is_some(),
                    PoisonCheck::AlreadyBlamed => true,
                    PoisonCheck::Blamed(failures) => {
                        self.undo_trips(&failures, now);
                        true
                    }
                }
            }
        }
    }

    /// A request is at fault: its routers are as they were before it ejected them.
    fn undo_trips(&mut self, failures: &[RequestFailure], now: BrokerTime) {
        if let [first, .., last] = failures
            && let (Some(first), Some(last)) = (self.path(first.router), self.path(last.router))
        {
            self.effects.push(BrokerEvent::Advisory(Advisory::RequestAtFault(first.clone(), last.clone())));
        }
        for failure in failures {
            let (Some(epoch), id) = (failure.tripped, failure.router) else { continue };
            self.change_health(id, now, |health, _| health.undo_failure(HealthEffect::Tripped, epoch));
        }
    }

    /// A message has counted against a router and its log says that the request was at fault: undoes that.
    pub(super) fn undo_failure(
        &mut self,
        outcome: &Outcome,
        health_change: Option<HealthChange>,
        now: BrokerTime,
    ) -> Option<HealthChange> {
        let id = outcome.router;
        self.routers.stats(id)?.add(outcome);
        let HealthChange { effect, epoch } = health_change?;
        self.change_health(id, now, |health, _| health.undo_failure(effect, epoch));
        None
    }

    /// Remembers which ejection a request caused, in case it turns out to be at fault.
    pub(super) fn remember_trip(
        &mut self,
        observation: &CallObservation<'_>,
        router: RouterId,
        health_change: Option<HealthChange>,
    ) {
        if let Some(HealthChange { effect: HealthEffect::Tripped, epoch }) = health_change
            && self.detects_poison(router)
            && let Some(payload) = digest(observation)
        {
            self.suspects.tripped(payload, router, epoch);
        }
    }
}

/// Whether there was no connection to send a request over.
const fn is_unconnected(cause: Cause) -> bool {
    matches!(cause, Cause::Transport(TransportFailure::Connect | TransportFailure::ConnectTimeout))
}

fn payload_length(observation: &CallObservation<'_>) -> Option<usize> {
    match observation {
        CallObservation::Message(_) | CallObservation::OneRow(_) => None,
        CallObservation::Log { entry, .. } => {
            entry.payload_digest.map(|digest| digest.length).or(entry.payload.map(<[u8]>::len))
        }
        CallObservation::Attempt(attempt) => attempt.payload_digest.map(|digest| digest.length),
    }
}

/// A relay's own digest, or one at constant cost of a log's payload: this runs under the lock.
fn digest(observation: &CallObservation<'_>) -> Option<PayloadDigest> {
    let of_payload = || match observation {
        CallObservation::Log { entry, .. } => entry.payload.map(PayloadDigest::from_ends),
        _ => None,
    };
    relays_digest(observation).or_else(of_payload)
}

/// The digest of the whole request, which is the same in all replicas of a relay.
fn relays_digest(observation: &CallObservation<'_>) -> Option<PayloadDigest> {
    match observation {
        CallObservation::Message(_) | CallObservation::OneRow(_) => None,
        CallObservation::Log { entry, .. } => entry.payload_digest,
        CallObservation::Attempt(attempt) => attempt.payload_digest,
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
            is_generation: true,
        }
    }

    fn gateway(second: u64) -> Option<GatewayTime> {
        Some(GatewayTime::from_nanos(second * 1_000_000_000))
    }

    fn bad() -> PayloadDigest {
        PayloadDigest::from_ends(b"{\"prompt\": \"bad\"}")
    }

    fn started(second: u64) -> SuccessStart {
        SuccessStart { started: gateway(second), sent: None }
    }

    fn sent(second: u64) -> SuccessStart {
        SuccessStart { started: None, sent: Some(at(second)) }
    }

    /// What a failure of this payload comes to where every router's last good call began so.
    fn fail(
        suspects: &mut Suspects,
        payload: PayloadDigest,
        router: RouterId,
        well: SuccessStart,
        second: u64,
    ) -> PoisonCheck {
        suspects.failed(payload, &failure(router, second), |_| well, at(second))
    }

    fn other(number: u8) -> PayloadDigest {
        PayloadDigest::from_ends(&[number])
    }

    #[test]
    fn s1_6_what_two_fail_of_whom_one_is_well_is_the_requests_fault() {
        for well in [started(3), sent(3)] {
            let mut suspects = Suspects::default();
            assert_eq!(fail(&mut suspects, bad(), A, SuccessStart::default(), 0), PoisonCheck::Nothing);
            suspects.tripped(bad(), A, 3);
            assert_eq!(fail(&mut suspects, bad(), A, well, 2), PoisonCheck::Repeated, "the same router again");
            let PoisonCheck::Blamed(failures) = fail(&mut suspects, bad(), B, well, 4) else { panic!("{well:?}") };
            let trips: Vec<_> = failures.iter().map(|failure| (failure.router, failure.tripped)).collect();
            assert_eq!(trips, [(A, Some(3)), (B, None)]);
            assert_eq!(fail(&mut suspects, bad(), B, SuccessStart::default(), 5), PoisonCheck::AlreadyBlamed);
        }
    }

    #[test]
    fn s1_6_a_later_good_answer_to_another_request_blames_the_request_too() {
        let mut suspects = Suspects::default();
        for (router, second) in [(A, 0), (B, 1)] {
            assert_eq!(fail(&mut suspects, bad(), router, SuccessStart::default(), second), PoisonCheck::Nothing);
        }
        let good = |router, second| Outcome { class: Class::Success, ..failure(router, second) };
        let blamed = |suspects: &mut Suspects, outcome| suspects.succeeded(1, || Some(other(1)), &outcome).len();
        assert_eq!(blamed(&mut suspects, good(RouterId(7), 2)), 0, "a router that did not refuse it");
        assert_eq!(blamed(&mut suspects, good(B, 0)), 0, "it began before the first failure");
        assert_eq!(blamed(&mut suspects, good(B, 2)), 1);
        assert_eq!(blamed(&mut suspects, good(B, 3)), 0, "once");
    }

    #[test]
    fn s1_6_two_different_requests_that_fail_everywhere_within_ten_seconds_are_an_outage() {
        for (gap, outage) in [(9, true), (12, false)] {
            let mut suspects = Suspects::default();
            let dead = SuccessStart::default();
            for (payload, second) in [(bad(), 0), (other(1), gap)] {
                fail(&mut suspects, payload, A, dead, second);
                fail(&mut suspects, payload, B, dead, second + 1);
            }
            let good = Outcome { class: Class::Success, ..failure(A, 30) };
            let blamed = suspects.succeeded(1, || Some(other(2)), &good).len();
            assert_eq!(blamed, if outage { 0 } else { 2 }, "{gap} s apart");
            let again = fail(&mut suspects, bad(), A, dead, 31);
            assert_eq!(again, if outage { PoisonCheck::Nothing } else { PoisonCheck::AlreadyBlamed }, "{gap} s apart");
        }
    }

    #[test]
    fn two_dead_routers_blame_no_request() {
        for well in [SuccessStart::default(), started(9), started(10), sent(9)] {
            let mut suspects = Suspects::default();
            assert_eq!(fail(&mut suspects, bad(), A, SuccessStart::default(), 10), PoisonCheck::Nothing);
            assert_eq!(fail(&mut suspects, bad(), B, well, 11), PoisonCheck::Nothing, "answered well at {well:?}");
        }
    }

    #[test]
    fn a_success_clears_the_request() {
        let mut suspects = Suspects::default();
        fail(&mut suspects, bad(), A, SuccessStart::default(), 0);
        let good = Outcome { class: Class::Success, ..failure(B, 1) };
        let mut succeed = |bytes: &[u8]| {
            suspects.succeeded(bytes.len(), || Some(PayloadDigest::from_ends(bytes)), &good);
            suspects.len()
        };
        assert_eq!(succeed(b"{\"prompt\": \"bat\"}"), 1, "another of the same length");
        assert_eq!(succeed(b"{\"prompt\": \"bad\"}"), 0);
    }

    #[test]
    fn nothing_is_remembered_for_longer_than_a_minute_nor_beyond_the_capacity() {
        let mut suspects = Suspects::default();
        fail(&mut suspects, bad(), A, SuccessStart::default(), 0);
        assert_eq!(fail(&mut suspects, bad(), B, started(1), 60), PoisonCheck::Nothing, "a minute later");
        for n in 0..1_000_u32 {
            fail(&mut suspects, PayloadDigest::from_ends(&n.to_be_bytes()), A, SuccessStart::default(), 61);
        }
        assert_eq!(suspects.len(), MAX_SUSPECTS);
        for router in 0..100 {
            fail(&mut suspects, bad(), RouterId(router), SuccessStart::default(), 61);
        }
        assert!(suspects.0.iter().all(|suspect| suspect.failures.len() <= MAX_FAILURES_PER_REQUEST));
    }
}
