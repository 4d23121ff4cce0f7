//! HTTP for probes, metrics and operators. It carries no LLM calls.
//!
//! - `limits`: number, duration and size of connections and requests.
//! - `host`: the host names under which it may be called, so that no foreign page can use it.
//! - `page`: the page for browsers.
//! - `api`: documents and metrics. `admin`: commands of operators. `events`: streams of events.
//!
//! Without the bus the process is not ready, but alive: a restart would not bring the bus back, and would lose what was learnt. A
//! process that stops is not ready either: its relay does not listen any more.

mod admin;
mod api;
mod events;
mod host;
mod limits;
mod page;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

pub use events::Feed;
pub use limits::serve;

use crate::admin::Token;
use crate::nats::{ConnectionStatus, Peers};
use crate::shared_broker::SharedBroker;
use crate::status::Bus;
use crate::wrong_tokens::WrongTokenLimiter;

/// Default address: only reachable from this machine.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5381);

/// Whether and where HTTP listens: `BROKER_HTTP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpSettings {
    Off,
    /// At [`DEFAULT_ADDRESS`]; off if that is in use.
    Default,
    /// At this address; the process does not start if it is in use.
    At(SocketAddr),
}

impl HttpSettings {
    /// The address for requests from the same machine.
    pub fn probe_address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::Default => Some(DEFAULT_ADDRESS),
            Self::At(address) if address.ip().is_unspecified() => Some(match address {
                SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
                SocketAddr::V6(_) => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port()),
            }),
            Self::At(address) => Some(address),
        }
    }

    /// Opens the port. `None` where HTTP is off, or the default port is in use.
    ///
    /// # Errors
    /// The address of the settings cannot be used.
    pub fn listen(self) -> io::Result<Option<TcpListener>> {
        match self {
            Self::Off => Ok(None),
            Self::At(address) => match bind(address) {
                Ok(listener) => Ok(Some(listener)),
                Err(error) => Err(io::Error::new(error.kind(), format!("{address}: {error}"))),
            },
            Self::Default => match bind(DEFAULT_ADDRESS) {
                Ok(listener) => Ok(Some(listener)),
                Err(error) => {
                    tracing::warn!(address = %DEFAULT_ADDRESS, %error, "no HTTP: set BROKER_HTTP to another address, or to off");
                    Ok(None)
                }
            },
        }
    }
}

/// Opens a port whose connections have a bounded send buffer.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a process that restarts can use its port at once.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(limits::SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(limits::LISTEN_BACKLOG)
}

/// Who may call the API.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Host names besides `localhost` and IP addresses: `BROKER_HTTP_HOSTS`.
    pub hosts: Vec<String>,
    /// The operators' token, `BROKER_ADMIN_TOKEN`. `None`: nothing can be changed.
    pub token: Option<Token>,
}

/// The state that the routes share.
#[derive(Debug, Clone)]
pub struct HttpState {
    pub broker: SharedBroker,
    pub links: Vec<ConnectionStatus>,
    /// True from the signal to stop on: nothing new is taken.
    pub stopping: watch::Receiver<bool>,
    /// Where the bus is.
    pub bus: Bus,
    pub feed: Feed,
    pub peers: Peers,
    pub wrong_tokens: WrongTokenLimiter,
}

/// The routes: probes and metrics for every client, the API only by an accepted host name.
pub fn routes(sources: HttpState, access: &Access) -> Router {
    let api = Router::new()
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/decisions", get(api::decisions))
        .route("/api/v1/calls", get(api::calls))
        .route("/api/v1/config", get(api::config))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/routers/{router}/{action}", post(admin::router))
        .route("/api/v1/pools/{pool}/weight", post(admin::weight))
        .route("/api/v1/mode", post(admin::mode))
        .merge(page::routes())
        .layer(from_fn_with_state(host::Hosts::new(&access.hosts), host::check));
    probing()
        .route("/metrics", get(api::metrics))
        .merge(api)
        .fallback(|| async { api::refusal(StatusCode::NOT_FOUND, "no such path") })
        .method_not_allowed_fallback(|| async {
            api::refusal(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method")
        })
        .layer(from_fn(limits::deadline))
        .with_state(sources)
}

fn probing() -> Router<HttpState> {
    Router::new().route("/livez", get(|| async { "alive\n" })).route("/readyz", get(ready))
}

/// The routes of the spare connections: probes, and 503 for everything else.
pub fn probes(sources: HttpState) -> Router {
    let full = || async { api::refusal(StatusCode::SERVICE_UNAVAILABLE, "all 64 connections are in use: retry later") };
    probing().fallback(full).layer(from_fn(limits::deadline)).with_state(sources)
}

async fn ready(State(sources): State<HttpState>) -> (StatusCode, String) {
    if *sources.stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let reasons: Vec<_> = sources.links.iter().filter_map(|link| link.show().trouble).collect();
    if reasons.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}
