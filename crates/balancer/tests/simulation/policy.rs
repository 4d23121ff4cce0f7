//! What every policy is asked for, and how each of them sees a router.

use std::time::Duration;

use crate::call::{Call, PolicyChoice};

/// How a policy treats a router just now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum View {
    /// It gets its share, or this part of it.
    Serving(f64),
    /// It gets a call or so at a time, to find out whether it works.
    Probing,
    /// It is ejected, as all are, and gets its share nevertheless.
    Panic,
    /// It gets nothing.
    Ejected,
}

/// What reaches a policy about a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News<'a> {
    /// The answer itself, at once and without fail: what a proxy sees that stands in the way of the call.
    Answer(&'a Call),
    /// The outcome message of the gateway, to one replica.
    Message(&'a Call, usize),
    /// The gateway's log, to this replica.
    Log(&'a Call, usize),
}

/// A rule set that chooses routers. Time is counted from the start of the run.
pub(crate) trait Policy {
    /// A router for a call.
    fn choose(&mut self, replica: usize, now: Duration) -> PolicyChoice;

    /// Takes news in.
    fn learn(&mut self, news: News<'_>, now: Duration);

    /// Time has passed.
    fn tick(&mut self, now: Duration);

    /// How one of its replicas treats a router.
    fn view(&self, replica: usize, router: usize) -> View;

    /// How many of it there are: those who stand in the way of every call are one.
    fn replicas(&self) -> usize {
        1
    }
}
