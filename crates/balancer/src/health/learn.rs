//! What an answer does to a router's health: what ejects it, for how long, and what brings it back.

use std::time::Duration;

use super::probe_slots::ProbeSlots;
use super::slow_start::SlowStart;
use super::{EARLY_PROBE_INTERVAL, Health, HealthEffect, HealthSettings, Trip, TripUndo, cooldown};
use crate::in_flight::MAX_CALL_DURATION;
use types::outcome::{Cause, Class, Evidence, Outcome, RetryAfter, TransportFailure};
use types::time::BrokerTime;
use types::transition::HealthState;

impl Health {
    /// Learns from an answer. Never shortens a cooldown.
    pub fn learn(&mut self, outcome: &Outcome, settings: &HealthSettings, now: BrokerTime) -> HealthEffect {
        if self.is_straggler(outcome, now) || (self.is_probing() && outcome.evidence == Evidence::Provisional) {
            return HealthEffect::None;
        }
        let effect = match outcome.class {
            Class::Neutral => return self.on_neutral(outcome.evidence),
            Class::Success => self.on_success(outcome, settings, now),
            Class::Failure | Class::Overloaded | Class::RateLimited | Class::Refused => {
                self.on_failure(outcome, settings, now)
            }
        };
        let suspected = self.is_in_service() && self.is_suspected(outcome, settings, now);
        if effect == HealthEffect::Counted && suspected { HealthEffect::Suspected } else { effect }
    }

    /// Counts an answer; true if the success rate is too low, or the next answer will most likely be a failure.
    fn is_suspected(&mut self, outcome: &Outcome, settings: &HealthSettings, now: BrokerTime) -> bool {
        let good = outcome.class == Class::Success;
        let too_few = settings.ratio.is_some_and(|ratio| {
            let (of_good, of_all) = self.success_window.get_or_insert_default().count(good, ratio.over, now);
            !good && of_all >= ratio.min && f64::from(of_good) < ratio.below * f64::from(of_all)
        });
        !settings.disabled_time.is_zero() && (too_few || settings.retry_after.preemptive_wait(outcome).is_some())
    }

    /// Ejects a suspected router.
    pub(crate) fn eject_suspected(
        &mut self,
        outcome: &Outcome,
        settings: &HealthSettings,
        now: BrokerTime,
    ) -> HealthEffect {
        match settings.retry_after.preemptive_wait(outcome) {
            Some(wait) if wait < cooldown::MIN_COOLDOWN => self.pause(outcome, wait, now),
            Some(wait) => {
                self.trip(&Outcome { cause: Cause::RateLimitExhausted, ..*outcome }, Some(wait), settings, now);
                self.recovered = true; // nothing has failed
                HealthEffect::Tripped
            }
            None => {
                self.trip(&Outcome { cause: Cause::LowSuccessRate(outcome.status), ..*outcome }, None, settings, now)
            }
        }
    }

    /// The client's own fault says nothing about the router: its probe slot is free again.
    fn on_neutral(&mut self, evidence: Evidence) -> HealthEffect {
        match evidence.probe_decision() {
            Some(decision) if self.release_probe(decision) => HealthEffect::ProbeReleased,
            _ => HealthEffect::Counted,
        }
    }

    fn on_success(&mut self, outcome: &Outcome, settings: &HealthSettings, now: BrokerTime) -> HealthEffect {
        // While it cools, a success shows that it may work, not that it was wrong to leave it alone; unless it was sent
        // because nothing else was left.
        if self.is_ejected() && !outcome.evidence.is_probe() {
            return HealthEffect::Counted;
        }
        (self.consecutive_failures, self.failed_returns, self.pauses, self.recovered) = (0, 0, 0, true);
        self.failed_without_generation = false;
        if self.is_in_service() {
            return HealthEffect::Counted;
        }
        self.set_recovery_start(outcome);
        self.serve(now);
        self.slow_start = SlowStart::begin(settings, now);
        HealthEffect::Returned
    }

