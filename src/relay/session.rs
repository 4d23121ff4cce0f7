//! Session ids in the gateway's own form, `<GATEWAY>_<nanoseconds>_<count>_<n>` (docs/gateway-protocol.md 2.5).
//!
//! All attempts of a call are one session. The gateway counts the last number up by one for each transaction, so that we know
//! a transaction's id before there is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use types::time::BrokerTime;

/// The sessions of this process.
#[derive(Debug)]
pub(super) struct Sessions {
    name: String,
    count: AtomicU64,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    id: Arc<str>,
}

impl Sessions {
    pub(super) fn new(replica: &str) -> Self {
        Self { name: replica.to_ascii_uppercase(), count: AtomicU64::new(0) }
    }

    pub(super) fn begin(&self, now: BrokerTime) -> Session {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Session { id: format!("{}_{}_{count}_0", self.name, now.as_nanos()).into() }
    }
}

impl Session {
    /// The session's own id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The id of the attempt of this number, from 1 on.
    pub(super) fn transaction(&self, attempt: u32) -> String {
        let call = self.id.strip_suffix('0').unwrap_or(&self.id);
        [call, &attempt.to_string()].concat()
    }

    /// What the gateway must be sent so that it calls this attempt so.
    pub(super) fn before(&self, attempt: u32) -> String {
        self.transaction(attempt.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gecholog_protocol::transaction;

    #[test]
    fn the_gateway_takes_them_for_its_own() {
        let sessions = Sessions::new("abcd2345");
        let now = BrokerTime::from_nanos(1_800_000_000_000_000_000);
        let session = sessions.begin(now);
        assert_eq!(session.id(), "ABCD2345_1800000000000000000_0_0");
        assert_eq!(
            (session.before(1).as_str(), session.transaction(1)),
            (session.id(), "ABCD2345_1800000000000000000_0_1".to_owned())
        );
        assert!(transaction::is_id(&session.before(2)));
        assert_ne!(sessions.begin(now), session);
    }
}
