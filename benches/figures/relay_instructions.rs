//! The instructions that the relay executes for one call, by valgrind's callgrind: the broker as it ships, in a process of its own.
//!
//! They show what processor time does not: that varies by a fifth on a machine that others use, and by half between two machines.
//! A second build can be counted with `--broker`, as long as it takes the same settings.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use gateway_sim::nats_server::NatsServer;
use tokio::runtime::Builder;

use crate::caller::Open;
use crate::process::Process;
use crate::relay::{self, Hop};

/// The broker is run with each of these numbers of calls; the difference leaves its start and its end out.
const CALLS: [u64; 2] = [500, 2_500];

/// Which broker to count.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A broker of another build
    #[arg(long, default_value = env!("CARGO_BIN_EXE_broker"))]
    broker: PathBuf,
}

/// Prints the instructions of a call.
#[expect(clippy::print_stdout, reason = "what the script reads")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let [few, many] = CALLS;
    let least = runtime.block_on(count(&arguments.broker, few))?;
    let most = runtime.block_on(count(&arguments.broker, many))?;
    println!("{}", most.saturating_sub(least) / (many - few));
    Ok(())
}

/// The instructions of a whole run with so many calls over one connection.
async fn count(broker: &Path, calls: u64) -> Result<u64> {
    let bus = NatsServer::start(0, crate::process::TOKEN, "")?;
    let upstream = Hop::of(Process::alone("the upstream", &["upstream"])?, "upstream listens", "").await?;
    let folder = std::env::temp_dir().join(format!("figures-instructions-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (file, counts) = (folder.join("broker.json"), folder.join("counts"));
    std::fs::write(&file, relay::pools(upstream.addr()))?;
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", counts.display())).arg(broker);
    let settings = [
        ("BROKER_CONFIG", file.to_str().context("a path that is no text")?),
        ("BROKER_RELAY", "127.0.0.1:0"),
        ("PATH", &std::env::var("PATH").context("there is no PATH")?),
    ];
    let mut relay = Hop::of(Process::broker_by(command, &bus, &settings)?, "relay listens", "/llm").await?;
    let mut connection = Open::to(relay.addr(), "/llm/").await?;
    for _ in 0..calls {
        connection.call().await?;
    }
    drop(connection);
    relay.process_mut().terminate()?;
    let written = std::fs::read_to_string(&counts).context("valgrind wrote no counts")?;
    std::fs::remove_dir_all(&folder)?;
    let total = written.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    let total = total.context("valgrind's file has no totals")?;
    ensure!(total > calls, "{total} instructions for {calls} calls");
    Ok(total)
}
