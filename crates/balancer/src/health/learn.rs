//! What an answer does to a router: what takes it out, for how long, and what brings it back.

use std::time::Duration;

use super::permits::Permits;
use super::ramp::Ramp;
use super::window::Window;
use super::{Before, Effect, Health, LONGEST_CALL, Settings, Trip, cooldown};
use types::event::Standing;
use types::outcome::{Cause, Class, Evidence, Outcome};
use types::time::Now;

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
        let suspected = self.serves() && self.is_suspected(outcome, settings, now);
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
        match settings.retry_after.foresee(outcome) {
            Some(wait) if wait < cooldown::SHORTEST => self.pause(outcome, wait, now),
            Some(wait) => {
                self.trip(&Outcome { cause: Cause::UsedUp, ..*outcome }, Some(wait), settings, now);
                self.proven = true; // nothing has failed
                Effect::Tripped
            }
            None => self.trip(&Outcome { cause: Cause::FailsOften(outcome.status), ..*outcome }, None, settings, now),
        }
    }

    /// The client's own fault proves nothing: another one may try.
    fn shrug(&mut self, evidence: Evidence) -> Effect {
        match evidence.permit() {
            Some(decision) if self.take_back(decision) => Effect::Freed,
            _ => Effect::Counted,
        }
    }

    fn succeed(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> Effect {
        // While it cools, a success shows that it may work, not that it was wrong to leave it alone; unless it was sent
        // because nothing else was left.
        if self.is_out() && !outcome.evidence.was_asked_for() {
            return Effect::Counted;
        }
        (self.in_a_row, self.failed_returns, self.pauses, self.proven) = (0, 0, 0, true);
        if self.serves() {
            return Effect::Counted;
        }
        self.date_proof(outcome);
        self.serve(now);
        self.ramp = Ramp::begin(settings, now);
        Effect::Returned
    }

    /// What began before this proof is old news from now on, and what began after it is not, whatever is known of the trip.
    /// Where nothing tells when calls begin, a straggler more is better than deafness.
    fn date_proof(&mut self, outcome: &Outcome) {
        match (self.trip.as_mut(), outcome.evidence, outcome.started) {
            (Some(trip), Evidence::Own { began, .. }, _) => trip.at = began,
            (Some(trip), _, Some(started)) => trip.stopped = Some(started),
            _ => self.trip = None,
        }
    }

    /// Lets it serve, whatever it was.
    pub fn serve(&mut self, now: Now) {
        self.standing = Standing::Serving;
        self.permits = Permits::default();
        self.window = Window::default();
        self.serves_since = Some(now);
    }

    fn fail(&mut self, outcome: &Outcome, settings: &Settings, now: Now) -> Effect {
        // A call that was sent because nothing else was left: that it failed is no news.
        if settings.disabled_time.is_zero() || (self.is_out() && outcome.evidence.was_asked_for()) {
            return self.shrug(outcome.evidence);
        }
        let hint = settings.retry_after.heed(outcome);
        let rate_limited = hint.is_some() && outcome.class == Class::RateLimited;
        if !rate_limited {
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
        match self.standing {
            Standing::Cooling { until, .. } if self.is_out() => self.extend(outcome, hint, settings, until, now),
            Standing::Probing { .. } => self.trip(outcome, hint, settings, now),
            _ if !rate_limited && self.in_a_row < settings.consecutive => Effect::Counted,
            _ => match hint.map(|hint| cooldown::pause(hint, self.pauses)) {
                Some(wait) if wait < cooldown::SHORTEST => self.pause(outcome, wait, now),
                hint => self.trip(outcome, hint, settings, now),
            },
        }
    }

    /// Takes it out for as long as it asked for, else for the next cooldown.
    fn trip(&mut self, outcome: &Outcome, hint: Option<Duration>, settings: &Settings, now: Now) -> Effect {
        let before = self.before();
        self.count_service(settings, now);
        let failed_returns = if self.proven { 0 } else { self.failed_returns.saturating_add(1) };
        let time = match hint {
            Some(hint) => cooldown::told(hint, failed_returns, settings),
            None => self.next_cooldown(settings, outcome.lot),
        };
        self.epoch = self.epoch.wrapping_add(1);
        self.failed_returns = failed_returns;
        self.proven = false;
        let trusted = hint.is_some() && outcome.class != Class::Overloaded;
        let (stopped, told) = (outcome.stopped, hint.is_some());
        self.trip = Some(Trip { at: now, stopped, told, trusted, pause: false, before });
        self.cool(now.after(time), outcome.cause);
        self.permits = Permits::default();
        self.ramp = None;
        Effect::Tripped
    }

    /// Each trip makes the next cooldown a step longer.
    fn next_cooldown(&mut self, settings: &Settings, lot: u64) -> Duration {
        let time = cooldown::length(settings, self.level, lot);
        (self.level, self.served) = (self.level.saturating_add(1), Duration::ZERO);
        time
    }

    /// Each disabled time in service makes it a step shorter: one success is no recovery.
    fn count_service(&mut self, settings: &Settings, now: Now) {
        let since = self.serves_since.take().map(|since| now.since(since));
        self.served = self.served.saturating_add(since.unwrap_or_default());
        let base = settings.disabled_time.as_nanos().max(1);
        let steps = u32::try_from(self.served.as_nanos() / base).unwrap_or(u32::MAX);
        self.level = self.level.saturating_sub(steps);
        self.served = self.served.saturating_sub(settings.disabled_time.saturating_mul(steps));
    }

    pub(super) fn before(&self) -> Before {
        let (probing, proven) = (self.is_probing(), self.proven);
        Before { probing, proven, failed_returns: self.failed_returns, level: self.level }
    }

    /// A busy upstream is spared for a moment; nothing is counted against it but the moment itself: the next one is longer.
    fn pause(&mut self, outcome: &Outcome, wait: Duration, now: Now) -> Effect {
        self.pauses = self.pauses.saturating_add(1);
        if wait.is_zero() {
            return Effect::Counted;
        }
        let before = self.before();
        self.epoch = self.epoch.wrapping_add(1);
        self.trip = Some(Trip { at: now, stopped: outcome.stopped, told: true, trusted: true, pause: true, before });
        self.cool(now.after(wait), outcome.cause);
        Effect::Paused
    }

    /// It is out until this moment, or until a later one that was set before.
    fn cool(&mut self, until: Now, cause: Cause) {
        let until = self.until().map_or(until, |before| before.max(until));
        self.standing = Standing::Cooling { until, cause };
    }

    /// It failed again while it is out: by a call that did not ask us, or by one that began after the trip.
    fn extend(
        &mut self,
        outcome: &Outcome,
        hint: Option<Duration>,
        settings: &Settings,
        before: Now,
        now: Now,
    ) -> Effect {
        let time = match hint {
            Some(hint) => cooldown::told(hint, self.failed_returns, settings),
            None => cooldown::length(settings, self.level.saturating_sub(1), outcome.lot),
        };
        if let Some(trip) = self.trip.as_mut() {
            trip.trusted &= hint.is_some() && outcome.class == Class::RateLimited;
        }
        if now.after(time) <= before {
            return Effect::None;
        }
        self.standing = Standing::Cooling { until: now.after(time), cause: outcome.cause };
        Effect::Extended
    }

    /// Takes back what an answer did that turned out to be the request's own fault. True if it changed who may serve.
    pub fn acquit(&mut self, effect: Effect, epoch: u32) -> bool {
        if !matches!(effect, Effect::Counted | Effect::Tripped) {
            return false;
        }
        self.in_a_row = self.in_a_row.saturating_sub(1);
        let Some(Trip { before, .. }) = self.trip_of(epoch).filter(|_| effect == Effect::Tripped) else {
            self.window.forgive();
            return false;
        };
        (self.proven, self.failed_returns, self.level) = (before.proven, before.failed_returns, before.level);
        match self.standing {
            Standing::Cooling { cause, .. } if before.probing => self.standing = Standing::Probing { cause },
            _ => self.standing = Standing::Serving,
        }
        self.permits = Permits::default(); // of a request that was sent while nothing else was left
        self.trip = None;
        true
    }

    /// Ends a cooldown that a request began which turned out to be at fault itself: one request may find out at once. True
    /// if there was such a one.
    pub fn try_at_once(&mut self, epoch: u32) -> bool {
        let Standing::Cooling { cause, .. } = self.standing else { return false };
        let its = self.trip_of(epoch).is_some();
        if its {
            self.standing = Standing::Probing { cause };
            self.permits = Permits::default();
        }
        its
    }

    /// The trip of this epoch, if that is why it is out now.
    fn trip_of(&self, epoch: u32) -> Option<Trip> {
        self.trip.filter(|_| epoch == self.epoch && self.is_out())
    }

    /// Whether an answer is about a request that was already under way when the router was last taken out. Where nothing
    /// tells, it counts as begun before for as long as a client waits for an answer; only a probe is known to have begun
    /// later, and one whose permit is still out, whatever the gateway's clock says.
    fn is_old(&self, outcome: &Outcome, now: Now) -> bool {
        let Some(trip) = self.trip else { return false };
        match (outcome.evidence, outcome.started, trip.stopped) {
            (Evidence::Own { began, .. }, ..) => began < trip.at,
            (Evidence::Probe(Some(decision)), ..) if self.permits.holds(decision) => false,
            (_, Some(started), Some(stopped)) => started < stopped,
            (Evidence::Probe(_), ..) => false,
            _ => now < trip.at.after(LONGEST_CALL),
        }
    }
}
