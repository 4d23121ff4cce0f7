//! Load-balancing policies: each turns a branch of targets into candidates in order of preference. One file each.
//!
//! A policy yields an order rather than one pick: the first candidate serves the request, and a retry within the same
//! request continues along the order. It sees the children that may serve ([`EligibleChild`]) and those already
//! picked (`drawn`), and picks the next one. Policies hold no state: the position of a round robin is in the
//! [`Tree`], and only a committed choice moves it.

mod candidates;
mod conditional;
mod fallback;
mod fastest;
mod least_busy;
mod models;
mod p2c;
pub mod query;
mod reading;
mod round_robin;
mod sticky;
mod tree;
mod weighted;

use rand::Rng;
use smallvec::SmallVec;

pub use candidates::{Candidate, CandidateCursor, Candidates, PickContext, PickPath, PickStep};
pub use models::Models;
pub use query::{Field, Query, Test};
pub use reading::{ReadRequest, RequestInputs};
pub use sticky::hash;
pub use tree::{
    Condition, Eligibility, Eligible, Ineligible, LoadView, NodeId, Policy, RouterFilter, Target, TargetKind,
    TargetStatus, Tier, Tree, TreeDetails,
};

use types::request::Request;
use types::router::RouterId;

/// A child that may serve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EligibleChild {
    /// Its index among all children of the branch.
    pub child: u16,
    /// Its node.
    pub node: NodeId,
    /// Its router, if it is a leaf.
    pub router: Option<RouterId>,
    /// Its weight relative to its siblings.
    pub weight: f64,
    /// The sum of the weights in its block up to and including this one.
    pub cumulative_weight: f64,
    /// The hash input of `sticky`; independent of the replica and of the order in the file.
    pub identity: u64,
    /// Smooth weighted round robin's current weight.
    pub current_weight: f64,
}

impl EligibleChild {
    #[inline]
    const fn pick(&self, p: Option<f64>, reason: PickReason) -> Pick {
        Pick { child: self.child, node: self.node, router: self.router, p, reason }
    }
}

/// The eligible children of a branch.
#[derive(Debug, Clone, Copy)]
pub struct Choices<'a> {
    /// In configured order.
    pub eligible: &'a Eligible,
    /// Their load.
    pub load: LoadView<'a>,
}

/// The child that a policy picks next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// Its index among all children of the branch.
    pub child: u16,
    /// Its node.
    pub node: NodeId,
    /// Its router, if it is a leaf.
    pub router: Option<RouterId>,
    /// The probability of this pick; `None` where it was neither chance nor certain.
    pub p: Option<f64>,
    /// The reason.
    pub reason: PickReason,
}

/// Why a child was picked; the tree knows the names of fields and conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PickReason {
    /// Drawn by weight.
    Random,
    /// Round robin.
    RoundRobin,
    /// The better of two drawn children.
    TwoChoices,
    /// The first eligible one in order.
    First,
    /// By the hash of the request's key.
    Sticky,
    /// It made what the request names.
    Affinity,
    /// Drawn by weight, because the request has no key, or one that is too long.
    NoKey(Length),
    /// The condition of this number holds.
    Matched(u16, Length),
    /// No condition holds.
    Default(Length),
    /// No condition holds, and there is no default.
    NoMatch(Length),
}

/// Whether what decided was short enough to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// All of it.
    Fits,
    /// Not all: see [`types::request::MAX_FIELD_VALUE_BYTES`].
    TooLong,
}

impl Policy {
    /// The next child after `drawn`.
    #[inline(always)]
    fn next<Q: Request, R: Rng>(&self, choices: Choices<'_>, drawn: &[u16], request: &Q, rng: &mut R) -> Option<Pick> {
        let eligible = choices.eligible;
        match self {
            Self::LoadBalance => weighted::next(choices, drawn, rng, PickReason::Random),
            Self::RoundRobin => round_robin::next(eligible, drawn),
            Self::Fallback => fallback::next(eligible, drawn),
            Self::Fastest => fastest::next(choices, drawn, rng),
            Self::LeastBusy => least_busy::next(choices, drawn, rng),
            Self::Sticky(key) => sticky::next(key, choices, drawn, request, rng),
            Self::Conditional { conditions, default } => {
                conditional::next(conditions, *default, eligible, drawn, request)
            }
        }
    }
}

/// The children that were not picked yet.
fn untried<'a>(eligible: &'a Eligible, drawn: &[u16]) -> impl Iterator<Item = &'a EligibleChild> {
    let mut drawn: SmallVec<[u16; 8]> = drawn.into();
    drawn.sort_unstable();
    eligible.iter().filter(move |entry| drawn.binary_search(&entry.child).is_err())
}

#[cfg(test)]
mod tests;
