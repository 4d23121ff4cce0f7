//! What must hold after every event, by name: plain functions for property tests and simulations alike.

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Broker, LEDGER_CAPACITY};
use crate::event::Standing;
use crate::router::RouterId;
use crate::strategy::Order;

/// What must hold, and its name.
type Invariant = (&'static str, fn(&Broker) -> bool);

/// All of them.
pub const ALL: [Invariant; 3] = [
    ("only_serving_routers_are_offered", only_serving_routers_are_offered),
    ("every_cooldown_has_a_deadline", every_cooldown_has_a_deadline),
    ("the_ledger_is_bounded", the_ledger_is_bounded),
];

/// The name of the first that is broken.
pub fn broken(broker: &Broker) -> Option<&'static str> {
    ALL.into_iter().find(|(_, holds)| !holds(broker)).map(|(name, _)| name)
}

/// Whoever is next in an order serves, and a pool has an order exactly if one of its routers that is not drained serves.
pub fn only_serving_routers_are_offered(broker: &Broker) -> bool {
    let serves = |id: RouterId| {
        let router = broker.routers.get(usize::from(id.0));
        router.is_some_and(|router| router.health.standing() == Standing::Serving)
    };
    broker.pools.iter().all(|pool| {
        let mut rng = SmallRng::seed_from_u64(0);
        let mut order = Order::new(pool.tree(), &"", &mut rng);
        order.all(|candidate| serves(candidate.router))
    })
}

/// Whoever cools comes back: the next deadline is never later than its own.
pub fn every_cooldown_has_a_deadline(broker: &Broker) -> bool {
    let next = broker.next_deadline();
    broker.routers.iter().filter_map(|router| router.health.until()).all(|until| next.is_some_and(|next| next <= until))
}

/// Messages cannot make the ledger grow without bound.
pub fn the_ledger_is_bounded(broker: &Broker) -> bool {
    broker.ledger.len() <= LEDGER_CAPACITY + 2
}
