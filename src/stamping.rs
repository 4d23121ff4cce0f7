//! From the balancer's decision to the gateway protocol's stamp: the only place that knows both.

use balancer::broker::{PoolDescription, Route, RouteReason};
use bytes::Bytes;
use gecholog_protocol::ReplicaIdentity;
use gecholog_protocol::reply::{self, RouteReply};
use gecholog_protocol::stamp::{self, MAX_STAMP_BYTES, Stamp, StampPlaces};

/// The stamp of a decision; `None` if its router is not one of the broker's that described the pool.
fn stamp<'a>(pool: &'a PoolDescription, route: &Route, reason: &'a RouteReason<'a>) -> Option<Stamp<'a>> {
    Some(Stamp {
        number: route.number,
        pool: pool.ingress(),
        router: pool.path(route.router())?,
        probability: route.chosen.p,
        probe: route.kind.decides_recovery(),
        reason,
    })
}

/// The answer to a request for which a router was chosen.
pub fn answer(identity: &ReplicaIdentity, pool: &PoolDescription, route: &Route) -> RouteReply {
    let reason = pool.reason(route);
    let Some(stamp) = stamp(pool, route, &reason) else { return RouteReply::default() };
    reply::route(identity, &stamp, pool.patch(route))
}

/// A stamp in the form of the gateway's log, and what it says. Clones share its text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WrittenStamp {
    /// Empty if the router is not one of the broker's that described the pool.
    pub bytes: Bytes,
    /// The reason, as far as it stands in the stamp.
    pub why: Bytes,
    /// Which decision it is: the replica, and a number.
    pub id: Bytes,
    /// With which probability the router was chosen, 0 to 1.
    pub probability: Option<f64>,
    /// Whether the call tests a disabled router.
    pub probe: bool,
}

/// The stamp of a decision.
pub fn written(identity: &ReplicaIdentity, pool: &PoolDescription, route: &Route) -> WrittenStamp {
    let reason = pool.reason(route);
    let Some(stamp) = stamp(pool, route, &reason) else { return WrittenStamp::default() };
    let mut bytes = Vec::with_capacity(MAX_STAMP_BYTES);
    let StampPlaces { id, why } = stamp::write(&mut bytes, identity, &stamp);
    let bytes = Bytes::from(bytes);
    let Stamp { probability, probe, .. } = stamp;
    WrittenStamp { id: bytes.slice(id), why: bytes.slice(why), bytes, probability, probe }
}

#[cfg(test)]
mod tests {
    use balancer::broker::{Broker, Decision};
    use gecholog_protocol::Message;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use serde_json::{Value, json};
    use types::mode::OperatingMode;
    use types::router::MAX_PATH_BYTES;
    use types::time::BrokerTime;

    use super::*;
    use crate::fixtures::broker;

    fn answer(broker: &mut Broker, ingress: &str, mode: OperatingMode) -> Value {
        let identity = ReplicaIdentity::new("abcdefghjkmn", broker.settings().fingerprint(), mode);
        let mut rng = SmallRng::seed_from_u64(3);
        let decision = broker.select(&ingress, BrokerTime::from_nanos(1), &mut rng);
        let Decision::Route(route) = decision else { panic!("no router") };
        let pool = broker.description(route.pool).unwrap();
        serde_json::from_slice(&super::answer(&identity, pool, &route).complete(None).0).unwrap()
    }

    #[test]
    fn an_answer_names_the_router_and_carries_the_stamp() {
        let mut broker = broker("/azure/", &["/azure/gpt4/"]);
        let answer = answer(&mut broker, "/azure/", OperatingMode::Balance);
        let config = answer["broker"]["config"].clone();
        assert_eq!(config, broker.settings().fingerprint());
        let stamp = json!({
            "id": "abcdefghjkmn-0", "replica": "abcdefghjkmn", "pool": "/azure/", "router": "/azure/gpt4/",
            "config": config, "p": 1.0, "why": "random, 1 of 1 serve",
        });
        assert_eq!(answer, json!({"gl_path": "/azure/gpt4/", "broker": stamp}));
    }

    #[test]
    fn observe_mode_says_would_and_changes_nothing() {
        let mut broker = broker("/azure/", &["/azure/gpt4/"]);
        let answer = answer(&mut broker, "/azure/", OperatingMode::Observe);
        assert_eq!(answer.get("gl_path"), None);
        assert_eq!((answer["broker"].get("router"), &answer["broker"]["would"]), (None, &json!("/azure/gpt4/")));
        let row_2 = serde_json::to_vec(&answer).unwrap();
        assert_eq!(reply::apply(&Message::read(&row_2).unwrap()).0, b"");
    }

    #[test]
    fn the_longest_paths_fit_into_a_stamp_and_only_why_is_cut() {
        let long = |letter: &str| format!("/{}/", letter.repeat(MAX_PATH_BYTES - 2));
        let (ingress, router) = (long("i"), long("r"));
        let mut broker = broker(&ingress, &[&router]);
        let identity = ReplicaIdentity::new("abcdefghjkmn", broker.settings().fingerprint(), OperatingMode::Balance);
        let mut rng = SmallRng::seed_from_u64(3);
        let decision = broker.select(&ingress.as_str(), BrokerTime::from_nanos(1), &mut rng);
        let Decision::Route(mut route) = decision else { panic!("nothing offered") };
        route.number = u64::MAX;
        let WrittenStamp { bytes: stamp, why, .. } =
            written(&identity, broker.description(route.pool).unwrap(), &route);
        assert!(!stamp.is_empty() && stamp.len() <= MAX_STAMP_BYTES, "{} bytes", stamp.len());
        let read: Value = serde_json::from_slice(&stamp).unwrap();
        assert_eq!((read["router"].as_str(), read["pool"].as_str()), (Some(router.as_str()), Some(ingress.as_str())));
        assert_eq!(read["id"], "abcdefghjkmn-ffffffffffffffff");
        assert!("random, 1 of 1 serve".starts_with(read["why"].as_str().unwrap()));
        assert_eq!(read["why"].as_str().unwrap().as_bytes(), why);
    }
}
