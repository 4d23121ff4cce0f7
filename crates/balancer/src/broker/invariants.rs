//! What must hold after every event, by name: plain functions for property tests and simulations alike.

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::routers::Router;
use super::{Broker, Decision, OUTCOME_DEDUP_CAPACITY, Pool, RouteKind, WhenAllDisabled};
use crate::in_flight::MAX_CALL_DURATION;
use crate::load::rate_limit::RateLimiter;
use crate::strategy::Candidates;
use types::router::RouterId;
use types::transition::HealthState;

/// An invariant: its name, and whether it holds.
type Invariant = (&'static str, fn(&Broker) -> bool);

/// All of them.
pub const ALL: [Invariant; 14] = [
    ("derived_state_is_current", derived_state_is_current),
    ("choices_respect_health_and_drains", choices_respect_health_and_drains),
    ("only_serving_routers_are_offered", only_serving_routers_are_offered),
    ("every_cooldown_has_a_deadline", every_cooldown_has_a_deadline),
    ("disabled_routers_are_no_last_resort", disabled_routers_are_no_last_resort),
    ("drained_routers_are_not_offered", drained_routers_are_not_offered),
    ("probes_are_at_most_the_limit", probes_are_at_most_the_limit),
    ("disabled_routers_are_offered_only_if_configured", disabled_routers_are_offered_only_if_configured),
    ("outcome_dedup_is_bounded", outcome_dedup_is_bounded),
    ("pending_matches_calls_in_flight", pending_matches_calls_in_flight),
    ("nothing_is_in_flight_when_quiet", nothing_is_in_flight_when_quiet),
    ("probe_slots_are_held_by_calls_in_flight", probe_slots_are_held_by_calls_in_flight),
    ("suspects_are_bounded", suspects_are_bounded),
    ("rate_limits_add_up", rate_limits_add_up),
];

/// The name of the first one that does not hold.
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
            let tier = match route.kind {
                RouteKind::Normal => health.state() == HealthState::Serving,
                RouteKind::Probe => health.is_probing() && router.may_serve(),
                RouteKind::LastResort => health.is_probing() && !router.may_serve(),
                RouteKind::Panic => health.until().is_some() && pool.when_all_disabled() != WhenAllDisabled::Pass,
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
        let mut order = Candidates::new(pool.tree(), &"", &mut rng);
        order.all(|candidate| serves(candidate.router))
    })
}

/// Every cooldown and every probe slot ends: the broker's next deadline is never later than theirs.
pub fn every_cooldown_has_a_deadline(broker: &Broker) -> bool {
    let next = broker.next_deadline();
    broker.routers.iter().filter_map(Router::due).all(|until| next.is_some_and(|next| next <= until))
}

/// The last resort of a pool has routers that serve or are on probation, and no disabled ones.
pub fn disabled_routers_are_no_last_resort(broker: &Broker) -> bool {
    let out = |id: RouterId| {
        let router = broker.routers.get(usize::from(id.0));
        router.is_none_or(|router| !router.health().is_probing() && !router.may_serve())
    };
    broker.pools.iter().filter_map(Pool::last_resort).all(|tree| {
        let mut rng = SmallRng::seed_from_u64(0);
        Candidates::new(tree, &"", &mut rng).all(|candidate| !out(candidate.router))
    })
}

/// At most as many probes at a time as configured: none while a router serves, and one while it is disabled and used
/// because all are.
pub fn probes_are_at_most_the_limit(broker: &Broker) -> bool {
    broker.routers.iter().all(|router| {
        let limit = match router.health().state() {
            HealthState::Serving => 0,
            HealthState::Probing { .. } => router.settings().health.probe.concurrency,
            HealthState::Cooling { .. } => 1,
        };
        router.health().active_probes() <= limit
    })
}

/// A disabled router is a candidate only where all are disabled and `when_all_disabled` asks for it.
pub fn disabled_routers_are_offered_only_if_configured(broker: &Broker) -> bool {
    broker.pools.iter().all(|pool| match (pool.disabled(), pool.when_all_disabled()) {
        (None, _) => true,
        (Some(_), WhenAllDisabled::Pass) => false,
        (Some(tree), _) => tree.eligible_routers().all(|id| {
            let router = broker.routers.get(usize::from(id.0));
            router.is_some_and(|router| router.health().until().is_some())
        }),
    })
}

/// The memory of failed requests is bounded.
pub fn suspects_are_bounded(broker: &Broker) -> bool {
    broker.suspects.len() <= super::poison::CAPACITY
}

/// The accounts of the rate limiter add up, and its reservations are bounded.
pub fn rate_limits_add_up(broker: &Broker) -> bool {
    broker.limits.as_ref().is_none_or(RateLimiter::is_consistent)
}

/// Messages cannot make the deduplication grow without bound.
pub fn outcome_dedup_is_bounded(broker: &Broker) -> bool {
    broker.dedup.len() <= OUTCOME_DEDUP_CAPACITY + 2
}

/// Each router's count matches its calls in flight, and these are bounded.
pub fn pending_matches_calls_in_flight(broker: &Broker) -> bool {
    broker.in_flight.is_consistent()
}

/// No call is in flight once the longest call is over and nothing else has happened.
pub fn nothing_is_in_flight_when_quiet(broker: &Broker) -> bool {
    let mut quiet = broker.in_flight.clone();
    let last = quiet.all().map(|(_, call)| call.started).max();
    let end = last.map(|last| last.after(MAX_CALL_DURATION));
    while end.and_then(|end| quiet.expire(end)).is_some() {}
    quiet.is_quiet()
}

/// Every probe slot is held by a call in flight, which was sent to its router as a probe.
pub fn probe_slots_are_held_by_calls_in_flight(broker: &Broker) -> bool {
    (0_u16..)
        .map(RouterId)
        .zip(broker.routers.iter())
        .all(|(id, router)| router.health().probing_decisions().all(|decision| broker.in_flight.is_probe(decision, id)))
}

/// A router that an operator drained is never a candidate, not even as a last resort.
pub fn drained_routers_are_not_offered(broker: &Broker) -> bool {
    let trees = broker.pools.iter().flat_map(|pool| [Some(pool.tree()), pool.last_resort(), pool.disabled()]);
    trees.flatten().all(|tree| {
        let mut rng = SmallRng::seed_from_u64(0);
        Candidates::new(tree, &"", &mut rng).all(|candidate| broker.operator.hold(candidate.router).is_none())
    })
}
