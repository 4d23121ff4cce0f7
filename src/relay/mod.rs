//! The relay: an HTTP hop that sends one call elsewhere when a target fails, until one answers or the call's limits are met.
//!
//! It walks the order that the core gives and does what `attempt` says; nothing is decided here. Answers are passed on as
//! they come. What is bounded: connections, calls under way, the size of a request, the bytes of all requests together, and
//! every wait. It refuses to reach any address but those of its settings: of a request only the rest of its path, its query,
//! headers and body go on.

mod answer;
mod asked;
mod call;
mod client;
mod exchange;
mod headers;
mod patient;
mod server;
mod session;
mod stream;
mod target;
mod underway;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use client::ClientError;
pub use server::serve;
pub use target::{Base, BaseFault};

use crate::attempt::{Budget, Limits, Spending};
use crate::handle::Handle;
use client::Client;
use session::Sessions;

/// Where the gateway listens unless told otherwise.
pub const GATEWAY_PORT: u16 = 5380;
/// The bodies of all requests together are kept in pieces of so many bytes.
const PIECE: usize = 1 << 10;

/// What holds for the whole process.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where it listens: `BROKER_RELAY`. Off by default.
    pub listen: Option<SocketAddr>,
    /// The gateway that has the routers: `BROKER_GATEWAY`.
    pub gateway: Base,
    /// Certificate authorities besides the system's: `BROKER_RELAY_CA`.
    pub authorities: Option<PathBuf>,
    /// What one call may cost.
    pub limits: Limits,
    /// What all calls may spend on attempts beyond the first.
    pub spending: Spending,
    /// What the process may hold.
    pub room: Room,
}

/// What the process may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The largest body of a request, in bytes. Default 20 MB: a dozen pictures.
    pub body: usize,
    /// The bodies of all requests together, in bytes. Default 512 MB.
    pub bodies: usize,
    /// Calls under way; what comes beyond is told to come later. Default 2,048.
    pub calls: usize,
    /// Open connections of clients; more wait to be accepted. Default 4,096.
    pub connections: usize,
    /// From a request's head to its end, and between two parts of an answer that a client reads. Default 60 s.
    pub patience: Duration,
    /// How long calls under way may still take when the process ends. Default 25 s, within Kubernetes' 30.
    pub grace: Duration,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            body: 20 << 20,
            bodies: 512 << 20,
            calls: 2_048,
            connections: 4_096,
            patience: Duration::from_secs(60),
            grace: Duration::from_secs(25),
        }
    }
}

/// The relay of this process.
pub struct Relay {
    handle: Handle,
    client: Client,
    gateway: Base,
    limits: Limits,
    room: Room,
    budget: Mutex<Budget>,
    sessions: Sessions,
    calls: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

impl Relay {
    /// A relay that serves nobody yet. `replica` signs its sessions.
    ///
    /// # Errors
    /// A certificate authority cannot be read.
    pub fn new(settings: &Settings, handle: Handle, replica: &str) -> Result<Self, ClientError> {
        let Settings { gateway, authorities, limits, spending, room, .. } = settings;
        Ok(Self {
            handle,
            client: client::build(authorities.as_deref(), limits.connect)?,
            gateway: gateway.clone(),
            limits: *limits,
            room: *room,
            budget: Mutex::new(Budget::new(*spending)),
            sessions: Sessions::new(replica),
            calls: Arc::new(Semaphore::new(room.calls)),
            bodies: Arc::new(Semaphore::new(room.bodies / PIECE)),
        })
    }
}