    /// What began before this success is a straggler from now on, whatever is known of the ejection. Where start
    /// times are unknown, one straggler more is better than ignoring real failures.
    fn set_recovery_start(&mut self, outcome: &Outcome) {
        match (self.trip.as_mut(), outcome.evidence, outcome.started) {
            (Some(trip), Evidence::Local { sent_at, .. }, _) => trip.at = sent_at,
            (Some(trip), _, Some(started)) => trip.stopped = Some(started),
            _ => self.trip = None,
        }
    }

    /// Serves from now on, whatever the state was.
    pub fn serve(&mut self, now: BrokerTime) {
        self.state = HealthState::Serving;
        self.probe_slots = ProbeSlots::default();
        self.success_window = None;
        self.in_service_since = Some(now);
    }

    fn on_failure(&mut self, outcome: &Outcome, settings: &HealthSettings, now: BrokerTime) -> HealthEffect {
        let upstream_wait = settings.retry_after.effective_wait(outcome);
        if settings.disabled_time.is_zero() {
            return self.on_neutral(outcome.evidence);
        }
        let is_first = self.consecutive_failures == 0 && self.is_in_service();
        self.failed_without_generation = !outcome.is_generation && (is_first || self.failed_without_generation);
        if self.is_ejected() && outcome.evidence.is_probe() {
            return self.on_failed_probe(outcome, upstream_wait, now);
        }
        let rate_limited = upstream_wait.is_some() && outcome.class == Class::RateLimited;
        let at_once =
            rate_limited || (upstream_wait.is_some() && names_wait(outcome)) || ejects_alone(outcome, settings);
        if !rate_limited {
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        }
        match self.state {
            HealthState::Cooling { until, .. } if self.is_ejected() => {
                self.extend(outcome, upstream_wait, settings, until, now)
            }
            HealthState::Probing { .. } => self.trip(outcome, upstream_wait, settings, now),
            _ if !at_once && self.consecutive_failures < settings.consecutive => HealthEffect::Counted,
            _ => match upstream_wait.map(|upstream_wait| cooldown::pause(upstream_wait, self.pauses)) {
                Some(wait) if wait < cooldown::MIN_COOLDOWN => self.pause(outcome, wait, now),
                upstream_wait => self.trip(outcome, upstream_wait, settings, now),
            },
        }
    }

    /// A call failed that was sent because nothing else was left. That it failed is no news; that the upstream asks for a wait
    /// is.
    fn on_failed_probe(&mut self, outcome: &Outcome, upstream_wait: Option<Duration>, now: BrokerTime) -> HealthEffect {
        let released = self.on_neutral(outcome.evidence);
        let (Some(until), Some(upstream_wait)) = (self.until(), upstream_wait.filter(|_| names_wait(outcome))) else {
            return released;
        };
        if let Some(trip) = self.trip.as_mut() {
            (trip.announced, trip.upstream_hinted) = (true, true);
        }
        if now.after(upstream_wait) <= until {
            return released;
        }
        self.state = HealthState::Cooling { until: now.after(upstream_wait), cause: outcome.cause };
        HealthEffect::Extended
    }

    /// Ejects it for as long as the upstream asked, or for the next cooldown.
    fn trip(
        &mut self,
        outcome: &Outcome,
        upstream_wait: Option<Duration>,
        settings: &HealthSettings,
        now: BrokerTime,
    ) -> HealthEffect {
        let before = self.trip_undo();
        self.credit_service_time(settings, now);
        let failed_returns = if self.recovered { 0 } else { self.failed_returns.saturating_add(1) };
        let time = match upstream_wait {
            Some(upstream_wait) => cooldown::hinted(upstream_wait, failed_returns, settings),
            None if outcome.class == Class::Refused => cooldown::refused(settings, outcome.jitter_seed),
            None => self.next_cooldown(settings, outcome.jitter_seed),
        };
        self.failed_returns = failed_returns;
        self.recovered = false;
        let announced = is_announced(outcome, upstream_wait);
        let trip = self.begin_trip(now, before);
        (trip.stopped, trip.upstream_hinted, trip.announced) = (outcome.stopped, upstream_wait.is_some(), announced);
        trip.skip_probe = upstream_wait.is_some() && outcome.class != Class::Overloaded;
        self.start_cooldown(now.after(time), outcome.cause);
        self.probe_slots = ProbeSlots::default();
        if announced {
            self.probe_slots.close(now.after(EARLY_PROBE_INTERVAL));
        }
        self.slow_start = None;
        HealthEffect::Tripped
    }

