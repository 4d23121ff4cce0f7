//! LiteLLM's default cooldown, as its router applies it when neither `allowed_fails` nor a policy is set.
//!
//! - A 429 cools a deployment at once, if there is another.
//! - So do more than half of at least 5 answers, counted in a fixed minute that begins with the first of them; and 401, 402
//!   and 404 at once. Other 4xx but 408 never do.
//! - For 5 s, or for what `Retry-After` says (whole seconds; 0: no cooldown). While it cools, the first deadline stays.
//! - It returns by time alone, with its whole share.
//! - When all cool, the call fails at once with 429.
//!
//! Its own retries are left out, as those of all others are.

use std::time::Duration;

use super::{Draw, is_out, those};
use crate::call::{Answer, PolicyChoice};
use crate::policy::{News, Policy, View};

const COOLDOWN: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
const MIN_REQUESTS: u32 = 5;

#[derive(Debug, Clone, Default)]
struct Deployment {
    until: Option<Duration>,
    minute_ends: Duration,
    good: u32,
    bad: u32,
}

impl Deployment {
    fn count(&mut self, bad: bool, now: Duration) {
        if self.minute_ends <= now {
            (self.minute_ends, self.good, self.bad) = (now + MINUTE, 0, 0);
        }
        *(if bad { &mut self.bad } else { &mut self.good }) += 1;
    }

    fn cools(&self, answer: &Answer, alone: bool) -> bool {
        let total = self.good + self.bad;
        let most = total >= MIN_REQUESTS && self.bad * 2 > total;
        matches!(answer.status, 401 | 402 | 404) || (!alone && (answer.status == 429 || most))
    }
}

/// One process.
#[derive(Debug)]
pub(super) struct LiteLlm {
    deployments: Vec<Deployment>,
    now: Duration,
    draw: Draw,
}

impl LiteLlm {
    pub(super) fn new(routers: usize, seed: u64) -> Self {
        Self { deployments: vec![Deployment::default(); routers], now: Duration::ZERO, draw: Draw::new(seed) }
    }
}

impl Policy for LiteLlm {
    fn choose(&mut self, _: usize, now: Duration) -> PolicyChoice {
        self.now = now;
        let healthy = those(self.deployments.len(), |router| !is_out(self.deployments[router].until, now));
        self.draw.among(&healthy).unwrap_or(PolicyChoice::Refused)
    }

    fn learn(&mut self, news: News<'_>, now: Duration) {
        self.now = now;
        let News::Answer(call) = news else { return };
        let Some(choice) = call.choice() else { return };
        let alone = self.deployments.len() == 1;
        let deployment = &mut self.deployments[choice.router];
        let answer = &call.answer;
        let considered = matches!(answer.status, 401 | 402 | 404 | 408 | 429 | 500..);
        if !considered && answer.status >= 400 {
            return;
        }
        deployment.count(considered, now);
        // The header has whole seconds; a wait of a part of one is rounded up.
        let wait = answer.retry_after.map_or(COOLDOWN, |wait| Duration::from_secs_f64(wait.as_secs_f64().ceil()));
        if considered && !wait.is_zero() && deployment.cools(answer, alone) && !is_out(deployment.until, now) {
            deployment.until = Some(now + wait);
        }
    }

    fn tick(&mut self, now: Duration) {
        self.now = now;
    }

    fn view(&self, _: usize, router: usize) -> View {
        if is_out(self.deployments[router].until, self.now) { View::Ejected } else { View::Serving(1.0) }
    }
}
