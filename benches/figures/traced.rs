//! What traces cost the relay: off, to a collector that takes them, to one that refuses connections, and to one that never answers.
//! The same upstream is behind all of them, and they are asked in turns.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Result, ensure};
use gateway_sim::nats_server::NatsServer;
use tokio::runtime::Builder;

use crate::Effort;
use crate::process::{Process, TOKEN};
use crate::relay::{Hop, Sample};
use crate::stats::median;
use crate::table::{Figure, Row, Target};
use crate::watched::{address, ask};

const CONNECTIONS: usize = 64;
/// How traces are set.
const WAYS: [&str; 4] = ["off", "on", "refused", "no answer"];

/// The rows.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(effort))
}

async fn run(effort: Effort) -> Result<Vec<Row>> {
    let bus = NatsServer::start(0, TOKEN, "")?;
    let upstream = Hop::of(Process::alone("the upstream", &["upstream"])?, "upstream listens", "").await?;
    let collector = Hop::of(Process::alone("the collector", &["upstream"])?, "upstream listens", "").await?;
    // It takes connections and reads nothing.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let file = std::env::temp_dir().join(format!("figures-traced-{}.json", std::process::id()));
    let target = format!(r#"{{"name": "a", "url": "http://{}"}}"#, upstream.addr());
    std::fs::write(&file, format!(r#"{{"pools": [{{"ingress": "/llm/", "targets": [{target}]}}]}}"#))?;
    let path = file.display().to_string();
    let mut relays = Vec::new();
    for endpoint in [None, Some(collector.addr()), Some(closed), Some(silent.local_addr()?)] {
        let endpoint = endpoint.map(|addr: SocketAddr| format!("http://{addr}"));
        let mut settings = vec![("BROKER_CONFIG", path.as_str()), ("BROKER_RELAY", "127.0.0.1:0")];
        settings.extend(endpoint.as_deref().map(|endpoint| ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)));
        relays.push(Hop::of(Process::broker(&bus, &settings)?, "relay listens", "/llm").await?);
    }
    let mut rounds: Vec<[Sample; WAYS.len()]> = Vec::new();
    for number in 0..effort.rounds {
        let mut round = [Sample::default(); WAYS.len()];
        for turn in 0..relays.len() {
            let which = (number + turn) % relays.len();
            if let (Some(sample), Some(relay)) = (round.get_mut(which), relays.get(which)) {
                *sample = relay.sample(CONNECTIONS, None, effort.round).await?;
            }
        }
        rounds.push(round);
    }
    std::fs::remove_file(&file)?;
    if let [_, on, ..] = &relays[..] {
        let metrics = metrics(on.process())?;
        ensure!(exported(&metrics) > 0.0, "no call was exported:\n{metrics}");
    }
    Ok(rows(&rounds, &relays))
}

fn rows(rounds: &[[Sample; WAYS.len()]], relays: &[Hop]) -> Vec<Row> {
    let mut rows = Vec::new();
    let peak = |relay: Option<&Hop>| relay.and_then(|relay| relay.process().peak_memory());
    let off = peak(relays.first());
    for (which, way) in WAYS.iter().enumerate().skip(1) {
        let of = |which: usize, value: fn(&Sample) -> f64| {
            rounds.iter().filter_map(move |round| round.get(which).map(value)).collect::<Vec<_>>()
        };
        let name = |what: &str| format!("relay, {CONNECTIONS} connections, traces {way}: {what}");
        for (what, value, figure, target) in [
            ("rate", (|sample| sample.rate) as fn(&Sample) -> f64, Figure::Rate as fn(f64) -> Figure, 0.9),
            ("processor time per call", |sample| sample.cpu, Figure::Time, 0.0),
        ] {
            let (ours, others) = (of(which, value), of(0, value));
            let ratio = median(ours.iter().zip(&others).map(|(ours, other)| ours / other));
            let row = Row::new(name(what), figure(median(ours))).against("off", figure(median(others)), ratio);
            rows.push(if target > 0.0 { row.target(Target::RatioAtLeast(target)) } else { row });
        }
        let memory = peak(relays.get(which));
        let ratio = memory.zip(off).map(|(ours, off)| ours / off);
        let row = Row::new(name("memory at its peak"), memory.map(Figure::Memory));
        rows.push(row.against("off", off.map(Figure::Memory), ratio));
    }
    rows
}

fn metrics(broker: &Process) -> Result<String> {
    let mut text = String::new();
    ask(&address(broker)?, "/metrics", "close")?.read_to_string(&mut text)?;
    Ok(text)
}

/// How many calls a collector took.
fn exported(metrics: &str) -> f64 {
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("gecholog_broker_traced_calls_total{result=\"exported\"} "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0.0)
}
