//! Settings: from what was written (environment and flags) to what cannot be wrong.
//!
//! Two stages. [`RawSettings`] mirrors what was written and validates nothing; [`resolve`] builds the settings that the other modules own
//! and reports every fault at once, each with its place and what would be right. A secret is never shown, not even a wrong one.
//! The pools may be in a file of their own ([`mod@file`]), which is read again while the broker runs.

mod calls_settings;
mod check;
pub mod file;
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

/// Settings that cannot be wrong.
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
    /// Where the bus is.
    pub nats: nats::Settings,
    pub http: http::Settings,
    /// Where finished calls go.
    pub calls: calls::Settings,
    /// Where they go as traces, if anywhere.
    pub traces: Option<traces::Settings>,
    /// Calls that are tried again elsewhere.
    pub relay: relay::Settings,
    /// Host names and tokens that HTTP accepts.
    pub access: http::Access,
    /// Certificate and key for clients of HTTP and the relay; without them they speak plain HTTP.
    pub tls: Option<ServerTls>,
    /// What is logged.
    pub telemetry: telemetry::Settings,
}

/// What is needed to talk to running brokers over the bus.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Where the bus is.
    pub nats: nats::Settings,
    pub token: Option<Token>,
    /// A header of trace ids besides the well-known ones, in small letters: `BROKER_TRACE_HEADER`.
    pub trace_header: String,
}

/// A config or its faults, and warnings in either case.
#[derive(Debug)]
pub struct Resolved {
    /// The config, or everything that is wrong.
    pub config: Result<Config, Vec<Fault>>,
    /// Things that are odd and do no harm.
    pub warnings: Vec<Fault>,
}

#[cfg(test)]
mod tests;
