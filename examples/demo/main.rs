//! The demo: everything on one machine, and a line for each thing that happens (`make demo`).
//!
//! A real `nats-server`, fake LLMs, the simulated gateway with the repository's `gl_config.json`, and the broker as the very
//! binary that is shipped. Without `--requests`, `--faults` or `--relay` it waits for calls and ends on Ctrl-C; with one, it makes the calls itself and
//! judges what happened. It does not look inside the broker: it uses only what is public, the gateway's log and
//! the broker's log lines.
//!
//! - `harness`: starts everything, in order, and takes it down again; `broker` is the child process.
//! - `pools`: what the broker's settings say about the pools, and what the gateway needs for them.
//! - `watch`: log entries and broker lines as events, put in the order in which they happened.
//! - `screen`: events as lines to read.
//! - `calls`: makes the calls; `summary`: what they show, and whether it is right.
//! - `relay`: the show of `--relay`.
//! - `faults`: what the fake LLMs suffer with `--faults`; `document`: a JSON file and its faults, by line and column.

mod broker;
mod calls;
mod document;
mod faults;
mod harness;
mod pools;
mod relay;
mod screen;
mod summary;
mod watch;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Parser};
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use calls::Amount;
use faults::Faults;
use harness::RunningDemo;
use screen::Screen;
use summary::Run;
use watch::{Event, Queue};

/// How long the gateway's last log entries may be on their way.
const LOGS: Duration = Duration::from_secs(5);
/// So long at one call per second is the least that proves anything.
const FEWEST: Duration = Duration::from_secs(30);
/// How long a log line of the broker may be on its way.
const LINES: Duration = Duration::from_millis(500);

/// Shows the broker at work on this machine: bus, fake LLMs, simulated gateway and broker, with no account.
///
/// Every call that passes is printed, and every moment when a router is disabled or enabled. BROKER_* variables of the
/// environment go to the broker, except BROKER_LOG and BROKER_LOG_FORMAT: the demo reads its log. NATS_TOKEN is the token of
/// the bus [default: demo].
#[derive(Debug, Parser)]
#[command(name = "demo", group = ArgGroup::new("traffic").args(["requests", "faults", "relay"]).multiple(true))]
struct Args {
    /// Makes this many calls, one after the other, and ends: 0 if everything was right. Fewer than 30 prove nothing
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(30..=1_000_000))]
    requests: Option<u32>,
    /// Calls per second, with --requests, --faults or --relay [default: 20, with --relay 5]
    #[arg(long, value_name = "N", requires = "traffic",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: Option<u32>,
    /// The router that is expected to fail, with --requests or --faults [default: /azure/dud/, where a pool has it]
    #[arg(long, value_name = "PATH", requires = "traffic")]
    failing: Option<String>,
    /// What the fake LLMs suffer, such as examples/faults/01-outage.json: makes calls for as long as that takes, or as many
    /// as --requests says, and judges what the broker makes of it
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Shows the relay: a target that always fails and one that dies and comes back, and clients who notice nothing. Takes
    /// about 35 s, or as many calls as --requests says. With --config, the providers of that file, played by fake vendors
    #[arg(long, conflicts_with_all = ["faults", "failing", "gl_config"])]
    relay: bool,
    /// With --relay: waits for calls afterwards, until Ctrl-C
    #[arg(long, requires = "relay")]
    stay: bool,
    /// Port of the relay on 127.0.0.1, with --relay; 0 is any free one
    #[arg(long, value_name = "PORT", default_value_t = 5390)]
    relay_port: u16,
    /// Minutes that a failing router is left out [default: DISABLED_TIME, else 0.25, or 0.05 where the demo makes the calls]
    #[arg(long, value_name = "MINUTES", allow_hyphen_values = true)]
    disabled_time: Option<String>,
    /// Port of the gateway on 127.0.0.1; 0 is any free one
    #[arg(long, value_name = "PORT", default_value_t = 5380)]
    port: u16,
    /// Port of the bus on 127.0.0.1; 0 is any free one
    #[arg(long, value_name = "PORT", default_value_t = 4222)]
    nats_port: u16,
    /// Pools file for the broker, such as examples/pools/01-even.json; the gateway gets what it names and does not have
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Configuration of the gateway [default: the repository's gl_config.json, or docs/gl_config.overrides.json]
    #[arg(long, value_name = "FILE")]
    gl_config: Option<PathBuf>,
}

impl Args {
    /// Whether the demo is its own client.
    const fn makes_calls(&self) -> bool {
        self.requests.is_some() || self.faults.is_some() || self.relay
    }

    fn rate(&self) -> u32 {
        self.rate.unwrap_or(if self.relay { 5 } else { 20 })
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error.into()),
    };
    let ended = runtime.block_on(show(&args));
    // A call that hangs must not hold the end up.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| complain(&error))
}

fn complain(error: &anyhow::Error) -> ExitCode {
    screen::complain(&format!("{error:#}"));
    ExitCode::FAILURE
}

