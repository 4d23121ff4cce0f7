//! `sticky`: weighted rendezvous hashing of a request's key. The same key goes to the same child as long as that may serve;
//! when a child goes or comes, only its own share of the keys moves. Nothing is stored.
//!
//! Each child gets the score −weight ⁄ ln(u), u its own number in (0, 1) for this key; the highest wins, which gives each
//! child a share of the keys that is its share of the weights.

use std::hash::Hasher;

use rand::Rng;

use super::query::Field;
use super::{Length, Named, Note, Open, Those, left, weighted};
use crate::request::Request;

pub(super) fn next<Q: Request, R: Rng>(
    key: &Field,
    those: Those<'_>,
    drawn: &[u16],
    request: &Q,
    rng: &mut R,
) -> Option<Named> {
    let Some(values) = key.values(request) else {
        return weighted::next(those, drawn, rng, Note::NoKey(Length::TooLong));
    };
    let Some(value) = values.into_iter().find(|value| !value.is_null()) else {
        return weighted::next(those, drawn, rng, Note::NoKey(Length::Fits));
    };
    // A text without its quotes, everything else as it is spelled.
    let key = hash(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let scored = left(those.open, drawn).map(|open| (score(key, open), open.child));
    let (_, child) = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    Some(Named { child, p: Some(1.0), note: Note::Sticky })
}

fn score(key: u64, open: &Open) -> f64 {
    // 53 bits and a half: strictly between 0 and 1.
    let u = ((mix(key ^ open.identity) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -open.weight / u.ln()
}

/// The hash of a text, the same in every version of this program.
pub fn hash(text: &str) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(text.as_bytes());
    mix(hasher.finish())
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): every bit of the input changes every bit of the output.
const fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
