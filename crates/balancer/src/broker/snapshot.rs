//! The broker's status as plain copied values. Reading changes nothing, and it is copied in parts, so that a lock is
//! never held for long.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::operator::weighted;
use super::routers::Readiness;
use super::{
    Broker, BrokerSettings, Histogram, Override, PassCounts, PathRole, Pool, PoolSettings, RouterStats,
    SelectionReason, Weight,
};
use crate::strategy::{TargetStatus, Tier, Tree};
use crate::table::Table;
use types::outcome::Cause;
use types::router::{PoolId, RouterId, RouterPath};
use types::time::BrokerTime;
use types::transition::HealthState;

/// The status at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// The moment.
    pub at: BrokerTime,
    /// Requests whose path is no pool's ingress.
    pub unknown_ingress: u64,
    /// The name of `unknown_ingress` until 0.1, for one release more.
    pub not_ours: u64,
    /// In configured order.
    pub pools: Vec<PoolStatus>,
    /// The routers of all pools, in the order in which they were first configured.
    pub routers: Vec<RouterStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolStatus {
    /// The router that clients call.
    pub ingress: RouterPath,
    /// Only the relay serves it: without a target its calls wait, or are answered 503, and no gateway has another endpoint.
    pub relayed: bool,
    /// Whether a target is available.
    pub serves: bool,
    /// Only routers that are being probed are available.
    pub last_resort: bool,
    /// Its targets.
    pub tree: Option<TargetStatus>,
    /// Weights that an operator has overridden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<Weight>,
    /// Router, reason and count, where the count is not zero.
    #[serde(skip)]
    pub decisions: Vec<(RouterPath, SelectionReason, u64)>,
    /// Requests while no target was available.
    pub all_disabled: u64,
    /// Requests that matched no available target.
    pub no_matching_target: u64,
    /// The name of `no_matching_target` until 0.1, for one release more.
    pub nothing_for_it: u64,
}

types::named_enum! {
    /// A router's health as users see it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum PublicState {
        /// Serves.
        Enabled = "enabled",
        /// Ejected.
        Disabled = "disabled",
        Probation = "probation",
    }
}

impl PublicState {
    /// The public name of a health state.
    pub const fn from_health(state: &HealthState) -> Self {
        match state {
            HealthState::Serving => Self::Enabled,
            HealthState::Cooling { .. } => Self::Disabled,
            HealthState::Probing { .. } => Self::Probation,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouterStatus {
    /// Its path.
    pub router: RouterPath,
    /// Its health.
    pub state: PublicState,
    /// The name of `state` until 0.1, for one release more.
    pub standing: PublicState,
    /// The end of the cooldown.
    pub until: Option<BrokerTime>,
    /// The same in seconds from now.
    pub seconds_left: Option<f64>,
    /// The models that it rests for; it serves all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rests_for: Vec<RestingModel>,
    /// Drained by an operator, whatever its health.
    pub drained: Option<Override>,
    /// Why it was ejected, unless it serves.
    #[serde(serialize_with = "displayed")]
    pub why: Option<Cause>,
    /// How often it was ejected.
    pub epoch: u32,
    /// Probes of this replica in flight.
    pub probes: u32,
    /// Decisions of this replica for it.
    pub requests: u64,
    /// Calls of this replica in flight; `None` until a stamp was seen in a log.
    pub in_flight: Option<u32>,
    /// Calls of this replica that timed out; `None` as above.
    pub without_outcome: Option<u64>,
    #[serde(flatten)]
    pub stats: RouterStats,
    /// What its health allows; nothing while it is drained.
    #[serde(skip)]
    readiness: Option<Readiness>,
    /// A pool of the settings has it.
    #[serde(skip)]
    is_configured: bool,
}

/// A model whose rate limit is used up at a router.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestingModel {
    /// As a client named it.
    pub model: Box<str>,
    pub until: BrokerTime,
    /// The same in seconds from now.
    pub seconds_left: f64,
}

fn displayed<S: Serializer>(cause: &Option<Cause>, serializer: S) -> Result<S::Ok, S::Error> {
    cause.map(|cause| cause.to_string()).serialize(serializer)
}

/// A count and two percentiles, in milliseconds.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = |part| self.quantile(part).map(|time| (time.as_secs_f64() * 1e4).round() / 10.0);
        let mut fields = serializer.serialize_struct("Latency", 3)?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("p50_ms", &millis(0.5))?;
        fields.serialize_field("p95_ms", &millis(0.95))?;
        fields.end()
    }
}

/// What a status begins with. With the routers' status, all of it is derived without the broker.
#[derive(Debug)]
pub struct SnapshotBasis {
    settings: Arc<BrokerSettings>,
    weights: Arc<Vec<Weight>>,
    generation: u64,
    unknown_ingress: u64,
    routers: usize,
}

impl SnapshotBasis {
    /// How many pools there are.
    pub fn pools(&self) -> usize {
        self.settings.pools.len()
    }

    /// How many routers there are, those of settings before included.
    pub const fn routers(&self) -> usize {
        self.routers
    }

