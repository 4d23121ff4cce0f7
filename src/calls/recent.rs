//! The last finished calls, as many as fit into a limit in bytes; each has a number, which only increases.
//!
//! Each is kept as its JSON: one allocation, half as large as the dozen of a record. Parsing one back into a record takes a few
//! microseconds.

use std::collections::VecDeque;
use std::sync::Arc;

use memchr::memmem;
use serde::Deserialize;

use super::CallRecord;
use types::time::BrokerTime;

/// Bytes of a call beside its JSON: its slot in the ring, and the counts of its `Arc`.
const ENTRY_OVERHEAD_BYTES: usize = size_of::<KeptCall>() + 2 * size_of::<usize>();

/// The JSON of most records is shorter.
const INITIAL_CAPACITY_BYTES: usize = 1 << 10;

/// A finished call, as its JSON. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCall(Arc<[u8]>);

impl KeptCall {
    pub(super) fn from_record(record: &CallRecord) -> Self {
        let mut json = Vec::with_capacity(INITIAL_CAPACITY_BYTES);
        // Cannot fail: all keys are texts.
        let _ = serde_json::to_writer(&mut json, record);
        Self(json.into())
    }

    /// The record's JSON, on one line.
    pub fn json(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn id(&self) -> Option<String> {
        self.field(b"\"id\":")
    }

    /// When this broker saw its end.
    pub(super) fn at(&self) -> Option<BrokerTime> {
        self.field(b"\"at\":")
    }

    /// The text from which the trace id of a call without a `traceparent` is derived.
    pub(super) fn session(&self) -> Option<String> {
        self.field(b"\"session\":").or_else(|| self.id())
    }

    /// The value of the first field with this name, as written in the JSON. Within a text the quotes of the name would be
    /// escaped.
    fn field<'a, T: Deserialize<'a>>(&'a self, name: &[u8]) -> Option<T> {
        let rest = self.0.get(memmem::find(&self.0, name)? + name.len()..)?;
        serde_json::Deserializer::from_slice(rest).into_iter().next()?.ok()
    }

    /// The record, without its context.
    pub fn record(&self) -> CallRecord {
        serde_json::from_slice(&self.0).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        self.0.len() + ENTRY_OVERHEAD_BYTES
    }
}

/// The calls, the oldest first.
#[derive(Debug)]
pub struct RecentRing {
    entries: VecDeque<KeptCall>,
    /// The number of the next call.
    next: u64,
    bytes: usize,
    most_bytes: usize,
}

impl RecentRing {
    pub(super) const fn new(most_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), next: 0, bytes: 0, most_bytes }
    }

    /// Sets the limit in bytes.
    pub(super) fn limit(&mut self, most_bytes: usize) {
        self.most_bytes = most_bytes;
        self.shrink();
    }

    pub(super) fn push(&mut self, call: KeptCall) {
        self.bytes += call.bytes();
        self.entries.push_back(call);
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
    pub fn newest(&self, from: u64, most: usize) -> (u64, Vec<KeptCall>) {
        let start = from.max(self.next.saturating_sub(most as u64)).max(self.first());
        let place = usize::try_from(start - self.first()).unwrap_or(usize::MAX);
        (start.min(self.next), self.entries.iter().skip(place).cloned().collect())
    }

    /// The newest calls with a number below `before`, at most `most`, the newest first; each with its number.
    pub(super) fn before(&self, before: u64, most: usize) -> Vec<(u64, KeptCall)> {
        let skipped = usize::try_from(self.next.saturating_sub(before)).unwrap_or(usize::MAX);
        let newest = self.entries.iter().rev().enumerate().skip(skipped).take(most);
        newest.map(|(place, call)| (self.next - 1 - place as u64, call.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::CallAttempt;
    use super::*;

    fn call(number: u64) -> KeptCall {
        KeptCall::from_record(&CallRecord { id: format!("{number:04}"), ..CallRecord::default() })
    }

    fn ids(calls: &[KeptCall]) -> Vec<String> {
        calls.iter().map(|call| call.record().id).collect()
    }

    #[test]
    fn the_oldest_go_when_the_bytes_are_used_up_and_numbers_go_on() {
        let each = call(0).bytes();
        let mut ring = RecentRing::new(3 * each);
        assert_eq!(ring.newest(0, 10), (0, vec![]));
        (0..5).for_each(|number| ring.push(call(number)));
        assert_eq!((ring.first(), ring.next(), ring.bytes), (2, 5, 3 * each));
        let (first, all) = ring.newest(0, 10);
        assert_eq!((first, ids(&all)), (2, ["0002", "0003", "0004"].map(str::to_owned).to_vec()));
        let (first, last) = ring.newest(0, 1);
        assert_eq!((first, ids(&last)), (4, vec!["0004".to_owned()]));
        assert_eq!(ring.newest(5, 10), (5, vec![]));
        let numbers = |before, most| ring.before(before, most).iter().map(|(number, _)| *number).collect::<Vec<_>>();
        assert_eq!((numbers(u64::MAX, 2), numbers(3, 5), numbers(2, 5)), (vec![4, 3], vec![2], vec![]));
        ring.limit(each);
        assert_eq!((ring.first(), ring.next()), (4, 5));
    }

    #[test]
    fn a_call_is_kept_whole_and_counts_with_all_its_texts() {
        let attempt = CallAttempt { p: Some(1.0 / 3.0), ..CallAttempt::default() };
        let attempts = vec![attempt; 2];
        let record = CallRecord {
            id: r#""at":"2"#.to_owned(),
            trace_ids: vec!["x".repeat(100)],
            status: Some(200),
            attempts,
            at: BrokerTime::from_nanos(1_800_000_000_123_000_000),
            ..CallRecord::default()
        };
        let kept = KeptCall::from_record(&record);
        assert_eq!((kept.record(), kept.at()), (record.clone(), Some(record.at)));
        assert!(kept.bytes() > 100 + KeptCall::from_record(&CallRecord::default()).bytes());
    }
}
