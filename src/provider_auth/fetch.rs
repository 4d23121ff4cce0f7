//! One small HTTP exchange with the issuer of a key.

use std::future::Future;

use bytes::Bytes;
use hyper::Request;

/// The largest answer that is read, in bytes; a token has some 2 KB.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// Why a key could not be fetched; contains no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// A file cannot be read.
    #[error("cannot read {0}")]
    File(String),
    /// No answer: the words of the client.
    #[error("no answer from {host}: {problem}")]
    Connection {
        /// The host of the issuer.
        host: String,
        /// What went wrong.
        problem: String,
    },
    /// An answer with a bad status.
    #[error("{host} answered {status}")]
    Status {
        /// The host of the issuer.
        host: String,
        status: u16,
    },
    /// An answer that has no key in it.
    #[error("{0} answered without a key that can be read")]
    Answer(String),
    /// A request that cannot be made.
    #[error("{0}")]
    Request(&'static str),
}

/// Sends such a request and reads the whole answer, in a few seconds at most.
pub trait Fetch: Clone + Send + Sync + 'static {
    /// The body of an answer with a status of 200 to 299.
    ///
    /// # Errors
    /// There is none, or it is larger than [`MAX_BODY_BYTES`].
    fn fetch(&self, request: Request<Bytes>) -> impl Future<Output = Result<Bytes, FetchError>> + Send;
}
