//! Frames of AWS's event streams. Source: "Event stream encoding" in the Amazon Transcribe developer guide.

use flate2::Crc;
use serde_json::{Value, json};

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_be_bytes()
}

/// The beginning of a frame of this length with headers of that, in bytes.
pub(super) fn prelude(length: u32, headers: u32) -> Vec<u8> {
    let mut frame = [length.to_be_bytes(), headers.to_be_bytes()].concat();
    frame.extend(checksum(&frame));
    frame
}

/// An event of this type.
pub(super) fn event(kind: &str, payload: &Value) -> Vec<u8> {
    frame(&[(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")], payload)
}

/// An exception of this type, which ends a stream.
pub(super) fn exception(kind: &str, message: &str) -> Vec<u8> {
    let headers = [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    frame(&headers, &json!({"message": message}))
}

fn frame(headers: &[(&str, &str)], payload: &Value) -> Vec<u8> {
    /// The type of a text.
    const TEXT: u8 = 7;
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        written.extend(name.as_bytes());
        written.push(TEXT);
        written.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        written.extend(value.as_bytes());
    }
    let payload = payload.to_string();
    let length = 16 + written.len() + payload.len();
    let short = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let mut frame = prelude(short(length), short(written.len()));
    frame.extend(written);
    frame.extend(payload.as_bytes());
    frame.extend(checksum(&frame));
    frame
}