    /// Each ejection makes the next cooldown a step longer.
    fn next_cooldown(&mut self, settings: &HealthSettings, jitter_seed: u64) -> Duration {
        let time = cooldown::length(settings, self.backoff_step, jitter_seed);
        (self.backoff_step, self.time_in_service) = (self.backoff_step.saturating_add(1), Duration::ZERO);
        time
    }

    /// Each disabled time spent in service makes the next cooldown a step shorter; one success is not a recovery.
    fn credit_service_time(&mut self, settings: &HealthSettings, now: BrokerTime) {
        let since = self.in_service_since.take().map(|since| now.since(since));
        self.time_in_service = self.time_in_service.saturating_add(since.unwrap_or_default());
        let base = settings.disabled_time.as_nanos().max(1);
        let steps = u32::try_from(self.time_in_service.as_nanos() / base).unwrap_or(u32::MAX);
        self.backoff_step = self.backoff_step.saturating_sub(steps);
        self.time_in_service = self.time_in_service.saturating_sub(settings.disabled_time.saturating_mul(steps));
    }

    /// A new ejection, of which nothing else is known yet.
    pub(super) fn begin_trip(&mut self, at: BrokerTime, undo: TripUndo) -> &mut Trip {
        self.epoch = self.epoch.wrapping_add(1);
        let (stopped, upstream_hinted, announced, skip_probe, pause) = (None, false, false, false, false);
        self.trip.insert(Box::new(Trip { at, stopped, upstream_hinted, announced, skip_probe, pause, undo }))
    }

    pub(super) fn trip_undo(&self) -> TripUndo {
        let (probing, recovered) = (self.is_probing(), self.recovered);
        TripUndo { probing, recovered, failed_returns: self.failed_returns, backoff_step: self.backoff_step }
    }

    /// Pauses a busy upstream; nothing is counted against it but the pause itself, and the next one is longer.
    fn pause(&mut self, outcome: &Outcome, wait: Duration, now: BrokerTime) -> HealthEffect {
        self.pauses = self.pauses.saturating_add(1);
        if wait.is_zero() {
            return HealthEffect::Counted;
        }
        let before = self.trip_undo();
        let trip = self.begin_trip(now, before);
        (trip.stopped, trip.announced) = (outcome.stopped, is_announced(outcome, Some(wait)));
        (trip.upstream_hinted, trip.skip_probe, trip.pause) = (true, true, true);
        self.start_cooldown(now.after(wait), outcome.cause);
        if self.waits_as_announced() {
            self.probe_slots.close(now.after(EARLY_PROBE_INTERVAL));
        }
        HealthEffect::Paused
    }

    /// Ejected until then, or until a later moment that was set before.
    fn start_cooldown(&mut self, until: BrokerTime, cause: Cause) {
        let until = self.until().map_or(until, |before| before.max(until));
        self.state = HealthState::Cooling { until, cause };
    }

    /// A failure while it is ejected: of a call that the broker did not choose, or that began after the ejection.
    fn extend(
        &mut self,
        outcome: &Outcome,
        upstream_wait: Option<Duration>,
        settings: &HealthSettings,
        before: BrokerTime,
        now: BrokerTime,
    ) -> HealthEffect {
        let time = match upstream_wait {
            Some(upstream_wait) => cooldown::hinted(upstream_wait, self.failed_returns, settings),
            None if outcome.class == Class::Refused => cooldown::refused(settings, outcome.jitter_seed),
            None => cooldown::length(settings, self.backoff_step.saturating_sub(1), outcome.jitter_seed),
        };
        if let Some(trip) = self.trip.as_mut() {
            trip.skip_probe &= upstream_wait.is_some() && outcome.class == Class::RateLimited;
        }
        if now.after(time) <= before {
            return HealthEffect::None;
        }
        self.state = HealthState::Cooling { until: now.after(time), cause: outcome.cause };
        HealthEffect::Extended
    }

