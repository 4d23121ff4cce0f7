//! A router's health: what takes it out, for how long, and how it comes back.
//!
//! Serving → Cooling (until, why) → Probing → Serving. Failures in a row take a router out; so does an upstream's own word
//! that it wants to be left alone. When its time is over, one request at a time finds out whether it works again
//! (`permits`). It refuses to judge by our own clock which requests were already under way when the router went out: what
//! began before the trip is old news, and old news must neither extend the time, nor take the router out again after its
//! return, nor pass for a proof that it works.

mod cooldown;
mod learn;
mod ordered;
mod permits;
mod ramp;
mod settings;
mod window;

pub use settings::{Cooldown, Preset, Probe, Ratio, RetryAfter, Settings};

use std::time::Duration;

use permits::Permits;
use ramp::Ramp;
use types::event::Standing;
use types::outcome::Evidence;
use types::time::{GatewayTime, Now};
use window::Window;

/// How long the gateway lets a client wait before it cuts it off (GATEWAY.md 1.6). A failure that says nothing about its own
/// beginning counts as a straggler for so long; an upstream may take longer, but few do.
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
    /// It waits for less than a second, which is not worth a word.
    Paused,
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
    /// The upstream named the moment itself.
    told: bool,
    /// It need not prove itself: rate-limited is not ill.
    trusted: bool,
    /// It is for less than a second: the router counts as serving all the while.
    pause: bool,
    /// For the case that the request was at fault.
    before: Before,
}

/// What a trip changes and an acquittal brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Before {
    probing: bool,
    proven: bool,
    failed_returns: u32,
    level: u32,
}

/// What time alone did to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A permit was lost and is free again, its share has grown, or a pause is over.
    Eased,
    /// Its time is over.
    Returned,
}

/// The health of one router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    standing: Standing,
    epoch: u32,
    trip: Option<Trip>,
    /// Failures since the last success.
    in_a_row: u32,
    /// Pauses since the last success.
    pauses: u32,
    /// Returns in a row that ended in another trip.
    failed_returns: u32,
    /// There was a success since the last trip.
    proven: bool,
    /// How many steps longer than the first the next cooldown is.
    level: u32,
    /// Since when it serves; unknown before its first trip.
    serves_since: Option<Now>,
    /// Time in service that was not counted yet.
    served: Duration,
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
            pauses: 0,
            failed_returns: 0,
            proven: true,
            level: 0,
            serves_since: None,
            served: Duration::ZERO,
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

    /// How often the router was taken out, pauses included.
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
        self.until().is_some() && self.trip.is_some_and(|trip| trip.told)
    }

    /// Whether it cools, and not only for a pause.
    pub fn is_out(&self) -> bool {
        self.until().is_some() && !self.trip.is_some_and(|trip| trip.pause)
    }

    /// Whether it serves, but for a pause.
    pub fn serves(&self) -> bool {
        !self.is_probing() && !self.is_out()
    }

    /// What a call is worth of which nobody knows why it was sent: if we wait for one, and this one did not begin too early,
    /// it is taken for that.
    pub fn presume(&self, started: Option<GatewayTime>) -> Evidence {
        let old = started.zip(self.trip.and_then(|trip| trip.stopped)).is_some_and(|(started, trip)| started < trip);
        match self.permits.oldest() {
            Some(decision) if !old => Evidence::Probe(Some(decision)),
            _ => Evidence::Word,
        }
    }

    /// Gives the decision of this number a permit.
    pub fn permit(&mut self, decision: u64, settings: &Settings, now: Now) {
        self.permits.give(decision, now.after(settings.probe.timeout));
    }

    /// Takes a permit back whose request said nothing about the router. True if there was one.
    pub fn take_back(&mut self, decision: u64) -> bool {
        self.permits.take_back(decision)
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
            (Standing::Cooling { .. }, Some(Trip { pause: true, .. })) => {
                self.standing = Standing::Serving;
                self.permits = Permits::default();
                Due::Eased
            }
            (Standing::Cooling { .. }, Some(Trip { trusted: true, .. })) => {
                self.serve(now);
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
}

#[cfg(test)]
mod tests;
