//! The rules for texts in the configuration (docs/gateway-protocol.md 4.6), as predicates; the callers have places and messages.

/// Names of fields and processors.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(super) fn is_subject(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
}

pub(super) fn is_gateway_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Begins with three numbers with dots between; anything may follow.
pub(super) fn is_version(text: &str) -> bool {
    let parts: Vec<_> = text.splitn(3, '.').collect();
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts[..], [one, two, rest] if number(one) && number(two) && rest.starts_with(|c: char| c.is_ascii_digit()))
}

pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.ends_with('/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/')
}

/// An http or https URL with a host.
pub(super) fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    let plain = !text.contains(|c: char| c.is_ascii_control()) && !host.contains(' ');
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    known && !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && plain
}

pub(super) fn is_endpoint(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"?=./_-".contains(&byte);
    text.bytes().all(plain) && !["//", "..", "??", "./", "/=", "=/", "/?", "?/"].iter().any(|pair| text.contains(pair))
}

/// Names of headers; the caller decides whether one may be empty.
pub(super) fn is_header(text: &str) -> bool {
    text.is_ascii() && !text.contains([' ', '/', '(', ')', '<', '>', '@', ';', ':', '\\', '"', '[', ']', '?', '='])
}

/// `host:port`, nothing before or behind.
pub(super) fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['/', ',', ' ', '@']) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// Neither text nor text that is only written twice.
pub(super) fn is_ascii_text(text: &str) -> bool {
    !text.is_empty() && text.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_pass_and_texts_that_do_not() {
        for (rule, good, bad) in [
            (is_version as fn(&str) -> bool, &["1.0.1", "0.92.2-beta"][..], &["1.0", "v1.0.1", "1..1", "1.1.x"][..]),
            (is_path, &["/a/", "/", "//", "/a/b2/"], &["", "a/", "/a", "/a-b/"]),
            (
                is_url,
                &["http://h", "https://u:p@h:443/x?y", "HTTP://[::1]:80/"],
                &["", "h", "ftp://h", "http://", "http://:80", "http://h:x/"],
            ),
            (
                is_endpoint,
                &["", "a/b/c?api-version=2023-05-15"],
                &["a//b", "../a", "a?b=c&d=e", "a/?b", "http://x", "a%20b"],
            ),
            (is_host_and_port, &["localhost:4222"], &["nats://h:1", "h", "h:0", "a:1,b:2", "u@h:1"]),
            (is_gateway_id, &["BROKER01"], &["BROKER1", "broker01", "BROKER012"]),
            (is_subject, &["a.b_c", "a..b"], &["", "a-b", "a.*"]),
        ] {
            for text in good {
                assert!(rule(text), "{text} passes");
            }
            for text in bad {
                assert!(!rule(text), "{text} does not");
            }
        }
    }
}
