//! The forward proxy of the environment, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`: connections to targets are tunnels through
//! it (CONNECT). The gateway and addresses of this machine are always connected to directly.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::http::uri::Scheme;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::target::Base;

/// Which proxy a connection goes through. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Proxy(Option<Arc<ProxyRules>>);

#[derive(Debug)]
struct ProxyRules {
    matcher: Matcher,
    /// Hosts that are connected to directly at this port only.
    direct_ports: Vec<(u16, Matcher)>,
    no_proxy: String,
    /// The host of the gateway.
    gateway: String,
}

/// Why a proxy cannot be used; reads after the name of its variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a URL such as http://proxy.example:3128, which may carry user:password@; only http:// proxies can be used"
)]
pub struct ProxyFault;

impl Proxy {
    /// These proxies for targets with `https` and `http` addresses; empty: none. `no_proxy` lists hosts, domains with their
    /// subdomains, addresses and networks that are connected to directly, separated by commas, each with a port behind a colon or
    /// at all ports; `*` is all.
    pub fn new(https: &str, http: &str, no_proxy: &str, gateway: &Base) -> Self {
        if https.is_empty() && http.is_empty() {
            return Self::default();
        }
        let entries = || no_proxy.split(',').map(str::trim);
        let all_ports: Vec<_> = entries().filter(|entry| with_own_port(entry).is_none()).collect();
        let matcher = Matcher::builder().https(https).http(http).no(all_ports.join(",")).build();
        let at = |host: &str| Matcher::builder().all("http://any.invalid").no(host).build();
        let direct_ports = entries().filter_map(with_own_port).map(|(host, port)| (port, at(host))).collect();
        let (no_proxy, gateway) = (no_proxy.to_owned(), gateway.host().to_owned());
        Self(Some(Arc::new(ProxyRules { matcher, direct_ports, no_proxy, gateway })))
    }

    /// Checks the address of a proxy.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn check(address: &str) -> Result<(), ProxyFault> {
        let matcher = Matcher::builder().all(address).build();
        let found = matcher.intercept(&Uri::from_static("https://target.example/")).ok_or(ProxyFault)?;
        let port_is_valid = found.uri().authority().is_some_and(|to| to.as_str() == to.host() || to.port().is_some());
        if found.uri().scheme() == Some(&Scheme::HTTP) && port_is_valid { Ok(()) } else { Err(ProxyFault) }
    }

    /// The proxy for a connection to this address; none: it is made directly.
    fn intercept(&self, target: &Uri) -> Option<Intercept> {
        let rules = self.0.as_ref()?;
        let host = target.host()?;
        let port = target.port_u16().unwrap_or_else(|| default_port(target));
        let mut at_port = rules.direct_ports.iter().filter(|(direct, _)| *direct == port);
        let direct = is_this_machine(host)
            || host.eq_ignore_ascii_case(&rules.gateway)
            || at_port.any(|(_, matcher)| matcher.intercept(target).is_none());
        if direct { None } else { rules.matcher.intercept(target) }
    }

    /// One line that says which proxies are used, without users and passwords.
    pub fn log(&self) {
        let Some(rules) = &self.0 else { return };
        let shown = |target| match rules.matcher.intercept(&Uri::from_static(target)) {
            Some(proxy) => match (proxy.uri().authority(), proxy.basic_auth()) {
                (Some(to), Some(_)) => format!("http://***@{to}"),
                (Some(to), None) => format!("http://{to}"),
                (None, _) => String::new(),
            },
            None => "none".to_owned(),
        };
        tracing::info!(
            https = shown("https://target.invalid/"),
            http = shown("http://target.invalid/"),
            no_proxy = rules.no_proxy,
            "targets with addresses are called through a proxy"
        );
    }
}

/// The host and the port of an entry of `NO_PROXY` that has one; an IPv6 address then stands in brackets.
fn with_own_port(entry: &str) -> Option<(&str, u16)> {
    let (host, port) = entry.rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.or_else(|| Some(host).filter(|host| !host.contains(':')))?;
    Some((host, port.parse().ok()?))
}

fn default_port(target: &Uri) -> u16 {
    if target.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 }
}

/// Whether a host of a URL is this machine itself.
fn is_this_machine(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let address = bare.parse::<IpAddr>().map(|address| address.to_canonical());
    address.map_or_else(
        |_| host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
        |address| address.is_loopback() || address.is_unspecified(),
    )
}

/// Connects directly or through the proxy.
#[derive(Clone)]
pub(super) struct ProxyConnector<C> {
    pub(super) tcp: C,
    pub(super) proxy: Proxy,
}

impl<C> fmt::Debug for ProxyConnector<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyConnector").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

impl<C> Service<Uri> for ProxyConnector<C>
where
    C: Service<Uri, Response = TokioIo<TcpStream>> + Clone,
    C::Error: Into<Box<dyn Error + Send + Sync>>,
    C::Future: Send + 'static,
{
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Some(proxy) = self.proxy.intercept(&target) else {
            let connecting = self.tcp.call(target);
            return Box::pin(async move { connecting.await.map_err(Into::into) });
        };
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp.clone());
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let connecting = tunnel.call(with_port(target));
        Box::pin(async move { connecting.await.map_err(Into::into) })
    }
}

