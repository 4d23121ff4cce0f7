//! Calls over HTTP, over a number of kept connections, as fast as they are answered or at a fixed rate.
//!
//! It writes and reads bytes and understands no more of HTTP than the end of an answer, so that little of what is measured is
//! its own. At a fixed rate, latency has to be measured from when a call was due, which not every load generator does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::stats::{Latencies, now};
use crate::upstream::LENGTH;

/// What is called, and over how many connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) addr: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) connections: usize,
    /// So many a second, all connections together; as fast as it goes without.
    pub(crate) rate: Option<f64>,
    pub(crate) span: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Called {
    pub(crate) latencies: Latencies,
    pub(crate) took: Duration,
}

/// Calls for this time.
pub(crate) async fn press(load: Load<'_>) -> Result<Called> {
    let began = now();
    let mut tasks = JoinSet::new();
    for number in 0..load.connections {
        let pause = load.rate.map(|rate| Duration::from_secs_f64(load.connections as f64 / rate));
        let first = pause.map_or(Duration::ZERO, |pause| pause.mul_f64(number as f64 / load.connections as f64));
        let open = Open::to(load.addr, load.path).await?;
        tasks.spawn(open.press(began + first, pause, began + load.span));
    }
    let mut called = Called::default();
    while let Some(ended) = tasks.join_next().await {
        ended??.into_iter().for_each(|latency| called.latencies.push(latency));
    }
    called.took = began.elapsed();
    Ok(called)
}

/// A kept connection.
#[derive(Debug)]
pub(crate) struct Open {
    stream: TcpStream,
    request: Vec<u8>,
    seen: Vec<u8>,
}

impl Open {
    pub(crate) async fn to(addr: SocketAddr, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(addr).await.with_context(|| format!("no server at {addr}"))?;
        stream.set_nodelay(true)?;
        let body = format!("{{\"a\":\"{}\"}} ", "x".repeat(LENGTH - 9));
        let head = format!("POST {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
        Ok(Self { stream, request, seen: Vec::with_capacity(256 << 10) })
    }

    async fn press(mut self, mut at: Instant, pause: Option<Duration>, end: Instant) -> Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        while at < end {
            if pause.is_some() {
                tokio::time::sleep_until(at.into()).await;
            }
            // At a fixed rate the clock runs from when it should have been sent: who is late may not hide it.
            let began = if pause.is_some() { at } else { now() };
            self.call().await?;
            latencies.push(began.elapsed());
            at = pause.map_or_else(now, |pause| at + pause);
        }
        Ok(latencies)
    }

    /// One call, to the end of its answer; how long that is.
    pub(crate) async fn call(&mut self) -> Result<usize> {
        self.stream.write_all(&self.request).await?;
        self.seen.clear();
        loop {
            if self.stream.read_buf(&mut self.seen).await? == 0 {
                bail!("closed: {}", String::from_utf8_lossy(&self.seen));
            }
            let Some(head) = memmem::find(&self.seen, b"\r\n\r\n") else { continue };
            let (head, body) = self.seen.split_at(head + 4);
            let whole = match length(head) {
                Some(length) => body.len() >= length,
                None => body.ends_with(b"\r\n0\r\n\r\n"),
            };
            if whole {
                return if head.starts_with(b"HTTP/1.1 200") {
                    Ok(body.len())
                } else {
                    bail!("{}", String::from_utf8_lossy(head))
                };
            }
        }
    }
}

fn length(head: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(head).ok()?.to_ascii_lowercase();
    text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
}
