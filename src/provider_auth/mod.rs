//! Keys that expire: fetched when they are first needed, and renewed before they expire, one fetch at a time.
//!
//! A call waits for a key only if there is none. If the fetch fails, the calls that wait go to the next target, and no key is
//! fetched for `RETRY_AFTER`; after that one call at a time waits for the next fetch, until one succeeds.

mod aws;
mod fetch;
mod google;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;

pub use aws::{AwsSource, AwsSourceFault};
pub use fetch::{Fetch, FetchError, MAX_BODY_BYTES};
pub use google::{AccountFault, ServiceAccount};

/// A key is renewed this long before it expires. Google's and Amazon's last an hour, and both renew theirs five minutes ahead.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// The delay after a failed fetch before the next one.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A key: a token that requests carry, or one that they are signed with.
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    /// Carried as `Authorization: Bearer`.
    Bearer(String),
    /// Signed with.
    Aws(AwsKey),
}

#[derive(Clone, PartialEq, Eq)]
pub struct AwsKey {
    /// Its id, which is not secret.
    pub id: String,
    pub secret: String,
    /// The session token of temporary keys.
    pub session_token: Option<String>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(key)")
    }
}

impl fmt::Debug for AwsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(key)")
    }
}

/// A key with its expiry.
#[derive(Debug, Clone)]
pub struct ExpiringKey {
    key: Arc<Key>,
    expires: Timestamp,
}

/// The source of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A service account of Google.
    Google(ServiceAccount),
    /// A source of AWS's temporary keys.
    Aws(AwsSource),
}

/// A key that expires.
pub struct KeySource {
    source: Source,
    cached: Mutex<Cached>,
    /// Held by the one that fetches.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Cached {
    key: Option<ExpiringKey>,
    /// The last fetch failed: no other before this.
    not_before: Option<Timestamp>,
}

/// The state of the cached key.
#[derive(Debug)]
enum Lookup {
    Valid(Arc<Key>),
    /// Valid, and to be renewed.
    Ending(Arc<Key>),
    Absent,
    /// The last fetch failed a moment ago.
    Failed,
    /// The last fetch failed, and it is time for another.
    FailedBefore,
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySource").field(&self.source).finish()
    }
}

/// Two are the same if their keys come from the same place.
impl PartialEq for KeySource {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for KeySource {}

impl KeySource {
    /// Nothing is fetched yet.
    pub fn new(source: Source) -> Self {
        Self { source, cached: Mutex::default(), fetching: Arc::default() }
    }

    /// The same, for many targets.
    pub fn shared(source: Source) -> Arc<Self> {
        Arc::new(Self::new(source))
    }

    /// The project of a Google account.
    pub fn project(&self) -> Option<&str> {
        match &self.source {
            Source::Google(account) => account.project(),
            Source::Aws(_) => None,
        }
    }

    /// The current key; `None` if it cannot be fetched. `now` is read again after a wait.
    pub async fn key<F: Fetch>(
        self: &Arc<Self>,
        fetch: &F,
        now: impl Fn() -> Timestamp + Clone + Send + 'static,
    ) -> Option<Arc<Key>> {
        match self.lookup(now()) {
            Lookup::Valid(key) => return Some(key),
            Lookup::Ending(key) => {
                if let Ok(turn) = Arc::clone(&self.fetching).try_lock_owned() {
                    self.renew(turn, fetch, now);
                }
                return Some(key);
            }
            Lookup::Failed => return None,
            // Nothing speaks for the next fetch, so one call waits for it and the others go on.
            Lookup::FailedBefore => {
                let turn = Arc::clone(&self.fetching).try_lock_owned().ok()?;
                return self.renew(turn, fetch, now).await.ok().flatten();
            }
            Lookup::Absent => {}
        }
        let turn = Arc::clone(&self.fetching).lock_owned().await;
        // Another call may have fetched meanwhile.
        match self.lookup(now()) {
            Lookup::Valid(key) | Lookup::Ending(key) => Some(key),
            Lookup::Failed | Lookup::FailedBefore => None,
            Lookup::Absent => self.renew(turn, fetch, now).await.ok().flatten(),
        }
    }

    fn lookup(&self, now: Timestamp) -> Lookup {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = cached.not_before.is_some_and(|moment| now < moment);
        match &cached.key {
            Some(ExpiringKey { key, expires }) if now < *expires => {
                let ends = now.checked_add(RENEW_BEFORE).is_ok_and(|soon| soon >= *expires);
                if ends && !waits { Lookup::Ending(Arc::clone(key)) } else { Lookup::Valid(Arc::clone(key)) }
            }
            _ if waits => Lookup::Failed,
            _ if cached.not_before.is_some() => Lookup::FailedBefore,
            _ => Lookup::Absent,
        }
    }

    /// Fetches in a task of its own, so that a call that is given up does not end a fetch that others wait for. `turn` is the
    /// lock of `fetching`.
    fn renew<F: Fetch>(
        self: &Arc<Self>,
        turn: OwnedMutexGuard<()>,
        fetch: &F,
        now: impl Fn() -> Timestamp + Send + 'static,
    ) -> JoinHandle<Option<Arc<Key>>> {
        let (this, fetch) = (Arc::clone(self), fetch.clone());
        tokio::spawn(async move {
            let begun = now();
            let fetched = match &this.source {
                Source::Google(account) => account.fetch(&fetch, begun).await,
                Source::Aws(source) => source.fetch(&fetch, begun).await,
            };
            let key = this.keep(fetched, now());
            drop(turn);
            key
        })
    }

    /// Stores the result of a fetch. `now` is its end: a fetch that hangs takes as long as the delay before the next one.
    fn keep(&self, fetched: Result<ExpiringKey, FetchError>, now: Timestamp) -> Option<Arc<Key>> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Ok(fetched) => {
                let key = Arc::clone(&fetched.key);
                *cached = Cached { key: Some(fetched), not_before: None };
                Some(key)
            }
            Err(error) => {
                cached.not_before = now.checked_add(RETRY_AFTER).ok();
                tracing::warn!(
                    "no key for calls to a provider from {}: {error}; its targets are passed over",
                    self.source
                );
                None
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Google(account) => fmt::Display::fmt(account, f),
            Self::Aws(source) => fmt::Display::fmt(source, f),
        }
    }
}

#[cfg(test)]
mod tests;
