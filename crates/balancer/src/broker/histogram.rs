//! How long calls took, counted in steps: enough for percentiles, a fixed size whatever happens.

use std::time::Duration;

/// Upper ends of the steps, in milliseconds: the gateway counts whole ones, and a call ends after 200 s at the latest.
pub const STEPS: [u64; 15] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 60_000, 120_000, 200_000];

/// Counts per step. Counts only ever rise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// How many ended within each step and not within the one before; the last is beyond all of them.
    pub counts: [u64; STEPS.len() + 1],
    /// All times together.
    pub sum: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let place = STEPS.partition_point(|end| end * 1_000_000 < nanos);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(time);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time within which this part of all calls ended, from 0 to 1; straight lines within a step, as Prometheus does it.
    /// What lies beyond the last step counts as its end. Nothing if there was no call.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let total = self.count();
        let rank = part.clamp(0.0, 1.0) * total as f64;
        let (mut before, mut start) = (0.0, 0);
        for (count, end) in self.counts.iter().zip(STEPS) {
            let here = *count as f64;
            if here > 0.0 && before + here >= rank {
                let millis = start as f64 + (end - start) as f64 * (rank - before) / here;
                return Some(Duration::from_secs_f64(millis / 1e3));
            }
            before += here;
            start = end;
        }
        (total > 0).then(|| Duration::from_millis(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_the_step_that_has_them() {
        let mut times = Histogram::default();
        assert_eq!(times.quantile(0.5), None);
        for millis in [3, 3, 3, 3, 40, 40, 40, 40, 900, 300_000] {
            times.observe(Duration::from_millis(millis));
        }
        assert_eq!(times.count(), 10);
        assert_eq!(times.sum, Duration::from_millis(12 + 160 + 900 + 300_000));
        let within = |part: f64, low: u64, high: u64| {
            let found = times.quantile(part).unwrap();
            assert!(
                Duration::from_millis(low) <= found && found <= Duration::from_millis(high),
                "{part}: {found:?} is not between {low} and {high} ms"
            );
        };
        within(0.0, 0, 5);
        within(0.4, 0, 5);
        within(0.5, 25, 50);
        within(0.9, 500, 1_000);
        within(1.0, 200_000, 200_000);
    }

    #[test]
    fn the_end_of_a_step_belongs_to_it() {
        let mut times = Histogram::default();
        times.observe(Duration::from_millis(5));
        times.observe(Duration::from_micros(5_001));
        assert_eq!(times.counts[..2], [1, 1]);
    }
}
