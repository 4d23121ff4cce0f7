//! The document of the settings in force: the bus, and the pools with the settings of their routers. Of a target's changes to
//! requests it shows only that there are some, because their values may be secret.

use serde::Serialize;
use serde_json::{Map, Value};

use balancer::broker::{BrokerSettings, Values};
use gecholog_protocol::ReplicaIdentity;
use types::mode::OperatingMode;

/// The bus, without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bus {
    /// `host:port` of each server.
    pub servers: Vec<String>,
    /// How the connection is authenticated: `token`, `user`, `credentials` or `none`.
    pub credentials: &'static str,
    pub subject: String,
    /// The subject of the gateway's log.
    pub logger_subject: String,
    /// The queue group of the replicas.
    pub queue: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigStatus {
    /// The fingerprint of the settings that affect decisions.
    pub config: String,
    pub mode: OperatingMode,
    /// Where the bus is.
    pub bus: Bus,
    /// `pools`; `defaults`, the settings of routers without their own; `routers`, those with their own; `relayed`, the paths of
    /// the relay.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl ConfigStatus {
    pub fn new(identity: &ReplicaIdentity, bus: Bus, settings: &BrokerSettings) -> Self {
        let config = identity.config().to_owned();
        Self { config, mode: identity.mode(), bus, settings: settings.canonical(Values::Hidden) }
    }
}
