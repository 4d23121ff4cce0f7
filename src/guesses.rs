//! Wrong operators' tokens: each is answered a second late, and only so many at a time, so that guessing is slow and costs
//! little. No address is looked at: behind a gateway all clients share one. A right token is never delayed; that is for its
//! length and variety to answer for, which are checked at the start.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::handle::Handle;

/// A wrong token is answered so late.
pub const DELAY: Duration = Duration::from_secs(1);
/// So many wrong tokens wait at a time; what comes beyond is refused at once.
pub const WAITING: usize = 8;

/// The wrong tokens of this process; clones are about the same ones.
#[derive(Debug, Clone)]
pub struct Guesses {
    handle: Handle,
    places: Arc<Semaphore>,
}

/// As many wrong tokens wait as may; reads as an answer to whoever presented another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many wrong operators' tokens at a time: come again in a second, with the right one")]
pub struct TooMany;

impl Guesses {
    /// None so far.
    pub fn new(handle: Handle) -> Self {
        Self { handle, places: Arc::new(Semaphore::new(WAITING)) }
    }

    /// Counts a wrong token that was presented over `via` (`http`, `relay`, `bus`) and takes the second that its answer has to
    /// wait.
    ///
    /// # Errors
    /// So many wait already; then it returns at once.
    pub async fn wrong(&self, via: &'static str) -> Result<(), TooMany> {
        if let Some(total) = self.handle.counts().wrong_tokens.count(via, self.handle.now()) {
            tracing::warn!(via, total, "a wrong operators' token was presented (said once a minute)");
        }
        let _place = self.places.try_acquire().map_err(|_| TooMany)?;
        tokio::time::sleep(DELAY).await;
        Ok(())
    }
}
