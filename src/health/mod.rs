//! A router's health: what takes it out, for how long, and how it comes back.
//!
//! Serving → Cooling (until, why) → Probing → Serving. Failures in a row take a router out; so does an upstream's own word
//! that it wants to be left alone. When its time is over, one request at a time finds out whether it works again
//! (`permits`). It refuses to judge by our own clock which requests were already under way when the router went out: what
//! began before the trip is old news, and old news must neither extend the time, nor take the router out again after its
//! return, nor pass for a proof that it works.

mod cooldown;
mod ordered;
mod permits;
mod settings;

use permits::Permits;
pub use settings::{Probe, RetryAfter, Settings};

use std::time::Duration;

use crate::event::Standing;
use crate::outcome::{Class, Evidence, Outcome};
use crate::time::{GatewayTime, Now};

/// How long the gateway lets one call last before it cuts the client off (GATEWAY.md 1.6). A failure that says nothing
/// about its own beginning can be a straggler for so long and no longer.
pub const LONGEST_CALL: Duration = Duration::from_secs(200);

/// What an answer did to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it is about a request from before the trip, or may not decide.
    None,
    /// It counted, and changed nothing that others could see.
    Counted,
    /// It is out now.
    Tripped,
    /// It was out, and stays out longer.
    Extended,
    /// A wait of less than a second, not worth a word.
    Delayed,
    /// It proved itself.
    Returned,
    /// Its permit is free again.
    Freed,
}

/// The last time that a router was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trip {
    at: Now,
    /// When the gateway answered the request that did it; unknown until that request's log is here.
    stopped: Option<GatewayTime>,
    /// It need not prove itself: rate-limited is not ill.
    trusted: bool,
    /// It was only a delay.
    silent: bool,
}

/// What time alone did to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A permit was lost and is free again.
    Freed,
    /// Its time is over.
    Returned,
    /// A delay is over.
    Undelayed,
}

/// The health of one router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    standing: Standing,
    epoch: u32,
    trip: Option<Trip>,
    /// Failures since the last success.
    in_a_row: u32,
    /// Returns in a row that ended in another trip.
    failed_returns: u32,
    /// There was a success since the last trip.
    proven: bool,
    permits: Permits,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            standing: Standing::Serving,
            epoch: 0,
            trip: None,
            in_a_row: 0,
            failed_returns: 0,
            proven: true,
            permits: Permits::default(),
        }
    }
}

impl Health {
    /// Whether the router may serve.
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// How often the router was taken out.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many returns in a row ended in a failure.
    pub const fn failed_returns(&self) -> u32 {
        self.failed_returns
    }

    /// When time alone changes something: the end of a cooldown, or of a permit whose outcome was never seen.
    pub fn due(&self) -> Option<Now> {
        match self.standing {
            Standing::Serving => None,
            Standing::Cooling { until, .. } => Some(until),
            Standing::Probing { .. } => self.permits.next_expiry(),
        }
    }

    /// Whether the next request may go here: it serves, or has a permit to give.
    pub fn may_serve(&self, settings: &Settings) -> bool {
        match self.standing {
            Standing::Serving => true,
            Standing::Cooling { .. } => false,
            Standing::Probing { .. } => self.permits() < settings.probe.concurrency,
        }
    }

    /// Whether it proves itself just now.
    pub const fn is_probing(&self) -> bool {
        matches!(self.standing, Standing::Probing { .. })
    }

    /// How many permits are out.
    pub fn permits(&self) -> u32 {
        self.permits.given()
    }

    /// Gives the decision of this number a permit, if one is needed and free. True if so.
    pub fn permit(&mut self, decision: u64, settings: &Settings, now: Now) -> bool {
        let probes = self.is_probing() && self.may_serve(settings);
        if probes {
            self.permits.give(decision, now.after(settings.probe.timeout));
        }
        probes
    }

    /// Takes a permit back whose request said nothing about the router. True if there was one.
    pub fn take_back(&mut self, decision: u64) -> bool {
        self.permits.take_back(decision)
    }

