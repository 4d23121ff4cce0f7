//! What an answer does to a router: what takes it out, for how long, and what brings it back.

use std::time::Duration;

use super::permits::Permits;
use super::ramp::Ramp;
use super::window::Window;
use super::{Effect, Health, LONGEST_CALL, Settings, Trip, cooldown};
use crate::event::Standing;
use crate::outcome::{Cause, Class, Evidence, Outcome};
use crate::time::Now;

impl Health {
    /// Learns from an answer. Never shortens a deadline.
    pub fn learn(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> Effect {
        if self.is_old(outcome, now) || (self.is_probing() && outcome.evidence == Evidence::Hearsay) {
            return Effect::None;
        }
        let effect = match outcome.class {
            Class::Neutral => return self.shrug(outcome.evidence),
            Class::Success => self.succeed(outcome, settings, now),
            Class::Failure | Class::Overloaded | Class::RateLimited => self.fail(outcome, settings, now),
        };
        let suspected = self.standing == Standing::Serving && self.is_suspected(outcome, settings, now);
        if effect == Effect::Counted && suspected { Effect::Suspected } else { effect }
    }

    /// Counts an answer, and tells whether too few of the last while were good, or the next one will hardly be.
    fn is_suspected(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> bool {
        let good = outcome.class == Class::Success;
        let too_few = settings.ratio.is_some_and(|ratio| {
            let (of_good, of_all) = self.window.count(good, ratio.over, now);
            !good && of_all >= ratio.min && f64::from(of_good) < ratio.below * f64::from(of_all)
        });
        !settings.disabled_time.is_zero() && (too_few || settings.retry_after.foresee(outcome).is_some())
    }

    /// Takes a router out that is suspected.
    pub fn convict(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> Effect {
        let told = settings.retry_after.foresee(outcome);
        let trip = Trip {
            at: now,
            stopped: outcome.stopped,
            trusted: told.is_some(),
            silent: false,
            proving: self.is_probing(),
        };
        match told {
            Some(wait) if wait < cooldown::SHORTEST => self.delay(outcome, trip, wait, now),
            Some(wait) => {
                self.trip(Cause::UsedUp, trip, 0, now.after(wait));
                self.proven = true; // nothing has failed
                Effect::Tripped
            }
            None => {
                let until = now.after(self.cooldown(outcome, settings, now));
                self.trip(Cause::FailsOften(outcome.status), trip, self.step(), until)
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
        self.serve(now);
        self.ramp = Ramp::begin(settings, now);
        Effect::Returned
    }

    pub(super) fn serve(&mut self, now: Now) {
        self.standing = Standing::Serving;
        self.permits = Permits::default();
        self.window = Window::default();
        self.serves_since = Some(now);
    }

    fn fail(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> Effect {
        if settings.disabled_time.is_zero() {
            return Effect::Counted;
        }
        let hint = settings.retry_after.heed(outcome);
        let told = hint.filter(|_| outcome.class == Class::RateLimited);
        let trip = Trip {
            at: now,
            stopped: outcome.stopped,
            trusted: told.is_some(),
            silent: false,
            proving: self.is_probing(),
        };
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
                    Some(hint) => cooldown::told(hint, step, settings),
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

    /// Takes back what an answer did that turned out to be the request's own fault. True if it changed who may serve.
    pub fn acquit(&mut self, tripped: Option<u32>) -> bool {
        self.in_a_row = self.in_a_row.saturating_sub(1);
        self.window.forgive();
        let Some(Trip { proving, .. }) = self.trip_of(tripped) else { return false };
        self.level = self.level.saturating_sub(1);
        self.failed_returns = self.failed_returns.saturating_sub(1);
        match self.standing {
            Standing::Cooling { cause, .. } if proving => self.standing = Standing::Probing { cause },
            _ => self.standing = Standing::Serving,
        }
        self.trip = None;
        true
    }

    /// Ends a cooldown that a request began which turned out to be at fault itself: one request may find out at once. True
    /// if there was such a one.
    pub fn try_at_once(&mut self, tripped: Option<u32>) -> bool {
        self.in_a_row = self.in_a_row.saturating_sub(1);
        let Standing::Cooling { cause, .. } = self.standing else { return false };
        let its = self.trip_of(tripped).is_some();
        if its {
            self.standing = Standing::Probing { cause };
            self.permits = Permits::default();
        }
        its
    }

    /// The trip of this epoch, if that is why it is out now.
    fn trip_of(&self, epoch: Option<u32>) -> Option<Trip> {
        let out = epoch == Some(self.epoch) && self.until().is_some();
        self.trip.filter(|_| out)
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
