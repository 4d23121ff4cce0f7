//! What of the operators' orders still holds: which routers are drained, and which weights differ from the file's.
//!
//! Pools are derived from both, so they change in here only, and what is derived from them is marked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use super::routers::{Readiness, Router, Routers};
use super::{Command, OperatorCommand};
use crate::strategy::{Target, TargetKind};
use types::router::{RouterId, RouterPath};
use types::time::BrokerTime;

/// Weights that may differ from the file's, at most.
pub(crate) const MAX_WEIGHT_OVERRIDES: usize = 1_024;
/// Ended overrides that are remembered.
const MAX_ENDED: usize = 1_024;
/// Within this time of each other two replicas carry out one command.
const SAME_COMMAND: Duration = Duration::from_secs(2);

/// That something holds, by whose word.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Override {
    pub since: BrokerTime,
    /// Until when; none: until an operator ends it.
    pub until: Option<BrokerTime>,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Override {
    /// Whether both end at the same time and have the same reason; who asked is of no effect.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.until == other.until && self.reason == other.reason
    }
}

/// A weight that is not the file's.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Weight {
    /// The pool's ingress.
    pub pool: RouterPath,
    pub router: RouterPath,
    /// What it weighs.
    pub weight: f64,
    /// By whose word.
    #[serde(flatten)]
    pub terms: Override,
}

/// An override that an operator has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedOverride {
    pub router: RouterPath,
    /// The pool whose weight it was; none: a drain.
    pub pool: Option<RouterPath>,
    /// When, and by whose word. If its time was over: those of the override, which ended no other one.
    pub terms: Override,
}

/// All that operators ordered and that still holds.
#[derive(Debug, Clone, Default)]
pub(super) struct OperatorOverrides {
    drained: FxHashMap<RouterId, Override>,
    /// Shared, so that a status is derived from it without the broker.
    weights: Arc<Vec<Weight>>,
    /// The last ones that were ended, the oldest first: a replica that was away may still have them.
    ended: VecDeque<EndedOverride>,
    /// Routers about which this replica has had an order of its own: what others knew of their health is older.
    commanded: FxHashSet<RouterId>,
    /// When the first of them ends.
    next_deadline: Option<BrokerTime>,
    /// The pools' trees have to be built anew.
    reweighed: bool,
}

/// An order whose time is over.
#[derive(Debug)]
pub(super) enum ExpiredOverride {
    Drain(RouterId, Override),
    Weight(Weight),
}

impl OperatorOverrides {
    /// Why and until when a router is drained, if it is.
    pub(super) fn drained_by(&self, router: RouterId) -> Option<&Override> {
        self.drained.get(&router)
    }

    /// What a router's health allows; to a pool, a drained router does not exist.
    pub(super) fn readiness(&self, routers: &Routers, id: RouterId) -> Option<Readiness> {
        routers.get(id).filter(|_| self.drained_by(id).is_none()).map(Router::readiness)
    }

    pub(super) const fn weights(&self) -> &Arc<Vec<Weight>> {
        &self.weights
    }

    pub(super) fn drain(&mut self, router: RouterId, terms: Override) {
        self.drained.insert(router, terms);
        self.set_deadline();
    }

    pub(super) fn resume(&mut self, router: RouterId) {
        self.drained.remove(&router);
        self.set_deadline();
    }

    /// The weight of a router in one pool, where it is not the file's.
    pub(super) fn weight_of(&self, pool: &RouterPath, router: &RouterPath) -> Option<&Weight> {
        self.weights.iter().find(|one| one.pool == *pool && one.router == *router)
    }

    /// Another weight than the file's in one pool; none: the file's again.
    pub(super) fn set_weight(&mut self, pool: &RouterPath, router: &RouterPath, weight: Option<(f64, Override)>) {
        let weights = Arc::make_mut(&mut self.weights);
        weights.retain(|one| one.pool != *pool || one.router != *router);
        if let Some((weight, terms)) = weight {
            weights.push(Weight { pool: pool.clone(), router: router.clone(), weight, terms });
        }
        self.reweighed = true;
        self.set_deadline();
    }

    /// The last overrides that were ended.
    pub(super) const fn ended(&self) -> &VecDeque<EndedOverride> {
        &self.ended
    }

    /// An override was set or ended by these terms.
    pub(super) fn note_override(&mut self, command: &Command, terms: &Override) {
        let (router, pool) = (command.router(), command.pool());
        self.ended.retain(|one| one.router != *router || one.pool.as_ref() != pool);
        if command.is_end() {
            self.ended.push_back(EndedOverride { router: router.clone(), pool: pool.cloned(), terms: terms.clone() });
        }
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
    }

