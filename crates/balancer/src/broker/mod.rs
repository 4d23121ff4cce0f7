//! The broker: owns the state of all routers and pools, and chooses the router of each request.
//!
//! A fold over inputs: [`Broker::apply`] is the only writer ([`Broker::commit`] counts a decision at less cost),
//! [`Broker::choose`] only reads. No clock, I/O or randomness, and nothing can fail: the same inputs at the same
//! times give the same state, so that it can be simulated, replayed from a recorded log, and kept alike in many
//! replicas.

mod attempt_history;
mod client_pools;
mod command;
mod configure;
mod decision;
mod explain;
mod histogram;
mod in_flight;
mod input;
pub mod invariants;
mod last_serving;
mod learn;
mod loads;
mod operator;
mod outcome_dedup;
mod poison;
mod pool;
mod rate_limits;
mod reading;
mod router_stats;
mod routers;
mod selection_counts;
mod settings;
mod snapshot;
mod takeover;

use rand::Rng;
use rustc_hash::FxHashMap;

pub use attempt_history::{AttemptHistory, NextTarget};
pub use client_pools::{ClientTree, MAX_CLIENT_POOLS};
pub use command::{Command, CommandError, OperatorCommand};
pub use decision::{Decision, LimitVerdict, Pass, Route, RouteKind, TokenReservation};
pub use explain::{Caveat, RouteReason};
pub use histogram::{Histogram, STEPS as HISTOGRAM_STEPS};
pub use in_flight::CAPACITY as IN_FLIGHT_CAPACITY;
pub use input::BrokerInput;
pub use operator::{MAX_WEIGHT_OVERRIDES, Override, Weight};
pub use outcome_dedup::{CAPACITY as OUTCOME_DEDUP_CAPACITY, WAIT};
pub use pool::{Pool, WhenAllDisabled};
pub use reading::Reading;
pub use router_stats::RouterStats;
pub use selection_counts::{SelectionCounts, SelectionReason};
pub use settings::{BrokerSettings, PoolSettings, RouterSettings};
pub use snapshot::{PoolStatus, PublicState, RouterStatus, Snapshot};
pub use takeover::{ImportedState, TakenOverOrder, TakenOverRouter};

use crate::health::{Health, HealthSettings, TickEffect};
use crate::load::Loads;
use crate::load::rate_limit::RateLimiter;
use crate::strategy::{Candidate, first};
use client_pools::ClientPools;
use in_flight::InFlightCalls;
use operator::Operator;
use outcome_dedup::OutcomeDedup;
use poison::Suspects;
use routers::{Router, Routers};
use types::outcome::Outcome;
use types::request::Request;
use types::router::{PoolId, RouterId, RouterPath};
use types::time::BrokerTime;
use types::transition::{BrokerEvent, HealthState, IgnoreReason, Transition};

/// What a path means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathRole {
    Ingress(PoolId),
    /// An ingress of the relay; the gateway does not ask about it.
    Relayed(PoolId),
    Router(RouterId),
}

/// The effects of one input.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Applied {
    /// The events to publish, in order.
    pub changes: Vec<BrokerEvent>,
    /// Why an observation was not learned from, if it was not.
    pub ignored: Option<IgnoreReason>,
    /// What an observation says about a router of a pool.
    pub outcome: Option<Outcome>,
}

/// The broker's state.
#[derive(Debug, Clone)]
pub struct Broker {
    settings: BrokerSettings,
    path_roles: FxHashMap<RouterPath, PathRole>,
    routers: Routers,
    pools: Vec<Pool>,
    client_pools: ClientPools,
    dedup: OutcomeDedup,
    /// Absent where no policy chooses by load.
    loads: Option<Loads>,
    in_flight: InFlightCalls,
    operator: Operator,
    /// Absent where no router has rate limits.
    limits: Option<RateLimiter>,
    suspects: Suspects,
    /// The next deadline of all routers and overrides, derived so that a decision need not visit each router.
    next_return: Option<BrokerTime>,
    decisions: u64,
    /// Counts reloads.
    config_generation: u64,
    /// Requests whose path is no pool's ingress.
    not_ours: u64,
    filter_reported: bool,
}

impl Broker {
    /// A broker in which every router serves. At most 65,536 routers; further ones are left out.
    pub fn new(settings: BrokerSettings) -> Self {
        let mut broker = Self {
            settings: BrokerSettings::default(),
            path_roles: FxHashMap::default(),
            routers: Routers::default(),
            pools: Vec::new(),
            client_pools: ClientPools::default(),
            dedup: OutcomeDedup::default(),
            loads: None,
            in_flight: InFlightCalls::default(),
            operator: Operator::default(),
            limits: None,
            suspects: Suspects::default(),
            next_return: None,
            decisions: 0,
            config_generation: 0,
            not_ours: 0,
            filter_reported: false,
        };
        broker.configure(&settings);
        broker
    }

