//! The routing brain beside the gecholog LLM gateway: for each call it names the router that serves it, and from the
//! gateway's log it learns which routers fail.
//!
//! The core decides and never touches the world; adapters touch the world and never decide. In the order that data walks:
//!
//! | room | what it is for |
//! |---|---|
//! | [`time`], [`router`], [`request`], [`outcome`], [`event`] | vocabulary: plain values that every room shares |
//! | [`health`] | whether a router may serve, and until when not |
//! | [`load`] | what a router is busy with, and how fast it is |
//! | [`strategy`] | in which order those that may serve are tried |
//! | [`broker`] | owns the truth: choose a router, learn from what became of it |
//! | [`attempt`] | one request that may be sent more than once: what to do next |
//! | [`wire`] | the gateway's messages, bytes to typed values and back |
//! | [`check`] | whether the pools and the gateway's configuration fit together |
//! | [`journal`] | what happened last, for those who look
//! | [`control`] | what operators ask for, checked and signed
//! | [`clock`], [`handle`] | the one clock; the lock, clock and dice around the broker |
//! | [`guesses`] | wrong operators' tokens, answered late
//! | [`system`], [`server`] | descriptors, files; places for connections |
//! | [`relay`] | calls that are tried again elsewhere inside the same request |
//! | [`stats`] | documents and metrics for people and their tools
//! | [`nats`] | the bus: requests answered, logs learnt from |
//! | [`http`] | probes |
//! | [`telemetry`] | log lines and counts |
//! | [`config`] | from what was written to what cannot be wrong |
//! | [`reload`] | follows the pools file while we run |
//! | [`cli`], [`app`] | the command line; everything put together |

pub mod app;
pub mod attempt;
pub mod broker;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod event;
pub mod guesses;
pub mod handle;
pub mod health;
pub mod http;
pub mod journal;
pub mod load;
pub mod nats;
pub mod outcome;
pub mod relay;
pub mod reload;
pub mod request;
pub mod router;
pub mod server;
pub mod stats;
pub mod strategy;
pub mod system;
pub mod telemetry;
pub mod time;
pub mod wire;
