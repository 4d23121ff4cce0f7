//! The process: arguments in, exit code out.
//!
//! 0: success, or the reader of the output has closed it. 1: the broker could not start or is not healthy, or the command
//! failed. 2: an argument or a setting is invalid; all faults are on the standard error.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use gecholog_broker::admin::{AdminAction, AdminRequest};
use gecholog_broker::cli::bus::{Source, WhyArgs};
use gecholog_broker::cli::{self, BadArgument, Cli, Command, OutputError};
use gecholog_broker::config::{self, Config, Sources};
use gecholog_broker::{app, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// Memory is allocated on one thread and freed on another thousands of times a second (log entries, answers of the bus). With the
/// system's allocator threads wait for each other then, and the relay carries a third less.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code for invalid arguments and settings; clap has the same one.
const BAD_ARGUMENTS: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print().and_then(|()| std::io::stdout().flush());
            // Help and version go to the standard output, faults to the standard error, which has no other to report to.
            return match printed {
                _ if error.use_stderr() => ExitCode::from(BAD_ARGUMENTS),
                Ok(()) => ExitCode::SUCCESS,
                Err(fault) => failed(&OutputError(fault).into()),
            };
        }
    };
    let sources = Sources::new(std::env::vars_os(), cli.flags);
    match cli.command {
        Some(Command::Run) | None => start(sources),
        Some(command) => match answer(command, sources) {
            Ok(code) => code,
            Err(error) => failed(&error),
        },
    }
}

/// Runs the broker.
fn start(sources: Sources) -> ExitCode {
    let resolved = config::resolve(sources);
    let config = match resolved.config {
        Ok(config) => config,
        Err(faults) => {
            return complain(&faults_text(&format!("broker cannot start, {}", count(&faults)), &faults), BAD_ARGUMENTS);
        }
    };
    telemetry::init(&config.telemetry);
    for warning in resolved.warnings {
        tracing::warn!("{warning}");
    }
    let code = match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    };
    telemetry::end_log();
    code
}

/// Carries out a command that starts no broker.
fn answer(command: Command, sources: Sources) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run => Ok(start(sources)),
        Command::Health { ready } => {
            let (http, tls) = config::http_of(sources).map_err(Faults)?;
            health(http.probe_address(), tls, ready)
        }
        Command::Schema => print(&config::file::schema::schema()),
        Command::Completions { shell } => print(&cli::completions(shell)),
        Command::Init(args) => {
            // The file that was named cannot be used.
            print(&cli::init(&args).map_err(|error| BadArgument(format!("{error:#}")))?)
        }
        Command::Config(args) => {
            let config = config::resolve(sources.clone()).config.map_err(Faults)?;
            print(&cli::settings(&args, &sources, &config))
        }
        Command::Explain(asked) => {
            let config = config::resolve(sources).config.map_err(Faults)?;
            print(&cli::explain(config.broker, config.bus, &asked)?)
        }
        Command::Check(args) => {
            let config = config::resolve(sources).config.map_err(Faults)?;
            let (report, is_ok) = cli::check(&args, &config)?;
            let printed = print(&report);
            // The exit code is the verdict, also where the report cannot be written.
            if is_ok { printed } else { Ok(ExitCode::FAILURE) }
        }
        Command::Status(args) => args.run(&operator(sources)?).map(|()| ExitCode::SUCCESS),
        Command::Watch(args) => args.run(&operator(sources)?).map(|()| ExitCode::SUCCESS),
        Command::Why(args) => why(&args, sources),
        Command::Drain(timed) => administer(sources, AdminAction::Drain, timed.wait, timed.into()),
        Command::Resume(target) => administer(sources, AdminAction::Resume, false, target.into()),
        Command::Disable(timed) => administer(sources, AdminAction::Disable, timed.wait, timed.into()),
        Command::Enable(target) => administer(sources, AdminAction::Enable, false, target.into()),
        Command::Weight(weigh) => administer(sources, AdminAction::Weight, false, weigh.into()),
        Command::Mode { mode, reason } => {
            let asked = AdminRequest { mode: Some(mode), reason, ..AdminRequest::default() };
            administer(sources, AdminAction::Mode, false, asked)
        }
    }
}

/// Without a bus the broker of this machine is asked over HTTP.
fn why(args: &WhyArgs, sources: Sources) -> anyhow::Result<ExitCode> {
    let report = match &args.calls {
        Some(path) => args.of_file(path)?,
        None => match config::http_without_bus(sources.clone()).map_err(Faults)? {
            Some((address, tls)) => args.of_brokers(&Source::Http(address, tls))?,
            None => args.of_brokers(&Source::Bus(&operator(sources)?))?,
        },
    };
    print(&report)
}

fn administer(sources: Sources, action: AdminAction, wait: bool, asked: AdminRequest) -> anyhow::Result<ExitCode> {
    cli::bus::administer(&operator(sources)?, action, &asked, wait, &mut std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

fn operator(sources: Sources) -> anyhow::Result<config::OperatorAccess> {
    Ok(config::operator_of(sources).map_err(Faults)?)
}

/// The invalid settings, all of them.
#[derive(Debug)]
struct Faults(Vec<config::Fault>);

impl std::error::Error for Faults {}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(faults_text(&count(&self.0), &self.0).trim_end())
    }
}

fn count(faults: &[config::Fault]) -> String {
    match faults.len() {
        1 => "one setting is wrong".to_owned(),
        several => format!("{several} settings are wrong"),
    }
}

fn faults_text(title: &str, faults: &[config::Fault]) -> String {
    let lines: String = faults.iter().map(|fault| format!("  {fault}\n")).collect();
    format!("{title}:\n{lines}")
}

/// Prints why a command failed. An output that its reader has closed is not a failure.
fn failed(error: &anyhow::Error) -> ExitCode {
    let output = error.downcast_ref::<OutputError>();
    if output.is_some_and(|OutputError(error)| error.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    let is_bad_argument = error.chain().any(|cause| cause.is::<BadArgument>() || cause.is::<Faults>());
    complain(&format!("{error:#}\n"), if is_bad_argument { BAD_ARGUMENTS } else { 1 })
}

/// Writes to the standard error; with that gone there is nothing left to write to.
fn complain(text: &str, code: u8) -> ExitCode {
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(OutputError)?;
    Ok(ExitCode::SUCCESS)
}

fn health(address: Option<SocketAddr>, tls: bool, ready: bool) -> anyhow::Result<ExitCode> {
    let address = address.context("BROKER_HTTP is off: set it to an address, at which the health can be checked")?;
    print(&(cli::probe(address, tls, ready)? + "\n"))
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
            tracing::warn!("second signal: stopping at once");
            telemetry::end_log();
            std::process::exit(1);
        });
    })
}
