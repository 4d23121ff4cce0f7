//! The command line. `broker` or `broker run` runs the broker; the other commands are listed in [`Command`]: some reach running
//! brokers over the bus ([`bus`]), and others only read files and settings.
//!
//! Every setting is a variable and a flag, except secrets: a flag can be read by anyone who lists the processes. The flags
//! are accepted before and after a command; the help of a command lists only those that affect it.

pub mod bus;
mod check;
mod explain;
mod health;
mod init;
mod settings;

use std::ffi::OsString;

use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::RawSettings;
use types::mode::OperatingMode;

pub use check::{CheckArgs, check};
pub use explain::{Explain, explain};
pub use health::probe;
pub use init::{InitArgs, init};
pub use settings::{SettingsArgs, settings};

/// An argument with an invalid value. The exit code is 2, as for arguments that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadArgument(pub String);

/// The standard output cannot be written. It is not treated as a failure if its reader has closed it.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to the standard output: {0}")]
pub struct OutputError(pub std::io::Error);

/// Load balancer for LLM deployments, behind the gecholog gateway or without it.
///
/// Tells the gateway, over NATS, which router serves each call, and leaves out those that fail. With --broker-relay it carries
/// calls itself and retries them elsewhere; --config names its targets. Every flag is also an environment variable:
/// --disabled-time is DISABLED_TIME, --config is BROKER_CONFIG. Only from the environment come secrets (NATS_TOKEN, NATS_URL,
/// BROKER_ADMIN_TOKEN), the proxy's variables and those of OpenTelemetry (docs/settings.md).
#[derive(Debug, Clone, Parser)]
#[command(name = "broker", version)]
pub struct Cli {
    /// What to do; without a command: run
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub flags: RawSettings,
}

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
    /// Print the settings in force and where each comes from, with secrets masked
    Config(SettingsArgs),
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
    /// Explain one finished call: which targets were tried and why, how it ended, its tokens and its cost
    Why(bus::WhyArgs),
    /// Send no more calls to a router, on all brokers, until it is resumed (or --for some time)
    Drain(bus::TimedArgs),
    /// Send calls to a drained router again
    Resume(bus::TargetArgs),
    /// Disable a router as a failure would, for some time (--for)
    Disable(bus::TimedArgs),
    /// Enable a disabled router at once
    Enable(bus::TargetArgs),
    /// Set another weight than the file's; without a weight, restore the file's
    Weight(bus::WeightArgs),
    /// Switch all brokers to balance, or to observe
    Mode {
        /// balance or observe
        #[arg(value_parser = OperatingMode::ALL.map(OperatingMode::name))]
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

/// The settings that the help of a command lists. `None`: all of them.
fn settings_of(command: &str) -> Option<&'static [&'static str]> {
    match command {
        "run" | "config" => None,
        "health" => Some(&["broker_http", "broker_tls_cert"]),
        "explain" => Some(&["broker_config"]),
        "check" => Some(&["broker_config", "broker_mode"]),
        _ => Some(&[]),
    }
}

/// The note about settings in the help of a command.
fn more_of(command: &str) -> Option<&'static str> {
    match command {
        "status" | "watch" | "why" | "drain" | "resume" | "disable" | "enable" | "weight" | "mode" => Some(
            "Uses the broker's own settings for the bus (NATS_TOKEN, GECHOLOG_HOST or NATS_URL) and, to change something, \
             BROKER_ADMIN_TOKEN. All settings: broker --help",
        ),
        "explain" | "check" => Some("Uses the settings that the broker would start with. All settings: broker --help"),
        _ => None,
    }
}

/// The whole command line. Each command accepts every setting; what its help leaves out is hidden there.
fn command() -> clap::Command {
    let command = <Cli as CommandFactory>::command();
    let settings: Vec<Arg> = command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    command.mut_subcommands(|mut command| {
        let Some(listed) = settings_of(command.get_name()) else { return command };
        let hidden = settings.iter().filter(|arg| !listed.contains(&arg.get_id().as_str()));
        let hidden: Vec<_> = hidden.map(|arg| arg.clone().hide(true)).collect();
        if let Some(more) = more_of(command.get_name()) {
            command = command.after_help(more);
        }
        command.args(hidden)
    })
}

impl Cli {
    /// Reads a command line, the name of the program first.
    ///
    /// # Errors
    /// It is invalid, or requests help or the version; clap's error has the text and the exit code.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&command().try_get_matches_from(arguments)?)
    }
}

/// Completions for a shell.
pub fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "broker", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(command: &str) -> String {
        let arguments = ["broker", command, "--help"].map(OsString::from);
        Cli::read(arguments).unwrap_err().to_string()
    }

    #[test]
    fn the_help_of_a_command_lists_its_own_options_and_every_setting_is_accepted_there() {
        let settings: Vec<_> = command().get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
        assert!(settings.len() > 20);
        for sub in command().get_subcommands() {
            let (name, text) = (sub.get_name(), help(sub.get_name()));
            for setting in &settings {
                let flag = format!("--{} ", setting.get_long().unwrap());
                let listed = settings_of(name).is_none_or(|listed| listed.contains(&setting.get_id().as_str()));
                assert_eq!(text.contains(&flag), listed, "{flag} in the help of {name}:\n{text}");
            }
        }
        for arguments in [&["broker", "--broker-log", "warn", "schema"], &["broker", "schema", "--broker-log", "warn"]]
        {
            let cli = Cli::read(arguments.iter().map(OsString::from)).unwrap();
            assert_eq!(cli.flags.broker_log.as_deref(), Some("warn"));
        }
    }
}
