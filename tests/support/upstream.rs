//! An upstream that keeps what it was sent, byte for byte, and answers everything with 200.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Calls = Arc<Mutex<Vec<(String, String)>>>;

pub(crate) struct Upstream {
    addr: SocketAddr,
    calls: Calls,
    accepting: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let calls = Calls::default();
        let kept = Arc::clone(&calls);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        Self { addr, calls, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Path and body of the last call.
    pub(crate) fn last(&self) -> (String, String) {
        self.calls.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One call; a client that hangs up in the middle of it made none.
async fn serve(mut stream: TcpStream, calls: Calls) -> Option<()> {
    let mut bytes = Vec::new();
    let body = loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break head + 4;
        }
        more(&mut stream, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..body]).into_owned();
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    while bytes.len() < body + length.unwrap_or(0) {
        more(&mut stream, &mut bytes).await?;
    }
    let path = head.split(' ').nth(1)?.to_owned();
    calls.lock().unwrap().push((path, String::from_utf8_lossy(&bytes[body..]).into_owned()));
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    stream.write_all(answer).await.ok()
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    stream.read_buf(bytes).await.ok().filter(|read| *read > 0).map(drop)
}
