//! The gateway as a whole: started from a configuration, stopped by dropping it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::Config;
use crate::ingress;
use crate::serve::{HalfClosed, Server};
use crate::session::Sessions;
use crate::transaction::Shared;
use crate::upstream::Upstream;

/// A running simulated gateway; it stops when dropped.
#[derive(Debug)]
pub struct Gateway {
    server: Server,
    tasks: TaskTracker,
    bus: Arc<Bus>,
    _isalive: AbortOnDropHandle<()>,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file is accepted and then ends the real gateway, or asks for what the simulated gateway cannot do.
    #[error("cannot start with this configuration: {0}")]
    Crash(String),
    /// No bus, or a wrong token.
    #[error("no service bus at {host}: {source}")]
    Bus {
        /// As configured.
        host: String,
        /// What the NATS client says.
        source: async_nats::ConnectError,
    },
    /// The isalive subject could not be subscribed.
    #[error("isalive cannot be answered: {0}")]
    Isalive(#[from] async_nats::SubscribeError),
    /// The port is in use, or may not be used.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Where clients should have been served.
        addr: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Gateway {
    /// Connects to the bus, binds `127.0.0.1:<port>`, and serves.
    ///
    /// # Errors
    ///
    /// No bus, a port in use, or a configuration on which the real gateway crashes.
    pub async fn start(config: Config) -> Result<Gateway, StartError> {
        if let Some(reason) = config.crash() {
            return Err(StartError::Crash(reason.to_owned()));
        }
        let subjects = config.bus.clone();
        let host = subjects.host.clone();
        let bus = Bus::connect(subjects).await.map_err(|source| StartError::Bus { host, source })?;
        let bus = Arc::new(bus);
        let isalive = Arc::clone(&bus).answer_isalive().await?;
        let tasks = TaskTracker::new();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, config.port));
        let server = listen(addr, shared(config, Arc::clone(&bus)), tasks.clone()).await?;
        bus.publish_listening().await;
        Ok(Gateway { server, tasks, bus, _isalive: isalive })
    }

    /// Where clients are served.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Stops serving, waits for the transactions in progress and their logs, and frees the port.
    pub async fn stop(self) {
        self.server.stop().await;
        self.tasks.close();
        self.tasks.wait().await;
        self.bus.sync_with_server().await;
    }
}

fn shared(config: Config, bus: Arc<Bus>) -> Arc<Shared> {
    Arc::new(Shared {
        sessions: Sessions::new(config.gateway_id.clone()),
        config,
        bus,
        upstream: Upstream::new(),
        clock: Clock::start(),
    })
}

async fn listen(addr: SocketAddr, shared: Arc<Shared>, tasks: TaskTracker) -> Result<Server, StartError> {
    let handler = move |request| ingress::handle(Arc::clone(&shared), tasks.clone(), request);
    Server::start(addr, HalfClosed::Answered, handler).await.map_err(|source| StartError::Listen { addr, source })
}
