//! The gateway's contract, point by point. One module for each part of it.
//!
//! Every test has a nats-server, a gateway and an upstream of its own. Where traffic of the real gateway was captured, the
//! simulated gateway is given the same input and must produce the same messages, answers and upstream requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod support;

mod captured;
mod configuration;
mod failures;
mod framing;
mod health;
mod llm;
mod outbound;
mod processors;
mod program;
mod responses;
mod routing;
