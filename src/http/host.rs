//! The host names under which the API may be called. A foreign page can make a browser call this server under the page's own
//! name, if that resolves to this server's address (DNS rebinding). The browser then sends that name as `Host`, and the call is
//! rejected.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::Response;

use super::api::refusal;

/// Names besides `localhost` and IP addresses.
#[derive(Debug, Clone)]
pub(super) struct Hosts(Arc<[String]>);

impl Hosts {
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    fn take(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            let inner = rest.split_once(']').map(|(address, port)| (address, port.is_empty() || is_port(port)));
            return inner.is_some_and(|(address, fits)| fits && address.parse::<Ipv6Addr>().is_ok());
        }
        let (name, port) = host.find(':').map_or((host, ""), |colon| host.split_at(colon));
        let name = name.to_ascii_lowercase();
        let known = name == "localhost" || name.parse::<IpAddr>().is_ok() || self.0.contains(&name);
        known && (port.is_empty() || is_port(port))
    }
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Rejects calls under any other name.
pub(super) async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(|host| hosts.take(host)) {
        return next.run(request).await;
    }
    let why = "unknown Host: must be localhost, an IP address, or one of BROKER_HTTP_HOSTS";
    refusal(StatusCode::MISDIRECTED_REQUEST, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ours_and_no_others() {
        let hosts = Hosts::new(&["broker.example".to_owned()]);
        for good in [
            "localhost",
            "LOCALHOST:5381",
            "127.0.0.1:5381",
            "10.1.2.3",
            "[::1]",
            "[::1]:5381",
            "broker.example",
            "Broker.Example:80",
        ] {
            assert!(hosts.take(good), "{good}");
        }
        for bad in [
            "",
            ":5381",
            "evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "[::1",
            "[evil]",
            "[::1]x",
            "::1",
            "broker.example.",
        ] {
            assert!(!hosts.take(bad), "{bad}");
        }
    }
}
