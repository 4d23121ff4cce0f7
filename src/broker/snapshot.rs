//! The broker as it is shown: plain values, copied. Reading never changes anything, so a page or a scrape cannot change a
//! decision; and it comes in parts, so that whoever copies under a lock never holds it long.

use std::ops::Range;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::{Broker, Decision, Histogram, Hold, Pass, Place, Pool, Reason, Weight};
use crate::event::Standing;
use crate::outcome::Cause;
use crate::router::{RouterId, RouterPath};
use crate::strategy::Shown;
use crate::time::Now;

/// All of it, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// The moment.
    pub at: Now,
    /// Requests whose path is no ingress of ours.
    pub not_ours: u64,
    /// The pools, in the order of the settings.
    pub pools: Vec<PoolShown>,
    /// The routers that stand in a pool, in the order in which they were first named.
    pub routers: Vec<RouterShown>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolShown {
    /// The router that clients call.
    pub ingress: RouterPath,
    /// Whether anything may serve.
    pub serves: bool,
    /// Nothing serves but what is being found out about.
    pub last_resort: bool,
    /// Its targets.
    pub tree: Option<Shown>,
    /// Weights that are not the file's, by an operator's word.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<Weight>,
    /// Who was named, why, and how often; only what happened.
    #[serde(skip)]
    pub decisions: Vec<(RouterPath, Reason, u64)>,
    /// Calls that found nothing that may serve.
    pub all_disabled: u64,
    /// Calls for which nothing was meant, or nothing that may serve.
    pub nothing_for_it: u64,
}

/// A standing in the users' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Serves.
    Enabled,
    /// Is left alone.
    Disabled,
    /// Has yet to prove itself.
    Probation,
}

impl Word {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Enabled, Self::Disabled, Self::Probation];

    /// As metrics and documents spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Probation => "probation",
        }
    }

    /// The word for a standing.
    pub const fn of(standing: &Standing) -> Self {
        match standing {
            Standing::Serving => Self::Enabled,
            Standing::Cooling { .. } => Self::Disabled,
            Standing::Probing { .. } => Self::Probation,
        }
    }
}

/// One router.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouterShown {
    /// Its path.
    pub router: RouterPath,
    /// Whether it may serve.
    pub standing: Word,
    /// When it may prove itself, if it is disabled.
    pub until: Option<Now>,
    /// The same in seconds from now.
    pub seconds_left: Option<f64>,
    /// Left alone by an operator's word, whatever its standing.
    pub drained: Option<Hold>,
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
    pub at: Now,
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
            Decision::Pass(Pass::NothingForIt(pool, _) | Pass::AllDisabled(pool)) => *pool,
            Decision::Pass(Pass::NotOurs) => return None,
        };
        self.pool(pool).map(Pool::ingress)
    }

    /// One pool, as it is shown.
    pub fn show_pool(&self, place: usize) -> Option<PoolShown> {
        let pool = self.pools.get(place)?;
        let last_resort = pool.last_resort().filter(|_| !pool.tree().serves());
        let path = |router: RouterId| self.path(router).cloned();
        // Whom an operator drained gets no calls, on probation or not.
        let on_probation = |id: RouterId| {
            let is_probing = self.routers.get(usize::from(id.0)).is_some_and(|router| router.health().is_probing());
            is_probing && self.operator.hold(id).is_none()
        };
        let counts = pool.spread().counts().filter(|(_, _, count)| *count > 0);
        Some(PoolShown {
            ingress: pool.ingress().clone(),
            serves: pool.serves(),
            last_resort: last_resort.is_some(),
            weights: self.weights().iter().filter(|weight| weight.pool == *pool.ingress()).cloned().collect(),
            tree: last_resort.unwrap_or(pool.tree()).show(path, on_probation),
            decisions: counts.filter_map(|(router, reason, count)| Some((path(router)?, reason, count))).collect(),
            all_disabled: pool.spread().all_disabled,
            nothing_for_it: pool.spread().nothing_for_it,
        })
    }

    /// Some of the routers, by their places; those that stand in no pool are left out.
    pub fn show_routers(&self, places: Range<usize>, now: Now) -> Vec<RouterShown> {
        let end = places.end.min(self.routers.len());
        let places = places.start..end;
        places.filter_map(|place| self.show_router(RouterId(u16::try_from(place).ok()?), now)).collect()
    }

    fn show_router(&self, id: RouterId, now: Now) -> Option<RouterShown> {
        let router = self.routers.get(usize::from(id.0))?;
        let (path, health, record) = (&router.path, router.health(), &router.record);
        (self.places.get(path) == Some(&Place::Router(id))).then_some(())?;
        let standing = health.standing();
        let (until, why) = match standing {
            Standing::Serving => (None, None),
            Standing::Cooling { until, cause } => (Some(until), Some(cause)),
            Standing::Probing { cause } => (None, Some(cause)),
        };
        Some(RouterShown {
            router: path.clone(),
            standing: Word::of(&standing),
            until,
            seconds_left: until.map(|until| until.since(now).as_secs_f64()),
            why,
            drained: self.operator.hold(id).cloned(),
            epoch: health.epoch(),
            probes: health.permits(),
            requests: record.chosen,
            in_flight: self.under_way.open(id),
            without_outcome: self.under_way.lost(id),
            successes: record.successes,
            neutral: record.neutral,
            failures: record.failures,
            overloaded: record.overloaded,
            rate_limited: record.rate_limited,
            unreadable_hints: record.unreadable_hints,
            tokens: record.tokens,
            latency: record.latency.clone(),
            last_failure: record.last_failure.map(|(at, cause)| LastFailure { at, cause }),
        })
    }
}
