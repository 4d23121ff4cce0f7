//! The ids of replicas, which are also in the transaction ids of the calls of their relays.

use rand::RngExt;

/// The letters of an id: 32, without those that are easily confused.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const ID_CHARS: usize = 8;

/// A random id.
pub fn random() -> String {
    let mut rng = rand::rng();
    (0..ID_CHARS).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect()
}

/// Whether a name has the form of an id, in letters of either case.
pub fn is_replica_id(name: &str) -> bool {
    name.len() == ID_CHARS && name.bytes().all(|letter| LETTERS.contains(&letter.to_ascii_lowercase()))
}
