//! The broker: owns the state of all routers and pools, and chooses the router of each request.
//!
//! A fold over inputs: [`Broker::apply`] is the only writer ([`Broker::commit`] counts a decision at less cost),
//! [`Broker::choose`] only reads. No clock, I/O or randomness, and nothing can fail: the same inputs at the same
//! times give the same state, so that it can be simulated, replayed from a recorded log, and kept alike in many
//! replicas.

mod attempt_history;
mod canonical;
mod choose;
mod client_pools;
mod command;
mod configure;
mod decision;
mod derived;
mod description;
mod explain;
mod histogram;
mod ingresses;
mod input;
pub mod invariants;
mod last_serving;
mod learn;
mod loads;
mod model_limits;
mod operator;
mod outcome_dedup;
mod poison;
mod pool;
mod rate_limits;
mod router_stats;
mod routers;
mod selection_counts;
mod settings;
mod snapshot;
mod takeover;
mod unavailability;

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rustc_hash::FxHashMap;

pub use crate::in_flight::MAX_CALLS as IN_FLIGHT_CAPACITY;
pub use crate::load::model_limits::MAX_MODEL_BYTES;
pub use attempt_history::{AttemptHistory, NextTarget};
pub use canonical::Values;
pub use client_pools::ClientTree;
pub use command::{Command, CommandError, OperatorCommand};
pub use decision::{Decision, LimitVerdict, Pass, Route, RouteKind, TokenReservation};
pub use description::{PoolDescription, RouteReason};
pub use histogram::{Histogram, STEPS as HISTOGRAM_STEPS};
pub use ingresses::Ingresses;
pub use input::BrokerInput;
pub use operator::{EndedOverride, Override, Weight};
pub use outcome_dedup::MAX_UNPAIRED;
pub use pool::{Pool, WhenAllDisabled};
pub use router_stats::RouterStats;
pub use selection_counts::{PassCounts, SelectionReason};
pub use settings::{BrokerSettings, PoolSettings, RouterSettings};
pub use snapshot::{PoolStatus, PublicState, RouterStatus, Snapshot, SnapshotBasis};
pub use takeover::{ImportedOverride, ImportedRouter, ImportedState};
pub use unavailability::Unavailability;

use crate::health::{Health, HealthEffect, HealthSettings, TickEffect};
use crate::in_flight::InFlight;
use crate::load::Loads;
use crate::load::model_limits::ModelLimits;
use crate::load::rate_limit::RateLimiter;
use crate::table::Table;
use client_pools::ClientPools;
use description::Paths;
use operator::OperatorOverrides;
use outcome_dedup::OutcomeDedup;
use poison::Suspects;
use routers::Routers;
use types::outcome::CallObservation;
use types::request::Request;
use types::router::{PoolId, RouterId, RouterPath};
use types::time::BrokerTime;
use types::transition::{BrokerEvent, HealthState, IgnoreReason, Transition};

/// The soonest that a decision or an outcome sets a deadline, other than that of a router: a log or a message waits for its
/// partner, rounded down to a quarter of a second.
const MIN_PAIRING_DEADLINE: Duration = Duration::from_millis(9_750);

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
}

/// The broker's state.
#[derive(Debug, Clone, Default)]
pub struct Broker {
    /// Shared, so that a reader can go on without the broker.
    settings: Arc<BrokerSettings>,
    path_roles: FxHashMap<RouterPath, PathRole>,
    ingresses: Arc<Ingresses>,
    /// Of all routers, as the descriptions of pools share them.
    paths: Paths,
    routers: Routers,
    pools: Table<PoolId, Pool>,
    client_pools: ClientPools,
    /// How often the eligibility of routers has changed.
    eligibility_changes: u64,
    dedup: OutcomeDedup,
    /// Absent where no policy chooses by load.
    loads: Option<Loads>,
    in_flight: InFlight,
    operator: OperatorOverrides,
    /// Absent where no router has rate limits.
    limits: Option<RateLimiter>,
    /// Routers that rest for one model.
    model_limits: ModelLimits,
    suspects: Suspects,
    /// When a router last answered well.
    last_success: Option<BrokerTime>,
    decisions: u64,
    /// Counts reloads.
    config_generation: u64,
    /// Requests whose path is no pool's ingress.
    unknown_ingress: u64,
    filter_reported: bool,
    /// Until then no deadline passes: one comparison for each decision. Never later than [`Broker::next_deadline`].
    nothing_due_before: BrokerTime,
    /// What was emitted and not taken yet.
    effects: Vec<BrokerEvent>,
}

