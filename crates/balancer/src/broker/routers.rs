//! The routers and what is known of each.
//!
//! Pools and deadlines are derived from the routers' health. So health has one way to change, [`Routers::change_health`], which
//! sees whether what is derived from it is still right. A change that makes no difference to anybody costs a comparison.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{RouterSettings, RouterStats};
use crate::health::{Health, HealthSettings};
use crate::strategy::NodeId;
use crate::table::Table;
use types::router::{PoolId, RouterId, RouterPath};
use types::time::BrokerTime;

/// One router and what is known about it. Kept when a change of settings leaves the router out: it may come back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Router {
    pub(super) path: RouterPath,
    pub(super) stats: RouterStats,
    /// Shared with all that have the same from the same place.
    settings: Arc<RouterSettings>,
    /// Only the relay reaches it, and so reports all that its calls show.
    relayed: bool,
    health: Health,
    /// Its leaves in all pools.
    leaves: SmallVec<[(PoolId, NodeId); 2]>,
}

/// What a router's health allows now: all that its place in a pool is derived from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Readiness {
    /// Its part of its weight, from 0 (gets no calls) to 1.
    pub(super) share: f64,
    pub(super) probing: bool,
    pub(super) is_ejected: bool,
    pub(super) waits_for_upstream_hint: bool,
}

/// All that is derived from the health of a router that is not simply serving.
#[derive(Debug, PartialEq)]
struct Derived {
    due: Option<BrokerTime>,
    readiness: Readiness,
}

impl Router {
    pub(super) fn leaves(&self) -> &[(PoolId, NodeId)] {
        &self.leaves
    }

    pub(super) const fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn settings(&self) -> &RouterSettings {
        &self.settings
    }

    /// When time alone changes its health.
    pub(super) fn due(&self) -> Option<BrokerTime> {
        self.health.due(&self.settings.health)
    }

    /// Whether the next request may go here, as far as its health goes.
    pub(super) fn may_serve(&self) -> bool {
        self.health.may_serve(&self.settings.health)
    }

    /// What its health allows now.
    pub(super) fn readiness(&self) -> Readiness {
        Readiness {
            share: self.health.share(&self.settings.health),
            probing: self.health.is_probing(),
            is_ejected: self.health.until().is_some(),
            waits_for_upstream_hint: self.health.waits_for_upstream_hint(),
        }
    }

    /// `None` while it serves in full: nothing is due, and its share is whole. Nearly all outcomes find it so and leave it so.
    fn derived(&self) -> Option<Derived> {
        let derived = || Derived { due: self.due(), readiness: self.readiness() };
        (!self.health.serves_in_full()).then(derived)
    }
}

/// All routers, and which of them pools have to hear about.
#[derive(Debug, Clone, Default)]
pub(super) struct Routers {
    all: Table<RouterId, Router>,
    /// When time alone changes one.
    deadlines: BTreeSet<(BrokerTime, RouterId)>,
    /// The earliest of them, because each decision asks.
    next_deadline: Option<BrokerTime>,
    /// How many are on probation. Mostly none is, and then a decision need not look at its router's health.
    on_probation: usize,
    /// Those whose pools do not know yet how they stand.
    changed: Vec<RouterId>,
    /// The pools are new: none of them knows.
    stale: bool,
}

impl Deref for Routers {
    type Target = Table<RouterId, Router>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Routers {
    /// A new one, which serves; `None` if there is no room for one more.
    pub(super) fn push(&mut self, path: RouterPath, settings: Arc<RouterSettings>, relayed: bool) -> Option<RouterId> {
        let (stats, health, leaves) = (RouterStats::default(), Health::default(), SmallVec::new());
        self.all.push(Router { path, stats, settings, relayed, health, leaves })
    }

    /// Makes room for this many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.all.reserve(more);
    }

