//! From an observation to its meaning: which router it is about, whether it counts, and what it does to that router.
//!
//! The questions are in the order in which the gateway's contract makes them answerable (docs/gateway-protocol.md
//! 3.3, 4.7, 5.2); without a router there is nothing to blame.

mod attempt;
mod gateway;
mod judgement;

use super::outcome_dedup::{Key, Match, PendingOutcome};
use super::{Broker, PathRole};
use crate::health::HealthEffect;
use crate::in_flight::InFlightCall;
use crate::strategy::{NodeId, Tier, hash};
use types::outcome::{
    CallAnswer, CallFacts, CallObservation, Class, Evidence, LogEntry, Outcome, ResponseMessage, RetryAfter, SetBy,
};
use types::router::{PoolId, RouterId};
use types::time::{BrokerTime, GatewayTime};
use types::transition::IgnoreReason;

/// What an outcome did to its router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct HealthChange {
    pub(super) effect: HealthEffect,
    /// The router's epoch after that.
    pub(super) epoch: u32,
}

impl Broker {
    /// Learns from an observation.
    ///
    /// # Errors
    /// Why there was nothing to learn.
    pub(super) fn learn(&mut self, observation: &CallObservation<'_>, now: BrokerTime) -> Result<(), IgnoreReason> {
        let call = self.end_call(observation);
        let result = self.learn_from(observation, call, now);
        // Whatever it showed, a call that is over holds no probe slot.
        if let Some((number, call)) = observation.decision().zip(call.filter(|call| call.probe))
            && !self.in_flight.contains(number)
        {
            self.release_probe(call.router, number);
        }
        result
    }

    #[inline]
    fn learn_from(
        &mut self,
        observation: &CallObservation<'_>,
        call: Option<InFlightCall>,
        now: BrokerTime,
    ) -> Result<(), IgnoreReason> {
        self.refuse_filtered(observation)?;
        let interpreted = self.interpret(observation, now);
        self.release(observation, call, interpreted.as_ref().ok());
        let outcome = interpreted.as_ref().map_err(|reason| *reason)?;
        match *observation {
            CallObservation::Message(message) => {
                let serves = self.is_in_service(outcome.router);
                let waits = message.headers_missing && self.honors_hints(outcome);
                let acts = outcome.class.is_failure() && serves && !waits;
                self.learn_message(message, outcome, acts, now);
            }
            CallObservation::OneRow(message) => {
                let acts = outcome.class.is_failure() || !self.is_in_service(outcome.router);
                self.learn_message(message, outcome, acts, now);
            }
            CallObservation::Log { entry, .. } => self.learn_log(observation, entry, outcome, call, now)?,
            CallObservation::Attempt(attempt) => self.learn_attempt(observation, attempt, outcome, call, now),
        }
        Ok(())
    }

    /// A probe of ours that another router served, or none, says nothing: the next request may find out.
    fn release(&mut self, observation: &CallObservation<'_>, call: Option<InFlightCall>, outcome: Option<&Outcome>) {
        let (Some(decision), Some(call)) = (observation.decision(), call) else { return };
        if call.probe && outcome.is_none_or(|outcome| outcome.router != call.router) {
            self.release_probe(call.router, decision);
        }
    }

    /// How much an observation may decide about this router.
    fn evidence(&self, observation: &CallObservation<'_>, router: RouterId) -> Evidence {
        match *observation {
            CallObservation::Attempt(attempt) => Evidence::Local {
                sent_at: attempt.sent_at,
                probe_decision: Some(attempt.decision).filter(|_| attempt.details.probe),
            },
            CallObservation::OneRow(message) => self.infer_evidence(router, message.started),
            CallObservation::Log { entry, .. } if entry.stamped_path.is_none() => {
                self.infer_evidence(router, entry.started)
            }
            CallObservation::Log { entry, decision } if entry.details.probe && self.stamped(entry) == Some(router) => {
                Evidence::Probe(decision)
            }
            CallObservation::Message(_) | CallObservation::Log { .. } => Evidence::Provisional,
        }
    }

    /// The evidence of a call without a stamp. If its router only gets requests because no other one is left, the
    /// call was a probe.
    fn infer_evidence(&self, router: RouterId, started: Option<GatewayTime>) -> Evidence {
        let Some(known) = self.routers.get(router) else { return Evidence::Passive };
        let in_need = |(pool, leaf): &(PoolId, NodeId)| {
            self.pool(*pool).is_some_and(|pool| !pool.is_available() && pool.tree().offers(*leaf, Tier::Disabled))
        };
        match known.health().infer_evidence(started) {
            Evidence::Passive if known.health().is_ejected() && known.leaves().iter().any(in_need) => {
                Evidence::Probe(None)
            }
            evidence => evidence,
        }
    }

