//! Counts events by kind, and limits the log to one line per kind and second: what clients send must not fill the log.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use types::time::BrokerTime;

const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// The value of [`Row::logged`] before the first time.
const NEVER: u64 = u64::MAX;

/// The counts of one family of events. Its few kinds are registered before the first event, so counting changes only an atomic
/// in a fixed table.
#[derive(Debug)]
pub struct Counter<K> {
    /// Absent until kinds are registered.
    rows: OnceLock<Box<[Row<K>]>>,
    log_interval: Duration,
}

#[derive(Debug)]
struct Row<K> {
    kind: K,
    count: AtomicU64,
    /// When it was last logged, in nanoseconds of the broker's time, or [`NEVER`].
    logged: AtomicU64,
}

impl<K> Default for Counter<K> {
    fn default() -> Self {
        Self { rows: OnceLock::new(), log_interval: LOG_INTERVAL }
    }
}

impl<K: PartialEq + Copy + Debug> Counter<K> {
    /// A counter of these kinds, all 0: Prometheus sees a counter rise only if it was there before.
    pub fn with_kinds(kinds: impl IntoIterator<Item = K>) -> Self {
        let counter = Self::default();
        counter.preregister(kinds);
        counter
    }

    /// Logs each kind at most once in this time, instead of once a second.
    pub fn logged_every(self, log_interval: Duration) -> Self {
        Self { log_interval, ..self }
    }

    /// Registers the kinds, where they are not known at first. Only the first call has an effect.
    pub fn preregister(&self, kinds: impl IntoIterator<Item = K>) {
        self.rows.get_or_init(|| {
            let mut rows: Vec<Row<K>> = Vec::new();
            for kind in kinds {
                if rows.iter().all(|row| row.kind != kind) {
                    rows.push(Row { kind, count: AtomicU64::default(), logged: AtomicU64::new(NEVER) });
                }
            }
            rows.into()
        });
    }

    /// Counts one event. Returns the total if it is time to log it.
    pub fn count(&self, kind: K, now: BrokerTime) -> Option<u64> {
        let row = self.row(kind);
        debug_assert!(row.is_some(), "{kind:?} is counted and was not registered");
        let row = row?;
        let count = row.count.fetch_add(1, Relaxed) + 1;
        let logged = row.logged.load(Relaxed);
        let is_due = logged == NEVER || now.since(BrokerTime::from_nanos(logged)) >= self.log_interval;
        // Of several threads that find it due, one logs it.
        let is_ours = is_due && row.logged.compare_exchange(logged, now.as_nanos(), Relaxed, Relaxed).is_ok();
        is_ours.then_some(count)
    }

    /// The count of each kind, in the order of registration.
    pub fn all(&self) -> impl Iterator<Item = (K, u64)> {
        self.rows().iter().map(|row| (row.kind, row.count.load(Relaxed)))
    }

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
    fn every_event_is_counted_and_one_a_second_is_logged() {
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
    fn a_kind_is_known_before_it_happens_and_loses_nothing_when_it_is_registered_again() {
        let counter = Counter::default();
        assert_eq!(counter.all().count(), 0);
        counter.preregister(["a", "b", "a"]);
        assert_eq!(counter.all().collect::<Vec<_>>(), [("a", 0), ("b", 0)]);
        counter.count("a", BrokerTime::from_nanos(5));
        counter.preregister(["a"]);
        assert_eq!(counter.all().collect::<Vec<_>>(), [("a", 1), ("b", 0)]);
    }

    #[test]
    fn threads_that_count_at_once_lose_none_and_one_of_them_logs_it() {
        let counter = Counter::with_kinds(["a"]);
        let logged: usize = std::thread::scope(|scope| {
            let counting = || (0..1_000).filter(|_| counter.count("a", BrokerTime::from_nanos(5)).is_some()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(counting)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((counter.total("a"), logged), (4_000, 1));
    }
}
