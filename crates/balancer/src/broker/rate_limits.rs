//! Applies rate limits to a choice: a router that would exceed one is skipped while another is within its limits. If
//! none is, the request goes where it would go without limits: limits never cost an answer. Not so the limits of single
//! models, which the upstream has stated (see `model_limits`).
//!
//! A pool without limits only pays for the check.

use rand::Rng;

use super::model_limits::limited_model;
use super::pool::RateLimitScope;
use super::routers::Router;
use super::{Broker, LimitVerdict, Pool, Route, RouteKind, TokenReservation, WhenAllDisabled};
use crate::in_flight::InFlightCall;
use crate::load::model_limits::ModelLimits;
use crate::load::rate_limit::{LimitExceeded, RateLimiter, Usage};
use crate::strategy::{Candidate, Candidates, PickContext, RouterFilter, Tier};
use types::outcome::{CallDetails, CallFacts, CallObservation, Outcome, RateLimitHeaders, SetBy};
use types::request::Request;
use types::router::{RouterId, RouterPath};
use types::time::BrokerTime;

/// The limits that a request is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateLimitFilter<'a> {
    /// Those of routers, and the tokens of the request.
    routers: Option<(&'a RateLimiter, u32)>,
    /// Those of single models, and the one that is requested.
    models: Option<(&'a ModelLimits, &'a str)>,
}

impl RateLimitFilter<'_> {
    /// The limit of a router that the request would exceed.
    pub(super) fn exceeded(&self, router: RouterId) -> Option<LimitExceeded> {
        let place = self.models.and_then(|(models, model)| models.place(router, model));
        let of_router = || self.routers.and_then(|(limiter, tokens)| limiter.exceeded(router, tokens));
        place.map(LimitExceeded::Model).or_else(of_router)
    }
}

impl TokenReservation {
    /// The filter that the choice was made with, if it was diverted.
    pub(super) fn among<'a>(
        self,
        limits: Option<&'a RateLimiter>,
        models: &'a ModelLimits,
    ) -> Option<RateLimitFilter<'a>> {
        let LimitVerdict::Diverted(first, exceeded) = self.limit else { return None };
        let limit = match exceeded {
            LimitExceeded::Model(place) => models.of_router(first).get(usize::from(place)),
            _ => None,
        };
        Some(match limit {
            Some(limit) => RateLimitFilter { routers: None, models: Some((models, &limit.model)) },
            None => RateLimitFilter { routers: limits.map(|limits| (limits, self.tokens)), models: None },
        })
    }
}

impl Broker {
    /// Whether a router has a limit of tokens.
    pub fn counts_tokens(&self, router: RouterId) -> bool {
        let limit = self.routers.get(router).and_then(|router| router.settings().rate_limit);
        limit.is_some_and(|limit| limit.tpm.is_some())
    }

    /// Whether requests of a pool may be over a limit: one of its routers has some, or any router rests for a model.
    #[inline]
    pub(super) fn may_limit(&self, pool: &Pool) -> bool {
        pool.has_rate_limits() || !self.model_limits.is_empty()
    }

    /// Where there are limits, if the chosen router would exceed one, chooses again among the wanted routers within
    /// their limits, and keeps the choice if there is none.
    #[inline]
    pub(super) fn apply_rate_limits<R: Rng>(
        &self,
        pool: &Pool,
        route: &mut Route,
        request: &impl Request,
        rng: &mut R,
        wanted: impl Fn(RouterId) -> bool,
    ) {
        if self.may_limit(pool) {
            self.reselect_within_limits(pool, route, request, rng, wanted);
        }
    }

