//! `make bench`: what a decision, a log entry, a round trip and a whole call cost, in one table.
//!
//! Whatever crosses the bus is measured against a bare program that does the same without thinking, in the same run and
//! in turns, because the machine's own noise is larger than what is to be seen; so the ratios are what to look at. A missed
//! target is said and is not a failure. A process that ends or an answer that does not come is one, and ends the run.

mod asker;
mod bare;
mod builds;
mod caller;
mod core;
mod entries;
mod flood;
mod flooder;
mod lock;
mod log;
mod machine;
mod nginx;
mod process;
mod relay;
mod relay_instructions;
mod repeat;
mod round_trip;
mod start;
mod stats;
mod table;
mod traced;
mod translate;
mod upstream;
mod usage;
mod watched;
mod whole_call;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::table::Row;

/// The broker's own allocator: figures of parts that run in this process are those of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures; without arguments everything.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this part; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// A broker of another build: its relay and this build's are measured in turns, and nothing else is
    #[arg(long, value_name = "BROKER", conflicts_with = "only")]
    against: Option<PathBuf>,
    /// Short rounds: shows that everything runs, and no more
    #[arg(long)]
    quick: bool,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
    /// What this program runs of itself beside itself
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Answers without thinking
    #[command(hide = true)]
    Bare(bare::Arguments),
    /// Publishes log entries at a fixed rate
    #[command(hide = true)]
    Flood(flooder::Arguments),
    /// Answers HTTP at once
    #[command(hide = true)]
    Upstream,
    /// Does one operation of the core a given number of times (script/instructions)
    #[command(hide = true)]
    Repeat(repeat::Arguments),
    /// Counts the instructions of one call of the relay (script/instructions)
    #[command(hide = true)]
    RelayInstructions(relay_instructions::Arguments),
}

/// A part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    RoundTrip,
    Start,
    WholeCall,
    Core,
    Lock,
    Usage,
    Translate,
    Log,
    Flood,
    Relay,
    Traced,
    Watched,
}

/// How much is done for a figure.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// How often a figure is taken on the bus.
    rounds: usize,
    /// How long one round takes there.
    round: Duration,
    /// How long one round takes inside this process.
    batch: Duration,
    /// How often those are taken.
    batches: usize,
    /// Calls through the gateway, per configuration.
    calls: usize,
    /// How long one flood lasts.
    flood: Duration,
}

const FULL: Effort = Effort {
    rounds: 15,
    round: Duration::from_millis(600),
    batch: Duration::from_millis(1),
    batches: 501,
    calls: 3_000,
    flood: Duration::from_secs(3),
};

const QUICK: Effort = Effort {
    rounds: 3,
    round: Duration::from_millis(100),
    batch: Duration::from_millis(1),
    batches: 21,
    calls: 100,
    flood: Duration::from_millis(500),
};

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Bare(role)) => return bare::run(role),
        Some(Role::Flood(role)) => return flooder::run(role),
        Some(Role::Upstream) => return upstream::run(),
        Some(Role::Repeat(role)) => return repeat::run(&role),
        Some(Role::RelayInstructions(role)) => return relay_instructions::run(&role),
        None => {}
    }
    let effort = if arguments.quick { QUICK } else { FULL };
    let began = stats::now();
    let before = machine::describe();
    let mut rows = Vec::new();
    if let Some(other) = &arguments.against {
        say(&format!("measuring this build and {} ...", other.display()));
        rows.extend(builds::measure(effort, other)?);
    } else {
        for part in Part::value_variants() {
            if arguments.only.is_empty() || arguments.only.contains(part) {
                say(&format!("measuring {part:?} ..."));
                rows.extend(measure(*part, effort)?);
            }
        }
    }
    say(&format!("done in {:.0} s\n", began.elapsed().as_secs_f64()));
    show(&before, arguments.quick, &rows);
    Ok(())
}

fn measure(part: Part, effort: Effort) -> Result<Vec<Row>> {
    match part {
        Part::RoundTrip => round_trip::measure(effort),
        Part::Start => start::measure(effort),
        Part::WholeCall => whole_call::measure(effort),
        Part::Core => core::measure(effort),
        Part::Lock => lock::measure(effort),
        Part::Usage => usage::measure(effort),
        Part::Translate => translate::measure(effort),
        Part::Log => log::measure(effort),
        Part::Flood => flood::measure(effort),
        Part::Relay => relay::measure(effort),
        Part::Traced => traced::measure(effort),
        Part::Watched => watched::measure(effort),
    }
}

#[expect(clippy::print_stderr, reason = "progress")]
fn say(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn show(before: &str, quick: bool, rows: &[Row]) {
    println!("{before}");
    println!("Command: `make bench`{}\n", if quick { " (quick: not figures to quote)" } else { "" });
    println!("{}", table::render(rows));
    println!("Medians of several rounds, ours and the comparison in turns; a ratio is the median of each round's own.");
}
