//! The relay of this build and that of another one (`--against`), before the same upstream and in turns: what a change costs
//! that no processor's counter shows. Each ratio is the median of many pairs, whose halves ran one after the other.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use gateway_sim::nats_server::NatsServer;
use tokio::runtime::Builder;

use crate::Effort;
use crate::process::{Process, TOKEN};
use crate::relay::{CONNECTIONS, Detour, Hop, RATE, Sample, Streams, peak_of_waiting, pools};
use crate::stats::median;
use crate::table::{Figure, Row, Target};

/// What a change may cost: 5 %.
const AT_MOST: Target = Target::RatioAtMost(1.05);
/// Calls of a pair, where each is timed by itself.
const CALLS: usize = 100;

/// All rows.
pub(crate) fn measure(effort: Effort, other: &Path) -> Result<Vec<Row>> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(effort, other))
}

async fn run(effort: Effort, other: &Path) -> Result<Vec<Row>> {
    let bus = NatsServer::start(0, TOKEN, "")?;
    let upstream = Hop::of(Process::alone("the upstream", &["upstream"])?, "upstream listens", "").await?;
    let file = std::env::temp_dir().join(format!("figures-builds-{}.json", std::process::id()));
    std::fs::write(&file, pools(upstream.addr()))?;
    let settings =
        [("BROKER_CONFIG", file.to_str().context("a path that is no text")?), ("BROKER_RELAY", "127.0.0.1:0")];
    let builds = [Path::new(env!("CARGO_BIN_EXE_broker")), other];
    let start = async |build: &Path| -> Result<Hop> {
        Hop::of(Process::broker_by(Command::new(build), &bus, &settings)?, "relay listens", "/llm").await
    };
    // The calls in flight first: what the loads leave in queues is none of them.
    let memory = [peak_of_waiting(&start(builds[0]).await?).await?, peak_of_waiting(&start(builds[1]).await?).await?];
    let relays = [start(builds[0]).await?, start(builds[1]).await?];
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        rows.extend(at(effort, connections, &relays).await?);
    }
    rows.extend(paced(effort, &upstream, &relays).await?);
    rows.push(streamed(effort, &upstream, &relays).await?);
    rows.push(failed_over(effort, &upstream, &relays).await?);
    let ratio = memory[0].zip(memory[1]).map(|(ours, other)| ours / other);
    let row = Row::new("relay: memory at its peak, with 1000 calls in progress", memory[0].map(Figure::Memory));
    rows.push(row.against("other build", memory[1].map(Figure::Memory), ratio).target(AT_MOST));
    std::fs::remove_file(&file)?;
    Ok(rows)
}

/// As fast as it goes.
async fn at(effort: Effort, connections: usize, relays: &[Hop; 2]) -> Result<Vec<Row>> {
    let mut pairs = Vec::new();
    for number in 0..effort.rounds {
        let mut pair = [Sample::default(); 2];
        for which in turns(number) {
            pair[which] = relays[which].sample(connections, None, effort.round).await?;
        }
        pairs.push(pair);
    }
    let plural = if connections == 1 { "" } else { "s" };
    let row = |what: &str, value: fn(&Sample) -> f64, figure: fn(f64) -> Figure, target| {
        let pairs = pairs.iter().map(|pair| [value(&pair[0]), value(&pair[1])]);
        compared(format!("relay, {connections} connection{plural}: {what}"), pairs.collect(), figure).target(target)
    };
    Ok(vec![
        row("rate", |sample| sample.rate, Figure::Rate, Target::RatioAtLeast(0.95)),
        row("p50", |sample| sample.p50, Figure::Time, AT_MOST),
        row("p99", |sample| sample.p99, Figure::Time, AT_MOST),
        row("processor time per call", |sample| sample.cpu, Figure::Time, AT_MOST),
    ])
}

/// At a fixed rate: what each adds to the upstream, which is asked in turn with them.
async fn paced(effort: Effort, upstream: &Hop, relays: &[Hop; 2]) -> Result<Vec<Row>> {
    let mut pairs = Vec::new();
    for number in 0..effort.rounds {
        let alone = upstream.sample(64, Some(RATE), effort.round).await?;
        let mut pair = [Sample::default(); 2];
        for which in turns(number) {
            pair[which] = relays[which].sample(64, Some(RATE), effort.round).await?;
        }
        pairs.push((alone, pair));
    }
    let row = |what: &str, value: fn(&Sample) -> f64| {
        let pairs = pairs.iter().map(|(alone, pair)| pair.map(|sample| value(&sample) - value(alone)));
        let name = format!("relay, 5000 calls a second: {what} added to the upstream's");
        added(name, pairs.collect()).target(AT_MOST)
    };
    let cpu = pairs.iter().map(|(_, pair)| pair.map(|sample| sample.cpu));
    let cpu = compared("relay, 5000 calls a second: processor time per call".to_owned(), cpu.collect(), Figure::Time);
    Ok(vec![row("p50", |sample| sample.p50), row("p99", |sample| sample.p99), cpu.target(AT_MOST)])
}

async fn streamed(effort: Effort, upstream: &Hop, relays: &[Hop; 2]) -> Result<Row> {
    let mut streams = [Streams::open(upstream, &relays[0]).await?, Streams::open(upstream, &relays[1]).await?];
    let mut pairs = Vec::new();
    for number in 0..effort.rounds * 3 {
        let mut pair = [0.0; 2];
        for which in turns(number) {
            pair[which] = streams[which].added_per_event().await?;
        }
        pairs.push(pair);
    }
    Ok(added("relay, a stream of 2000 events: added per event".to_owned(), pairs).target(AT_MOST))
}

async fn failed_over(effort: Effort, upstream: &Hop, relays: &[Hop; 2]) -> Result<Row> {
    let mut detours = [Detour::open(upstream, &relays[0]).await?, Detour::open(upstream, &relays[1]).await?];
    let mut pairs = Vec::new();
    for number in 0..effort.rounds {
        let mut pair = [0.0; 2];
        for which in turns(number) {
            let mut calls = Vec::new();
            for _ in 0..CALLS {
                calls.push(detours[which].added().await?);
            }
            pair[which] = median(calls);
        }
        pairs.push(pair);
    }
    let name = "relay, going elsewhere: beyond the failing attempt itself".to_owned();
    Ok(added(name, pairs).target(AT_MOST))
}

/// Which of the two begins: each as often as the other.
const fn turns(number: usize) -> [usize; 2] {
    if number.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// This build's figure, the other's, and the median of each pair's ratio.
fn compared(name: String, pairs: Vec<[f64; 2]>, figure: fn(f64) -> Figure) -> Row {
    let of = |which: usize| figure(median(pairs.iter().map(|pair| pair[which])));
    let ratio = median(pairs.iter().map(|[ours, other]| ours / other));
    Row::new(name, of(0)).against("other build", of(1), ratio)
}

/// The same of differences, any of which may be lost in the noise: the ratio is that of the medians, if both are above 0.
fn added(name: String, pairs: Vec<[f64; 2]>) -> Row {
    let of = |which: usize| median(pairs.iter().map(|pair| pair[which]));
    let (ours, other) = (of(0), of(1));
    let ratio = (ours > 0.0 && other > 0.0).then(|| ours / other);
    Row::new(name, Figure::Time(ours)).against("other build", Figure::Time(other), ratio)
}
