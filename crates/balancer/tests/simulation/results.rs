//! Every scenario under every policy, over several seeds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use crate::engine;
use crate::figures::Figures;
use crate::policies;
use crate::scenario::{self, Scenario};

/// The first seed, from the environment's `SEED`; the others follow it.
pub(crate) fn seed() -> u64 {
    std::env::var("SEED").ok().map_or(1, |seed| seed.parse().expect("SEED is a whole number"))
}

/// How many seeds the tests take: what is asserted must not hang on one.
const SEEDS: u64 = 3;

/// Of each scenario by name, in the order of the table: the figures of every policy.
#[derive(Debug, Clone)]
pub(crate) struct Results(pub(crate) Vec<(&'static str, Vec<Figures>)>);

impl Results {
    /// Those that the tests judge; played once.
    pub(crate) fn of_the_tests() -> &'static Self {
        static RESULTS: LazyLock<Results> = LazyLock::new(|| Results::play(SEEDS));
        &RESULTS
    }

    /// Plays everything, on as many threads as there are cores.
    pub(crate) fn play(seeds: u64) -> Self {
        let scenarios = scenario::all();
        let jobs: Vec<_> = (0..scenarios.len() * policies::ALL.len()).collect();
        let done = Mutex::new(vec![Figures::default(); jobs.len()]);
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let scenario = &scenarios[job / policies::ALL.len()];
                        let (_, make) = policies::ALL[job % policies::ALL.len()];
                        let figures = over_seeds(scenario, make, seeds);
                        done.lock().unwrap()[*job] = figures;
                    }
                });
            }
        });
        let done = done.into_inner().unwrap();
        let of_all = done.chunks(policies::ALL.len()).map(<[_]>::to_vec);
        Self(scenarios.iter().map(|scenario| scenario.name).zip(of_all).collect())
    }

    /// The figures of one scenario under one policy.
    pub(crate) fn of(&self, scenario: &str, policy: &str) -> &Figures {
        let (_, of_all) = self.0.iter().find(|(name, _)| *name == scenario).unwrap();
        let place = policies::ALL.iter().position(|(name, _)| *name == policy).unwrap();
        &of_all[place]
    }
}

fn over_seeds(scenario: &Scenario, make: policies::Make, seeds: u64) -> Figures {
    let mut sum = Figures::default();
    for seed in seed()..seed() + seeds {
        sum.add(&engine::run(scenario, &mut *make(scenario, seed), seed));
    }
    sum
}