    /// The override that a command sets or ends, if there is one: its terms, and the weight if it is one.
    pub(super) fn set_by(&self, id: RouterId, command: &Command) -> Option<(&Override, Option<f64>)> {
        match command {
            Command::SetWeight { pool, router, .. } => {
                let weight = self.weights.iter().find(|one| one.pool == *pool && one.router == *router)?;
                Some((&weight.terms, Some(weight.weight)))
            }
            _ => Some((self.drained_by(id)?, None)),
        }
    }

    /// Whether another replica's order is news: it was given later than the last one here about the same.
    pub(super) fn is_news(&self, id: RouterId, given: &OperatorCommand, since: BrokerTime) -> bool {
        let (command, set) = (&given.command, self.set_by(id, &given.command));
        let weight = if let Command::SetWeight { weight, .. } = command { *weight } else { None };
        let ended =
            self.ended.iter().find(|one| one.router == *command.router() && one.pool.as_ref() == command.pool());
        // The same command reaches replicas a moment after each other.
        let is_same = |terms: &Override| {
            (&terms.by, &terms.reason) == (&given.by, &given.reason) && since < terms.since.after(SAME_COMMAND)
        };
        let is_set = set.is_some_and(|(terms, known)| {
            let same_end = match (terms.until, given.until) {
                (Some(one), Some(other)) => one < other.after(SAME_COMMAND) && other < one.after(SAME_COMMAND),
                (one, other) => one == other,
            };
            !command.is_end() && is_same(terms) && known == weight && same_end
        });
        // One whose time is over here has not begun anew.
        let is_ended = ended.is_some_and(|one| is_same(&one.terms) && (command.is_end() || one.terms.until.is_some()));
        let last = set.map(|(terms, _)| terms.since).max(ended.map(|one| one.terms.since));
        !is_set && !is_ended && last.is_none_or(|last| since > last)
    }

    /// Remembers that there was an order about this router.
    pub(super) fn note_order(&mut self, router: RouterId) {
        self.commanded.insert(router);
    }

    pub(super) fn has_command(&self, router: RouterId) -> bool {
        self.commanded.contains(&router)
    }

    pub(super) const fn next_deadline(&self) -> Option<BrokerTime> {
        self.next_deadline
    }

    fn set_deadline(&mut self) {
        let terms = self.drained.values().chain(self.weights.iter().map(|weight| &weight.terms));
        self.next_deadline = terms.filter_map(|terms| terms.until).min();
    }

    /// Ends what was to hold only until now.
    pub(super) fn expire(&mut self, now: BrokerTime) -> Vec<ExpiredOverride> {
        let over = |terms: &Override| terms.until.is_some_and(|until| until <= now);
        let drained =
            self.drained.extract_if(|_, terms| over(terms)).map(|(id, terms)| ExpiredOverride::Drain(id, terms));
        let mut ended: Vec<_> = drained.collect();
        // A hash map has no order of its own: replicas and replays report the same in the same order.
        ended.sort_by_key(|ended| if let ExpiredOverride::Drain(id, _) = ended { id.0 } else { u16::MAX });
        if self.weights.iter().any(|weight| over(&weight.terms)) {
            let weights = Arc::make_mut(&mut self.weights).extract_if(.., |weight| over(&weight.terms));
            ended.extend(weights.map(ExpiredOverride::Weight));
            self.reweighed = true;
        }
        self.set_deadline();
        ended
    }

    /// A pool's targets with the weights that hold now.
    pub(super) fn with_weight_overrides(&self, pool: &RouterPath, root: &Target) -> Target {
        weighted(root, self.weights.iter().filter(|weight| weight.pool == *pool))
    }

    /// Whether the pools' trees have to be built anew; the caller does so.
    pub(super) const fn take_reweighed(&mut self) -> bool {
        std::mem::replace(&mut self.reweighed, false)
    }
}

/// A pool's targets with these weights.
pub(super) fn weighted<'w>(root: &Target, weights: impl Iterator<Item = &'w Weight>) -> Target {
    let mut root = root.clone();
    for weight in weights {
        set_weight(&mut root, &weight.router, weight.weight);
    }
    root
}

fn set_weight(target: &mut Target, router: &RouterPath, weight: f64) {
    match &mut target.kind {
        TargetKind::Router(path) if path == router => target.weight = weight,
        TargetKind::Router(_) => {}
        TargetKind::Branch { targets, .. } => targets.iter_mut().for_each(|inner| set_weight(inner, router, weight)),
    }
}
