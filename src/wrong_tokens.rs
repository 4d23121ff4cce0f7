//! Wrong operators' tokens: the answer to each is delayed by a second, and at most [`MAX_DELAYED`] wait at a time, so that
//! guessing is slow and costs little. The limit is not per address: behind a gateway all clients share one. The right token is
//! never delayed; that it is hard to guess is checked at the start.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::shared_broker::SharedBroker;
use crate::telemetry::TokenInterface;

/// Delay of the answer to a wrong token.
pub const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);
/// Wrong tokens that wait at a time; further ones are rejected at once.
pub const MAX_DELAYED: usize = 8;

/// Delays and limits the wrong tokens of this process; clones share the limit.
#[derive(Debug, Clone)]
pub struct WrongTokenLimiter {
    broker: SharedBroker,
    permits: Arc<Semaphore>,
}

/// [`MAX_DELAYED`] wrong tokens are waiting already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong operators' tokens at a time: retry in a second, with the right one")]
pub struct TooManyWrongTokens;

impl WrongTokenLimiter {
    pub fn new(broker: SharedBroker) -> Self {
        Self { broker, permits: Arc::new(Semaphore::new(MAX_DELAYED)) }
    }

    /// Counts a wrong token that was presented, and returns after [`WRONG_TOKEN_DELAY`].
    ///
    /// # Errors
    /// [`MAX_DELAYED`] others are waiting already; then it returns at once.
    pub async fn delay(&self, via: TokenInterface) -> Result<(), TooManyWrongTokens> {
        if let Some(total) = self.broker.counts().wrong_tokens.count(via, self.broker.now()) {
            tracing::warn!(via = via.name(), total, "a wrong operators' token was presented (logged once a minute)");
        }
        let _permit = self.permits.try_acquire().map_err(|_| TooManyWrongTokens)?;
        tokio::time::sleep(WRONG_TOKEN_DELAY).await;
        Ok(())
    }
}
