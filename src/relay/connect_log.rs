//! Says in the log why a target cannot be connected to, with all causes: a certificate, a name, a proxy.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use types::router::RouterPath;
use types::time::BrokerTime;

/// A target has one line in this time, however many calls it fails.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// When each target had its last line. All are targets of the pools file, so there are no more than that names.
#[derive(Debug, Default)]
pub(super) struct ConnectLog(Mutex<BTreeMap<RouterPath, BrokerTime>>);

impl ConnectLog {
    /// A call found no connection to this target.
    pub(super) fn failed(&self, target: &RouterPath, reason: &str, now: BrokerTime) {
        if self.is_due(target, now) {
            tracing::warn!(router = %target, reason, "the target cannot be connected to");
        }
    }

    fn is_due(&self, target: &RouterPath, now: BrokerTime) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = logged.get(target).is_none_or(|last| now.since(*last) >= LOG_INTERVAL);
        if is_due {
            logged.insert(target.clone(), now);
        }
        is_due
    }

    /// With another pools file each has its line again.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_one_line_a_minute() {
        let log = ConnectLog::default();
        let at = |seconds: u64| BrokerTime::from_nanos(seconds * 1_000_000_000);
        let due = |target: &str, seconds| log.is_due(&RouterPath::parse(target).unwrap(), at(seconds));
        assert_eq!(
            [due("/llm/a/", 1), due("/llm/b/", 2), due("/llm/a/", 60), due("/llm/a/", 61)],
            [true, true, false, true]
        );
        log.forget();
        assert!(due("/llm/a/", 62));
    }
}
