//! HTTP for probes, metrics and people: is the process alive, is it ready, what does it know. It serves no traffic.
//!
//! - `limits`: how many connections, how long, how large. Nobody is waited for.
//! - `host`: by which names it may be asked, so that no page of somebody else's can.
//! - `page`: what people see in a browser.
//! - `api`: documents and metrics. `orders`: what operators may change. `events`: what happens, as it happens.
//!
//! Away from the bus means not ready, never dead: a restart would not bring the bus back, and would lose what was learnt.

mod api;
mod events;
mod host;
mod limits;
mod orders;
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

use crate::control::Token;
use crate::guesses::Guesses;
use crate::handle::Handle;
use crate::nats::{Link, Peers};
use crate::stats::Bus;

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
    pub fn listen(self) -> io::Result<Option<TcpListener>> {
        match self {
            Self::Off => Ok(None),
            Self::At(address) => match bind(address) {
                Ok(listener) => Ok(Some(listener)),
                Err(error) => Err(io::Error::new(error.kind(), format!("{address}: {error}"))),
            },
            Self::Default => match bind(DEFAULT) {
                Ok(listener) => Ok(Some(listener)),
                Err(error) => {
                    tracing::warn!(address = %DEFAULT, %error, "no HTTP: set BROKER_HTTP to another address, or to off");
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
    socket.set_send_buffer_size(limits::WAITING)?;
    socket.bind(address)?;
    socket.listen(limits::BACKLOG)
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
pub struct Sources {
    /// The broker.
    pub handle: Handle,
    /// Its connections to the bus.
    pub links: Vec<Link>,
    /// Where the bus is.
    pub bus: Bus,
    /// What happens, as it happens.
    pub feed: Feed,
    /// All replicas.
    pub peers: Peers,
    /// Wrong tokens.
    pub guesses: Guesses,
}

/// The routes: probes and metrics for whoever can reach the port, the API for whoever asks by a name of ours.
pub fn routes(sources: Sources, access: &Access) -> Router {
    let api = Router::new()
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/decisions", get(api::decisions))
        .route("/api/v1/config", get(api::config))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/routers/{router}/{verb}", post(orders::router))
        .route("/api/v1/pools/{pool}/weight", post(orders::weight))
        .route("/api/v1/mode", post(orders::mode))
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

fn probing() -> Router<Sources> {
    Router::new().route("/livez", get(|| async { "alive\n" })).route("/readyz", get(ready))
}

/// What is answered when all connections are taken: probes, and to everybody else that it is so.
pub fn probes(sources: Sources) -> Router {
    let full = || async { api::refusal(StatusCode::SERVICE_UNAVAILABLE, "all 64 connections are taken: come again") };
    probing().fallback(full).layer(from_fn(limits::deadline)).with_state(sources)
}

async fn ready(State(sources): State<Sources>) -> (StatusCode, String) {
    let reasons: Vec<_> = sources.links.iter().filter_map(Link::reason).collect();
    if reasons.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}
