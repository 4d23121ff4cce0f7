//! Requests in OpenAI's form for vendors that speak another protocol, and their answers back in OpenAI's form.
//!
//! A translation is pure: bytes in, bytes out. The parts that need no change are copied as they stand, so the order of keys in
//! messages, schemas and arguments is kept, and with it the vendors' prompt caches.

pub mod anthropic;
pub mod bedrock_invoke;
mod completion;
pub mod converse;
mod defaults;
mod dropped;
pub mod embeddings;
pub mod functions;
pub(crate) mod json_progress;
mod object_fields;
mod request_fields;
mod surrogates;
pub(crate) mod write;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use defaults::OPENAI_ALONE;
pub(crate) use defaults::asks_for_nothing;
pub(crate) use dropped::Drops;
pub use dropped::{Content, Dropped, DroppedList, MAX_DROPPED};
pub(crate) use object_fields::calls_no_function;
pub use request_fields::RequestFields;
use surrogates::has_half_a_character;

use crate::json::{RawJson, without_mark};
use crate::usage::TokenCounts;

/// A request in the vendor's protocol, and what has to be known to read the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslatedRequest<A> {
    /// The vendor's JSON body.
    pub body: Vec<u8>,
    /// What the client asked for and the vendor cannot take.
    pub dropped: DroppedList,
    /// What the translation of the answer needs of the request.
    pub answer: A,
}

/// What the translation of an answer needs of a request for a chat completion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChatContext {
    /// The model's name in the request, for answers that do not name theirs.
    pub model: String,
    /// The client wants a stream.
    pub stream: bool,
    /// The client wants the usage at the stream's end (`stream_options.include_usage`).
    pub include_usage: bool,
    /// The names of tools that the vendor does not take: what was sent, and what the client calls them.
    pub renamed: BTreeMap<String, String>,
}

impl ChatContext {
    /// The client's name of a tool.
    fn tool_name<'a>(&'a self, sent: &'a str) -> &'a str {
        self.renamed.get(sent).map_or(sent, |name| name)
    }
}

/// How an answer is known to its client, where its vendor gives it no id.
#[derive(Debug, Clone, Default)]
pub struct AnswerId {
    /// Such as `chatcmpl-…`.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
}

/// What becomes of what a vendor cannot take (`"unsupported"` in the pools file).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unsupported {
    /// It is left out, and the answer says so.
    #[default]
    Drop,
    /// The request is refused with 400.
    Refuse,
    /// A field of the vendor's own, or one that we do not know, is passed as it is; the rest is left out.
    Pass,
}

/// Why a request cannot be translated. Each is the client's mistake, and never a target's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// It is not what OpenAI's API takes.
    #[error("{param}: {message}")]
    Invalid {
        /// The path of the field.
        param: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// The vendor cannot take these, and the settings say to refuse them.
    #[error("the model cannot take {}", .0.names(MAX_DROPPED, |one| format!("`{one}`")))]
    Unsupported(DroppedList),
}

impl TranslateError {
    /// The body is no JSON object.
    pub(crate) fn not_an_object() -> Self {
        invalid("body", "must be a JSON object")
    }
}

/// The error of a field that is not what OpenAI's API takes.
pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> TranslateError {
    TranslateError::Invalid { param: param.into(), message: message.into() }
}

/// An answer that breaks the vendor's own protocol: no client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is broken: {0}")]
pub struct BrokenAnswer(pub &'static str);

/// The only value of a text, if all of it is JSON: what is copied from it is JSON again.
fn checked_json(bytes: &[u8]) -> Option<RawJson<'_>> {
    serde_json::from_slice::<&RawValue>(without_mark(bytes)).ok().map(RawJson::from)
}

/// The arguments of a call, if their text is a JSON object that can be copied. Vendors refuse half a character within it, as Anthropic
/// does with 400, and with it every later request of the conversation.
fn arguments_object(text: &str) -> Option<RawJson<'_>> {
    checked_json(text.as_bytes()).filter(|object| object.is_object() && !has_half_a_character(object.bytes()))
}

/// A streamed answer on its way back into OpenAI's server-sent events. The output does not depend on how the input was cut.
pub trait StreamTranslator: Send + Sync + fmt::Debug {
    /// Whether these next bytes go to the client as they are, and nothing before them: then they are taken, and not to be pushed.
    /// Spares the copies of translators that change almost nothing.
    fn passes(&mut self, bytes: &[u8]) -> bool {
        let _ = bytes;
        false
    }

    /// Takes the next bytes and appends what the client gets to `out`. An error that the vendor reports within the stream becomes
    /// an error event in OpenAI's form.
    ///
    /// # Errors
    /// The bytes break the vendor's protocol. What was appended before is right; nothing may be pushed after.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BrokenAnswer>;

    /// The bytes have ended: appends what is still to be said.
    ///
    /// # Errors
    /// The stream ended before its end, such as within a frame or a tool call.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer>;

    /// What the vendor has counted so far, in its own words, whether or not the client gets it; nothing where that is in what comes
    /// out.
    fn counts(&self) -> TokenCounts {
        TokenCounts::default()
    }
}