impl Broker {
    /// A broker in which every router serves. At most 65,536 routers; further ones are left out.
    pub fn new(settings: BrokerSettings) -> Self {
        let mut broker = Self::default();
        broker.configure(Arc::new(settings));
        broker
    }

    /// Advances the clock and chooses. Until [`Broker::commit`], the state that the choice was made from can still be
    /// explained.
    pub fn select<R: Rng>(&mut self, request: &impl Request, now: BrokerTime, rng: &mut R) -> Decision {
        self.advance_clock(now);
        self.choose(request, rng)
    }

    /// Applies everything that is due by now.
    #[inline]
    pub fn advance_clock(&mut self, now: BrokerTime) {
        if self.nothing_due_before <= now {
            self.apply_due(now);
        }
        self.advance_load_clock(now);
    }

    /// Not inlined, because most decisions find nothing due.
    #[inline(never)]
    fn apply_due(&mut self, now: BrokerTime) {
        self.nothing_due_before = self.next_deadline().unwrap_or(BrokerTime::MAX);
        if self.nothing_due_before <= now {
            self.tick(now);
            self.nothing_due_before = self.next_deadline().unwrap_or(BrokerTime::MAX);
        }
    }

    /// Counts a decision that is answered.
    pub fn commit(&mut self, decision: &Decision, now: BrokerTime) {
        match decision {
            Decision::Route(route) => self.commit_route(route, now),
            Decision::Pass(pass) => self.count_pass(pass),
        }
    }

    /// The same of a router that was chosen.
    pub fn commit_route(&mut self, route: &Route, now: BrokerTime) {
        self.count_choice(route, now);
        self.refresh();
        self.nothing_due_before = self.nothing_due_before.min(now.after(MIN_PAIRING_DEADLINE));
    }

    /// The events to publish since they were taken last, in order. [`Broker::apply`] takes them itself.
    pub fn take_changes(&mut self) -> Vec<BrokerEvent> {
        std::mem::take(&mut self.effects)
    }

    /// Applies an input; derived state is up to date when it returns.
    pub fn apply(&mut self, event: BrokerInput<'_>, now: BrokerTime) -> Applied {
        let is_call = matches!(event, BrokerInput::Observed(_) | BrokerInput::Abandoned { .. });
        let mut ignored = None;
        match event {
            BrokerInput::Observed(observation) => ignored = self.observe(observation, now).err(),
            BrokerInput::Abandoned { route, was_sent } => self.abandon(route, was_sent),
            BrokerInput::Command(given) => {
                self.tick(now);
                self.apply_command(given, now);
            }
            BrokerInput::Imported(takeover) => {
                self.tick(now);
                self.import_states(takeover, now);
            }
            BrokerInput::Configured(settings) => {
                self.tick(now);
                let limited = self.patches_of_limited();
                self.configure(Arc::new(settings.clone()));
                self.end_changed_model_limits(&limited);
                self.readmit_exempt(now);
            }
            BrokerInput::TargetsReplaced(paths) => self.end_cooldowns(paths, now),
            BrokerInput::Tick => self.tick(now),
        }
        self.refresh();
        self.nothing_due_before = if is_call {
            let due = self.in_flight.next_deadline().unwrap_or(BrokerTime::MAX);
            self.nothing_due_before.min(now.after(MIN_PAIRING_DEADLINE)).min(due)
        } else {
            self.next_deadline().unwrap_or(BrokerTime::MAX)
        };
        Applied { changes: self.take_changes(), ignored }
    }

    /// Learns from an observation, after what was due before it.
    ///
    /// # Errors
    /// Why there was nothing to learn.
    fn observe(&mut self, observation: &CallObservation<'_>, now: BrokerTime) -> Result<(), IgnoreReason> {
        self.advance_load_clock(now);
        if self.nothing_due_before <= now {
            self.tick(now);
            self.nothing_due_before = self.next_deadline().unwrap_or(BrokerTime::MAX);
        } else {
            self.expire_unpaired(now);
        }
        self.learn(observation, now)
    }

