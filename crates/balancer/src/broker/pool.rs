//! A pool: the trees behind one ingress, and whether anything in them may serve.
//!
//! One tree holds those that may serve. Where some may serve only if nothing else can, a copy of it holds those: first the
//! last resort, then, if the user wants that, the disabled ones. Most of the time there is no copy.

use super::{Pass, Route, RouteKind, SelectionCounts};
use crate::health::{Health, HealthSettings};
use crate::load::Loads;
use crate::strategy::{NodeId, RateLimitFilter, Tree};
use types::request::RequestNeeds;
use types::router::{RouterId, RouterPath};
use types::transition::BrokerEvent;

/// What becomes of a request when every router that it may go to is disabled: `when_all_disabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAllDisabled {
    /// The gateway serves it by the ingress's own endpoint, as its documents say.
    #[default]
    Pass,
    /// The router that is back first gets it, one request at a time; others pass.
    Soonest,
    /// Any of them gets it, except those whose upstream named a moment to wait for.
    Any,
}

/// What of a pool's routers has a rate_limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum RateLimitScope {
    /// None of them.
    #[default]
    Nothing,
    /// Requests, or what upstreams say is left.
    Calls,
    /// Tokens too, so that a request's size must be known.
    Tokens,
}

/// What stands behind one ingress.
#[derive(Debug, Clone)]
pub struct Pool {
    ingress: RouterPath,
    tree: Tree,
    /// Those that are being found out about already; absent where there are none.
    last_resort: Option<Tree>,
    /// Those that are disabled; absent where there are none, or none of them may serve.
    disabled: Option<Tree>,
    when_all_disabled: WhenAllDisabled,
    limits: RateLimitScope,
    /// Whether anything could serve when that was last told.
    served: bool,
    selections: SelectionCounts,
}

impl Pool {
    /// `served`: what was last told of this ingress; a new one is expected to serve; and what its calls got so far.
    pub(super) fn new(
        ingress: RouterPath,
        tree: Tree,
        when_all_disabled: WhenAllDisabled,
        (served, selections): (bool, SelectionCounts),
    ) -> Self {
        let limits = RateLimitScope::Nothing;
        Self { ingress, tree, last_resort: None, disabled: None, when_all_disabled, limits, served, selections }
    }

    /// The router that clients call.
    pub const fn ingress(&self) -> &RouterPath {
        &self.ingress
    }

    /// Its targets.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What its calls got.
    pub const fn selections(&self) -> &SelectionCounts {
        &self.selections
    }

    pub(super) fn count(&mut self, route: &Route) {
        self.selections.count(route);
    }

    pub(super) fn count_pass(&mut self, pass: &Pass) {
        self.selections.count_pass(pass);
    }

    /// A choice was used: whoever takes turns in the tree that it came from goes on.
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

    /// The targets that may serve only if nothing else can: they are being found out about already.
    pub const fn last_resort(&self) -> Option<&Tree> {
        self.last_resort.as_ref()
    }

    /// The targets that are disabled and may serve nevertheless if nothing else can.
    pub const fn disabled(&self) -> Option<&Tree> {
        self.disabled.as_ref()
    }

    /// What becomes of requests when all are disabled.
    pub const fn when_all_disabled(&self) -> WhenAllDisabled {
        self.when_all_disabled
    }

    /// What it asks of requests: for its modes, and for its limits.
    pub fn needs(&self) -> RequestNeeds {
        let needs = self.tree.needs();
        RequestNeeds { body: needs.body || self.limits == RateLimitScope::Tokens, ..needs }
    }

    /// Whether one of its routers has a rate_limit.
    pub(super) const fn has_rate_limits(&self) -> bool {
        !matches!(self.limits, RateLimitScope::Nothing)
    }

    pub(super) const fn configure_rate_limits(&mut self, limits: RateLimitScope) {
        self.limits = limits;
    }

    /// Finds the middle of what is known of its routers, for modes that choose by it.
    pub(super) fn refresh_medians(&mut self, loads: &Loads) {
        self.tree.refresh_medians(loads);
    }

    /// Whether anything may serve that is not disabled.
    pub fn is_available(&self) -> bool {
        self.tree.has_eligible() || self.last_resort.as_ref().is_some_and(Tree::has_eligible)
    }

    /// Whether this is one of its routers, and no other one serves.
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
    /// Whether a router may serve caveat it is disabled.
    fn offers(self, health: &Health) -> bool {
        match self {
            Self::Pass => false,
            Self::Soonest => health.until().is_some(),
            Self::Any => health.until().is_some() && !health.waits_for_upstream_hint(),
        }
    }
}
