//! The gateway's messages: bytes to typed values and back. No I/O, no state, no judgement.
//!
//! What arrives is read leniently, because much of it was written by clients and upstreams: a field of another type than
//! expected reads as absent, and of a repeated name the last one counts, as in the gateway. What cannot be read at
//! all is a value too ([`Malformed`]), never a panic.

pub mod answer_headers;
pub mod bypass;
pub mod entry;
pub mod gl_config;
pub mod log_entry;
pub mod logged_call;
pub mod missing;
pub mod patch;
pub mod processor;
pub mod reply;
pub mod stamp;
pub mod transaction;
pub mod upstream_body;

pub use processor::Message;
pub use stamp::ReplicaIdentity;

use llm::json::{Cursor, SyntaxError};
use serde::de::IgnoredAny;

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// Not one JSON document.
    #[error("not JSON")]
    NotJson,
    /// JSON, but no object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Neither a request (no `gl_path` that is a string) nor a response (no `egress_status_code`).
    #[error("without a gl_path")]
    NoPath,
}

impl Malformed {
    pub const ALL: [Self; 3] = [Self::NotJson, Self::NotAnObject, Self::NoPath];

    /// The label value in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::NoPath => "no_path",
        }
    }
}

/// Reads the one object that a message is.
fn object<'a>(bytes: &'a [u8], read: impl FnOnce(&mut Cursor<'a>) -> Result<(), SyntaxError>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    // The walker skips a byte order mark, which JSON does not have.
    if cursor.peek() != Some(b'{') || bytes.starts_with(b"\xEF\xBB\xBF") {
        let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
        return Err(if is_json { Malformed::NotAnObject } else { Malformed::NotJson });
    }
    match read(&mut cursor) {
        Ok(()) if cursor.is_at_end() => Ok(()),
        _ => Err(Malformed::NotJson),
    }
}

#[cfg(test)]
mod tests;
