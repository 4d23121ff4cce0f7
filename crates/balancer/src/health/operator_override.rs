//! What an operator may do to a router's health: eject it or readmit it; and the import of another replica's state at
//! start.

use super::{Health, HealthEffect};
use crate::health::probe_slots::ProbeSlots;
use types::outcome::Cause;
use types::time::BrokerTime;
use types::transition::HealthState;

impl Health {
    /// Ejected until then, whatever it was before, and then on probation. Calls in flight are stragglers.
    pub fn eject(&mut self, until: BrokerTime, now: BrokerTime) -> HealthEffect {
        let before = self.trip_undo();
        self.begin_trip(now, before);
        self.slow_start = None;
        self.state = HealthState::Cooling { until, cause: Cause::Operator };
        self.probe_slots = ProbeSlots::default();
        HealthEffect::Tripped
    }

    /// Out as another replica knows it to be; `until`: none means that its time is over and it is on probation. It
    /// changes nothing if this replica knows better: if the router was out here before, unless it still is and for less long.
    pub fn import_state(&mut self, until: Option<BrokerTime>, cause: Cause, now: BrokerTime) -> HealthEffect {
        let news = match self.state {
            HealthState::Serving => self.epoch == 0,
            HealthState::Cooling { until: own, .. } => until.is_some_and(|until| until > own),
            HealthState::Probing { .. } => false,
        };
        if !news {
            return HealthEffect::None;
        }
        let effect = self.eject(until.unwrap_or(now), now);
        self.state = match until {
            Some(until) => HealthState::Cooling { until, cause },
            None => HealthState::Probing { cause },
        };
        effect
    }

    /// Serves at once, with all counters reset.
    pub(crate) fn readmit(&mut self, now: BrokerTime) -> HealthEffect {
        let serves = self.state == HealthState::Serving;
        (self.consecutive_failures, self.failed_returns, self.backoff_step, self.pauses, self.recovered) =
            (0, 0, 0, 0, true);
        self.failed_without_generation = false;
        self.slow_start = None;
        // No call shows when an override came: to count one straggler is better than to ignore failures from now on.
        self.trip = self.trip.take().filter(|trip| trip.stopped.is_some());
        self.serve(now);
        if serves { HealthEffect::None } else { HealthEffect::Returned }
    }
}
