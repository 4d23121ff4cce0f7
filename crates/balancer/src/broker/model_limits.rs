//! Rate limits of single models: a router whose upstream refuses one model rests for that model, and serves all others.
//!
//! Known only of calls of the relay to an address, where the client chose the model. Where no router is left that does not rest for a
//! request's model, it is as where all are disabled: the call waits or is answered, and now and then one is sent. Replicas that start
//! take nothing of it over: the next refusal tells them.

use std::sync::Arc;

use rand::Rng;

use super::attempt_history::AttemptHistory;
use super::learn::HealthChange;
use super::routers::Router;
use super::{Broker, LimitVerdict, NextTarget, Pool, TokenReservation, WhenAllDisabled};
use crate::health::EARLY_PROBE_INTERVAL;
use crate::load::model_limits::{MAX_MODEL_BYTES, ModelLimit, Noted};
use crate::load::rate_limit::LimitExceeded;
use crate::strategy::Tier;
use types::outcome::{CallObservation, Class, Evidence, Outcome};
use types::request::{Patch, Request};
use types::router::{PoolId, RouterId, RouterPath};
use types::time::BrokerTime;
use types::transition::{BrokerEvent, ModelLimitChange};

impl Broker {
    /// Counts a call, and applies it to its router: to the whole of it, or only as far as one model goes.
    #[inline]
    pub(super) fn count_call(
        &mut self,
        observation: &CallObservation<'_>,
        outcome: &Outcome,
        now: BrokerTime,
    ) -> Option<HealthChange> {
        match observation.client_model() {
            None => self.count_outcome(outcome, now),
            Some(model) => self.count_for_model(model, outcome, now),
        }
    }

    /// Not inlined, because it is rare.
    #[inline(never)]
    fn count_for_model(&mut self, model: &str, outcome: &Outcome, now: BrokerTime) -> Option<HealthChange> {
        if !self.learn_model_limit(model, outcome, now) {
            return self.count_outcome(outcome, now);
        }
        self.count_answer(outcome, now)?;
        self.apply_to_health(outcome.router, &Outcome { class: Class::Neutral, ..*outcome }, now)
    }

    /// Learns what an answer says of a model that the client chose. True if it is about that model only.
    fn learn_model_limit(&mut self, model: &str, outcome: &Outcome, now: BrokerTime) -> bool {
        let id = outcome.router;
        match outcome.class {
            Class::Success => {
                // One that was sent before the last refusal, such as a long stream, shows nothing of now.
                let shows = |limit: &ModelLimit| match outcome.evidence {
                    Evidence::Local { sent_at, .. } => limit.refused_at <= sent_at,
                    _ => outcome.latency.unwrap_or_default() <= now.since(limit.refused_at),
                };
                let ends = |limit: &ModelLimit| *limit.model == *model && shows(limit);
                let ended = self.model_limits.end(id, ends);
                self.announce_ends(id, ended);
                false
            }
            Class::RateLimited => self.rests_for_model(model, outcome, now),
            _ => false,
        }
    }

    /// A model is refused: its router rests for it, unless it is to rest as a whole.
    fn rests_for_model(&mut self, model: &str, outcome: &Outcome, now: BrokerTime) -> bool {
        let id = outcome.router;
        let is_known = !model.is_empty() && model.len() <= MAX_MODEL_BYTES && self.routers.is_relayed(id);
        let Some(router) = self.routers.get(id).filter(|_| is_known) else { return false };
        let Some((wait, announced)) = router.health().model_wait(outcome, &router.settings().health, now) else {
            return false;
        };
        let noted = self.model_limits.refused(id, model, wait, announced, now);
        self.routers.mark_changed(id);
        if let Some(due) = self.model_limits.next_deadline() {
            self.nothing_due_before = self.nothing_due_before.min(due);
        }
        let until = self.model_limits.of(id, model).map(|limit| limit.until);
        if noted == Noted::Begun
            && let Some(router) = self.path(id).cloned()
        {
            self.effects.push(BrokerEvent::ModelLimit(ModelLimitChange { router, model: model.into(), until }));
        }
        noted != Noted::WholeRouter
    }

    /// A router serves all models again.
    pub(super) fn end_model_limits(&mut self, id: RouterId) {
        let ended = self.model_limits.end(id, |_| true);
        self.announce_ends(id, ended);
    }

