//! The forward proxy of the environment, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`: connections to targets are tunnels through
//! it (CONNECT). The gateway, addresses of this machine and link-local ones are always connected to directly.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
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
    direct: Vec<DirectHosts>,
    no_proxy: String,
    /// The host of the gateway.
    gateway: String,
}

/// An entry of `NO_PROXY`: what is connected to directly.
#[derive(Debug)]
struct DirectHosts {
    hosts: HostMatcher,
    /// Only there.
    port: Option<u16>,
}

#[derive(Debug)]
enum HostMatcher {
    All,
    /// A host or domain with its subdomains, an address, or a network.
    Named(Box<Matcher>),
    /// Behind a `*`: `.example.com`, the subdomains alone.
    Subdomains(String),
}

/// Why a proxy cannot be used; reads after the name of its variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// Another scheme, or no URL.
    #[error(
        "must be a URL such as http://proxy.example:3128, which may carry user:password@; only http:// proxies can be used"
    )]
    Address,
    /// The parser takes the first `@` for the end of the password, and what is behind it for the host.
    #[error("has more than one @: write an @ of the user or password as %40")]
    BareAt,
}

impl Proxy {
    /// These proxies for targets with `https` and `http` addresses; empty: none. `no_proxy` lists hosts, domains with their
    /// subdomains (`*.` in front: these alone), addresses and networks that are connected to directly, separated by commas or white
    /// space, each with a port behind a colon or at all ports; `*` is all.
    pub fn new(https: &str, http: &str, no_proxy: &str, gateway: &Base) -> Self {
        if https.is_empty() && http.is_empty() {
            return Self::default();
        }
        let matcher = Matcher::builder().https(https).http(http).build();
        let direct = entries(no_proxy).map(DirectHosts::parse).collect();
        let (no_proxy, gateway) = (no_proxy.to_owned(), gateway.host().to_owned());
        Self(Some(Arc::new(ProxyRules { matcher, direct, no_proxy, gateway })))
    }

    /// Checks the address of a proxy.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn check(address: &str) -> Result<(), ProxyFault> {
        let matcher = Matcher::builder().all(address).build();
        let found = matcher.intercept(&Uri::from_static("https://target.example/")).ok_or(ProxyFault::Address)?;
        if found.uri().authority().is_some_and(|to| to.as_str().contains('@')) {
            return Err(ProxyFault::BareAt);
        }
        let port_is_valid = found.uri().authority().is_some_and(|to| to.as_str() == to.host() || to.port().is_some());
        if found.uri().scheme() == Some(&Scheme::HTTP) && port_is_valid { Ok(()) } else { Err(ProxyFault::Address) }
    }

    /// The entries of `NO_PROXY` that are no host, domain, address or network, and so match nothing.
    pub fn idle_entries(&self) -> impl Iterator<Item = &str> {
        let no_proxy = self.0.as_ref().map_or("", |rules| rules.no_proxy.as_str());
        entries(no_proxy).filter(|entry| !names_hosts(entry))
    }

    /// The proxy for a connection to this address; none: it is made directly.
    fn intercept(&self, target: &Uri) -> Option<Intercept> {
        let rules = self.0.as_ref()?;
        let host = target.host()?;
        let port = target.port_u16().unwrap_or_else(|| default_port(target));
        let direct = is_beside_us(host)
            || host.eq_ignore_ascii_case(&rules.gateway)
            || rules.direct.iter().any(|direct| direct.has(host, port));
        if direct { None } else { rules.matcher.intercept(target) }
    }

    /// One line that says which proxies are used, without users and passwords.
    pub fn log(&self) {
        let Some(rules) = &self.0 else { return };
        let shown = |target| match rules.matcher.intercept(&Uri::from_static(target)) {
            Some(proxy) => {
                let user = if proxy.basic_auth().is_some() { "***@" } else { "" };
                let port = proxy.uri().port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("http://{user}{}{port}", proxy.uri().host().unwrap_or_default())
            }
            None => "none".to_owned(),
        };
        tracing::info!(
            https = shown("https://target.invalid/"),
            http = shown("http://target.invalid/"),
            no_proxy = rules.no_proxy,
            "targets with addresses and the collector of traces are called through a proxy"
        );
    }
}

