//! Splits answers that are larger than a message of the bus may be into chunks, and reassembles them.
//!
//! A chunk is a range of bytes, not a document, so this works for every answer, signed ones too. The chunks of an answer are
//! sent over one connection on one subject, which the bus keeps in order. So a missing chunk is noticed at the next one, and
//! the answer is reported as incomplete. The memory for reassembly is bounded.

use std::collections::BTreeMap;

use async_nats::{HeaderMap, Message};
use bytes::{Bytes, BytesMut};

use super::peers::REPLICA;

/// The number of the chunk and of all chunks: `2/5`. Absent in an answer of one message.
pub(super) const CHUNK_HEADER: &str = "Broker-Part";
/// Bytes of a message that are reserved for headers; ours have some 400.
const CHUNK_HEADERS_BYTES: usize = 1_024;
/// The least size of a chunk, however small the bus's limit is.
const MIN_CHUNK_BYTES: usize = 256;
/// The most replicas whose answers are reassembled at a time: more than run together.
const MAX_BEGUN: usize = 1_000;
/// The longest replica id, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Splits an answer into chunks for a bus whose messages have at most `largest` bytes; each with its headers.
pub(super) fn split(answer: &Bytes, headers: &HeaderMap, largest: usize) -> Vec<(Bytes, HeaderMap)> {
    let most = largest.saturating_sub(CHUNK_HEADERS_BYTES).max(MIN_CHUNK_BYTES);
    if answer.len() <= most {
        return vec![(answer.clone(), headers.clone())];
    }
    let count = answer.len().div_ceil(most);
    let part = |number: usize| {
        let end = answer.len().min((number + 1) * most);
        let mut headers = headers.clone();
        headers.insert(CHUNK_HEADER, format!("{}/{count}", number + 1).as_str());
        (answer.slice(number * most..end), headers)
    };
    (0..count).map(part).collect()
}

/// Reassembles answers from their chunks.
#[derive(Debug)]
pub(super) struct Reassembler {
    /// Limit of all answers together, in bytes.
    most: usize,
    /// By replica; `None`: a chunk was missing or wrong, so the answer is incomplete.
    begun: BTreeMap<String, Option<PartialAnswer>>,
    bytes: usize,
}

/// An answer of which chunks are still missing.
#[derive(Debug)]
struct PartialAnswer {
    first: Message,
    bytes: BytesMut,
    parts: usize,
    count: usize,
}

impl Reassembler {
    /// `most`: the limit of all answers together, in bytes.
    pub(super) const fn up_to(most: usize) -> Self {
        Self { most, begun: BTreeMap::new(), bytes: 0 }
    }

    /// Adds a message. Returns the answer that is complete with it. A chunk that came before is ignored.
    pub(super) fn take(&mut self, message: Message) -> Option<Message> {
        let (number, count) = part(&message)?;
        let replica = text(&message, REPLICA);
        if replica.len() > MAX_NAME_BYTES || (self.begun.len() >= MAX_BEGUN && !self.begun.contains_key(&replica)) {
            return None;
        }
        self.bytes = self.bytes.saturating_add(message.payload.len());
        let fits = self.bytes <= self.most;
        if count == 1 && fits {
            return Some(message);
        }
        if number == 1 && fits && !self.begun.contains_key(&replica) {
            let bytes = BytesMut::from(message.payload.as_ref());
            self.begun.insert(replica, Some(PartialAnswer { first: message, bytes, parts: 1, count }));
            return None;
        }
        let place = self.begun.entry(replica).or_default();
        // Replaced by `None`, so that the answer is incomplete unless this chunk continues it.
        let mut begun = place.take()?;
        if number <= begun.parts && count == begun.count {
            *place = Some(begun);
            return None;
        }
        if number != begun.parts + 1 || count != begun.count || !fits {
            return None;
        }
        begun.bytes.extend_from_slice(&message.payload);
        begun.parts = number;
        if number < count {
            *place = Some(begun);
            return None;
        }
        self.begun.remove(&text(&begun.first, REPLICA));
        Some(Message { payload: begun.bytes.freeze(), ..begun.first })
    }

    /// The replicas whose answers are incomplete.
    pub(super) fn broken(&self) -> Option<&str> {
        self.begun.keys().next().map(String::as_str)
    }
}

/// The number of the chunk and of all chunks; `1/1` for a message without the header, `None` if the header is invalid.
fn part(message: &Message) -> Option<(usize, usize)> {
    let said = text(message, CHUNK_HEADER);
    if said.is_empty() {
        return Some((1, 1));
    }
    let (number, count) = said.split_once('/')?;
    let (number, count) = (number.parse().ok()?, count.parse().ok()?);
    (number > 0 && number <= count).then_some((number, count))
}

