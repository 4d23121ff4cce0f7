//! What it costs a broker to be watched: five streams of events, a scrape of its metrics every second and `broker watch`,
//! against the same broker without readers, in turns.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use gateway_sim::nats_server::NatsServer;
use tokio::runtime::Builder;

use crate::Effort;
use crate::asker::Asker;
use crate::process::{Process, TOKEN};
use crate::round_trip::{SUBJECT, pair, rows_of};
use crate::table::{Row, Target};

/// Where the other one answers.
const UNWATCHED: &str = "coburn.gl.unwatched";
const IN_FLIGHT: usize = 64;
const STREAMS: usize = 5;
const SCRAPE: Duration = Duration::from_secs(1);

/// The rows.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(effort))
}

async fn run(effort: Effort) -> Result<Vec<Row>> {
    let bus = NatsServer::start(0, TOKEN, "")?;
    let mut asker = Asker::new(&bus).await?;
    let mut watched = Process::broker(&bus, &[])?;
    let mut unwatched = Process::broker(&bus, &[("BROKER_SUBJECT", UNWATCHED)])?;
    asker.until_answered(SUBJECT, &mut watched).await?;
    asker.until_answered(UNWATCHED, &mut unwatched).await?;
    let address = address(&watched)?;
    for _ in 0..STREAMS {
        listen(&address)?;
    }
    scrape(address);
    let _watch = Watch::start(&bus)?;
    let mut pairs = Vec::new();
    for number in 0..effort.rounds {
        let (ours, theirs) = ((SUBJECT, &mut watched), (UNWATCHED, &mut unwatched));
        pairs.push(pair(&mut asker, ours, theirs, number, IN_FLIGHT, effort.round).await?);
    }
    let [rate, p50, p99, cpu] = rows_of("watched", "unwatched", IN_FLIGHT, &pairs);
    Ok(vec![rate.target(Target::RatioAtLeast(0.95)), p50, p99.target(Target::RatioAtMost(1.2)), cpu])
}

/// Where it listens, as it prints itself.
pub(crate) fn address(broker: &Process) -> Result<String> {
    let output = broker.output();
    let (_, behind) =
        output.split_once("HTTP listens address=").context("the broker does not print where it listens")?;
    Ok(behind.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Reads a stream of events until it ends, in a thread of its own.
fn listen(address: &str) -> Result<()> {
    let mut stream = ask(address, "/api/v1/events", "keep-alive")?;
    std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
    });
    Ok(())
}

/// Reads the metrics every second, until the broker is gone.
fn scrape(address: String) {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        while ask(&address, "/metrics", "close").and_then(|mut stream| Ok(stream.read_to_end(&mut text)?)).is_ok() {
            text.clear();
            std::thread::sleep(SCRAPE);
        }
    });
}

pub(crate) fn ask(address: &str, path: &str, connection: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n")?;
    Ok(stream)
}

/// `broker watch`, ended on drop.
struct Watch(Child);

impl Watch {
    fn start(bus: &NatsServer) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        command.arg("watch").env_clear().env("GECHOLOG_HOST", bus.host()).env("NATS_TOKEN", TOKEN);
        Ok(Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It has ended already, or the system ends it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
