//! The bodies of requests in memory. What is allocated for them counts against one limit for the process: its capacity, not
//! its length; both buffers while one grows into the other; and until the last reference is gone, since a connection may still
//! write a body after its call has ended.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which memory is counted, in bytes.
const UNIT_BYTES: usize = 1 << 10;
/// Each buffer of a body that grows is this many times as large as the one before. A larger factor would let a client take more
/// memory than it has sent bytes for.
const GROWTH_FACTOR: usize = 2;
/// The smallest buffer for a body that is not known to be shorter, in bytes.
const FIRST_BYTES: usize = 4 << 10;

/// The memory for all bodies.
#[derive(Debug, Clone)]
pub(super) struct BodyMemory(Arc<Semaphore>);

/// There is no memory left for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoMemory;

/// A body that is being received.
#[derive(Debug)]
pub(super) struct BodyBuffer {
    memory: BodyMemory,
    /// The most bytes that the body can have.
    most: usize,
    bytes: Vec<u8>,
    counted: Option<OwnedSemaphorePermit>,
}

/// Memory that is counted and not yet allocated.
#[derive(Debug)]
pub(super) struct Reserved {
    memory: BodyMemory,
    bytes: usize,
    counted: OwnedSemaphorePermit,
}

/// A body with its share of the limit.
struct Counted {
    bytes: Vec<u8>,
    _counted: Vec<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BodyMemory {
    /// Room for this many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT_BYTES)))
    }

    /// An empty buffer for a body of at most `most` bytes. It takes memory as the body comes, not before.
    pub(super) fn buffer(&self, most: usize) -> BodyBuffer {
        BodyBuffer { memory: self.clone(), most, bytes: Vec::new(), counted: None }
    }

    /// Counts this many bytes before they are allocated.
    ///
    /// # Errors
    /// The limit would be exceeded.
    pub(super) fn reserve(&self, bytes: usize) -> Result<Reserved, NoMemory> {
        Ok(Reserved { memory: self.clone(), bytes, counted: self.count(bytes)? })
    }

    fn count(&self, bytes: usize) -> Result<OwnedSemaphorePermit, NoMemory> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).map_err(|_| NoMemory)?;
        Arc::clone(&self.0).try_acquire_many_owned(units).map_err(|_| NoMemory)
    }
}

