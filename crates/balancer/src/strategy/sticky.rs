//! `sticky`: weighted rendezvous hashing of a request's key. One key goes to one child as long as that may serve;
//! when a child comes or goes, only its own share of the keys moves. Stateless.
//!
//! Each child's score is −weight ⁄ ln(u), with u its hash for this key in (0, 1); the highest wins, so the shares of
//! the keys are those of the weights.

use std::hash::Hasher;

use rand::Rng;

use super::query::Field;
use super::{Choices, EligibleChild, Length, Pick, PickReason, untried, weighted};
use types::request::Request;

pub(super) fn next<Q: Request, R: Rng>(
    key: &Field,
    choices: Choices<'_>,
    drawn: &[u16],
    request: &Q,
    rng: &mut R,
) -> Option<Pick> {
    let Some(values) = key.values(request) else {
        return weighted::next(choices, drawn, rng, PickReason::NoKey(Length::TooLong));
    };
    let Some(value) = values.into_iter().find(|value| !value.is_null()) else {
        return weighted::next(choices, drawn, rng, PickReason::NoKey(Length::Fits));
    };
    // A text without its quotes, everything else as it is spelled.
    let key = hash(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let scored = untried(choices.eligible, drawn).map(|entry| (score(key, entry), entry));
    let (_, chosen) = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    Some(chosen.pick(Some(1.0), PickReason::Sticky))
}

fn score(key: u64, entry: &EligibleChild) -> f64 {
    // 53 bits and a half: strictly between 0 and 1.
    let u = ((mix(key ^ entry.identity) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -entry.weight / u.ln()
}

/// The hash of a text; stable across versions of this program.
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
