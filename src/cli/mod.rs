//! The command line: `broker` or `broker run` runs the broker, `broker health` asks a running one, `broker schema` tells
//! editors what a pools file may say.
//!
//! Every switch is a variable and a flag, except secrets: a flag can be read by anyone who lists the processes.

mod check;
mod explain;
mod health;
mod init;

use clap::{Parser, Subcommand};

use crate::config::Raw;

pub use check::{CheckArgs, check};
pub use explain::{Explain, explain};
pub use health::ask;
pub use init::{InitArgs, init};

/// The routing brain beside the gecholog LLM gateway.
///
/// Answers, over NATS, which router serves each call, and leaves out those that fail. Every flag is also an environment
/// variable: --disabled-time is DISABLED_TIME. Secrets are read from the environment only: NATS_TOKEN, NATS_URL.
#[derive(Debug, Clone, Parser)]
#[command(name = "broker", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do; without a command: run
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The switches.
    #[command(flatten)]
    pub flags: Raw,
}

/// What can be done.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the broker (the default)
    Run,
    /// Ask the broker of this machine whether it is alive; exit code 0 if so
    Health {
        /// Ask whether it is ready (connected and subscribed) and not only alive
        #[arg(long)]
        ready: bool,
    },
    /// Say what would be chosen for a request, and why; offline, with everything serving
    Explain(Explain),
    /// Say what will not work: the pools against the gateway's own configuration; exit code 1 if there are errors
    Check(CheckArgs),
    /// Print a pools file to begin with, from the routers of the gateway's configuration
    Init(InitArgs),
    /// Print the JSON Schema of the pools file (--config), for editors
    Schema,
}
