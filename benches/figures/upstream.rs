//! The upstream that the relay is measured before: answers at once, with 1 KB, with a stream of many events, with a failure,
//! or after a second. It runs beside this program, so that its work is not counted as anybody else's.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// How many events a stream has.
pub(crate) const EVENTS: usize = 2_000;
/// The last event of a stream.
const DONE: &[u8] = b"data: [DONE]\n\n";
/// How long an answer is.
pub(crate) const LENGTH: usize = 1_024;

/// Number of parts of its answer.
struct ResponseBody {
    part: Bytes,
    left: usize,
    /// A stream rests between two events, so that each is a part of its own.
    rests: bool,
    rested: bool,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.rests && !std::mem::replace(&mut self.rested, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        (self.left, self.rested) = (self.left - 1, false);
        // A stream that does not say that it is whole counts as broken.
        let part = if self.rests && self.left == 0 { Bytes::from_static(DONE) } else { self.part.clone() };
        Poll::Ready(Some(Ok(Frame::data(part))))
    }
}

/// Serves until it is killed; prints its address first.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port")?;
        announce(&listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    })
}

#[expect(clippy::print_stdout, reason = "the parent reads its address")]
fn announce(listener: &TcpListener) -> Result<()> {
    println!("upstream listens address={}", listener.local_addr()?);
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    while let Some(Ok(_)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {}
    let (status, kind, part, left) = match path.as_str() {
        "/stream" => (200, "text/event-stream", event(), EVENTS),
        // A collector of traces.
        "/v1/traces" => (200, "application/x-protobuf", Bytes::new(), 1),
        "/fail" => (503, "application/json", Bytes::from_static(b"{}"), 1),
        _ => (200, "application/json", json(), 1),
    };
    if path == "/later" {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let length = part.len();
    let rests = left > 1;
    let mut response = Response::new(ResponseBody { part, left, rests, rested: false });
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert("content-type", hyper::header::HeaderValue::from_static(kind));
    if !rests {
        headers.insert("content-length", length.into());
    }
    Ok(response)
}

fn json() -> Bytes {
    let text = "x".repeat(LENGTH - 9);
    Bytes::from(format!("{{\"a\":\"{text}\"}} "))
}

fn event() -> Bytes {
    Bytes::from_static(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"}}]}\n\n")
}
