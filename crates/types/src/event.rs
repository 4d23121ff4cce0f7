//! Vocabulary: what comes of the events that the broker takes in.
//!
//! Every [`Change`] is a plain fact that adapters may tell to people, to metrics and, later, to peers. A change is told once,
//! at the moment it happens. The events themselves stand with the broker, whose settings they may carry.

use std::fmt;

use crate::outcome::Cause;
use crate::router::RouterPath;
use crate::time::Now;

/// Whether a router may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// May serve.
    Serving,
    /// Left alone until the time is over.
    Cooling {
        /// When it may serve again.
        until: Now,
        /// Why it was taken out.
        cause: Cause,
    },
    /// Its time is over, and it has yet to prove itself: a request or so at a time, until one succeeds.
    Probing {
        /// Why it was taken out.
        cause: Cause,
    },
}

/// A change of one router's standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Whose.
    pub router: RouterPath,
    /// Counts the trips of this router; a return keeps the number of its trip.
    pub epoch: u32,
    /// The standing from now on.
    pub standing: Standing,
    /// When it happened.
    pub at: Now,
}

/// Something to be told. Named by paths, not by ids: an id means nothing outside one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A router went out, or is back.
    Standing(Transition),
    /// A router that is out stays out longer, or one that serves pauses for less than a second.
    Extended(Transition),
    /// Every router behind this ingress is disabled.
    AllDisabled {
        /// The ingress.
        ingress: RouterPath,
        /// Its requests go to disabled ones; else the gateway uses the ingress router's own endpoint.
        tried: bool,
    },
    /// A router behind this ingress may serve again.
    SomeEnabled(RouterPath),
    /// Somebody should look at something; said once.
    Notice(Notice),
    /// An operator's word was carried out, or its time is over.
    Ordered(Ordered),
}

/// An operator's word, as it was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// The router.
    pub about: RouterPath,
    /// What became of it: `drained`, `resumed`, `weighs 0.5` …
    pub what: String,
    /// Until when.
    pub until: Option<Now>,
    /// Who asked for it, by which way.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it happened.
    pub at: Now,
}

/// Facts that a person should look at, because no waiting will mend them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Notice {
    /// A router refuses our credentials while another one works.
    RefusesCredentials(RouterPath, u16),
    /// A router never answered anything but 404.
    OnlyNotFound(RouterPath),
    /// A router failed right after so many returns in a row.
    KeepsFailing(RouterPath, u32),
    /// The log shows no stamps: which calls are under way is not known, and a mode chooses by it.
    StampsUnseen,
    /// A request failed on the first of these and then on the second, which answers others.
    RequestAtFault(RouterPath, RouterPath),
    /// The gateway's log filters hide a field that learning needs.
    LogFiltered(&'static str),
}

/// Why a report taught nothing. Each kind is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// About a router that stands in no pool, or about none at all.
    NotOurs,
    /// The upstream was never asked, or its status is not known.
    NoStatus,
    /// A processor answered in the upstream's place.
    Control,
    /// The gateway's echo answered.
    Echo,
    /// Our answer to row 1 came back unused: row 2 failed. Nobody's fault.
    NotApplied,
    /// The same log for the second time.
    Twice,
    /// The gateway's filters hide what learning needs.
    Filtered,
}

impl Ignored {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::NotOurs, Self::NoStatus, Self::Control, Self::Echo, Self::NotApplied, Self::Twice, Self::Filtered];

    /// As metrics spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotOurs => "not_ours",
            Self::NoStatus => "no_status",
            Self::Control => "control",
            Self::Echo => "echo",
            Self::NotApplied => "not_applied",
            Self::Twice => "twice",
            Self::Filtered => "filtered",
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOurs => "about no router of ours",
            Self::NoStatus => "without the upstream's status",
            Self::Control => "answered by a processor",
            Self::Echo => "answered by the gateway's echo",
            Self::NotApplied => "our choice was not applied: row 2 did not run",
            Self::Twice => "seen before",
            Self::Filtered => "emptied by the gateway's log filters",
        })
    }
}
