//! What must hold after every event, by name: plain functions for property tests and simulations alike.

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::routers::Router;
use super::{Broker, Decision, LEDGER_CAPACITY, Pool, Sent, WhenAllDisabled};
use crate::event::Standing;
use crate::load::budget::Budgets;
use crate::load::{LONGEST, Loads};
use crate::router::RouterId;
use crate::strategy::Order;

/// What must hold, and its name.
type Invariant = (&'static str, fn(&Broker) -> bool);

/// All of them.
pub const ALL: [Invariant; 13] = [
    ("derived_state_is_current", derived_state_is_current),
    ("choices_respect_health_and_drains", choices_respect_health_and_drains),
    ("only_serving_routers_are_offered", only_serving_routers_are_offered),
    ("every_cooldown_has_a_deadline", every_cooldown_has_a_deadline),
    ("whoever_is_out_is_no_last_resort", whoever_is_out_is_no_last_resort),
    ("whoever_is_drained_is_not_offered", whoever_is_drained_is_not_offered),
    ("permits_are_at_most_the_limit", permits_are_at_most_the_limit),
    ("the_disabled_are_offered_only_where_that_is_wanted", the_disabled_are_offered_only_where_that_is_wanted),
    ("the_ledger_is_bounded", the_ledger_is_bounded),
    ("pending_is_what_is_under_way", pending_is_what_is_under_way),
    ("pending_is_zero_when_quiet", pending_is_zero_when_quiet),
    ("suspects_are_bounded", suspects_are_bounded),
    ("budgets_add_up", budgets_add_up),
];

/// The name of the first that is broken.
pub fn broken(broker: &Broker) -> Option<&'static str> {
    ALL.into_iter().find(|(_, holds)| !holds(broker)).map(|(name, _)| name)
}

/// What is derived from health, orders and settings is what it would be if all of it were derived now: the pools' trees, who may
/// serve in them, and when time alone changes something.
pub fn derived_state_is_current(broker: &Broker) -> bool {
    let mut anew = broker.clone();
    anew.configure(&broker.settings.clone());
    anew.refresh(&mut Vec::new());
    let trees = |pool: &Pool| {
        let trees = [Some(pool.tree()), pool.last_resort(), pool.disabled()];
        trees.map(|tree| tree.map(|tree| tree.eligible().collect::<Vec<_>>()))
    };
    anew.next_return == broker.next_return && anew.pools.iter().map(trees).eq(broker.pools.iter().map(trees))
}

/// A router that an operator drained is never chosen, and one that may not serve by its own health only where the choice says
/// so: as a probe, as the last resort, or while it is disabled because the user wants that.
pub fn choices_respect_health_and_drains(broker: &Broker) -> bool {
    broker.pools.iter().all(|pool| {
        (0..4).all(|seed| {
            let chosen = broker.choose(&pool.ingress().as_str(), &mut SmallRng::seed_from_u64(seed));
            let Decision::Route(route) = chosen else { return true };
            let Some(router) = broker.routers.get(usize::from(route.router().0)) else { return false };
            let health = router.health();
            let tier = match route.sent {
                Sent::ToServe => health.standing() == Standing::Serving,
                Sent::ToProve => health.is_probing() && router.may_serve(),
                Sent::AsLastResort => health.is_probing() && !router.may_serve(),
                Sent::WhileDisabled => health.until().is_some() && pool.when_all_disabled() != WhenAllDisabled::Pass,
            };
            tier && broker.operator.hold(route.router()).is_none()
        })
    })
}

/// Whoever is next in an order serves, and a pool has an order exactly if one of its routers that is not drained serves.
pub fn only_serving_routers_are_offered(broker: &Broker) -> bool {
    let serves = |id: RouterId| {
        let router = broker.routers.get(usize::from(id.0));
        router.is_some_and(|router| router.may_serve())
    };
    broker.pools.iter().all(|pool| {
        let mut rng = SmallRng::seed_from_u64(0);
        let mut order = Order::new(pool.tree(), &"", &mut rng);
        order.all(|candidate| serves(candidate.router))
    })
}

/// Whoever cools comes back, and every permit ends: the next deadline is never later than its own.
pub fn every_cooldown_has_a_deadline(broker: &Broker) -> bool {
    let next = broker.next_deadline();
    broker.routers.iter().filter_map(Router::due).all(|until| next.is_some_and(|next| next <= until))
}

/// The last resort of a pool are those that serve or prove themselves, never those that are disabled.
pub fn whoever_is_out_is_no_last_resort(broker: &Broker) -> bool {
    let out = |id: RouterId| {
        let router = broker.routers.get(usize::from(id.0));
        router.is_none_or(|router| !router.health().is_probing() && !router.may_serve())
    };
    broker.pools.iter().filter_map(Pool::last_resort).all(|tree| {
        let mut rng = SmallRng::seed_from_u64(0);
        Order::new(tree, &"", &mut rng).all(|candidate| !out(candidate.router))
    })
}

/// No more requests find out about a router at a time than its settings say: none while it serves, and one at a time while
/// it is disabled and nothing else is left.
pub fn permits_are_at_most_the_limit(broker: &Broker) -> bool {
    broker.routers.iter().all(|router| {
        let limit = match router.health().standing() {
            Standing::Serving => 0,
            Standing::Probing { .. } => router.settings().health.probe.concurrency,
            Standing::Cooling { .. } => 1,
        };
        router.health().permits() <= limit
    })
}

/// A disabled router is offered only where all are, and the user wants it.
pub fn the_disabled_are_offered_only_where_that_is_wanted(broker: &Broker) -> bool {
    broker.pools.iter().all(|pool| match (pool.disabled(), pool.when_all_disabled()) {
        (None, _) => true,
        (Some(_), WhenAllDisabled::Pass) => false,
        (Some(tree), _) => tree.open().all(|id| {
            let router = broker.routers.get(usize::from(id.0));
            router.is_some_and(|router| router.health().until().is_some())
        }),
    })
}

/// What is remembered of requests that failed is bounded.
pub fn suspects_are_bounded(broker: &Broker) -> bool {
    broker.suspects.len() <= super::poison::CAPACITY
}

/// Each router got what its calls are known or expected to use, and what is awaited is bounded.
pub fn budgets_add_up(broker: &Broker) -> bool {
    broker.budgets.as_ref().is_none_or(Budgets::is_sound)
}

/// Messages cannot make the ledger grow without bound.
pub fn the_ledger_is_bounded(broker: &Broker) -> bool {
    broker.ledger.len() <= LEDGER_CAPACITY + 2
}

/// Each router has as many calls pending as are under way there, so never fewer than none; and they are bounded.
pub fn pending_is_what_is_under_way(broker: &Broker) -> bool {
    broker.loads.as_ref().is_none_or(Loads::is_sound)
}

/// When the longest call is over and nothing else has happened, nothing is pending.
pub fn pending_is_zero_when_quiet(broker: &Broker) -> bool {
    broker.loads.as_ref().is_none_or(|loads| {
        let mut quiet = loads.clone();
        quiet.expire(loads.now().after(LONGEST));
        quiet.is_quiet()
    })
}

/// Whom an operator drained is not offered, not even as a last resort.
pub fn whoever_is_drained_is_not_offered(broker: &Broker) -> bool {
    let trees = broker.pools.iter().flat_map(|pool| [Some(pool.tree()), pool.last_resort(), pool.disabled()]);
    trees.flatten().all(|tree| {
        let mut rng = SmallRng::seed_from_u64(0);
        Order::new(tree, &"", &mut rng).all(|candidate| broker.operator.hold(candidate.router).is_none())
    })
}
