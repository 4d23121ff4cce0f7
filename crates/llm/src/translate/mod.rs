//! Requests in OpenAI's form for vendors that speak another protocol, and their answers back in OpenAI's form.
//!
//! A translation is pure: bytes in, bytes out. The parts that need no change are copied as they stand, so the order of keys in
//! messages, schemas and arguments is kept, and with it the vendors' prompt caches.

pub mod anthropic;
pub mod bedrock_invoke;
pub mod converse;
mod defaults;
pub mod embeddings;
pub mod functions;
pub mod json_progress;
mod request_fields;

use std::fmt;

pub(crate) use defaults::asks_for_nothing;
pub use request_fields::RequestFields;

use crate::usage::TokenCounts;

/// A request in the vendor's protocol, and what has to be known to read the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslatedRequest<A> {
    /// The vendor's JSON body.
    pub body: Vec<u8>,
    /// What the client asked for and the vendor cannot take, in the order of the request.
    pub dropped: Vec<Dropped>,
    /// What the translation of the answer needs of the request.
    pub answer: A,
}

/// Something of a request that a vendor cannot take: a field's path, such as `logit_bias` or `messages[2].content[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped(String);

/// Of what cannot be taken not more than this is named: a request could hold a million such parts.
pub const MAX_DROPPED: usize = 100;

impl Dropped {
    /// Of a path that is longer than 100 bytes only the beginning is kept: clients choose the names of fields, and headers and
    /// messages have little room. The names that vendors know have at most 40 letters.
    pub fn new(path: impl Into<String>) -> Self {
        const MAX_BYTES: usize = 100;
        let mut path = path.into();
        if path.len() > MAX_BYTES {
            let end = (0..=MAX_BYTES).rev().find(|end| path.is_char_boundary(*end)).unwrap_or_default();
            path.truncate(end);
            path.shrink_to_fit();
        }
        Self(path)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
    #[error("the model cannot take {}", join(.0))]
    Unsupported(Vec<Dropped>),
}

impl TranslateError {
    /// The body is no JSON object.
    pub(crate) fn not_an_object() -> Self {
        Self::Invalid { param: "body".to_owned(), message: "must be a JSON object".to_owned() }
    }
}

fn join(dropped: &[Dropped]) -> String {
    dropped.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")
}

/// An answer that breaks the vendor's own protocol: no client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is broken: {0}")]
pub struct BrokenAnswer(pub &'static str);

/// A streamed answer on its way back into OpenAI's server-sent events. The output does not depend on how the input was cut.
pub trait StreamTranslator: Send + Sync + fmt::Debug {
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
