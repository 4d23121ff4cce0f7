//! The call to the LLM. It always yields an answer: what goes wrong becomes the status that the gateway gives it.
//!
//! No time limit, no proxy, HTTP/1.1 only, redirects followed; compression only if the client did not ask for it itself.

use std::io::Read;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use tower_service::Service;
use url::Url;

use crate::headers::Headers;

const FAILURE: &[u8] = br#"{"error":"failure making request"}"#;
const CUT: &[u8] = br#"{"error":"internal server error"}"#;

/// A chain of redirects ends as a failure when it would need one request more.
const MAX_REQUESTS: usize = 10;

/// What goes out.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
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
    /// Nothing there, or nothing that could be trusted.
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
        Upstream { client: Client::builder(TokioExecutor::new()).http1_title_case_headers(true).build(connector) }
    }

    pub(crate) async fn call(&self, outgoing: Outgoing) -> Inbound {
        self.follow(outgoing).await.unwrap_or_else(|failure| {
            tracing::warn!(?failure, "upstream call failed");
            failure.into()
        })
    }

    async fn follow(&self, mut outgoing: Outgoing) -> Result<Inbound, Failure> {
        let asks = |name| outgoing.headers.0.contains_key(name);
        let asks_for_gzip = !asks("Accept-Encoding") && !asks("Range") && outgoing.method != Method::HEAD;
        for _ in 0..MAX_REQUESTS {
            let response = self.send(&outgoing, asks_for_gzip).await?;
            match redirect(&response, &outgoing) {
                Some(next) => outgoing = next,
                None => return Ok(receive(response, asks_for_gzip).await),
            }
        }
        Err(Failure::Broken)
    }

    async fn send(&self, outgoing: &Outgoing, asks_for_gzip: bool) -> Result<Response<Incoming>, Failure> {
        let uri: Uri = outgoing.url.parse().map_err(|_| Failure::Broken)?;
        if has_impossible_port(&uri) {
            return Err(Failure::Unreachable);
        }
        if uri.scheme_str() != Some("http") {
            return Err(distrust(&uri).await);
        }
        let mut request = Request::new(Full::new(outgoing.body.clone()));
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = uri;
        outgoing.headers.write(request.headers_mut()).map_err(|_| Failure::Broken)?;
        dress(request.headers_mut(), asks_for_gzip);
        self.client.request(request).await.map_err(|error| judge(&error))
    }
}

/// The headers that Go's client sets or refuses to take from its caller.
fn dress(headers: &mut HeaderMap, asks_for_gzip: bool) {
    for name in [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TRAILER] {
        headers.remove(name);
    }
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static("Go-http-client/1.1"));
    if asks_for_gzip {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// Go takes any number for a port and fails at dialling; here such a port would be taken for the default one.
fn has_impossible_port(uri: &Uri) -> bool {
    let port = uri.authority().and_then(|authority| authority.as_str().strip_prefix(authority.host()));
    port.is_some_and(|port| port.len() > 1) && uri.port().is_none()
}

/// An https upstream: an unknown name fails as it would, and what has a name is not trusted, there being no TLS here.
async fn distrust(uri: &Uri) -> Failure {
    let host = uri.host().unwrap_or_default();
    match tokio::net::lookup_host((host.trim_matches(['[', ']']), 443)).await {
        Ok(_) => Failure::Unreachable,
        Err(_) => Failure::UnknownHost,
    }
}

fn judge(error: &Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<Unresolved>() {
            return Failure::UnknownHost;
        }
        cause = error.source();
    }
    if error.is_connect() { Failure::Unreachable } else { Failure::Broken }
}

/// Where a redirect leads; the old body and method stay with 307 and 308 only.
fn redirect(response: &Response<Incoming>, outgoing: &Outgoing) -> Option<Outgoing> {
    let status = response.status();
    if ![301, 302, 303, 307, 308].contains(&status.as_u16()) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let url = Url::parse(&outgoing.url).ok()?.join(location).ok()?;
    let mut next = Outgoing { url: url.into(), ..outgoing.clone() };
    let keeps = status == StatusCode::TEMPORARY_REDIRECT || status == StatusCode::PERMANENT_REDIRECT;
    if !keeps && next.method != Method::GET && next.method != Method::HEAD {
        next.method = Method::GET;
    }
    if !keeps {
        next.body = Bytes::new();
    }
    Some(next)
}

async fn receive(response: Response<Incoming>, asked_for_gzip: bool) -> Inbound {
    let (head, body) = response.into_parts();
    let mut headers = Headers::from_wire(&head.headers);
    let collected = collect(body).await;
    let packed = headers.first("Content-Encoding").is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
    let collected = if asked_for_gzip && packed {
        headers.0.remove("Content-Encoding");
        headers.0.remove("Content-Length");
        collected.and_then(unpack)
    } else {
        collected
    };
    match collected {
        Ok(body) => Inbound { status: head.status.as_u16(), headers, body },
        Err(partial) => Inbound { status: 500, headers: Headers::default(), body: cut(&partial) },
    }
}

fn cut(partial: &[u8]) -> Bytes {
    [partial, CUT].concat().into()
}

fn unpack(packed: Bytes) -> Result<Bytes, Bytes> {
    let mut plain = Vec::new();
    match GzDecoder::new(&packed[..]).read_to_end(&mut plain) {
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

/// The system's resolver, with an error of its own, so that an unknown name can be told from a closed port.
#[derive(Clone, Copy, Debug)]
struct Resolver;

#[derive(Debug, thiserror::Error)]
#[error("unknown host")]
struct Unresolved(#[source] std::io::Error);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Unresolved>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Unresolved)?;
            Ok(found.collect::<Vec<_>>().into_iter())
        })
    }
}
