//! linkerd's unified breaker (failure accrual) with the defaults of its annotations.
//!
//! - Seven failures in a row shut an endpoint; a 429 is no failure here, and does not end the row as a success does not
//!   being one.
//! - So does a share of successes below 0.8 over 10 s, of at least 5 answers; here a 429 is a failure. Exact counts in ten
//!   buckets, emptied on recovery.
//! - Shut for 1 s · 2^n, at most 1 minute, and by chance up to half as long again within that; answers are ignored meanwhile.
//! - Then one request at a time: a success opens, a failure or a 429 shuts for the next longer time. There is no timer, and
//!   the first answer decides, whichever call it belongs to. After a recovery n begins at 0.
//! - When all are shut, the call fails at once.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngExt;

use super::{Draw, those};
use crate::call::PolicyChoice;
use crate::policy::{News, Policy, View};

const IN_A_ROW: u32 = 7;
const MIN_PENALTY: Duration = Duration::from_secs(1);
const MAX_PENALTY: Duration = Duration::from_secs(60);
const JITTER: f64 = 0.5;
const THRESHOLD: f64 = 0.8;
const BUCKETS: u64 = 10;
const MIN_REQUESTS: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Open,
    Shut(Duration),
    Probation { sent: bool },
}

#[derive(Debug, Clone)]
struct Endpoint {
    state: State,
    consecutive_failures: u32,
    /// Second, successes, failures.
    buckets: VecDeque<(u64, u32, u32)>,
    /// How often it was shut since it was last open.
    shut: u32,
}

impl Endpoint {
    fn count(&mut self, good: bool, now: Duration) {
        let second = now.as_secs();
        self.buckets.retain(|(bucket, _, _)| bucket + BUCKETS > second);
        if self.buckets.back().is_none_or(|(bucket, _, _)| *bucket != second) {
            self.buckets.push_back((second, 0, 0));
        }
        if let Some((_, successes, failures)) = self.buckets.back_mut() {
            *(if good { successes } else { failures }) += 1;
        }
    }

    fn trips(&self) -> bool {
        let good: u32 = self.buckets.iter().map(|(_, good, _)| good).sum();
        let total = good + self.buckets.iter().map(|(_, _, bad)| bad).sum::<u32>();
        self.consecutive_failures >= IN_A_ROW
            || (total >= MIN_REQUESTS && f64::from(good) < THRESHOLD * f64::from(total))
    }
}

/// One proxy.
#[derive(Debug)]
pub(super) struct Linkerd {
    endpoints: Vec<Endpoint>,
    draw: Draw,
}

impl Linkerd {
    pub(super) fn new(routers: usize, seed: u64) -> Self {
        let endpoint = Endpoint { state: State::Open, consecutive_failures: 0, buckets: VecDeque::new(), shut: 0 };
        Self { endpoints: vec![endpoint; routers], draw: Draw::new(seed) }
    }

    fn shut(&mut self, router: usize, now: Duration) {
        let endpoint = &mut self.endpoints[router];
        let base = MIN_PENALTY.saturating_mul(2_u32.saturating_pow(endpoint.shut)).min(MAX_PENALTY);
        let penalty = base + base.mul_f64(JITTER * self.draw.0.random::<f64>());
        endpoint.state = State::Shut(now + penalty.min(MAX_PENALTY));
        endpoint.shut += 1;
    }

    fn open(&mut self, router: usize) {
        let endpoint = &mut self.endpoints[router];
        (endpoint.state, endpoint.consecutive_failures, endpoint.shut) = (State::Open, 0, 0);
        endpoint.buckets.clear();
    }
}

impl Policy for Linkerd {
    fn choose(&mut self, _: usize, now: Duration) -> PolicyChoice {
        self.tick(now);
        let ready = those(self.endpoints.len(), |router| {
            matches!(self.endpoints[router].state, State::Open | State::Probation { sent: false })
        });
        let sent = self.draw.among(&ready).unwrap_or(PolicyChoice::Refused);
        if let PolicyChoice::To(choice) = sent
            && let State::Probation { sent } = &mut self.endpoints[choice.router].state
        {
            *sent = true;
        }
        sent
    }

    fn learn(&mut self, news: News<'_>, now: Duration) {
        self.tick(now);
        let News::Answer(call) = news else { return };
        let Some(choice) = call.choice() else { return };
        let endpoint = &mut self.endpoints[choice.router];
        let (limited, failed) = (call.answer.status == 429, call.answer.status >= 500);
        match endpoint.state {
            State::Shut(_) => {}
            State::Probation { .. } if limited || failed => self.shut(choice.router, now),
            State::Probation { .. } => self.open(choice.router),
            State::Open => {
                endpoint.count(!limited && !failed, now);
                if failed {
                    endpoint.consecutive_failures += 1;
                } else if !limited {
                    endpoint.consecutive_failures = 0;
                }
                if endpoint.trips() {
                    self.shut(choice.router, now);
                }
            }
        }
    }

    fn tick(&mut self, now: Duration) {
        for endpoint in &mut self.endpoints {
            if matches!(endpoint.state, State::Shut(until) if until <= now) {
                endpoint.state = State::Probation { sent: false };
            }
        }
    }

    fn view(&self, _: usize, router: usize) -> View {
        match self.endpoints[router].state {
            State::Open => View::Serving(1.0),
            State::Shut(_) => View::Ejected,
            State::Probation { .. } => View::Probing,
        }
    }
}
