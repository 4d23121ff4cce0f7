//! Decisions while the log floods: the broker, against a program that answers without thinking and throws the log away.
//!
//! Each is flooded in its turn, over its own subject, at the same rate. How many entries the broker could not take and
//! dropped is said in the row of its memory.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gateway_sim::nats_server::NatsServer;
use tokio::runtime::Builder;

use crate::asker::{Asker, LoadResult};
use crate::process::{Process, TOKEN};
use crate::round_trip::{SUBJECT, answer_size};
use crate::stats::median;
use crate::table::{Figure, Row, Target};
use crate::{Effort, bare};

/// Where the gateway logs.
const LOGS: &str = "coburn.gl.logger";
/// Entries per second: what the bare program just bears on two cores.
const RATE: f64 = 2_000.0;
/// How long a flood has lasted before anything is measured.
const WARM_UP: Duration = Duration::from_millis(300);
/// One question in each, as from a gateway with a thousand calls a second.
const CALL_INTERVAL: Duration = Duration::from_millis(1);

/// What one flood measures of one of the two.
#[derive(Debug, Clone, Copy)]
struct Sample {
    p50: f64,
    p99: f64,
    rate: f64,
}

/// All rows of the flood.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(effort))
}

async fn run(effort: Effort) -> Result<Vec<Row>> {
    let bus = NatsServer::start(0, TOKEN, "")?;
    let mut asker = Asker::new(&bus).await?;
    let mut broker = Process::broker(&bus, &[])?;
    let size = answer_size(&mut asker, &mut broker).await?;
    let mut bare = Process::role("the bare program", &bus, &["bare", "--logs", "--size", &size.to_string()])?;
    asker.until_answered(bare::SUBJECT, &mut bare).await?;
    let mut pairs = Vec::new();
    for _ in 0..effort.rounds.div_ceil(2) {
        let ours = sample(&bus, &mut asker, (SUBJECT, LOGS, &mut broker), effort.flood).await?;
        let theirs = sample(&bus, &mut asker, (bare::SUBJECT, bare::LOGS, &mut bare), effort.flood).await?;
        pairs.push((ours, theirs));
    }
    Ok(rows(&pairs, &broker, &bare))
}

async fn sample(
    bus: &NatsServer,
    asker: &mut Asker,
    (subject, logs, process): (&str, &str, &mut Process),
    span: Duration,
) -> Result<Sample> {
    let (rate, millis) = (RATE.to_string(), (span + 2 * WARM_UP).as_millis().to_string());
    let flood = ["flood", "--subject", logs, "--rate", &rate, "--millis", &millis];
    let mut flooder = Process::role("the flood", bus, &flood)?;
    tokio::time::sleep(WARM_UP).await;
    let LoadResult { mut latencies, .. } = asker.stroll(subject, CALL_INTERVAL, span).await?;
    process.check()?;
    flooder.finish()?;
    let rate: f64 = flooder.output().trim().parse().context("the flood does not say its rate")?;
    ensure!(rate > RATE / 2.0, "this machine cannot make the flood: {rate:.0} entries a second of {RATE}");
    Ok(Sample { p50: latencies.quantile(0.5), p99: latencies.quantile(0.99), rate })
}

fn rows(pairs: &[(Sample, Sample)], broker: &Process, bare: &Process) -> Vec<Row> {
    let rate = median(pairs.iter().flat_map(|(ours, theirs)| [ours.rate, theirs.rate]));
    let row = |what: &str, value: fn(&Sample) -> f64| {
        let ours = Figure::Time(median(pairs.iter().map(|(ours, _)| value(ours))));
        let theirs = Figure::Time(median(pairs.iter().map(|(_, theirs)| value(theirs))));
        let ratio = median(pairs.iter().map(|(ours, theirs)| value(ours) / value(theirs)));
        let what = format!("a decision during {rate:.0} logs of 100 KB a second: {what}");
        Row::new(what, ours).against("bare", theirs, ratio)
    };
    let memory = |process: &Process| process.peak_memory().map(Figure::Memory);
    let ratio = broker.peak_memory().zip(bare.peak_memory()).map(|(ours, theirs)| ours / theirs);
    let what = format!("the same: memory at its peak ({} logs dropped)", dropped(&broker.output()));
    vec![
        row("p50", |sample| sample.p50),
        row("p99", |sample| sample.p99).target(Target::RatioAtMost(2.0)),
        Row::new(what, memory(broker))
            .against("bare", memory(bare), ratio)
            .target(Target::AtMost(Figure::Memory(40e6))),
    ]
}

/// The last count of dropped messages in the broker's own log, which has one at most once a second.
fn dropped(output: &str) -> u64 {
    let line = output.lines().rev().find(|line| line.contains("dropped"));
    let total = line.and_then(|line| line.split("total=").nth(1)?.split(' ').next()?.parse().ok());
    total.unwrap_or(0)
}
