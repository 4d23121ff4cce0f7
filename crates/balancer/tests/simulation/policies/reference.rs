//! The rules of the gateway's own broker, as it was found to work.
//!
//! - Any status but 200 disables the router for ten minutes, a client's own bad request too.
//! - An error while it is disabled begins the ten minutes anew.
//! - It returns by time alone, with its whole share; a success while it is disabled changes nothing.
//! - When all are disabled the answer is empty.

use std::time::Duration;

use super::{Draw, is_out, those};
use crate::call::PolicyChoice;
use crate::policy::{News, Policy, View};

const DISABLED: Duration = Duration::from_secs(600);

/// One of it.
#[derive(Debug)]
pub(super) struct Reference {
    until: Vec<Option<Duration>>,
    now: Duration,
    draw: Draw,
}

impl Reference {
    pub(super) fn new(routers: usize, seed: u64) -> Self {
        Self { until: vec![None; routers], now: Duration::ZERO, draw: Draw::new(seed) }
    }
}

impl Policy for Reference {
    fn choose(&mut self, _: usize, now: Duration) -> PolicyChoice {
        self.now = now;
        let enabled = those(self.until.len(), |router| !is_out(self.until[router], now));
        self.draw.among(&enabled).unwrap_or(PolicyChoice::Pass)
    }

    fn learn(&mut self, news: News<'_>, now: Duration) {
        self.now = now;
        let News::Answer(call) = news else { return };
        if let Some(choice) = call.choice().filter(|_| call.answer.status != 200) {
            self.until[choice.router] = Some(now + DISABLED);
        }
    }

    fn tick(&mut self, now: Duration) {
        self.now = now;
    }

    fn view(&self, _: usize, router: usize) -> View {
        if is_out(self.until[router], self.now) { View::Ejected } else { View::Serving(1.0) }
    }
}
