//! A real bus, an upstream that records, a client that shows every byte, and captured traffic.

pub(crate) mod capture;
pub(crate) mod harness;
pub(crate) mod http;
pub(crate) mod nats;

use std::time::Duration;

/// Longer than a slow machine needs.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(20);

/// Waits for an event that must come.
pub(crate) async fn within_limit<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(MAX_WAIT, event).await.unwrap_or_else(|_| panic!("no {what} within {MAX_WAIT:?}"))
}