    /// Undoes the effect of an answer that turned out to be the request's own fault.
    pub(crate) fn undo_failure(&mut self, effect: HealthEffect, epoch: u32) -> HealthEffect {
        if !matches!(effect, HealthEffect::Counted | HealthEffect::Tripped) {
            return HealthEffect::None;
        }
        self.consecutive_failures = self.consecutive_failures.saturating_sub(1);
        let undo = self.trip_of(epoch).filter(|_| effect == HealthEffect::Tripped).map(|trip| trip.undo);
        let Some(before) = undo else {
            if let Some(window) = &mut self.success_window {
                window.remove_failure();
            }
            return HealthEffect::None;
        };
        (self.recovered, self.failed_returns, self.backoff_step) =
            (before.recovered, before.failed_returns, before.backoff_step);
        match self.state {
            HealthState::Cooling { cause, .. } if before.probing => self.state = HealthState::Probing { cause },
            _ => self.state = HealthState::Serving,
        }
        self.probe_slots = ProbeSlots::default(); // of a request that was sent while nothing else was left
        self.trip = None;
        HealthEffect::Undone
    }

    /// For how long a rate-limited model is to be left alone where the others go on, and whether its upstream named that time; `None`
    /// where the answer is about the whole router, or says nothing new of it: there is no time, or the router is out.
    pub(crate) fn model_wait(
        &self,
        outcome: &Outcome,
        settings: &HealthSettings,
        now: BrokerTime,
    ) -> Option<(Duration, bool)> {
        if settings.disabled_time.is_zero() || self.is_ejected() || self.is_straggler(outcome, now) {
            return None;
        }
        let wait = settings.retry_after.effective_wait(outcome)?;
        Some((wait, is_announced(outcome, Some(wait))))
    }

    /// The ejection `epoch`, if it is the current one.
    fn trip_of(&self, epoch: u32) -> Option<&Trip> {
        self.trip.as_deref().filter(|_| epoch == self.epoch && self.is_ejected())
    }

    /// Whether an answer is about a request that began before the last ejection. Without start times it counts as one
    /// for as long as a client waits for an answer; only a probe is known to have begun later, and one whose slot is
    /// still in use is never a straggler, whatever the gateway's clock says.
    fn is_straggler(&self, outcome: &Outcome, now: BrokerTime) -> bool {
        let Some(trip) = &self.trip else { return false };
        match (outcome.evidence, outcome.started, trip.stopped) {
            (Evidence::Local { sent_at, .. }, ..) => sent_at < trip.at,
            (Evidence::Probe(Some(decision)), ..) if self.probe_slots.holds(decision) => false,
            (_, Some(started), Some(stopped)) => started < stopped,
            (Evidence::Probe(_), ..) => false,
            _ => now < trip.at.after(MAX_CALL_DURATION),
        }
    }
}

/// Whether the wait is the answer's own, and not assumed.
fn is_announced(outcome: &Outcome, upstream_wait: Option<Duration>) -> bool {
    upstream_wait.is_some() && outcome.retry_after.and_then(RetryAfter::wait).is_some()
}

/// Whether an answer says itself for how long its upstream is not to be called; a quota that is refilled then is a guess.
fn names_wait(outcome: &Outcome) -> bool {
    outcome.retry_after.and_then(RetryAfter::named_wait).is_some()
}

/// Whether one failure of this kind ejects a router, whatever `consecutive` is.
fn ejects_alone(outcome: &Outcome, settings: &HealthSettings) -> bool {
    // An account is used up or refused for every call: one such answer is enough.
    outcome.class == Class::Refused
        || settings.timeout_ejects && outcome.cause == Cause::Transport(TransportFailure::FirstByteTimeout)
}
