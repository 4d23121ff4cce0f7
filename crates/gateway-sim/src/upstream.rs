//! The call to the LLM. It always yields an answer: a failure becomes the status that the gateway gives it.
//!
//! No time limit, no proxy, HTTP/1.1 only, redirects followed; compression only if the client did not ask for it itself.

use std::io::Read;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tower_service::Service;
use url::Url;

use crate::headers::Headers;
use crate::long_uri::{LongUriWriter, MAX_LIBRARY_URI};
use crate::serve::MAX_HEADER_LINES;

const FAILURE: &[u8] = br#"{"error":"failure making request"}"#;
const CUT: &[u8] = br#"{"error":"internal server error"}"#;

/// The head of an answer, in bytes.
const MAX_HEAD: usize = 10 << 20;

/// Headers that do not follow a redirect to another host.
const CREDENTIALS: [&str; 6] =
    ["Authorization", "Cookie", "Cookie2", "Proxy-Authenticate", "Proxy-Authorization", "Www-Authenticate"];

/// A chain of redirects ends as a failure when it would need one request more.
const MAX_REQUESTS: usize = 10;

/// What goes out.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamRequest {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

/// What came back, or what the gateway answers in its place.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

/// Why there is no answer, by the status that the gateway makes of it.
#[derive(Clone, Copy, Debug)]
enum Failure {
    UnknownHost,
    /// The connection was refused, or the certificate is not trusted.
    Unreachable,
    /// The connection broke, or the request was one that cannot be sent.
    Broken,
}

impl From<Failure> for Inbound {
    fn from(failure: Failure) -> Inbound {
        let status = match failure {
            Failure::UnknownHost => 503,
            Failure::Unreachable => 502,
            Failure::Broken => 500,
        };
        Inbound { status, headers: Headers::default(), body: Bytes::from_static(FAILURE) }
    }
}

#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client<HttpConnector<Resolver>, Full<Bytes>>,
}

impl Upstream {
    pub(crate) fn new() -> Upstream {
        let mut connector = HttpConnector::new_with_resolver(Resolver);
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .http1_title_case_headers(true)
            .http1_max_headers(MAX_HEADER_LINES)
            .http1_max_buf_size(MAX_HEAD)
            .build(connector);
        Upstream { client }
    }

    pub(crate) async fn call(&self, outgoing: UpstreamRequest) -> Inbound {
        self.follow(outgoing).await.unwrap_or_else(|failure| {
            tracing::warn!(?failure, "upstream call failed");
            failure.into()
        })
    }

    async fn follow(&self, first: UpstreamRequest) -> Result<Inbound, Failure> {
        let mut outgoing = first.clone();
        for _ in 0..MAX_REQUESTS {
            let asks_for_gzip = asks_for_gzip(&outgoing);
            let response = self.send(&outgoing, asks_for_gzip).await?;
            match redirect(&response, &outgoing, &first)? {
                Some(next) => outgoing = next,
                None => return Ok(receive(response, asks_for_gzip).await),
            }
        }
        Err(Failure::Broken)
    }

    async fn send(&self, outgoing: &UpstreamRequest, asks_for_gzip: bool) -> Result<Response<Incoming>, Failure> {
        let (origin, target) = split_url(&outgoing.url);
        let is_long = target.len() > MAX_LIBRARY_URI;
        let uri: Uri = if is_long { origin } else { &outgoing.url }.parse().map_err(|_| Failure::Broken)?;
        if has_impossible_port(&uri) {
            return Err(Failure::Unreachable);
        }
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(https_failure(&uri).await),
            _ => return Err(Failure::Broken),
        }
        let mut request = Request::new(Full::new(outgoing.body.clone()));
        *request.method_mut() = outgoing.method.clone();
        outgoing.headers.write(request.headers_mut()).map_err(|_| Failure::Broken)?;
        complete_headers(request.headers_mut(), &uri, asks_for_gzip)?;
        if is_long {
            return send_long(&uri, target, request).await;
        }
        *request.uri_mut() = uri;
        self.client.request(request).await.map_err(|error| classify_error(&error))
    }
}

