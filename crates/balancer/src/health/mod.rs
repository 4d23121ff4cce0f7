//! A router's health: what ejects it, for how long, and how it comes back.
//!
//! Serving → Cooling (until, why) → Probing → Serving. Consecutive failures eject a router, and so does an upstream's
//! own request to back off. When the cooldown is over, one request at a time probes the router (`probe_slots`).
//! Requests that began before the ejection are stragglers, recognised by the gateway's clock and not by the broker's:
//! they neither extend the cooldown, nor eject the router again after its return, nor count as proof that it works.

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
use types::outcome::{Cause, Evidence};
use types::time::{BrokerTime, GatewayTime};
use types::transition::HealthState;

/// Where nothing else is left, a router whose upstream has announced a wait is asked this often before its end: upstreams may
/// be back sooner than they say. An ejected router that has not answered such a call within this time does not keep others from
/// being asked.
pub(crate) const EARLY_PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// What an answer did to a router's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthEffect {
    /// Nothing: a straggler, or evidence that may not decide.
    None,
    /// Counted, without a visible change.
    Counted,
    /// Should be ejected, by a statistical guess. That must not eject the last router; `Health::eject_suspected`
    /// does it.
    Suspected,
    /// Ejected now.
    Tripped,
    /// Was ejected, and the cooldown is longer now.
    Extended,
    /// Pauses for less than a second; not worth a log line.
    Paused,
    /// The probe succeeded; serves again.
    Returned,
    /// The last ejection is undone.
    Undone,
    /// Its probe slot is free again.
    ProbeReleased,
}

/// The last ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trip {
    at: BrokerTime,
    /// When the gateway answered the request that caused it; unknown until that request's log arrives.
    stopped: Option<GatewayTime>,
    /// The end of the cooldown is the upstream's own, or was assumed where it named none.
    upstream_hinted: bool,
    /// The upstream itself named it.
    announced: bool,
    /// Serves again without a probe: being rate-limited is not a failure.
    skip_probe: bool,
    /// For less than a second; the router counts as serving all the while.
    pause: bool,
    /// The state to restore if the request turns out to be at fault.
    undo: TripUndo,
}

/// What an ejection changes and its undo restores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TripUndo {
    probing: bool,
    recovered: bool,
    failed_returns: u32,
    backoff_step: u32,
}

/// What the passing of time did to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickEffect {
    Nothing,
    /// A probe slot expired, the share grew, or a pause ended.
    Changed,
    /// The cooldown is over.
    Returned,
}

/// The health of one router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    state: HealthState,
    epoch: u32,
    /// The last ejection. Boxed, because most routers never had one.
    trip: Option<Box<Trip>>,
    /// Failures since the last success.
    consecutive_failures: u32,
    /// All failures since the last success were of calls that generate nothing.
    failed_without_generation: bool,
    /// Pauses since the last success.
    pauses: u32,
    /// Consecutive returns that ended in another ejection.
    failed_returns: u32,
    /// There was a success since the last ejection.
    recovered: bool,
    /// The exponent of the next cooldown.
    backoff_step: u32,
    /// Since when it serves; unknown before its first ejection.
    in_service_since: Option<BrokerTime>,
    /// Time in service that has not shortened the backoff yet.
    time_in_service: Duration,
    slow_start: Option<SlowStart>,
    /// Absent until an answer is counted in it: only routers with a least success rate need one.
    success_window: Option<Box<SuccessWindow>>,
    probe_slots: ProbeSlots,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: HealthState::Serving,
            epoch: 0,
            trip: None,
            consecutive_failures: 0,
            failed_without_generation: false,
            pauses: 0,
            failed_returns: 0,
            recovered: true,
            backoff_step: 0,
            in_service_since: None,
            time_in_service: Duration::ZERO,
            slow_start: None,
            success_window: None,
            probe_slots: ProbeSlots::default(),
        }
    }
}

impl Health {
    pub const fn state(&self) -> HealthState {
        self.state
    }

    /// How often the router was ejected, pauses included.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many consecutive returns ended in a failure.
    pub const fn failed_returns(&self) -> u32 {
        self.failed_returns
    }

    /// When time alone changes something: the end of a cooldown, of a slow-start step, or of a probe without an
    /// outcome.
    pub fn due(&self, settings: &HealthSettings) -> Option<BrokerTime> {
        let expiry = self.probe_slots.next_expiry();
        match self.state {
            HealthState::Serving => self.slow_start.map(|slow_start| slow_start.due(settings)),
            HealthState::Cooling { until, .. } => Some(expiry.map_or(until, |expiry| expiry.min(until))),
            HealthState::Probing { .. } => expiry,
        }
    }

    /// Whether it serves with all of its weight, so that time alone changes nothing.
    pub(crate) const fn serves_in_full(&self) -> bool {
        matches!(self.state, HealthState::Serving) && self.slow_start.is_none()
    }

