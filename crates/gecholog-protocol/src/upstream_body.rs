//! What the bytes of an upstream's answer say about the upstream, where no log entry does.

use serde::de::IgnoredAny;

use super::missing::Missing;
use super::scan::{Cursor, RawJson};

/// How the gateway answers when it could not reach the upstream (docs/gateway-protocol.md 4.7).
const MADE_BY_GATEWAY: &[u8] = br#"{"error":"failure making request"}"#;

/// What the body of an error with this status says that does not exist.
pub fn missing(status: u16, body: &[u8]) -> Option<Missing> {
    let code = Cursor::new(body).raw().ok().and_then(|body| body.field("error")?.field("code"));
    code.and_then(RawJson::text).and_then(|code| Missing::of_error(status, code))
}

/// Whether the gateway itself made an answer, because it could not reach the upstream.
pub fn gateway_generated(body: &[u8]) -> bool {
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
        if says_anything(event) {
            return Some(event);
        }
        rest = behind;
    }
}

/// An event and what follows the empty line that ends it. Looks no further than that line.
fn event(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    for at in memchr::memchr2_iter(b'\n', b'\r', stream) {
        let rest = stream.get(at..)?;
        let end = [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"].into_iter().find(|end| rest.starts_with(end));
        if let Some(end) = end {
            return Some((stream.get(..at)?, rest.get(end.len()..)?));
        }
    }
    None
}

/// Looks for [`first_event`] in a stream that grows, and at each byte a bounded number of times, however small its parts are.
#[derive(Debug, Clone, Copy, Default)]
pub struct FirstEvent {
    /// Where the event begins that has not ended.
    begins: usize,
    /// No event ends before this place.
    searched: usize,
    found: bool,
}

impl FirstEvent {
    /// Whether it is there; `stream` is all that has come so far.
    pub fn is_in(&mut self, stream: &[u8]) -> bool {
        while !self.found {
            let Some((before, behind)) = stream.get(self.searched..).and_then(event) else {
                // The longest end of an event has four bytes, of which three may be here.
                self.searched = self.begins.max(stream.len().saturating_sub(3));
                break;
            };
            let ended = stream.get(self.begins..self.searched + before.len()).unwrap_or_default();
            self.found = says_anything(ended);
            self.begins = stream.len() - behind.len();
            self.searched = self.begins;
        }
        self.found
    }
}

/// Whether an event is more than comments and empty lines.
fn says_anything(event: &[u8]) -> bool {
    event.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| !line.is_empty() && !line.starts_with(b":"))
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
        assert_eq!(missing(404, br#"{"error": {"code": "DeploymentNotFound"}}"#), Some(Missing::Deployment));
        assert_eq!(missing(404, br#"{"error": {"code": "model_not_found", "type": "x"}}"#), Some(Missing::Model));
        assert!(missing(404, br#"{"error": {"code": "404"}}"#).is_none() && missing(404, b"<html>").is_none());
        assert!(gateway_generated(b"{\"error\":\"failure making request\"}\n") && !gateway_generated(b"{}"));
        assert!(is_json(b" {\"a\": [1]} ") && !is_json(b"{\"a\": [1") && !is_json(b""));
    }

    #[test]
    fn a_stream_in_one_byte_parts_is_searched_once() {
        let stream = [": wait\n\n".repeat(8_000).as_bytes(), b"data: 1\n\n"].concat();
        let (mut first, mut read) = (FirstEvent::default(), 0);
        for end in 1..=stream.len() {
            read += end - first.searched;
            assert_eq!(first.is_in(&stream[..end]), end == stream.len(), "{end}");
        }
        assert!(read <= 5 * stream.len(), "{read} bytes looked at of {}", stream.len());
    }

    proptest! {
        #[test]
        fn an_event_is_found_in_parts_where_it_is_found_at_once(stream in "[:d\n\r]{0,40}", ends in prop::collection::vec(0_usize..41, 0..20)) {
            let mut ends: Vec<_> = ends.into_iter().map(|end| end.min(stream.len())).collect();
            ends.sort_unstable();
            let mut first = FirstEvent::default();
            for end in ends {
                let part = &stream.as_bytes()[..end];
                prop_assert_eq!(first.is_in(part), first_event(part).is_some());
            }
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(event) = first_event(&bytes) {
                is_error_event(event);
            }
            let _ = (missing(404, &bytes), is_error_event(&bytes), hints_at_error(&bytes));
        }
    }
}
