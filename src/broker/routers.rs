//! The routers and what is known of each.
//!
//! Pools and deadlines are derived from the routers' health. So health has one way to change, [`Routers::change_health`], which
//! sees whether what is derived from it is still right. A change that makes no difference to anybody costs a comparison.

use std::ops::Deref;
use std::sync::Arc;

use super::{Record, RouterSettings};
use crate::health::{Health, Settings};
use crate::router::RouterPath;
use crate::time::Now;

/// One router and what is known about it. Kept when a change of settings leaves the router out: it may come back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Router {
    pub(super) path: RouterPath,
    pub(super) record: Record,
    /// Shared with all that have the same from the same place.
    settings: Arc<RouterSettings>,
    health: Health,
}

/// All that is derived from one router's health.
#[derive(Debug, PartialEq)]
struct Derived {
    due: Option<Now>,
    share: f64,
    probing: bool,
    out: bool,
    waits_as_told: bool,
}

impl Router {
    pub(super) const fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn settings(&self) -> &RouterSettings {
        &self.settings
    }

    /// When time alone changes its health.
    pub(super) fn due(&self) -> Option<Now> {
        self.health.due(&self.settings.health)
    }

    /// Whether the next request may go here, as far as its health goes.
    pub(super) fn may_serve(&self) -> bool {
        self.health.may_serve(&self.settings.health)
    }

    fn derived(&self) -> Derived {
        Derived {
            due: self.due(),
            share: self.health.share(&self.settings.health),
            probing: self.health.is_probing(),
            out: self.health.until().is_some(),
            waits_as_told: self.health.waits_as_told(),
        }
    }
}

/// All routers, in the order of their ids.
#[derive(Debug, Clone, Default)]
pub(super) struct Routers {
    all: Vec<Router>,
    /// What is derived from them is not right any more.
    stale: bool,
}

impl Deref for Routers {
    type Target = [Router];

    fn deref(&self) -> &[Router] {
        &self.all
    }
}

impl Routers {
    /// A new one, which serves.
    pub(super) fn push(&mut self, path: RouterPath, settings: Arc<RouterSettings>) {
        self.all.push(Router { path, record: Record::default(), settings, health: Health::default() });
        self.stale = true;
    }

    /// Changes a router's health; `None` if there is no such router.
    pub(super) fn change_health<T>(
        &mut self,
        place: usize,
        change: impl FnOnce(&mut Health, &Settings) -> T,
    ) -> Option<T> {
        let router = self.all.get_mut(place)?;
        let before = router.derived();
        let changed = change(&mut router.health, &router.settings.health);
        self.stale |= before != router.derived();
        Some(changed)
    }

    pub(super) fn record(&mut self, place: usize) -> Option<&mut Record> {
        self.all.get_mut(place).map(|router| &mut router.record)
    }

    pub(super) fn set_settings(&mut self, place: usize, settings: Arc<RouterSettings>) {
        if let Some(router) = self.all.get_mut(place) {
            router.settings = settings;
            self.stale = true;
        }
    }

    /// The pools are new: nothing has been derived for them yet.
    pub(super) const fn mark_stale(&mut self) {
        self.stale = true;
    }

    /// Whether what is derived from them has to be derived anew; the caller does so.
    pub(super) const fn take_stale(&mut self) -> bool {
        std::mem::replace(&mut self.stale, false)
    }
}
