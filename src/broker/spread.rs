//! What a pool's calls got: counts by router and reason. A fixed number per router, whatever clients send.

use super::{Broker, Pass, Route, Sent};
use crate::router::RouterId;
use crate::strategy::Note;

/// Why a router was named, as far as it is worth a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Drawn by weight.
    Random,
    /// It was its turn.
    Turn,
    /// The first in order.
    First,
    /// The better of two.
    OfTwo,
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
    WhileDisabled,
}

impl Reason {
    /// All of them; the place of each is its number.
    pub const ALL: [Self; 11] = [
        Self::Random,
        Self::Turn,
        Self::First,
        Self::OfTwo,
        Self::Sticky,
        Self::NoKey,
        Self::Condition,
        Self::Default,
        Self::Probe,
        Self::LastResort,
        Self::WhileDisabled,
    ];

    /// As metrics spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Turn => "turn",
            Self::First => "first",
            Self::OfTwo => "of_two",
            Self::Sticky => "sticky",
            Self::NoKey => "no_key",
            Self::Condition => "condition",
            Self::Default => "default",
            Self::Probe => "probe",
            Self::LastResort => "last_resort",
            Self::WhileDisabled => "while_disabled",
        }
    }

    /// The reason of the branch next to the router, unless the call was sent for another purpose.
    fn of(route: &Route) -> Self {
        match (route.sent, route.chosen.why.last()) {
            (Sent::ToProve, _) => Self::Probe,
            (Sent::AsLastResort, _) => Self::LastResort,
            (Sent::WhileDisabled, _) => Self::WhileDisabled,
            (Sent::ToServe, Some((_, note))) => match note {
                Note::Random => Self::Random,
                Note::Turn => Self::Turn,
                Note::First => Self::First,
                Note::OfTwo => Self::OfTwo,
                Note::Sticky => Self::Sticky,
                Note::NoKey(_) => Self::NoKey,
                Note::Matched(..) => Self::Condition,
                Note::Default(_) | Note::NoMatch(_) => Self::Default,
            },
            (Sent::ToServe, None) => Self::Random,
        }
    }
}

/// The counts of one pool. They only ever rise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spread {
    /// By the router's id.
    routers: Vec<[u64; Reason::ALL.len()]>,
    /// Calls for which nothing may serve.
    pub all_disabled: u64,
    /// Calls that nothing was meant for, or nothing that may serve.
    pub nothing_for_it: u64,
}

impl Spread {
    pub(super) fn count(&mut self, route: &Route) {
        let place = usize::from(route.router().0);
        if self.routers.len() <= place {
            self.routers.resize(place + 1, Default::default());
        }
        if let Some(count) = self.routers.get_mut(place).and_then(|counts| counts.get_mut(Reason::of(route) as usize)) {
            *count += 1;
        }
    }

    pub(super) fn count_pass(&mut self, pass: &Pass) {
        match pass {
            Pass::NotOurs => {}
            Pass::AllDisabled(_) => self.all_disabled += 1,
            Pass::NothingForIt(..) => self.nothing_for_it += 1,
        }
    }

    /// Who was named, why, and how often.
    pub fn counts(&self) -> impl Iterator<Item = (RouterId, Reason, u64)> {
        (0_u16..).zip(&self.routers).flat_map(|(router, counts)| {
            Reason::ALL.into_iter().zip(counts).map(move |(reason, count)| (RouterId(router), reason, *count))
        })
    }
}

impl Broker {
    /// A request got nothing.
    pub(super) fn count_pass(&mut self, pass: &Pass) {
        match pass {
            Pass::NotOurs => self.not_ours = self.not_ours.wrapping_add(1),
            Pass::AllDisabled(pool) | Pass::NothingForIt(pool, _) => {
                if let Some(pool) = self.pools.get_mut(usize::from(pool.0)) {
                    pool.count_pass(pass);
                }
            }
        }
    }
}
