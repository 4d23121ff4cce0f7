//! HTTP for probes, metrics and people: is the process alive, is it ready, what does it know. It serves no traffic.
//!
//! - `limits`: number, duration and size of connections and requests.
//! - `host`: the host names it answers to, so that no foreign page can use it.
//! - `page`: what people see in a browser.
//! - `api`: documents and metrics. `admin`: what operators may change. `events`: what happens, as it happens.
//!
//! Away from the bus means not ready, never dead: a restart would not bring the bus back, and would lose what was learnt.

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

pub use events::Feed;
pub use limits::serve;

use crate::admin::Token;
use crate::nats::{ConnectionStatus, Peers};
use crate::shared_broker::SharedBroker;
use crate::status::Bus;
use crate::wrong_tokens::WrongTokenLimiter;

/// Where HTTP listens by default: this machine only.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5381);

/// Whether and where we listen: `BROKER_HTTP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settings {
    Off,
    /// At [`DEFAULT_ADDRESS`], if that is free.
    Default,
    /// Here, or the process does not start.
    At(SocketAddr),
}

impl Settings {
    /// Where this process can be asked from its own machine.
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
    /// An address that was asked for cannot be had.
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

/// Opens a port whose connections take no more than they are allowed.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A process that starts again finds its port.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(limits::SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(limits::LISTEN_BACKLOG)
}

/// Whom the API answers.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Names by which it may be asked, besides `localhost` and addresses: `BROKER_HTTP_HOSTS`.
    pub hosts: Vec<String>,
    /// What operators prove themselves by: `BROKER_ADMIN_TOKEN`. None: nothing can be changed.
    pub token: Option<Token>,
}

/// What the routes answer from.
#[derive(Debug, Clone)]
pub struct HttpState {
    pub handle: SharedBroker,
    /// Its connections to the bus.
    pub links: Vec<ConnectionStatus>,
    /// Where the bus is.
    pub bus: Bus,
    /// What happens, as it happens.
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

/// What is answered when all connections are taken: probes, and to everybody else that it is so.
pub fn probes(sources: HttpState) -> Router {
    let full = || async { api::refusal(StatusCode::SERVICE_UNAVAILABLE, "all 64 connections are taken: come again") };
    probing().fallback(full).layer(from_fn(limits::deadline)).with_state(sources)
}

async fn ready(State(sources): State<HttpState>) -> (StatusCode, String) {
    let reasons: Vec<_> = sources.links.iter().filter_map(ConnectionStatus::reason).collect();
    if reasons.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}
