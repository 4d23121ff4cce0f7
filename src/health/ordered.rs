//! What an operator may do to a router's health: take it out as a failure would, and let it in whatever took it out.

use super::{Effect, Health, Trip};
use crate::event::Standing;
use crate::health::permits::Permits;
use crate::outcome::Cause;
use crate::time::Now;

impl Health {
    /// Out until then, whatever it was before; then it has yet to prove itself. Calls under way are old news.
    pub fn take_out(&mut self, until: Now, now: Now) -> Effect {
        self.epoch = self.epoch.wrapping_add(1);
        self.trip = Some(Trip { at: now, stopped: None, trusted: false, silent: false });
        self.standing = Standing::Cooling { until, cause: Cause::Ordered };
        self.permits = Permits::default();
        Effect::Tripped
    }

    /// In at once, with a clean slate.
    pub fn let_in(&mut self) -> Effect {
        (self.in_a_row, self.failed_returns, self.proven) = (0, 0, true);
        self.permits = Permits::default();
        if self.standing == Standing::Serving {
            return Effect::None;
        }
        self.standing = Standing::Serving;
        Effect::Returned
    }
}
