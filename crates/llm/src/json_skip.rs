//! Where values of JSON text end: found by their quotes and brackets, without reading what is in them.

use memchr::memchr;

pub(crate) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// Where the value that begins at `at` ends.
pub(crate) fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => skip_string(bytes, at),
        b'{' | b'[' => skip_nested(bytes, at),
        _ => {
            let literal = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
            let length = bytes.get(at..)?.iter().take_while(literal).count();
            (length > 0).then_some(at + length)
        }
    }
}

/// Where the string ends whose first quote is at `at`. Only quotes are searched for: one behind an even number of
/// backslashes is the last.
#[inline]
pub(crate) fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut from = at + 1;
    loop {
        let quote = find_quote(bytes, from)?;
        if bytes.get(quote - 1) != Some(&b'\\') {
            return Some(quote + 1);
        }
        let backslashes = bytes.get(from..quote)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        from = quote + 1;
        if backslashes % 2 == 0 {
            return Some(from);
        }
    }
}

/// The next quote. Names and short values end within a few bytes, so eight at once are looked at here, a few times, before
/// `memchr`, which is faster over a distance.
#[inline]
fn find_quote(bytes: &[u8], mut from: usize) -> Option<usize> {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    for _ in 0..3 {
        let Some(word) = bytes.get(from..).and_then(<[u8]>::first_chunk) else { break };
        let differs = u64::from_le_bytes(*word) ^ QUOTES;
        let equal = differs.wrapping_sub(LOW) & !differs & HIGH;
        if equal != 0 {
            return Some(from + equal.trailing_zeros() as usize / 8);
        }
        from += 8;
    }
    memchr(b'"', bytes.get(from..)?).map(|distance| from + distance)
}

/// Where the object or array ends that begins at `at`.
fn skip_nested(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = skip_string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}
