//! What the whole broker does, with real processes: a `nats-server`, the `broker` binary, a gateway, fake LLMs.
//!
//! This list is the table of contents. The pure core is tested beside its code; what needs no process is not here, except
//! [`repository_rules`], which reads the sources and checks what imports what.

#![allow(clippy::disallowed_methods, reason = "a test looks at the clock to see how long something took")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a skipped test says why; a failed one shows its broker")]

mod support;

mod admin_api;
mod artifacts;
mod budgets;
mod bus_credentials;
mod bus_errors;
mod bus_permissions;
mod calls;
mod cli;
mod cluster;
mod corpus;
mod demo;
mod documented;
mod documented_defaults;
mod flood;
mod http_api;
mod large_status;
mod learning;
mod lifecycle;
mod lint;
mod openai_sdk;
mod own_limits;
mod page;
mod pools;
mod prices;
mod recovery;
mod relay;
mod reload;
mod replicas;
mod repository_rules;
mod rolling_restart;
mod row1;
mod row2;
mod settings;
mod slow_clients;
mod takeover;
mod through_the_gateway;
mod tls_clients;
mod traces;
