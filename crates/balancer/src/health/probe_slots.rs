//! Probe slots: the decisions that are probing a router now.
//!
//! Each slot expires, because the message that reports the outcome can be lost, and that must not block a router for
//! ever.

use types::time::BrokerTime;

/// The slots of one router. Boxed, because most routers are never probed; absent while there is nothing to know, so that equal
/// slots are equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ProbeSlots(Option<Box<Slots>>);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Slots {
    /// Those in use, one per decision, oldest first, each with its expiry.
    in_use: Vec<(u64, BrokerTime)>,
    /// Until then none is given.
    closed_until: Option<BrokerTime>,
}

impl ProbeSlots {
    /// Slots in use.
    pub(super) fn in_use(&self) -> u32 {
        u32::try_from(self.given().len()).unwrap_or(u32::MAX)
    }

    /// Gives no slot until then.
    pub(super) fn close(&mut self, until: BrokerTime) {
        self.0.get_or_insert_default().closed_until = Some(until);
    }

    pub(super) fn are_closed(&self) -> bool {
        self.closed_until().is_some()
    }

    pub(super) fn holds(&self, decision: u64) -> bool {
        self.decisions().any(|given| given == decision)
    }

    /// The decision that has held its slot longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.decisions().next()
    }

    pub(super) fn decisions(&self) -> impl Iterator<Item = u64> {
        self.given().iter().map(|(decision, _)| *decision)
    }

    /// When time alone changes something.
    pub(super) fn next_expiry(&self) -> Option<BrokerTime> {
        self.given().iter().map(|(_, until)| *until).chain(self.closed_until()).min()
    }

    pub(super) fn acquire(&mut self, decision: u64, until: BrokerTime) {
        self.0.get_or_insert_default().in_use.push((decision, until));
    }

    /// True if the decision held a slot.
    pub(super) fn release(&mut self, decision: u64) -> bool {
        let held = self.holds(decision);
        self.change(|slots| slots.in_use.retain(|(given, _)| *given != decision));
        held
    }

    pub(super) fn expire(&mut self, now: BrokerTime) {
        self.change(|slots| {
            slots.in_use.retain(|(_, until)| *until > now);
            slots.closed_until = slots.closed_until.filter(|until| *until > now);
        });
    }

    fn given(&self) -> &[(u64, BrokerTime)] {
        self.0.as_ref().map_or(&[], |slots| &slots.in_use)
    }

    fn closed_until(&self) -> Option<BrokerTime> {
        self.0.as_ref().and_then(|slots| slots.closed_until)
    }

    fn change(&mut self, change: impl FnOnce(&mut Slots)) {
        if let Some(slots) = &mut self.0 {
            change(slots);
        }
        self.0.take_if(|slots| slots.in_use.is_empty() && slots.closed_until.is_none());
    }
}
