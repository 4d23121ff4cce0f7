//! A pool: the trees behind one ingress, and whether anything in them is available.
//!
//! A target is in one tier of the tree: those that serve, those that are being probed already, and, if configured, the
//! disabled ones. Each tier is used only where nothing in those before it may serve a request.

use super::routers::Readiness;
use super::{Pass, PassCounts, RouteKind};
use crate::load::Loads;
use crate::strategy::{Eligibility, NodeId, RouterFilter, Tier, Tree};
use types::request::RequestNeeds;
use types::router::{RouterId, RouterPath};
use types::transition::BrokerEvent;

/// What happens to a request when every router it may go to is disabled: `when_all_disabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
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
    when_all_disabled: WhenAllDisabled,
    limits: RateLimitScope,
    /// Whether it was available at the last event.
    served: bool,
    /// When the eligibility of its routers changed last, counted by the broker's changes.
    changed_at: u64,
    passes: PassCounts,
}

impl Pool {
    /// A new one, before its first refresh.
    pub(super) fn new(ingress: RouterPath, tree: Tree, when_all_disabled: WhenAllDisabled) -> Self {
        let (limits, passes) = (RateLimitScope::Nothing, PassCounts::default());
        Self { ingress, tree, when_all_disabled, limits, served: true, changed_at: 0, passes }
    }

    /// In the place of the one at this ingress under the settings before: round robins and counts go on.
    pub(super) fn continuing(mut self, before: &Self) -> Self {
        self.tree.inherit_rr_state(&before.tree);
        Self { served: before.is_available(), passes: before.passes, ..self }
    }

    /// The same over other targets, before its first refresh.
    pub(super) fn over(&self, tree: Tree) -> Self {
        Self { limits: self.limits, ..Self::new(self.ingress.clone(), tree, self.when_all_disabled) }
    }

    /// The router that clients call.
    pub const fn ingress(&self) -> &RouterPath {
        &self.ingress
    }

    /// Its targets.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Its requests that got no router.
    pub(super) const fn passes(&self) -> PassCounts {
        self.passes
    }

    pub(super) fn count_pass(&mut self, pass: &Pass) {
        self.passes.count(pass);
    }

    /// Commits a choice in the tier that it came from.
    pub(super) fn advance(&mut self, kind: RouteKind, leaf: NodeId, among: Option<&RouterFilter<'_>>) {
        self.tree.advance(leaf, kind.tier(), among);
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

    pub(super) fn refresh_medians(&mut self, loads: &Loads) {
        self.tree.refresh_medians(loads);
    }

    /// Whether a target that is not disabled may serve.
    pub(crate) fn is_available(&self) -> bool {
        self.tree.has_eligible(Tier::Serving) || self.tree.has_eligible(Tier::LastResort)
    }

    /// Whether no router serves a request that this leaf can get, except perhaps the leaf's own.
    pub(super) fn has_no_other(&self, leaf: NodeId, serves: impl Fn(RouterId) -> bool) -> bool {
        let own = self.tree.router(leaf);
        !self.tree.has_alternative(leaf, &|other| Some(other) != own && serves(other))
    }

    /// The eligibility of one of its routers may have changed.
    pub(super) fn set_eligibility(&mut self, leaf: NodeId, router: Option<Readiness>) {
        self.tree.set_eligibility(leaf, self.when_all_disabled.eligibility(router));
    }

    /// Derives anew the eligibility of all of its routers.
    pub(super) fn refresh(&mut self, router: impl Fn(RouterId) -> Option<Readiness>) {
        let when_all_disabled = self.when_all_disabled;
        self.tree.refresh(|id| when_all_disabled.eligibility(router(id)));
    }

    /// When the eligibility of its routers changed last, counted by the broker's changes.
    pub(super) const fn changed_at(&self) -> u64 {
        self.changed_at
    }

    /// Ends a change of this number; an event if the pool became unavailable or available by it.
    pub(super) fn finish_change(&mut self, change: u64) -> Option<BrokerEvent> {
        self.changed_at = change;
        self.tree.rescale_round_robins();
        let serves = self.is_available();
        let (ingress, uses_disabled) = (self.ingress.clone(), self.tree.has_eligible(Tier::Disabled));
        match (std::mem::replace(&mut self.served, serves), serves) {
            (true, false) => Some(BrokerEvent::AllDisabled { ingress, uses_disabled }),
            (false, true) => Some(BrokerEvent::SomeEnabled(ingress)),
            _ => None,
        }
    }
}

impl WhenAllDisabled {
    /// In which tier a router may serve; in none where it is drained, and so not given.
    pub(super) fn eligibility(self, router: Option<Readiness>) -> Eligibility {
        let router = router?;
        match router.share {
            share if share > 0.0 => Some((Tier::Serving, share)),
            _ if router.probing => Some((Tier::LastResort, 1.0)),
            _ => self.offers(router).then_some((Tier::Disabled, 1.0)),
        }
    }

    /// Whether a disabled router may serve.
    const fn offers(self, router: Readiness) -> bool {
        match self {
            Self::Pass => false,
            Self::Soonest => router.is_ejected,
            Self::Any => router.is_ejected && !router.waits_for_upstream_hint,
        }
    }
}
