//! The decision core: which router serves a request, and what finished calls teach about routers.
//!
//! No I/O, no clock, no tokio, no global randomness: time and the random generator are arguments, plain values come out, and
//! nothing fails at run time. The state is a fold over events, so it is tested with a stopped clock, simulated with thousands
//! of seeds (`tests/simulation`), and kept alike in many replicas.
//!
//! | module | what it is for |
//! |---|---|
//! | [`health`] | whether a router may serve, and until when it may not |
//! | `in_flight` | the calls in progress, and what each holds of its router |
//! | [`load`] | latency and rate limits of each router |
//! | [`strategy`] | in which order the routers of a pool are tried |
//! | [`broker`] | the state of all pools: choose a router, learn from the call's outcome |
//! | [`retry`] | retries of one request: what to do next |

pub mod broker;
#[cfg(test)]
mod fixtures;
pub mod health;
mod in_flight;
pub mod load;
pub mod retry;
pub mod strategy;
mod table;
