//! The load data that some policies choose by. Where no policy needs it, nothing is kept and the checks cost next to
//! nothing.

use rand::Rng;

use super::{Broker, Pool, Route};
use crate::in_flight::InFlightCall;
use crate::load::{LoadReader, Loads};
use crate::strategy::{Candidate, Candidates, PickContext, RouterFilter, Tier};
use types::outcome::{Attempt, CallObservation, Outcome};
use types::request::Request;
use types::router::RouterId;
use types::time::BrokerTime;
use types::transition::{Advisory, BrokerEvent};

impl Broker {
    /// The candidates of a tier, with load data.
    pub(super) fn candidates<'a, Q: Request, R: Rng>(
        &'a self,
        pool: &'a Pool,
        tier: Tier,
        request: &'a Q,
        rng: &'a mut R,
    ) -> Candidates<'a, Q, R> {
        Candidates::new(pool.tree(), request, rng).with(PickContext { tier, ..self.context() })
    }

    /// A candidate that is known to be one of its tier.
    pub(super) fn candidate<R: Rng>(
        &self,
        pool: &Pool,
        tier: Tier,
        router: RouterId,
        request: &impl Request,
        rng: &mut R,
    ) -> Option<Candidate> {
        let is_it = |other| other == router;
        let context = PickContext { among: Some(&RouterFilter(&is_it)), tier, ..self.context() };
        let candidate = Candidates::new(pool.tree(), request, rng).with(context).next()?;
        Some(Candidate { p: None, ..candidate })
    }

    /// The context for picking among those that serve, among all of them.
    pub(super) fn context(&self) -> PickContext<'_> {
        PickContext { loads: self.load_reader(), among: None, tier: Tier::Serving }
    }

    pub(super) fn load_reader(&self) -> Option<LoadReader<'_>> {
        self.loads.as_ref().map(|loads| LoadReader { loads, in_flight: &self.in_flight })
    }

    /// Starts or stops learning, as the settings ask.
    pub(super) fn configure_loads(&mut self) {
        let learns = self.pools.values().any(|pool| pool.tree().learns());
        self.loads = if learns { Some(self.loads.take().unwrap_or_default()) } else { None };
        self.refresh_medians();
    }

    pub(super) const fn advance_load_clock(&mut self, now: BrokerTime) {
        self.model_limits.advance_clock(now);
        if let Some(loads) = &mut self.loads {
            loads.advance_clock(now);
        }
        if let Some(limits) = &mut self.limits {
            limits.advance_clock(now);
        }
    }

    /// A call is sent, with all that it takes until it ends.
    pub(super) fn start_call(&mut self, route: &Route, probe: bool, now: BrokerTime) {
        let (number, router, tokens) = (route.number, route.router(), route.reservation.tokens);
        let reservation = self.limits.as_mut().and_then(|limits| limits.reserve(router, tokens, now));
        let call = InFlightCall { router, started: now, probe, reservation };
        if route.relayed {
            self.in_flight.start_attempt(number, call);
            return;
        }
        if let Some(loads) = &mut self.loads {
            loads.await_stamp(now);
        }
        while let Some((number, evicted)) = self.in_flight.evict(number) {
            self.end_without_evidence(number, evicted);
        }
        self.in_flight.start(number, call);
    }

    /// A call with this replica's stamp is over, even if nothing else is learned from it. Returns it as it was sent.
    pub(super) fn end_call(&mut self, observation: &CallObservation<'_>) -> Option<InFlightCall> {
        let number = observation.decision()?;
        if let Some(loads) = &mut self.loads {
            loads.stamp_seen();
        }
        let log_follows = matches!(observation, CallObservation::Attempt(attempt) if self.log_adds(attempt));
        if log_follows { self.in_flight.answered(number) } else { self.in_flight.finish(number) }
    }

    /// Whether the log of an attempt may say more about usage than the relay knows: not of an error, which used nothing, nor where
    /// the entry is the relay's own.
    pub(super) fn log_adds(&self, attempt: &Attempt<'_>) -> bool {
        let knows_usage =
            attempt.details.total_tokens.is_some() || attempt.answer.status.is_some_and(|status| status >= 400);
        let router = attempt.answer.served_path.and_then(|path| self.router_at(path));
        !knows_usage && !router.is_some_and(|id| self.routers.is_relayed(id))
    }

    /// A call ended without anyone at fault. What it took of the limits is given back, unless it `was_sent`: then its target has
    /// counted it too.
    pub(super) fn abandon(&mut self, route: &Route, was_sent: bool) {
        if let Some(loads) = &mut self.loads {
            loads.stamp_seen();
        }
        let call = self.in_flight.finish(route.number);
        if let (Some(call), Some(limits), false) = (&call, &mut self.limits, was_sent) {
            limits.release(call);
        }
        self.release_probe(route.router(), route.number);
    }

    /// Ends calls that the gateway has cut off by now.
    pub(super) fn expire_calls(&mut self, now: BrokerTime) {
        while let Some((number, call)) = self.in_flight.expire(now) {
            self.end_without_evidence(number, call);
        }
        self.advance_load_clock(now);
        if self.loads.as_mut().is_some_and(|loads| loads.misses_stamps(now)) {
            self.effects.push(BrokerEvent::Advisory(Advisory::StampsMissing));
        }
    }

    /// Looks at the router of a probe only: others are not in the processor's cache.
    fn end_without_evidence(&mut self, number: u64, call: InFlightCall) {
        if call.probe {
            self.release_probe(call.router, number);
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
            self.pools.values_mut().for_each(|pool| pool.refresh_medians(loads));
        }
    }
}
