//! The program: `gateway-sim -o FILE` serves the simulated gateway, `gateway-sim llm` a fake LLM.
//!
//! The flags are the gateway's. It ends on SIGINT and SIGTERM; an error ends it with a message and exit code 1.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gateway_sim::config::{Config, ConfigError};
use gateway_sim::gateway::{Gateway, StartError};
use gateway_sim::llm::Llm;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A simulated gecholog gateway, and fake LLMs.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Command {
    /// The gateway's configuration file.
    #[arg(short = 'o', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Accepted because the gateway has it; has no effect.
    #[arg(short = 'a', value_name = "ALIAS")]
    alias: Option<String>,
    #[command(subcommand)]
    subcommand: Option<Subcommands>,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Serves a fake LLM.
    Llm {
        /// Where to serve.
        #[arg(long, default_value = "127.0.0.1:9101")]
        addr: SocketAddr,
    },
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no configuration: give one with -o FILE")]
    NoFile,
    #[error("cannot read {file}: {source}", file = file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{file} is not valid:\n{source}", file = file.display())]
    Config { file: PathBuf, source: ConfigError },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot serve the fake LLM at {addr}: {source}")]
    Llm { addr: SocketAddr, source: std::io::Error },
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colours).init();
    match run(command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, the exit code has to do.
            drop(writeln!(std::io::stderr(), "gateway-sim: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Error> {
    // Before anybody can see that it listens, and end it.
    let signals = Signals::new().map_err(Error::Signals)?;
    if let Some(Subcommands::Llm { addr }) = command.subcommand {
        let llm = Llm::start(addr).await.map_err(|source| Error::Llm { addr, source })?;
        tracing::info!(addr = %llm.addr(), "fake LLM listening");
        signals.first().await;
        return Ok(());
    }
    let gateway = Gateway::start(read(&command.file.ok_or(Error::NoFile)?)?).await?;
    tracing::info!(addr = %gateway.addr(), "simulated gateway listening");
    signals.first().await;
    gateway.stop().await;
    Ok(())
}

fn read(file: &Path) -> Result<Config, Error> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::Read { file: file.to_owned(), source })?;
    let config = Config::parse(&text, |name| std::env::var(name).ok());
    config.map_err(|source| Error::Config { file: file.to_owned(), source })
}

/// What ends the program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate })
    }

    async fn first(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