    /// Advances the clock and chooses. Until [`Broker::commit`], the state that the choice was made from can still be
    /// explained.
    pub fn select<R: Rng>(
        &mut self,
        request: &impl Request,
        now: BrokerTime,
        rng: &mut R,
    ) -> (Decision, Vec<BrokerEvent>) {
        let changes = self.advance_clock(now);
        (self.choose(request, rng), changes)
    }

    /// Applies everything that is due by now.
    pub fn advance_clock(&mut self, now: BrokerTime) -> Vec<BrokerEvent> {
        let changes = match self.next_deadline() {
            Some(due) if due <= now => self.apply(BrokerInput::Tick, now).changes,
            _ => Vec::new(),
        };
        self.advance_load_clock(now);
        changes
    }

    /// Counts a decision that is answered, without the allocation of [`BrokerInput::Chosen`].
    pub fn commit(&mut self, decision: &Decision, now: BrokerTime, changes: &mut Vec<BrokerEvent>) {
        match decision {
            Decision::Route(route) => self.count_choice(route, now),
            Decision::Pass(pass) => self.count_pass(pass),
        }
        self.refresh(changes);
    }

    /// The router for a request, and why. Reads only; health is that of the last input, so advance the clock first.
    pub fn choose<R: Rng>(&self, request: &impl Request, rng: &mut R) -> Decision {
        let Some(PathRole::Ingress(id)) = self.path_roles.get(request.path()).copied() else {
            return Decision::Pass(Pass::UnknownIngress);
        };
        let Some(pool) = self.pool(id) else { return Decision::Pass(Pass::UnknownIngress) };
        let (chosen, sent) = match first(pool.tree(), self.context(), request, rng) {
            Some(chosen) if self.probes(chosen.router) => (chosen, RouteKind::Probe),
            Some(chosen) => (chosen, RouteKind::Normal),
            None => match self.choose_when_none_serves(pool, request, rng, |_| true) {
                Some(found) => found,
                None if pool.is_available() => {
                    return Decision::Pass(Pass::NoMatchingTarget(id, pool.tree().dead_end(request)));
                }
                None => return Decision::Pass(Pass::AllDisabled(id)),
            },
        };
        let mut route = Route {
            number: self.decisions,
            pool: id,
            kind: sent,
            chosen,
            reservation: TokenReservation::default(),
            relayed: false,
            instead_of: None,
            passed_over: None,
        };
        self.apply_rate_limits(pool, &mut route, request, rng, |_| true);
        Decision::Route(route)
    }

    /// The choice when no router is available, among those that are wanted.
    fn choose_when_none_serves<R: Rng>(
        &self,
        pool: &Pool,
        request: &impl Request,
        rng: &mut R,
        wanted: impl Fn(RouterId) -> bool,
    ) -> Option<(Candidate, RouteKind)> {
        let wanted = |chosen: &Candidate| wanted(chosen.router);
        if let Some(chosen) = pool.last_resort().and_then(|tree| self.candidates(tree, request, rng).find(wanted)) {
            return Some((chosen, RouteKind::LastResort));
        }
        let mut order = self.candidates(pool.disabled()?, request, rng).filter(wanted);
        let chosen = match pool.when_all_disabled() {
            WhenAllDisabled::Soonest => {
                let health = |chosen: &Candidate| self.routers.get(usize::from(chosen.router.0)).map(Router::health);
                let soonest = order.min_by_key(|chosen| health(chosen).and_then(Health::until))?;
                let busy = health(&soonest).is_none_or(|health| health.active_probes() > 0);
                (!busy).then_some(Candidate { p: None, ..soonest })?
            }
            WhenAllDisabled::Any | WhenAllDisabled::Pass => order.next()?,
        };
        Some((chosen, RouteKind::Panic))
    }

    fn probes(&self, router: RouterId) -> bool {
        self.routers.get(usize::from(router.0)).is_some_and(|router| router.health().is_probing())
    }

    /// Applies an input. The only writer; derived state is up to date when it returns.
    pub fn apply(&mut self, event: BrokerInput<'_>, now: BrokerTime) -> Applied {
        let mut applied = Applied::default();
        self.write(event, now, &mut applied);
        self.refresh(&mut applied.changes);
        applied
    }

    fn write(&mut self, event: BrokerInput<'_>, now: BrokerTime, applied: &mut Applied) {
        match event {
            BrokerInput::Chosen(route) => self.count_choice(route, now),
            BrokerInput::Observed(report) => {
                self.tick(now, &mut applied.changes);
                if let Some(number) = report.decision {
                    self.in_flight.end(number);
                }
                match self.learn(report, now, &mut applied.changes) {
                    Ok(outcome) => applied.outcome = Some(outcome),
                    Err(why) => applied.ignored = Some(why),
                }
            }
            BrokerInput::Abandoned(route) => self.abandon(route),
            BrokerInput::Command(given) => {
                self.tick(now, &mut applied.changes);
                self.apply_command(given, now, &mut applied.changes);
            }
            BrokerInput::Imported(takeover) => {
                self.tick(now, &mut applied.changes);
                self.import_states(takeover, now, &mut applied.changes);
            }
            BrokerInput::Tick => self.tick(now, &mut applied.changes),
            BrokerInput::Configured(settings) => {
                self.tick(now, &mut applied.changes);
                self.configure(settings);
                self.readmit_exempt(now, &mut applied.changes);
            }
        }
    }

