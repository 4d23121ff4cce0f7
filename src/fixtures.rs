//! What the unit tests of several modules are about: paths, a pool over some routers, and a broker with it.

use balancer::broker::{Broker, BrokerSettings, RouterSettings};
use types::router::RouterPath;

pub(crate) fn path(text: &str) -> RouterPath {
    RouterPath::parse(text).unwrap()
}

/// One pool, in which every router has the same share.
pub(crate) fn settings(ingress: &str, routers: &[&str]) -> BrokerSettings {
    let routers = routers.iter().map(|router| path(router)).collect();
    BrokerSettings::flat(path(ingress), routers, RouterSettings::default())
}

pub(crate) fn broker(ingress: &str, routers: &[&str]) -> Broker {
    Broker::new(settings(ingress, routers))
}
