//! What traces and metrics report of a call besides its record's JSON. It is kept in memory only: the end user that a client
//! names must not be written to a file.

use std::sync::Arc;

use types::time::BrokerTime;

/// The span of the client that a call belongs to: its `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParentSpan {
    /// Never 0.
    pub trace: u128,
    /// Never 0.
    pub span: u64,
    /// The flag `sampled`: the client records this trace.
    pub sampled: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallContext {
    /// When it was received; `None` where only its end and its duration are known.
    pub received_at: Option<BrokerTime>,
    pub parent: Option<ParentSpan>,
    /// The end user that the request names: `user`.
    pub user: Option<String>,
    /// `gen_ai.operation.name`; `None` where nothing is generated, or it is unknown.
    pub operation: Option<&'static str>,
    /// The row of the price table for its model.
    pub price_row: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttemptContext {
    pub sent: Option<BrokerTime>,
    /// `gen_ai.provider.name` of its target, where that is known.
    pub provider: Option<&'static str>,
}
