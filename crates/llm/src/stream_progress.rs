//! How far a stream has come, and how it ended.

use types::outcome::ErrorClass;

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing but a preamble came, or nothing at all.
    Preamble,
    /// Content came, and no error before it.
    Content,
    /// It ended as it should, without content: cut at its length, filtered, or with nothing to say.
    Ended,
    /// An error came before any content, or it ended without an answer: another target may answer.
    Failed(ErrorClass),
}

/// How a stream ended that came to its end as far as HTTP shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// Its protocol's end came.
    Complete,
    /// It broke off: its protocol is known by its events, and their end is missing.
    Truncated,
    /// An error came in it, or no answer.
    Failed(ErrorClass),
}