impl BodyBuffer {
    /// How many bytes have come.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a part.
    ///
    /// # Errors
    /// The limit would be exceeded, or the body would be longer than it can be.
    pub(super) fn push(&mut self, part: &[u8]) -> Result<(), NoMemory> {
        let needed = self.bytes.len() + part.len();
        if needed > self.bytes.capacity() {
            self.grow(needed)?;
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    /// Moves into a larger buffer: the smallest that is enough of the most it can come to, a half of that, a quarter, and so on.
    /// So each byte is moved twice at most on average, and the last buffer is exactly as long as the body, if its length was
    /// announced.
    fn grow(&mut self, needed: usize) -> Result<(), NoMemory> {
        if needed > self.most {
            return Err(NoMemory);
        }
        let mut capacity = self.most;
        while capacity / GROWTH_FACTOR >= needed.max(FIRST_BYTES) {
            capacity /= GROWTH_FACTOR;
        }
        let counted = self.memory.count(capacity)?;
        let mut larger = Vec::with_capacity(capacity);
        larger.extend_from_slice(&self.bytes);
        self.bytes = larger;
        self.counted = Some(counted);
        Ok(())
    }

    /// The whole body. Its clones share the memory, which is counted until the last of them is gone.
    pub(super) fn freeze(self) -> Bytes {
        shared(self.bytes, self.counted.into_iter().collect())
    }
}

impl Reserved {
    /// Keeps these bytes in the reserved memory, and counts what they have allocated beyond it.
    ///
    /// # Errors
    /// The limit would be exceeded by what is beyond.
    pub(super) fn keep(self, bytes: Vec<u8>) -> Result<Bytes, NoMemory> {
        let beyond = bytes.capacity().saturating_sub(self.bytes);
        let mut counted = vec![self.counted];
        if beyond > 0 {
            counted.push(self.memory.count(beyond)?);
        }
        Ok(shared(bytes, counted))
    }
}

fn shared(bytes: Vec<u8>, counted: Vec<OwnedSemaphorePermit>) -> Bytes {
    if counted.is_empty() { Bytes::new() } else { Bytes::from_owner(Counted { bytes, _counted: counted }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn used(memory: &BodyMemory, all: usize) -> usize {
        (all / UNIT_BYTES - memory.0.available_permits()) * UNIT_BYTES
    }

    #[test]
    fn memory_is_taken_as_a_body_comes_and_no_more_than_it_announced() {
        const ALL: usize = 64 << 20;
        let memory = BodyMemory::new(ALL);
        let mut body = memory.buffer(20 << 20);
        assert_eq!(used(&memory, ALL), 0, "nothing has come");
        body.push(b"{").unwrap();
        assert!(used(&memory, ALL) <= GROWTH_FACTOR * FIRST_BYTES, "{}", used(&memory, ALL));
        body.push(&vec![b'x'; (20 << 20) - 1]).unwrap();
        assert_eq!((body.bytes.capacity(), used(&memory, ALL)), (20 << 20, 20 << 20));
        assert_eq!(body.push(b"x"), Err(NoMemory), "longer than it can be");
        let body = body.freeze();
        let clone = body.clone();
        assert_eq!(body.as_ptr(), clone.as_ptr(), "one buffer");
        drop(body);
        assert_eq!(used(&memory, ALL), 20 << 20, "one reference is left");
        drop(clone);
        assert_eq!(used(&memory, ALL), 0);
    }

    #[test]
    fn both_buffers_count_while_one_grows_into_the_other() {
        let memory = BodyMemory::new(24 << 10);
        let mut body = memory.buffer(16 << 10);
        body.push(&[0; 8 << 10]).unwrap();
        let other = memory.reserve(1 << 10).unwrap();
        assert_eq!(body.push(b"x"), Err(NoMemory), "8 KB and 16 KB would be held at once");
        drop(other);
        body.push(b"x").unwrap();
        assert_eq!((body.len(), used(&memory, 24 << 10)), ((8 << 10) + 1, 16 << 10));
        drop(body);
        assert_eq!(used(&memory, 24 << 10), 0);
    }

    #[test]
    fn what_a_rewritten_body_takes_beyond_its_reservation_counts_too() {
        let memory = BodyMemory::new(16 << 10);
        let body = memory.reserve(4 << 10).unwrap().keep(Vec::with_capacity(10 << 10)).unwrap();
        assert_eq!(used(&memory, 16 << 10), 10 << 10);
        assert_eq!(memory.reserve(4 << 10).unwrap().keep(Vec::with_capacity(20 << 10)), Err(NoMemory));
        drop(body);
        assert_eq!(used(&memory, 16 << 10), 0);
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_is_allocated_and_bytes_move_seldom(
            parts in prop::collection::vec(0_usize..3_000, 0..200),
            spare in 0_usize..100_000,
        ) {
            const ALL: usize = 4 << 20;
            let memory = BodyMemory::new(ALL);
            let whole: usize = parts.iter().sum();
            let mut body = memory.buffer(whole + spare);
            let (mut expected, mut moved, mut capacity) = (Vec::new(), 0, 0);
            for (number, length) in parts.into_iter().enumerate() {
                let part = vec![number as u8; length];
                body.push(&part).unwrap();
                expected.extend_from_slice(&part);
                if body.bytes.capacity() != capacity {
                    moved += body.len() - length;
                    capacity = body.bytes.capacity();
                }
                prop_assert_eq!(used(&memory, ALL), capacity.div_ceil(UNIT_BYTES) * UNIT_BYTES);
                prop_assert!(capacity <= (GROWTH_FACTOR * (body.len() + 1)).max(GROWTH_FACTOR * (FIRST_BYTES + 1)).min(whole + spare));
            }
            prop_assert!(moved <= 2 * whole, "{} of {}", moved, whole);
            prop_assert_eq!(body.freeze(), expected);
            prop_assert_eq!(used(&memory, ALL), 0);
        }
    }
}