impl DirectHosts {
    /// As curl (`CURLOPT_NOPROXY`) and Go (`golang.org/x/net/http/httpproxy`) read it. Where they differ: a domain with a dot in front
    /// is the domain itself too, as for curl; one with `*.` in front is not, as for Go.
    fn parse(entry: &str) -> Self {
        let (host, port) = with_own_port(entry).map_or((entry, None), |(host, port)| (host, Some(port)));
        let host = without_brackets(host).trim_end_matches('.');
        let hosts = match host.strip_prefix('*').filter(|domain| domain.starts_with('.')) {
            Some(domain) => HostMatcher::Subdomains(domain.to_ascii_lowercase()),
            None if host == "*" => HostMatcher::All,
            None => HostMatcher::Named(Box::new(Matcher::builder().all("http://any.invalid").no(host).build())),
        };
        Self { hosts, port }
    }

    fn has(&self, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.');
        let has_host = || match &self.hosts {
            HostMatcher::All => true,
            HostMatcher::Named(matcher) => {
                let target = Uri::builder().scheme("http").authority(host).path_and_query("/").build();
                target.is_ok_and(|target| matcher.intercept(&target).is_none())
            }
            HostMatcher::Subdomains(domain) => {
                let end = host.len().checked_sub(domain.len()).filter(|at| *at > 0).and_then(|at| host.get(at..));
                end.is_some_and(|end| end.eq_ignore_ascii_case(domain))
            }
        };
        self.port.is_none_or(|direct| direct == port) && has_host()
    }
}

/// The entries of a `NO_PROXY`.
fn entries(no_proxy: &str) -> impl Iterator<Item = &str> {
    no_proxy.split(|letter: char| letter == ',' || letter.is_whitespace()).filter(|entry| !entry.is_empty())
}

/// Whether an entry of `NO_PROXY` can match a host.
fn names_hosts(entry: &str) -> bool {
    let host = without_brackets(with_own_port(entry).map_or(entry, |(host, _)| host));
    if let Some((address, bits)) = host.split_once('/') {
        let most = address.parse::<IpAddr>().map(|address| if address.is_ipv4() { 32 } else { 128 });
        return most.is_ok_and(|most| bits.parse::<u8>().is_ok_and(|bits| bits <= most));
    }
    let domain = host.strip_prefix("*.").unwrap_or(host);
    let is_domain = domain.chars().all(|letter| letter.is_alphanumeric() || "-_.".contains(letter));
    host == "*" || host.parse::<IpAddr>().is_ok() || is_domain && !domain.is_empty()
}

/// The host and the port of an entry of `NO_PROXY` that has one; an IPv6 address then stands in brackets.
fn with_own_port(entry: &str) -> Option<(&str, u16)> {
    let (host, port) = entry.rsplit_once(':')?;
    let is_bare_address = host.contains(':') && !host.starts_with('[');
    Some((host, port.parse().ok()?)).filter(|_| !is_bare_address)
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn default_port(target: &Uri) -> u16 {
    if target.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 }
}

/// Where AWS's agent listens in clusters with IPv6: the counterpart of its link-local 169.254.170.23.
const AWS_AGENT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);