    /// Which settings these are of all that have been in force.
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

impl Snapshot {
    /// Derives the pools from the routers; `passes` and `routers` are all of them, in order.
    pub fn new(at: BrokerTime, basis: &SnapshotBasis, passes: &[PassCounts], mut routers: Vec<RouterStatus>) -> Self {
        let mut decisions: Table<PoolId, Vec<(RouterPath, SelectionReason, u64)>> = Table::default();
        for router in &routers {
            for (pool, reason, count) in router.stats.selections.by_reason() {
                decisions.get_or_grow(pool).push((router.router.clone(), reason, count));
            }
        }
        routers.retain(|router| router.is_configured);
        let by_path: FxHashMap<&RouterPath, &RouterStatus> = routers.iter().map(|one| (&one.router, one)).collect();
        let passes = passes.iter().copied().chain(std::iter::repeat(PassCounts::default()));
        let decisions = decisions.into_iter().chain(std::iter::repeat_with(Vec::new));
        let pools = basis.settings.pools.iter().zip(passes).zip(decisions);
        let derived = pools.map(|((pool, passes), decisions)| {
            let weights = basis.weights.iter().filter(|weight| weight.pool == pool.ingress).cloned().collect();
            let relayed = basis.settings.relayed.contains(&pool.ingress);
            PoolStatus::new(pool, relayed, weights, &by_path, passes, decisions)
        });
        let pools = derived.collect();
        let unknown_ingress = basis.unknown_ingress;
        Self { at, unknown_ingress, not_ours: unknown_ingress, pools, routers }
    }
}

impl PoolStatus {
    fn new(
        pool: &PoolSettings,
        relayed: bool,
        weights: Vec<Weight>,
        routers: &FxHashMap<&RouterPath, &RouterStatus>,
        passes: PassCounts,
        decisions: Vec<(RouterPath, SelectionReason, u64)>,
    ) -> Self {
        // The same tree as the broker's, whose leaves have numbers of their own.
        let mut leaves: Table<RouterId, (RouterPath, Option<&RouterStatus>)> = Table::default();
        let mut tree = Tree::new(&weighted(&pool.root, weights.iter()), |path| {
            leaves.push((path.clone(), routers.get(path).copied()))
        });
        let status = |id: RouterId| leaves.get(id).and_then(|(_, status)| *status);
        tree.refresh(|id| pool.when_all_disabled.eligibility(status(id).and_then(|status| status.readiness)));
        let serves = tree.has_eligible(Tier::Serving);
        let last_resort = !serves && tree.has_eligible(Tier::LastResort);
        let tier = if last_resort { Tier::LastResort } else { Tier::Serving };
        // A drained router gets no calls, on probation or not.
        let on_probation = |id| status(id).and_then(|status| status.readiness).is_some_and(|ready| ready.probing);
        Self {
            ingress: pool.ingress.clone(),
            relayed,
            serves: serves || last_resort,
            last_resort,
            tree: tree.show(tier, |id| leaves.get(id).map(|(path, _)| path.clone()), on_probation),
            weights,
            decisions,
            all_disabled: passes.all_disabled,
            no_matching_target: passes.no_matching_target,
            nothing_for_it: passes.no_matching_target,
        }
    }
}

impl Broker {
    /// The number of routers; some may be in no pool any more.
    pub fn routers_known(&self) -> usize {
        self.routers.len()
    }

    /// Decisions for a router so far.
    pub const fn decisions(&self) -> u64 {
        self.decisions
    }

    /// The whole status at once; where decisions wait for it, it is read in parts.
    pub(crate) fn snapshot(&self, now: BrokerTime) -> Snapshot {
        let basis = self.snapshot_basis();
        Snapshot::new(now, &basis, &self.passes(0..basis.pools()), self.router_statuses(0..basis.routers(), now))
    }

    /// What a status begins with.
    pub fn snapshot_basis(&self) -> SnapshotBasis {
        SnapshotBasis {
            settings: Arc::clone(&self.settings),
            weights: Arc::clone(self.operator.weights()),
            generation: self.config_generation,
            unknown_ingress: self.unknown_ingress,
            routers: self.routers.len(),
        }
    }

    /// The requests of some pools that got no router, by index.
    pub fn passes(&self, places: Range<usize>) -> Vec<PassCounts> {
        let pools = self.pools.as_slice();
        pools.get(places.start..places.end.min(pools.len())).unwrap_or_default().iter().map(Pool::passes).collect()
    }

    /// The status of some routers, by index.
    pub fn router_statuses(&self, places: Range<usize>, now: BrokerTime) -> Vec<RouterStatus> {
        let end = places.end.min(self.routers.len());
        (places.start..end).filter_map(|place| self.router_status(RouterId(u16::try_from(place).ok()?), now)).collect()
    }

    fn router_status(&self, id: RouterId, now: BrokerTime) -> Option<RouterStatus> {
        let router = self.routers.get(id)?;
        let (path, health, stats) = (&router.path, router.health(), &router.stats);
        let state = health.state();
        let (until, why) = match state {
            HealthState::Serving => (None, None),
            HealthState::Cooling { until, cause } => (Some(until), Some(cause)),
            HealthState::Probing { cause } => (None, Some(cause)),
        };
        let resting = self.model_limits.of_router(id).iter().map(|limit| RestingModel {
            model: limit.model.clone(),
            until: limit.until,
            seconds_left: limit.until.since(now).as_secs_f64(),
        });
        Some(RouterStatus {
            rests_for: resting.collect(),
            router: path.clone(),
            state: PublicState::from_health(&state),
            standing: PublicState::from_health(&state),
            until,
            seconds_left: until.map(|until| until.since(now).as_secs_f64()),
            why,
            drained: self.operator.drained_by(id).cloned(),
            epoch: health.epoch(),
            probes: health.active_probes(),
            requests: stats.chosen(),
            in_flight: self.in_flight.running(id),
            without_outcome: self.in_flight.timed_out(id),
            stats: stats.clone(),
            readiness: self.operator.readiness(&self.routers, id),
            is_configured: self.path_roles.get(path) == Some(&PathRole::Router(id)),
        })
    }
}
