//! Vocabulary: what comes of the events that the broker takes in.
//!
//! Every [`BrokerEvent`] is a plain fact that adapters may tell to people, to metrics and, later, to peers. A change is told once,
//! at the moment it happens. The events themselves stand with the broker, whose settings they may carry.

use std::fmt;

use crate::outcome::Cause;
use crate::router::RouterPath;
use crate::time::BrokerTime;

/// Whether a router may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HealthState {
    /// May serve.
    Serving,
    /// Left alone until the time is over.
    Cooling {
        /// When it may serve again.
        until: BrokerTime,
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
    pub state: HealthState,
    /// When it happened.
    pub at: BrokerTime,
}

/// Something to be told. Named by paths, not by ids: an id means nothing outside one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerEvent {
    /// A router went out, or is back.
    HealthChanged(Transition),
    /// A router that is out stays out longer, or one that serves pauses for less than a second.
    Extended(Transition),
    /// Every router behind this ingress is disabled.
    AllDisabled {
        /// The ingress.
        ingress: RouterPath,
        /// Its requests go to disabled ones; else the gateway uses the ingress router's own endpoint.
        uses_disabled: bool,
    },
    /// A router behind this ingress may serve again.
    SomeEnabled(RouterPath),
    /// Somebody should look at something; said once.
    Advisory(Advisory),
    /// An operator's word was carried out, or its time is over.
    OperatorAction(OperatorAction),
}

/// An operator's word, as it was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorAction {
    /// The router.
    pub router: RouterPath,
    /// What became of it: `drained`, `resumed`, `weighs 0.5` …
    pub action: String,
    /// Until when.
    pub until: Option<BrokerTime>,
    /// Who asked for it, by which way.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it happened.
    pub at: BrokerTime,
}

/// Facts that a person should look at, because no waiting will mend them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Advisory {
    /// A router refuses our credentials while another one works.
    RefusesCredentials(RouterPath, u16),
    /// A router never answered anything but 404.
    OnlyNotFound(RouterPath),
    /// A router failed right after so many returns in a row.
    KeepsFailing(RouterPath, u32),
    /// The log shows no stamps: which calls are under way is not known, and a mode chooses by it.
    StampsMissing,
    /// A request failed on the first of these and then on the second, which answers others.
    RequestAtFault(RouterPath, RouterPath),
    /// The gateway's log filters hide a field that learning needs.
    LogFiltered(&'static str),
}

/// Why a report taught nothing. Each kind is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IgnoreReason {
    /// About a router that stands in no pool, or about none at all.
    UnknownRouter,
    /// The upstream was never asked, or its status is not known.
    NoStatus,
    /// A processor answered in the upstream's place.
    ProcessorGenerated,
    /// The gateway's echo answered.
    Echo,
    /// Our answer to row 1 came back unused: row 2 failed. Nobody's fault.
    NotApplied,
    /// The same log for the second time.
    Twice,
    /// The gateway's filters hide what learning needs.
    Filtered,
}

impl IgnoreReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::UnknownRouter,
        Self::NoStatus,
        Self::ProcessorGenerated,
        Self::Echo,
        Self::NotApplied,
        Self::Twice,
        Self::Filtered,
    ];

    /// As metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownRouter => "not_ours",
            Self::NoStatus => "no_status",
            Self::ProcessorGenerated => "control",
            Self::Echo => "echo",
            Self::NotApplied => "not_applied",
            Self::Twice => "twice",
            Self::Filtered => "filtered",
        }
    }
}

impl fmt::Display for IgnoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownRouter => "about no router of ours",
            Self::NoStatus => "without the upstream's status",
            Self::ProcessorGenerated => "answered by a processor",
            Self::Echo => "answered by the gateway's echo",
            Self::NotApplied => "our choice was not applied: row 2 did not run",
            Self::Twice => "seen before",
            Self::Filtered => "emptied by the gateway's log filters",
        })
    }
}
