//! What the tests stand on: a real bus, an upstream that records, a client that shows everything, and captured traffic.

pub(crate) mod capture;
pub(crate) mod http;
pub(crate) mod nats;
pub(crate) mod world;

use std::time::Duration;

/// Long enough to be a failure and not a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for an event that must come.
pub(crate) async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
