//! The stream of Bedrock's InvokeModel for Anthropic's models: Messages events in AWS's frames, as the server-sent events that
//! Anthropic's own API sends. So a client of `/v1/messages` gets what it knows, and the translation of Messages needs no other.
//!
//! Source: `ResponseStream` in botocore's service model `bedrock-runtime`, and the vendor's SDK, `lib/bedrock/_stream_decoder`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::event_stream::{Frame, Parser};
use crate::json::RawJson;
use crate::translate::BrokenAnswer;

/// The type of the frames that hold an event of the model.
pub(crate) const CHUNK: &str = "chunk";

/// A streamed answer. It keeps at most one frame.
#[derive(Debug, Default)]
pub struct InvokeStream {
    parser: Parser,
}

impl InvokeStream {
    /// Takes the next bytes and appends the events that they complete. An exception becomes an `error` event.
    ///
    /// # Errors
    /// The bytes are no such stream. What was appended before is right; nothing may be pushed after.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let mut result = Ok(());
        let read = self.parser.push(bytes, |frame| {
            if result.is_ok() {
                result = write_event(frame, out);
            }
        });
        result.and(read.map_err(|_| BrokenAnswer("its frames cannot be read")))
    }

    /// The bytes have ended. Whether the last event was there is for the reader of the events to say.
    ///
    /// # Errors
    /// They ended within a frame.
    pub fn finish(&mut self) -> Result<(), BrokenAnswer> {
        std::mem::take(&mut self.parser).finish().map_err(|_| BrokenAnswer("it ended within a frame"))
    }
}

/// Appends the event that a frame holds.
///
/// # Errors
/// It holds none.
pub(crate) fn write_event(frame: Frame<'_>, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
    match frame.text(":message-type") {
        Some("event") if frame.text(":event-type") == Some(CHUNK) => {}
        // Others may come to be.
        Some("event") => return Ok(()),
        Some("exception") => {
            let message = RawJson::parse(frame.payload).ok().and_then(|payload| payload.field("message")?.text());
            write_error(frame.text(":exception-type"), message.as_deref(), out);
            return Ok(());
        }
        _ => {
            write_error(frame.text(":error-code"), frame.text(":error-message"), out);
            return Ok(());
        }
    }
    let Some(event) = event(frame) else { return Err(BrokenAnswer("a frame in it holds no event")) };
    let kind = RawJson::parse(&event).ok().and_then(|event| event.field("type")?.text());
    let Some(kind) = kind.filter(|kind| !kind.contains(['\n', '\r'])) else {
        return Err(BrokenAnswer("an event in it has no type"));
    };
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    // A line end within JSON is white space.
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\n\n");
    Ok(())
}

/// What the model said in a frame of type [`CHUNK`].
pub(crate) fn event(frame: Frame<'_>) -> Option<Vec<u8>> {
    let bytes = RawJson::parse(frame.payload).ok()?.field("bytes")?.text()?;
    STANDARD.decode(bytes.as_bytes()).ok()
}

fn write_error(exception: Option<&str>, message: Option<&str>, out: &mut Vec<u8>) {
    let kind = match exception.unwrap_or_default() {
        "throttlingException" => "rate_limit_error",
        "serviceUnavailableException" => "overloaded_error",
        "validationException" => "invalid_request_error",
        "modelTimeoutException" => "timeout_error",
        _ => "api_error",
    };
    let message = message.unwrap_or("the model's vendor reported an error without a message");
    let event = json!({"type": "error", "error": {"type": kind, "message": message}});
    out.extend_from_slice(format!("event: error\ndata: {event}\n\n").as_bytes());
}