    /// The settings that may change the model of a request on its way to a router, of each router that rests for one.
    pub(super) fn patches_of_limited(&self) -> Vec<(RouterId, Vec<Arc<Patch>>)> {
        let patches = |id| {
            let leaves = self.routers.get(id).map(Router::leaves).unwrap_or_default();
            let patches = leaves.iter().filter_map(|(pool, leaf)| self.pool(*pool)?.tree().details().patch(*leaf));
            patches.cloned().collect()
        };
        self.model_limits.routers().map(|id| (id, patches(id))).collect()
    }

    /// Ends those of routers with other such settings than before: they may be called for another model.
    pub(super) fn end_changed_model_limits(&mut self, before: &[(RouterId, Vec<Arc<Patch>>)]) {
        let now = self.patches_of_limited();
        for (id, _) in now.iter().filter(|limited| !before.contains(limited)) {
            self.end_model_limits(*id);
        }
    }

    /// Ends those whose time is over.
    pub(super) fn expire_model_limits(&mut self, now: BrokerTime) {
        for (id, ended) in self.model_limits.expire(now) {
            self.announce_ends(id, vec![ended]);
        }
    }

    fn announce_ends(&mut self, id: RouterId, ended: Vec<ModelLimit>) {
        for ModelLimit { model, .. } in ended {
            // Calls may wait for it.
            self.routers.mark_changed(id);
            let Some(router) = self.path(id).cloned() else { return };
            self.effects.push(BrokerEvent::ModelLimit(ModelLimitChange { router, model, until: None }));
        }
    }

    /// The limit of the requested model at a router.
    #[inline]
    pub(super) fn model_limit(&self, router: RouterId, request: &impl Request) -> Option<&ModelLimit> {
        if self.model_limits.is_empty() { None } else { self.model_limits.of(router, limited_model(request)?) }
    }

    /// The routers of a pool that serve and rest for models, any models: for how many, and until when for the first of them.
    pub(super) fn model_limits_of(&self, pool: &Pool) -> impl Iterator<Item = (&RouterPath, usize, BrokerTime)> {
        let serving = pool.tree().eligible_routers(Tier::Serving);
        serving.filter_map(|id| {
            let limits = self.model_limits.of_router(id);
            Some((self.path(id)?, limits.len(), limits.iter().map(|limit| limit.until).min()?))
        })
    }

    /// Whether a pool has this router.
    pub(super) fn is_in(&self, pool: &Pool, router: RouterId) -> bool {
        let leaves = self.routers.get(router).map(Router::leaves).unwrap_or_default();
        leaves.iter().any(|(id, _)| self.pool(*id).is_some_and(|other| other.ingress() == pool.ingress()))
    }

    /// Where nothing else is left, under `soonest` and one call every few seconds: the router that is first to serve the model again.
    /// It may be back sooner than its upstream said.
    #[inline(never)]
    pub(super) fn offer_resting<R: Rng>(
        &self,
        id: PoolId,
        pool: &Pool,
        request: &impl Request,
        history: &AttemptHistory,
        rng: &mut R,
    ) -> Option<NextTarget> {
        let (limits, model) = (&self.model_limits, limited_model(request)?);
        if pool.when_all_disabled() != WhenAllDisabled::Soonest {
            return None;
        }
        let resting = || {
            let serving = pool.tree().eligible_for(Tier::Serving, request);
            serving.filter_map(|router| Some((router, limits.of(router, model)?)))
        };
        if resting().any(|(_, limit)| limits.was_asked_within(limit, EARLY_PROBE_INTERVAL)) {
            return None;
        }
        let may_retry = resting().filter(|(router, _)| history.may_retry(*router));
        // One that was asked and has not answered comes last.
        let (router, limit) = may_retry.min_by_key(|(_, limit)| (limit.asked_at > limit.refused_at, limit.until))?;
        let place = limits.place(router, &limit.model)?;
        let chosen = self.candidate(pool, Tier::Serving, router, request, rng)?;
        let mut route = self.route(id, chosen, self.kind(router));
        let tokens = if pool.has_rate_limits() { request.size().estimated_tokens() } else { 0 };
        route.reservation = TokenReservation { tokens, limit: LimitVerdict::Exceeded(LimitExceeded::Model(place)) };
        let is_tried = history.has_tried(route.router());
        Some(if is_tried { NextTarget::Retry(route) } else { NextTarget::Untried(route) })
    }
}

/// The model of a request, as far as its rate may be limited: calls that generate nothing are counted apart.
pub(super) fn limited_model(request: &impl Request) -> Option<&str> {
    request.called_model().filter(|_| request.is_generation())
}
