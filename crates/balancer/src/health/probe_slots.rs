//! Probe slots: the decisions that are probing a router now.
//!
//! Each slot expires, because the message that reports the outcome can be lost, and that must not block a router for
//! ever.

use smallvec::SmallVec;

use types::time::BrokerTime;

/// The slots of one router.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ProbeSlots {
    /// Those in use, one per decision, oldest first, each with its expiry.
    in_use: SmallVec<[(u64, BrokerTime); 1]>,
    /// Until then none is given.
    closed_until: Option<BrokerTime>,
}

impl ProbeSlots {
    /// Slots in use.
    pub(super) fn in_use(&self) -> u32 {
        u32::try_from(self.in_use.len()).unwrap_or(u32::MAX)
    }

    /// Gives no slot until then.
    pub(super) const fn close(&mut self, until: BrokerTime) {
        self.closed_until = Some(until);
    }

    pub(super) const fn are_closed(&self) -> bool {
        self.closed_until.is_some()
    }

    pub(super) fn holds(&self, decision: u64) -> bool {
        self.in_use.iter().any(|(given, _)| *given == decision)
    }

    /// The decision that has held its slot longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.in_use.first().map(|(decision, _)| *decision)
    }

    pub(super) fn decisions(&self) -> impl Iterator<Item = u64> {
        self.in_use.iter().map(|(decision, _)| *decision)
    }

    /// When time alone changes something.
    pub(super) fn next_expiry(&self) -> Option<BrokerTime> {
        self.in_use.iter().map(|(_, until)| *until).chain(self.closed_until).min()
    }

    pub(super) fn acquire(&mut self, decision: u64, until: BrokerTime) {
        self.in_use.push((decision, until));
    }

    /// True if the decision held a slot.
    pub(super) fn release(&mut self, decision: u64) -> bool {
        let before = self.in_use.len();
        self.in_use.retain(|(given, _)| *given != decision);
        self.in_use.len() < before
    }

    pub(super) fn expire(&mut self, now: BrokerTime) {
        self.in_use.retain(|(_, until)| *until > now);
        self.closed_until = self.closed_until.filter(|until| *until > now);
    }
}
