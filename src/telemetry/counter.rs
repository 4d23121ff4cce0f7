//! Counts by kind, and logs a kind at most once a second: what clients send must not fill the log.

use std::fmt::Display;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use types::time::BrokerTime;

const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// In the place of the time at which a kind was last said.
const NEVER: u64 = u64::MAX;

/// Counts of one family of events. Its kinds are few and named once, before the first is counted; so a count is an atomic in a
/// table that does not change.
#[derive(Debug)]
pub struct Counter<K> {
    /// Absent as long as no kinds are named.
    rows: OnceLock<Box<[Row<K>]>>,
    pause: Duration,
}

#[derive(Debug)]
struct Row<K> {
    kind: K,
    count: AtomicU64,
    /// When it was last said, in nanoseconds of the broker's time, or [`NEVER`].
    said: AtomicU64,
}

impl<K> Default for Counter<K> {
    fn default() -> Self {
        Self { rows: OnceLock::new(), pause: LOG_INTERVAL }
    }
}

impl<K: PartialEq + Copy + Display> Counter<K> {
    /// Of these kinds none so far: a count that is known to be zero can be seen to rise.
    pub fn with_kinds(kinds: impl IntoIterator<Item = K>) -> Self {
        let counter = Self::default();
        counter.preregister(kinds);
        counter
    }

    /// The same, each kind logged at most once in this time instead of once a second.
    pub fn said_every(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Names the kinds, where they are known only later. Once: the kinds of a second time are not added.
    pub fn preregister(&self, kinds: impl IntoIterator<Item = K>) {
        self.rows.get_or_init(|| {
            let mut rows: Vec<Row<K>> = Vec::new();
            for kind in kinds {
                if rows.iter().all(|row| row.kind != kind) {
                    rows.push(Row { kind, count: AtomicU64::default(), said: AtomicU64::new(NEVER) });
                }
            }
            rows.into()
        });
    }

    /// Counts one of a kind that was named. Some total when it is time to say it.
    pub fn count(&self, kind: K, now: BrokerTime) -> Option<u64> {
        let row = self.row(kind);
        debug_assert!(row.is_some(), "{kind} is counted and was not named");
        let row = row?;
        let count = row.count.fetch_add(1, Relaxed) + 1;
        let said = row.said.load(Relaxed);
        let due = said == NEVER || now.since(BrokerTime::from_nanos(said)) >= self.pause;
        // One of those that find it due says it.
        let says = due && row.said.compare_exchange(said, now.as_nanos(), Relaxed, Relaxed).is_ok();
        says.then_some(count)
    }

    /// How many of each kind there were, in the order in which they were named.
    pub fn all(&self) -> impl Iterator<Item = (K, u64)> {
        self.rows().iter().map(|row| (row.kind, row.count.load(Relaxed)))
    }

    /// How many of a kind there were.
    pub fn total(&self, kind: K) -> u64 {
        self.row(kind).map_or(0, |row| row.count.load(Relaxed))
    }

    fn rows(&self) -> &[Row<K>] {
        self.rows.get().map_or(&[], |rows| rows)
    }

    fn row(&self, kind: K) -> Option<&Row<K>> {
        self.rows().iter().find(|row| row.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_one_is_counted_and_one_a_second_is_said() {
        let counter = Counter::with_kinds(["a", "b"]);
        let start = BrokerTime::from_nanos(5);
        assert_eq!(counter.count("a", start), Some(1));
        assert_eq!(counter.count("a", start.after(Duration::from_millis(999))), None);
        assert_eq!(
            counter.count("b", start.after(Duration::from_millis(999))),
            Some(1),
            "kinds do not silence each other"
        );
        assert_eq!(counter.count("a", start.after(Duration::from_secs(1))), Some(3));
        assert_eq!(counter.total("a"), 3);
    }

    #[test]
    fn a_kind_is_known_before_it_happens_and_loses_nothing_when_it_is_named_again() {
        let counter = Counter::default();
        assert_eq!(counter.all().count(), 0);
        counter.preregister(["a", "b", "a"]);
        assert_eq!(counter.all().collect::<Vec<_>>(), [("a", 0), ("b", 0)]);
        counter.count("a", BrokerTime::from_nanos(5));
        counter.preregister(["a"]);
        assert_eq!(counter.all().collect::<Vec<_>>(), [("a", 1), ("b", 0)]);
    }

    #[test]
    fn threads_that_count_at_once_lose_none_and_one_of_them_says_it() {
        let counter = Counter::with_kinds(["a"]);
        let said: usize = std::thread::scope(|scope| {
            let counting = || (0..1_000).filter(|_| counter.count("a", BrokerTime::from_nanos(5)).is_some()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(counting)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((counter.total("a"), said), (4_000, 1));
    }
}
