//! The state that a replica sends to one that starts, or was away from the bus: which routers are disabled and for how long, the operators' overrides that
//! apply, and which signed messages were accepted. Times are relative (seconds left, seconds ago), so that clocks need not agree.
//!
//! Several answers become one by [`ReplicaState::merge`]: the most cautious health, the newest override.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{RouterMessage, VERSION, known, known_of};
use super::{AdminCommand, Nonces};
use balancer::broker::{
    Command, EndedOverride, ImportedOverride, ImportedRouter, ImportedState, OperatorCommand, Override, PublicState,
    Snapshot, Weight,
};
use types::mode::OperatingMode;
use types::outcome::Cause;
use types::router::RouterPath;
use types::time::BrokerTime;

/// The most routers, and the most overrides, that are imported from one message.
const MAX_ROUTERS: usize = 65_536;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplicaState {
    /// The version of the message.
    #[serde(default)]
    pub version: u32,
    /// The id of the replica that answers; several ids, separated by commas, after a merge.
    pub replica: String,
    #[serde(default, deserialize_with = "known")]
    pub mode: OperatingMode,
    /// The command that set the mode; `None`: it is the replica's own setting, which does not concern others.
    #[serde(rename = "mode_order", default, skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub mode_command: Option<ModeCommand>,
    /// Routers that are disabled or on probation.
    #[serde(default, deserialize_with = "known_of")]
    pub routers: Vec<EjectedRouter>,
    /// Oldest first.
    #[serde(rename = "orders", default, deserialize_with = "known_of")]
    pub overrides: Vec<ActiveOverride>,
    /// The last overrides that were ended.
    #[serde(rename = "ended_orders", default, skip_serializing_if = "Vec::is_empty", deserialize_with = "known_of")]
    pub ended: Vec<ActiveOverride>,
    #[serde(rename = "taken", default, deserialize_with = "known")]
    pub accepted_nonces: AcceptedNonces,
}

/// An operator's command that set the mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModeCommand {
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
    /// Until it is on probation; `None`: it is already.
    pub seconds_left: Option<f64>,
    pub cause: Cause,
}

/// An operator's override that still applies, or was ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveOverride {
    pub router: RouterPath,
    /// It has `weight` in this pool; `None`: it is drained.
    pub pool: Option<RouterPath>,
    pub weight: Option<f64>,
    /// Until it expires; `None`: it does not.
    pub seconds_left: Option<f64>,
    /// How long ago it was given, or ended, in seconds.
    #[serde(default)]
    pub seconds_ago: f64,
    /// Who asked for it.
    pub by: String,
    pub reason: String,
}

/// The nonces of signed messages that were accepted: no replica accepts one of them again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AcceptedNonces {
    /// The list is complete for the last seconds, this many.
    pub complete_seconds: f64,
    /// Each with how many seconds ago it was accepted.
    pub nonces: BTreeMap<String, f64>,
}

impl ReplicaState {
    /// The state of a replica, of its id and mode, the command that set this mode and when that was given (if it was by command),
    /// the overrides that were ended, and the nonces that it accepted.
    pub fn from_snapshot(
        replica: &str,
        mode: OperatingMode,
        commanded: Option<&(AdminCommand, BrokerTime)>,
        ended: &[EndedOverride],
        accepted_nonces: AcceptedNonces,
        broker: &Snapshot,
    ) -> Self {
        let left = |until: Option<BrokerTime>| until.map(|until| until.since(broker.at).as_secs_f64());
        let out =
            broker.routers.iter().filter(|router| router.state != PublicState::Enabled).map(|router| EjectedRouter {
                router: router.router.clone(),
                seconds_left: router.seconds_left,
                cause: router.why.unwrap_or_default(),
            });
        let order = |router: &RouterPath, pool: Option<&RouterPath>, weight, terms: &Override| ActiveOverride {
            router: router.clone(),
            pool: pool.cloned(),
            weight,
            seconds_left: left(terms.until),
            seconds_ago: broker.at.since(terms.since).as_secs_f64(),
            by: terms.by.clone(),
            reason: terms.reason.clone(),
        };
        let routers = broker.routers.iter();
        let drained = routers.filter_map(|router| Some(order(&router.router, None, None, router.drained.as_ref()?)));
        let weights = broker.pools.iter().flat_map(|pool| &pool.weights);
        let weights = weights.map(|one: &Weight| order(&one.router, Some(&one.pool), Some(one.weight), &one.terms));
        let ended = ended.iter().map(|one| order(&one.router, one.pool.as_ref(), None, &one.terms)).collect();
        let mode_command =
            commanded.and_then(|(command, since)| ModeCommand::from_command(command, broker.at.since(*since)));
        let (routers, overrides) = (out.collect(), drained.chain(weights).collect());
        let replica = replica.to_owned();
        Self { version: VERSION, replica, mode, mode_command, routers, overrides, ended, accepted_nonces }
    }

    /// The same state after some time.
    #[must_use]
    pub fn later(mut self, by: Duration) -> Self {
        let by = by.as_secs_f64();
        let (routers, overrides) = (&mut self.routers, self.overrides.iter_mut().chain(&mut self.ended));
        let left = routers.iter_mut().filter_map(|out| out.seconds_left.as_mut());
        left.for_each(|left| *left = (*left - by).max(0.0));
        for one in overrides {
            one.seconds_ago += by;
            one.seconds_left = one.seconds_left.map(|left| (left - by).max(0.0));
        }
        let mode = self.mode_command.iter_mut().map(|command| &mut command.seconds_ago);
        let AcceptedNonces { complete_seconds, nonces } = &mut self.accepted_nonces;
        mode.chain([complete_seconds]).chain(nonces.values_mut()).for_each(|ago| *ago += by);
        self
    }

