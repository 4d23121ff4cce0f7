//! The program: `standin -o FILE` plays the gateway, `standin llm` plays an LLM.
//!
//! The flags are the gateway's. It ends on SIGINT and SIGTERM, and with a message and a failure on any fault.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use standin::config::{Config, ConfigError};
use standin::gateway::{Gateway, StartError};
use standin::llm::Llm;
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for the gecholog gateway, and fake LLMs.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Command {
    /// The gateway's configuration file.
    #[arg(short = 'o', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Accepted because the gateway has it; names nothing here.
    #[arg(short = 'a', value_name = "ALIAS")]
    alias: Option<String>,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Subcommand)]
enum Other {
    /// Serves a fake LLM.
    Llm {
        /// Where to serve.
        #[arg(long, default_value = "127.0.0.1:9101")]
        addr: SocketAddr,
    },
}

#[derive(Debug, thiserror::Error)]
enum Fault {
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
        Err(fault) => {
            // With standard error gone there is nobody left to tell.
            drop(writeln!(std::io::stderr(), "standin: {fault}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Fault> {
    if let Some(Other::Llm { addr }) = command.other {
        let llm = Llm::start(addr).await.map_err(|source| Fault::Llm { addr, source })?;
        tracing::info!(addr = %llm.addr(), "fake LLM listening");
        return until_told().await;
    }
    let gateway = Gateway::start(read(&command.file.ok_or(Fault::NoFile)?)?).await?;
    tracing::info!(addr = %gateway.addr(), "stand-in listening");
    until_told().await?;
    gateway.stop().await;
    Ok(())
}

fn read(file: &Path) -> Result<Config, Fault> {
    let text = std::fs::read_to_string(file).map_err(|source| Fault::Read { file: file.to_owned(), source })?;
    let config = Config::parse(&text, |name| std::env::var(name).ok());
    config.map_err(|source| Fault::Config { file: file.to_owned(), source })
}

async fn until_told() -> Result<(), Fault> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Fault::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Fault::Signals)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
