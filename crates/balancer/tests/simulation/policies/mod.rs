//! The policies that are compared. Each draws evenly among the routers that it lets serve: only what they make of failures
//! differs. Those of other projects are written from their published rules and defaults, in plain form; each file states
//! the rules. They see every answer at once and without fail, which the real ones do where they stand in the way of the
//! call, and which the broker does not.

mod broker;
mod envoy;
mod linkerd;
mod litellm;
mod random;
mod reference;

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::call::{Choice, PolicyChoice};
use crate::engine::dice;
use crate::policy::Policy;
use crate::scenario::Scenario;

/// What makes a policy, for a scenario and a seed.
pub(crate) type Make = fn(&Scenario, u64) -> Box<dyn Policy>;

/// The one that all others are compared with.
pub(crate) const OURS: &str = "resilient";

/// All of them by name, in the order of the table.
pub(crate) const ALL: [(&str, Make); 7] = [
    ("random", |scenario, seed| Box::new(random::Random::new(scenario.upstreams.len(), seed))),
    ("reference", |scenario, seed| Box::new(reference::Reference::new(scenario.upstreams.len(), seed))),
    ("Envoy", |scenario, seed| Box::new(envoy::Envoy::new(scenario.upstreams.len(), seed))),
    ("linkerd", |scenario, seed| Box::new(linkerd::Linkerd::new(scenario.upstreams.len(), seed))),
    ("LiteLLM", |scenario, seed| Box::new(litellm::LiteLlm::new(scenario.upstreams.len(), seed))),
    ("documented", |scenario, seed| Box::new(broker::Brokers::documented(scenario, seed))),
    (OURS, |scenario, seed| Box::new(broker::Brokers::resilient(scenario, seed))),
];

/// Draws evenly.
#[derive(Debug)]
struct Draw(SmallRng);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(dice(&[seed, 5]))
    }

    /// One of these routers, or none.
    fn among(&mut self, routers: &[usize]) -> Option<PolicyChoice> {
        let place = (!routers.is_empty()).then(|| self.0.random_range(0..routers.len()))?;
        Some(PolicyChoice::To(Choice { replica: 0, router: routers[place], number: 0, probe: false }))
    }
}

/// The numbers of the routers for which something holds.
fn those(count: usize, holds: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..count).filter(|router| holds(*router)).collect()
}

/// Out until a moment: what most of them know of a router.
fn is_out(until: Option<Duration>, now: Duration) -> bool {
    until.is_some_and(|until| now < until)
}
