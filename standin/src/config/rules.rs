//! Predicates: which strings the configuration may hold.

/// Field and processor names.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

pub(super) fn is_subject(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_')
}

pub(super) fn is_gateway_id(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Begins with three numbers separated by dots; anything may follow.
pub(super) fn is_version(text: &str) -> bool {
    let mut parts = text.splitn(3, '.');
    let number = |part: Option<&str>| part.is_some_and(|part| !part.is_empty() && part.bytes().all(is_digit));
    number(parts.next())
        && number(parts.next())
        && parts.next().is_some_and(|rest| rest.bytes().next().is_some_and(is_digit))
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

pub(super) fn is_router_path(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    plain && text.starts_with('/') && text.ends_with('/')
}

/// Every header name in the file. The gateway accepts an empty one except for the session header.
pub(super) fn is_header_name(text: &str) -> bool {
    text.is_ascii() && !text.contains([' ', '/', '(', ')', '<', '>', '@', ';', ':', '\\', '"', '[', ']', '?', '='])
}

pub(super) fn is_header_value(text: &str) -> bool {
    !text.is_empty() && text.is_ascii()
}

/// `host:port`, without a scheme or a second server.
pub(super) fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let named = !host.is_empty() && !host.contains(['/', ',', ' ', '@']);
        named && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

pub(super) fn is_endpoint(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"?=./_-".contains(&byte);
    text.bytes().all(plain) && !["//", "..", "??", "./", "/=", "=/", "/?", "?/"].iter().any(|pair| text.contains(pair))
}

pub(super) fn are_unique(texts: &[String]) -> bool {
    texts.iter().enumerate().all(|(at, text)| !texts[..at].contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_begin_with_three_numbers() {
        for (text, good) in [("1.0.1", true), ("0.92.2-beta", true), ("1.0", false), ("v1.0.1", false), ("1..1", false)]
        {
            assert_eq!(is_version(text), good, "{text}");
        }
    }

    #[test]
    fn endpoints_carry_at_most_one_parameter() {
        assert!(is_endpoint("openai/deployments/gpt4/chat/completions?api-version=2023-05-15"));
        for bad in ["a//b", "../a", "a?b=c&d=e", "a/?b", "http://x", "a%20b"] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }

    #[test]
    fn the_bus_is_one_host_and_port() {
        for (text, good) in
            [("localhost:4222", true), ("nats://h:1", false), ("h", false), ("h:0", false), ("a:1,b:2", false)]
        {
            assert_eq!(is_host_and_port(text), good, "{text}");
        }
    }
}
