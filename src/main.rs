//! The process: arguments in, exit code out.
//!
//! 0: ended as asked. 1: could not start, or is not healthy. 2: the settings are wrong; all faults are on the standard error.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use gecholog_broker::cli::bus::Orders;
use gecholog_broker::cli::{self, Cli, Command};
use gecholog_broker::config::{self, Config, Sources};
use gecholog_broker::{app, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// What one thread allocates another one frees here, thousands of times a second: entries of the relay, answers of the bus. The
/// system's allocator has its threads wait for each other then, and the relay carries a third less.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let sources = Sources::new(std::env::vars_os(), cli.flags);
    match cli.command {
        Some(Command::Health { ready }) => {
            return config::http_of(sources).map_or_else(wrong, |(http, tls)| report(http.ask(), tls, ready));
        }
        Some(Command::Schema) => return print(&config::file::schema::schema()),
        Some(Command::Check(args)) => return check(sources, &args),
        Some(Command::Init(args)) => return cli::init(&args).map_or_else(unusable, |text| print(&text)),
        Some(Command::Explain(asked)) => return explain(sources, &asked),
        Some(Command::Completions { shell }) => return print(&cli::completions(shell)),
        Some(Command::Status(args)) => {
            return over_the_bus(sources, |operator| args.run(operator).map(|()| String::new()));
        }
        Some(Command::Watch(args)) => {
            return over_the_bus(sources, |operator| args.run(operator).map(|()| String::new()));
        }
        Some(Command::Drain(timed)) => return order(sources, Orders::Drain(timed)),
        Some(Command::Resume(target)) => return order(sources, Orders::Resume(target)),
        Some(Command::Disable(timed)) => return order(sources, Orders::Disable(timed)),
        Some(Command::Enable(target)) => return order(sources, Orders::Enable(target)),
        Some(Command::Weight(weigh)) => return order(sources, Orders::Weight(weigh)),
        Some(Command::Mode { mode, reason }) => return order(sources, Orders::Mode(mode, reason)),
        Some(Command::Run) | None => {}
    }
    let resolved = config::resolve(sources);
    let config = match resolved.config {
        Ok(config) => config,
        Err(faults) => return wrong(faults),
    };
    telemetry::init(&config.telemetry);
    for warning in resolved.warnings {
        tracing::warn!("{warning}");
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the command line's own output; nothing logs yet")]
fn wrong(faults: Vec<config::Fault>) -> ExitCode {
    eprintln!("broker cannot start, {} to mend:", if faults.len() == 1 { "one thing" } else { "several things" });
    for fault in faults {
        eprintln!("  {fault}");
    }
    ExitCode::from(2)
}

#[expect(clippy::print_stderr, reason = "the command line's own output")]
fn explain(sources: Sources, asked: &cli::Explain) -> ExitCode {
    match config::resolve(sources).config {
        Err(faults) => wrong(faults),
        Ok(config) => match cli::explain(config.broker, asked) {
            Ok(text) => print(&text),
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn order(sources: Sources, order: Orders) -> ExitCode {
    over_the_bus(sources, |operator| order.run(operator))
}

#[expect(clippy::print_stderr, reason = "the command line's own output")]
fn over_the_bus(sources: Sources, ask: impl FnOnce(&config::Operator) -> anyhow::Result<String>) -> ExitCode {
    match config::operator_of(sources) {
        Err(faults) => wrong(faults),
        Ok(operator) => match ask(&operator) {
            Ok(text) => print(&text),
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn check(sources: Sources, args: &cli::CheckArgs) -> ExitCode {
    let config = match config::resolve(sources).config {
        Ok(config) => config,
        Err(faults) => return wrong(faults),
    };
    match cli::check(args, &config) {
        Ok((report, true)) => print(&report),
        Ok((report, false)) => {
            print(&report);
            ExitCode::FAILURE
        }
        Err(error) => unusable(error),
    }
}

#[expect(clippy::print_stderr, reason = "the command line's own output")]
fn unusable(error: anyhow::Error) -> ExitCode {
    eprintln!("{error:#}");
    ExitCode::from(2)
}

fn print(text: &str) -> ExitCode {
    // Whoever reads may have read enough and gone away.
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line's own output")]
fn report(address: Option<SocketAddr>, tls: bool, ready: bool) -> ExitCode {
    let asked = match address {
        Some(address) => cli::ask(address, tls, ready),
        None => Err(anyhow::anyhow!("BROKER_HTTP is off: there is nobody to ask")),
    };
    match asked {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    app::run(config, async {
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
            tracing::error!("cannot listen for signals: only SIGKILL will end this process");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            tracing::warn!("asked twice: stopping at once");
            std::process::exit(1);
        });
    })
}
