//! The last event of a stream that broke off.

use bytes::Bytes;
use serde_json::json;

use crate::protocol::Protocol;

/// Its code.
const STREAM_BROKEN: &str = "stream_broken";

/// The last event of a stream that broke off, in the form that clients of the protocol take for an error. With `ends_line` it
/// begins with an empty line, which ends an event that is half there.
pub(crate) fn broken_event(protocol: Protocol, message: &str, events: u64, ends_line: bool) -> Bytes {
    let start = if ends_line { "\n\n" } else { "" };
    let openai = json!({"message": message, "type": "server_error", "param": null, "code": STREAM_BROKEN});
    let event = match protocol {
        Protocol::Anthropic => {
            let data = json!({"type": "error", "error": {"type": "api_error", "message": message}});
            format!("event: error\ndata: {data}\n\n")
        }
        Protocol::OpenAiResponses => {
            // The documented event has its fields at the top; the vendor's clients raise an exception for `error`.
            let data = json!({
                "type": "error", "code": STREAM_BROKEN, "message": message, "param": null, "sequence_number": events,
                "error": openai,
            });
            format!("event: error\ndata: {data}\n\n")
        }
        Protocol::Gemini => {
            let error = json!({"code": 503, "message": message, "status": "UNAVAILABLE"});
            format!("data: {}\n\n", json!({"error": error}))
        }
        Protocol::OpenAiChat
        | Protocol::Embeddings
        | Protocol::Images
        | Protocol::Moderations
        | Protocol::Rerank
        | Protocol::Transcription
        | Protocol::Speech
        | Protocol::Generic => {
            format!("data: {}\n\n", json!({"error": openai}))
        }
    };
    Bytes::from(format!("{start}{event}"))
}
