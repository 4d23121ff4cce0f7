//! Time taken, and the middle of many times. It trusts no mean: one pause of the machine would move it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::Effort;

/// Before measuring, code and data find their way into the caches.
const WARM_UP: u32 = 3;

/// The moment.
#[expect(clippy::disallowed_methods, reason = "measuring time is what a bench does; none of it reaches the core")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The middle value; zero of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// How long each of many answers took.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Takes one in.
    pub(crate) fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The nanoseconds within which this share of the answers came; zero of nothing.
    pub(crate) fn quantile(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let place = (self.0.len() as f64 * share) as usize;
        let latency = self.0.get(place).or(self.0.last());
        latency.map_or(0.0, |latency| latency.as_nanos() as f64)
    }
}

/// The nanoseconds that `work` takes: the median of many rounds, each long for the clock and short for the machine, so that
/// most of them run without being interrupted.
pub(crate) fn nanos<T>(effort: Effort, mut work: impl FnMut() -> T) -> f64 {
    let mut batch = |times: u32| {
        let began = now();
        for _ in 0..times {
            black_box(work());
        }
        began.elapsed()
    };
    // What is made once is made, and an interrupted round does not make all of them short.
    batch(1);
    let mut times = 1;
    while batch(times).min(batch(times)) < effort.batch {
        times *= 2;
    }
    for _ in 0..WARM_UP {
        batch(times);
    }
    median((0..effort.batches).map(|_| batch(times).as_nanos() as f64 / f64::from(times)))
}
