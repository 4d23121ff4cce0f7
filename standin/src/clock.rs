//! Time as the gateway writes it: moments in RFC 3339 with nanoseconds, durations in whole milliseconds.
//!
//! One reading of the wall clock at start, monotonic from there, so that no duration is ever negative.

use std::time::Instant;

use jiff::Timestamp;

/// What the gateway prints for a moment that never came.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The duration of a timer that was stopped but never started: the gateway subtracts from year 1 and saturates.
const SATURATED_MS: i64 = i64::MAX / 1_000_000;

/// Nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

impl Moment {
    pub(crate) fn unix_nanos(self) -> i64 {
        self.0
    }

    fn rfc3339(self) -> String {
        Timestamp::from_nanosecond(i128::from(self.0)).map_or_else(|_| NEVER.to_owned(), |at| at.to_string())
    }

    /// `2026-11-22 05:23:25`, as in the answer to isalive.
    pub(crate) fn to_the_second(self) -> String {
        let mut text = self.rfc3339().replace('T', " ");
        text.truncate("2026-11-22 05:23:25".len());
        text
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: i64,
    since: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock: all other code takes moments as arguments")]
    pub(crate) fn start() -> Clock {
        let wall = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        Clock { wall, since: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        let elapsed = i64::try_from(self.since.elapsed().as_nanos()).unwrap_or(i64::MAX);
        Moment(self.wall.saturating_add(elapsed))
    }
}

/// A timer as JSON; `None` is a moment that never came.
pub(crate) fn timer(start: Option<Moment>, stop: Option<Moment>) -> String {
    let text = |moment: Option<Moment>| moment.map_or_else(|| NEVER.to_owned(), Moment::rfc3339);
    let duration = match (start, stop) {
        (Some(start), Some(stop)) => stop.0.saturating_sub(start.0) / 1_000_000,
        (None, Some(_)) => SATURATED_MS,
        (_, None) => 0,
    };
    format!(r#"{{"start":"{}","stop":"{}","duration":{duration}}}"#, text(start), text(stop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_milliseconds_cut_off() {
        let (a, b) = (Moment(1_795_324_897_644_499_599), Moment(1_795_324_897_646_168_907));
        assert_eq!(
            timer(Some(a), Some(b)),
            r#"{"start":"2026-11-22T05:21:37.644499599Z","stop":"2026-11-22T05:21:37.646168907Z","duration":1}"#
        );
    }

    #[test]
    fn moments_drop_trailing_zeros_as_rfc3339nano_does() {
        assert_eq!(Moment(1_795_324_897_780_989_180).rfc3339(), "2026-11-22T05:21:37.78098918Z");
        assert_eq!(Moment(1_795_324_897_000_000_000).rfc3339(), "2026-11-22T05:21:37Z");
    }

    #[test]
    fn a_timer_never_started_is_zero_or_saturated() {
        assert!(timer(None, None).ends_with(r#""stop":"0001-01-01T00:00:00Z","duration":0}"#));
        assert!(timer(None, Some(Moment(1))).ends_with(r#""duration":9223372036854}"#));
    }
}