    /// A message whose log did not arrive in time: no better evidence will come.
    pub(super) fn finish_unpaired(&mut self, waiting: PendingOutcome) {
        let PendingOutcome { outcome, at, counted, health_change } = waiting;
        if !counted {
            let evidence = self.infer_evidence(outcome.router, outcome.started);
            self.count_outcome(&Outcome { evidence, ..outcome }, at);
        } else if let (
            Some(HealthChange { effect: HealthEffect::Tripped | HealthEffect::Paused, epoch }),
            Some(started),
        ) = (health_change, outcome.started)
        {
            // What began before that call did is old for sure.
            self.routers.change_health(outcome.router, |health, _| health.set_trip_completed_at(epoch, started));
        }
    }

    /// Which router an observation is about and what it says.
    fn interpret(&self, observation: &CallObservation<'_>, now: BrokerTime) -> Result<Outcome, IgnoreReason> {
        let answer = observation.facts().answer;
        let status = match observation {
            CallObservation::Message(message) | CallObservation::OneRow(message) => {
                gateway::status_of_message(message)?
            }
            CallObservation::Log { entry, .. } => gateway::status_of_log(entry)?,
            CallObservation::Attempt(_) => answer.status.ok_or(IgnoreReason::NoStatus)?,
        };
        match answer.served_path.and_then(|path| self.path_roles.get(path)).copied() {
            Some(PathRole::Router(router)) => Ok(self.outcome(observation, router, status, now)),
            Some(PathRole::Ingress(_) | PathRole::Relayed(_)) => self.interpret_fallback(observation, status, now),
            None => Err(IgnoreReason::UnknownRouter),
        }
    }

    fn outcome(&self, observation: &CallObservation<'_>, router: RouterId, status: u16, now: BrokerTime) -> Outcome {
        let facts = observation.facts();
        let CallFacts { answer, details, started, stopped, .. } = facts;
        let known = self.routers.get(router);
        let settings = known.map_or(&self.settings.defaults, |router| router.settings());
        let (class, cause) =
            judgement::classify(settings, &facts, status, now, || self.is_cut_off(observation, router));
        let shows_recovery = known.is_some_and(|router| router.health().failed_without_generation());
        let class = match class {
            // A call that makes nothing shows nothing: a list can be had, and a path refused, whatever becomes of completions.
            // And vendors limit it by itself (Anthropic's "Token counting": "separate and independent rate limits").
            Class::Refused | Class::RateLimited if !facts.is_generation => Class::Neutral,
            Class::Success if !facts.is_generation && !shows_recovery => Class::Neutral,
            // What is refused may be the request: that shows as much as any failure.
            Class::Refused if facts.is_ambiguous_refusal => Class::Failure,
            class => class,
        };
        let is_of_clients_key = facts.key == Some(SetBy::Client);
        let clients_quota = |said| is_of_clients_key && matches!(said, RetryAfter::QuotaReset(_));
        Outcome {
            router,
            class,
            status,
            is_generation: facts.is_generation,
            cause,
            evidence: self.evidence(observation, router),
            // Only a failure leads to a cooldown of a drawn length.
            jitter_seed: if class.is_failure() { self.jitter_seed(router, answer) } else { 0 },
            // When one client's quota is refilled says nothing about the others'.
            retry_after: answer.retry_after.filter(|said| !clients_quota(*said)),
            started,
            stopped,
            latency: details.latency,
            completion_tokens: details.completion_tokens,
        }
    }

    /// The same for every replica; 0 where cooldowns have no jitter.
    fn jitter_seed(&self, router: RouterId, answer: &CallAnswer<'_>) -> u64 {
        match self.routers.get(router) {
            Some(known) if known.settings().health.cooldown.jitter > 0.0 => {
                hash(&[known.path.as_str(), answer.transaction.unwrap_or_default()].concat())
            }
            _ => 0,
        }
    }

    /// A failure ejects a router at once. Everything else waits for its log, which knows whether the call was a probe
    /// and so may decide about a router on probation, and when a busy upstream wants to be called again, if the
    /// message lacks its headers. Where no log can know better, the message decides.
    fn learn_message(&mut self, message: &ResponseMessage<'_>, outcome: &Outcome, acts: bool, now: BrokerTime) {
        let key = Key::new(message.answer.transaction, outcome.router, outcome.status);
        if self.dedup.take_earlier_log(key) {
            return;
        }
        let health_change = if acts { self.count_outcome(outcome, now) } else { None };
        self.dedup.keep(key, PendingOutcome { outcome: *outcome, at: now, counted: acts, health_change }, now);
    }

    /// Whether this answer's retry-after would be honored.
    fn honors_hints(&self, outcome: &Outcome) -> bool {
        let router = self.routers.get(outcome.router);
        matches!(outcome.class, Class::RateLimited | Class::Overloaded)
            && router.is_some_and(|router| router.settings().health.retry_after.honor)
    }

