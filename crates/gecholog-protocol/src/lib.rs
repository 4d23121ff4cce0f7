//! The gateway's messages: bytes to typed values and back. No I/O and no state.
//!
//! Messages are parsed leniently, because clients and upstreams wrote much of their content: a field of another type than
//! expected counts as absent, and of duplicate names the last one counts, as in the gateway. A message that cannot be parsed is
//! [`Malformed`].

mod answer_headers;
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

types::named_enum! {
    /// Why a message cannot be parsed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
    pub enum Malformed {
        #[error("not JSON")]
        NotJson = "not_json",
        #[error("not a JSON object")]
        NotAnObject = "not_an_object",
        /// Neither a request (no text `gl_path`) nor a response (no `egress_status_code`).
        #[error("without a gl_path")]
        NoPath = "no_path",
    }
}

/// Parses a message, which must be one JSON object.
fn object<'a>(bytes: &'a [u8], read: impl FnOnce(&mut Cursor<'a>) -> Result<(), SyntaxError>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    // The parser skips a byte order mark, which JSON does not allow.
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
