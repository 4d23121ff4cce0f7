//! What the bytes of an upstream's answer say about the upstream, where no log tells it.

use serde::de::IgnoredAny;

use super::scan::{Cursor, Raw};

/// How the gateway answers when it could not reach the upstream (GATEWAY.md 4.7).
const MADE_BY_GATEWAY: &[u8] = br#"{"error":"failure making request"}"#;

/// Whether the body of an answer says that the deployment does not exist.
pub fn deployment_missing(body: &[u8]) -> bool {
    let code = Cursor::new(body).raw().ok().and_then(|body| body.field("error")?.field("code"));
    code.and_then(Raw::text) == Some("DeploymentNotFound")
}

/// Whether the gateway itself made an answer, because it could not reach the upstream.
pub fn made_by_gateway(body: &[u8]) -> bool {
    body.trim_ascii() == MADE_BY_GATEWAY
}

/// Whether a body is one JSON document.
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// The first event of a stream of server-sent events that says anything, comments left aside, once it is whole.
pub fn first_event(stream: &[u8]) -> Option<&[u8]> {
    let mut rest = stream;
    loop {
        let (event, behind) = event(rest)?;
        if event.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| !line.is_empty() && !line.starts_with(b":")) {
            return Some(event);
        }
        rest = behind;
    }
}

/// An event and what follows the empty line that ends it.
fn event(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let ends = [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"].into_iter();
    let (at, end) = ends.filter_map(|end| Some((memchr::memmem::find(stream, end)?, end.len()))).min()?;
    Some((stream.get(..at)?, stream.get(at + end..)?))
}

/// Whether an event carries an error: it is named so, or its data is an object with `error` in it.
pub fn is_error_event(event: &[u8]) -> bool {
    event.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| match line.split_at_checked(6) {
        Some((b"event:", name)) => name.trim_ascii() == b"error",
        _ => line.strip_prefix(b"data:").is_some_and(has_error),
    })
}

fn has_error(data: &[u8]) -> bool {
    let error = Cursor::new(data.trim_ascii()).raw().ok().and_then(|data| data.field("error"));
    error.is_some_and(|error| !matches!(error.bytes(), b"null"))
}

/// Whether a part of a stream looks like one that carries an error. Parts are not events, so this is a guess; it is only used
/// to judge a target whose answer the client has already.
pub fn hints_at_error(part: &[u8]) -> bool {
    memchr::memmem::find(part, b"data: {\"error\"").is_some() || memchr::memmem::find(part, b"event: error").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_event_that_says_anything() {
        for (stream, expected) in [
            ("", None),
            ("data: {}", None),
            ("data: {}\n", None),
            ("data: {}\n\ndata: 2\n\n", Some("data: {}")),
            ("data: {}\r\n\r\ndata: 2\n\n", Some("data: {}")),
            ("data: {}\r\rdata: 2\n\n", Some("data: {}")),
            (": wait\n\n: wait\n\ndata: 1\n\n", Some("data: 1")),
            (": wait\n\n", None),
            ("\n\ndata: 1\n\n", Some("data: 1")),
            ("event: error\ndata: {}\n\n", Some("event: error\ndata: {}")),
        ] {
            assert_eq!(first_event(stream.as_bytes()), expected.map(str::as_bytes), "{stream:?}");
        }
    }

    #[test]
    fn events_that_carry_an_error() {
        for (event, is) in [
            ("event: error\ndata: {}", true),
            ("event:error", true),
            ("data: {\"error\": {\"code\": 500}}", true),
            ("data:{\"id\":1,\"error\":\"x\"}", true),
            ("data: {\"error\": null, \"choices\": []}", false),
            ("data: {\"choices\": [{\"delta\": {\"content\": \"error\"}}]}", false),
            ("data: [DONE]", false),
            ("event: message_start\ndata: {}", false),
            ("data: error", false),
        ] {
            assert_eq!(is_error_event(event.as_bytes()), is, "{event}");
        }
    }

    #[test]
    fn what_a_body_says() {
        assert!(deployment_missing(br#"{"error": {"code": "DeploymentNotFound"}}"#));
        assert!(!deployment_missing(br#"{"error": {"code": "404"}}"#) && !deployment_missing(b"<html>"));
        assert!(made_by_gateway(b"{\"error\":\"failure making request\"}\n") && !made_by_gateway(b"{}"));
        assert!(is_json(b" {\"a\": [1]} ") && !is_json(b"{\"a\": [1") && !is_json(b""));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(event) = first_event(&bytes) {
                is_error_event(event);
            }
            let _ = (deployment_missing(&bytes), is_error_event(&bytes), hints_at_error(&bytes));
        }
    }
}
