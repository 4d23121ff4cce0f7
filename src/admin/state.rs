//! What a replica answers to one that starts: who is disabled and for how long, which orders of operators hold, and which
//! signed messages were taken. Times are what is left or has passed of them, so that clocks need not agree.
//!
//! Several answers become one by [`ReplicaState::merge`]: the most cautious health, the newest order.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{RouterMessage, VERSION, known, known_of};
use super::{AdminCommand, Nonces};
use balancer::broker::{
    Command, ImportedState, OperatorCommand, PublicState, Snapshot, TakenOverOrder, TakenOverRouter,
};
use types::mode::OperatingMode;
use types::outcome::Cause;
use types::router::RouterPath;
use types::time::BrokerTime;

/// More routers than a broker has, and no more than a message may bring.
const MAX_ROUTERS: usize = 65_536;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplicaState {
    /// The version of the message.
    #[serde(default)]
    pub version: u32,
    /// Who answers; several, separated by commas, if it was merged.
    pub replica: String,
    #[serde(default, deserialize_with = "known")]
    pub mode: OperatingMode,
    /// The order that set the mode; none: it is the replica's own setting, and no matter of others.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub mode_order: Option<ModeOrder>,
    /// Routers that do not simply serve.
    #[serde(default, deserialize_with = "known_of")]
    pub routers: Vec<EjectedRouter>,
    /// Operators' words, oldest first.
    #[serde(default, deserialize_with = "known_of")]
    pub orders: Vec<ActiveOverride>,
    /// Signed messages that were taken.
    #[serde(default, deserialize_with = "known")]
    pub taken: Taken,
}

/// An operator's order about the mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModeOrder {
    pub mode: OperatingMode,
    /// How long ago it was given, in seconds.
    pub seconds_ago: f64,
    /// Who asked for it.
    pub by: String,
    pub reason: String,
}

/// A router that is disabled or on probation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "RouterMessage", into = "RouterMessage")]
pub struct EjectedRouter {
    pub router: RouterPath,
    /// For how long yet; none: on probation.
    pub seconds_left: Option<f64>,
    pub cause: Cause,
}

/// An operator's override that still applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveOverride {
    pub router: RouterPath,
    /// A weight in this pool; none: it is drained.
    pub pool: Option<RouterPath>,
    pub weight: Option<f64>,
    /// Seconds left; none: until it is changed.
    pub seconds_left: Option<f64>,
    /// How long ago it was given, in seconds.
    #[serde(default)]
    pub seconds_ago: f64,
    /// Who asked for it.
    pub by: String,
    pub reason: String,
}

/// Signed messages that were taken, by their nonces: none of them is taken again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// For this many seconds the list is complete.
    pub complete_seconds: f64,
    /// Each with how many seconds ago it was taken.
    pub nonces: BTreeMap<String, f64>,
}

impl ReplicaState {
    /// What a replica knows: which one, and its mode; who ordered that mode and when, if it was ordered; which signed messages
    /// it took; and its broker.
    pub fn from_snapshot(
        (replica, mode): (&str, OperatingMode),
        ordered: Option<&(AdminCommand, BrokerTime)>,
        taken: Taken,
        broker: &Snapshot,
    ) -> Self {
        let left = |until: Option<BrokerTime>| until.map(|until| until.since(broker.at).as_secs_f64());
        let out =
            broker.routers.iter().filter(|router| router.state != PublicState::Enabled).map(|router| EjectedRouter {
                router: router.router.clone(),
                seconds_left: router.seconds_left,
                cause: router.why.unwrap_or_default(),
            });
        let drained = broker.routers.iter().filter_map(|router| {
            let hold = router.drained.as_ref()?;
            Some(ActiveOverride {
                router: router.router.clone(),
                pool: None,
                weight: None,
                seconds_left: left(hold.until),
                seconds_ago: broker.at.since(hold.since).as_secs_f64(),
                by: hold.by.clone(),
                reason: hold.reason.clone(),
            })
        });
        let weights = broker.pools.iter().flat_map(|pool| &pool.weights).map(|weight| ActiveOverride {
            router: weight.router.clone(),
            pool: Some(weight.pool.clone()),
            weight: Some(weight.weight),
            seconds_left: left(weight.hold.until),
            seconds_ago: broker.at.since(weight.hold.since).as_secs_f64(),
            by: weight.hold.by.clone(),
            reason: weight.hold.reason.clone(),
        });
        let mode_order = ordered.and_then(|(order, since)| ModeOrder::from_command(order, broker.at.since(*since)));
        let (routers, orders) = (out.collect(), drained.chain(weights).collect());
        Self { version: VERSION, replica: replica.to_owned(), mode, mode_order, routers, orders, taken }
    }

    /// The same after some time: less is left of what is left, and longer ago is what has passed.
    #[must_use]
    pub fn later(mut self, by: Duration) -> Self {
        let by = by.as_secs_f64();
        let (routers, orders) = (&mut self.routers, &mut self.orders);
        let left = routers.iter_mut().filter_map(|out| out.seconds_left.as_mut());
        left.for_each(|left| *left = (*left - by).max(0.0));
        for order in orders {
            order.seconds_ago += by;
            order.seconds_left = order.seconds_left.map(|left| (left - by).max(0.0));
        }
        let mode = self.mode_order.iter_mut().map(|order| &mut order.seconds_ago);
        let Taken { complete_seconds, nonces } = &mut self.taken;
        mode.chain([complete_seconds]).chain(nonces.values_mut()).for_each(|ago| *ago += by);
        self
    }

