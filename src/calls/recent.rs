//! The last finished calls, as many as fit into a number of bytes; each with a number that only increases.

use std::collections::VecDeque;
use std::sync::Arc;

use super::CallRecord;

/// The calls, the oldest first.
#[derive(Debug)]
pub struct RecentRing {
    entries: VecDeque<Arc<CallRecord>>,
    /// The number of the next.
    next: u64,
    bytes: usize,
    most_bytes: usize,
}

impl RecentRing {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), next: 0, bytes: 0, most_bytes }
    }

    /// From now on it holds at most so many bytes.
    pub(super) fn limit(&mut self, most_bytes: usize) {
        self.most_bytes = most_bytes;
        self.shrink();
    }

    pub(super) fn push(&mut self, record: Arc<CallRecord>) {
        self.bytes += record.bytes();
        self.entries.push_back(record);
        self.next += 1;
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.bytes > self.most_bytes
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
    }

    /// The number that the next call will have.
    pub const fn next(&self) -> u64 {
        self.next
    }

    fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    /// The newest calls from number `from` on, at most `most`; with the number of the first of them.
    pub fn newest(&self, from: u64, most: usize) -> (u64, Vec<Arc<CallRecord>>) {
        let start = from.max(self.next.saturating_sub(most as u64)).max(self.first());
        let place = usize::try_from(start - self.first()).unwrap_or(usize::MAX);
        (start.min(self.next), self.entries.iter().skip(place).cloned().collect())
    }

    /// The newest calls with a number below `before`, at most `most`, the newest first; each with its number.
    pub(super) fn before(&self, before: u64, most: usize) -> Vec<(u64, Arc<CallRecord>)> {
        let skipped = usize::try_from(self.next.saturating_sub(before)).unwrap_or(usize::MAX);
        let newest = self.entries.iter().rev().enumerate().skip(skipped).take(most);
        newest.map(|(place, record)| (self.next - 1 - place as u64, Arc::clone(record))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u64) -> Arc<CallRecord> {
        Arc::new(CallRecord { id: format!("{number:04}"), ..CallRecord::default() })
    }

    fn ids(records: &[Arc<CallRecord>]) -> Vec<&str> {
        records.iter().map(|record| record.id.as_str()).collect()
    }

    #[test]
    fn the_oldest_go_when_the_bytes_are_used_up_and_numbers_go_on() {
        let each = call(0).bytes();
        let mut ring = RecentRing::new(3 * each);
        assert_eq!(ring.newest(0, 10), (0, vec![]));
        (0..5).for_each(|number| ring.push(call(number)));
        assert_eq!((ring.first(), ring.next(), ring.bytes), (2, 5, 3 * each));
        let (first, all) = ring.newest(0, 10);
        assert_eq!((first, ids(&all)), (2, vec!["0002", "0003", "0004"]));
        let (first, last) = ring.newest(0, 1);
        assert_eq!((first, ids(&last)), (4, vec!["0004"]));
        assert_eq!(ring.newest(5, 10), (5, vec![]));
        let numbers = |before, most| ring.before(before, most).iter().map(|(number, _)| *number).collect::<Vec<_>>();
        assert_eq!((numbers(u64::MAX, 2), numbers(3, 5), numbers(2, 5)), (vec![4, 3], vec![2], vec![]));
        ring.limit(each);
        assert_eq!((ring.first(), ring.next()), (4, 5));
    }

    #[test]
    fn a_record_counts_with_all_its_texts() {
        let small = call(1);
        let large = CallRecord { trace_ids: vec!["x".repeat(100), "y".repeat(28)], ..(*small).clone() };
        assert!(large.bytes() >= small.bytes() + 128 && small.bytes() > size_of::<CallRecord>());
    }
}
