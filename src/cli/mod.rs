//! The command line: `broker` or `broker run` runs the broker, `broker health` probes a running one, `broker schema` tells
//! editors what a pools file may say.
//!
//! Every switch is a variable and a flag, except secrets: a flag can be read by anyone who lists the processes.

pub mod bus;
mod check;
mod explain;
mod health;
mod init;

use clap::{Parser, Subcommand};

use crate::config::RawSettings;

pub use check::{CheckArgs, check};
pub use explain::{Explain, explain};
pub use health::ask;
pub use init::{InitArgs, init};

/// Load balancer for LLM deployments behind the gecholog gateway.
///
/// Chooses, over NATS, the router that serves each call, and leaves out those that fail. Every flag is also an environment
/// variable: --disabled-time is DISABLED_TIME. Secrets are read from the environment only: NATS_TOKEN, NATS_URL.
#[derive(Debug, Clone, Parser)]
#[command(name = "broker", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do; without a command: run
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings.
    #[command(flatten)]
    pub flags: RawSettings,
}

/// The commands.
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
    /// Explain what would be chosen for a request, and why; offline, with all routers enabled
    Explain(Explain),
    /// Check the pools against the gateway's configuration; exit code 1 if there are errors
    Check(CheckArgs),
    /// Print a pools file to start from, made from the routers of the gateway's configuration
    Init(InitArgs),
    /// Show the state of the running brokers: pools with shares of new calls, routers with their health; over the bus
    Status(bus::StatusArgs),
    /// Show each call as it finishes, from the gateway's log: the router that served it, and why
    Watch(bus::WatchArgs),
    /// Send no more calls to a router, on all brokers, until it is resumed (or --for some time)
    Drain(bus::Timed),
    /// Send calls to a drained router again
    Resume(bus::Target),
    /// Disable a router as a failure would, for some time (--for)
    Disable(bus::Timed),
    /// Enable a disabled router at once
    Enable(bus::Target),
    /// Set another weight than the file's; without a weight, restore the file's
    Weight(bus::Weigh),
    /// Switch all brokers to balance, or to observe
    Mode {
        /// balance or observe
        #[arg(value_parser = ["balance", "observe"])]
        mode: String,
        /// Reason, for the brokers' logs
        #[arg(long)]
        reason: Option<String>,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the JSON Schema of the pools file (--config), for editors
    Schema,
}

/// Completions for a shell.
pub fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut <Cli as clap::CommandFactory>::command(), "broker", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