    /// What several replicas know, as one; the same in whatever order they answered. A router is out for as long as any of
    /// them leaves it out, and on probation if none leaves it out and one has it on probation. Of two orders about the same
    /// router (and pool), and about the mode, the newer one holds; at the same age, that of the first replica by its id.
    pub fn merge(mut states: Vec<Self>) -> Option<Self> {
        states.sort_by(|one, other| one.replica.cmp(&other.replica));
        states.dedup_by(|one, other| one.replica == other.replica);
        let replicas: Vec<_> = states.iter().map(|state| state.replica.clone()).collect();
        let mut states = states.into_iter();
        let mut all = states.next()?;
        let mut routers: BTreeMap<RouterPath, EjectedRouter> = BTreeMap::new();
        let mut orders: BTreeMap<(RouterPath, Option<RouterPath>), ActiveOverride> = BTreeMap::new();
        let (first_routers, first_orders) = (std::mem::take(&mut all.routers), std::mem::take(&mut all.orders));
        let mut add = |of_routers: Vec<EjectedRouter>, of_orders: Vec<ActiveOverride>| {
            for out in of_routers {
                let more = |known: &EjectedRouter| out.seconds_left > known.seconds_left;
                if routers.get(&out.router).is_none_or(more) {
                    routers.insert(out.router.clone(), out);
                }
            }
            for order in of_orders {
                let key = (order.router.clone(), order.pool.clone());
                if orders.get(&key).is_none_or(|known| order.seconds_ago < known.seconds_ago) {
                    orders.insert(key, order);
                }
            }
        };
        add(first_routers, first_orders);
        for state in states {
            add(state.routers, state.orders);
            if let Some(order) = state.mode_order
                && all.mode_order.as_ref().is_none_or(|known| order.seconds_ago < known.seconds_ago)
            {
                all.mode_order = Some(order);
            }
            all.taken.merge(state.taken);
        }
        let mut orders: Vec<_> = orders.into_values().collect();
        orders.sort_by(|one, other| other.seconds_ago.total_cmp(&one.seconds_ago));
        Some(Self { replica: replicas.join(","), routers: routers.into_values().collect(), orders, ..all })
    }

    /// All of it but the mode, as the broker takes it over.
    pub fn takeover(&self, now: BrokerTime, proved: bool) -> ImportedState {
        let router = |out: &EjectedRouter| {
            let until = out.seconds_left.map(|left| after(now, left));
            TakenOverRouter { router: out.router.clone(), until, cause: out.cause }
        };
        let order = |order: &ActiveOverride| {
            let router = order.router.clone();
            let command = match &order.pool {
                None => Command::Drain(router),
                Some(pool) => Command::SetWeight { pool: pool.clone(), router, weight: order.weight },
            };
            let until = order.seconds_left.map(|left| after(now, left));
            let given = OperatorCommand { command, until, by: order.by.clone(), reason: order.reason.clone() };
            TakenOverOrder { given, since: before(now, order.seconds_ago) }
        };
        let routers = self.routers.iter().take(MAX_ROUTERS).map(router).collect();
        let orders = self.orders.iter().filter(|_| proved).take(MAX_ROUTERS).map(order).collect();
        ImportedState { routers, orders, proved }
    }
}

impl ModeOrder {
    fn from_command(order: &AdminCommand, ago: Duration) -> Option<Self> {
        let AdminCommand::Mode { mode, by, reason } = order else { return None };
        Some(Self { mode: *mode, seconds_ago: ago.as_secs_f64(), by: by.clone(), reason: reason.clone() })
    }

    /// As an order, and when it was given.
    pub fn order(&self, now: BrokerTime) -> (AdminCommand, BrokerTime) {
        let order = AdminCommand::Mode { mode: self.mode, by: self.by.clone(), reason: self.reason.clone() };
        (order, before(now, self.seconds_ago))
    }
}

impl Taken {
    /// What is remembered now.
    pub fn from_nonces(nonces: &Nonces, now: BrokerTime) -> Self {
        let seconds = |at: BrokerTime| now.since(at).as_secs_f64();
        let taken = nonces.taken().map(|(nonce, at)| (nonce.to_owned(), seconds(at)));
        Self { complete_seconds: seconds(nonces.complete_since()), nonces: taken.collect() }
    }

    /// Each with when it was taken, and since when none is missing.
    pub fn moments(self, now: BrokerTime) -> (impl Iterator<Item = (String, BrokerTime)>, BrokerTime) {
        let taken = self.nonces.into_iter().map(move |(nonce, ago)| (nonce, before(now, ago)));
        (taken, before(now, self.complete_seconds))
    }

    fn merge(&mut self, other: Self) {
        self.complete_seconds = self.complete_seconds.max(other.complete_seconds);
        for (nonce, ago) in other.nonces {
            self.nonces.entry(nonce).and_modify(|known| *known = known.min(ago)).or_insert(ago);
        }
    }
}

/// The time this many seconds ahead, at most 30 days.
fn after(now: BrokerTime, seconds: f64) -> BrokerTime {
    now.after(span(seconds))
}

/// The time this many seconds ago, at most 30 days.
fn before(now: BrokerTime, seconds: f64) -> BrokerTime {
    BrokerTime::from_nanos(
        now.since(BrokerTime::from_nanos(0).after(span(seconds))).as_nanos().try_into().unwrap_or(u64::MAX),
    )
}

fn span(seconds: f64) -> Duration {
    let longest = super::MAX_DURATION;
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(longest).min(longest)
}
