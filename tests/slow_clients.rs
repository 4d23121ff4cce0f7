//! Readers that stop reading are disconnected, delay nothing, and hold bounded memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::support::pools::pool;
use super::support::{Broker, Bus, DECIDE, GPT4, LOGGER, Log, PoolsFile, REQUEST, Setup, TEST_TIMEOUT, soon};

/// In a debug build, in kB: what a broker takes anyway, and what 64 answers of a megabyte do.
const MEMORY: u64 = 200_000;

/// The position of a call's number in its ids.
const NUMBER: &str = "(number)0";

/// A client that asks and never reads, with as little room of its own as the system allows.
async fn ask(addr: SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// The status of one's own, well-behaved request: of the first line only, since a stream never ends.
async fn status(addr: SocketAddr, path: &str) -> u16 {
    soon(path, status_whenever(addr, path)).await
}

/// The same, however long it takes.
async fn status_whenever(addr: SocketAddr, path: &str) -> u16 {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes()).await.unwrap();
    let mut first = [0; 12];
    match stream.read_exact(&mut first).await {
        Ok(_) => std::str::from_utf8(&first).unwrap()[9..].parse().unwrap(),
        Err(_) => 0,
    }
}

/// Makes as much news as fits an interval of the stream of events, and decisions, each of which is answered.
struct Load {
    entry: String,
    number: u64,
    most: u64,
}

impl Load {
    fn new(router: &str) -> Self {
        let long = json!(format!("{}{NUMBER}", "s".repeat(100 - NUMBER.len())));
        let entry = Log::of(router, 200).with("/session_id", long.clone()).with("/transaction_id", long);
        Self { entry: entry.0.to_string(), number: 0, most: 0 }
    }

    async fn round(&mut self, bus: &Bus, broker: &Broker) {
        for _ in 0..20 {
            bus.client.publish(DECIDE, REQUEST.into()).await.unwrap();
            // Each a call of its own.
            self.number += 1;
            let entry = self.entry.replace(NUMBER, &format!("{:09}", self.number));
            bus.client.publish(LOGGER, entry.into()).await.unwrap();
        }
        assert!(soon("a decision", bus.decide()).await["gl_path"].is_string());
        self.most = self.most.max(broker.resident().unwrap_or(0));
    }

    fn end(self) {
        println!("{} log entries, {} kB", self.number, self.most);
        assert!(self.most < MEMORY, "{} kB", self.most);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_not_read_are_cut_and_decisions_go_on() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let addr = broker.http().await;
    let mut stuck = Vec::new();
    for _ in 0..16 {
        stuck.push(ask(addr, "/api/v1/events").await);
    }
    let begin = Instant::now();
    while status(addr, "/api/v1/events").await == 200 {
        assert!(begin.elapsed() < TEST_TIMEOUT, "sixteen are open");
    }
    let mut load = Load::new(GPT4);
    // Their places are free again while they still hold their ends of the connections.
    let mut looked = Instant::now();
    loop {
        load.round(&bus, &broker).await;
        if looked.elapsed() > Duration::from_millis(500) {
            looked = Instant::now();
            assert_eq!(status(addr, "/livez").await, 200);
            if status(addr, "/api/v1/events").await == 200 {
                break;
            }
        }
        assert!(begin.elapsed() < 2 * TEST_TIMEOUT, "no reader is cut");
    }
    println!("a place was free after {:?}", begin.elapsed());
    drop(stuck);
    load.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_are_not_read_delay_no_probe_and_no_decision_and_are_cut() {
    let bus = Bus::start().await;
    // So many that the metrics are more than a connection takes without a reader; and what happened last is, too.
    let targets: Vec<_> = (0..300).map(|number| format!(r#"{{"router": "/azure/{number}/"}}"#)).collect();
    let file = PoolsFile::of(&pool("{}", &targets.join(",")));
    let broker = Setup::on(&bus).set("BROKER_CONFIG", file.path()).ready().await;
    let addr = broker.http().await;
    let mut load = Load::new("/azure/0/");
    for _ in 0..60 {
        load.round(&bus, &broker).await;
    }
    let mut stuck = Vec::new();
    let begin = Instant::now();
    for number in 0..64 {
        stuck.push(ask(addr, ["/api/v1/decisions", "/metrics"][number % 2]).await);
    }
    // This one also waits until all those documents are written, which takes a debug build its time; on a busy machine longer than
    // the first of them may wait for its reader.
    let answered =
        timeout(4 * TEST_TIMEOUT, status_whenever(addr, "/api/v1/status")).await.expect("the documents are written");
    let written = Instant::now();
    assert!(answered == 503 || begin.elapsed() > Duration::from_secs(8), "everything else gets 503: {answered}");
    assert_eq!(status(addr, "/livez").await, 200, "a probe has a connection of its own");
    assert_eq!(status(addr, "/readyz").await, 200);
    // Nor can the connections that are kept for probes be held for long.
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nX-").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(status(addr, "/livez").await, 200);
    while status(addr, "/api/v1/status").await != 200 {
        load.round(&bus, &broker).await;
        assert_eq!(status(addr, "/livez").await, 200);
        assert!(written.elapsed() < TEST_TIMEOUT, "no reader is cut");
    }
    assert!(begin.elapsed() > Duration::from_secs(8), "none of them was done: {:?}", begin.elapsed());
    println!("a place was free after {:?}", begin.elapsed());
    drop(stuck);
    load.end();
}

#[tokio::test]
async fn a_body_that_never_comes_gets_408_and_changes_nothing() {
    const ADMIN: &str = "the-operators-own-token";
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_ADMIN_TOKEN", ADMIN).secret(ADMIN).ready().await;
    let addr = broker.http().await;
    let head = format!(
        "POST /api/v1/mode HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {ADMIN}\r\nContent-Length: 20\r\n\r\n{{"
    );
    let begin = Instant::now();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("took too long"), "{answer}");
    assert!(begin.elapsed() > Duration::from_secs(9), "{:?}", begin.elapsed());
    assert_eq!(broker.count(&["command of an operator"]), 0);
}