/// As far as the slash behind the host, and from there on.
fn split_url(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    url.split_at(url[host..].find(['/', '?']).map_or(url.len(), |at| host + at))
}

/// A request whose URI the library does not take: over a connection of its own.
async fn send_long(uri: &Uri, target: &str, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let addresses = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(80))).await;
    let addresses: Vec<SocketAddr> = addresses.map_err(|_| Failure::UnknownHost)?.collect();
    let mut stream = TcpStream::connect(&addresses[..]).await.map_err(|_| Failure::Unreachable)?;
    let slash = if target.starts_with('/') { "" } else { "/" };
    let line = format!("{} {slash}{target} HTTP/1.1\r\n", request.method());
    stream.write_all(line.as_bytes()).await.map_err(|_| Failure::Broken)?;
    *request.uri_mut() = Uri::from_static("/");
    let stream = LongUriWriter::new(stream, &format!("{} / HTTP/1.1\r\n", request.method()));
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_headers(MAX_HEADER_LINES)
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Failure::Broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    sender.send_request(request).await.map_err(|_| Failure::Broken)
}

/// Go's client asks for gzip itself, and unpacks it, where its caller does not mention an encoding.
fn asks_for_gzip(outgoing: &UpstreamRequest) -> bool {
    let mentions = |name| outgoing.headers.first(name).is_some_and(|value| !value.is_empty());
    !mentions("Accept-Encoding") && !mentions("Range") && outgoing.method != Method::HEAD
}

/// The headers that Go's client sets or does not take from its caller.
fn complete_headers(headers: &mut HeaderMap, uri: &Uri, asks_for_gzip: bool) -> Result<(), Failure> {
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TRAILER] {
        headers.remove(name);
    }
    let host = uri.authority().map_or("", |authority| authority.as_str());
    headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|_| Failure::Broken)?);
    match headers.get(header::USER_AGENT).cloned() {
        None => drop(headers.insert(header::USER_AGENT, HeaderValue::from_static("Go-http-client/1.1"))),
        Some(first) if first.is_empty() => drop(headers.remove(header::USER_AGENT)),
        Some(first) => drop(headers.insert(header::USER_AGENT, first)),
    }
    if asks_for_gzip {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(())
}

/// Go takes any number for a port and fails at dialling; here such a port would be taken for the default one.
fn has_impossible_port(uri: &Uri) -> bool {
    let port = uri.authority().and_then(|authority| authority.as_str().strip_prefix(authority.host()));
    port.is_some_and(|port| port.len() > 1) && uri.port().is_none()
}

/// An https upstream: an unknown name fails as it would, and what has a name is not trusted, there being no TLS here.
async fn https_failure(uri: &Uri) -> Failure {
    let host = uri.host().unwrap_or_default();
    match tokio::net::lookup_host((host.trim_matches(['[', ']']), 443)).await {
        Ok(_) => Failure::Unreachable,
        Err(_) => Failure::UnknownHost,
    }
}

fn classify_error(error: &Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<UnknownHost>() {
            return Failure::UnknownHost;
        }
        cause = error.source();
    }
    if error.is_connect() { Failure::Unreachable } else { Failure::Broken }
}

