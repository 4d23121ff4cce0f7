//! Where an observation comes from, and how much it may decide.

use crate::time::BrokerTime;

/// Where an observation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A response processor's message: arrives early, and knows little.
    Message,
    /// The message of the one-row configuration: as early, and without a stamp, so that its log knows no better.
    OneRow,
    /// The gateway's log: arrives last, and knows everything.
    Log,
    /// A call of the relay, which sent it and saw its end. The call's own log adds nothing to the judgement.
    Attempt,
}

/// How much an outcome may decide about a router on probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Nothing: a message whose log is still to come, or a call that was not sent as a probe.
    Provisional,
    /// The final report of a call that may have been sent for any reason.
    Passive,
    /// The call was a probe; with the number of the decision, if it was this replica's.
    Probe(Option<u64>),
    /// The relay's own call.
    Local {
        /// When the call was sent.
        sent_at: BrokerTime,
        /// The number of the decision, if it was a probe.
        probe_decision: Option<u64>,
    },
}

impl Evidence {
    /// Whether the call was sent as a probe.
    pub const fn is_probe(self) -> bool {
        matches!(self, Self::Probe(_) | Self::Local { probe_decision: Some(_), .. })
    }

    /// The number of this replica's decision that sent the call as a probe.
    pub const fn probe_decision(self) -> Option<u64> {
        match self {
            Self::Probe(permit) | Self::Local { probe_decision: permit, .. } => permit,
            Self::Provisional | Self::Passive => None,
        }
    }
}
