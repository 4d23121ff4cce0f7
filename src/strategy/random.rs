//! Uniform random order: every router that may serve is as likely as any other to come next.
//!
//! Draws without replacement and without a copy of the list: what is kept is only the ranks already drawn, in ascending
//! order, so that the first draw, the one that nearly every request needs, costs one random number and no allocation.

use rand::{Rng, RngExt};

use super::Candidate;
use crate::router::RouterId;

/// A uniform random order over `serving`.
#[derive(Debug)]
pub struct Random<'a, R> {
    serving: &'a [RouterId],
    last: Option<usize>,
    drawn: Vec<usize>,
    rng: &'a mut R,
}

impl<'a, R: Rng> Random<'a, R> {
    /// An order that is drawn as it is walked.
    pub const fn new(serving: &'a [RouterId], rng: &'a mut R) -> Self {
        Self { serving, last: None, drawn: Vec::new(), rng }
    }
}

impl<R: Rng> Iterator for Random<'_, R> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        if let Some(last) = self.last.take() {
            self.drawn.insert(self.drawn.partition_point(|rank| *rank < last), last);
        }
        let left = self.serving.len().checked_sub(self.drawn.len()).filter(|left| *left > 0)?;
        let mut rank = self.rng.random_range(0..left);
        for drawn in &self.drawn {
            if rank < *drawn {
                break;
            }
            rank += 1;
        }
        self.last = Some(rank);
        let router = *self.serving.get(rank)?;
        Some(Candidate { router, p: 1.0 / left as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    fn routers(n: u16) -> Vec<RouterId> {
        (0..n).map(RouterId).collect()
    }

    proptest! {
        #[test]
        fn an_order_is_a_permutation_of_what_may_serve(n in 0_u16..40, seed: u64) {
            let mut rng = SmallRng::seed_from_u64(seed);
            let serving = routers(n);
            let mut order: Vec<_> = Random::new(&serving, &mut rng).map(|c| c.router).collect();
            order.sort_unstable();
            prop_assert_eq!(order, serving);
        }
    }

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut rng = SmallRng::seed_from_u64(7);
        let serving = routers(3);
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..60_000 {
            let order: Vec<_> = Random::new(&serving, &mut rng).map(|c| c.router.0).collect();
            *seen.entry(order).or_insert(0_u32) += 1;
        }
        assert_eq!(seen.len(), 6);
        let chi: f64 = seen.values().map(|n| (f64::from(*n) - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(chi < 20.5, "chi-square {chi} with 5 degrees of freedom is above its 99.9 % bound");
    }

    #[test]
    fn p_is_the_chance_at_each_step() {
        let mut rng = SmallRng::seed_from_u64(1);
        let p: Vec<_> = Random::new(&routers(4), &mut rng).map(|c| c.p).collect();
        assert_eq!(p, [0.25, 1.0 / 3.0, 0.5, 1.0]);
    }
}
