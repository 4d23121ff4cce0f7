//! What the whole broker does, with real processes: a `nats-server`, the `broker` binary, a gateway, fake LLMs.
//!
//! This list is the table of contents. The pure core is tested beside its code; what needs no process is not here, except
//! [`tidy`], which reads the sources and keeps the rooms apart.

#![allow(clippy::disallowed_methods, reason = "a test looks at the clock to see how long something took")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a skipped test says why; a failed one shows its broker")]

mod support;

mod applying;
mod budgets;
mod checking;
mod commanding;
mod corpus;
mod deciding;
mod demo;
mod documented;
mod flood;
mod large;
mod learning;
mod life;
mod openai_sdk;
mod own_limits;
mod page;
mod pools;
mod relay;
mod reload;
mod replicas;
mod returning;
mod rolling;
mod seeing;
mod settings;
mod shipped;
mod steering;
mod stuck;
mod takeover;
mod through_the_gateway;
mod tidy;
