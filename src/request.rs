//! Vocabulary: what the core may ask of a request. `wire` implements it over the bytes of a message.
//!
//! A trait and not a struct: a strategy that asks for nothing makes nobody read anything.

/// One request that waits for its router.
pub trait Request {
    /// The router that the client called: the message's `gl_path`.
    fn path(&self) -> &str;
}

impl Request for &str {
    fn path(&self) -> &str {
        self
    }
}
