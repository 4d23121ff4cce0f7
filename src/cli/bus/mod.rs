//! The commands that ask running brokers over the bus: no port has to be open, and each replica answers for itself.
//!
//! `admin` changes something, `status` shows what is, `watch` shows calls as they finish, from the gateway's own log;
//! `why` explains one that is over.

mod admin;
mod status;
mod table;
mod watch;
mod why;

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::Client;

pub use admin::{AdminSubcommand, TargetArgs, TimedArgs, WeightArgs};
pub use status::StatusArgs;
pub use watch::WatchArgs;
pub use why::{Source, WhyArgs};

use crate::clock::Clock;
use crate::config::Operator;
use crate::nats::{self, ConnectionStatus};

/// The bus answers within this time, or we say that it does not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The name of our connection.
const LINK: &str = "command";
/// What helps when the bus does not answer.
const WHAT_TO_DO: &str =
    "does the gateway run, and is its bus at this address? GECHOLOG_HOST or NATS_URL names another";

/// Runs one command to its end.
fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(work)
}

/// A connection for a short visit.
async fn connect(operator: &Operator) -> anyhow::Result<Client> {
    let link = ConnectionStatus::new(LINK, Clock::start());
    let connected = nats::connect(&operator.nats, &link, "gecholog-broker command", 4_096);
    match tokio::time::timeout(CONNECT_TIMEOUT, connected).await {
        Ok(client) => Ok(client?),
        Err(_) => bail!("{}; {WHAT_TO_DO}", absence(&link)),
    }
}

/// Why the bus does not answer. The connection has a name for the broker's log; here there is only this one.
fn absence(link: &ConnectionStatus) -> String {
    let reason = link.reason().unwrap_or_else(|| "the bus does not answer".to_owned());
    reason.strip_prefix(LINK).and_then(|reason| reason.strip_prefix(": ")).unwrap_or(&reason).to_owned()
}

/// A text from outside, safe for a terminal: without anything that would move its cursor or change its colours.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