/// From the first start to the last word; whatever was started is taken down on every way out.
async fn show(args: &Args) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let mut screen = Screen::new();
    if let (true, Some(file)) = (args.relay, &args.config) {
        let right = tokio::select! {
            biased;
            () = stop.asked() => false,
            right = relay::providers::show(&screen, file, args.requests, args.rate.unwrap_or(20), args.relay_port) => right?,
        };
        return Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut harness = tokio::select! {
        biased;
        () = stop.asked() => return Ok(ExitCode::FAILURE),
        harness = RunningDemo::start(args) => harness?,
    };
    if args.relay {
        let ended = show_the_relay(args, &mut harness, &mut screen, &mut stop).await;
        harness.stop().await;
        return ended;
    }
    let amount = amount(args, &harness);
    screen.welcome(&harness, amount)?;
    let ended = match amount {
        None => attend(&mut harness, &mut screen, &mut stop).await,
        Some(amount) => check(amount, args.rate(), &mut harness, &mut screen, &mut stop).await,
    };
    harness.stop().await;
    ended
}

async fn show_the_relay(
    args: &Args,
    harness: &mut RunningDemo,
    screen: &mut Screen,
    stop: &mut Stop,
) -> anyhow::Result<ExitCode> {
    let calls = args.requests.unwrap_or(relay::CALLS);
    screen.welcome_to_the_relay(harness, calls)?;
    let right = tokio::select! {
        biased;
        () = stop.asked() => {
            screen.say("\nStopped before all calls were made; nothing is judged. Everything is down.")?;
            return Ok(ExitCode::FAILURE);
        }
        right = relay::show(harness, screen, calls, args.rate()) => right?,
    };
    let curl = screen::call_the_relay(harness);
    if !args.stay {
        screen.say(&format!(
            "\nTo call it yourself, make demo ARGS=\"--relay --stay\", and in another shell:\n\n{curl}"
        ))?;
        return Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    screen.say(&format!("\nNow it is yours: /llm/east/ still fails. Type in another shell, and every attempt is a line here:\n\n{curl}\n\nCtrl-C ends everything.\n"))?;
    let ended = attend(harness, screen, stop).await?;
    Ok(if right { ended } else { ExitCode::FAILURE })
}

/// The calls that the demo makes itself, if any: what was asked for, else as long as the script needs to be seen.
fn amount(args: &Args, harness: &RunningDemo) -> Option<Amount> {
    let needed = harness.faults.as_ref().map(|faults| faults.length(harness.disabled_time()).max(FEWEST / args.rate()));
    args.requests.map(Amount::Number).or(needed.map(Amount::Time))
}

/// Prints what happens until it is stopped.
async fn attend(harness: &mut RunningDemo, screen: &mut Screen, stop: &mut Stop) -> anyhow::Result<ExitCode> {
    let mut queue = Queue::default();
    loop {
        tokio::select! {
            biased;
            () = stop.asked() => break,
            event = harness.next() => queue.push(event?),
            () = sleep_until(queue.due()) => if let Some(event) = queue.pop() { screen.show(&event)? },
        }
    }
    screen.say("\nStopped: broker, gateway, fake LLMs and bus are down.")?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the calls, prints what happens, and judges it.
async fn check(
    amount: Amount,
    rate: u32,
    harness: &mut RunningDemo,
    screen: &mut Screen,
    stop: &mut Stop,
) -> anyhow::Result<ExitCode> {
    let mut run = Run::new(harness.pools.clone(), harness.failing.as_deref(), amount);
    let urls = harness.pools.iter().map(|pool| harness.url("127.0.0.1", pool)).collect();
    let mut caller = pin!(calls::make(urls, amount, rate));
    let mut queue = Queue::default();
    let mut end = None;
    harness.begin_faults();
    let (zero, began) = (Instant::now(), Timestamp::now());
    let mut moments: VecDeque<_> = harness.faults.iter().flat_map(Faults::moments).collect();
    if let Some(faults) = harness.faults.clone() {
        run.follow(faults, harness.settings.clone(), began);
    }
    while end.is_none_or(|end| Instant::now() < end) {
        tokio::select! {
            biased;
            () = stop.asked() => {
                screen.say("\nStopped before all calls were made; nothing is judged. Everything is down.")?;
                return Ok(ExitCode::FAILURE);
            }
            event = harness.next() => queue.push(event?),
            () = sleep_until(moments.front().map_or_else(watch::far, |(at, _)| zero + *at)) => {
                if let Some((at, text)) = moments.pop_front() {
                    queue.push(Event::Scripted(began + at, text));
                }
            }
            () = sleep_until(queue.due()) => if let Some(event) = queue.pop() {
                screen.show(&event)?;
                run.take(event);
            },
            answers = &mut caller, if end.is_none() => {
                run.called(answers, Timestamp::now());
                end = Some(Instant::now() + LOGS);
            }
            () = sleep_until(end.unwrap_or_else(watch::far)) => {}
        }
        if run.is_logged() {
            end = end.min(Some(Instant::now() + LINES));
        }
    }
    while let Some(event) = queue.pop() {
        screen.show(&event)?;
        run.take(event);
    }
    let faults = run.faults();
    screen.verdict(&run, &faults)?;
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The signals that end the demo: Ctrl-C, `kill`, and a terminal that is closed.
struct Stop([Signal; 3]);

impl Stop {
    fn listen() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [int, term, hup] = kinds.map(signal);
        Ok(Self([int?, term?, hup?]))
    }

    async fn asked(&mut self) {
        let [int, term, hup] = &mut self.0;
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
    }
}
