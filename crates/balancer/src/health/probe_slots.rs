//! ProbeSlots: which decisions prove just now whether a router works again.
//!
//! Each has an end, because the message that would tell can be lost: what never comes back must not keep a router out for
//! ever.

use smallvec::SmallVec;

use types::time::BrokerTime;

/// The probe_slots that are out, one per decision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ProbeSlots(SmallVec<[(u64, BrokerTime); 1]>);

impl ProbeSlots {
    /// How many are out.
    pub(super) fn in_use(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn holds(&self, decision: u64) -> bool {
        self.0.iter().any(|(given, _)| *given == decision)
    }

    /// The number of the decision that has waited longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.0.first().map(|(decision, _)| *decision)
    }

    pub(super) fn next_expiry(&self) -> Option<BrokerTime> {
        self.0.iter().map(|(_, until)| *until).min()
    }

    pub(super) fn acquire(&mut self, decision: u64, until: BrokerTime) {
        self.0.push((decision, until));
    }

    /// True if it was out.
    pub(super) fn release(&mut self, decision: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|(given, _)| *given != decision);
        self.0.len() < before
    }

    pub(super) fn expire(&mut self, now: BrokerTime) {
        self.0.retain(|(_, until)| *until > now);
    }
}
