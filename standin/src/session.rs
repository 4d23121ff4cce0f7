//! Session and transaction ids: `<gateway>_<unix nanoseconds>_<count>_<number in session>`.
//!
//! An id that a client sends is continued, whichever gateway made it: only its form is checked.

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

    pub(crate) fn open(&self, from_client: Option<&str>, now: Moment) -> Session {
        from_client.and_then(next).unwrap_or_else(|| {
            let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
            let id = format!("{}_{}_{count}_0", self.gateway, now.unix_nanos());
            Session { session: id.clone(), transaction: id }
        })
    }
}

fn next(from_client: &str) -> Option<Session> {
    let parts: Vec<&str> = from_client.split('_').collect();
    let [gateway, nanos, count, transaction] = parts[..] else {
        return None;
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let named = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if gateway.is_empty() || !gateway.bytes().all(named) || ![nanos, count, transaction].into_iter().all(digits) {
        return None;
    }
    // Go's Atoi: leading zeros are lost, and what is too large is the largest number.
    let number = |part: &str| part.parse().unwrap_or(i64::MAX as u64).min(i64::MAX as u64);
    let id = |transaction: u64| format!("{gateway}_{nanos}_{}_{transaction}", number(count));
    Some(Session { session: id(0), transaction: id(number(transaction) + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_brought_by_the_client_goes_on_and_any_other_value_starts_a_new_one() {
        let session = next("ZZ_1_1_0").unwrap();
        assert_eq!((session.session.as_str(), session.transaction.as_str()), ("ZZ_1_1_0", "ZZ_1_1_1"));
        for bad in ["", "not-a-session", "zz_1_1_0", "ZZ_1_1", "ZZ_1_1_0_0", "ZZ_1__0"] {
            assert_eq!(next(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let ids = |from_client| next(from_client).map(|session| (session.session, session.transaction)).unwrap();
        assert_eq!(ids("ZZ_01_007_08"), ("ZZ_01_7_0".to_owned(), "ZZ_01_7_9".to_owned()));
        let large = "ZZ_1_18446744073709551616_18446744073709551615";
        let (session, transaction) = ids(large);
        assert_eq!(session, "ZZ_1_9223372036854775807_0");
        assert_eq!(transaction, "ZZ_1_9223372036854775807_9223372036854775808");
    }
}