    fn abandon(&mut self, route: &Route) {
        self.in_flight.end(route.number);
        if let Some(loads) = &mut self.loads {
            loads.end(route.number);
        }
        self.take_permit_back(route.router(), route.number);
    }

    /// Releases the probe slot of a decision that ended without evidence about its router.
    fn take_permit_back(&mut self, router: RouterId, decision: u64) {
        self.routers.change_health(usize::from(router.0), |health, _| health.release_probe(decision));
    }

    /// When time alone changes something next.
    pub fn next_deadline(&self) -> Option<BrokerTime> {
        // Asked at each decision, with nothing due in nearly all cases: so no chain of options.
        let [first, second, third, fourth] =
            [self.next_return, self.dedup.next_deadline(), self.loads_due(), self.in_flight.next_deadline()]
                .map(|due| due.unwrap_or(BrokerTime::MAX));
        Some(first.min(second).min(third.min(fourth))).filter(|due| *due < BrokerTime::MAX)
    }

    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// `None` if it is not this broker's.
    pub fn pool(&self, pool: PoolId) -> Option<&Pool> {
        self.client_pools.get(pool).or_else(|| self.pools.get(usize::from(pool.0)))
    }

    /// The path of a router.
    pub fn path(&self, router: RouterId) -> Option<&RouterPath> {
        self.routers.get(usize::from(router.0)).map(|router| &router.path)
    }

    /// Every router with its health and statistics.
    pub fn routers(&self) -> impl Iterator<Item = (&RouterPath, HealthState, &RouterStats)> {
        self.routers.iter().map(|router| (&router.path, router.health().state(), &router.stats))
    }

    /// The settings in force.
    pub fn settings(&self) -> &BrokerSettings {
        &self.settings
    }

    fn tick(&mut self, now: BrokerTime, changes: &mut Vec<BrokerEvent>) {
        self.expire_calls(now, changes);
        self.in_flight.expire(now);
        while let Some(waiting) = self.dedup.expire(now) {
            self.settle(waiting, changes);
            self.refresh(changes);
        }
        if self.next_return.is_none_or(|due| now < due) {
            return;
        }
        self.expire_overrides(now, changes);
        for place in 0..self.routers.len() {
            if self.routers.change_health(place, |health, settings| health.tick(settings, now))
                == Some(TickEffect::Returned)
            {
                self.emit_transition(place, now, BrokerEvent::HealthChanged, changes);
            }
        }
        self.refresh(changes);
    }

    /// Emits a router's new state.
    fn emit_transition(
        &mut self,
        place: usize,
        now: BrokerTime,
        kind: fn(Transition) -> BrokerEvent,
        changes: &mut Vec<BrokerEvent>,
    ) {
        let Some(router) = self.routers.get(place) else { return };
        changes.push(kind(Transition {
            router: router.path.clone(),
            epoch: router.health().epoch(),
            state: router.health().state(),
            at: now,
        }));
    }

    /// Updates derived state: the pools' trees from operators' weights; from health and drains, which targets are eligible and
    /// the next deadline. Each writer calls it last, and before it reads what it changed. Where nothing changed, it costs
    /// two comparisons.
    fn refresh(&mut self, changes: &mut Vec<BrokerEvent>) {
        if self.operator.take_reweighed() {
            self.configure(&self.settings.clone());
        }
        // Both are read, so that neither stays marked.
        if !(self.routers.take_stale() | self.operator.take_stale()) {
            return;
        }
        self.next_return = self.routers.iter().filter_map(Router::due).chain(self.operator.next_deadline()).min();
        let mut pools = std::mem::take(&mut self.pools);
        for pool in &mut pools {
            changes.extend(pool.refresh(|id| self.health_for_pools(id)));
        }
        self.pools = pools;
        let mut client_pools = std::mem::take(&mut self.client_pools);
        // What becomes of all targets of a pool is told by that pool.
        client_pools.iter_mut().for_each(|pool| drop(pool.refresh(|id| self.health_for_pools(id))));
        self.client_pools = client_pools;
    }

    /// What a pool sees of a router. A drained one does not exist.
    fn health_for_pools(&self, id: RouterId) -> Option<(&Health, &HealthSettings)> {
        let router = self.routers.get(usize::from(id.0)).filter(|_| self.operator.hold(id).is_none())?;
        Some((router.health(), &router.settings().health))
    }
}

#[cfg(test)]
mod tests;
