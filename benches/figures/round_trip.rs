//! A question and its answer over a real bus: the broker against a program that answers without thinking.
//!
//! Both run all the time and are asked in turns, first one then the other and then the other way round, so that neither
//! always has the better half of a noisy second.

use std::time::Duration;

use anyhow::{Result, ensure};
use gateway_sim::nats_server::NatsServer;
use tokio::runtime::Builder;

use crate::Effort;
use crate::asker::{Asker, LoadResult};
use crate::bare;
use crate::process::{Process, TOKEN};
use crate::stats::median;
use crate::table::{Figure, Row, Target};

/// Where the broker answers.
pub(crate) const SUBJECT: &str = "coburn.gl.broker";
const IN_FLIGHT: [usize; 2] = [1, 64];
/// Answers differ in length as the routers' names do; over this many their mean is stable.
const SAMPLE: usize = 300;

/// What one round measures of one of the two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    rate: f64,
    p50: f64,
    p99: f64,
    cpu: Option<f64>,
}

/// The same round of both.
pub(crate) type Pair = (Sample, Sample);

/// All rows of the round trip.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    Builder::new_current_thread().enable_all().build()?.block_on(run(effort))
}

async fn run(effort: Effort) -> Result<Vec<Row>> {
    let bus = NatsServer::start(0, TOKEN, "")?;
    let mut asker = Asker::new(&bus).await?;
    let mut broker = Process::broker(&bus, &[])?;
    let size = answer_size(&mut asker, &mut broker).await?;
    let mut bare = Process::role("the bare responder", &bus, &["bare", "--size", &size.to_string()])?;
    asker.until_answered(bare::SUBJECT, &mut bare).await?;
    let mut rows = Vec::new();
    for in_flight in IN_FLIGHT {
        let mut pairs = Vec::new();
        for number in 0..effort.rounds {
            let ours = (SUBJECT, &mut broker);
            let theirs = (bare::SUBJECT, &mut bare);
            pairs.push(pair(&mut asker, ours, theirs, number, in_flight, effort.round).await?);
        }
        let [rate, p50, p99, cpu] = rows_of("round trip", "bare", in_flight, &pairs);
        let (rate, cpu) = (rate.target(Target::RatioAtLeast(0.9)), cpu.target(Target::RatioAtMost(1.5)));
        rows.extend([rate, p50, p99, cpu]);
    }
    let memory = |process: &Process| process.peak_memory().map(Figure::Memory);
    let ratio = broker.peak_memory().zip(bare.peak_memory()).map(|(ours, theirs)| ours / theirs);
    let row = Row::new("round trip: memory at its peak", memory(&broker));
    rows.push(row.against("bare", memory(&bare), ratio).target(Target::AtMost(Figure::Memory(15e6))));
    Ok(rows)
}

/// How long the broker's answers are in the mean.
pub(crate) async fn answer_size(asker: &mut Asker, broker: &mut Process) -> Result<usize> {
    let mut sum = 0;
    for _ in 0..SAMPLE {
        let answer = asker.until_answered(SUBJECT, broker).await?;
        ensure!(answer.starts_with(br#"{"gl_path":"/azure/"#), "not the broker's answer: {answer:?}");
        sum += answer.len();
    }
    Ok(sum / SAMPLE)
}

pub(crate) async fn pair(
    asker: &mut Asker,
    ours: (&str, &mut Process),
    theirs: (&str, &mut Process),
    number: usize,
    in_flight: usize,
    span: Duration,
) -> Result<Pair> {
    if number.is_multiple_of(2) {
        let first = sample(asker, ours, in_flight, span).await?;
        Ok((first, sample(asker, theirs, in_flight, span).await?))
    } else {
        let first = sample(asker, theirs, in_flight, span).await?;
        Ok((sample(asker, ours, in_flight, span).await?, first))
    }
}

async fn sample(
    asker: &mut Asker,
    (subject, process): (&str, &mut Process),
    in_flight: usize,
    span: Duration,
) -> Result<Sample> {
    let before = process.cpu();
    let LoadResult { mut latencies, took } = asker.press(subject, in_flight, span).await?;
    process.check()?;
    let count = latencies.len() as f64;
    let cpu = process.cpu().zip(before).map(|(after, before)| (after - before).as_nanos() as f64 / count);
    Ok(Sample { rate: count / took.as_secs_f64(), p50: latencies.quantile(0.5), p99: latencies.quantile(0.99), cpu })
}

/// The four rows of some pairs: what is measured, and what it is compared with.
pub(crate) fn rows_of(what: &str, other: &'static str, in_flight: usize, pairs: &[Pair]) -> [Row; 4] {
    let row = |figure: &str, unit: fn(f64) -> Figure, value: fn(&Sample) -> Option<f64>| {
        let known = pairs.iter().all(|(ours, theirs)| value(ours).is_some() && value(theirs).is_some());
        let median_of = |side: &dyn Fn(&Pair) -> Option<f64>| known.then(|| median(pairs.iter().filter_map(side)));
        let ours = median_of(&|(ours, _)| value(ours)).map(unit);
        let theirs = median_of(&|(_, theirs)| value(theirs)).map(unit);
        let ratio = median_of(&|(ours, theirs)| Some(value(ours)? / value(theirs)?));
        Row::new(format!("{what}, {in_flight} in flight: {figure}"), ours).against(other, theirs, ratio)
    };
    [
        row("rate", Figure::Rate, |sample| Some(sample.rate)),
        row("p50", Figure::Time, |sample| Some(sample.p50)),
        row("p99", Figure::Time, |sample| Some(sample.p99)),
        row("processor time per message", Figure::Time, |sample| sample.cpu),
    ]
}
