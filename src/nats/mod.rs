//! The bus: connects, stays connected, and says once when that changes.
//!
//! The library reconnects by itself; the first connection is our own loop, because only there a refused token is an error
//! that one can act on. What the bus delivers is bounded everywhere: a subscription that is full drops the newest message,
//! which for a log costs one lesson and for a request one unbalanced call, and both are counted.

mod admin;
mod affinity;
mod chunks;
mod cluster;
mod link;
mod logs;
pub mod peers;
mod requests;
mod takeover;

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};
use rand::RngExt;

use crate::status::Bus;
use crate::system::files;

pub use admin::{AdminEndpoints, Start, serve_admin};
pub use affinity::share_affinity;
pub use cluster::{follow_cluster, serve_requests};
pub use link::{ConnectionStatus, LinkState};
pub use logs::{learn_from_logs, publish_entries};
pub use peers::Peers;
pub use takeover::take_over;

/// The longest pause between two tries to connect.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long one try may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Two unanswered pings end a connection, so a dead peer is noticed within three times this.
const PING_INTERVAL: Duration = Duration::from_secs(4);

/// The largest credentials file, in bytes; a usual one has 1 KB.
const MAX_CREDENTIALS_BYTES: u64 = 1 << 20;

/// Text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Where the bus is and who we are there.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The servers, any of which will do. They carry no secrets: those are in `token` and `user`.
    pub servers: Vec<ServerAddr>,
    /// `NATS_TOKEN`, or the one in `NATS_URL`.
    pub token: Option<Secret>,
    /// User and password in `NATS_URL`.
    pub user: Option<(String, Secret)>,
    /// `NATS_CREDS`.
    pub credentials: Option<PathBuf>,
    /// `NATS_CA`.
    pub authority: Option<PathBuf>,
    /// `BROKER_SUBJECT`; `.apply` and `.outcome` follow it.
    pub subject: String,
    /// `BROKER_LOGGER_SUBJECT`.
    pub logger_subject: String,
    /// `BROKER_QUEUE`.
    pub queue: String,
    /// `BROKER_PROCESSOR`: our entry's name in the gateway's configuration; that of row 2 is the same with `_apply`.
    pub processor: String,
}

impl Settings {
    /// Where the bus is, without any credential.
    pub fn show(&self) -> Bus {
        let credentials = match (&self.token, &self.user, &self.credentials) {
            (_, _, Some(_)) => "credentials",
            (_, Some(_), None) => "user",
            (Some(_), None, None) => "token",
            (None, None, None) => "none",
        };
        Bus {
            servers: self.servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect(),
            credentials,
            subject: self.subject.clone(),
            logger_subject: self.logger_subject.clone(),
            queue: self.queue.clone(),
        }
    }

    /// The servers as they may be shown.
    fn shown(&self) -> String {
        self.show().servers.join(", ")
    }
}

/// Why there is no hope of a connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The bus is there and does not want us.
    #[error(
        "the bus at {0} refuses our credentials: check NATS_TOKEN (or NATS_TOKEN_FILE, NATS_CREDS, the user in NATS_URL)"
    )]
    Refused(String),
    /// The credentials file cannot be read.
    #[error("cannot read the credentials file {path}: {source}")]
    Credentials { path: PathBuf, source: std::io::Error },
}

/// Connects, however long it takes. `name` is for people who look at the bus; `capacity` bounds what waits per subscription.
///
/// # Errors
/// Only if trying again would not help.
pub async fn connect(
    settings: &Settings,
    link: &ConnectionStatus,
    name: &str,
    capacity: usize,
) -> Result<Client, ConnectError> {
    loop {
        let (number, options) = options(settings, link, name, capacity).await?;
        match options.connect(settings.servers.clone()).await {
            Ok(client) => {
                link.make_current(number);
                link.set(LinkState::Connected);
                return Ok(client);
            }
            Err(error) if is_refusal(error.kind()) => return Err(ConnectError::Refused(settings.shown())),
            Err(error) => link.set(LinkState::Away(format!("{} ({})", settings.shown(), error.kind()))),
        }
        tokio::time::sleep(retry_delay()).await;
    }
}

const fn is_refusal(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation)
}

/// A pause before the next try; drawn, so that many replicas do not come back in step.
fn retry_delay() -> Duration {
    RETRY_DELAY.mul_f64(rand::rng().random_range(0.2..1.0))
}

async fn options(
    settings: &Settings,
    link: &ConnectionStatus,
    name: &str,
    capacity: usize,
) -> Result<(u64, ConnectOptions), ConnectError> {
    let (number, events) = (link.number(), link.clone());
    let options = basic_options(settings, name).await?;
    let options = options
        .ping_interval(PING_INTERVAL)
        // What a connection publishes does not come back on it: entries of the log, and what replicas share, are for others.
        .no_echo()
        .subscription_capacity(capacity)
        .max_reconnects(None)
        // The library asks before the very first try too, and there is nothing to wait for then, nor right after a loss.
        .reconnect_delay_callback(|attempt| if attempt <= 1 { Duration::ZERO } else { retry_delay() })
        .event_callback(move |event| {
            events.take(number, &event);
            std::future::ready(())
        });
    Ok((number, options))
}

/// Who we are on the bus, and how long a connection may take.
async fn basic_options(settings: &Settings, name: &str) -> Result<ConnectOptions, ConnectError> {
    let mut options = ConnectOptions::new().name(name).connection_timeout(REQUEST_TIMEOUT);
    if let Some(Secret(token)) = &settings.token {
        options = options.token(token.clone());
    }
    if let Some((user, Secret(password))) = &settings.user {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(path) = &settings.authority {
        options = options.add_root_certificates(path.clone());
    }
    if let Some(path) = &settings.credentials {
        let fault = |source| ConnectError::Credentials { path: path.clone(), source };
        let bytes = files::read_beside(path, MAX_CREDENTIALS_BYTES).await;
        let bytes = bytes.map_err(|unreadable| fault(std::io::Error::other(unreadable)))?;
        options = options.credentials(&String::from_utf8_lossy(&bytes)).map_err(fault)?;
    }
    Ok(options)
}

/// Waits until the bus has processed all that was sent before: it works in order, so its word that nobody listens to a new inbox
/// comes after everything else. (`flush` ends when the bytes are written, before the bus has read them.) At most
/// `REQUEST_TIMEOUT`; false if nothing came by then. At the start we are then no worse off than without the question.
pub async fn sync_with_server(client: &Client) -> bool {
    use futures_util::StreamExt;

    let inbox = client.new_inbox();
    let Ok(mut answers) = client.subscribe(inbox.clone()).await else { return false };
    client.publish_with_reply(client.new_inbox(), inbox, bytes::Bytes::new()).await.is_ok()
        && matches!(tokio::time::timeout(REQUEST_TIMEOUT, answers.next()).await, Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_to_connect_are_at_most_half_a_second_apart_and_not_in_step() {
        let mut delays: Vec<_> = std::iter::repeat_with(retry_delay).take(1_000).collect();
        delays.sort_unstable();
        assert!(delays[999] <= Duration::from_millis(500), "{:?}", delays[999]);
        assert!(delays[0] >= Duration::from_millis(100), "no tight loop: {:?}", delays[0]);
        assert!(delays[900] - delays[100] > Duration::from_millis(250), "{:?}", (delays[100], delays[900]));
    }
}
