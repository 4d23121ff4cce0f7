//! The commands that reach running brokers over the bus: no port has to be open, and each replica answers for itself.
//!
//! `admin` sends commands, `status` shows the state, `watch` shows calls as they finish, from the gateway's log, and `why`
//! explains a finished one.

mod admin;
mod status;
mod table;
mod watch;
mod why;

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::Client;

pub use admin::{TargetArgs, TimedArgs, WeightArgs, administer};
pub use status::StatusArgs;
pub use watch::WatchArgs;
pub use why::{Source, WhyArgs};

use crate::clock::Clock;
use crate::config::OperatorAccess;
use crate::nats::{self, ConnectionStatus};

/// Timeout of connecting to the bus.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The name of the connection.
const LINK: &str = "command";
/// The advice when the bus does not answer.
const WHAT_TO_DO: &str =
    "does the gateway run, and is its bus at this address? GECHOLOG_HOST or NATS_URL names another";

/// Runs one command to its end.
fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(work)
}

/// Connects to the bus.
async fn connect(operator: &OperatorAccess) -> anyhow::Result<Client> {
    connect_as(&ConnectionStatus::new(LINK, Clock::start()), operator).await
}

/// Connects, and reports the state of the connection there.
async fn connect_as(connection: &ConnectionStatus, operator: &OperatorAccess) -> anyhow::Result<Client> {
    let connected = nats::connect(&operator.nats, connection, "gecholog-broker command", 4_096);
    match tokio::time::timeout(CONNECT_TIMEOUT, connected).await {
        Ok(client) => Ok(client?),
        Err(_) => {
            let reason = connection.reason().unwrap_or_else(|| "the bus does not answer".to_owned());
            bail!("{reason}; {WHAT_TO_DO}")
        }
    }
}

/// A text from outside, made safe for a terminal: without control characters, which could move its cursor or change its colours.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
