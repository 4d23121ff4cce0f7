//! Recognises equal requests by the length and a digest of their payloads, which are not kept.

use std::hash::Hasher;

use rustc_hash::FxHasher;

/// Bytes of each end of a payload that [`PayloadDigest::from_ends`] hashes.
const DIGESTED_END_BYTES: usize = 4_096;

/// The length and a digest of a payload, equal for equal payloads. Never leaves the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadDigest {
    /// Bytes of the payload.
    pub length: usize,
    digest: u64,
}

impl PayloadDigest {
    /// The digest of the whole payload, at about 0.1 ms per megabyte: never computed under a lock.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut hasher = FxHasher::default();
        hasher.write(bytes);
        Self { length: bytes.len(), digest: hasher.finish() }
    }

    /// The digest of both ends of a payload, at constant cost.
    pub fn from_ends(bytes: &[u8]) -> Self {
        let mut hasher = FxHasher::default();
        hasher.write(bytes.get(..DIGESTED_END_BYTES).unwrap_or(bytes));
        hasher.write(
            bytes.len().checked_sub(DIGESTED_END_BYTES).and_then(|start| bytes.get(start..)).unwrap_or_default(),
        );
        Self { length: bytes.len(), digest: hasher.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_differ_by_length_by_either_end_and_as_a_whole_by_every_byte() {
        let long = vec![b'a'; 100_000];
        let changed = |place: usize| {
            let mut other = long.clone();
            other[place] = b'b';
            other
        };
        for digest in [PayloadDigest::from_bytes, PayloadDigest::from_ends] {
            assert_eq!(digest(&long), digest(&long.clone()));
            assert_ne!(digest(&long), digest(&long[1..]));
            assert_ne!(digest(&long), digest(&changed(0)));
            assert_ne!(digest(&long), digest(&changed(99_999)));
        }
        assert_ne!(PayloadDigest::from_bytes(&long), PayloadDigest::from_bytes(&changed(50_000)));
    }
}
