//! What is in force, as a document: the pools with what holds for their routers, and where the bus is. Of a target's changes
//! to a request only that there are some: their values are the user's.

use serde::Serialize;
use serde_json::{Map, Value};

use balancer::broker::{BrokerSettings, Values};

/// Where the bus is and what we are there; without any credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bus {
    /// `host:port`, of each server.
    pub servers: Vec<String>,
    /// How we prove who we are: `token`, `user`, `credentials`, `none`.
    pub credentials: &'static str,
    pub subject: String,
    /// Of the gateway's log.
    pub logger_subject: String,
    /// That the replicas share.
    pub queue: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigStatus {
    /// The fingerprint of what shapes decisions.
    pub config: String,
    /// `balance` or `observe`.
    pub mode: String,
    /// Where the bus is.
    pub bus: Bus,
    /// `pools`; `defaults`, which hold for every router that has nothing of its own; `routers`, with what holds for these;
    /// `relayed`, the paths of the relay.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl ConfigStatus {
    /// What is in force.
    pub fn new(config: &str, mode: &str, bus: Bus, settings: &BrokerSettings) -> Self {
        Self { config: config.to_owned(), mode: mode.to_owned(), bus, settings: settings.canonical(Values::Hidden) }
    }
}