/// Where a redirect leads, if this is one. The method stays with 307 and 308 only, which send the body of the `first`
/// request again.
fn redirect(
    response: &Response<Incoming>,
    last: &UpstreamRequest,
    first: &UpstreamRequest,
) -> Result<Option<UpstreamRequest>, Failure> {
    let status = response.status();
    let location = response.headers().get(header::LOCATION).filter(|location| !location.is_empty());
    let Some(location) = location.filter(|_| [301, 302, 303, 307, 308].contains(&status.as_u16())) else {
        return Ok(None);
    };
    let from = Url::parse(&last.url).map_err(|_| Failure::Broken)?;
    let to = from.join(&String::from_utf8_lossy(location.as_bytes())).map_err(|_| Failure::Broken)?;
    let mut headers = last.headers.clone();
    if !is_domain_or_subdomain(to.host_str().unwrap_or_default(), from.host_str().unwrap_or_default()) {
        headers.0.retain(|name, _| !CREDENTIALS.contains(&name.as_str()));
    }
    if first.headers.first("Referer").is_none_or(str::is_empty) {
        headers.0.insert("Referer".to_owned(), vec![last.url.clone()]);
    }
    let keeps = status == StatusCode::TEMPORARY_REDIRECT || status == StatusCode::PERMANENT_REDIRECT;
    let method = if keeps || last.method == Method::HEAD { last.method.clone() } else { Method::GET };
    let body = if keeps { first.body.clone() } else { Bytes::new() };
    Ok(Some(UpstreamRequest { method, url: to.into(), headers, body }))
}

fn is_domain_or_subdomain(host: &str, domain: &str) -> bool {
    let is_sub = |rest: &str| rest.ends_with('.') && !host.contains([':', '%']);
    host == domain || host.strip_suffix(domain).is_some_and(is_sub)
}

async fn receive(response: Response<Incoming>, asked_for_gzip: bool) -> Inbound {
    let (head, body) = response.into_parts();
    let mut headers = Headers::from_wire(&head.headers);
    if head.version == Version::HTTP_11 && closes(&headers) {
        headers.0.remove("Connection");
    }
    // No status without a body, and no length of zero.
    let has_body = body.size_hint().exact() != Some(0);
    let packed = headers.first("Content-Encoding").is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
    let collected = collect(body).await;
    let collected = if asked_for_gzip && packed && has_body {
        headers.0.remove("Content-Encoding");
        headers.0.remove("Content-Length");
        collected.and_then(gunzip)
    } else {
        collected
    };
    match collected {
        Ok(body) => Inbound { status: head.status.as_u16(), headers, body },
        Err(partial) => Inbound { status: 500, headers: Headers::default(), body: cut(&partial) },
    }
}

fn closes(headers: &Headers) -> bool {
    let mut tokens = headers.0.get("Connection").into_iter().flatten().flat_map(|line| line.split(','));
    tokens.any(|token| token.trim().eq_ignore_ascii_case("close"))
}

fn cut(partial: &[u8]) -> Bytes {
    [partial, CUT].concat().into()
}

/// Go takes "zero or more" members for gzip.
fn gunzip(packed: Bytes) -> Result<Bytes, Bytes> {
    if packed.is_empty() {
        return Ok(packed);
    }
    let mut plain = Vec::new();
    match MultiGzDecoder::new(&packed[..]).read_to_end(&mut plain) {
        Ok(_) => Ok(plain.into()),
        Err(_) => Err(plain.into()),
    }
}

/// The whole body, not copied if it came in one piece; the error is what had come when it broke off.
pub(crate) async fn collect(mut body: Incoming) -> Result<Bytes, Bytes> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut whole = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let gathered = |pieces: BytesMut, whole: Bytes| {
            if pieces.is_empty() { whole } else { pieces.freeze() }
        };
        let Ok(frame) = frame else {
            return Err(gathered(pieces, whole));
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.is_empty() && pieces.is_empty() {
            whole = data;
            continue;
        }
        if pieces.is_empty() {
            pieces.reserve(expected.min(64 << 20));
            pieces.extend_from_slice(&whole);
        }
        pieces.extend_from_slice(&data);
    }
    Ok(if pieces.is_empty() { whole } else { pieces.freeze() })
}

/// The system's resolver, with an error type of its own, so that an unknown name is not taken for a closed port.
#[derive(Clone, Copy, Debug)]
struct Resolver;

#[derive(Debug, thiserror::Error)]
#[error("unknown host")]
struct UnknownHost(#[source] std::io::Error);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = UnknownHost;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, UnknownHost>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UnknownHost>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(UnknownHost)?;
            Ok(found.collect::<Vec<_>>().into_iter())
        })
    }
}
