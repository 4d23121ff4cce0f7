//! HTTP for probes: is the process alive, is it ready. It serves no traffic and knows nothing of routers.
//!
//! Away from the bus means not ready, never dead: a restart would not bring the bus back, and would lose what was learnt.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::nats::Link;

/// Where HTTP listens unless told otherwise: this machine only.
pub const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5381);

/// Whether and where we listen: `BROKER_HTTP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    /// Not at all.
    Off,
    /// At [`DEFAULT`], if nobody else does.
    Default,
    /// Here, or the process does not start.
    At(SocketAddr),
}

impl Settings {
    /// Where this process can be asked from its own machine.
    pub fn ask(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::Default => Some(DEFAULT),
            Self::At(address) if address.ip().is_unspecified() => Some(match address {
                SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
                SocketAddr::V6(_) => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port()),
            }),
            Self::At(address) => Some(address),
        }
    }

    /// Opens the port. `None` where HTTP is off, or the default port belongs to somebody else.
    ///
    /// # Errors
    /// An address that was asked for cannot be had.
    pub async fn listen(self) -> io::Result<Option<TcpListener>> {
        match self {
            Self::Off => Ok(None),
            Self::At(address) => match TcpListener::bind(address).await {
                Ok(listener) => Ok(Some(listener)),
                Err(error) => Err(io::Error::new(error.kind(), format!("{address}: {error}"))),
            },
            Self::Default => match TcpListener::bind(DEFAULT).await {
                Ok(listener) => Ok(Some(listener)),
                Err(error) => {
                    tracing::warn!(address = %DEFAULT, %error, "no HTTP: set BROKER_HTTP to another address, or to off");
                    Ok(None)
                }
            },
        }
    }
}

/// The routes: `/livez` (the process runs) and `/readyz` (both connections are of use; else 503 with the reasons).
pub fn routes(links: Vec<Link>) -> Router {
    Router::new().route("/livez", get(|| async { "alive\n" })).route("/readyz", get(ready)).with_state(links)
}

async fn ready(State(links): State<Vec<Link>>) -> (StatusCode, String) {
    let reasons: Vec<_> = links.iter().filter_map(Link::reason).collect();
    if reasons.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}

/// Serves until `stop` is over.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, routes).with_graceful_shutdown(stop).await
}
