//! What is held back of an answer, in one buffer: an answer that comes in parts of one byte costs no more than its length.

use bytes::{Bytes, BytesMut};

/// The parts so far, joined.
#[derive(Debug, Default)]
pub(super) struct BufferedParts {
    /// The only part, as it came: most answers have one, and it need not be copied.
    first: Bytes,
    /// All parts, once there are two.
    all: BytesMut,
}

impl BufferedParts {
    /// Adds a part.
    pub(super) fn push(&mut self, part: Bytes) {
        if self.all.is_empty() && self.first.is_empty() {
            self.first = part;
            return;
        }
        self.all.extend_from_slice(&std::mem::take(&mut self.first));
        self.all.extend_from_slice(&part);
    }

    /// All of it; `None` if nothing came.
    pub(super) fn into_bytes(self) -> Option<Bytes> {
        let bytes = if self.all.is_empty() { self.first } else { self.all.freeze() };
        (!bytes.is_empty()).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_joined(parts in prop::collection::vec("[a-z]{0,3}", 0..20)) {
            let mut held = BufferedParts::default();
            let mut expected = String::new();
            for part in parts {
                held.push(Bytes::from(part.clone()));
                expected += &part;
            }
            prop_assert_eq!(held.into_bytes().unwrap_or_default(), expected);
        }
    }

    #[test]
    fn one_part_is_not_copied() {
        let part = Bytes::from_static(b"whole");
        let mut held = BufferedParts::default();
        held.push(Bytes::new());
        held.push(part.clone());
        assert_eq!(held.into_bytes().unwrap().as_ptr(), part.as_ptr());
    }
}
