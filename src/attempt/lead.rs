//! Which answers are worth another attempt, and where.
//!
//! Not the classification of [`crate::outcome`], which judges routers: a 409 blames nobody and is worth another attempt, and a
//! 401 of the one key that we hold for a target is the target's fault only as long as another has a better one.

use crate::outcome::{Breakage, FailureRule, NamedBy};

/// How an attempt ended before anything of it went to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an answer.
    Answered {
        /// Its status.
        status: u16,
        /// Who named the deployment or model of which it says that it does not exist.
        missing: Option<NamedBy>,
    },
    /// Without one.
    Broken(Breakage),
}

/// Where the next attempt may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// Nowhere: this is the answer.
    Final,
    /// To another target only: this one would say the same again.
    Elsewhere,
    /// To another target, or after a pause to the same.
    Anywhere,
}

/// Judges the end of an attempt. `own_key`: the target was called with a key of its own, not with the client's. `listed`:
/// exactly these statuses lead on, instead of the usual ones.
pub fn lead(ended: Ended, own_key: bool, listed: Option<&FailureRule>) -> Lead {
    let (status, missing) = match ended {
        Ended::Answered { status, missing } => (status, missing),
        // Another target may have a connection that is open already; to wait for one would hold what is lacking.
        Ended::Broken(Breakage::Exhausted) => return Lead::Elsewhere,
        Ended::Broken(_) => return Lead::Anywhere,
    };
    let missing = match status {
        // Another target may have what the client asked for.
        404 => missing.is_some(),
        400 => missing == Some(NamedBy::Target),
        _ => false,
    };
    // The same target would refuse the same key, path, method or version again.
    let elsewhere = missing || matches!(status, 401..=404 | 501 | 505);
    let leads = match listed {
        Some(rule) => rule.lists(status),
        None => matches!(status, 408 | 409 | 429 | 500..=599) || (matches!(status, 401..=404) && own_key) || missing,
    };
    match (leads, elsewhere) {
        (false, _) => Lead::Final,
        (true, true) => Lead::Elsewhere,
        (true, false) => Lead::Anywhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, own_key: bool) -> Lead {
        lead(Ended::Answered { status, missing: None }, own_key, None)
    }

    #[test]
    fn which_answers_lead_on() {
        for status in [408, 409, 429, 500, 502, 503, 504, 529, 599] {
            assert_eq!(of(status, false), Lead::Anywhere, "{status}");
        }
        for status in [200, 201, 204, 301, 400, 405, 413, 415, 418, 422, 451, 600] {
            assert_eq!(of(status, true), Lead::Final, "{status}");
        }
        for status in [501, 505] {
            assert_eq!(of(status, false), Lead::Elsewhere, "{status}: another target may implement it");
        }
        for status in [401, 402, 403, 404] {
            assert_eq!(of(status, true), Lead::Elsewhere, "{status} with the target's own key");
            assert_eq!(of(status, false), Lead::Final, "{status} with the client's key");
        }
        for (status, by, expected) in [
            (404, NamedBy::Target, Lead::Elsewhere),
            (404, NamedBy::Client, Lead::Elsewhere),
            (400, NamedBy::Target, Lead::Elsewhere),
            (400, NamedBy::Client, Lead::Final),
        ] {
            let missing = Ended::Answered { status, missing: Some(by) };
            assert_eq!(lead(missing, false, None), expected, "{status}, named by {by:?}: no key makes it exist");
        }
        assert_eq!(lead(Ended::Broken(Breakage::Silent), false, None), Lead::Anywhere);
        assert_eq!(lead(Ended::Broken(Breakage::Exhausted), false, None), Lead::Elsewhere);
    }

    #[test]
    fn a_list_replaces_them() {
        let listed = FailureRule::parse("404,429").ok();
        let of = |status| lead(Ended::Answered { status, missing: Some(NamedBy::Client) }, true, listed.as_ref());
        assert_eq!((of(404), of(429)), (Lead::Elsewhere, Lead::Anywhere));
        assert_eq!((of(503), of(401)), (Lead::Final, Lead::Final));
        let broken = Ended::Broken(Breakage::Connect);
        assert_eq!(lead(broken, true, listed.as_ref()), Lead::Anywhere, "there is no answer to give");
    }
}
