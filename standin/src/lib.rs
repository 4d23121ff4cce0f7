//! A stand-in for the gecholog gateway, and fake LLMs, so that a processor can be shown and tested on one machine.
//!
//! It plays the gateway's contract toward processors, log listeners and clients. It refuses to be a gateway: no TLS on
//! either side, no persistence, no checksum files, no tuning. Nothing here knows any particular processor.
//!
//! The rooms, in the order in which a request walks through them:
//!
//! - [`config`]: the gateway's own configuration file, read as the gateway reads it.
//! - [`gateway`]: start and stop; `serve` accepts connections, `ingress` turns HTTP into transactions.
//! - `route`, `path`: which router serves a path, and how paths are cleaned and joined.
//! - `transaction`: one request from ingress to egress, in the documented order; `outbound` and `egress` are its two
//!   merges, `log` its last word.
//! - `processors`, `bus`: rows of processors, asked over NATS.
//! - `upstream`: the call to the LLM and what each failure looks like.
//! - `object`, `side`, `payload`, `headers`, `query`, `session`, `clock`: the vocabulary.
//! - [`nats_server`]: a real bus, as a child process.
//! - [`llm`]: a fake LLM whose behaviour can be changed while it runs; [`script`]: what it suffers at which time.
//!
//! # Known differences from the real gateway
//!
//! - When the bus is lost the real process ends after about nine seconds; this one goes on until the bus returns.
//! - An https upstream is answered as the real one does when it trusts no certificate: 502 (503 if the name is unknown).
//! - Status 1xx set by a processor is not sent as an informational answer first; the client just gets 200.
//! - Idle upstream connections are not limited to two per host.
//! - Texts of JSON errors are our own.

mod bus;
mod clock;
pub mod config;
mod egress;
pub mod gateway;
mod headers;
mod ingress;
pub mod llm;
mod log;
pub mod nats_server;
mod object;
mod outbound;
mod path;
mod payload;
mod processors;
mod query;
mod route;
pub mod script;
mod serve;
mod session;
mod side;
mod target;
mod transaction;
mod upstream;