/// The same address with its port written out: a tunnel would take 443 for every scheme.
fn with_port(target: Uri) -> Uri {
    let (None, Some(host)) = (target.port(), target.host()) else { return target };
    let port = default_port(&target);
    let authority = format!("{host}:{port}").parse().ok();
    let mut parts = target.clone().into_parts();
    parts.authority = authority;
    Uri::from_parts(parts).unwrap_or(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_of(proxy: &Proxy, target: &str) -> Option<String> {
        proxy.intercept(&target.parse().unwrap()).map(|proxy| proxy.uri().authority().unwrap().to_string())
    }

    #[test]
    fn which_connections_go_through_which_proxy() {
        let gateway = "http://gecholog:5380".parse().unwrap();
        let no = "internal.example, 10.0.0.0/8,192.168.1.7";
        let proxy = Proxy::new("http://u:p@secure:3128", "plain:8080", no, &gateway);
        for (target, expected) in [
            ("https://api.openai.com/", Some("secure:3128")),
            ("http://vllm.example/", Some("plain:8080")),
            ("https://11.0.0.1/", Some("secure:3128")),
            ("https://notinternal.example/", Some("secure:3128")),
            ("https://other.gecholog/", Some("secure:3128")),
            ("https://internal.example/", None),
            ("https://a.internal.example:8443/", None),
            ("https://10.1.2.3/", None),
            ("http://192.168.1.7:8000/", None),
            ("http://gecholog:5380/", None),
            ("http://GECHOLOG/", None),
            ("https://localhost:8443/", None),
            ("https://a.localhost/", None),
            ("http://LOCALHOST./", None),
            ("http://127.0.0.1/", None),
            ("http://127.9.9.9/", None),
            ("http://0.0.0.0/", None),
            ("http://[::1]:80/", None),
            ("http://[::ffff:127.0.0.1]/", None),
        ] {
            assert_eq!(proxy_of(&proxy, target).as_deref(), expected, "{target}");
        }
        let https_only = Proxy::new("http://secure:3128", "", "", &gateway);
        assert_eq!(proxy_of(&https_only, "http://vllm.example/"), None);
        assert_eq!(proxy_of(&Proxy::new("http://secure:3128", "", "*", &gateway), "https://h/"), None);
        assert_eq!(proxy_of(&Proxy::default(), "https://h/"), None);
        assert!(!format!("{proxy:?}").contains("u:p"), "{proxy:?}");
    }

    #[test]
    fn s2_no_proxy_may_name_a_port() {
        let gateway = "http://gecholog:5380".parse().unwrap();
        let no =
            "internal.example:8443, 10.0.0.7:80,[2001:db8::1]:9000,2001:db8::2, .corp.example:443,all.example,odd:port";
        let proxy = Proxy::new("http://secure:3128", "http://plain:8080", no, &gateway);
        for (target, is_direct) in [
            ("https://internal.example:8443/", true),
            ("https://a.internal.example:8443/", true),
            ("https://internal.example/", false),
            ("https://notinternal.example:8443/", false),
            ("http://10.0.0.7/", true),
            ("https://10.0.0.7/", false),
            ("http://10.0.0.8/", false),
            ("https://[2001:db8::1]:9000/", true),
            ("https://[2001:db8::1]/", false),
            ("https://[2001:db8::2]:77/", true),
            ("https://a.corp.example/", true),
            ("http://a.corp.example/", false),
            ("https://all.example:1234/", true),
        ] {
            assert_eq!(proxy_of(&proxy, target).is_none(), is_direct, "{target}");
        }
        let all = Proxy::new("http://secure:3128", "", "*:8443", &gateway);
        let found = ["https://h:8443/", "https://h/"].map(|target| proxy_of(&all, target).is_none());
        assert_eq!(found, [true, false]);
    }

    #[test]
    fn addresses_of_proxies() {
        for good in
            ["http://proxy:3128", "proxy:3128", "http://u:p%40w@proxy:3128/", "http://[::1]:3128", "http://proxy"]
        {
            assert_eq!(Proxy::check(good), Ok(()), "{good}");
        }
        for bad in ["socks5://proxy:1080", "https://proxy:3128", "ftp://proxy", "http://", "a b", "http://proxy:99999"]
        {
            assert_eq!(Proxy::check(bad), Err(ProxyFault), "{bad}");
        }
    }

    #[test]
    fn ports_of_tunnels() {
        for (target, expected) in [
            ("http://h/", "h:80"),
            ("https://h/", "h:443"),
            ("https://h:8443/", "h:8443"),
            ("https://[2001:db8::1]/", "[2001:db8::1]:443"),
        ] {
            assert_eq!(with_port(target.parse().unwrap()).authority().unwrap().as_str(), expected);
        }
    }
}
