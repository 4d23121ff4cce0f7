//! Two clocks as two types, so that their readings cannot be compared by mistake.
//!
//! [`BrokerTime`] is this replica's clock; the core receives it as an argument and never reads a clock.
//! [`GatewayTime`] is what the gateway wrote into its messages, and is compared only with other gateway times, so the
//! two machines' clocks need not agree. Both count nanoseconds since the Unix epoch, because a number can be replayed
//! and sent to a peer and a `std::time::Instant` cannot.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// A moment on this replica's clock, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BrokerTime(u64);

impl BrokerTime {
    /// The latest moment that can be expressed, in the year 2554.
    pub const MAX: Self = Self(u64::MAX);

    /// A moment from nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The same moment as a date and time, which reach further.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or_default()
    }

    /// The moment `span` later; saturates at [`BrokerTime::MAX`].
    #[must_use]
    pub const fn after(self, span: Duration) -> Self {
        let nanos = span.as_nanos();
        let nanos = if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 };
        Self(self.0.saturating_add(nanos))
    }

    /// The last whole multiple of `step` up to this moment.
    #[must_use]
    pub const fn rounded_down(self, step: Duration) -> Self {
        let step = step.as_nanos();
        if step == 0 || step > u64::MAX as u128 { self } else { Self(self.0 - self.0 % step as u64) }
    }

    /// The time since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// RFC 3339 in UTC, with milliseconds.
impl fmt::Display for BrokerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rounded_down(Duration::from_millis(1)).timestamp().fmt(f)
    }
}

/// RFC 3339 in UTC, with milliseconds.
impl serde::Serialize for BrokerTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// RFC 3339.
impl<'de> serde::Deserialize<'de> for BrokerTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let moment = Timestamp::deserialize(deserializer)?;
        u64::try_from(moment.as_nanosecond()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A moment on a gateway's clock, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayTime(u64);

impl GatewayTime {
    /// A moment from nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The same moment as a date and time, which reach further.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_as_people_read_it() {
        assert_eq!(BrokerTime::from_nanos(1_800_000_000_123_999_999).to_string(), "2027-01-15T08:00:00.123Z");
        assert_eq!(BrokerTime::from_nanos(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(BrokerTime::MAX.to_string(), "2554-07-21T23:34:33.709Z");
    }
}