/// Whether a host of a URL is this machine itself, or a link-local address, which no proxy could reach for us: the agents and
/// metadata services that give out keys listen there, and what is sent to them is secret itself.
fn is_beside_us(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let address = without_brackets(host).parse::<IpAddr>().map(|address| address.to_canonical());
    address.map_or_else(
        |_| host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
        |address| {
            let is_link_local = match address {
                IpAddr::V4(address) => address.is_link_local(),
                IpAddr::V6(address) => address.is_unicast_link_local() || address == AWS_AGENT,
            };
            is_link_local || address.is_loopback() || address.is_unspecified()
        },
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
            ("http://169.254.170.23/v1/credentials", None),
            ("http://169.254.169.254/", None),
            ("http://[::ffff:169.254.170.2]/", None),
            ("http://[fe80::1]/", None),
            ("http://[febf::1]:8080/", None),
            ("http://[fd00:ec2::23]/v1/credentials", None),
            ("http://169.253.0.1/", Some("plain:8080")),
            ("http://[fec0::1]/", Some("plain:8080")),
            ("http://[fd00:ec2::24]/", Some("plain:8080")),
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
    fn s2_no_proxy_is_read_as_by_other_programs() {
        let gateway = "http://gecholog:5380".parse().unwrap();
        for (no, target, is_direct) in [
            ("example.com", "https://example.com/", true),
            ("example.com", "https://a.b.example.com/", true),
            ("example.com", "https://EXAMPLE.com./", true),
            ("example.com.", "https://a.example.com/", true),
            ("example.com", "https://badexample.com/", false),
            ("example.com", "https://example.com.evil.test/", false),
            (".example.com", "https://a.example.com/", true),
            (".example.com", "https://example.com/", true),
            (".example.com", "https://badexample.com/", false),
            ("*.example.com", "https://a.example.com/", true),
            ("*.EXAMPLE.com", "https://a.b.example.com./", true),
            ("*.example.com", "https://example.com/", false),
            ("*.example.com", "https://badexample.com/", false),
            ("*.example.com:8443", "https://a.example.com:8443/", true),
            ("*.example.com:8443", "https://a.example.com/", false),
            ("a.test,*.example.com", "https://a.example.com/", true),
            ("a.test example.com\tb.test", "https://example.com/", true),
            (" , example.com ,", "https://example.com/", true),
            (",", "https://example.com/", false),
            ("*", "https://example.com/", true),
            ("a.test,*", "https://[2001:db8::1]/", true),
            ("10.0.0.0/8", "https://10.200.0.1/", true),
            ("10.0.0.0/8", "https://11.0.0.1/", false),
            ("10.0.0.0/8:8443", "https://10.0.0.1:8443/", true),
            ("10.0.0.0/8:8443", "https://10.0.0.1/", false),
            ("2001:db8::/32", "https://[2001:db8::7]/", true),
            ("2001:db8::/32", "https://[2001:db9::7]/", false),
            ("[2001:db8::1]", "https://[2001:db8::1]/", true),
            ("2001:db8::1", "https://[2001:db8::1]:9000/", true),
            ("192.168.1.7", "https://192.168.1.70/", false),
            ("1.7", "https://192.168.1.7/", false),
        ] {
            let proxy = Proxy::new("http://secure:3128", "", no, &gateway);
            assert_eq!(proxy_of(&proxy, target).is_none(), is_direct, "{no} {target}");
        }
    }

    #[test]
    fn entries_of_no_proxy_that_match_nothing_are_found() {
        let gateway = "http://gecholog:5380".parse().unwrap();
        let good = "localhost,127.0.0.1,.corp.example *.corp.example,*,*:8443,a_b.example:80,10.0.0.0/8,10.0.0.0/32,0.0.0.0/0,\
                    2001:db8::1,[2001:db8::1]:9000,2001:db8::/32,[::1],2001:db8::/128,bücher.example,svc.cluster.local.";
        let idle = |no_proxy: &str| {
            let proxy = Proxy::new("http://secure:3128", "", no_proxy, &gateway);
            proxy.idle_entries().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(idle(good), [""; 0]);
        let bad = [
            "10.0.0.0/33",
            "10.1.*",
            "<local>",
            "10.0.0/8",
            "2001:db8::/129",
            "https://a.example",
            "a.*.example",
            "/8",
            "10.0.0.0/",
        ];
        assert_eq!(idle(&bad.join(",")), bad);
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
            assert_eq!(Proxy::check(bad), Err(ProxyFault::Address), "{bad}");
        }
        for bad in ["http://user:p@ss@proxy:3128", "user@example.com:pass@proxy:3128", "http://u:p@@proxy"] {
            assert_eq!(Proxy::check(bad), Err(ProxyFault::BareAt), "{bad}");
        }
        assert!(ProxyFault::BareAt.to_string().contains("%40"));
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
