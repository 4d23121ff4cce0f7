//! What people and their tools are shown: documents for the API and the command line, and metrics.
//!
//! It only reads, from a copy that was made in small parts and has no secrets in it.

mod config;
mod metrics;

use serde::Serialize;

pub use config::{Bus, ConfigStatus};
pub use metrics::{CONTENT_TYPE, metrics};

use crate::shared_broker::SharedBroker;
use balancer::broker::Snapshot;
use types::time::BrokerTime;

/// One connection to the bus, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connection {
    pub name: &'static str,
    /// Why it is of no use now; absent if it is.
    pub trouble: Option<String>,
    /// How often it was made.
    pub connects: u64,
    /// Messages that came faster than we read.
    pub dropped: u64,
}

/// One replica and all that it knows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Its id, as in its stamps.
    pub replica: String,
    pub version: &'static str,
    /// `balance` or `observe`.
    pub mode: String,
    /// Short hash of the settings that shape decisions.
    pub config: String,
    /// When it was started.
    pub started: BrokerTime,
    /// Its connections to the bus.
    pub connections: Vec<Connection>,
    #[serde(flatten)]
    pub broker: Snapshot,
}

impl Status {
    /// What a replica knows now.
    pub fn from_broker(handle: &SharedBroker, connections: Vec<Connection>) -> Self {
        let signature = handle.signature();
        Self {
            replica: signature.replica().to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            mode: signature.mode().to_string(),
            config: signature.config().to_owned(),
            started: handle.started(),
            connections,
            broker: handle.snapshot(),
        }
    }
}