    /// Releases the probe slot of a decision that ended without evidence about its router.
    pub(super) fn release_probe(&mut self, router: RouterId, decision: u64) {
        self.routers.change_health(router, |health, _| health.release_probe(decision));
    }

    /// When time alone changes something next.
    pub fn next_deadline(&self) -> Option<BrokerTime> {
        let [first, second, third, fourth, fifth, sixth] = [
            self.routers.next_deadline(),
            self.operator.next_deadline(),
            self.dedup.next_deadline(),
            self.loads_due(),
            self.in_flight.next_deadline(),
            self.model_limits.next_deadline(),
        ]
        .map(|due| due.unwrap_or(BrokerTime::MAX));
        Some(first.min(second).min(third.min(fourth)).min(fifth.min(sixth))).filter(|due| *due < BrokerTime::MAX)
    }

    pub fn pools(&self) -> &[Pool] {
        self.pools.as_slice()
    }

    /// `None` if it is not this broker's.
    pub fn pool(&self, pool: PoolId) -> Option<&Pool> {
        self.client_pools.get(pool).or_else(|| self.pools.get(pool))
    }

    /// The router of this path, if it stands in a pool.
    fn router_at(&self, path: &str) -> Option<RouterId> {
        match self.path_roles.get(path) {
            Some(PathRole::Router(id)) => Some(*id),
            _ => None,
        }
    }

    /// The pool of this ingress; also of one that only the relay serves.
    fn pool_at(&self, path: &str) -> Option<PoolId> {
        match self.path_roles.get(path) {
            Some(PathRole::Ingress(id) | PathRole::Relayed(id)) => Some(*id),
            _ => None,
        }
    }

    /// The path of a router.
    pub fn path(&self, router: RouterId) -> Option<&RouterPath> {
        self.routers.get(router).map(|router| &router.path)
    }

    /// Every router with its health and statistics.
    pub fn routers(&self) -> impl Iterator<Item = (&RouterPath, HealthState, &RouterStats)> {
        self.routers.values().map(|router| (&router.path, router.health().state(), &router.stats))
    }

    /// The settings in force.
    pub fn settings(&self) -> &Arc<BrokerSettings> {
        &self.settings
    }

    /// How many settings have been in force, these included.
    pub const fn config_generation(&self) -> u64 {
        self.config_generation
    }

    /// Messages whose logs did not come in time, or for which there is no room any more.
    fn expire_unpaired(&mut self, now: BrokerTime) {
        while let Some(waiting) = self.dedup.expire(now) {
            self.finish_unpaired(waiting);
            self.refresh();
        }
    }

    fn tick(&mut self, now: BrokerTime) {
        self.expire_calls(now);
        self.expire_unpaired(now);
        self.expire_model_limits(now);
        if self.operator.next_deadline().is_some_and(|due| due <= now) {
            self.expire_overrides(now);
        }
        if self.routers.next_deadline().is_some_and(|due| due <= now) {
            for id in self.routers.due(now) {
                self.change_health(id, now, |health, settings| match health.tick(settings, now) {
                    TickEffect::Returned => HealthEffect::Returned,
                    TickEffect::Nothing | TickEffect::Changed => HealthEffect::None,
                });
            }
        }
        self.refresh();
    }

    /// Changes a router's health and emits the new state where others have to learn of it; [`HealthEffect::None`] if there is no
    /// such router.
    fn change_health(
        &mut self,
        id: RouterId,
        now: BrokerTime,
        change: impl FnOnce(&mut Health, &HealthSettings) -> HealthEffect,
    ) -> HealthEffect {
        let effect = self.routers.change_health(id, change).unwrap_or(HealthEffect::None);
        let event = match effect {
            HealthEffect::None | HealthEffect::Counted | HealthEffect::Suspected | HealthEffect::ProbeReleased => {
                return effect;
            }
            HealthEffect::Tripped | HealthEffect::Returned | HealthEffect::Undone => BrokerEvent::HealthChanged,
            HealthEffect::Extended | HealthEffect::Paused => BrokerEvent::Extended,
        };
        if let Some(router) = self.routers.get(id) {
            let (epoch, state) = (router.health().epoch(), router.health().state());
            self.effects.push(event(Transition { router: router.path.clone(), epoch, state, at: now }));
        }
        effect
    }
}

#[cfg(test)]
pub(crate) mod tests;
