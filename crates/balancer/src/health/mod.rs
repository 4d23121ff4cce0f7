//! A router's health: what takes it out, for how long, and how it comes back.
//!
//! Serving → Cooling (until, why) → Probing → Serving. Failures in a row take a router out; so does an upstream's own word
//! that it wants to be left alone. When its time is over, one request at a time finds out whether it works again
//! (`probe_slots`). It refuses to judge by our own clock which requests were already under way when the router went out: what
//! began before the trip is old news, and old news must neither extend the time, nor take the router out again after its
//! return, nor pass for a proof that it works.

mod cooldown;
mod learn;
mod operator_override;
mod probe_slots;
mod settings;
mod slow_start;
mod success_window;

pub use settings::{Cooldown, HealthSettings, Preset, Probe, Ratio, RetryAfterSettings};

use std::time::Duration;

use probe_slots::ProbeSlots;
use slow_start::SlowStart;
use success_window::SuccessWindow;
use types::outcome::Evidence;
use types::time::{BrokerTime, GatewayTime};
use types::transition::HealthState;

/// How long the gateway lets a client wait before it cuts it off (GATEWAY.md 1.6). A failure that says nothing about its own
/// beginning counts as a straggler for so long; an upstream may take longer, but few do.
pub const MAX_CALL_DURATION: Duration = Duration::from_secs(200);

/// What an answer did to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it is about a request from before the trip, or may not decide.
    None,
    /// It counted, and changed nothing that others could see.
    Counted,
    /// It should be left alone, by a guess: that must not take the last one away. [`Health::eject_suspected`] does it.
    Suspected,
    /// It is out now.
    Tripped,
    /// It was out, and stays out longer.
    Extended,
    /// It waits for less than a second, which is not worth a word.
    Paused,
    /// It proved itself.
    Returned,
    /// Its probe_decision is free again.
    ProbeReleased,
}

/// The last time that a router was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trip {
    at: BrokerTime,
    /// When the gateway answered the request that did it; unknown until that request's log is here.
    stopped: Option<GatewayTime>,
    /// The upstream named the moment itself.
    upstream_hinted: bool,
    /// It need not prove itself: rate-limited is not ill.
    skip_probe: bool,
    /// It is for less than a second: the router counts as serving all the while.
    pause: bool,
    /// For the case that the request was at fault.
    undo: TripUndo,
}

/// What a trip changes and an acquittal brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TripUndo {
    probing: bool,
    recovered: bool,
    failed_returns: u32,
    backoff_step: u32,
}

/// What time alone did to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickEffect {
    /// Nothing.
    Nothing,
    /// A probe_decision was lost and is free again, its share has grown, or a pause is over.
    Changed,
    /// Its time is over.
    Returned,
}

/// The health of one router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    state: HealthState,
    epoch: u32,
    trip: Option<Trip>,
    /// Failures since the last success.
    consecutive_failures: u32,
    /// Pauses since the last success.
    pauses: u32,
    /// Returns in a row that ended in another trip.
    failed_returns: u32,
    /// There was a success since the last trip.
    recovered: bool,
    /// How many steps longer than the first the next cooldown is.
    backoff_step: u32,
    /// Since when it serves; unknown before its first trip.
    in_service_since: Option<BrokerTime>,
    /// Time in service that was not counted yet.
    time_in_service: Duration,
    slow_start: Option<SlowStart>,
    success_window: SuccessWindow,
    probe_slots: ProbeSlots,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: HealthState::Serving,
            epoch: 0,
            trip: None,
            consecutive_failures: 0,
            pauses: 0,
            failed_returns: 0,
            recovered: true,
            backoff_step: 0,
            in_service_since: None,
            time_in_service: Duration::ZERO,
            slow_start: None,
            success_window: SuccessWindow::default(),
            probe_slots: ProbeSlots::default(),
        }
    }
}

impl Health {
    /// Whether the router may serve.
    pub const fn state(&self) -> HealthState {
        self.state
    }

    /// How often the router was taken out, pauses included.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many returns in a row ended in a failure.
    pub const fn failed_returns(&self) -> u32 {
        self.failed_returns
    }

    /// When time alone changes something: the end of a cooldown, of a step of its return, or of a probe_decision whose outcome was
    /// never seen.
    pub fn due(&self, settings: &HealthSettings) -> Option<BrokerTime> {
        let expiry = self.probe_slots.next_expiry();
        match self.state {
            HealthState::Serving => self.slow_start.map(|slow_start| slow_start.due(settings)),
            HealthState::Cooling { until, .. } => Some(expiry.map_or(until, |expiry| expiry.min(until))),
            HealthState::Probing { .. } => expiry,
        }
    }

