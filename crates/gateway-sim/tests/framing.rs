//! HTTP as the gateway's server and client speak it: connections, sizes, encodings, redirects.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::harness::Harness;
use crate::support::http::{self, Call, Connection, Exchange, Upstream};

async fn harness(upstream: Upstream) -> Harness {
    Harness::start(upstream, &|config: &mut Value| {
        config["request"]["processors"] = json!([]);
        config["response"]["processors"] = json!([]);
        config["routers"][1]["outbound"]["endpoint"] = json!("");
    })
    .await
}

/// A harness whose upstream always answers these bytes.
async fn answering(answer: Vec<u8>) -> Harness {
    harness(Upstream::start(move |_: &Exchange| answer.clone()).await).await
}

fn azure() -> Call {
    Call::post("/azure/")
}

fn packed(text: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn s4_a_closing_upstream_does_not_close_the_clients_connection() {
    for value in ["close", "Close", "keep-alive, close"] {
        let harness = answering(http::answer(200, &[("Connection", value)], b"{}")).await;
        let mut client = Connection::open(harness.addr()).await;
        for nth in 0..2 {
            let answer = client.exchange(&azure().bytes()).await.expect("the connection stays");
            assert!(answer.header("Connection").is_empty(), "{value}");
            assert!(harness.log(nth).await["response"]["inbound_headers"].get("Connection").is_none());
        }
    }
}

#[tokio::test]
async fn other_connection_headers_of_the_upstream_pass() {
    let harness = answering(http::answer(200, &[("Connection", "keep-alive")], b"{}")).await;
    let answer = harness.send(&azure()).await.unwrap();
    assert_eq!(answer.header("Connection"), ["keep-alive"]);
    assert_eq!(harness.log(0).await["response"]["inbound_headers"]["Connection"], json!(["keep-alive"]));
}

#[tokio::test]
async fn the_framing_of_a_chunked_answer_is_no_header() {
    let answer =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n";
    let harness = answering(answer.to_vec()).await;
    let answer = harness.send(&azure()).await.unwrap();
    assert_eq!((answer.text(), answer.header("Content-Length")), ("{}", vec!["2"]));
    assert_eq!(harness.log(0).await["response"]["inbound_headers"], json!({}));
}

#[tokio::test]
async fn s4_more_than_a_hundred_headers_pass_both_ways() {
    for count in [101, 3_000] {
        let names: Vec<String> = (0..count).map(|number| format!("X-Number-{number}")).collect();
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let harness = answering(http::answer(200, &headers, b"{}")).await;
        let call = names.iter().fold(azure(), |call, name| call.with(name, "1"));
        let answer = harness.send(&call).await.unwrap();
        assert_eq!(answer.status(), 200, "{count}");
        let numbered =
            |exchange: &Exchange| exchange.headers.iter().filter(|(name, _)| name.starts_with("X-Number-")).count();
        assert_eq!((numbered(&harness.upstream.seen()[0]), numbered(&answer)), (count, count));
    }
}

#[tokio::test]
async fn s4_long_uris_are_taken_and_sent_on() {
    let harness = harness(Upstream::start(|_: &Exchange| http::json(200, "{}")).await).await;
    let mut client = Connection::open(harness.addr()).await;
    for (nth, length) in [10, 65_000, 65_534, 65_535, 70_000, 900_000, 10].into_iter().enumerate() {
        let value = "v".repeat(length);
        let path = "p".repeat(length);
        for (target, sent) in [
            (format!("/azure/x?q={value}"), format!("/x?q={value}")),
            (format!("/azure/{path}?q=1"), format!("/{path}?q=1")),
        ] {
            let answer = client.exchange(&Call::post(&target).bytes()).await.expect("an answer");
            assert_eq!(answer.status(), 200, "{length}");
            let seen = harness.upstream.seen();
            assert_eq!(seen.last().unwrap().target(), sent, "{length}");
            assert_eq!(seen.last().unwrap().text(), http::HI, "call {nth}");
        }
    }
}

#[tokio::test]
async fn a_long_uri_may_come_in_pieces_and_in_absolute_form() {
    let harness = harness(Upstream::start(|_: &Exchange| http::json(200, "{}")).await).await;
    let value = "v".repeat(100_000);
    for target in [format!("/azure/x?q={value}"), format!("http://gateway/azure/x?q={value}")] {
        let bytes = Call::post(&target).bytes();
        let mut client = Connection::open(harness.addr()).await;
        for piece in bytes[..bytes.len() - 1].chunks(9_000) {
            client.send(piece).await;
        }
        let answer = client.exchange(&bytes[bytes.len() - 1..]).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(harness.upstream.seen().last().unwrap().target(), format!("/x?q={value}"));
    }
}

#[tokio::test]
async fn a_head_of_several_mebibytes_is_refused() {
    let harness = harness(Upstream::start(|_: &Exchange| http::json(200, "{}")).await).await;
    let call = azure().with("X-Large", &"x".repeat(4_000_000));
    let mut client = Connection::open(harness.addr()).await;
    let answer = client.exchange_unless_closed(&call.bytes()).await;
    assert!(answer.is_none_or(|answer| answer.status() == 431));
    assert!(harness.upstream.seen().is_empty());
}

#[tokio::test]
async fn s4_a_client_that_closes_its_sending_side_is_answered() {
    let harness = harness(Upstream::start(|_: &Exchange| http::json(200, "{}")).await).await;
    let mut client = Connection::open(harness.addr()).await;
    let answer = client.exchange_half_closed(&azure().bytes()).await.expect("an answer");
    assert_eq!((answer.status(), answer.text()), (200, "{}"));
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_inside_its_body_gets_500() {
    let harness = harness(Upstream::start(|_: &Exchange| http::json(200, "{}")).await).await;
    let bytes = azure().bytes();
    let mut client = Connection::open(harness.addr()).await;
    let answer = client.exchange_half_closed(&bytes[..bytes.len() - 5]).await.expect("an answer");
    assert_eq!((answer.status(), answer.text()), (500, r#"{"error":"internal server error"}"#));
    let log = harness.log(0).await;
    assert!(log["request"].get("gl_path").is_none() && log["response"].get("egress_status_code").is_none());
    assert!(harness.upstream.seen().is_empty());
}

#[tokio::test]
async fn requests_that_are_no_http_are_400_and_leave_no_trace() {
    let mut harness = harness(Upstream::start(|_: &Exchange| http::json(200, "{}")).await).await;
    let call = |line: &str, host: &str| format!("POST {line} HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\n{{}}");
    for bytes in [
        call("/azure/%zz", "Host: h\r\n"),
        call("/azure/%", "Host: h\r\n"),
        call("/azure/", ""),
        call("/azure/", "Host: a\r\nHost: b\r\n"),
    ] {
        let answer = Connection::open(harness.addr()).await.exchange(bytes.as_bytes()).await.unwrap();
        assert_eq!((answer.status(), answer.header("Connection")), (400, vec!["close"]), "{bytes}");
    }
    harness.stop_and_drain().await;
    assert!(harness.received().is_empty() && harness.upstream.seen().is_empty());
}

#[tokio::test]
async fn s4_gzip_without_a_body_is_left_alone() {
    let gzip = ("Content-Encoding", "gzip");
    let not_modified = b"HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\n\r\n".to_vec();
    for (answer, status, body) in [
        (http::answer(204, &[gzip], b""), 204, ""),
        (not_modified, 304, ""),
        (http::answer(200, &[gzip], b""), 200, r#""""#),
        (http::answer(503, &[gzip], b""), 503, r#""""#),
    ] {
        let harness = answering(answer).await;
        let answer = harness.send(&azure()).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (status, body));
        assert_eq!(answer.header("Content-Encoding"), ["gzip"]);
        let log = harness.log(0).await;
        assert_eq!(log["response"]["inbound_status_code"], status);
        assert_eq!(log["response"]["inbound_headers"]["Content-Encoding"], json!(["gzip"]));
    }
}

#[tokio::test]
async fn gzip_of_no_member_and_of_several_is_unpacked() {
    let chunked = |body: &[u8]| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n";
        let length = format!("{:x}\r\n", body.len());
        let chunk = if body.is_empty() { Vec::new() } else { [length.as_bytes(), body, b"\r\n"].concat() };
        [&head[..], &chunk, b"0\r\n\r\n"].concat()
    };
    let members = [packed(r#"{"a":"#), packed("1}")].concat();
    for (answer, body) in [
        (chunked(b""), r#""""#),
        (chunked(&members), r#"{"a":1}"#),
        (http::answer(200, &[("Content-Encoding", "GZIP")], &members), r#"{"a":1}"#),
    ] {
        let answer = answering(answer).await.send(&azure()).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (200, body));
        assert!(answer.header("Content-Encoding").is_empty());
    }
    for broken in [&packed("{}")[..12], &[packed("{}"), b"garbage behind".to_vec()].concat()] {
        let answer = answering(chunked(broken)).await.send(&azure()).await.unwrap();
        assert_eq!(answer.status(), 500);
        assert!(answer.text().contains("internal server error"), "{}", answer.text());
    }
}

/// Redirects every request outside `/there` to `location`.
async fn redirecting(status: u16, location: &str) -> Upstream {
    let answer = http::answer(status, &[("Location", location)], b"");
    Upstream::start(move |request: &Exchange| match request.target() {
        "/there" => http::json(200, r#"{"arrived": true}"#),
        _ => answer.clone(),
    })
    .await
}

fn with_credentials() -> Call {
    azure()
        .with("Authorization", "Bearer secret")
        .with("Cookie", "a=b")
        .with("Www-Authenticate", "w")
        .with("X-Other", "1")
}

#[tokio::test]
async fn s4_credentials_do_not_follow_a_redirect_to_another_host() {
    let other = Upstream::start(|_: &Exchange| http::json(200, "{}")).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://localhost:{}/there", other.addr.port());
        let harness = harness(redirecting(status, &location).await).await;
        assert_eq!(harness.send(&with_credentials()).await.unwrap().status(), 200);
        assert_eq!(harness.upstream.seen()[0].header("Authorization"), ["Bearer secret"]);
        let seen = other.seen().last().unwrap().clone();
        for name in ["Authorization", "Cookie", "Www-Authenticate"] {
            assert!(seen.header(name).is_empty(), "{status}: {name}");
        }
        assert_eq!((seen.header("X-Other"), seen.header("Api-Key")), (vec!["1"], vec!["secret-client-key"]));
    }
}

#[tokio::test]
async fn credentials_lost_once_do_not_come_back() {
    let there = Upstream::start(|_: &Exchange| http::json(200, "{}")).await;
    let back = format!("http://127.0.0.1:{}/there", there.addr.port());
    let abroad = redirecting(307, &back).await;
    let harness = harness(redirecting(307, &format!("http://localhost:{}/abroad", abroad.addr.port())).await).await;
    assert_eq!(harness.send(&with_credentials()).await.unwrap().status(), 200);
    assert!(there.seen()[0].header("Authorization").is_empty());
}

#[tokio::test]
async fn a_redirect_on_the_same_host_keeps_credentials_and_names_its_referer() {
    let harness = harness(redirecting(302, "/there").await).await;
    harness.send(&with_credentials()).await.unwrap();
    let seen = &harness.upstream.seen()[1];
    assert_eq!((seen.header("Authorization"), seen.header("Cookie")), (vec!["Bearer secret"], vec!["a=b"]));
    assert_eq!(seen.header("Referer"), [format!("http://{}//", harness.upstream.addr)]);
    harness.send(&with_credentials().with("Referer", "http://mine/")).await.unwrap();
    assert_eq!(harness.upstream.seen()[3].header("Referer"), ["http://mine/"]);
}

#[tokio::test]
async fn a_redirect_that_repeats_the_body_sends_the_first_one() {
    let calls = AtomicUsize::new(0);
    let script = move |_: &Exchange| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => http::answer(302, &[("Location", "/a")], b""),
        1 => http::answer(307, &[("Location", "/b")], b""),
        _ => http::json(200, "{}"),
    };
    let harness = harness(Upstream::start(script).await).await;
    assert_eq!(harness.send(&azure()).await.unwrap().status(), 200);
    let seen = harness.upstream.seen();
    let sent: Vec<(&str, &str)> = seen.iter().map(|request| (request.method(), request.text())).collect();
    assert_eq!(sent, [("POST", http::HI), ("GET", ""), ("GET", http::HI)]);
}

#[tokio::test]
async fn a_redirect_that_leads_nowhere_is_a_failure_and_one_without_a_place_an_answer() {
    for location in ["http://[bad", "ftp://127.0.0.1/x"] {
        let harness = harness(redirecting(302, location).await).await;
        let answer = harness.send(&azure()).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (500, r#"{"error":"failure making request"}"#), "{location}");
    }
    let harness = harness(redirecting(302, "").await).await;
    assert_eq!(harness.send(&azure()).await.unwrap().status(), 302);
}
