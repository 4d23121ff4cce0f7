//! Wrong operators' tokens: each is answered a second late, and only [`MAX_WAITING`] at a time, so that guessing is slow and costs
//! little. The limit is not per address: behind a gateway all clients share one. The right token is never delayed; its
//! length and variety are checked at the start.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::shared_broker::SharedBroker;

/// Delay of the answer to a wrong token.
pub const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);
/// Wrong tokens that wait at a time; further ones are rejected at once.
pub const MAX_WAITING: usize = 8;

/// The wrong tokens of this process; clones share them.
#[derive(Debug, Clone)]
pub struct Guesses {
    handle: SharedBroker,
    places: Arc<Semaphore>,
}

/// [`MAX_WAITING`] wrong tokens wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong operators' tokens at a time: come again in a second, with the right one")]
pub struct TooMany;

impl Guesses {
    pub fn new(handle: SharedBroker) -> Self {
        Self { handle, places: Arc::new(Semaphore::new(MAX_WAITING)) }
    }

    /// Counts a wrong token that was presented over `via` (`http`, `relay`, `bus`) and takes the second that its answer has to
    /// wait.
    ///
    /// # Errors
    /// [`MAX_WAITING`] others wait already; then it returns at once.
    pub async fn wrong(&self, via: &'static str) -> Result<(), TooMany> {
        if let Some(total) = self.handle.counts().wrong_tokens.count(via, self.handle.now()) {
            tracing::warn!(via, total, "a wrong operators' token was presented (logged once a minute)");
        }
        let _place = self.places.try_acquire().map_err(|_| TooMany)?;
        tokio::time::sleep(WRONG_TOKEN_DELAY).await;
        Ok(())
    }
}
