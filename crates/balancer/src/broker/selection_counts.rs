//! What a pool's calls got: counts by router and reason. A fixed number per router, whatever clients send.

use super::{Broker, Pass, Route, RouteKind};
use crate::strategy::PickReason;
use types::router::RouterId;

/// Why a router was named, as far as it is worth a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SelectionReason {
    /// Drawn by weight.
    Random,
    /// It was its turn.
    Turn,
    /// The first in order.
    First,
    /// The better of two.
    TwoChoices,
    /// By the hash of a key.
    Sticky,
    /// Drawn, because there was no key.
    NoKey,
    /// By a condition.
    Condition,
    /// No condition held.
    Default,
    /// To find out whether it works again.
    Probe,
    /// Nothing better was left than one that is being found out about already.
    LastResort,
    /// Nothing better was left than a disabled one, and the user wants that.
    Panic,
}

impl SelectionReason {
    /// All of them; the place of each is its number.
    pub const ALL: [Self; 11] = [
        Self::Random,
        Self::Turn,
        Self::First,
        Self::TwoChoices,
        Self::Sticky,
        Self::NoKey,
        Self::Condition,
        Self::Default,
        Self::Probe,
        Self::LastResort,
        Self::Panic,
    ];

    /// As metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Turn => "turn",
            Self::First => "first",
            Self::TwoChoices => "two_choices",
            Self::Sticky => "sticky",
            Self::NoKey => "no_key",
            Self::Condition => "condition",
            Self::Default => "default",
            Self::Probe => "probe",
            Self::LastResort => "last_resort",
            Self::Panic => "while_disabled",
        }
    }

    /// The reason of the branch next to the router, unless the call was sent for another purpose.
    fn from_route(route: &Route) -> Self {
        match (route.kind, route.chosen.why.last()) {
            (RouteKind::Probe, _) => Self::Probe,
            (RouteKind::LastResort, _) => Self::LastResort,
            (RouteKind::Panic, _) => Self::Panic,
            (RouteKind::Normal, Some((_, note))) => match note {
                PickReason::Random => Self::Random,
                PickReason::Turn => Self::Turn,
                PickReason::First => Self::First,
                PickReason::TwoChoices => Self::TwoChoices,
                PickReason::Sticky => Self::Sticky,
                PickReason::NoKey(_) => Self::NoKey,
                PickReason::Matched(..) => Self::Condition,
                PickReason::Default(_) | PickReason::NoMatch(_) => Self::Default,
            },
            (RouteKind::Normal, None) => Self::Random,
        }
    }
}

/// The counts of one pool. They only ever rise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectionCounts {
    /// By the router's id.
    routers: Vec<[u64; SelectionReason::ALL.len()]>,
    /// Calls for which nothing may serve.
    pub all_disabled: u64,
    /// Calls that nothing was meant for, or nothing that may serve.
    pub no_matching_target: u64,
}

impl SelectionCounts {
    pub(super) fn count(&mut self, route: &Route) {
        let place = usize::from(route.router().0);
        if self.routers.len() <= place {
            self.routers.resize(place + 1, Default::default());
        }
        if let Some(count) =
            self.routers.get_mut(place).and_then(|counts| counts.get_mut(SelectionReason::from_route(route) as usize))
        {
            *count += 1;
        }
    }

    pub(super) fn count_pass(&mut self, pass: &Pass) {
        match pass {
            Pass::UnknownIngress => {}
            Pass::AllDisabled(_) => self.all_disabled += 1,
            Pass::NoMatchingTarget(..) => self.no_matching_target += 1,
        }
    }

    /// Who was named, why, and how often.
    pub fn counts(&self) -> impl Iterator<Item = (RouterId, SelectionReason, u64)> {
        (0_u16..).zip(&self.routers).flat_map(|(router, counts)| {
            SelectionReason::ALL.into_iter().zip(counts).map(move |(reason, count)| (RouterId(router), reason, *count))
        })
    }
}

impl Broker {
    /// A request got nothing.
    pub(super) fn count_pass(&mut self, pass: &Pass) {
        match pass {
            Pass::UnknownIngress => self.not_ours = self.not_ours.wrapping_add(1),
            Pass::AllDisabled(pool) | Pass::NoMatchingTarget(pool, _) => {
                if let Some(pool) = self.pools.get_mut(usize::from(pool.0)) {
                    pool.count_pass(pass);
                }
            }
        }
    }
}
