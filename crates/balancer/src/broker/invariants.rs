//! What must hold after every event, by name: plain functions for property tests and simulations alike.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::routers::Router;
use super::{Broker, Decision, MAX_UNPAIRED, Pool, RouteKind, WhenAllDisabled};
use crate::in_flight::MAX_CALL_DURATION;
use crate::load::rate_limit::RateLimiter;
use crate::strategy::{Candidates, PickContext, Tier};
use types::router::RouterId;
use types::time::BrokerTime;
use types::transition::HealthState;

/// An invariant: its name, and whether it holds.
type Invariant = (&'static str, fn(&Broker) -> bool);

/// All of them.
pub const ALL: [Invariant; 16] = [
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
    ("the_status_shows_the_trees", the_status_shows_the_trees),
    ("suspects_are_bounded", suspects_are_bounded),
    ("rate_limits_add_up", rate_limits_add_up),
    ("model_limits_are_bounded_and_end", model_limits_are_bounded_and_end),
];

/// The name of the first one that does not hold.
pub fn broken(broker: &Broker) -> Option<&'static str> {
    ALL.into_iter().find(|(_, holds)| !holds(broker)).map(|(name, _)| name)
}

/// What is derived from health, orders and settings is what it would be if all of it were derived now: the pools' trees, who may
/// serve in them, and when time alone changes something.
pub(crate) fn derived_state_is_current(broker: &Broker) -> bool {
    let mut anew = broker.clone();
    anew.configure(Arc::clone(&broker.settings));
    anew.refresh();
    let tiers = |pool: &Pool| Tier::ALL.map(|tier| pool.tree().eligible(tier).collect::<Vec<_>>());
    let deadline = |broker: &Broker| (broker.routers.next_deadline(), broker.operator.next_deadline());
    let probed =
        |id| broker.routers.is_on_probation(id) == broker.routers.get(id).is_some_and(|it| it.health().is_probing());
    let probes_are_known = broker.routers.ids().all(probed);
    probes_are_known
        && deadline(&anew) == deadline(broker)
        && anew.pools().iter().map(tiers).eq(broker.pools().iter().map(tiers))
}

/// The status, which is derived without the broker, shows the trees that decisions are made with.
pub(crate) fn the_status_shows_the_trees(broker: &Broker) -> bool {
    let status = broker.snapshot(BrokerTime::from_nanos(0));
    broker.pools().iter().zip(&status.pools).all(|(pool, shown)| {
        let tier = if shown.last_resort { Tier::LastResort } else { Tier::Serving };
        let path = |router: RouterId| broker.path(router).cloned();
        let on_probation = |id| broker.operator.readiness(&broker.routers, id).is_some_and(|ready| ready.probing);
        let own = pool.tree().show(tier, path, on_probation);
        shown.serves == pool.is_available() && shown.tree == own
    })
}

/// A router that an operator drained is never chosen, and one that may not serve by its own health only where the choice says
/// so: as a probe, as the last resort, or while it is disabled because the user wants that; then its upstream's word is kept.
pub(crate) fn choices_respect_health_and_drains(broker: &Broker) -> bool {
    broker.pools().iter().all(|pool| {
        (0..4).all(|seed| {
            let chosen = broker.choose(&pool.ingress().as_str(), &mut SmallRng::seed_from_u64(seed));
            let Decision::Route(route) = chosen else { return true };
            let Some(router) = broker.routers.get(route.router()) else { return false };
            let health = router.health();
            let tier = match route.kind {
                RouteKind::Normal => health.state() == HealthState::Serving,
                RouteKind::Probe => health.is_probing() && router.may_serve(),
                RouteKind::LastResort => health.is_probing() && !router.may_serve(),
                RouteKind::Panic => match pool.when_all_disabled() {
                    WhenAllDisabled::Pass => false,
                    WhenAllDisabled::Soonest => {
                        let rests = health.waits_as_announced() && health.was_asked_just_now();
                        health.until().is_some() && health.active_probes() == 0 && !rests
                    }
                    WhenAllDisabled::Any => health.until().is_some() && !health.waits_as_announced(),
                },
            };
            tier && broker.operator.drained_by(route.router()).is_none()
        })
    })
}

/// The next router in an order serves, and a pool has an order exactly if one of its routers that is not drained serves.
pub(crate) fn only_serving_routers_are_offered(broker: &Broker) -> bool {
    let serves = |id: RouterId| {
        let router = broker.routers.get(id);
        router.is_some_and(|router| router.may_serve())
    };
    broker.pools().iter().all(|pool| {
        let mut rng = SmallRng::seed_from_u64(0);
        let mut order = Candidates::new(pool.tree(), &"", &mut rng);
        order.all(|candidate| serves(candidate.router))
    })
}

