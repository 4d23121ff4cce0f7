//! Probe slots: the decisions that are probing a router now.
//!
//! Each slot expires, because the message that reports the outcome can be lost, and that must not block a router for
//! ever.

use smallvec::SmallVec;

use types::time::BrokerTime;

/// The slots in use, one per decision, oldest first, each with its expiry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ProbeSlots(SmallVec<[(u64, BrokerTime); 1]>);

impl ProbeSlots {
    /// Slots in use.
    pub(super) fn in_use(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn holds(&self, decision: u64) -> bool {
        self.0.iter().any(|(given, _)| *given == decision)
    }

    /// The decision that has held its slot longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.0.first().map(|(decision, _)| *decision)
    }

    pub(super) fn decisions(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(decision, _)| *decision)
    }

    pub(super) fn next_expiry(&self) -> Option<BrokerTime> {
        self.0.iter().map(|(_, until)| *until).min()
    }

    pub(super) fn acquire(&mut self, decision: u64, until: BrokerTime) {
        self.0.push((decision, until));
    }

    /// True if the decision held a slot.
    pub(super) fn release(&mut self, decision: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|(given, _)| *given != decision);
        self.0.len() < before
    }

    pub(super) fn expire(&mut self, now: BrokerTime) {
        self.0.retain(|(_, until)| *until > now);
    }
}
