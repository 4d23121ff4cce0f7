//! What an operator may do to a router's health: take it out as a failure would, let it in whatever took it out,
//! and, when a replica starts, let it be what another replica knows it to be.

use super::{Effect, Health, Trip};
use crate::event::Standing;
use crate::health::permits::Permits;
use crate::outcome::Cause;
use crate::time::Now;

impl Health {
    /// Out until then, whatever it was before; then it has yet to prove itself. Calls under way are old news.
    pub fn take_out(&mut self, until: Now, now: Now) -> Effect {
        let before = self.before();
        self.epoch = self.epoch.wrapping_add(1);
        self.trip = Some(Trip { at: now, stopped: None, told: false, trusted: false, pause: false, before });
        self.ramp = None;
        self.standing = Standing::Cooling { until, cause: Cause::Ordered };
        self.permits = Permits::default();
        Effect::Tripped
    }

    /// Out as another replica knows it to be; `until`: none means that its time is over, and it has yet to prove itself. It
    /// changes nothing if this replica knows better: if the router was out here before, unless it still is and for less long.
    pub fn take_over(&mut self, until: Option<Now>, cause: Cause, now: Now) -> Effect {
        let news = match self.standing {
            Standing::Serving => self.epoch == 0,
            Standing::Cooling { until: own, .. } => until.is_some_and(|until| until > own),
            Standing::Probing { .. } => false,
        };
        if !news {
            return Effect::None;
        }
        let effect = self.take_out(until.unwrap_or(now), now);
        self.standing = match until {
            Some(until) => Standing::Cooling { until, cause },
            None => Standing::Probing { cause },
        };
        effect
    }

    /// In at once, with a clean slate.
    pub fn let_in(&mut self, now: Now) -> Effect {
        let serves = self.standing == Standing::Serving;
        (self.in_a_row, self.failed_returns, self.level, self.pauses, self.proven) = (0, 0, 0, 0, true);
        self.ramp = None;
        // Of an order, no call tells when it came: a straggler more is better than to be deaf to failures from now on.
        self.trip = self.trip.filter(|trip| trip.stopped.is_some());
        self.serve(now);
        if serves { Effect::None } else { Effect::Returned }
    }
}