    /// A log is final: it counts, unless its message has counted; then it only adds what the message lacked.
    fn learn_log(
        &mut self,
        observation: &CallObservation<'_>,
        entry: &LogEntry<'_>,
        outcome: &Outcome,
        call: Option<InFlightCall>,
        now: BrokerTime,
    ) -> Result<(), IgnoreReason> {
        // The relay's own, which comes back where a connection has moved to another server of the bus meanwhile.
        if observation.decision().is_some() && self.routers.is_relayed(outcome.router) {
            return Err(IgnoreReason::Duplicate);
        }
        let key = Key::new(entry.answer.transaction, outcome.router, outcome.status);
        let met = self.dedup.log(key, entry.egress_status, entry.started, now);
        if met == Match::Twice {
            return Err(IgnoreReason::Duplicate);
        }
        // The relay has reported the request of its attempt already, by a digest of all of it.
        let reported = match &met {
            Match::Message(PendingOutcome { outcome, .. }) if matches!(outcome.evidence, Evidence::Local { .. }) => {
                Some(*outcome)
            }
            _ => None,
        };
        let by_relay = reported.is_some();
        let at_fault = !by_relay && self.is_at_fault(observation, outcome, now);
        let knows_speed = reported.is_some_and(|reported| reported.latency.is_some());
        let knows_tokens = reported.is_some_and(|reported| reported.completion_tokens.is_some());
        let rest;
        let outcome = if at_fault || by_relay {
            rest = Outcome {
                class: if at_fault { Class::Neutral } else { outcome.class },
                latency: outcome.latency.filter(|_| !knows_speed),
                completion_tokens: outcome.completion_tokens.filter(|_| !knows_tokens),
                ..*outcome
            };
            &rest
        } else {
            outcome
        };
        let health_change = match met {
            Match::Message(PendingOutcome { counted: true, health_change, .. }) if at_fault => {
                self.undo_failure(outcome, health_change, now)
            }
            Match::Message(PendingOutcome { counted: true, health_change, .. }) => {
                self.complete(outcome, health_change, now)
            }
            Match::Message(_) | Match::Nothing | Match::Twice => self.count_call(observation, outcome, now),
        };
        if !by_relay {
            self.remember_trip(observation, outcome.router, health_change);
        }
        if !knows_speed {
            self.learn_speed(outcome, now);
        }
        self.learn_usage(observation, outcome, call, now);
        Ok(())
    }

    /// Counts an outcome and applies it to its router.
    pub(super) fn count_outcome(&mut self, outcome: &Outcome, now: BrokerTime) -> Option<HealthChange> {
        let id = outcome.router;
        self.count_answer(outcome, now)?;
        let health_change = self.apply_to_health(id, outcome, now);
        // Only these statuses change what is noticed.
        if matches!(outcome.status, 401 | 403 | 404) {
            self.advise_on_status(id, outcome.status);
        }
        health_change
    }

    /// Counts an outcome; `None` if there is no such router.
    #[inline(always)]
    pub(super) fn count_answer(&mut self, outcome: &Outcome, now: BrokerTime) -> Option<()> {
        let stats = self.routers.stats(outcome.router)?;
        stats.count(outcome, now);
        stats.add(outcome);
        if outcome.class == Class::Success {
            self.last_success = Some(now);
        }
        Some(())
    }

    /// The log of a request that has counted adds what its message lacked. If the message did nothing because it
    /// lacked the start time, the log is applied now.
    fn complete(
        &mut self,
        outcome: &Outcome,
        health_change: Option<HealthChange>,
        now: BrokerTime,
    ) -> Option<HealthChange> {
        let id = outcome.router;
        self.routers.stats(id)?.add(outcome);
        match (health_change, outcome.stopped) {
            (None | Some(HealthChange { effect: HealthEffect::None, .. }), _) => {
                return self.apply_to_health(id, outcome, now);
            }
            (Some(HealthChange { effect: HealthEffect::Tripped | HealthEffect::Paused, epoch }), Some(stopped)) => {
                self.routers.change_health(id, |health, _| health.set_trip_completed_at(epoch, stopped));
            }
            _ => {}
        }
        health_change
    }

    /// Applies an outcome to the router's health, and emits what came of it.
    pub(super) fn apply_to_health(&mut self, id: RouterId, outcome: &Outcome, now: BrokerTime) -> Option<HealthChange> {
        let last = self.keeps_last(id, outcome);
        let mut effect = self.change_health(id, now, |health, settings| {
            if !last {
                return health.learn(outcome, settings, now);
            }
            // A refusal ejects whatever the settings say; of the last one it is counted as any failure.
            let class = if outcome.class == Class::Refused { Class::Failure } else { outcome.class };
            health.learn(&Outcome { class, ..*outcome }, &settings.sparing(outcome), now)
        });
        if effect == HealthEffect::Suspected {
            effect = self.eject_suspected(id, outcome, now);
        }
        let epoch = self.routers.get(id)?.health().epoch();
        if effect == HealthEffect::Tripped {
            self.advise(id);
        }
        Some(HealthChange { effect, epoch })
    }

    pub(super) fn is_in_service(&self, router: RouterId) -> bool {
        self.routers.get(router).is_some_and(|router| router.health().is_in_service())
    }
}
