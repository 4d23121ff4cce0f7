//! Documents for the API and the command line, and metrics.
//!
//! Made from a copy of the broker's state, which is read in small parts and contains no secrets.

mod config;
mod metrics;

use serde::Serialize;

pub use config::{Bus, ConfigStatus};
pub use metrics::{CONTENT_TYPE, metrics};

use crate::shared_broker::SharedBroker;
use balancer::broker::Snapshot;
use types::mode::OperatingMode;
use types::time::BrokerTime;

/// The status of one connection to the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connection {
    pub name: &'static str,
    /// Why it cannot be used; absent if it can.
    pub trouble: Option<String>,
    /// How often it was established.
    pub connects: u64,
    /// Messages that were dropped because they arrived faster than they were read.
    pub dropped: u64,
}

/// The status of one replica.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The replica's id, as in its stamps.
    pub replica: String,
    pub version: &'static str,
    pub mode: OperatingMode,
    /// Short hash of the settings that shape decisions.
    pub config: String,
    pub started: BrokerTime,
    pub connections: Vec<Connection>,
    #[serde(flatten)]
    pub broker: Snapshot,
}

impl Status {
    pub fn from_broker(broker: &SharedBroker, connections: Vec<Connection>) -> Self {
        let identity = broker.identity();
        let mut snapshot = broker.snapshot();
        // Without a bus there is no gateway that asks.
        let has_bus = !connections.is_empty();
        snapshot.pools.iter_mut().for_each(|pool| pool.relayed |= !has_bus);
        Self {
            replica: identity.replica().to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            mode: identity.mode(),
            config: identity.config().to_owned(),
            started: broker.started(),
            connections,
            broker: snapshot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::fixtures;
    use balancer::broker::Broker;
    use gecholog_protocol::ReplicaIdentity;

    #[test]
    fn pools_that_only_the_relay_serves_are_marked() {
        let connection = Connection { name: "decisions", trouble: None, connects: 1, dropped: 0 };
        for (relayed, connections, expected) in
            [(false, vec![connection.clone()], false), (true, vec![connection], true), (false, Vec::new(), true)]
        {
            let mut settings = fixtures::settings("/in/", &["/a/"]);
            settings.relayed = relayed.then(|| fixtures::path("/in/")).into_iter().collect();
            let identity = ReplicaIdentity::new("abcdefgh", String::new(), OperatingMode::Balance);
            let broker = SharedBroker::new(Broker::new(settings), identity, Clock::start(), |_| ());
            let status = Status::from_broker(&broker, connections);
            assert_eq!(status.broker.pools[0].relayed, expected, "{relayed}, {:?}", status.connections);
        }
    }
}