    /// Learns from an answer. Never shortens a deadline.
    pub fn learn(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> Effect {
        if self.is_old(outcome, now) || (self.is_probing() && outcome.evidence == Evidence::Hearsay) {
            return Effect::None;
        }
        match outcome.class {
            Class::Neutral => self.shrug(outcome.evidence),
            Class::Success => self.succeed(),
            Class::Failure | Class::Overloaded | Class::RateLimited => self.fail(outcome, settings, now),
        }
    }

    /// The client's own fault proves nothing: another one may try.
    fn shrug(&mut self, evidence: Evidence) -> Effect {
        match evidence {
            Evidence::Probe(Some(decision)) if self.take_back(decision) => Effect::Freed,
            _ => Effect::Counted,
        }
    }

    fn succeed(&mut self) -> Effect {
        // While it cools, one success shows that it may work, not that it was wrong to leave it alone.
        if matches!(self.standing, Standing::Cooling { .. }) {
            return Effect::Counted;
        }
        (self.in_a_row, self.failed_returns, self.proven) = (0, 0, true);
        if !self.is_probing() {
            return Effect::Counted;
        }
        self.standing = Standing::Serving;
        self.permits = Permits::default();
        Effect::Returned
    }

    fn fail(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> Effect {
        if settings.disabled_time.is_zero() {
            return Effect::Counted;
        }
        let hint = settings.retry_after.heed(outcome);
        let told = hint.filter(|_| outcome.class == Class::RateLimited);
        let step = self.step();
        let until = now.after(cooldown::length(hint, step, settings.disabled_time));
        let trip = Trip { at: now, stopped: outcome.stopped, trusted: told.is_some(), silent: false };
        if told.is_none() {
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
        match (self.standing, told) {
            (Standing::Cooling { until: before, .. }, _) => self.extend(outcome, trip, before, until),
            (Standing::Serving, Some(wait)) if wait < cooldown::SHORTEST => self.delay(outcome, trip, wait, now),
            (Standing::Serving, None) if self.in_a_row < settings.consecutive => Effect::Counted,
            _ => self.trip(outcome, trip, step, until),
        }
    }

    /// How many returns in a row have failed, if it goes out now.
    fn step(&self) -> u32 {
        match self.standing {
            Standing::Cooling { .. } => self.failed_returns,
            _ if self.proven => 0,
            _ => self.failed_returns.saturating_add(1),
        }
    }

    fn trip(&mut self, outcome: &Outcome, trip: Trip, step: u32, until: Now) -> Effect {
        self.epoch = self.epoch.wrapping_add(1);
        self.failed_returns = step;
        self.proven = false;
        self.trip = Some(trip);
        self.standing = Standing::Cooling { until, cause: outcome.cause };
        self.permits = Permits::default();
        Effect::Tripped
    }

    /// A busy upstream is spared for a moment; nothing is counted against it.
    fn delay(&mut self, outcome: &Outcome, trip: Trip, wait: Duration, now: Now) -> Effect {
        if wait.is_zero() {
            return Effect::Counted;
        }
        self.trip = Some(Trip { silent: true, ..trip });
        self.standing = Standing::Cooling { until: now.after(wait), cause: outcome.cause };
        Effect::Delayed
    }

    /// It failed again while it is out: by a call that did not ask us, or by one that began after the trip.
    fn extend(&mut self, outcome: &Outcome, again: Trip, before: Now, until: Now) -> Effect {
        if let Some(trip) = self.trip.as_mut() {
            trip.trusted &= again.trusted;
        }
        if until <= before {
            return Effect::None;
        }
        self.standing = Standing::Cooling { until, cause: outcome.cause };
        Effect::Extended
    }

    /// The log of the request that tripped the router in `epoch` says when the gateway answered it.
    pub fn date_trip(&mut self, epoch: u32, stopped: GatewayTime) {
        if let Some(trip) = self.trip.as_mut().filter(|_| self.epoch == epoch) {
            trip.stopped.get_or_insert(stopped);
        }
    }

    /// Lets the router back when its time is over, and forgets permits that nobody will answer for.
    pub fn tick(&mut self, now: Now) -> Due {
        if self.due().is_none_or(|due| now < due) {
            return Due::Nothing;
        }
        match (self.standing, self.trip) {
            (Standing::Cooling { .. }, Some(Trip { trusted: true, silent, .. })) => {
                self.standing = Standing::Serving;
                if silent { Due::Undelayed } else { Due::Returned }
            }
            (Standing::Cooling { cause, .. }, _) => {
                self.standing = Standing::Probing { cause };
                Due::Returned
            }
            _ => {
                self.permits.expire(now);
                Due::Freed
            }
        }
    }

    /// Whether an answer is about a request that was already under way when the router was last taken out. Where nothing
    /// tells, it counts as begun before, as long as a call can last; only a probe is known to have begun later.
    fn is_old(&self, outcome: &Outcome, now: Now) -> bool {
        let Some(trip) = self.trip else { return false };
        match (outcome.started, trip.stopped) {
            (Some(started), Some(stopped)) => started < stopped,
            _ => !matches!(outcome.evidence, Evidence::Probe(_)) && now < trip.at.after(LONGEST_CALL),
        }
    }
}

#[cfg(test)]
mod tests;
