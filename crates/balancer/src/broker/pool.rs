//! A pool: the trees behind one ingress, and whether anything in them is available.
//!
//! One tree has the targets that may serve. Copies of it, most of the time absent, have those that may serve only
//! when nothing else can: first the last resort, then, if configured, the disabled ones.

use super::{Pass, Route, RouteKind, SelectionCounts};
use crate::health::{Health, HealthSettings};
use crate::load::Loads;
use crate::strategy::{NodeId, RateLimitFilter, Tree};
use types::request::RequestNeeds;
use types::router::{RouterId, RouterPath};
use types::transition::BrokerEvent;

/// What happens to a request when every router it may go to is disabled: `when_all_disabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAllDisabled {
    /// The gateway serves it by the ingress's own endpoint, as it documents.
    #[default]
    Pass,
    /// The router that is back first gets one request at a time; others pass.
    Soonest,
    /// Any of them gets it, except those whose upstream named the end of the cooldown.
    Any,
}

/// What the rate limits of a pool need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum RateLimitScope {
    /// No router has limits.
    #[default]
    Nothing,
    /// Limits on requests, or reported quotas only.
    Calls,
    /// Limits on tokens too, so a request's size must be known.
    Tokens,
}

/// The targets behind one ingress.
#[derive(Debug, Clone)]
pub struct Pool {
    ingress: RouterPath,
    tree: Tree,
    /// The targets that are being probed already; absent if there are none.
    last_resort: Option<Tree>,
    /// The disabled targets; absent if there are none, or none of them may serve.
    disabled: Option<Tree>,
    when_all_disabled: WhenAllDisabled,
    limits: RateLimitScope,
    /// Whether it was available at the last event.
    served: bool,
    selections: SelectionCounts,
}

impl Pool {
    /// `served`: whether it was available before, true for a new one; and its counts so far.
    pub(super) fn new(
        ingress: RouterPath,
        tree: Tree,
        when_all_disabled: WhenAllDisabled,
        (served, selections): (bool, SelectionCounts),
    ) -> Self {
        let limits = RateLimitScope::Nothing;
        Self { ingress, tree, last_resort: None, disabled: None, when_all_disabled, limits, served, selections }
    }

    /// The same over other targets, before its first refresh.
    pub(super) fn over(&self, tree: Tree) -> Self {
        let selections = SelectionCounts::default();
        let (last_resort, disabled) = (None, None);
        let Self { ingress, when_all_disabled, limits, .. } = self;
        let (ingress, when_all_disabled, limits) = (ingress.clone(), *when_all_disabled, *limits);
        Self { ingress, tree, last_resort, disabled, when_all_disabled, limits, served: true, selections }
    }

    /// The router that clients call.
    pub const fn ingress(&self) -> &RouterPath {
        &self.ingress
    }

    /// Its targets.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The counts of its decisions.
    pub const fn selections(&self) -> &SelectionCounts {
        &self.selections
    }

    pub(super) fn count(&mut self, route: &Route) {
        self.selections.count(route);
    }

    pub(super) fn count_pass(&mut self, pass: &Pass) {
        self.selections.count_pass(pass);
    }

    /// Commits a choice in the tree that it came from.
    pub(super) fn advance(&mut self, sent: RouteKind, leaf: NodeId, among: Option<RateLimitFilter<'_>>) {
        let tree = match sent {
            RouteKind::Normal | RouteKind::Probe => Some(&mut self.tree),
            RouteKind::LastResort => self.last_resort.as_mut(),
            RouteKind::Panic => self.disabled.as_mut(),
        };
        if let Some(tree) = tree {
            tree.advance(leaf, among);
        }
    }

    /// The targets that may serve only when nothing else can, because they are being probed already.
    pub const fn last_resort(&self) -> Option<&Tree> {
        self.last_resort.as_ref()
    }

    /// The disabled targets that may serve when nothing else can.
    pub const fn disabled(&self) -> Option<&Tree> {
        self.disabled.as_ref()
    }

    /// What happens to requests when all targets are disabled.
    pub const fn when_all_disabled(&self) -> WhenAllDisabled {
        self.when_all_disabled
    }

    /// What its policies and rate limits read of requests.
    pub fn needs(&self) -> RequestNeeds {
        let needs = self.tree.needs();
        RequestNeeds { body: needs.body || self.limits == RateLimitScope::Tokens, ..needs }
    }

    /// Whether one of its routers has rate limits.
    pub(super) const fn has_rate_limits(&self) -> bool {
        !matches!(self.limits, RateLimitScope::Nothing)
    }

    pub(super) const fn configure_rate_limits(&mut self, limits: RateLimitScope) {
        self.limits = limits;
    }

    /// Refreshes which targets may serve; returns an event if the pool became unavailable or available.
    pub(super) fn refresh_medians(&mut self, loads: &Loads) {
        self.tree.refresh_medians(loads);
    }

    /// Whether a target that is not disabled may serve.
    pub fn is_available(&self) -> bool {
        self.tree.has_eligible() || self.last_resort.as_ref().is_some_and(Tree::has_eligible)
    }

    /// Whether this is one of its routers and no other one serves.
    pub(super) fn is_last_serving(&self, router: RouterId, serves: impl Fn(RouterId) -> bool) -> bool {
        let mut others = self.tree.eligible_routers().filter(|open| *open != router);
        self.tree.routers().any(|of_it| of_it == router) && !others.any(serves)
    }

    /// Renews who may serve; a change if the pool became empty or is no longer so.
    pub(super) fn refresh<'a>(
        &mut self,
        router: impl Fn(RouterId) -> Option<(&'a Health, &'a HealthSettings)>,
    ) -> Option<BrokerEvent> {
        let share = |id| router(id).map_or(0.0, |(health, settings)| health.share(settings));
        let besides =
            |id| router(id).is_some_and(|(health, settings)| health.is_probing() && !health.may_serve(settings));
        let disabled = |id| router(id).is_some_and(|(health, _)| self.when_all_disabled.offers(health));
        self.tree.refresh(share);
        self.last_resort = self.tree.restricted_to(besides);
        self.disabled = self.tree.restricted_to(disabled);
        let serves = self.is_available();
        let served = std::mem::replace(&mut self.served, serves);
        match (served, serves) {
            (true, false) => {
                Some(BrokerEvent::AllDisabled { ingress: self.ingress.clone(), uses_disabled: self.disabled.is_some() })
            }
            (false, true) => Some(BrokerEvent::SomeEnabled(self.ingress.clone())),
            _ => None,
        }
    }
}

impl WhenAllDisabled {
    /// Whether a disabled router may serve.
    fn offers(self, health: &Health) -> bool {
        match self {
            Self::Pass => false,
            Self::Soonest => health.until().is_some(),
            Self::Any => health.until().is_some() && !health.waits_for_upstream_hint(),
        }
    }
}
