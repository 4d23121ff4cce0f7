//! What follows the ingress in a client's path, and is put behind a target's address: only what every server reads as a path
//! below that address passes.
//!
//! Servers decode paths, some of them twice, cut parameters after `;`, and take `\` for `/`; what one of them could read as a
//! step upwards is refused. An encoded slash is allowed: names have it, such as Bedrock's ARNs, and a server that decodes it stays
//! below all the same.

use percent_encoding::percent_decode_str;

/// Whether a path stays below what it is put behind, however a server reads it.
pub(super) fn stays_below(subpath: &str) -> bool {
    let Ok(decoded) = percent_decode_str(subpath).decode_utf8() else { return false };
    let encoded = |byte: &str| subpath.to_ascii_lowercase().contains(byte);
    is_well_encoded(subpath)
        && !has_escape(&decoded)
        && !["%2e", "%5c"].into_iter().any(encoded)
        && !decoded.contains(|letter: char| letter == '\\' || letter.is_control())
        && !decoded.split('/').any(is_dots)
}

/// Every `%` begins an escape of two hexadecimal digits.
fn is_well_encoded(path: &str) -> bool {
    path.split('%').skip(1).all(begins_with_digits)
}

/// It is encoded once more.
fn has_escape(decoded: &str) -> bool {
    decoded.split('%').skip(1).any(begins_with_digits)
}

fn begins_with_digits(behind: &str) -> bool {
    behind.as_bytes().first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// `.`, `..` or more dots, when parameters and blanks are gone.
fn is_dots(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    let letters: Vec<_> = name.chars().filter(|letter| !letter.is_whitespace()).collect();
    !letters.is_empty() && letters.iter().all(|letter| *letter == '.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BELOW: &[&str] = &[
        "",
        "/",
        "v1/chat/completions",
        "v1/chat/completions/",
        "a..b/c",
        "a../b",
        "..a/.well-known",
        "models/gpt-4.1",
        "v1beta/models/gemini-2.5-pro:generateContent",
        "models/gemini%3AstreamGenerateContent",
        "model/anthropic.claude-v2:1/invoke",
        "models/claude-opus@20240229:rawPredict",
        "@evil.example/",
        "a%20b/c%25",
        "a;b=c/d",
        "a%2Fb",
        "model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.anthropic.claude/converse",
        "a%2fb%2Fc",
        "a%2f",
        "M%C3%BCnchen",
        "a//b",
        "100%25",
    ];

    const ELSEWHERE: &[&str] = &[
        "..",
        ".",
        "a/../b",
        "./a",
        "a/.",
        "...",
        "%2e%2E/x",
        ".%2e",
        "%2e./x",
        "a%2eb",
        "a%2f..%2fb",
        "a%2f.",
        "a%2F..;x%2Fb",
        "..%2fadmin",
        ".%2F../admin",
        "a%2f%2e%2e%2fb",
        "a%5cb",
        "a\\..\\b",
        "a\\b",
        "..;/admin",
        "..;x=1/admin",
        ".;/admin",
        "..%3b/admin",
        "a/..;",
        "%252e%252e/admin",
        "%25252e%25252e/admin",
        "%252fadmin",
        "%255cadmin",
        "a%253fb",
        ".%00./admin",
        "a%00",
        "a%0d%0ab",
        "a%7f",
        "..%20/admin",
        "%20../admin",
        ".%20./admin",
        "%c0%ae%c0%ae/admin",
        "%u002e%u002e/admin",
        "%",
        "%2",
        "%zz",
        "%%32%65%%32%65/admin",
        "..%c2%85/admin",
    ];

    #[test]
    fn what_stays_below() {
        for good in BELOW {
            assert!(stays_below(good), "{good}");
        }
        for bad in ELSEWHERE {
            assert!(!stays_below(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_reading_of_what_passes_climbs(path in "([./;a\\\\]|%2[eEfF5]|%25|%5c|%3b|%00|%20|2e|2f){0,12}") {
            if stays_below(&path) {
                let mut read = path;
                for _ in 0..4 {
                    let plain = read.replace('\\', "/");
                    for segment in plain.split('/') {
                        let name = segment.split(';').next().unwrap_or_default().trim();
                        prop_assert!(name != "." && name != "..", "{read}");
                    }
                    prop_assert!(!read.contains('\0'));
                    read = percent_decode_str(&read).decode_utf8().unwrap().into_owned();
                }
            }
        }
    }
}
