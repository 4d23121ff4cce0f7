//! What of HTTP the relay takes from a target and from a client, and what of it goes out: lengths, methods, heads.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::support::http::{self, Open};
use super::super::support::metrics::Scrape;
use super::super::support::scripted::{Act, Move, Scripted, answer, chunk, stream};
use super::super::support::soon;
use super::{CHAT, HELLO, HI, Harness, good, pools, target};

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// What a hostile target plants behind its answer.
const PLANTED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nplanted";

fn raw(bytes: impl Into<Vec<u8>>) -> Act {
    vec![Move::Send(bytes.into()), Move::Hold]
}

/// Two targets, `a` before `b`; no answer takes one of them out.
async fn tolerant(a: &Scripted, b: &Scripted) -> Harness {
    let both = pools(&[target("a", &a.url()), target("b", &b.url())]);
    Harness::of(&both.replacen('{', r#"{"health": {"disabled_time": 0}, "#, 1)).await
}

/// Sends a request over a connection that is kept, and reads its answer, which has a length.
async fn ask(open: &mut Open, request: &str) -> String {
    let before = open.text().len();
    open.again(request.as_bytes()).await;
    soon("an answer", async {
        loop {
            let text = open.text()[before..].to_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
                if length.is_none_or(|length| body.len() >= length) {
                    return text;
                }
            }
            open.more().await;
        }
    })
    .await
}

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{{}}")
}

