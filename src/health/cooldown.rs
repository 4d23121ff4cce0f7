//! How long a router is left alone.

use std::time::Duration;

/// A shorter wait is a delay and no illness.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);

/// The disabled time; or what the upstream asked for, doubled for each return in a row that failed, until the doubling
/// reaches the disabled time: a dead upstream that always says "one second" must not cost a call every second.
pub(super) fn length(hint: Option<Duration>, failed_returns: u32, disabled_time: Duration) -> Duration {
    let Some(hint) = hint else { return disabled_time };
    let doubled = hint.max(SHORTEST).saturating_mul(2_u32.saturating_pow(failed_returns));
    hint.max(doubled.min(disabled_time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_doubles_up_to_the_disabled_time_and_is_never_cut_short() {
        let seconds = Duration::from_secs;
        for (hint, failed, expected) in [
            (None, 0, 600),
            (None, 9, 600),
            (Some(2), 0, 2),
            (Some(1), 1, 2),
            (Some(1), 5, 32),
            (Some(1), 10, 600),
            (Some(1), u32::MAX, 600),
            (Some(900), 0, 900),
            (Some(900), 3, 900),
            (Some(0), 0, 1),
        ] {
            let length = length(hint.map(seconds), failed, seconds(600));
            assert_eq!(length, seconds(expected), "{hint:?} after {failed} failed returns");
        }
        assert_eq!(length(Some(Duration::MAX), u32::MAX, seconds(600)), Duration::MAX);
    }
}
