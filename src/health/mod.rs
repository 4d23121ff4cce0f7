//! A router's health: what takes it out, for how long, and how it comes back.
//!
//! Serving → Cooling (until, why) → Probing → Serving. Failures in a row take a router out; so does an upstream's own word
//! that it wants to be left alone. When its time is over, one request at a time finds out whether it works again
//! (`permits`). It refuses to judge by our own clock which requests were already under way when the router went out: what
//! began before the trip is old news, and old news must neither extend the time, nor take the router out again after its
//! return, nor pass for a proof that it works.

mod cooldown;
mod permits;
mod ramp;
mod settings;
mod window;

use permits::Permits;
pub use settings::{Cooldown, Preset, Probe, Ratio, RetryAfter, Settings};

use std::time::Duration;

use crate::event::Standing;
use crate::outcome::{Cause, Class, Evidence, Outcome};
use crate::time::{GatewayTime, Now};
use ramp::Ramp;
use window::Window;

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
    /// It should be left alone, by a guess: that must not take the last one away. [`Health::convict`] does it.
    Suspected,
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
    /// A permit was lost and is free again, or its share has grown.
    Eased,
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
    /// How many steps longer than the first the next cooldown is.
    level: u32,
    /// Since when it serves; unknown before its first trip.
    serves_since: Option<Now>,
    ramp: Option<Ramp>,
    window: Window,
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
            level: 0,
            serves_since: None,
            ramp: None,
            window: Window::default(),
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

    /// When time alone changes something: the end of a cooldown, of a step of its return, or of a permit whose outcome was
    /// never seen.
    pub fn due(&self, settings: &Settings) -> Option<Now> {
        let expiry = self.permits.next_expiry();
        match self.standing {
            Standing::Serving => self.ramp.map(|ramp| ramp.due(settings)),
            Standing::Cooling { until, .. } => Some(expiry.map_or(until, |expiry| expiry.min(until))),
            Standing::Probing { .. } => expiry,
        }
    }

    /// The part of its share that the next request may give it; 0 if none may go here.
    pub fn share(&self, settings: &Settings) -> f64 {
        match self.standing {
            _ if !self.may_serve(settings) => 0.0,
            Standing::Serving => self.ramp.map_or(1.0, Ramp::share),
            _ => 1.0,
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

    /// When it is back, if it is out.
    pub const fn until(&self) -> Option<Now> {
        match self.standing {
            Standing::Cooling { until, .. } => Some(until),
            Standing::Serving | Standing::Probing { .. } => None,
        }
    }

    /// Whether it waits for a moment that its upstream named.
    pub fn waits_as_told(&self) -> bool {
        matches!(self.standing, Standing::Cooling { .. }) && self.trip.is_some_and(|trip| trip.trusted)
    }

    /// Gives the decision of this number a permit.
    pub fn permit(&mut self, decision: u64, settings: &Settings, now: Now) {
        self.permits.give(decision, now.after(settings.probe.timeout));
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
        if let (Evidence::Probe(_), Some(trip), Some(started)) = (outcome.evidence, self.trip.as_mut(), outcome.started)
        {
            // It began after the trip; so whoever began no earlier did, even if the log of the trip itself is lost.
            trip.stopped.get_or_insert(started);
        }
        let effect = match outcome.class {
            Class::Neutral => return self.shrug(outcome.evidence),
            Class::Success => self.succeed(outcome, settings, now),
            Class::Failure | Class::Overloaded | Class::RateLimited => self.fail(outcome, settings, now),
        };
        let bad = self.is_bad(outcome, settings, now);
        if effect == Effect::Counted && bad && self.standing == Standing::Serving { Effect::Suspected } else { effect }
    }

    /// Counts an answer, and tells whether too few of the last while were good.
    fn is_bad(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> bool {
        let Some(ratio) = settings.ratio.filter(|_| !settings.disabled_time.is_zero()) else { return false };
        if self.standing != Standing::Serving {
            return false;
        }
        let (good, all) = self.window.count(outcome.class == Class::Success, ratio.over, now);
        let bad = all >= ratio.min && f64::from(good) < ratio.below * f64::from(all);
        bad || settings.retry_after.foresee(outcome).is_some()
    }

    /// Takes a router out that is suspected.
    pub fn convict(&mut self, outcome: &Outcome, settings: &Settings, now: Now) {
        let trip = Trip { at: now, stopped: outcome.stopped, trusted: false, silent: false };
        match settings.retry_after.foresee(outcome) {
            // Nothing has failed: that is no return that failed either.
            Some(wait) => {
                let (proven, until) = (self.proven, now.after(wait));
                self.trip(Cause::UsedUp, Trip { trusted: true, ..trip }, self.failed_returns, until);
                self.proven = proven;
            }
            None => {
                let until = now.after(self.cooldown(outcome, settings, now));
                self.trip(Cause::FailsOften(outcome.status), trip, self.step(), until);
            }
        }
    }

    /// The client's own fault proves nothing: another one may try.
    fn shrug(&mut self, evidence: Evidence) -> Effect {
        match evidence {
            Evidence::Probe(Some(decision)) if self.take_back(decision) => Effect::Freed,
            _ => Effect::Counted,
        }
    }

    fn succeed(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> Effect {
        // While it cools, a success shows that it may work, not that it was wrong to leave it alone; unless it was sent
        // because nothing else was left.
        let asked = matches!(outcome.evidence, Evidence::Probe(_));
        if matches!(self.standing, Standing::Cooling { .. }) && !asked {
            return Effect::Counted;
        }
        (self.in_a_row, self.failed_returns, self.proven) = (0, 0, true);
        if self.standing == Standing::Serving {
            return Effect::Counted;
        }
        self.serve(settings, now);
        Effect::Returned
    }

    fn serve(&mut self, settings: &Settings, now: Now) {
        self.standing = Standing::Serving;
        self.permits = Permits::default();
        self.window = Window::default();
        self.serves_since = Some(now);
        self.ramp = Ramp::begin(settings, now);
    }

    fn fail(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> Effect {
        if settings.disabled_time.is_zero() {
            return Effect::Counted;
        }
        let hint = settings.retry_after.heed(outcome);
        let told = hint.filter(|_| outcome.class == Class::RateLimited);
        let trip = Trip { at: now, stopped: outcome.stopped, trusted: told.is_some(), silent: false };
        if told.is_none() {
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
        match (self.standing, told) {
            // It was sent because nothing else was left: that it failed is no news.
            (Standing::Cooling { .. }, _) if matches!(outcome.evidence, Evidence::Probe(_)) => {
                self.shrug(outcome.evidence)
            }
            (Standing::Serving, Some(wait)) if wait < cooldown::SHORTEST => self.delay(outcome, trip, wait, now),
            (Standing::Serving, None) if self.in_a_row < settings.consecutive => Effect::Counted,
            (standing, _) => {
                let step = self.step();
                let time = match hint {
                    Some(hint) => cooldown::told(hint, step, settings.disabled_time),
                    None => self.cooldown(outcome, settings, now),
                };
                match standing {
                    Standing::Cooling { until: before, .. } => self.extend(outcome, trip, before, now.after(time)),
                    _ => self.trip(outcome.cause, trip, step, now.after(time)),
                }
            }
        }
    }

    /// How long it is left alone now. Each trip makes the next one a step longer, and each time that long in service a step
    /// shorter: one success is no recovery.
    fn cooldown(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> Duration {
        if matches!(self.standing, Standing::Cooling { .. }) {
            return cooldown::length(settings, self.level.saturating_sub(1), outcome.lot);
        }
        let well = self.serves_since.filter(|_| self.standing == Standing::Serving).map(|since| now.since(since));
        let steps = well.unwrap_or_default().as_nanos() / settings.disabled_time.as_nanos().max(1);
        let level = self.level.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
        self.level = level.saturating_add(1);
        cooldown::length(settings, level, outcome.lot)
    }

    /// How many returns in a row have failed, if it goes out now.
    fn step(&self) -> u32 {
        match self.standing {
            Standing::Cooling { .. } => self.failed_returns,
            _ if self.proven => 0,
            _ => self.failed_returns.saturating_add(1),
        }
    }

    fn trip(&mut self, cause: Cause, trip: Trip, step: u32, until: Now) -> Effect {
        self.epoch = self.epoch.wrapping_add(1);
        self.failed_returns = step;
        self.proven = false;
        self.trip = Some(trip);
        self.standing = Standing::Cooling { until, cause };
        self.permits = Permits::default();
        self.ramp = None;
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

    /// Lets the router back when its time is over, lets its share grow, and forgets permits that nobody will answer for.
    pub fn tick(&mut self, settings: &Settings, now: Now) -> Due {
        if self.due(settings).is_none_or(|due| now < due) {
            return Due::Nothing;
        }
        self.permits.expire(now);
        match (self.standing, self.trip) {
            (Standing::Cooling { until, .. }, _) if now < until => Due::Eased,
            (Standing::Cooling { .. }, Some(Trip { trusted: true, silent, .. })) => {
                let ramp = self.ramp;
                self.serve(settings, now);
                if silent {
                    self.ramp = ramp; // a pause of milliseconds is no return
                    return Due::Undelayed;
                }
                Due::Returned
            }
            (Standing::Cooling { cause, .. }, _) => {
                self.standing = Standing::Probing { cause };
                self.permits = Permits::default();
                Due::Returned
            }
            (Standing::Serving, _) => {
                self.ramp = self.ramp.and_then(|ramp| ramp.go_on(settings, now));
                Due::Eased
            }
            (Standing::Probing { .. }, _) => Due::Eased,
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