fn invalid_answers() -> Vec<(&'static str, Vec<u8>)> {
    let chunked = format!("{:x}\r\n{{}}{PLANTED}\r\n0\r\n\r\n", PLANTED.len() + 2);
    let with = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}\r\n{body}").into_bytes()
    };
    let large = "x".repeat(66 << 10);
    vec![
        ("a length and chunks", with("200 OK", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", &chunked)),
        ("chunks and a length", with("400 Bad", "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", &chunked)),
        ("the same length twice in a line", with("200 OK", "Content-Length: 2, 2\r\n", "{}")),
        ("the same length in two lines", with("200 OK", "Content-Length: 2\r\nContent-Length: 2\r\n", "{}")),
        ("two lengths", with("200 OK", "Content-Length: 2\r\nContent-Length: 75\r\n", &format!("{{}}{PLANTED}"))),
        ("a signed length", with("200 OK", "Content-Length: +2\r\n", "{}")),
        ("gzip as a transfer encoding", with("200 OK", "Transfer-Encoding: gzip\r\n", "{}")),
        ("gzip within chunks", with("200 OK", "Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        ("chunked twice", with("200 OK", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &chunked)),
        ("chunks from HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec()),
        ("another protocol", with("101 Switching Protocols", "Upgrade: websocket\r\nConnection: Upgrade\r\n", "")),
        ("a status beyond those of HTTP", with("999 Odd", "Content-Length: 2\r\n", "{}")),
        ("a folded header", with("200 OK", "X-A: 1\r\n 2\r\nContent-Length: 2\r\n", "{}")),
        ("a space before a colon", with("200 OK", "Content-Length : 2\r\n", "{}")),
        ("no HTTP", b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()),
        ("a large head", with("200 OK", &format!("X-A: {large}\r\nContent-Length: 2\r\n"), "{}")),
        ("a large head of many headers", with("200 OK", &"X-A: 12345678\r\n".repeat(4_500), "{}")),
    ]
}

#[tokio::test]
async fn an_answer_that_is_not_valid_http_reaches_no_client_and_its_connection_is_closed() {
    let (a, b) = (Scripted::start(vec![]).await, Scripted::start(good()).await);
    let harness = tolerant(&a, &b).await;
    let faults = invalid_answers();
    for (place, (fault, bytes)) in faults.iter().enumerate() {
        a.once(raw(bytes.clone()));
        // Over one connection, as a proxy's: what one call leaves behind would be another's answer.
        let mut open = Open::raw(harness.relay, b"").await;
        for calls in 1..=2 {
            let text = ask(&mut open, &post(CHAT)).await;
            assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with(HELLO), "{fault}: {text}");
            assert!(text.contains("x-broker-router: /llm/b/\r\nx-broker-attempts: 2\r\n"), "{fault}: {text}");
            assert_eq!((a.calls(), b.calls()), (2 * place + calls, 2 * place + calls), "{fault}");
        }
        a.gone(place + 1).await;
    }
    let all = faults.len() as f64;
    Scrape::of(&harness.broker).await.has(&[
        ("gecholog_broker_relay_attempts_total", &["protocol_error"], all),
        // The second call of each met a target that just closes.
        ("gecholog_broker_relay_attempts_total", &["\"no_answer\""], all),
    ]);
}

#[tokio::test]
async fn an_invalid_answer_takes_its_target_out_and_says_why() {
    let (a, b) = (Scripted::start(raw(invalid_answers().remove(0).1)).await, Scripted::start(good()).await);
    let harness = Harness::before(&[&a, &b]).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"));
    harness.broker.until(&["router disabled", "/llm/a/", "sent an answer that is not valid HTTP"]).await;
}

#[tokio::test]
async fn one_length_goes_out_and_nothing_of_the_hop_before() {
    let (a, b) = (Scripted::start(vec![]).await, Scripted::start(good()).await);
    let harness = tolerant(&a, &b).await;
    for (case, bytes, sent) in [
        ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\n[]", "content-length: 2\r\n"),
        (
            "chunks",
            "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\"b\"\r\n[\r\n1\r\n]\r\n0\r\n\r\n",
            "content-length: 2\r\n",
        ),
        ("until the end", "HTTP/1.0 400 Bad\r\n\r\n[]", "content-length: 2\r\n"),
        (
            "100",
            "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
            "content-length: 2\r\n",
        ),
        (
            "103 and 199",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nX-Early: 1\r\n\r\nHTTP/1.1 199 A\r\nContent-Length: 5\r\n\r\n\
            HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
            "content-length: 2\r\n",
        ),
        ("no content", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", ""),
        ("no content, with some", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n[]", ""),
    ] {
        a.once(vec![Move::Send(bytes.into())]);
        let mut open = Open::raw(harness.relay, b"").await;
        let text = ask(&mut open, &post(CHAT)).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head = format!("{head}\r\n");
        assert!(head.starts_with("HTTP/1.1 ") && head.contains("x-broker-router: /llm/a/"), "{case}: {head}");
        assert!(!head.contains("x-early") && !head.contains("transfer-encoding"), "{case}: {head}");
        assert_eq!(
            (head.contains(sent), head.matches("content-length").count()),
            (true, usize::from(!sent.is_empty())),
            "{case}: {head}"
        );
        assert_eq!(body, if sent.is_empty() { "" } else { "[]" }, "{case}");
    }
}

#[tokio::test]
async fn interim_answers_without_end_are_no_answer() {
    let flood = Move::Send("HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n".repeat(1_000).into_bytes());
    let act = [vec![flood; 20], vec![Move::Hold]].concat();
    let (a, b) = (Scripted::start(act).await, Scripted::start(good()).await);
    let harness = Harness::before_stalling(&[&a, &b]).await;
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some("/llm/b/")), "{}", answer.text());
    a.gone(1).await;
    harness.broker.until(&["router disabled", "/llm/a/", "gave no answer in time"]).await;
}

#[tokio::test]
async fn an_answer_of_http_1_0_ends_visibly_and_trailers_stay_here() {
    let body = "x".repeat(100_000);
    let old = format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{body}");
    let a = Scripted::start(vec![Move::Send(old.into_bytes())]).await;
    let harness = Harness::before(&[&a]).await;
    let mut open = Open::raw(harness.relay, post(CHAT).as_bytes()).await;
    open.until("\r\n0\r\n\r\n").await;
    assert!(open.text().starts_with("HTTP/1.1 200 OK\r\n") && open.text().contains("transfer-encoding: chunked\r\n"));
    let trailers = format!(
        "HTTP/1.1 200 OK\r\nTrailer: X-Broker-Router, X-Late\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\
         X-Broker-Router: planted\r\nX-Late: 1\r\n\r\n",
        body.len()
    );
    a.always(raw(trailers));
    let request = post(CHAT).replace("Host: h\r\n", "Host: h\r\nTE: trailers\r\n");
    let mut open = Open::raw(harness.relay, request.as_bytes()).await;
    open.until("\r\n0\r\n\r\n").await;
    assert!(!open.text().contains("railer") && !open.text().contains("x-late"), "{}", &open.text()[..400]);
}

/// A client of HTTP/1.0, such as a proxy, knows the end of a body of unknown length by that of the connection alone.
#[tokio::test]
async fn a_broken_answer_to_a_client_of_http_1_0_resets_its_connection() {
    let sound = |end: &str| {
        let (head, part) =
            ("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n", "x".repeat(9_000));
        vec![Move::Send(format!("{head}{:x}\r\n{part}\r\n{end}", part.len()).into_bytes())]
    };
    let events = vec![stream(), chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n")];
    for (act, is_whole, ends_with) in [
        (sound("0\r\n\r\n"), true, "xxx"),
        (sound(""), false, ""),
        // The last event says so, and must arrive.
        (events, true, "\"type\":\"server_error\"}}\n\n"),
    ] {
        let a = Scripted::start(act).await;
        let harness = Harness::before(&[&a]).await;
        let mut client = TcpStream::connect(harness.relay).await.unwrap();
        client.write_all(post(CHAT).replace("HTTP/1.1", "HTTP/1.0").as_bytes()).await.unwrap();
        let mut came = Vec::new();
        let end = soon("the end", client.read_to_end(&mut came)).await;
        let came = String::from_utf8_lossy(&came);
        assert_eq!(end.is_ok(), is_whole, "{end:?}");
        assert!(came.ends_with(ends_with), "{came}");
    }
}

#[tokio::test]
async fn what_a_target_says_in_the_relays_name_and_what_connection_names_stays_here() {
    let head = b"HTTP/1.1 200 OK\r\nX-Broker-Router: planted\r\nx-broker-attempts: planted\r\nX-BROKER-Trace: planted\r\n\
        X-Broker-Reason: planted\r\nX-Broker-Session: planted\r\nX-Broker-New: planted\r\nX-Hop: planted\r\nX-Kept: 1\r\n\
        Connection: keep-alive, X-Hop, \xff\xfe\r\nContent-Length: 2\r\n\r\n[]";
    let a = Scripted::start(vec![Move::Send(head.to_vec())]).await;
    let harness = Harness::before(&[&a]).await;
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.header("x-kept")), (200, Some("1")), "{}", answer.head);
    assert_eq!((answer.header("x-broker-router"), answer.header("x-broker-attempts")), (Some("/llm/a/"), Some("1")));
    assert!(!answer.head.contains("planted") && answer.header("x-broker-session").is_some(), "{}", answer.head);
    let request = b"POST /llm/ HTTP/1.1\r\nHost: h\r\nX-Hop: planted\r\nX-Kept: 1\r\nConnection: \xff, X-Hop\r\n\
        Content-Length: 2\r\n\r\n{}";
    Open::raw(harness.relay, request).await.until("HTTP/1.1 200").await;
    let call = a.last();
    assert!(call.head.contains("x-kept: 1") && !call.head.contains("x-hop"), "{}", call.head);
}

#[tokio::test]
async fn what_a_target_says_of_its_own_origin_stays_here() {
    let headers = [
        ("Alt-Svc", "h3=\":443\""),
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload"),
        ("NEL", "{}"),
        ("Report-To", "{}"),
        ("Clear-Site-Data", "\"*\""),
        ("Set-Cookie", "__cf_bm=1"),
        ("X-Request-Id", "req-1"),
    ];
    for (status, forwards) in [(200, false), (400, false), (200, true)] {
        let a = Scripted::start(answer(status, &headers, HELLO)).await;
        let keys = format!(r#""forward_credentials": {forwards}"#);
        let target = format!(r#"{{"name": "a", "url": "{}", {keys}}}"#, a.url());
        let harness = Harness::of(&pools(&[target])).await;
        let told = harness.call().await;
        assert_eq!((told.status, told.header("x-request-id")), (status, Some("req-1")), "{}", told.head);
        assert_eq!(told.header("set-cookie").is_some(), forwards, "{}", told.head);
        for (name, _) in &headers[..5] {
            assert_eq!(told.header(&name.to_ascii_lowercase()), None, "{}", told.head);
        }
    }
}

#[tokio::test]
async fn only_methods_of_the_list_are_passed_on() {
    let a = Scripted::start(answer(501, &[], "{}")).await;
    let b = Scripted::start(answer(501, &[], "{}")).await;
    let harness = Harness::before(&[&a, &b]).await;
    for method in ["TRACE", "CONNECT", "FOO", "get", "PROPFIND", "QUERY"] {
        for path in [CHAT, "/nowhere/", "/llm/../x"] {
            let answer = http::send(harness.relay, method, path, &[], b"").await.unwrap();
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some(&*METHODS.to_ascii_lowercase())),
                "{method}"
            );
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let error = &body["error"];
            assert_eq!(
                (&error["code"], &error["type"]),
                (&json!("method_not_allowed"), &json!("broker_error")),
                "{method}"
            );
        }
    }
    assert_eq!((a.calls(), b.calls()), (0, 0));
    for (calls, method) in (1..).zip(METHODS.split(", ")) {
        let request = format!("{method} {CHAT} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let text = Open::raw(harness.relay, request.as_bytes()).await.closed().await;
        assert!(text.starts_with("HTTP/1.1 501 "), "{method}: {text}");
        assert_eq!((a.calls(), b.calls()), (calls, calls), "{method}: each is asked once");
        assert!(a.last().head.starts_with(&format!("{} ", method.to_ascii_lowercase())), "{method}");
    }
    assert_eq!(harness.disabled().await, Vec::<String>::new(), "what a client asks for is its own fault");
}

#[tokio::test]
async fn a_clients_own_choice_takes_no_target_out() {
    for status in [400, 405, 411, 413, 414, 415, 417, 426, 431, 501, 505] {
        let (a, b) = (Scripted::start(answer(status, &[], "{}")).await, Scripted::start(good()).await);
        let harness = Harness::before(&[&a, &b]).await;
        let expected = if status > 500 { ("/llm/b/", 1) } else { ("/llm/a/", 0) };
        let answer = harness.call().await;
        assert_eq!((answer.header("x-broker-router"), b.calls()), (Some(expected.0), expected.1), "{status}");
        harness.call().await;
        assert_eq!((a.calls(), harness.disabled().await), (2, Vec::new()), "{status}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let a = Scripted::start(vec![]).await;
    let harness = Harness::before(&[&a]).await;
    let head = format!("HEAD {CHAT} HTTP/1.1\r\nHost: h\r\n\r\n");
    for (answer, length) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1234\r\n\r\n",
            Some("content-length: 1234\r\n"),
        ),
        ("HTTP/1.1 404 No\r\nContent-Length: 99999999\r\n\r\n", Some("content-length: 99999999\r\n")),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        // One that has a body nevertheless.
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Some("content-length: 2\r\n")),
    ] {
        a.once(vec![Move::Send(answer.into()), Move::Hear]);
        a.once(good());
        let mut open = Open::raw(harness.relay, head.as_bytes()).await;
        open.until("\r\n\r\n").await;
        let sent = open.text();
        assert!(sent.ends_with("\r\n\r\n") && !sent.contains("transfer-encoding"), "{sent}");
        assert_eq!(
            length.map_or(0, |length| sent.matches(length).count()),
            sent.matches("content-length").count(),
            "{sent}"
        );
        // Nothing of a body is left on either connection.
        open.again(post(CHAT).as_bytes()).await;
        open.until(HELLO).await;
        assert!(open.text()[sent.len()..].starts_with("HTTP/1.1 200 "), "{}", open.text());
        assert!(open.text().contains("x-broker-attempts: 1\r\n"), "{}", open.text());
    }
    assert_eq!(harness.disabled().await, Vec::<String>::new());
}

#[tokio::test]
async fn thousands_of_headers_within_64_kb_are_taken_both_ways_and_no_larger_head() {
    let many = |headers: usize| (0..headers).map(|number| format!("x{number}: \r\n")).collect::<String>();
    let a = Scripted::start(raw(format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\n[]", many(7_000)))).await;
    let harness = Harness::before(&[&a]).await;
    let request = post(CHAT).replace("Host: h\r\n", &format!("Host: h\r\n{}", many(7_000)));
    assert!((60 << 10..64 << 10).contains(&request.len()), "{}", request.len());
    let mut open = Open::raw(harness.relay, request.as_bytes()).await;
    open.until("\r\n\r\n[]").await;
    assert!(open.text().starts_with("HTTP/1.1 200 OK\r\n") && open.text().contains("\r\nx6999: \r\n"));
    assert!(a.last().head.contains("\r\nx6999: \r\n"), "{} bytes", a.last().head.len());
    for request in [
        post(CHAT).replace("Host: h\r\n", &format!("Host: h\r\n{}", many(8_000))),
        post(CHAT).replace("Host: h\r\n", &format!("Host: h\r\nX: {}\r\n", "x".repeat(64 << 10))),
    ] {
        let refused = Open::raw(harness.relay, request.as_bytes()).await.closed().await;
        assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    }
    assert_eq!(a.calls(), 1);
}

#[tokio::test]
async fn a_request_whose_length_is_ambiguous_is_never_passed_on_as_it_is() {
    let a = Scripted::start(good()).await;
    let harness = Harness::before(&[&a]).await;
    let smuggled = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nX-Smuggled: 1\r\nContent-Length: 2\r\n\r\n{{}}");
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\ncontent-length:5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 77\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "X: 1\r\n Content-Length: 5\r\n",
    ] {
        let request = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\n{headers}\r\n0\r\n\r\n{smuggled}");
        let text = Open::raw(harness.relay, request.as_bytes()).await.closed().await;
        assert!(text.starts_with("HTTP/1.1 400 ") && text.matches("HTTP/1.1 ").count() == 1, "{headers}: {text}");
    }
    assert_eq!(a.calls(), 0);
    // One after another on a connection: each is looked at by itself.
    let mut open = Open::raw(harness.relay, b"").await;
    for calls in 1..=2 {
        let chunked = "Transfer-Encoding: chunked\r\n\r\n1b\r\n\r\nContent-Length: 5\r\n[1, 2]\r\n0\r\n\r\n";
        let text = ask(&mut open, &format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\n{chunked}")).await;
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        let text = ask(&mut open, &post(CHAT)).await;
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        assert_eq!(a.calls(), 2 * calls);
        assert!(a.last().head.contains("content-length: 2\r\n") && !a.last().head.contains("transfer-encoding"));
    }
    open.again(
        format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes(),
    )
    .await;
    open.until("ambiguous_length").await;
    assert_eq!(a.calls(), 4);
}

#[tokio::test]
async fn a_request_names_one_host_or_its_connection_ends() {
    let a = Scripted::start(good()).await;
    let harness = Harness::before(&[&a]).await;
    for (line, hosts) in
        [("HTTP/1.1", ""), ("HTTP/1.1", "Host: h\r\nHost: h\r\n"), ("HTTP/1.0", "Host: h\r\nHost: i\r\n")]
    {
        let request = format!("POST {CHAT} {line}\r\n{hosts}Content-Length: 2\r\n\r\n{{}}");
        let text = Open::raw(harness.relay, request.as_bytes()).await.closed().await;
        assert!(text.starts_with(&format!("{line} 400 ")) && text.contains("bad_host"), "{text}");
    }
    assert_eq!(a.calls(), 0);
    let old = format!("POST {CHAT} HTTP/1.0\r\nContent-Length: 2\r\n\r\n{{}}");
    let text = Open::raw(harness.relay, old.as_bytes()).await.closed().await;
    assert!(text.contains(" 200 ") && text.ends_with(HELLO), "{text}");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_whole_request_was_read_is_passed_on() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            // It reads a part of the request and closes with the rest unread, which resets the connection.
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 200]).await.unwrap();
            stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        }
    });
    let harness = Harness::of(&pools(&[target("a", &url)])).await;
    let body = "x".repeat(8 << 20);
    for call in 1..=20 {
        let answer = harness.send(CHAT, &[], &body).await;
        assert_eq!((answer.status, answer.text().as_str()), (413, "{}"), "call {call}");
    }
    assert_eq!(harness.disabled().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_large_head_of_a_client_is_not_held_against_a_target() {
    let refused = "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let a = Scripted::start(vec![Move::Send(refused.into())]).await;
    let harness = Harness::before(&[&a]).await;
    let answer = harness.send(CHAT, &[("X-Large", &"x".repeat(62_000))], HI).await;
    assert_eq!((answer.status, harness.disabled().await), (431, Vec::new()));
}

#[tokio::test]
async fn a_post_without_a_body_says_so() {
    let a = Scripted::start(good()).await;
    let harness = Harness::before(&[&a]).await;
    for (method, says) in [("POST", true), ("PUT", true), ("PATCH", true), ("GET", false), ("DELETE", false)] {
        let request = format!("{method} /llm/v1/batches/b/cancel HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        let mut open = Open::raw(harness.relay, b"").await;
        ask(&mut open, &request).await;
        assert_eq!(a.last().head.contains("content-length: 0\r\n"), says, "{method}: {}", a.last().head);
    }
}