    /// The factor on its weight for the next request, 0 to 1; 0 if it may not take one.
    pub fn share(&self, settings: &HealthSettings) -> f64 {
        match self.state {
            _ if !self.may_serve(settings) => 0.0,
            HealthState::Serving => self.slow_start.map_or(1.0, SlowStart::share),
            _ => 1.0,
        }
    }

    /// Whether the next request may go here: it serves, or has a free probe slot.
    pub(crate) fn may_serve(&self, settings: &HealthSettings) -> bool {
        match self.state {
            HealthState::Serving => true,
            HealthState::Cooling { .. } => false,
            HealthState::Probing { .. } => self.active_probes() < settings.probe.concurrency,
        }
    }

    /// Whether all failures since the last success were of calls that generate nothing, so that such a call shows that it works again.
    pub(crate) const fn failed_without_generation(&self) -> bool {
        self.failed_without_generation
    }

    /// Whether it is on probation.
    pub(crate) const fn is_probing(&self) -> bool {
        matches!(self.state, HealthState::Probing { .. })
    }

    /// Probes in flight.
    pub(crate) fn active_probes(&self) -> u32 {
        self.probe_slots.in_use()
    }

    /// The decisions that hold its probe slots.
    pub(crate) fn probing_decisions(&self) -> impl Iterator<Item = u64> {
        self.probe_slots.decisions()
    }

    /// The end of its cooldown, if it is ejected or pauses.
    pub const fn until(&self) -> Option<BrokerTime> {
        match self.state {
            HealthState::Cooling { until, .. } => Some(until),
            HealthState::Serving | HealthState::Probing { .. } => None,
        }
    }

    /// Whether its upstream named the end of the cooldown.
    pub(crate) fn waits_for_upstream_hint(&self) -> bool {
        self.until().is_some() && self.trip.as_ref().is_some_and(|trip| trip.upstream_hinted)
    }

    /// Whether its upstream itself has announced that it must not be asked before the end of the cooldown.
    pub(crate) fn waits_as_announced(&self) -> bool {
        self.until().is_some() && self.trip.as_ref().is_some_and(|trip| trip.announced)
    }

    /// Whether an ejected router was sent a call within the last [`EARLY_PROBE_INTERVAL`], or its upstream has announced its wait
    /// since then.
    pub(crate) fn was_asked_just_now(&self) -> bool {
        self.until().is_some() && self.probe_slots.are_closed()
    }

    /// Whether it is ejected for a second or more.
    pub(crate) fn is_ejected(&self) -> bool {
        self.until().is_some() && !self.trip.as_ref().is_some_and(|trip| trip.pause)
    }

    /// Whether it serves, perhaps with a pause of less than a second.
    pub(crate) fn is_in_service(&self) -> bool {
        !self.is_probing() && !self.is_ejected()
    }

    /// The evidence of a call without a stamp: the oldest probe in flight, unless the call began before the ejection.
    pub(crate) fn infer_evidence(&self, started: Option<GatewayTime>) -> Evidence {
        let stopped = self.trip.as_ref().and_then(|trip| trip.stopped);
        let old = started.zip(stopped).is_some_and(|(started, stopped)| started < stopped);
        match self.probe_slots.oldest() {
            Some(decision) if !old => Evidence::Probe(Some(decision)),
            _ => Evidence::Passive,
        }
    }

    /// Takes a probe slot for this decision.
    pub(crate) fn acquire_probe(&mut self, decision: u64, settings: &HealthSettings, now: BrokerTime) {
        self.probe_slots.acquire(decision, now.after(settings.probe.timeout));
        if self.until().is_some() {
            self.probe_slots.close(now.after(EARLY_PROBE_INTERVAL));
        }
    }

    /// Releases the probe slot of a request that said nothing about the router. True if it had one.
    pub(crate) fn release_probe(&mut self, decision: u64) -> bool {
        self.probe_slots.release(decision)
    }

    /// The log of the request that caused ejection `epoch` says when the gateway answered it.
    pub(crate) fn set_trip_completed_at(&mut self, epoch: u32, stopped: GatewayTime) {
        if let Some(trip) = self.trip.as_mut().filter(|_| self.epoch == epoch) {
            trip.stopped.get_or_insert(stopped);
        }
    }

    /// Ends a cooldown or pause, advances slow start, and expires probe slots without an outcome.
    pub fn tick(&mut self, settings: &HealthSettings, now: BrokerTime) -> TickEffect {
        if self.due(settings).is_none_or(|due| now < due) {
            return TickEffect::Nothing;
        }
        self.probe_slots.expire(now);
        match (self.state, self.trip.as_deref()) {
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

    /// Ends a cooldown, unless an operator ordered it; the next tick does what follows one.
    pub(crate) fn end_cooldown(&mut self, now: BrokerTime) {
        if let HealthState::Cooling { until, cause } = &mut self.state
            && *cause != Cause::Operator
        {
            *until = now.min(*until);
        }
    }
}

#[cfg(test)]
mod tests;
