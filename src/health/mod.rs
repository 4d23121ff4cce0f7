//! A router's health: what takes it out, for how long, and when it is back.
//!
//! One failure takes a router out for the disabled time; time alone brings it back. It refuses to judge by our own clock
//! which requests were already under way when the router went out: a failure that began before
//! the trip is old news, and old news must neither extend the time nor take the router out again after its return.

use std::time::Duration;

use crate::event::Standing;
use crate::outcome::Cause;
use crate::time::{GatewayTime, Now};

/// How long the gateway lets one call last before it cuts the client off (GATEWAY.md 1.6). A failure that says nothing
/// about its own beginning can be a straggler for so long and no longer.
pub const LONGEST_CALL: Duration = Duration::from_secs(200);

/// How routers are taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How long a router is left alone after a failure: `DISABLED_TIME`. Zero: never taken out.
    pub disabled_time: Duration,
}

impl Default for Settings {
    /// Ten minutes, as the documents of the gateway's own broker promise.
    fn default() -> Self {
        Self { disabled_time: Duration::from_secs(600) }
    }
}

/// One answer that counts against a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub cause: Cause,
    /// When the gateway received the request, where that is known.
    pub started: Option<GatewayTime>,
    /// When the gateway answered it, where that is known.
    pub stopped: Option<GatewayTime>,
}

/// What a failure did to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: a straggler, or nothing that would be longer than what is.
    None,
    /// It is out now.
    Tripped,
    /// It was out, and stays out longer.
    Extended,
}

/// The last time that a router was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trip {
    at: Now,
    /// When the gateway answered the request that did it; unknown until that request's log is here.
    stopped: Option<GatewayTime>,
}

/// The health of one router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    standing: Standing,
    epoch: u32,
    trip: Option<Trip>,
}

impl Default for Health {
    fn default() -> Self {
        Self { standing: Standing::Serving, epoch: 0, trip: None }
    }
}

impl Health {
    /// Whether the router may serve.
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// How often the router was taken out.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// When the router is to come back, if it is out.
    pub const fn until(&self) -> Option<Now> {
        match self.standing {
            Standing::Serving => None,
            Standing::Cooling { until, .. } => Some(until),
        }
    }

    /// Counts a failure. Never shortens a deadline.
    pub fn fail(&mut self, failure: Failure, settings: Settings, now: Now) -> Effect {
        if settings.disabled_time.is_zero() || self.is_straggler(failure.started, now) {
            return Effect::None;
        }
        let until = now.after(settings.disabled_time);
        match self.standing {
            Standing::Serving => {
                self.epoch = self.epoch.wrapping_add(1);
                self.trip = Some(Trip { at: now, stopped: failure.stopped });
                self.standing = Standing::Cooling { until, cause: failure.cause };
                Effect::Tripped
            }
            Standing::Cooling { until: before, cause } if before < until => {
                self.standing = Standing::Cooling { until, cause };
                Effect::Extended
            }
            Standing::Cooling { .. } => Effect::None,
        }
    }

    /// The log of the request that tripped the router in `epoch` says when the gateway answered it.
    pub fn date_trip(&mut self, epoch: u32, stopped: GatewayTime) {
        if let Some(trip) = self.trip.as_mut().filter(|_| self.epoch == epoch) {
            trip.stopped.get_or_insert(stopped);
        }
    }

    /// Lets the router back when its time is over. True if it came back.
    pub fn tick(&mut self, now: Now) -> bool {
        let due = self.until().is_some_and(|until| until <= now);
        if due {
            self.standing = Standing::Serving;
        }
        due
    }

