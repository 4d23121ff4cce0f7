//! What is measured of a run, and the mean of several.

use std::time::Duration;

/// The mean of some spans of time, and how many of them the run cut short.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Spans {
    pub(crate) count: u32,
    pub(crate) sum: Duration,
    /// Those that had not ended when they were counted.
    pub(crate) unended: u32,
}

impl Spans {
    pub(crate) fn add(&mut self, span: Duration) {
        self.count += 1;
        self.sum += span;
    }

    pub(crate) fn add_unended(&mut self, span: Duration) {
        self.add(span);
        self.unended += 1;
    }

    pub(crate) fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| self.sum / self.count)
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Figures {
    /// Requests that a working upstream can answer.
    pub(crate) requests: u64,
    /// Those of them that failed in the end, tries included.
    pub(crate) failed: u64,
    /// Calls sent to a dead router after its first failure was answered.
    pub(crate) to_known_bad: u64,
    /// Router-seconds that were there to be used, while the policy used them not.
    pub(crate) wasted: f64,
    /// Router-seconds of the pool.
    pub(crate) pool: f64,
    /// From the beginning of an outage to the moment when every replica has the router out.
    pub(crate) detect: Spans,
    /// Outages that no policy had time or will to notice.
    pub(crate) unnoticed: u32,
    /// From the end of an outage to the moment when the router serves everywhere; only of routers that were out.
    pub(crate) back: Spans,
    /// How often a router was taken out, over all replicas.
    pub(crate) trips: u64,
    /// Calls to a dead router beyond one per cooldown and replica, after that replica had taken it out.
    pub(crate) beyond: u64,
    /// Runs that were added up.
    pub(crate) runs: u32,
}

impl Figures {
    /// Failed requests, as a share of all.
    pub(crate) fn failed_share(&self) -> f64 {
        self.failed as f64 / self.requests.max(1) as f64
    }

    /// Wasted capacity, as a share of the pool's.
    pub(crate) fn wasted_share(&self) -> f64 {
        self.wasted / self.pool.max(f64::MIN_POSITIVE)
    }

    /// Adds another run up.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.to_known_bad += other.to_known_bad;
        self.wasted += other.wasted;
        self.pool += other.pool;
        self.unnoticed += other.unnoticed;
        self.trips += other.trips;
        self.beyond += other.beyond;
        self.runs += other.runs;
        for (spans, more) in [(&mut self.detect, other.detect), (&mut self.back, other.back)] {
            spans.count += more.count;
            spans.sum += more.sum;
            spans.unended += more.unended;
        }
    }
}