    /// The states of several replicas as one, which does not depend on the order in which they answered. A router is disabled
    /// for the longest time that any of them reports; it is on probation if none has it disabled and one has it on probation.
    /// Of two overrides of the same router (and pool), and of two modes, the newer one applies; at the same age, that of the
    /// replica whose id comes first.
    pub fn merge(mut states: Vec<Self>) -> Option<Self> {
        states.sort_by(|one, other| one.replica.cmp(&other.replica));
        states.dedup_by(|one, other| one.replica == other.replica);
        let replicas: Vec<_> = states.iter().map(|state| state.replica.clone()).collect();
        let mut states = states.into_iter();
        let mut all = states.next()?;
        let mut routers: BTreeMap<RouterPath, EjectedRouter> = BTreeMap::new();
        // Each with whether it was ended.
        let mut orders: BTreeMap<(RouterPath, Option<RouterPath>), (ActiveOverride, bool)> = BTreeMap::new();
        let mut add = |state: &mut Self| {
            let of_routers = std::mem::take(&mut state.routers);
            let (given, ended) = (std::mem::take(&mut state.overrides), std::mem::take(&mut state.ended));
            for out in of_routers {
                let more = |known: &EjectedRouter| out.seconds_left > known.seconds_left;
                if routers.get(&out.router).is_none_or(more) {
                    routers.insert(out.router.clone(), out);
                }
            }
            for one in given.into_iter().map(|one| (one, false)).chain(ended.into_iter().map(|one| (one, true))) {
                let key = (one.0.router.clone(), one.0.pool.clone());
                if orders.get(&key).is_none_or(|(known, _)| one.0.seconds_ago < known.seconds_ago) {
                    orders.insert(key, one);
                }
            }
        };
        add(&mut all);
        for mut state in states {
            add(&mut state);
            if let Some(command) = state.mode_command
                && all.mode_command.as_ref().is_none_or(|known| command.seconds_ago < known.seconds_ago)
            {
                all.mode_command = Some(command);
            }
            all.accepted_nonces.merge(state.accepted_nonces);
        }
        let mut orders: Vec<_> = orders.into_values().collect();
        orders.sort_by(|(one, _), (other, _)| other.seconds_ago.total_cmp(&one.seconds_ago));
        let (ended, overrides): (Vec<_>, Vec<_>) = orders.into_iter().partition(|(_, is_ended)| *is_ended);
        let [overrides, ended] = [overrides, ended].map(|orders| orders.into_iter().map(|(one, _)| one).collect());
        Some(Self { replica: replicas.join(","), routers: routers.into_values().collect(), overrides, ended, ..all })
    }

    /// Everything but the mode, for the broker to import. Overrides are imported only if the state is `proved`.
    pub fn takeover(&self, now: BrokerTime, proved: bool) -> ImportedState {
        let router = |out: &EjectedRouter| {
            let until = out.seconds_left.map(|left| after(now, left));
            ImportedRouter { router: out.router.clone(), until, cause: out.cause }
        };
        let order = |(one, is_ended): (&ActiveOverride, bool)| {
            let router = one.router.clone();
            let command = match &one.pool {
                None if is_ended => Command::Resume(router),
                None => Command::Drain(router),
                Some(pool) => Command::SetWeight { pool: pool.clone(), router, weight: one.weight },
            };
            let until = one.seconds_left.map(|left| after(now, left));
            let given = OperatorCommand { command, until, by: one.by.clone(), reason: one.reason.clone() };
            ImportedOverride { given, since: before(now, one.seconds_ago) }
        };
        let routers = self.routers.iter().take(MAX_ROUTERS).map(router).collect();
        let (given, ended) = (self.overrides.iter(), self.ended.iter());
        let orders = given.map(|one| (one, false)).chain(ended.map(|one| (one, true)));
        let orders = orders.filter(|_| proved).take(MAX_ROUTERS).map(order).collect();
        ImportedState { routers, orders, proved }
    }
}

impl ModeCommand {
    fn from_command(command: &AdminCommand, ago: Duration) -> Option<Self> {
        let AdminCommand::Mode { mode, by, reason } = command else { return None };
        Some(Self { mode: *mode, seconds_ago: ago.as_secs_f64(), by: by.clone(), reason: reason.clone() })
    }

    /// The command, and when it was given.
    pub fn command(&self, now: BrokerTime) -> (AdminCommand, BrokerTime) {
        let command = AdminCommand::Mode { mode: self.mode, by: self.by.clone(), reason: self.reason.clone() };
        (command, before(now, self.seconds_ago))
    }
}

impl AcceptedNonces {
    pub fn from_nonces(nonces: &Nonces, now: BrokerTime) -> Self {
        let seconds = |at: BrokerTime| now.since(at).as_secs_f64();
        let taken = nonces.taken().map(|(nonce, at)| (nonce.to_owned(), seconds(at)));
        Self { complete_seconds: seconds(nonces.complete_since()), nonces: taken.collect() }
    }

    /// Each nonce with when it was accepted, and since when the list is complete.
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

/// The time this many seconds ago.
fn before(now: BrokerTime, seconds: f64) -> BrokerTime {
    let ago = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    BrokerTime::from_nanos(u64::try_from(u128::from(now.as_nanos()).saturating_sub(ago.as_nanos())).unwrap_or_default())
}

fn span(seconds: f64) -> Duration {
    let longest = super::MAX_DURATION;
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(longest).min(longest)
}
