//! Requests and tokens of one router within the last minute, in a slot per second.
//!
//! It errs on the safe side: the second in which the minute began counts in full, so the limit holds in every span of
//! sixty seconds, and a busy router gets one sixtieth less than it may. Fixed size.

/// A minute, and the current second.
const SLOTS: usize = 61;
/// The same in seconds.
const WINDOW_SECONDS: u64 = SLOTS as u64;

/// Requests and tokens of one second; saturating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slot {
    pub(super) requests: u32,
    pub(super) tokens: u32,
}

/// Requests and tokens of many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sum {
    pub(super) requests: u64,
    pub(super) tokens: u64,
}

impl Sum {
    pub(super) fn plus(self, slot: Slot) -> Self {
        let requests = self.requests.saturating_add(u64::from(slot.requests));
        Self { requests, tokens: self.tokens.saturating_add(u64::from(slot.tokens)) }
    }

    fn minus(self, slot: Slot) -> Self {
        let requests = self.requests.saturating_sub(u64::from(slot.requests));
        Self { requests, tokens: self.tokens.saturating_sub(u64::from(slot.tokens)) }
    }
}

/// The slots, each at its second's index, and their sum.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RateWindow {
    slots: [Slot; SLOTS],
    /// The latest second that was counted.
    newest: u64,
    total: Sum,
}

impl Default for RateWindow {
    fn default() -> Self {
        Self { slots: [Slot::default(); SLOTS], newest: 0, total: Sum::default() }
    }
}

impl RateWindow {
    /// The sum of the minute that ends in this second.
    pub(super) fn used(&self, second: u64) -> Sum {
        let gone = second.saturating_sub(self.newest);
        if gone >= WINDOW_SECONDS {
            return Sum::default();
        }
        (1..=gone).fold(self.total, |sum, step| sum.minus(self.slots[place(self.newest + step)]))
    }

    /// Changes the slot of a second, unless it is older than a minute.
    pub(super) fn change(&mut self, second: u64, change: impl FnOnce(&mut Slot)) {
        self.go_on_to(second);
        if self.newest - second >= WINDOW_SECONDS {
            return;
        }
        let slot = &mut self.slots[place(second)];
        let before = *slot;
        change(slot);
        self.total = self.total.minus(before).plus(*slot);
    }

    /// Whether the sum matches the slots.
    pub(super) fn is_consistent(&self) -> bool {
        self.slots.iter().fold(Sum::default(), |sum, slot| sum.plus(*slot)) == self.total
    }

    /// Empties the slots between the latest second and this one.
    fn go_on_to(&mut self, second: u64) {
        let gone = second.saturating_sub(self.newest).min(WINDOW_SECONDS);
        for step in 0..gone {
            let slot = std::mem::take(&mut self.slots[place(second - step)]);
            self.total = self.total.minus(slot);
        }
        self.newest = self.newest.max(second);
    }
}

const fn place(second: u64) -> usize {
    (second % WINDOW_SECONDS) as usize
}
