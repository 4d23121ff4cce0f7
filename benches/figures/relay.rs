//! The relay before an upstream that answers at once: what it adds to the upstream alone, and what nginx adds.
//!
//! They are asked in turns. Everything shares the same processors, the upstream and the caller too.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gateway_sim::nats_server::NatsServer;
use tokio::runtime::Builder;

use crate::Effort;
use crate::caller::{Load, Open, press};
use crate::nginx;
use crate::process::{Process, TOKEN};
use crate::stats::{median, now};
use crate::table::{Figure, Row, Target};
use crate::upstream::EVENTS;

pub(crate) const CONNECTIONS: [usize; 3] = [1, 64, 256];
/// What is asked for at a fixed rate.
pub(crate) const RATE: f64 = 5_000.0;
/// How many calls are in flight when memory is looked at.
const WAITING: usize = 1_000;

/// What is called.
#[derive(Debug)]
pub(crate) struct Hop {
    process: Process,
    addr: SocketAddr,
    /// The prefix of every path.
    prefix: &'static str,
}

/// What one round measures of one of them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) cpu: f64,
}

/// All rows of the relay.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(effort))
}

async fn run(effort: Effort) -> Result<Vec<Row>> {
    let bus = NatsServer::start(0, TOKEN, "")?;
    let upstream = Hop::of(Process::alone("the upstream", &["upstream"])?, "upstream listens", "").await?;
    let folder = std::env::temp_dir().join(format!("figures-relay-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("broker.json");
    std::fs::write(&file, pools(upstream.addr))?;
    let settings =
        [("BROKER_CONFIG", file.to_str().context("a path that is no text")?), ("BROKER_RELAY", "127.0.0.1:0")];
    let relay = Hop::of(Process::broker(&bus, &settings)?, "relay listens", "/llm").await?;
    let nginx = nginx::start(&folder, upstream.addr).await?.map(|(process, addr)| Hop { process, addr, prefix: "" });
    if nginx.is_none() {
        crate::say(
            "no nginx here (Debian, Ubuntu: apt-get install nginx): the relay is compared with the upstream alone",
        );
    }
    let hops = Hops { upstream: &upstream, relay: &relay, nginx: nginx.as_ref() };
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        rows.extend(at(effort, connections, hops).await?);
    }
    rows.extend(paced(effort, hops).await?);
    rows.push(streamed(effort, &upstream, &relay).await?);
    rows.push(failed_over(effort, &upstream, &relay).await?);
    // One of its own: what the loads before left in the queues of others is no call in flight.
    drop(relay);
    let relay = Hop::of(Process::broker(&bus, &settings)?, "relay listens", "/llm").await?;
    rows.push(waiting(&relay, nginx.as_ref()).await?);
    std::fs::remove_dir_all(&folder)?;
    Ok(rows)
}

/// One pool with the upstream alone, one whose first target always fails. No target is ever disabled, and retries are free.
pub(crate) fn pools(upstream: SocketAddr) -> String {
    let target = |name: &str, path: &str| format!(r#"{{"name": "{name}", "url": "http://{upstream}{path}"}}"#);
    let pool = |ingress: &str, targets: &str| {
        format!(r#"{{"ingress": "{ingress}", "strategy": {{"mode": "fallback"}}, "targets": [{targets}]}}"#)
    };
    let failing =
        format!(r#"{{"name": "dead", "url": "http://{upstream}", "endpoint": "fail"}}, {}"#, target("good", ""));
    format!(
        r#"{{"health": {{"disabled_time": 0}}, "relay": {{"retry_budget": {{"ratio": 1, "per_second": 1000}}}}, "pools": [{}, {}]}}"#,
        pool("/llm/", &target("good", "")),
        pool("/over/", &failing)
    )
}

impl Hop {
    /// A program that prints where it listens.
    pub(crate) async fn of(mut process: Process, words: &str, prefix: &'static str) -> Result<Self> {
        let began = now();
        loop {
            let output = process.output();
            let line = output.lines().find(|line| line.contains(words));
            let address = line.and_then(|line| line.split_once("address=")?.1.split(' ').next()?.parse().ok());
            if let Some(addr) = address {
                return Ok(Self { process, addr, prefix });
            }
            process.check()?;
            if began.elapsed() > Duration::from_secs(20) {
                bail!("it does not print where it listens:\n{output}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) const fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    pub(crate) async fn sample(&self, connections: usize, rate: Option<f64>, span: Duration) -> Result<Sample> {
        let before = self.process.cpu().unwrap_or_default();
        let path = format!("{}/", self.prefix);
        let mut called = press(Load { addr: self.addr, path: &path, connections, rate, span }).await?;
        let cpu = self.process.cpu().unwrap_or_default().saturating_sub(before);
        let count = called.latencies.len() as f64;
        Ok(Sample {
            rate: count / called.took.as_secs_f64(),
            p50: called.latencies.quantile(0.5),
            p99: called.latencies.quantile(0.99),
            cpu: cpu.as_nanos() as f64 / count,
        })
    }
}

/// Whom to ask.
#[derive(Debug, Clone, Copy)]
struct Hops<'a> {
    upstream: &'a Hop,
    relay: &'a Hop,
    nginx: Option<&'a Hop>,
}

/// What one round measures of all of them.
#[derive(Debug, Default)]
struct Round {
    alone: Sample,
    relay: Sample,
    nginx: Option<Sample>,
}

impl Hops<'_> {
    /// So many rounds, each beginning with another one.
    async fn rounds(self, effort: Effort, connections: usize, rate: Option<f64>) -> Result<Vec<Round>> {
        let mut rounds = Vec::new();
        for number in 0..effort.rounds {
            let mut round = Round::default();
            for turn in 0..3 {
                match (number + turn) % 3 {
                    0 => round.alone = self.upstream.sample(connections, rate, effort.round).await?,
                    1 => round.relay = self.relay.sample(connections, rate, effort.round).await?,
                    _ => {
                        if let Some(nginx) = self.nginx {
                            round.nginx = Some(nginx.sample(connections, rate, effort.round).await?);
                        }
                    }
                }
            }
            rounds.push(round);
        }
        Ok(rounds)
    }
}

/// As fast as it goes.
async fn at(effort: Effort, connections: usize, hops: Hops<'_>) -> Result<Vec<Row>> {
    let rounds = hops.rounds(effort, connections, None).await?;
    let plural = if connections == 1 { "" } else { "s" };
    let name = |what: &str| format!("relay, {connections} connection{plural}: {what}");
    let relay = |value: fn(&Sample) -> f64| median(rounds.iter().map(|round| value(&round.relay)));
    let alone = |value: fn(&Sample) -> f64| median(rounds.iter().map(|round| value(&round.alone)));
    let nginx = |value: fn(&Sample) -> f64| {
        let samples = rounds.iter().filter_map(|round| round.nginx.as_ref());
        hops.nginx.map(|_| median(samples.map(value)))
    };
    let by_nginx = |value: fn(&Sample) -> f64| {
        let pairs = rounds.iter().filter_map(|round| Some((&round.relay, round.nginx.as_ref()?)));
        median(pairs.map(|(relay, nginx)| value(relay) / value(nginx)))
    };
    let time = |what: &str, value: fn(&Sample) -> f64| {
        Row::new(name(what), Figure::Time(relay(value))).on_top_of("upstream alone", Figure::Time(alone(value)))
    };
    let with_nginx = |row: Row, value: fn(&Sample) -> f64, figure: fn(f64) -> Figure| {
        row.against("nginx", nginx(value).map(figure), by_nginx(value))
    };
    let by_alone = median(rounds.iter().map(|round| round.relay.rate / round.alone.rate));
    let rate = |sample: &Sample| sample.rate;
    let mut rate_row = with_nginx(Row::new(name("rate"), Figure::Rate(relay(rate))), rate, Figure::Rate);
    if connections == 64 {
        rate_row = rate_row.target(Target::RatioAtLeast(0.7));
    }
    let cpu_row = Row::new(name("processor time per call"), Figure::Time(relay(|sample| sample.cpu)));
    Ok(vec![
        Row::new(name("rate"), Figure::Rate(relay(rate))).against(
            "upstream alone",
            Figure::Rate(alone(rate)),
            by_alone,
        ),
        rate_row,
        time("p50", |sample| sample.p50),
        time("p99", |sample| sample.p99),
        with_nginx(Row::new(name("p99"), Figure::Time(relay(|sample| sample.p99))), |sample| sample.p99, Figure::Time),
        with_nginx(cpu_row, |sample| sample.cpu, Figure::Time),
    ])
}

/// The added p99 at a fixed rate, and what nginx adds then.
async fn paced(effort: Effort, hops: Hops<'_>) -> Result<Vec<Row>> {
    let rounds = hops.rounds(effort, 64, Some(RATE)).await?;
    let over = |hop: fn(&Round) -> Option<Sample>, value: fn(&Sample) -> f64| {
        let added = rounds.iter().filter_map(|round| Some(value(&hop(round)?) - value(&round.alone)));
        Figure::Time(median(added).max(0.0))
    };
    let mut rows = Vec::new();
    for (what, value, target) in [
        ("p50", (|sample: &Sample| sample.p50) as fn(&Sample) -> f64, None),
        ("p99", |sample: &Sample| sample.p99, Some(Target::AtMost(Figure::Time(0.5e6)))),
    ] {
        let added = over(|round| Some(round.relay), value);
        let mut row = Row::new(format!("relay, 5000 calls a second: {what} added to the upstream's"), added);
        if hops.nginx.is_some() {
            row = row.on_top_of("nginx adds", over(|round| round.nginx, value));
        }
        rows.push(match target {
            Some(target) => row.target(target),
            None => row,
        });
    }
    Ok(rows)
}

/// What a stream's events cost.
async fn streamed(effort: Effort, upstream: &Hop, relay: &Hop) -> Result<Row> {
    let mut streams = Streams::open(upstream, relay).await?;
    let mut added = Vec::new();
    for _ in 0..effort.rounds * 3 {
        added.push(streams.added_per_event().await?);
    }
    Ok(Row::new("relay, a stream of 2000 events: added per event", Figure::Time(median(added).max(0.0)))
        .target(Target::AtMost(Figure::Time(50e3))))
}

/// One connection to the upstream and one to a relay before it, for streams.
pub(crate) struct Streams {
    direct: Open,
    through: Open,
}

impl Streams {
    pub(crate) async fn open(upstream: &Hop, relay: &Hop) -> Result<Self> {
        let direct = Open::to(upstream.addr, "/stream").await?;
        Ok(Self { direct, through: Open::to(relay.addr, "/llm/stream").await? })
    }

    /// Nanoseconds that the relay added to each event of one stream.
    pub(crate) async fn added_per_event(&mut self) -> Result<f64> {
        let direct = timed(&mut self.direct).await?;
        Ok((timed(&mut self.through).await? - direct) / EVENTS as f64)
    }
}

/// What it costs to go elsewhere, beyond the failing attempt itself.
async fn failed_over(effort: Effort, upstream: &Hop, relay: &Hop) -> Result<Row> {
    let mut detour = Detour::open(upstream, relay).await?;
    let mut added = Vec::new();
    for _ in 0..effort.calls.min(2_000) {
        added.push(detour.added().await?);
    }
    Ok(Row::new("relay, going elsewhere: beyond the failing attempt itself", Figure::Time(median(added).max(0.0)))
        .target(Target::AtMost(Figure::Time(1e6))))
}

/// Connections for a call whose first target fails, for one whose first target serves, and for one without a relay.
pub(crate) struct Detour {
    over: Open,
    once: Open,
    alone: Open,
}

impl Detour {
    pub(crate) async fn open(upstream: &Hop, relay: &Hop) -> Result<Self> {
        let over = Open::to(relay.addr, "/over/").await?;
        let once = Open::to(relay.addr, "/llm/").await?;
        Ok(Self { over, once, alone: Open::to(upstream.addr, "/").await? })
    }

    /// Nanoseconds that one call took longer for its failed attempt, without what the attempt itself takes.
    pub(crate) async fn added(&mut self) -> Result<f64> {
        Ok(timed(&mut self.over).await? - timed(&mut self.once).await? - timed(&mut self.alone).await?)
    }
}

/// Nanoseconds of one call.
async fn timed(open: &mut Open) -> Result<f64> {
    let began = now();
    open.call().await?;
    Ok(began.elapsed().as_nanos() as f64)
}

/// Memory with many calls in flight at a time.
async fn waiting(relay: &Hop, nginx: Option<&Hop>) -> Result<Row> {
    let ours = peak_of_waiting(relay).await?;
    let theirs = match nginx {
        Some(nginx) => peak_of_waiting(nginx).await?,
        None => None,
    };
    let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
    let row = Row::new("relay: memory at its peak, with 1000 calls in progress", ours.map(Figure::Memory));
    Ok(row.against("nginx", theirs.map(Figure::Memory), ratio).target(Target::AtMost(Figure::Memory(30e6))))
}

/// The most bytes that it holds with many calls in flight at a time; `None` where this system does not report it.
pub(crate) async fn peak_of_waiting(hop: &Hop) -> Result<Option<f64>> {
    let path = format!("{}/later", hop.prefix);
    let span = Duration::from_millis(1);
    press(Load { addr: hop.addr, path: &path, connections: WAITING, rate: None, span }).await?;
    Ok(hop.process.peak_memory())
}
