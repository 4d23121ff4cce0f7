//! Counts of decisions by router, pool and reason, and what else a decision changes. Bounded, whatever clients send.

use smallvec::SmallVec;

use super::{Broker, LimitVerdict, Pass, Route, RouteKind, WhenAllDisabled};
use crate::load::rate_limit::LimitExceeded;
use crate::strategy::{PickReason, RouterFilter};
use types::router::PoolId;
use types::time::BrokerTime;

types::named_enum! {
    /// Why a router was selected, as counted in metrics.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum SelectionReason {
        /// Drawn by weight.
        Random = "random",
        /// Round robin.
        RoundRobin = "round_robin",
        /// The first in order.
        First = "first",
        /// The better of two.
        TwoChoices = "two_choices",
        /// By the hash of the request's key.
        Sticky = "sticky",
        /// It made what the request names.
        Affinity = "affinity",
        /// Drawn, because the request has no key.
        NoKey = "no_key",
        /// A condition matched.
        Condition = "condition",
        /// No condition matched.
        Default = "default",
        /// As a probe.
        Probe = "probe",
        /// It is being probed already, and no other one is available.
        LastResort = "last_resort",
        /// It is disabled, nothing else is left, and `when_all_disabled` asks for it.
        Panic = "panic",
    }
}

impl SelectionReason {
    /// The reason of the branch next to the router, unless the kind of the choice is the reason.
    fn from_route(route: &Route) -> Self {
        match (route.kind, route.chosen.why.last()) {
            (RouteKind::Probe, _) => Self::Probe,
            (RouteKind::LastResort, _) => Self::LastResort,
            (RouteKind::Panic, _) => Self::Panic,
            (RouteKind::Normal, Some(step)) => match step.reason {
                PickReason::Random => Self::Random,
                PickReason::RoundRobin => Self::RoundRobin,
                PickReason::First => Self::First,
                PickReason::TwoChoices => Self::TwoChoices,
                PickReason::Sticky => Self::Sticky,
                PickReason::Affinity => Self::Affinity,
                PickReason::NoKey(_) => Self::NoKey,
                PickReason::Matched(..) => Self::Condition,
                PickReason::Default(_) | PickReason::NoMatch(_) => Self::Default,
            },
            (RouteKind::Normal, None) => Self::Random,
        }
    }
}

/// The requests of a pool that got no router. They only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassCounts {
    /// While no target was available.
    pub all_disabled: u64,
    /// Those that matched no available target.
    pub no_matching_target: u64,
}

impl PassCounts {
    pub(super) const fn count(&mut self, pass: &Pass) {
        match pass {
            Pass::UnknownIngress => {}
            Pass::AllDisabled(_) => self.all_disabled += 1,
            Pass::NoMatchingTarget(..) => self.no_matching_target += 1,
        }
    }
}

/// How often one router was selected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SelectionCounts {
    total: u64,
    /// Without pools that are no more. Most routers are in one pool and are selected for one or two reasons.
    by_reason: SmallVec<[(PoolId, SelectionReason, u64); 1]>,
}

impl SelectionCounts {
    fn count(&mut self, pool: PoolId, reason: SelectionReason) {
        self.total += 1;
        match self.by_reason.iter_mut().find(|(counted, known, _)| *counted == pool && *known == reason) {
            Some((.., count)) => *count += 1,
            None => self.by_reason.push((pool, reason, 1)),
        }
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn by_reason(&self) -> impl Iterator<Item = (PoolId, SelectionReason, u64)> {
        self.by_reason.iter().copied()
    }

    /// The settings have changed: each pool has the id that `now` gives, or is no more.
    pub(super) fn renumber(&mut self, now: impl Fn(PoolId) -> Option<PoolId>) {
        self.by_reason.retain(|(pool, ..)| now(*pool).map(|id| *pool = id).is_some());
    }
}

impl Broker {
    /// A request got this one.
    pub(super) fn count_choice(&mut self, route: &Route, now: BrokerTime) {
        self.decisions = self.decisions.wrapping_add(1);
        let of_client = self.client_pools.base(route.pool);
        let pool = match of_client {
            Some(_) => self.client_pools.get_mut(route.pool),
            None => self.pools.get_mut(route.pool),
        };
        let Some(pool) = pool else { return };
        if matches!(route.reservation.limit, LimitVerdict::Within) {
            pool.advance(route.kind, route.chosen.leaf, None);
        } else {
            if let LimitVerdict::Exceeded(LimitExceeded::Model(place)) = route.reservation.limit {
                self.model_limits.asked(route.router(), place, now);
            }
            let limits = route.reservation.among(self.limits.as_ref(), &self.model_limits);
            let is_within = |router| limits.is_none_or(|limits| limits.exceeded(router).is_none());
            pool.advance(route.kind, route.chosen.leaf, limits.map(|_| RouterFilter(&is_within)).as_ref());
        }
        let one_at_a_time = match route.kind {
            RouteKind::Normal | RouteKind::LastResort => false,
            RouteKind::Probe => true,
            RouteKind::Panic => pool.when_all_disabled() == WhenAllDisabled::Soonest,
        };
        self.start_call(route, one_at_a_time, now);
        if let Some(stats) = self.routers.stats(route.router()) {
            stats.selections.count(of_client.unwrap_or(route.pool), SelectionReason::from_route(route));
        }
        if one_at_a_time {
            self.routers
                .change_health(route.router(), |health, settings| health.acquire_probe(route.number, settings, now));
        }
    }

    /// A request got no router.
    pub(super) fn count_pass(&mut self, pass: &Pass) {
        match pass {
            Pass::UnknownIngress => self.unknown_ingress = self.unknown_ingress.wrapping_add(1),
            Pass::AllDisabled(pool) | Pass::NoMatchingTarget(pool, _) => {
                let pool = self.client_pools.base(*pool).unwrap_or(*pool);
                if let Some(pool) = self.pools.get_mut(pool) {
                    pool.count_pass(pass);
                }
            }
        }
    }
}
