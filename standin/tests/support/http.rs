//! HTTP as bytes over TCP: a client and an upstream whose tests see spelling and framing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request or an answer as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The first line.
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Exchange {
    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn method(&self) -> &str {
        self.start.split(' ').next().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap()
    }

    /// All values, by exact spelling of the name.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(one, _)| one == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Reads one message; `None` if the connection was closed instead.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Exchange> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let start = lines.remove(0);
    let headers: Vec<(String, String)> = lines
        .iter()
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "Content-Length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Exchange { start, headers, body })
}

/// What a client sends. By default the call of the captured scenarios.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

pub(crate) const HI: &str = r#"{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 15}"#;

impl Call {
    pub(crate) fn post(target: &str) -> Call {
        let headers = [("Api-Key", "secret-client-key"), ("Content-Type", "application/json")];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Call { method: "POST".into(), target: target.into(), headers: headers.map(own).into(), body: Some(HI.into()) }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Call {
        self.headers.retain(|(one, _)| one != name);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Call {
        self.body = Some(body.into());
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: gateway\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        [head.as_bytes(), b"\r\n", self.body.as_deref().unwrap_or_default()].concat()
    }

    /// `None`: the connection was closed without an answer.
    pub(crate) async fn send(&self, addr: SocketAddr) -> Option<Exchange> {
        Connection::open(addr).await.exchange(&self.bytes()).await
    }
}

/// A client's connection, for what one call on a fresh one does not show.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Connection {
        Connection(BufReader::new(TcpStream::connect(addr).await.unwrap()))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
        self.0.get_mut().flush().await.unwrap();
    }

    /// Sends and waits for the answer; `None` if the connection was closed instead.
    pub(crate) async fn exchange(&mut self, bytes: &[u8]) -> Option<Exchange> {
        self.send(bytes).await;
        super::within_limit("an answer", read(&mut self.0)).await
    }

    /// As `exchange`, where the other side may close the connection before it has read everything.
    pub(crate) async fn exchange_unless_closed(&mut self, bytes: &[u8]) -> Option<Exchange> {
        self.0.get_mut().write_all(bytes).await.ok();
        super::within_limit("an answer", read(&mut self.0)).await
    }

    /// Sends, closes the sending side, and waits for the answer.
    pub(crate) async fn exchange_half_closed(&mut self, bytes: &[u8]) -> Option<Exchange> {
        self.send(bytes).await;
        self.0.get_mut().shutdown().await.unwrap();
        super::within_limit("an answer", read(&mut self.0)).await
    }
}

type Script = dyn Fn(&Exchange) -> Vec<u8> + Send + Sync;

/// An upstream that writes the bytes its script gives it, and remembers what it was asked. An empty or incomplete answer
/// ends the connection.
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<Exchange>>>,
    serving: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start(script: impl Fn(&Exchange) -> Vec<u8> + Send + Sync + 'static) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, script): (Arc<Mutex<Vec<Exchange>>>, Arc<Script>) = (Arc::default(), Arc::new(script));
        let log = Arc::clone(&seen);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve_connection(stream, Arc::clone(&log), Arc::clone(&script)));
            }
        });
        Upstream { addr, seen, serving }
    }

    pub(crate) fn seen(&self) -> Vec<Exchange> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve_connection(stream: TcpStream, log: Arc<Mutex<Vec<Exchange>>>, script: Arc<Script>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        log.lock().unwrap().push(request.clone());
        let answer = script(&request);
        if stream.get_mut().write_all(&answer).await.is_err() || !is_complete(&answer) {
            return;
        }
    }
}

fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.is_none_or(|length| answer.len() - head.len() - 4 == length.parse::<usize>().unwrap())
}

/// An answer like those of the captured upstream.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Status\r\nServer: BaseHTTP/0.6 Python/3.11.7\r\n");
    head += "Date: Sun, 22 Nov 2026 05:21:37 GMT\r\n";
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if status != 204 {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub(crate) fn json(status: u16, body: &str) -> Vec<u8> {
    answer(status, &[("Content-Type", "application/json")], body.as_bytes())
}
