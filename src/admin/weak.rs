//! Tokens that can be guessed. A listener on the bus can try tokens against the signatures there, as fast as its processor
//! allows. So a token must be long and random.

/// The shortest token, in characters.
const MIN_TOKEN_CHARS: usize = 16;
/// The least number of different characters of a token. Of 16 random hexadecimal digits one token in 12,000 has fewer.
const MIN_DISTINCT_CHARS: usize = 6;

/// Why a token is too weak; reads after its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    #[error("must have at least 16 characters, drawn at random, such as the output of: openssl rand -hex 32")]
    Short,
    /// The same few characters, the same part again, or rows such as `abcd` and `1234`.
    #[error(
        "is too easy to guess (few different characters, a repeated part, or rows such as 1234): must be drawn at random, such as \
         the output of: openssl rand -hex 32"
    )]
    Simple,
}

/// What makes a token easy to guess, if anything does.
pub fn weakness(token: &str) -> Option<Weakness> {
    let letters: Vec<char> = token.chars().collect();
    if letters.len() < MIN_TOKEN_CHARS {
        return Some(Weakness::Short);
    }
    let simple = distinct_chars(&letters) < MIN_DISTINCT_CHARS
        || is_repeated(&letters)
        || unrelated_chars(&letters) < MIN_DISTINCT_CHARS;
    simple.then_some(Weakness::Simple)
}

fn distinct_chars(letters: &[char]) -> usize {
    let mut different = letters.to_vec();
    different.sort_unstable();
    different.dedup();
    different.len()
}

/// Whether it is a shorter text of fewer than [`MIN_TOKEN_CHARS`] characters, over and over.
fn is_repeated(letters: &[char]) -> bool {
    let again = |period: usize| letters.iter().zip(letters.iter().skip(period)).all(|(one, other)| one == other);
    (1..MIN_TOKEN_CHARS.min(letters.len())).any(|period| period * 2 <= letters.len() && again(period))
}

/// The number of characters that are neither the same as the one before nor its neighbour.
fn unrelated_chars(letters: &[char]) -> usize {
    let follows = |pair: &[char]| matches!(pair, [one, other] if u32::from(*one).abs_diff(u32::from(*other)) <= 1);
    letters.len() - letters.windows(2).filter(|pair| follows(pair)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weak_and_strong_tokens() {
        for weak in [
            "",
            "secret-15-chars",
            "aaaaaaaaaaaaaaaaaaaa",
            "1234567890123456",
            "abcdefghijklmnopqrstuvwxyz",
            "0123456789abcdef",
            "passwordpassword",
            "abcabcabcabcabcabc",
            "adminadminadmina",
            "0000000000000001",
        ] {
            assert!(weakness(weak).is_some(), "{weak}");
        }
        for strong in [
            "operators-token-0123456789",
            "the-operators-own-token",
            "3f9c1be07a52d48e6b90f1c7a2e4d583",
            "another-token-altogether",
            "öffne-dich-berg-sesam-17",
        ] {
            assert_eq!(weakness(strong), None, "{strong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_drawn_is_taken(bytes in proptest::array::uniform16(any::<u8>())) {
            prop_assert_eq!(weakness(&llm::sigv4::hex(&bytes)), None);
        }
    }
}
