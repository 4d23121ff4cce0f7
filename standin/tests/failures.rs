//! Upstreams and clients that fail, beyond what was captured.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::support::harness::{Harness, LOGGER, by_name};
use crate::support::http::{self, Call, Exchange, Upstream};
use crate::support::nats::NatsServer;
use crate::support::within_limit;

async fn harness(upstream: Upstream, change: impl Fn(&mut Value)) -> Harness {
    Harness::start(upstream, &|config: &mut Value| {
        config["request"]["processors"] = json!([]);
        config["response"]["processors"] = json!([]);
        change(config);
    })
    .await
}

fn unchanged(_: &mut Value) {}

async fn healthy() -> Upstream {
    Upstream::start(|_: &Exchange| http::json(200, "{}")).await
}

fn redirecting(status: u16) -> impl Fn(&Exchange) -> Vec<u8> {
    move |request: &Exchange| match request.target() {
        "/there?q=1" => http::json(200, r#"{"arrived": true}"#),
        _ => http::answer(status, &[("Location", "/there?q=1")], b""),
    }
}

#[tokio::test]
async fn an_https_upstream_fails_as_one_that_is_not_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let harness = harness(healthy().await, |config| {
        config["routers"][1]["outbound"]["url"] = json!(format!("https://127.0.0.1:{port}"));
        config["routers"][4]["outbound"]["url"] = json!("https://no-such-host.invalid");
    })
    .await;
    let answer = harness.send(&Call::post("/azure/")).await.unwrap();
    assert_eq!((answer.status(), answer.text()), (502, r#"{"error":"failure making request"}"#));
    assert_eq!(harness.send(&Call::post("/azure/dud/")).await.unwrap().status(), 503);
}

#[tokio::test]
async fn redirects_are_followed_and_some_turn_post_into_get() {
    for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let harness = harness(Upstream::start(redirecting(status)).await, unchanged).await;
        let answer = harness.send(&Call::post("/azure/")).await.unwrap();
        assert_eq!(answer.text(), r#"{"arrived": true}"#, "{status}");
        let seen = harness.upstream.seen();
        assert_eq!((seen.len(), seen[1].method()), (2, method), "{status}");
        assert_eq!(seen[1].body.is_empty(), method == "GET");
    }
}

#[tokio::test]
async fn more_than_ten_redirects_are_a_failure() {
    let hops = AtomicUsize::new(0);
    let endless = move |_: &Exchange| {
        let hop = hops.fetch_add(1, Ordering::Relaxed);
        http::answer(302, &[("Location", &format!("/hop{hop}"))], b"")
    };
    let harness = harness(Upstream::start(endless).await, unchanged).await;
    assert_eq!(harness.send(&Call::post("/azure/")).await.unwrap().status(), 500);
    assert_eq!(harness.upstream.seen().len(), 10);
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_a_failure() {
    let broken = |config: &mut Value| {
        config["routers"][1]["outbound"]["headers"] = json!({"X-Bad": ["line\nbreak"]});
    };
    let harness = harness(healthy().await, broken).await;
    assert_eq!(harness.send(&Call::post("/azure/")).await.unwrap().status(), 500);
    assert!(harness.upstream.seen().is_empty());
    assert_eq!(harness.log(0).await["response"]["inbound_headers"], json!({}));
}

#[tokio::test]
async fn connections_to_the_upstream_are_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let upstream = healthy().await;
    let (forward, opened) = (upstream.addr, std::sync::Arc::new(AtomicUsize::new(0)));
    let count = std::sync::Arc::clone(&opened);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let mut server = TcpStream::connect(forward).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    let counted = |config: &mut Value| config["routers"][1]["outbound"]["url"] = json!(format!("http://{addr}/"));
    let harness = harness(upstream, counted).await;
    for nth in 0..3 {
        assert_eq!(harness.send(&Call::post("/azure/")).await.unwrap().status(), 200);
        harness.log(nth).await;
    }
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_client_that_breaks_off_while_sending_leaves_an_almost_empty_log() {
    let harness = harness(healthy().await, unchanged).await;
    let mut stream = TcpStream::connect(harness.addr()).await.unwrap();
    let bytes = Call::post("/azure/").bytes();
    stream.write_all(&bytes[..bytes.len() - 5]).await.unwrap();
    drop(stream);
    let log = harness.log(0).await;
    assert!(log["request"].get("gl_path").is_none());
    assert!(log["response"].get("egress_status_code").is_none());
    assert!(harness.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_later_changes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let slow = |config: &mut Value| config["routers"][1]["outbound"]["url"] = json!(url);
    let harness = harness(healthy().await, slow).await;
    let mut client = TcpStream::connect(harness.addr()).await.unwrap();
    client.write_all(&Call::post("/azure/").bytes()).await.unwrap();
    let (mut upstream, _) = within_limit("the upstream call", listener.accept()).await.unwrap();
    drop(client);
    // The gateway learns that the client has gone before the upstream answers.
    upstream.readable().await.unwrap();
    upstream.write_all(&http::json(200, "{}")).await.unwrap();
    let log = harness.log(0).await;
    assert_eq!(log["response"]["egress_status_code"], 200);
}

#[tokio::test]
async fn a_lost_bus_costs_each_sync_processor_its_timeout_and_http_goes_on() {
    let mut harness = Harness::start(healthy().await, &|config: &mut Value| {
        config["request"]["processors"][0][0]["timeout"] = json!(60);
        config["response"]["processors"] = json!([]);
    })
    .await;
    let port = harness.nats.port;
    let back = NatsServer::start().await;
    std::mem::replace(&mut harness.nats, back).stop().await;
    let begin = tokio::time::Instant::now();
    assert_eq!(harness.send(&Call::post("/azure/")).await.unwrap().status(), 200);
    assert!(begin.elapsed().as_millis() >= 60);
    // The bus comes back at its old place: the log that waited is delivered.
    let back = NatsServer::start_with(&format!("port: {port}")).await;
    let bus = back.connect().await;
    harness.bus = bus;
    harness.record(LOGGER).await;
    assert_eq!(harness.send(&Call::post("/azure/")).await.unwrap().status(), 200);
    let log = harness.log(0).await;
    assert!(by_name(&log["request"]["error"]).contains_key("broker"));
}

#[tokio::test]
async fn an_upstream_that_closes_a_kept_connection_is_a_failure_and_not_called_again() {
    let calls = AtomicUsize::new(0);
    let script = move |_: &Exchange| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => http::json(200, "{}"),
        _ => Vec::new(),
    };
    let harness = harness(Upstream::start(script).await, unchanged).await;
    assert_eq!(harness.send(&Call::post("/azure/")).await.unwrap().status(), 200);
    harness.log(0).await;
    assert_eq!(harness.send(&Call::post("/azure/")).await.unwrap().status(), 500);
    assert_eq!(harness.upstream.seen().len(), 2);
}

#[tokio::test]
async fn an_unknown_host_is_503_over_plain_http_too() {
    let broken = |config: &mut Value| config["routers"][1]["outbound"]["url"] = json!("http://no-such-host.invalid/");
    let harness = harness(healthy().await, broken).await;
    assert_eq!(harness.send(&Call::post("/azure/")).await.unwrap().status(), 503);
}

#[tokio::test]
async fn a_port_that_cannot_be_is_unreachable() {
    let broken = |config: &mut Value| config["routers"][1]["outbound"]["url"] = json!("http://127.0.0.1:99999");
    let harness = harness(healthy().await, broken).await;
    assert_eq!(harness.send(&Call::post("/azure/")).await.unwrap().status(), 502);
}

#[tokio::test]
async fn the_servers_own_max_payload_decides_what_is_too_big() {
    let nats = NatsServer::start_with("port: -1, max_payload: 8192").await;
    let mut harness = Harness::start_on(nats, healthy().await, &|config: &mut Value| {
        config["request"]["processors"][0][0]["input_fields_include"] = json!(["ingress_payload"]);
        config["response"]["processors"] = json!([]);
        config["logger"] = json!({"request": {"fields_exclude": ["ingress_payload", "outbound_payload"]}});
    })
    .await;
    harness.answer("coburn.gl.broker", |_| String::new()).await;
    let large = format!(r#""{}""#, "x".repeat(9_000));
    assert_eq!(harness.send(&Call::post("/azure/").body(large)).await.unwrap().status(), 200);
    let log = harness.log(0).await;
    assert_eq!(by_name(&log["request"]["error"])["broker"], "nats: maximum payload exceeded");
    harness.stop_and_drain().await;
    assert!(harness.received_on("coburn.gl.broker").is_empty());
}