    /// Changes a router's health; `None` if there is no such router.
    pub(super) fn change_health<T>(
        &mut self,
        id: RouterId,
        change: impl FnOnce(&mut Health, &HealthSettings) -> T,
    ) -> Option<T> {
        let router = self.all.get_mut(id)?;
        let before = router.derived();
        let changed = change(&mut router.health, &router.settings.health);
        let after = router.derived();
        if before != after {
            let probes =
                |derived: &Option<Derived>| usize::from(derived.as_ref().is_some_and(|it| it.readiness.probing));
            self.on_probation = self.on_probation + probes(&after) - probes(&before);
            self.changed.push(id);
            let due = |derived: Option<Derived>| derived.and_then(|derived| derived.due);
            self.set_deadline(id, due(before), due(after));
        }
        Some(changed)
    }

    fn set_deadline(&mut self, id: RouterId, before: Option<BrokerTime>, after: Option<BrokerTime>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.deadlines.remove(&(before, id));
        }
        self.deadlines.extend(after.map(|after| (after, id)));
        self.next_deadline = self.deadlines.first().map(|(due, _)| *due);
    }

    /// Whether a call to this one is a probe.
    pub(super) fn is_on_probation(&self, id: RouterId) -> bool {
        self.on_probation > 0 && self.all.get(id).is_some_and(|router| router.health.is_probing())
    }

    /// When time alone changes one of them next.
    pub(super) const fn next_deadline(&self) -> Option<BrokerTime> {
        self.next_deadline
    }

    /// Those that time has changed by now, by their ids.
    pub(super) fn due(&self, now: BrokerTime) -> Vec<RouterId> {
        let due = self.deadlines.iter().take_while(|(due, _)| *due <= now);
        let mut due: Vec<RouterId> = due.map(|(_, id)| *id).collect();
        due.sort_unstable();
        due
    }

    /// The pools have other ids now, or are no more.
    pub(super) fn renumber_pools(&mut self, now: &Table<PoolId, Option<PoolId>>) {
        for router in self.all.values_mut() {
            router.stats.selections.renumber(|pool| now.get(pool).copied().flatten());
        }
    }

    pub(super) fn stats(&mut self, id: RouterId) -> Option<&mut RouterStats> {
        self.all.get_mut(id).map(|router| &mut router.stats)
    }

    pub(super) fn set_settings(&mut self, id: RouterId, settings: Arc<RouterSettings>, relayed: bool) {
        if let Some(router) = self.all.get_mut(id) {
            (router.settings, router.relayed) = (settings, relayed);
        }
    }

    /// Whether only the relay reaches this one.
    pub(super) fn is_relayed(&self, id: RouterId) -> bool {
        self.all.get(id).is_some_and(|router| router.relayed)
    }

    /// The pools are new, with these leaves: all is derived anew.
    pub(super) fn set_leaves(&mut self, leaves: impl Iterator<Item = (PoolId, NodeId, RouterId)>) {
        self.all.values_mut().for_each(|router| router.leaves.clear());
        for (pool, leaf, id) in leaves {
            if let Some(router) = self.all.get_mut(id) {
                router.leaves.push((pool, leaf));
            }
        }
        self.deadlines = self.all.iter().filter_map(|(id, router)| Some((router.due()?, id))).collect();
        self.next_deadline = self.deadlines.first().map(|(due, _)| *due);
        self.stale = true;
    }

    /// Something else than its health says how a router stands.
    pub(super) fn mark_changed(&mut self, id: RouterId) {
        self.changed.push(id);
    }

    /// Whether all pools must be updated about them; the caller does that.
    pub(super) fn take_stale(&mut self) -> bool {
        let stale = std::mem::take(&mut self.stale);
        if stale {
            self.changed.clear();
        }
        stale
    }

    /// Whether pools have to hear about any.
    pub(super) const fn is_stale(&self) -> bool {
        self.stale || !self.changed.is_empty()
    }

    /// Routers that the pools must be updated about; the caller does that.
    pub(super) fn take_changed(&mut self) -> Vec<RouterId> {
        std::mem::take(&mut self.changed)
    }
}