    /// Whether a request that began at `started` was already under way when the router was last taken out. Where nothing
    /// tells, it counts as begun before, as long as a call can last.
    fn is_straggler(&self, started: Option<GatewayTime>, now: Now) -> bool {
        let Some(trip) = self.trip else { return false };
        match (started, trip.stopped) {
            (Some(started), Some(stopped)) => started < stopped,
            _ => now < trip.at.after(LONGEST_CALL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES_10: Settings = Settings { disabled_time: Duration::from_secs(600) };
    const START: Now = Now::from_nanos(1_000_000_000_000);

    fn at(millis: u64) -> Now {
        START.after(Duration::from_millis(millis))
    }

    fn gateway(seconds: u64) -> Option<GatewayTime> {
        Some(GatewayTime::from_nanos(seconds * 1_000_000_000))
    }

    fn failure(started: Option<GatewayTime>, stopped: Option<GatewayTime>) -> Failure {
        Failure { cause: Cause::Answered(500), started, stopped }
    }

    #[test]
    fn out_for_the_disabled_time_to_the_millisecond() {
        let mut health = Health::default();
        assert_eq!(health.fail(failure(gateway(1), gateway(2)), MINUTES_10, START), Effect::Tripped);
        assert!(!health.tick(at(599_999)), "a millisecond early");
        assert_eq!(health.until(), Some(at(600_000)));
        assert!(health.tick(at(600_000)), "on time");
        assert_eq!(health.standing(), Standing::Serving);
        assert!(!health.tick(at(600_001)), "a return is told once");
    }

    #[test]
    fn zero_never_takes_a_router_out() {
        let mut health = Health::default();
        assert_eq!(health.fail(failure(None, None), Settings { disabled_time: Duration::ZERO }, START), Effect::None);
        assert_eq!(health.standing(), Standing::Serving);
    }

    #[test]
    fn a_straggler_neither_extends_nor_trips_again() {
        let mut health = Health::default();
        health.fail(failure(gateway(100), gateway(110)), MINUTES_10, START);
        assert_eq!(
            health.fail(failure(gateway(109), gateway(111)), MINUTES_10, at(1_000)),
            Effect::None,
            "began before the trip"
        );
        assert_eq!(health.until(), Some(at(600_000)));
        health.tick(at(600_000));
        assert_eq!(
            health.fail(failure(gateway(109), gateway(700)), MINUTES_10, at(600_001)),
            Effect::None,
            "a very slow one"
        );
        assert_eq!(
            health.fail(failure(gateway(110), gateway(701)), MINUTES_10, at(600_002)),
            Effect::Tripped,
            "began after the trip"
        );
        assert_eq!(health.epoch(), 2);
    }

    #[test]
    fn a_failure_that_began_later_extends_and_never_shortens() {
        let mut health = Health::default();
        health.fail(failure(gateway(100), gateway(110)), MINUTES_10, START);
        assert_eq!(health.fail(failure(gateway(111), gateway(112)), MINUTES_10, at(5_000)), Effect::Extended);
        assert_eq!(health.until(), Some(at(605_000)));
        let shorter = Settings { disabled_time: Duration::from_secs(1) };
        assert_eq!(health.fail(failure(gateway(113), gateway(114)), shorter, at(6_000)), Effect::None);
        assert_eq!(health.until(), Some(at(605_000)));
        assert_eq!(health.epoch(), 1, "a longer stay is not a new trip");
    }

    #[test]
    fn where_nothing_tells_it_began_before_as_long_as_a_call_can_last() {
        let short = Settings { disabled_time: Duration::from_secs(1) };
        let mut health = Health::default();
        health.fail(failure(None, None), short, START);
        assert_eq!(health.fail(failure(None, None), short, at(500)), Effect::None);
        health.tick(at(1_000));
        assert_eq!(health.fail(failure(None, None), short, at(199_999)), Effect::None);
        assert_eq!(health.fail(failure(None, None), short, at(200_000)), Effect::Tripped);
    }

    #[test]
    fn the_log_of_the_trip_dates_it() {
        let mut health = Health::default();
        health.fail(failure(gateway(100), None), MINUTES_10, START);
        assert_eq!(
            health.fail(failure(gateway(300), None), MINUTES_10, at(10)),
            Effect::None,
            "not known yet, so a straggler"
        );
        health.date_trip(1, GatewayTime::from_nanos(110_000_000_000));
        health.date_trip(1, GatewayTime::from_nanos(900_000_000_000));
        health.date_trip(7, GatewayTime::from_nanos(0));
        assert_eq!(health.fail(failure(gateway(110), None), MINUTES_10, at(20)), Effect::Extended);
    }
}
