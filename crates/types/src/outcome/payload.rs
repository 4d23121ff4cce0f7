//! Recognises equal requests by the length and a digest of their payloads, which are not kept.

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use rustc_hash::FxHasher;

/// Bytes of each end of a payload that [`PayloadDigest::from_ends`] hashes.
const DIGESTED_END_BYTES: usize = 4_096;

/// The length and a digest of a payload, equal for equal payloads. Log entries of the relay have it, and replicas of different versions
/// compare it: how it is computed and written never changes.
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

impl fmt::Display for PayloadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.length, self.digest)
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a length and a digest, such as 27-00c0ffee00c0ffee")]
pub struct NoPayloadDigest;

impl FromStr for PayloadDigest {
    type Err = NoPayloadDigest;

    fn from_str(text: &str) -> Result<Self, NoPayloadDigest> {
        let (length, digest) = text.split_once('-').filter(|(_, digest)| digest.len() == 16).ok_or(NoPayloadDigest)?;
        let length = length.parse().map_err(|_| NoPayloadDigest)?;
        let digest = u64::from_str_radix(digest, 16).map_err(|_| NoPayloadDigest)?;
        Ok(Self { length, digest })
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

    #[test]
    fn it_is_the_same_in_every_version() {
        for (payload, digest) in [
            (&b""[..], "0-f456d26876d72d91"),
            (b"{}", "2-3e7f334cb4a2dae2"),
            (b"{\"model\": \"gpt-4\"}", "18-516bcc7eb4c1feaa"),
        ] {
            assert_eq!(PayloadDigest::from_bytes(payload).to_string(), digest);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for payload in [&b""[..], b"a", &[0; 70_000]] {
            let digest = PayloadDigest::from_bytes(payload);
            assert_eq!(digest.to_string().parse(), Ok(digest));
        }
        for text in ["", "-", "5", "5-", "x-00c0ffee00c0ffee", "5-00c0ffee00c0ffee0", "5-xyz"] {
            assert_eq!(text.parse::<PayloadDigest>(), Err(NoPayloadDigest), "{text}");
        }
    }
}
