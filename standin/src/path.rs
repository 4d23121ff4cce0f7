//! Slash-separated paths, cleaned and joined as Go's standard library does, because routing and upstream paths depend on it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but the characters that Go leaves alone in a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// `None` if a `%` is not followed by two hexadecimal digits.
pub(crate) fn decode(escaped: &str) -> Option<String> {
    let well_formed = escaped.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    });
    well_formed.then(|| percent_decode_str(escaped).decode_utf8_lossy().into_owned())
}

pub(crate) fn encode(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED).to_string()
}

/// A request's path: `.` and empty segments dropped, `..` resolved (not above the root), one final slash kept.
pub(crate) fn clean(path: &str) -> String {
    let mut cleaned = resolve(&format!("/{path}"));
    if path.ends_with('/') && cleaned != "/" {
        cleaned.push('/');
    }
    cleaned
}

/// Go's `path.Clean`: no final slash, and a path that does not begin with a slash may begin with `..`, or be `.`.
fn resolve(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => drop(kept.pop()),
            ".." if rooted => {}
            _ => kept.push(segment),
        }
    }
    match (rooted, kept.is_empty()) {
        (true, _) => format!("/{}", kept.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => kept.join("/"),
    }
}

/// An upstream path. A final slash is added back even after a bare root, hence the gateway's `//`.
pub(crate) fn join(base: &str, rest: &str) -> String {
    let mut joined = match (base, rest) {
        ("", "") => String::new(),
        ("", one) | (one, "") => resolve(one),
        (base, rest) => resolve(&format!("{base}/{rest}")),
    };
    if format!("{base}{rest}").trim_matches(' ').ends_with('/') {
        joined.push('/');
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unclean_paths_are_cleaned() {
        for (path, cleaned) in [("/a//b", "/a/b"), ("/a/./b/", "/a/b/"), ("/a/../../b", "/b"), ("/", "/"), ("", "/")] {
            assert_eq!(clean(path), cleaned);
        }
    }

    #[test]
    fn joining_keeps_the_final_slash_and_the_doubled_one() {
        for (base, rest, joined) in [
            ("", "", ""),
            ("/", "", "//"),
            ("", "x", "x"),
            ("", "../x/", "../x/"),
            ("", "..", ".."),
            ("", ".", "."),
            ("/v1", "x/ ", "/v1/x/ /"),
            ("/v1", "chat/", "/v1/chat/"),
            ("/v1/", "", "/v1/"),
            ("/v1", "../up", "/up"),
        ] {
            assert_eq!(join(base, rest), joined, "{base} + {rest}");
        }
    }

    #[test]
    fn an_escape_needs_two_digits() {
        assert_eq!(decode("/a%2Fb%20c").as_deref(), Some("/a/b c"));
        for bad in ["/%", "/%2", "/%zz", "/%2/", "/a%%20"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_question_mark_in_a_path_is_escaped() {
        assert_eq!(encode("/a?b c/ü"), "/a%3Fb%20c/%C3%BC");
    }
}
