//! Envoy's outlier detection with its defaults, and its panic threshold.
//!
//! - Any 5xx is a failure, a call that was never answered too; anything else, 429 included, ends the row.
//! - Five failures in a row eject a host at once, unless that would eject more than 10 % of the hosts. Whether the first
//!   may be ejected in a small cluster differs between versions; here it may, which is in Envoy's favour.
//! - A sweep every 10 s; only there a host returns, with its whole share and without a probe, and only there the success
//!   rate is judged: over the last interval, of at least 5 hosts with at least 100 answers each, those below
//!   mean − 1.9 · standard deviation are ejected.
//! - The time out is 30 s · n, at most 300 s; n rises by one per ejection and falls by one per sweep at which the host is in.
//! - When fewer than half of the hosts are in, all of them serve (panic).

use std::time::Duration;

use super::{Draw, those};
use crate::call::PolicyChoice;
use crate::policy::{News, Policy, View};

const INTERVAL: Duration = Duration::from_secs(10);
const BASE: Duration = Duration::from_secs(30);
const MAX: Duration = Duration::from_secs(300);
const IN_A_ROW: u32 = 5;
const MAX_PERCENT: usize = 10;
const PANIC_PERCENT: usize = 50;
const RATE_HOSTS: usize = 5;
const RATE_VOLUME: u32 = 100;
const RATE_FACTOR: f64 = 1.9;

#[derive(Debug, Clone, Default)]
struct Host {
    ejected: Option<Duration>,
    times: u32,
    consecutive_failures: u32,
    /// In the interval that runs: answers, and those of them that are no failures.
    total: u32,
    good: u32,
}

impl Host {
    fn returns(&self) -> Option<Duration> {
        self.ejected.map(|since| since + (BASE * self.times).min(MAX))
    }
}

/// One proxy.
#[derive(Debug)]
pub(super) struct Envoy {
    hosts: Vec<Host>,
    sweep: Duration,
    draw: Draw,
}

impl Envoy {
    pub(super) fn new(routers: usize, seed: u64) -> Self {
        Self { hosts: vec![Host::default(); routers], sweep: INTERVAL, draw: Draw::new(seed) }
    }

    fn ejected(&self) -> usize {
        self.hosts.iter().filter(|host| host.ejected.is_some()).count()
    }

    fn panics(&self) -> bool {
        (self.hosts.len() - self.ejected()) * 100 < PANIC_PERCENT * self.hosts.len()
    }

    fn eject(&mut self, host: usize, now: Duration) {
        let ejected = self.ejected();
        let room = ejected == 0 || (ejected + 1) * 100 <= MAX_PERCENT * self.hosts.len();
        let host = &mut self.hosts[host];
        host.consecutive_failures = 0;
        if room && host.ejected.is_none() {
            host.ejected = Some(now);
            host.times += u32::from(BASE * host.times < MAX + BASE);
        }
    }

    fn sweep(&mut self, now: Duration) {
        for host in &mut self.hosts {
            if host.ejected.is_none() {
                host.times = host.times.saturating_sub(1);
            } else if host.returns().is_some_and(|returns| returns <= now) {
                (host.ejected, host.consecutive_failures) = (None, 0);
            }
        }
        for host in self.outliers() {
            self.eject(host, now);
        }
        for host in &mut self.hosts {
            (host.total, host.good) = (0, 0);
        }
    }

    /// Those whose rate of successes stands out.
    fn outliers(&self) -> Vec<usize> {
        let rate = |host: &Host| f64::from(host.good) / f64::from(host.total) * 100.0;
        let judged = those(self.hosts.len(), |n| self.hosts[n].ejected.is_none() && self.hosts[n].total >= RATE_VOLUME);
        if judged.len() < RATE_HOSTS {
            return Vec::new();
        }
        let rates: Vec<f64> = judged.iter().map(|host| rate(&self.hosts[*host])).collect();
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / rates.len() as f64;
        let threshold = mean - RATE_FACTOR * variance.sqrt();
        judged.into_iter().zip(rates).filter(|(_, rate)| *rate < threshold).map(|(host, _)| host).collect()
    }
}

impl Policy for Envoy {
    fn choose(&mut self, _: usize, now: Duration) -> PolicyChoice {
        self.tick(now);
        let panics = self.panics();
        let hosts = those(self.hosts.len(), |host| panics || self.hosts[host].ejected.is_none());
        self.draw.among(&hosts).unwrap_or(PolicyChoice::Refused)
    }

    fn learn(&mut self, news: News<'_>, now: Duration) {
        self.tick(now);
        let News::Answer(call) = news else { return };
        let Some(choice) = call.choice() else { return };
        let host = &mut self.hosts[choice.router];
        let failed = call.answer.status >= 500;
        host.total += 1;
        host.good += u32::from(!failed);
        host.consecutive_failures = if failed { host.consecutive_failures + 1 } else { 0 };
        if host.consecutive_failures == IN_A_ROW {
            self.eject(choice.router, now);
        }
    }

    fn tick(&mut self, now: Duration) {
        while self.sweep <= now {
            let moment = self.sweep;
            self.sweep(moment);
            self.sweep += INTERVAL;
        }
    }

    fn view(&self, _: usize, router: usize) -> View {
        match self.hosts[router].ejected {
            Some(_) if self.panics() => View::Panic,
            Some(_) => View::Ejected,
            None => View::Serving(1.0),
        }
    }
}
