//! Counts by kind, and logs a kind at most once a second: what clients send must not fill the log.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use types::time::BrokerTime;

const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Counts of one family of events; the kinds are an enum, so that their number is bounded.
#[derive(Debug)]
pub struct Counter<K> {
    counts: Mutex<HashMap<K, (u64, Option<BrokerTime>)>>,
    pause: Duration,
}

impl<K> Default for Counter<K> {
    fn default() -> Self {
        Self { counts: Mutex::default(), pause: LOG_INTERVAL }
    }
}

impl<K: Eq + Hash + Copy + Display> Counter<K> {
    /// Of these kinds none so far: a count that is known to be zero can be seen to rise.
    pub fn with_kinds(kinds: impl IntoIterator<Item = K>) -> Self {
        let tally = Self::default();
        tally.preregister(kinds);
        tally
    }

    /// The same, each kind logged at most once in this time instead of once a second.
    pub fn said_every(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Registers further kinds at zero, where they are known only later.
    pub fn preregister(&self, kinds: impl IntoIterator<Item = K>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for kind in kinds {
            counts.entry(kind).or_default();
        }
    }

    /// Counts one. Some total when it is time to say it.
    pub fn count(&self, kind: K, now: BrokerTime) -> Option<u64> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, said) = counts.entry(kind).or_default();
        *count += 1;
        let due = said.is_none_or(|said| now.since(said) >= self.pause);
        if due {
            *said = Some(now);
        }
        due.then_some(*count)
    }

    /// How many of each kind there were; in no order.
    pub fn all(&self) -> impl Iterator<Item = (K, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<_> = counts.iter().map(|(kind, (count, _))| (*kind, *count)).collect();
        all.into_iter()
    }

    /// How many of a kind there were.
    pub fn total(&self, kind: K) -> u64 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).map_or(0, |(count, _)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_one_is_counted_and_one_a_second_is_said() {
        let tally = Counter::default();
        let start = BrokerTime::from_nanos(5);
        assert_eq!(tally.count("a", start), Some(1));
        assert_eq!(tally.count("a", start.after(Duration::from_millis(999))), None);
        assert_eq!(
            tally.count("b", start.after(Duration::from_millis(999))),
            Some(1),
            "kinds do not silence each other"
        );
        assert_eq!(tally.count("a", start.after(Duration::from_secs(1))), Some(3));
        assert_eq!(tally.total("a"), 3);
    }

    #[test]
    fn a_kind_that_is_expected_is_known_before_it_happens_and_loses_nothing_when_it_is_expected_again() {
        let tally = Counter::with_kinds(["a"]);
        assert_eq!(tally.all().collect::<Vec<_>>(), [("a", 0)]);
        tally.count("a", BrokerTime::from_nanos(5));
        tally.preregister(["a"]);
        assert_eq!(tally.all().collect::<Vec<_>>(), [("a", 1)]);
    }
}
