//! Strategies: each turns a branch of targets into candidates in order of preference. One file each.
//!
//! A strategy yields an order and not a pick: the first candidate serves this request, and whoever retries inside the same
//! request walks on along the same order. It sees only the children that may serve ([`Open`]) and those it has named already
//! (`drawn`), and names the next. It remembers nothing: whose turn it is stands in the [`Tree`], and only a choice that was
//! used moves it.

mod conditional;
mod fallback;
mod fastest;
mod least_busy;
mod order;
pub mod query;
mod reading;
mod round_robin;
mod sticky;
mod tree;
mod two;
mod weighted;

use rand::Rng;

pub use order::{Candidate, Lore, Order, Steps, Walk, first};
pub use query::{Field, Query, Test};
pub use reading::{Asks, Read};
pub use sticky::hash;
pub use tree::{Condition, Kind, Known, Mode, Needs, NodeId, Roominess, Shown, Target, Tree, WhyClosed};

use crate::request::Request;
use crate::router::RouterId;

/// A child that may serve, among its siblings that may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Open {
    /// Its place among all children of the branch.
    pub child: u16,
    /// Its router, if it is a leaf.
    pub router: Option<RouterId>,
    /// Its share, relative to its siblings'.
    pub weight: f64,
    /// The sum of the weights up to and with this one.
    pub upto: f64,
    /// What it is hashed by: the same in every replica and however the file is ordered.
    pub identity: u64,
    /// How far its turn has come, in a round robin.
    pub turn: f64,
}

/// Those of a branch that may serve.
#[derive(Debug, Clone, Copy)]
pub struct Those<'a> {
    /// In the order in which they were written.
    pub open: &'a [Open],
    /// All weigh the same.
    pub even: bool,
    /// What was learnt of them.
    pub known: Known<'a>,
}

/// The next child that a strategy names, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Named {
    /// Its place among all children of the branch.
    pub child: u16,
    /// The probability with which it was named; absent where it was neither chance nor certain.
    pub p: Option<f64>,
    /// Why.
    pub note: Note,
}

/// Why a child was named, in a word; the tree knows the names that belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Drawn by weight.
    Random,
    /// It was its turn.
    Turn,
    /// The better one of two.
    OfTwo,
    /// The first in order that may serve.
    First,
    /// By the hash of a request's key.
    Sticky,
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
    /// Not all: see [`crate::request::LONGEST_VALUE`].
    TooLong,
}

impl Mode {
    /// The next child after those already `drawn`.
    fn next<Q: Request, R: Rng>(&self, those: Those<'_>, drawn: &[u16], request: &Q, rng: &mut R) -> Option<Named> {
        let open = those.open;
        match self {
            Self::LoadBalance => weighted::next(those, drawn, rng, Note::Random),
            Self::RoundRobin => round_robin::next(open, drawn),
            Self::Fallback => fallback::next(open, drawn),
            Self::Fastest => fastest::next(those, drawn, rng),
            Self::LeastBusy => least_busy::next(those, drawn, rng),
            Self::Sticky(key) => sticky::next(key, those, drawn, request, rng),
            Self::Conditional { conditions, default } => conditional::next(conditions, *default, open, drawn, request),
        }
    }
}

/// Those that were not named yet.
fn left<'a>(open: &'a [Open], drawn: &[u16]) -> impl Iterator<Item = &'a Open> {
    open.iter().filter(|open| !drawn.contains(&open.child))
}

#[cfg(test)]
mod tests;