    /// The part of its share that the next request may give it; 0 if none may go here.
    pub fn share(&self, settings: &HealthSettings) -> f64 {
        match self.state {
            _ if !self.may_serve(settings) => 0.0,
            HealthState::Serving => self.slow_start.map_or(1.0, SlowStart::share),
            _ => 1.0,
        }
    }

    /// Whether the next request may go here: it serves, or has a probe_decision to give.
    pub fn may_serve(&self, settings: &HealthSettings) -> bool {
        match self.state {
            HealthState::Serving => true,
            HealthState::Cooling { .. } => false,
            HealthState::Probing { .. } => self.active_probes() < settings.probe.concurrency,
        }
    }

    /// Whether it proves itself just now.
    pub const fn is_probing(&self) -> bool {
        matches!(self.state, HealthState::Probing { .. })
    }

    /// How many probe_slots are out.
    pub fn active_probes(&self) -> u32 {
        self.probe_slots.in_use()
    }

    /// When it is back, if it is out.
    pub const fn until(&self) -> Option<BrokerTime> {
        match self.state {
            HealthState::Cooling { until, .. } => Some(until),
            HealthState::Serving | HealthState::Probing { .. } => None,
        }
    }

    /// Whether it waits for a moment that its upstream named.
    pub fn waits_for_upstream_hint(&self) -> bool {
        self.until().is_some() && self.trip.is_some_and(|trip| trip.upstream_hinted)
    }

    /// Whether it cools, and not only for a pause.
    pub fn is_ejected(&self) -> bool {
        self.until().is_some() && !self.trip.is_some_and(|trip| trip.pause)
    }

    /// Whether it serves, but for a pause.
    pub fn is_in_service(&self) -> bool {
        !self.is_probing() && !self.is_ejected()
    }

    /// What a call is worth of which nobody knows why it was sent: if we wait for one, and this one did not begin too early,
    /// it is taken for that.
    pub fn infer_evidence(&self, started: Option<GatewayTime>) -> Evidence {
        let old = started.zip(self.trip.and_then(|trip| trip.stopped)).is_some_and(|(started, trip)| started < trip);
        match self.probe_slots.oldest() {
            Some(decision) if !old => Evidence::Probe(Some(decision)),
            _ => Evidence::Passive,
        }
    }

    /// Gives the decision of this number a probe_decision.
    pub fn acquire_probe(&mut self, decision: u64, settings: &HealthSettings, now: BrokerTime) {
        self.probe_slots.acquire(decision, now.after(settings.probe.timeout));
    }

    /// Takes a probe_decision back whose request said nothing about the router. True if there was one.
    pub fn release_probe(&mut self, decision: u64) -> bool {
        self.probe_slots.release(decision)
    }

    /// The log of the request that tripped the router in `epoch` says when the gateway answered it.
    pub fn set_trip_completed_at(&mut self, epoch: u32, stopped: GatewayTime) {
        if let Some(trip) = self.trip.as_mut().filter(|_| self.epoch == epoch) {
            trip.stopped.get_or_insert(stopped);
        }
    }

    /// Lets the router back when its time is over, lets its share grow, and forgets probe_slots that nobody will answer for.
    pub fn tick(&mut self, settings: &HealthSettings, now: BrokerTime) -> TickEffect {
        if self.due(settings).is_none_or(|due| now < due) {
            return TickEffect::Nothing;
        }
        self.probe_slots.expire(now);
        match (self.state, self.trip) {
            (HealthState::Cooling { until, .. }, _) if now < until => TickEffect::Changed,
            (HealthState::Cooling { .. }, Some(Trip { pause: true, .. })) => {
                self.state = HealthState::Serving;
                self.probe_slots = ProbeSlots::default();
                TickEffect::Changed
            }
            (HealthState::Cooling { .. }, Some(Trip { skip_probe: true, .. })) => {
                self.serve(now);
                TickEffect::Returned
            }
            (HealthState::Cooling { cause, .. }, _) => {
                self.state = HealthState::Probing { cause };
                self.probe_slots = ProbeSlots::default();
                TickEffect::Returned
            }
            (HealthState::Serving, _) => {
                self.slow_start = self.slow_start.and_then(|slow_start| slow_start.advance(settings, now));
                TickEffect::Changed
            }
            (HealthState::Probing { .. }, _) => TickEffect::Changed,
        }
    }
}

#[cfg(test)]
mod tests;
