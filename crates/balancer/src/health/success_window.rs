//! Answers of the last while, counted exactly in ten buckets.
//!
//! Exact counts rather than a moving average, which hardly reacts to a short burst and can hide a total outage.

use std::time::Duration;

use types::time::BrokerTime;

const BUCKETS: usize = 10;

/// Good answers and all answers, by time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SuccessWindow {
    buckets: [(u32, u32); BUCKETS],
    /// The number of the newest bucket since the epoch.
    newest: u64,
    /// The length of a bucket.
    length: Duration,
}

impl SuccessWindow {
    /// Counts an answer and returns (good, all) within the window that ends now.
    pub(super) fn count(&mut self, good: bool, over: Duration, now: BrokerTime) -> (u32, u32) {
        let length = (over / BUCKETS as u32).max(Duration::from_millis(1));
        if self.length != length {
            *self = Self { length, ..Self::default() };
        }
        let bucket = now.as_nanos() / u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        // However long nothing came, there are only ten to clear.
        for stale in (self.newest + 1..=bucket).rev().take(BUCKETS) {
            self.buckets[(stale % BUCKETS as u64) as usize] = (0, 0);
        }
        self.newest = self.newest.max(bucket);
        let (of_good, of_all) = &mut self.buckets[(self.newest % BUCKETS as u64) as usize];
        *of_good = of_good.saturating_add(u32::from(good));
        *of_all = of_all.saturating_add(1);
        let sum = |(goods, alls): (u32, u32), (good, all): &(u32, u32)| {
            (goods.saturating_add(*good), alls.saturating_add(*all))
        };
        self.buckets.iter().fold((0, 0), sum)
    }

    /// Removes a failure that was counted just now.
    pub(super) fn remove_failure(&mut self) {
        let (of_good, of_all) = &mut self.buckets[(self.newest % BUCKETS as u64) as usize];
        *of_all = of_all.saturating_sub(1).max(*of_good);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> BrokerTime {
        BrokerTime::from_nanos(1_800_000_000_000_000_000).after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_window_slides_in_tenths() {
        let mut window = SuccessWindow::default();
        assert_eq!(window.count(true, MINUTE, at(0)), (1, 1));
        assert_eq!(window.count(false, MINUTE, at(5)), (1, 2));
        assert_eq!(window.count(false, MINUTE, at(59)), (1, 3));
        assert_eq!(window.count(false, MINUTE, at(60)), (0, 2), "the first tenth is over");
        assert_eq!(window.count(true, MINUTE, at(113)), (1, 3));
        assert_eq!(window.count(true, MINUTE, at(1_000_000_000)), (1, 1), "however long nothing came");
    }

    #[test]
    fn a_shorter_time_than_can_be_counted_is_no_fault() {
        let mut window = SuccessWindow::default();
        assert_eq!(window.count(false, Duration::ZERO, at(0)), (0, 1));
        assert_eq!(
            window.count(false, Duration::MAX, at(0)),
            (0, 1),
            "nor is a longer one, and it counts from nothing"
        );
    }
}