    /// The probability then depends on the limits of all routers and is not reported. Not inlined, so that pools
    /// without limits do not pay for it.
    #[inline(never)]
    pub(super) fn reselect_within_limits<R: Rng>(
        &self,
        pool: &Pool,
        route: &mut Route,
        request: &impl Request,
        rng: &mut R,
        wanted: impl Fn(RouterId) -> bool,
    ) {
        let first = route.router();
        let models = limited_model(request).map(|model| (&self.model_limits, model));
        let mut limits = RateLimitFilter { routers: None, models };
        if pool.has_rate_limits() {
            let tokens = request.size().estimated_tokens();
            route.chosen.p = None;
            route.reservation = TokenReservation { tokens, limit: LimitVerdict::Within };
            limits.routers = self.limits.as_ref().map(|limits| (limits, tokens));
        }
        // A draw that falls on one that rests goes to another.
        if models.is_some_and(|(limits, model)| limits.routers_of(model).any(|id| self.is_in(pool, id))) {
            route.chosen.p = None;
        }
        let Some(exceeded) = limits.exceeded(first) else { return };
        route.chosen.p = None;
        // Which router is back first does not depend on limits.
        let fixed = route.kind == RouteKind::Panic && pool.when_all_disabled() == WhenAllDisabled::Soonest;
        let mut other_within = |limits: RateLimitFilter<'_>| {
            let among = |router| limits.exceeded(router).is_none() && wanted(router);
            let context = PickContext { among: Some(&RouterFilter(&among)), tier: route.kind.tier(), ..self.context() };
            Candidates::new(pool.tree(), request, rng).with(context).next()
        };
        let mut other = if fixed { None } else { other_within(limits) };
        if other.is_none() && matches!(exceeded, LimitExceeded::Model(_)) {
            // A limit of ours never costs an answer, and the first in order would cost one.
            other = other_within(RateLimitFilter { routers: None, ..limits });
        }
        let Some(other) = other else {
            route.reservation.limit = LimitVerdict::Exceeded(exceeded);
            return;
        };
        if matches!(route.kind, RouteKind::Normal | RouteKind::Probe) {
            route.kind = self.kind(other.router);
        }
        route.cause = self.cause(other.router, route.kind);
        route.reservation.limit = LimitVerdict::Diverted(first, exceeded);
        route.chosen = Candidate { p: None, ..other };
    }

    /// Starts or stops counting, as the settings ask.
    pub(super) fn configure_rate_limits(&mut self) {
        for pool in self.pools.values_mut() {
            let routers = pool.tree().routers();
            let settings = routers.filter_map(|id| self.routers.get(id)).map(Router::settings);
            let limits = settings.filter_map(|settings| settings.rate_limit);
            pool.configure_rate_limits(limits.fold(RateLimitScope::Nothing, |all, rate_limit| {
                match (all, rate_limit.tpm) {
                    (_, Some(_)) | (RateLimitScope::Tokens, _) => RateLimitScope::Tokens,
                    _ => RateLimitScope::Calls,
                }
            }));
        }
        self.limits = if self.pools.values().any(Pool::has_rate_limits) {
            let mut limits = self.limits.take().unwrap_or_default();
            limits.configure(self.routers.values().map(|router| router.settings().rate_limit));
            Some(limits)
        } else {
            None
        };
    }

    /// Learns what a call used, where there are limits.
    #[inline]
    pub(super) fn learn_usage(
        &mut self,
        observation: &CallObservation<'_>,
        outcome: &Outcome,
        sent: Option<InFlightCall>,
        now: BrokerTime,
    ) {
        if self.limits.is_some() {
            self.count_usage(observation, outcome, sent, now);
        }
    }

    /// A log reports the usage of a call; an error used nothing unless it says so. Only its stamp says whose call it
    /// was; without one, only a call of a client that named the router itself is certainly not this replica's.
    /// Not inlined, so that brokers without limits do not pay for it.
    #[inline(never)]
    fn count_usage(
        &mut self,
        observation: &CallObservation<'_>,
        outcome: &Outcome,
        sent: Option<InFlightCall>,
        now: BrokerTime,
    ) {
        let Some(limits) = &mut self.limits else { return };
        let CallFacts { details: CallDetails { total_tokens: used, quota, .. }, key, .. } = observation.facts();
        // What is left of a client's own limits, of those of one model, or of calls that generate nothing, is not left for others.
        let is_ours = key != Some(SetBy::Client) && outcome.is_generation && observation.client_model().is_none();
        let remaining = if is_ours { quota } else { RateLimitHeaders::default() };
        let foreign = match observation {
            CallObservation::Log { entry, decision } => match entry.stamp_id {
                Some(_) => decision.is_none(),
                None => entry.ingress.is_some() && entry.ingress == entry.answer.served_path,
            },
            _ => false,
        };
        let tokens = used.or_else(|| (outcome.status >= 400).then_some(0));
        limits.learn(&Usage { router: outcome.router, sent, foreign, tokens, remaining }, now);
    }

    /// The routers over their limits that might have served the request of a decision, except for the one that its
    /// reason names.
    pub(super) fn skipped_for_limits(
        &self,
        pool: &Pool,
        route: &Route,
    ) -> impl Iterator<Item = (&RouterPath, LimitExceeded)> {
        let named = |id| {
            id == route.router() || matches!(route.reservation.limit, LimitVerdict::Diverted(first, _) if first == id)
        };
        let others = pool.tree().eligible_routers(Tier::Serving).filter(move |router| !named(*router));
        others.filter_map(|router| {
            let exceeded = self.limits.as_ref()?.exceeded(router, route.reservation.tokens)?;
            Some((self.path(router)?, exceeded))
        })
    }
}
