//! A client that sends bytes as they are and reads one answer; binary bodies included.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::TEST_TIMEOUT;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Its first line and its headers, in small letters.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header, in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(prefix.as_str()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request over a connection of its own.
pub(crate) async fn send(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        exchange(&mut stream, &[head.as_bytes(), body].concat()).await
    };
    tokio::time::timeout(TEST_TIMEOUT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Sends these bytes and reads one answer, until the connection is closed.
pub(crate) async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<Answer> {
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    read(&answer).ok_or_else(|| io::Error::other("no answer, or half of one"))
}

fn read(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = answer[end + 4..].to_vec();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let status = head.split(' ').nth(1)?.parse().ok()?;
    length.is_none_or(|length: usize| length == body.len()).then_some(Answer { status, head, body })
}

/// A request that was sent and whose answer is read as it comes.
pub(crate) struct Open {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Open {
    pub(crate) async fn post(addr: SocketAddr, target: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!("POST {target} HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {length}\r\n\r\n{body}");
        Self::raw(addr, text.as_bytes()).await
    }

    /// Sends these bytes.
    pub(crate) async fn raw(addr: SocketAddr, bytes: &[u8]) -> Self {
        let mut open = Self { stream: TcpStream::connect(addr).await.unwrap(), seen: Vec::new() };
        open.again(bytes).await;
        open
    }

    /// Sends further bytes.
    pub(crate) async fn again(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Whether further bytes can be sent.
    pub(crate) async fn tries(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Reads what comes next.
    pub(crate) async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.seen).await.unwrap();
        assert!(read > 0, "the answer ends:\n{}", self.text());
    }

    /// Reads this many bytes, and no more.
    pub(crate) async fn some(&mut self, bytes: usize) {
        let mut part = vec![0; bytes];
        super::soon("a part of the answer", self.stream.read_exact(&mut part)).await.unwrap();
        self.seen.extend_from_slice(&part);
    }

    /// Waits until this text has come.
    pub(crate) async fn until(&mut self, text: &str) {
        super::soon(text, async {
            while !self.text().contains(text) {
                self.more().await;
            }
        })
        .await;
    }

    /// Waits until the other side closes the connection; all that came.
    pub(crate) async fn closed(mut self) -> String {
        super::soon("the end of the connection", async {
            // A connection that is reset has ended too.
            while self.stream.read_buf(&mut self.seen).await.is_ok_and(|read| read > 0) {}
        })
        .await;
        self.text()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}
