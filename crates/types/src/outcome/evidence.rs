//! The weight of an observation for a router on probation.

use crate::time::BrokerTime;

/// How much an outcome may decide about a router on probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Nothing: a message whose log entry will follow, or a call that was not a probe.
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
            Self::Probe(decision) | Self::Local { probe_decision: decision, .. } => decision,
            Self::Provisional | Self::Passive => None,
        }
    }
}
