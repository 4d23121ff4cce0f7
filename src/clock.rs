//! The only reader of clocks: a monotonic clock that is set by the wall clock once, so that time has a date and never jumps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::SignedDuration;
use types::time::BrokerTime;

#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    at: BrokerTime,
}

impl Clock {
    /// A clock set by the wall clock now, and monotonic from here on.
    #[expect(clippy::disallowed_methods, reason = "the only reader of the clocks")]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), at: BrokerTime::from_nanos(0).after(wall) }
    }

    pub fn now(&self) -> BrokerTime {
        self.at.after(self.started.elapsed())
    }
}

/// Reads a time with its unit, such as `30m`: more than 0, and at most `longest`.
pub fn read_time(text: &str, longest: Duration) -> Option<Duration> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| !time.is_zero() && *time <= longest)
}

/// Whole milliseconds, as documents and metrics have them.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
