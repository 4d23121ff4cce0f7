//! The bus: connects, stays connected, and logs each change once.
//!
//! The library reconnects by itself. The first connection is made in a loop of our own, because only there a refused token
//! should end the process. All queues are bounded: a full subscription drops the newest message, which is counted. A dropped
//! log entry is not learnt from; a dropped request is a call that is not balanced.

mod admin;
mod affinity;
mod chunks;
mod cluster;
mod connection_status;
mod credentials;
mod logs;
pub mod peers;
mod requests;
mod takeover;

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};
use rand::RngExt;

use crate::fault::with_causes;
use crate::status::Bus;
use credentials::Credentials;

pub use admin::{AdminEndpoints, Start, serve_admin};
pub use affinity::share_affinity;
pub use cluster::{follow_cluster, serve_requests};
pub use connection_status::{ConnectionState, ConnectionStatus};
pub use credentials::CredentialsFault;
pub use logs::{learn_from_logs, publish_entries};
pub use peers::Peers;
pub use takeover::{Scope, take_over, take_over_after_outages};

/// The longest delay between two attempts to connect.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Timeout of one attempt to connect, and of a request to the server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Two unanswered pings end a connection, so a dead peer is noticed within three times this.
const PING_INTERVAL: Duration = Duration::from_secs(4);

/// The different errors of one start that are logged.
const MAX_LOGGED_ERRORS: usize = 8;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// The settings of the bus.
#[derive(Debug, Clone)]
pub struct NatsSettings {
    /// The servers, of which one is used. Their addresses carry no secrets: those are in `token` and `user`.
    pub servers: Vec<ServerAddr>,
    /// `NATS_TOKEN`, or the one in `NATS_URL`.
    pub token: Option<Secret>,
    /// `NATS_TOKEN_FILE`; `token` is what it held at the start.
    pub token_file: Option<PathBuf>,
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

impl NatsSettings {
    /// The address of the bus, without credentials.
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

    /// The subjects without whose messages the broker is of no use: the requests' and the log's.
    fn needed_subjects(&self) -> [String; 4] {
        let subject = &self.subject;
        [subject.clone(), format!("{subject}.apply"), format!("{subject}.outcome"), self.logger_subject.clone()]
    }

    /// The addresses of the servers, without credentials.
    fn shown(&self) -> String {
        self.show().servers.join(", ")
    }
}

/// Why retrying would not help.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The bus refuses the credentials.
    #[error(
        "the bus at {0} refuses our credentials: check NATS_TOKEN (or NATS_TOKEN_FILE, NATS_CREDS, the user in NATS_URL)"
    )]
    Refused(String),
    /// A file of credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsFault),
}

/// Connects, and retries until it succeeds. `name` is shown by the server's tools; `capacity` is the number of messages that
/// may wait per subscription.
///
/// # Errors
/// Retrying would not help.
pub async fn connect(
    settings: &NatsSettings,
    connection: &ConnectionStatus,
    name: &str,
    capacity: usize,
) -> Result<Client, ConnectError> {
    let mut logged = Vec::new();
    loop {
        let (number, options) = options(settings, connection, name, capacity).await?;
        match options.connect(settings.servers.clone()).await {
            Ok(client) => {
                connection.make_current(number);
                connection.set(ConnectionState::Connected);
                return Ok(client);
            }
            Err(error) if is_refusal(error.kind()) => return Err(ConnectError::Refused(settings.shown())),
            Err(error) => {
                let why = format!("{} ({})", settings.shown(), with_causes(&error));
                connection.set(ConnectionState::Away(why.clone()));
                // Each error once: the one that stays may come after that of a bus that is not there yet.
                if logged.len() < MAX_LOGGED_ERRORS && !logged.contains(&why) {
                    tracing::warn!(connection = connection.name(), "no connection to the bus at {why}; retrying");
                    logged.push(why);
                }
            }
        }
        tokio::time::sleep(retry_delay()).await;
    }
}

/// The other kind about credentials, `Authentication`, is a file that cannot be read right now.
const fn is_refusal(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::AuthorizationViolation)
}

/// The delay before the next attempt; random, so that many replicas do not reconnect at the same time.
fn retry_delay() -> Duration {
    RETRY_DELAY.mul_f64(rand::rng().random_range(0.2..1.0))
}

async fn options(
    settings: &NatsSettings,
    connection: &ConnectionStatus,
    name: &str,
    capacity: usize,
) -> Result<(u64, ConnectOptions), ConnectError> {
    let (number, events, needed) = (connection.number(), connection.clone(), settings.needed_subjects());
    let options = basic_options(settings, name).await?;
    let options = options
        .ping_interval(PING_INTERVAL)
        // What a connection publishes does not come back to it: log entries and what replicas exchange are for others.
        .no_echo()
        .subscription_capacity(capacity)
        .max_reconnects(None)
        // The library calls this before the very first attempt too, and right after a loss, where no delay is needed.
        .reconnect_delay_callback(|attempt| if attempt <= 1 { Duration::ZERO } else { retry_delay() })
        .event_callback(move |event| {
            events.take(number, &event, &needed);
            std::future::ready(())
        });
    Ok((number, options))
}

/// The credentials and timeouts of a connection.
async fn basic_options(settings: &NatsSettings, name: &str) -> Result<ConnectOptions, ConnectError> {
    let credentials = Credentials::of(settings);
    // Read once before: the library does not say why it cannot have them.
    credentials.read(&[]).await?;
    let mut options = credentials.into_options().name(name).connection_timeout(REQUEST_TIMEOUT);
    if let Some(path) = &settings.authority {
        options = options.add_root_certificates(path.clone());
    }
    Ok(options)
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