fn text(message: &Message, name: &str) -> String {
    let value = message.headers.as_ref().and_then(|headers| headers.get(name));
    value.map(|value| value.as_str().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::message;

    fn messages(replica: &str, answer: &[u8], largest: usize) -> Vec<Message> {
        let mut headers = HeaderMap::new();
        headers.insert(REPLICA, replica);
        let cut = split(&Bytes::copy_from_slice(answer), &headers, largest);
        cut.into_iter().map(message).collect()
    }

    proptest! {
        #[test]
        fn answers_of_several_replicas_come_together_however_they_are_mixed(
            answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5_000), 1..4),
            largest in 0_usize..3_000,
            turns in prop::collection::vec(any::<prop::sample::Index>(), 64),
        ) {
            let mut waiting: Vec<_> = answers.iter().enumerate()
                .map(|(number, answer)| messages(&number.to_string(), answer, largest).into_iter()).collect();
            let (mut gather, mut whole, mut turns) = (Reassembler::up_to(usize::MAX), Vec::new(), turns.iter().cycle());
            while !waiting.is_empty() {
                let place = turns.next().unwrap().index(waiting.len());
                match waiting[place].next() {
                    Some(message) => whole.extend(gather.take(message)),
                    None => drop(waiting.remove(place)),
                }
            }
            prop_assert_eq!(gather.broken(), None);
            let mut got: Vec<_> = whole.iter().map(|message| (text(message, REPLICA), message.payload.to_vec())).collect();
            got.sort();
            let sent: Vec<_> = answers.iter().enumerate().map(|(number, answer)| (number.to_string(), answer.clone())).collect();
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn every_message_fits_the_bus(length in 0_usize..20_000, largest in 2_000_usize..5_000) {
            for message in messages("one", &vec![7; length], largest) {
                prop_assert!(message.payload.len() + CHUNK_HEADERS_BYTES <= largest);
            }
        }
    }

    #[test]
    fn an_answer_that_lacks_a_part_is_broken_whatever_follows() {
        let parts = messages("one", &[7; 2_000], 0);
        for missing in 0..parts.len() - 1 {
            let mut gather = Reassembler::up_to(usize::MAX);
            let left = parts.iter().enumerate().filter(|(number, _)| *number != missing).map(|(_, part)| part.clone());
            let whole: Vec<_> = left.chain(parts.clone()).filter_map(|part| gather.take(part)).collect();
            assert!(whole.is_empty(), "without part {missing}");
            assert_eq!(gather.broken(), Some("one"));
        }
        let mut gather = Reassembler::up_to(usize::MAX);
        assert!(parts.iter().take(parts.len() - 1).all(|part| gather.take(part.clone()).is_none()));
        assert_eq!(gather.broken(), Some("one"), "its last part has not come");
    }

    #[test]
    fn a_part_that_comes_twice_breaks_nothing() {
        let answer: Vec<u8> = (0..2_000_u32).map(|number| number as u8).collect();
        let parts = messages("one", &answer, 0);
        let mut gather = Reassembler::up_to(usize::MAX);
        let twice = (0..parts.len()).flat_map(|number| [number, number, 0]).map(|number| parts[number].clone());
        let whole: Vec<_> = twice.filter_map(|part| gather.take(part)).collect();
        assert_eq!(whole.first().map(|message| message.payload.as_ref()), Some(answer.as_slice()));
    }

    #[test]
    fn what_is_put_together_is_bounded() {
        let mut gather = Reassembler::up_to(1_000);
        for number in 0..100 {
            let whole = gather.take(messages(&format!("{number}"), &[7; 100], 10_000).remove(0));
            assert_eq!(whole.is_some(), number < 10, "answer {number}");
        }
        let mut gather = Reassembler::up_to(1_000);
        for number in 0..10_000 {
            let first = messages(&format!("{number}"), &[7; 2_000], 0).remove(0);
            assert!(gather.take(first).is_none());
        }
        let held: usize = gather.begun.values().flatten().map(|begun| begun.bytes.len()).sum();
        assert!(held <= 1_000 && gather.begun.len() <= MAX_BEGUN, "{held} bytes of {}", gather.begun.len());
        assert!(gather.take(messages(&"x".repeat(65), &[7; 2_000], 0).remove(0)).is_none());
    }

    #[test]
    fn what_strangers_say_of_parts_is_no_answer() {
        for said in ["1", "0/2", "3/2", "-1/2", "1/2/3", "a/b", "1/99999999999999999999999"] {
            let mut message = messages("one", b"x", 5_000).remove(0);
            let mut headers = HeaderMap::new();
            headers.insert(CHUNK_HEADER, said);
            message.headers = Some(headers);
            assert!(Reassembler::up_to(usize::MAX).take(message).is_none(), "{said}");
        }
    }
}
