//! A gentle return: a tenth of the router's share at first, the whole of it when the slow_start is over, in ten steps.

use std::time::Duration;

use super::settings::HealthSettings;
use types::time::BrokerTime;

/// The steps, and the first of them as a share: Envoy's slow start begins there too.
const STEPS: u32 = 10;

/// A return that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlowStart {
    since: BrokerTime,
    /// The step that holds, from 1; after [`STEPS`] it is over.
    step: u32,
}

impl SlowStart {
    /// Begins one, if the settings want it.
    pub(super) fn begin(settings: &HealthSettings, now: BrokerTime) -> Option<Self> {
        (!settings.slow_start.is_zero()).then_some(Self { since: now, step: 1 })
    }

    /// The part of its share that the router gets.
    pub(super) fn share(self) -> f64 {
        f64::from(self.step) / f64::from(STEPS)
    }

    /// When the next step is due.
    pub(super) fn due(self, settings: &HealthSettings) -> BrokerTime {
        self.since.after(length(settings) * self.step)
    }

    /// Where it is by now; nothing if it is over.
    pub(super) fn advance(self, settings: &HealthSettings, now: BrokerTime) -> Option<Self> {
        let steps = now.since(self.since).as_nanos() / length(settings).as_nanos();
        let step = u32::try_from(steps).unwrap_or(STEPS).saturating_add(1);
        (step <= STEPS).then_some(Self { step, ..self })
    }
}

/// How long a step takes; not so short that a clock could not follow.
fn length(settings: &HealthSettings) -> Duration {
    (settings.slow_start / STEPS).max(Duration::from_millis(1))
}
