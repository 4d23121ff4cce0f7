//! The flood: log entries of 100 KB at a fixed rate, from a process of its own, each the log of another call.

use std::time::Duration;

use anyhow::Result;
use async_nats::ConnectOptions;
use bytes::Bytes;
use tokio::runtime::Builder;
use tokio::time::{MissedTickBehavior, interval};

use crate::asker::connect;
use crate::entries::{Series, Text, large};
use crate::stats::now;

/// Bytes of an entry.
const SIZE: usize = 100_000;
/// How often entries are sent, all that are due together.
const SEND_INTERVAL: Duration = Duration::from_millis(2);

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The bus
    #[arg(long)]
    host: String,
    /// Where the entries go
    #[arg(long)]
    subject: String,
    /// Entries per second
    #[arg(long)]
    rate: f64,
    /// For how long
    #[arg(long)]
    millis: u64,
}

/// Floods, and prints the rate that it has reached.
#[expect(clippy::print_stdout, reason = "what the parent reads")]
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let rate = Builder::new_current_thread().enable_all().build()?.block_on(flood(arguments))?;
    println!("{rate}");
    Ok(())
}

async fn flood(arguments: Arguments) -> Result<f64> {
    let Arguments { host, subject, rate, millis } = arguments;
    let client = connect(&host, ConnectOptions::new().client_capacity(64)).await?;
    let mut entries = Series::new(large(Text::Prose, SIZE)?)?;
    let mut pace = interval(SEND_INTERVAL);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (began, span) = (now(), Duration::from_millis(millis));
    let mut sent = 0_u64;
    while began.elapsed() < span {
        pace.tick().await;
        // No more than two beats at once: what a busy machine could not send in time is not made up for by a burst.
        let due = (began.elapsed().as_secs_f64() * rate) as u64;
        let most = (2.0 * rate * SEND_INTERVAL.as_secs_f64()).ceil() as u64;
        for _ in 0..due.saturating_sub(sent).min(most) {
            client.publish(subject.clone(), Bytes::copy_from_slice(entries.next())).await?;
            sent += 1;
        }
    }
    client.flush().await?;
    Ok(sent as f64 / began.elapsed().as_secs_f64())
}
