//! Recognises equal requests by the length and a digest of their payloads, which are not kept.

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use rustc_hash::FxHasher;

/// Bytes of each end of a payload that [`PayloadDigest::from_ends`] hashes.
const DIGESTED_END_BYTES: usize = 4_096;

/// The length and a digest of a payload, equal for equal payloads. Log entries of the relay have that of a whole request, and replicas of
/// different versions compare it: how it is computed and written never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadDigest {
    /// Bytes of the payload.
    pub length: usize,
    digest: u64,
}

impl PayloadDigest {
    /// The digest of a whole request, at about 0.1 ms per megabyte: never computed under a lock. The same body asks for another thing at
    /// another path. The body comes in pieces, where a part of it is left out.
    pub fn from_request<'a>(method: &str, path: &str, body: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = FxHasher::default();
        hasher.write(method.as_bytes());
        hasher.write(path.as_bytes());
        let mut length = 0;
        for piece in body {
            hasher.write(piece);
            length += piece.len();
        }
        Self { length, digest: hasher.finish() }
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

    fn request(body: &[u8]) -> PayloadDigest {
        PayloadDigest::from_request("POST", "v1/chat/completions", [body])
    }

    #[test]
    fn payloads_differ_by_length_by_either_end_and_requests_by_every_byte() {
        let long = vec![b'a'; 100_000];
        let changed = |place: usize| {
            let mut other = long.clone();
            other[place] = b'b';
            other
        };
        for digest in [request, PayloadDigest::from_ends] {
            assert_eq!(digest(&long), digest(&long.clone()));
            assert_ne!(digest(&long), digest(&long[1..]));
            assert_ne!(digest(&long), digest(&changed(0)));
            assert_ne!(digest(&long), digest(&changed(99_999)));
        }
        assert_ne!(request(&long), request(&changed(50_000)));
    }

    #[test]
    fn a_request_is_another_one_at_another_path_and_by_another_method() {
        let of = |method, path| PayloadDigest::from_request(method, path, [&b"{}"[..]]);
        assert_eq!(of("POST", "a"), of("POST", "a"));
        for (method, path) in [("GET", "a"), ("POST", "b"), ("POST", ""), ("POSTa", "")] {
            assert_ne!(of(method, path), of("POST", "a"), "{method} {path}");
        }
    }

    #[test]
    fn it_is_the_same_in_every_version() {
        let digests = [&b""[..], b"{}", b"{\"model\": \"gpt-4\"}"].map(|body| request(body).to_string());
        assert_eq!(digests, ["0-05bf960bc4beef45", "2-4fe7f6f0068a9c95", "18-62d4902206a9c05d"]);
    }

    #[test]
    fn what_is_written_is_read() {
        for payload in [&b""[..], b"a", &[0; 70_000]] {
            let digest = request(payload);
            assert_eq!(digest.to_string().parse(), Ok(digest));
        }
        for text in ["", "-", "5", "5-", "x-00c0ffee00c0ffee", "5-00c0ffee00c0ffee0", "5-xyz"] {
            assert_eq!(text.parse::<PayloadDigest>(), Err(NoPayloadDigest), "{text}");
        }
    }
}