/// Every cooldown and every probe slot ends: the broker's next deadline is never later than theirs, and is never missed.
pub(crate) fn every_cooldown_has_a_deadline(broker: &Broker) -> bool {
    let next = broker.next_deadline();
    if next.is_some_and(|next| broker.nothing_due_before > next) {
        return false;
    }
    broker.routers.values().filter_map(Router::due).all(|until| next.is_some_and(|next| next <= until))
}

/// The last resort of a pool has routers that serve or are on probation, and no disabled ones.
pub(crate) fn disabled_routers_are_no_last_resort(broker: &Broker) -> bool {
    let out = |id: RouterId| {
        let router = broker.routers.get(id);
        router.is_none_or(|router| !router.health().is_probing() && !router.may_serve())
    };
    broker.pools().iter().all(|pool| in_tier(pool, Tier::LastResort).all(|router| !out(router)))
}

/// At most as many probes at a time as configured: none while a router serves, and one while it is disabled and used
/// because all are.
pub(crate) fn probes_are_at_most_the_limit(broker: &Broker) -> bool {
    broker.routers.values().all(|router| {
        let limit = match router.health().state() {
            HealthState::Serving => 0,
            HealthState::Probing { .. } => router.settings().health.probe.concurrency,
            HealthState::Cooling { .. } => 1,
        };
        router.health().active_probes() <= limit
    })
}

/// A disabled router is a candidate only where all are disabled and `when_all_disabled` asks for it.
pub(crate) fn disabled_routers_are_offered_only_if_configured(broker: &Broker) -> bool {
    broker.pools().iter().all(|pool| match pool.when_all_disabled() {
        WhenAllDisabled::Pass => !pool.tree().has_eligible(Tier::Disabled),
        _ => in_tier(pool, Tier::Disabled).all(|id| {
            let router = broker.routers.get(id);
            router.is_some_and(|router| router.health().until().is_some())
        }),
    })
}

/// The memory of failed requests is bounded.
pub(crate) fn suspects_are_bounded(broker: &Broker) -> bool {
    broker.suspects.len() <= super::poison::MAX_SUSPECTS
}

/// The accounts of the rate limiter add up, and its reservations are bounded.
pub(crate) fn rate_limits_add_up(broker: &Broker) -> bool {
    broker.limits.as_ref().is_none_or(RateLimiter::is_consistent)
}

/// Few routers rest for a model, and each of them has a deadline.
pub(crate) fn model_limits_are_bounded_and_end(broker: &Broker) -> bool {
    let due = broker.model_limits.next_deadline();
    broker.model_limits.is_consistent() && due.is_none_or(|due| broker.nothing_due_before <= due)
}

/// Messages cannot make the deduplication grow without bound.
pub(crate) fn outcome_dedup_is_bounded(broker: &Broker) -> bool {
    broker.dedup.len() <= MAX_UNPAIRED + 2
}

/// Each router's count matches its calls in flight, and these are bounded.
pub(crate) fn pending_matches_calls_in_flight(broker: &Broker) -> bool {
    broker.in_flight.is_consistent()
}

/// No call is in flight once the longest call is over and nothing else has happened.
pub(crate) fn nothing_is_in_flight_when_quiet(broker: &Broker) -> bool {
    let mut quiet = broker.in_flight.clone();
    let last = quiet.all().map(|(_, call)| call.started).max();
    let end = last.map(|last| last.after(MAX_CALL_DURATION));
    while end.and_then(|end| quiet.expire(end)).is_some() {}
    quiet.is_quiet()
}

/// Every probe slot is held by a call in flight, which was sent to its router as a probe.
pub(crate) fn probe_slots_are_held_by_calls_in_flight(broker: &Broker) -> bool {
    broker
        .routers
        .iter()
        .all(|(id, router)| router.health().probing_decisions().all(|decision| broker.in_flight.is_probe(decision, id)))
}

/// A router that an operator drained is never a candidate, not even as a last resort.
pub(crate) fn drained_routers_are_not_offered(broker: &Broker) -> bool {
    let tiers = broker.pools().iter().flat_map(|pool| Tier::ALL.map(|tier| (pool, tier)));
    tiers
        .into_iter()
        .flat_map(|(pool, tier)| in_tier(pool, tier))
        .all(|router| broker.operator.drained_by(router).is_none())
}

/// The routers that are candidates in a tier.
fn in_tier(pool: &Pool, tier: Tier) -> impl Iterator<Item = RouterId> {
    let mut rng = SmallRng::seed_from_u64(0);
    let context = PickContext { tier, ..PickContext::default() };
    let order: Vec<_> = Candidates::new(pool.tree(), &"", &mut rng).with(context).map(|next| next.router).collect();
    order.into_iter()
}
