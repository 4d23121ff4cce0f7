//! Uniform random: every router serves always. It is the measure of what learning is worth.

use std::time::Duration;

use super::{Draw, those};
use crate::call::PolicyChoice;
use crate::policy::{News, Policy, View};

/// Learns nothing.
#[derive(Debug)]
pub(super) struct Random {
    routers: usize,
    draw: Draw,
}

impl Random {
    pub(super) fn new(routers: usize, seed: u64) -> Self {
        Self { routers, draw: Draw::new(seed) }
    }
}

impl Policy for Random {
    fn choose(&mut self, _: usize, _: Duration) -> PolicyChoice {
        self.draw.among(&those(self.routers, |_| true)).unwrap_or(PolicyChoice::Pass)
    }

    fn learn(&mut self, _: News<'_>, _: Duration) {}

    fn tick(&mut self, _: Duration) {}

    fn view(&self, _: usize, _: usize) -> View {
        View::Serving(1.0)
    }
}
