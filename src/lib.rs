//! The process around the balancer: it connects the gecholog LLM gateway's bus, HTTP and the relay to [`balancer`], which
//! decides. Nothing here decides, and nothing in [`balancer`] does I/O.
//!
//! ARCHITECTURE.md has the map of the crates and modules, the path of each kind of message, and where a change goes. The crate
//! has no stable interface: it is a library only so that its tests, benches and fuzz targets can reach it.

pub mod admin;
pub mod app;
pub mod calls;
pub mod cli;
pub mod clock;
pub mod config;
pub mod fault;
#[cfg(test)]
mod fixtures;
pub mod http;
pub mod lint;
pub mod nats;
pub mod prices;
pub mod provider_auth;
pub mod recent_decisions;
pub mod relay;
pub mod reload;
pub mod replica_id;
pub mod server;
pub mod shared_broker;
pub mod stamping;
pub mod status;
pub mod system;
pub mod telemetry;
pub mod traces;
pub mod wrong_tokens;
