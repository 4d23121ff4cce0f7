//! Errors of vendors that do not have OpenAI's form though their answers do.

use crate::json::RawJson;

/// The error without the array in which Gemini and Vertex wrap it (trap 9: `[{"error": {…}}]`), so that OpenAI's clients find
/// it; `None` where nothing is wrapped.
pub fn unwrap(body: &[u8]) -> Option<&[u8]> {
    let body = RawJson::parse(body).ok().filter(|body| body.is_array())?;
    let first = body.first().filter(|first| first.field("error").is_some())?;
    Some(first.bytes())
}
