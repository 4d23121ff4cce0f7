//! Reading one entry of the gateway's log, and learning from it.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use balancer::broker::BrokerInput;
use gecholog_protocol::log_entry;
use types::outcome::CallObservation;
use types::time::{BrokerTime, GatewayTime};

use crate::Effort;
use crate::core::broker;
use crate::entries::{self, Text};
use crate::stats::nanos;
use crate::table::{Figure, Row, Target};

/// As many transactions as the core remembers, and more.
const TRANSACTIONS: u64 = 100_000;

/// All rows of the log.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let captured = serde_json::to_vec(&entries::captured()?)?;
    let what = format!("reading the log of a captured success, {} bytes", captured.len());
    let row = Row::new(what, Figure::Time(read(effort, &captured)?));
    let mut rows = vec![row.target(Target::AtMost(Figure::Time(5e3)))];
    for (text, name, least) in [(Text::Prose, "prose", 1.0), (Text::Dense, "dense escapes", 0.6)] {
        for (size, shown) in [(100_000, "100 KB"), (1_000_000, "1 MB")] {
            let entry = entries::large(text, size)?;
            let rate = entry.len() as f64 / read(effort, &entry)?;
            let row = Row::new(format!("reading a log of {shown}, {name}"), Figure::Throughput(rate));
            rows.push(row.target(Target::AtLeast(Figure::Throughput(least))));
        }
    }
    let row =
        Row::new("applying an outcome: learning from a log that was read", Figure::Time(learn(effort, &captured)?));
    rows.push(row.target(Target::AtMost(Figure::Time(150.0))));
    Ok(rows)
}

fn read(effort: Effort, entry: &[u8]) -> Result<f64> {
    let report = log_entry::read(entry)?;
    ensure!(
        report.answer.status == Some(200) && report.stamped_path.is_some(),
        "the entry does not say what it should"
    );
    Ok(nanos(effort, || log_entry::read(black_box(entry)).map(|report| report.answer.status)))
}

/// Each time the log of another call, a tenth of a millisecond after the last, as at ten thousand calls a second.
fn learn(effort: Effort, entry: &[u8]) -> Result<f64> {
    let ids: Vec<_> = (0..TRANSACTIONS).map(|number| format!("BROKER01_1700000000{number:09}_1_0")).collect();
    let mut broker = broker(3)?;
    let mut report = log_entry::read(entry)?;
    let mut calls = (0_u64..).zip(ids.iter().cycle());
    let mut refused = 0_u64;
    let took = nanos(effort, || {
        if let Some((number, id)) = calls.next() {
            report.answer.transaction = Some(id);
            report.started = Some(GatewayTime::from_nanos(1_000_000_000 + number));
            let observation = CallObservation::Log { entry: &report, decision: None };
            let now = BrokerTime::from_nanos(1).after(Duration::from_micros(100 * number));
            refused += u64::from(broker.apply(BrokerInput::Observed(black_box(&observation)), now).ignored.is_some());
        }
    });
    ensure!(refused == 0, "{refused} logs taught nothing");
    Ok(took)
}
