//! Settings: from texts (environment and flags) to validated values.
//!
//! Two stages: [`RawSettings`] has the texts, without validation; [`resolve`] builds the settings that the other modules
//! define, and reports all faults at once, each with its place and what would be right. Secrets are never shown, not even
//! invalid ones. The pools may be in a file ([`mod@file`]), which is read again while the broker runs.

mod bus_settings;
mod calls_settings;
mod check;
pub mod file;
mod health_in_force;
mod keys;
mod names;
mod prices;
mod raw;
mod relay_settings;
mod secret;
mod shown;
mod tls;
mod tokens;
mod trace_settings;

pub use crate::fault::Fault;
pub use calls_settings::http_without_bus;
pub use check::{http_of, operator_of, resolve};
pub use names::names;
pub use raw::{RawSettings, Sources};
pub use shown::{Setting, settings};

use crate::admin::Token;
use crate::prices::PricesFile;
use crate::server::ServerTls;
use crate::{calls, http, nats, relay, telemetry, traces};
use balancer::broker;
use types::mode::OperatingMode;

/// The validated settings.
#[derive(Debug, Clone)]
pub struct Config {
    pub broker: broker::BrokerSettings,
    /// The pools file, if there is one; read again when it changes.
    pub pools: Option<file::PoolsFile>,
    /// The user's prices, if there are any; read again when they change.
    pub prices: Option<PricesFile>,
    pub mode: OperatingMode,
    /// Whether there is a bus: `BROKER_BUS`. Without one only the relay serves calls.
    pub bus: bool,
    /// The bus.
    pub nats: nats::NatsSettings,
    pub http: http::HttpSettings,
    /// The memory and the file of finished calls.
    pub calls: calls::CallSettings,
    /// The export of finished calls as traces, if it is on.
    pub traces: Option<traces::TraceSettings>,
    /// The relay.
    pub relay: relay::RelaySettings,
    /// Host names and tokens that HTTP accepts.
    pub access: http::Access,
    /// Certificate and key for clients of HTTP and the relay; without them they speak plain HTTP.
    pub tls: Option<ServerTls>,
    pub telemetry: telemetry::LogSettings,
}

/// The settings for reaching running brokers over the bus.
#[derive(Debug, Clone)]
pub struct OperatorAccess {
    /// The bus.
    pub nats: nats::NatsSettings,
    pub token: Option<Token>,
    /// A header of trace ids besides the well-known ones, in lower case: `BROKER_TRACE_HEADER`.
    pub trace_header: String,
}

/// A config or its faults, and warnings in either case.
#[derive(Debug)]
pub struct Resolved {
    /// The config, or all faults.
    pub config: Result<Config, Vec<Fault>>,
    /// Notices that do not prevent a start.
    pub warnings: Vec<Fault>,
}

#[cfg(test)]
mod tests;
