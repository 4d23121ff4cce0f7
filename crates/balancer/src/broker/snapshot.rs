//! The broker as it is shown: plain values, copied. Reading never changes anything, so a page or a scrape cannot change a
//! decision; and it comes in parts, so that whoever copies under a lock never holds it long.

use std::ops::Range;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::{Broker, Decision, Histogram, Override, Pass, PathRole, Pool, SelectionReason, Weight};
use crate::strategy::TargetStatus;
use types::outcome::Cause;
use types::router::{RouterId, RouterPath};
use types::time::BrokerTime;
use types::transition::HealthState;

/// All of it, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// The moment.
    pub at: BrokerTime,
    /// Requests whose path is no ingress of ours.
    pub not_ours: u64,
    /// The pools, in the order of the settings.
    pub pools: Vec<PoolStatus>,
    /// The routers that stand in a pool, in the order in which they were first named.
    pub routers: Vec<RouterStatus>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolStatus {
    /// The router that clients call.
    pub ingress: RouterPath,
    /// Whether anything may serve.
    pub serves: bool,
    /// Nothing serves but what is being found out about.
    pub last_resort: bool,
    /// Its targets.
    pub tree: Option<TargetStatus>,
    /// Weights that are not the file's, by an operator's word.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<Weight>,
    /// Who was named, why, and how often; only what happened.
    #[serde(skip)]
    pub decisions: Vec<(RouterPath, SelectionReason, u64)>,
    /// Calls that found nothing that may serve.
    pub all_disabled: u64,
    /// Calls for which nothing was meant, or nothing that may serve.
    #[serde(rename = "nothing_for_it")]
    pub no_matching_target: u64,
}

/// A state in the users' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicState {
    /// Serves.
    Enabled,
    /// Is left alone.
    Disabled,
    /// Has yet to prove itself.
    Probation,
}

impl PublicState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Enabled, Self::Disabled, Self::Probation];

    /// As metrics and documents spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Probation => "probation",
        }
    }

    /// The word for a state.
    pub const fn from_health(state: &HealthState) -> Self {
        match state {
            HealthState::Serving => Self::Enabled,
            HealthState::Cooling { .. } => Self::Disabled,
            HealthState::Probing { .. } => Self::Probation,
        }
    }
}

/// One router.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouterStatus {
    /// Its path.
    pub router: RouterPath,
    /// Whether it may serve.
    #[serde(rename = "standing")]
    pub state: PublicState,
    /// When it may prove itself, if it is disabled.
    pub until: Option<BrokerTime>,
    /// The same in seconds from now.
    pub seconds_left: Option<f64>,
    /// Left alone by an operator's word, whatever its state.
    pub drained: Option<Override>,
    /// Why it was taken out, unless it serves.
    pub why: Option<Cause>,
    /// How often it was taken out.
    pub epoch: u32,
    /// Calls that find out about it just now, of this replica.
    pub probes: u32,
    /// Decisions of this replica that named it.
    pub requests: u64,
    /// Calls under way there, sent by this replica; absent until a stamp has come back.
    pub in_flight: Option<u32>,
    /// Decisions of which nothing was heard; absent as above.
    pub without_outcome: Option<u64>,
    /// Answers that say it works.
    pub successes: u64,
    /// Answers that say nothing about it.
    pub neutral: u64,
    /// Answers that speak against it, those that follow among them.
    pub failures: u64,
    /// It had no room for anybody.
    pub overloaded: u64,
    /// It had no room for us.
    pub rate_limited: u64,
    /// Answers that said when to come back in a way that cannot be read.
    #[serde(skip)]
    pub unreadable_hints: u64,
    /// Completion tokens.
    pub tokens: u64,
    /// How long the upstream took.
    pub latency: Histogram,
    /// The last failure.
    pub last_failure: Option<LastFailure>,
}

/// A failure that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LastFailure {
    /// When.
    pub at: BrokerTime,
    /// What it was.
    pub cause: Cause,
}

/// For people: a count and two percentiles, in milliseconds.
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

impl Broker {
    /// How many routers there are to show; some of them may stand in no pool any more.
    pub fn routers_known(&self) -> usize {
        self.routers.len()
    }

    /// Requests whose path was no ingress of ours.
    pub const fn not_ours(&self) -> u64 {
        self.not_ours
    }

    /// Decisions that named a router, so far.
    pub const fn decisions(&self) -> u64 {
        self.decisions
    }

    /// The ingress of the pool that a decision is about.
    pub fn ingress(&self, decision: &Decision) -> Option<&RouterPath> {
        let pool = match decision {
            Decision::Route(route) => route.pool,
            Decision::Pass(Pass::NoMatchingTarget(pool, _) | Pass::AllDisabled(pool)) => *pool,
            Decision::Pass(Pass::UnknownIngress) => return None,
        };
        self.pool(pool).map(Pool::ingress)
    }

    /// One pool, as it is shown.
    pub fn pool_status(&self, place: usize) -> Option<PoolStatus> {
        let pool = self.pools.get(place)?;
        let last_resort = pool.last_resort().filter(|_| !pool.tree().has_eligible());
        let path = |router: RouterId| self.path(router).cloned();
        let counts = pool.selections().counts().filter(|(_, _, count)| *count > 0);
        Some(PoolStatus {
            ingress: pool.ingress().clone(),
            serves: pool.is_available(),
            last_resort: last_resort.is_some(),
            weights: self.weights().iter().filter(|weight| weight.pool == *pool.ingress()).cloned().collect(),
            tree: last_resort.unwrap_or(pool.tree()).show(&path),
            decisions: counts.filter_map(|(router, reason, count)| Some((path(router)?, reason, count))).collect(),
            all_disabled: pool.selections().all_disabled,
            no_matching_target: pool.selections().no_matching_target,
        })
    }

    /// Some of the routers, by their places; those that stand in no pool are left out.
    pub fn router_statuses(&self, places: Range<usize>, now: BrokerTime) -> Vec<RouterStatus> {
        let end = places.end.min(self.routers.len());
        let places = places.start..end;
        places.filter_map(|place| self.router_status(RouterId(u16::try_from(place).ok()?), now)).collect()
    }

    fn router_status(&self, id: RouterId, now: BrokerTime) -> Option<RouterStatus> {
        let router = self.routers.get(usize::from(id.0))?;
        let (path, health, stats) = (&router.path, router.health(), &router.stats);
        (self.path_roles.get(path) == Some(&PathRole::Router(id))).then_some(())?;
        let state = health.state();
        let (until, why) = match state {
            HealthState::Serving => (None, None),
            HealthState::Cooling { until, cause } => (Some(until), Some(cause)),
            HealthState::Probing { cause } => (None, Some(cause)),
        };
        Some(RouterStatus {
            router: path.clone(),
            state: PublicState::from_health(&state),
            until,
            seconds_left: until.map(|until| until.since(now).as_secs_f64()),
            why,
            drained: self.operator.hold(id).cloned(),
            epoch: health.epoch(),
            probes: health.active_probes(),
            requests: stats.chosen,
            in_flight: self.in_flight.open(id),
            without_outcome: self.in_flight.timed_out(id),
            successes: stats.successes,
            neutral: stats.neutral,
            failures: stats.failures,
            overloaded: stats.overloaded,
            rate_limited: stats.rate_limited,
            unreadable_hints: stats.unreadable_hints,
            tokens: stats.tokens,
            latency: stats.latency.clone(),
            last_failure: stats.last_failure.map(|(at, cause)| LastFailure { at, cause }),
        })
    }
}
