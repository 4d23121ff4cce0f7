//! The load data that some policies choose by. Where no policy needs it, nothing is kept and the checks cost next to
//! nothing.

use rand::Rng;

use super::{Broker, Route};
use crate::load::Loads;
use crate::strategy::{Candidates, PickContext, Tree};
use types::outcome::{CallObservation, Outcome};
use types::request::Request;
use types::time::BrokerTime;
use types::transition::{Advisory, BrokerEvent};

impl Broker {
    /// The candidates of a tree, with load data.
    pub(super) fn candidates<'a, Q, R>(&'a self, tree: &'a Tree, request: &'a Q, rng: &'a mut R) -> Candidates<'a, Q, R>
    where
        Q: Request,
        R: Rng,
    {
        Candidates::new(tree, request, rng).with_loads(self.loads.as_ref())
    }

    /// The context for picking, without rate limits.
    pub(super) const fn context(&self) -> PickContext<'_> {
        PickContext { loads: self.loads.as_ref(), limits: None }
    }

    /// Starts or stops learning, as the settings ask.
    pub(super) fn configure_loads(&mut self) {
        let learns = self.pools.iter().any(|pool| pool.tree().learns());
        self.loads = if learns { Some(self.loads.take().unwrap_or_default()) } else { None };
        self.refresh_medians();
    }

    pub(super) const fn advance_load_clock(&mut self, now: BrokerTime) {
        if let Some(loads) = &mut self.loads {
            loads.advance_clock(now);
        }
        if let Some(limits) = &mut self.limits {
            limits.advance_clock(now);
        }
    }

    pub(super) fn begin_call(&mut self, route: &Route, now: BrokerTime) {
        if let Some(loads) = &mut self.loads {
            if route.relayed {
                loads.begin_attempt(route.number, route.router(), now);
            } else {
                loads.begin(route.number, route.router(), now);
            }
        }
        if let Some(limits) = &mut self.limits {
            limits.take(route.number, route.router(), route.reservation.tokens, now);
        }
    }

    /// A log with this replica's stamp ends its call, even if nothing else is learned from it.
    pub(super) fn end_call(&mut self, report: &CallObservation<'_>) {
        if let (Some(loads), Some(decision)) = (&mut self.loads, report.decision) {
            loads.end(decision);
        }
    }

    pub(super) fn expire_calls(&mut self, now: BrokerTime, changes: &mut Vec<BrokerEvent>) {
        if self.loads.as_mut().is_some_and(|loads| loads.expire(now)) {
            changes.push(BrokerEvent::Advisory(Advisory::StampsMissing));
        }
    }

    pub(super) fn learn_speed(&mut self, outcome: &Outcome, now: BrokerTime) {
        if self.loads.as_mut().is_some_and(|loads| loads.learn(outcome, now)) {
            self.refresh_medians();
        }
    }

    pub(super) fn loads_due(&self) -> Option<BrokerTime> {
        self.loads.as_ref().and_then(Loads::next_deadline)
    }

    /// Refreshes the assumed latency of routers without samples.
    fn refresh_medians(&mut self) {
        if let Some(loads) = &self.loads {
            self.pools.iter_mut().for_each(|pool| pool.refresh_medians(loads));
        }
    }
}
