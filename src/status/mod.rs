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
    /// `balance` or `observe`.
    pub mode: String,
    /// Short hash of the settings that shape decisions.
    pub config: String,
    pub started: BrokerTime,
    pub connections: Vec<Connection>,
    #[serde(flatten)]
    pub broker: Snapshot,
}

impl Status {
    pub fn from_broker(broker: &SharedBroker, connections: Vec<Connection>) -> Self {
        let signature = broker.signature();
        Self {
            replica: signature.replica().to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            mode: signature.mode().to_string(),
            config: signature.config().to_owned(),
            started: broker.started(),
            connections,
            broker: broker.snapshot(),
        }
    }
}
