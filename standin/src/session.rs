//! Session and transaction ids: `<gateway>_<unix nanoseconds>_<count>_<number in session>`.
//!
//! Ids that clients bring are continued as they are, whoever made them: the gateway trusts their shape only.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Moment;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) session: String,
    pub(crate) transaction: String,
}

/// Makes new sessions; its count restarts with the process.
#[derive(Debug)]
pub(crate) struct Sessions {
    gateway: String,
    count: AtomicU64,
}

impl Sessions {
    pub(crate) fn new(gateway: String) -> Sessions {
        Sessions { gateway, count: AtomicU64::new(0) }
    }

    pub(crate) fn open(&self, brought: Option<&str>, now: Moment) -> Session {
        brought.and_then(next).unwrap_or_else(|| {
            let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
            let id = format!("{}_{}_{count}_0", self.gateway, now.unix_nanos());
            Session { session: id.clone(), transaction: id }
        })
    }
}

fn next(brought: &str) -> Option<Session> {
    let parts: Vec<&str> = brought.split('_').collect();
    let [gateway, nanos, count, number] = parts[..] else {
        return None;
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let named = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if gateway.is_empty() || !gateway.bytes().all(named) || ![nanos, count, number].into_iter().all(digits) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    let id = |number: u64| format!("{gateway}_{nanos}_{count}_{number}");
    Some(Session { session: id(0), transaction: id(number.checked_add(1)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_brought_by_the_client_goes_on_and_any_other_value_starts_a_new_one() {
        let session = next("ZZ_1_1_0").unwrap();
        assert_eq!((session.session.as_str(), session.transaction.as_str()), ("ZZ_1_1_0", "ZZ_1_1_1"));
        for bad in ["", "not-a-session", "zz_1_1_0", "ZZ_1_1", "ZZ_1_1_0_0", "ZZ_1__0", "ZZ_1_1_18446744073709551615"] {
            assert_eq!(next(bad), None, "{bad}");
        }
    }
}
