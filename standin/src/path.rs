//! Slash-separated paths, cleaned and joined as Go's standard library does, because routing and upstream paths depend on it.

use std::borrow::Cow;

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

pub(crate) fn decode(escaped: &str) -> Cow<'_, str> {
    percent_decode_str(escaped).decode_utf8_lossy()
}

pub(crate) fn encode(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED).to_string()
}

/// `.` and empty segments dropped, `..` resolved (not above the root), one final slash kept.
pub(crate) fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut cleaned = format!("/{}", kept.join("/"));
    if path.ends_with('/') && cleaned != "/" {
        cleaned.push('/');
    }
    cleaned
}

/// An upstream path. A final slash is added back even after a bare root, hence the gateway's `//`.
pub(crate) fn join(base: &str, rest: &str) -> String {
    let ends_with_slash = if rest.is_empty() { base.ends_with('/') } else { rest.ends_with('/') };
    if base.is_empty() && rest.is_empty() {
        return String::new();
    }
    let mut joined = clean(&format!("{base}/{rest}"));
    if joined.len() > 1 && joined.ends_with('/') {
        joined.pop();
    }
    if ends_with_slash {
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
            ("", "x", "/x"),
            ("/v1", "chat/", "/v1/chat/"),
            ("/v1/", "", "/v1/"),
            ("/v1", "../up", "/up"),
        ] {
            assert_eq!(join(base, rest), joined, "{base} + {rest}");
        }
    }

    #[test]
    fn a_question_mark_in_a_path_is_escaped() {
        assert_eq!(encode("/a?b c/ü"), "/a%3Fb%20c/%C3%BC");
    }
}
