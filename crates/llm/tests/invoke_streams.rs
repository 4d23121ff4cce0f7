//! Bedrock's InvokeModel streams as Anthropic's events.

use base64::Engine as _;
use llm::stream::{StreamEnd, StreamState};
use llm::translate::BrokenAnswer;
use llm::translate::bedrock_invoke::InvokeStream;
use serde_json::json;

use crate::golden::converse::frame;

fn chunk(event: &str) -> Vec<u8> {
    let bytes = base64::engine::general_purpose::STANDARD.encode(event);
    let payload = json!({"bytes": bytes, "p": "abcdefgh"}).to_string();
    frame(
        &[(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")],
        payload.as_bytes(),
    )
}

fn read(bytes: &[u8], size: usize) -> (String, Result<(), BrokenAnswer>) {
    let (mut stream, mut out) = (InvokeStream::default(), Vec::new());
    let pushed = bytes.chunks(size).try_for_each(|piece| stream.push(piece, &mut out));
    (String::from_utf8(out).unwrap(), pushed.and_then(|()| stream.finish()))
}

/// The events that Anthropic's API sends, from the fixtures of that API.
fn events() -> Vec<(&'static str, &'static str)> {
    let text = include_str!("fixtures/anthropic.sse");
    text.split("\n\n").filter_map(|event| event.strip_prefix("event: ")?.split_once("\ndata: ")).collect()
}

#[test]
fn the_events_are_those_of_anthropics_own_api() {
    let events = events();
    assert!(events.len() > 5);
    let bytes: Vec<u8> = events.iter().flat_map(|(_, data)| chunk(data)).collect();
    let expected: String = events.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect();
    for size in [1, 13, bytes.len()] {
        assert_eq!(read(&bytes, size), (expected.clone(), Ok(())));
    }
    let mut state = StreamState::new(llm::Protocol::Anthropic);
    state.push(expected.as_bytes());
    assert_eq!(state.finish(), StreamEnd::Complete);
    let (_, result) = read(&bytes[..bytes.len() - 1], 100);
    assert_eq!(result, Err(BrokenAnswer("it ended within a frame")));
}

#[test]
fn exceptions_become_errors_in_anthropics_form() {
    for (exception, class) in [
        ("throttlingException", llm::ErrorClass::RateLimited),
        ("serviceUnavailableException", llm::ErrorClass::Overloaded),
        ("validationException", llm::ErrorClass::InvalidRequest),
        ("internalServerException", llm::ErrorClass::ServerError),
    ] {
        let bytes =
            frame(&[(":message-type", "exception"), (":exception-type", exception)], b"{\"message\":\"a\\nb\"}");
        let (events, result) = read(&bytes, 10);
        assert_eq!(result, Ok(()));
        assert!(events.starts_with("event: error\ndata: {") && events.matches('\n').count() == 3, "{events}");
        let mut state = StreamState::new(llm::Protocol::Anthropic);
        state.push(events.as_bytes());
        assert_eq!(state.finish(), StreamEnd::Failed(class));
    }
}

#[test]
fn what_holds_no_event_is_broken() {
    let headers = [(":message-type", "event"), (":event-type", "chunk")];
    for payload in ["", "{}", "{\"bytes\":\"?\"}", "{\"bytes\":\"e30=\"}", "{\"bytes\":5}"] {
        assert!(read(&frame(&headers, payload.as_bytes()), 100).1.is_err(), "{payload}");
    }
    let unknown = frame(&[(":message-type", "event"), (":event-type", "new")], b"");
    assert_eq!(read(&unknown, 100), (String::new(), Ok(())));
}
