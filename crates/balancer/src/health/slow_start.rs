//! Slow start: after its return a router gets a tenth of its share, and the whole of it ten steps later.

use std::time::Duration;

use super::settings::HealthSettings;
use types::time::BrokerTime;

/// The number of steps; the first one is a tenth, as in Envoy's slow start.
const SLOW_START_STEPS: u32 = 10;

/// A slow start in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlowStart {
    since: BrokerTime,
    /// The current step, from 1; over after [`SLOW_START_STEPS`].
    step: u32,
}

impl SlowStart {
    /// Starts one, unless the setting is zero.
    pub(super) fn begin(settings: &HealthSettings, now: BrokerTime) -> Option<Self> {
        (!settings.slow_start.is_zero()).then_some(Self { since: now, step: 1 })
    }

    /// The factor on the router's weight.
    pub(super) fn share(self) -> f64 {
        f64::from(self.step) / f64::from(SLOW_START_STEPS)
    }

    /// When the next step begins.
    pub(super) fn due(self, settings: &HealthSettings) -> BrokerTime {
        self.since.after(length(settings) * self.step)
    }

    /// The state at `now`; `None` when it is over.
    pub(super) fn advance(self, settings: &HealthSettings, now: BrokerTime) -> Option<Self> {
        let steps = now.since(self.since).as_nanos() / length(settings).as_nanos();
        let step = u32::try_from(steps).unwrap_or(SLOW_START_STEPS).saturating_add(1);
        (step <= SLOW_START_STEPS).then_some(Self { step, ..self })
    }
}

/// The length of a step, at least one millisecond.
fn length(settings: &HealthSettings) -> Duration {
    (settings.slow_start / SLOW_START_STEPS).max(Duration::from_millis(1))
}
