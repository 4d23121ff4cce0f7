//! What a client may send, what of it goes on, and the error where a limit is reached.

use std::time::Duration;

use super::super::support::PoolsFile;
use super::super::support::http::{self, Open};
use super::super::support::scripted::{Move, Scripted, answer, answer_and_hang_up_later, chunk, last_chunk, stream};
use super::{CHAT, HELLO, HI, Harness, good, pools};

fn code(answer: &http::Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    body["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_target_gets_its_own_key_path_query_and_body_and_no_others() {
    let a = Scripted::start(good()).await;
    let target = format!(
        r#"{{"name": "a", "url": "{}", "headers": {{"Authorization": ["Bearer ${{KEY}}"]}}, "query": {{"api-version": "7"}},
            "remove_headers": ["X-Gone"], "model_map": {{"gpt-4o": "mine"}}, "override_params": {{"max_tokens": 5}}}}"#,
        a.url()
    );
    let harness = Harness::of(&pools(&[target])).await;
    let headers = [
        ("Authorization", "Bearer of-the-client"),
        ("Api-Key", "of-the-client"),
        ("Cookie", "of-the-client"),
        ("X-Gone", "1"),
        ("X-Kept", "1"),
        ("TE", "trailers"),
        ("Accept-Encoding", "br"),
    ];
    assert_eq!(harness.send(&format!("{CHAT}?api-version=1&x=2"), &headers, HI).await.status, 200);
    let call = a.last();
    assert!(call.head.starts_with("post /v1/chat/completions?x=2&api-version=7 http/1.1\r\n"), "{}", call.head);
    assert!(!call.head.contains("of-the-client") && !call.head.contains("x-gone"), "{}", call.head);
    for line in [format!("authorization: bearer {}", super::KEY).as_str(), "x-kept: 1", "accept-encoding: identity"] {
        assert!(call.head.contains(line), "{line} in {}", call.head);
    }
    let host = a.url().replace("http://", "host: ").replace("/v1/", "\r\n");
    assert!(call.head.contains(&host) && !call.head.contains("te: "), "{}", call.head);
    let body: serde_json::Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!((&body["model"], &body["max_tokens"]), (&"mine".into(), &5.into()));
}

#[tokio::test]
async fn a_clients_credentials_go_where_that_is_said_and_a_refusal_is_then_the_clients() {
    let a = Scripted::start(answer(401, &[], "{}")).await;
    let b = Scripted::start(good()).await;
    let forwarding = format!(r#"{{"name": "a", "url": "{}", "forward_credentials": true}}"#, a.url());
    let harness = Harness::of(&pools(&[forwarding, super::target("b", &b.url())])).await;
    let answer = harness.send(CHAT, &[("Authorization", "Bearer of-the-client")], HI).await;
    assert_eq!((answer.status, b.calls()), (401, 0));
    assert!(a.last().head.contains("authorization: bearer of-the-client"));
}

#[tokio::test]
async fn what_no_pool_serves_and_what_climbs_is_refused() {
    let a = Scripted::start(good()).await;
    let harness = Harness::before(&[&a]).await;
    for (path, status, expected) in [
        ("/other/", 404, "no_such_pool"),
        ("/", 404, "no_such_pool"),
        ("/llm", 404, "no_such_pool"),
        ("/llm/../other", 400, "bad_path"),
        ("/llm/%2e%2e/x", 400, "bad_path"),
        ("http://169.254.169.254/latest/", 404, "no_such_pool"),
    ] {
        let answer = harness.send(path, &[], HI).await;
        assert_eq!((answer.status, code(&answer).as_str()), (status, expected), "{path}");
    }
    assert_eq!(a.calls(), 0);
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let b = Scripted::start(good()).await;
    let a = Scripted::start(answer(302, &[("Location", &b.url())], "{}")).await;
    let harness = Harness::before(&[&a]).await;
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.header("location"), b.calls()), (302, Some(b.url().as_str()), 0));
}

#[tokio::test]
async fn an_answer_in_an_unknown_coding_passes_untouched() {
    let packed = "\u{1f}not really packed, and no json";
    let a = Scripted::start(answer(200, &[("Content-Encoding", "br")], packed)).await;
    let harness = Harness::before(&[&a]).await;
    let answer = harness.call().await;
    assert_eq!((answer.text().as_str(), answer.header("content-encoding")), (packed, Some("br")));
}

#[tokio::test]
async fn a_body_of_50_mb_is_taken_and_a_larger_one_refused() {
    let a = Scripted::start(good()).await;
    // A debug build needs its time for such a body.
    let text = pools(&[super::target("a", &a.url())]).replace("\"25s\"", "\"250s\"").replace("\"20s\"", "\"200s\"");
    let harness = Harness::of(&text).await;
    let most = "x".repeat(50 << 20);
    assert_eq!(harness.send(CHAT, &[], &most).await.status, 200);
    assert_eq!(a.last().body.len(), most.len());
    // The answer comes before the body is sent, so only its announcement is.
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", (50 << 20) + 1);
    let mut refused = Open::raw(harness.relay, head.as_bytes()).await;
    refused.until("request_too_large").await;
    assert!(refused.text().starts_with("HTTP/1.1 413"));
    assert_eq!(a.calls(), 1);
}

#[tokio::test]
async fn the_largest_body_is_a_setting() {
    let a = Scripted::start(good()).await;
    let text = pools(&[super::target("a", &a.url())]);
    let harness = Harness::with(&text, |setup| setup.set("BROKER_RELAY_BODY", "1")).await;
    assert_eq!(harness.send(CHAT, &[], &"x".repeat(1 << 20)).await.status, 200);
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", (1 << 20) + 1);
    let mut refused = Open::raw(harness.relay, head.as_bytes()).await;
    refused.until("larger than 1 MB").await;
    // One that does not say how long it is may send no more either.
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", 1 << 21);
    let mut refused = Open::raw(harness.relay, [head.as_bytes(), &vec![b'x'; (1 << 20) + 1]].concat().as_slice()).await;
    refused.until("request_too_large").await;
    assert_eq!(a.calls(), 1);
}

#[tokio::test]
async fn a_client_that_writes_its_whole_request_before_it_reads_gets_the_refusal() {
    let a = Scripted::start(vec![Move::Hold]).await;
    let text = pools(&[super::target("a", &a.url())]).replace("\"25s\"", "\"250s\"").replace("\"20s\"", "\"200s\"");
    let harness = Harness::with(&text, |setup| setup.set("BROKER_RELAY_CALLS", "1")).await;
    let length = |bytes: usize| format!("Content-Length: {bytes}\r\n\r\n").into_bytes();
    let whole = |bytes: usize| [length(bytes), vec![b'x'; bytes]].concat();
    let part = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![b'x'; 1 << 20], b"\r\n".to_vec()].concat();
    let chunked = [b"Transfer-Encoding: chunked\r\n\r\n".to_vec(), part.repeat(51), b"0\r\n\r\n".to_vec()].concat();
    for (line, rest, expected) in [
        ("POST /other/", whole(5 << 20), "no_such_pool"),
        ("POST /llm/../other", whole(5 << 20), "bad_path"),
        ("TRACE /llm/x", whole(5 << 20), "method_not_allowed"),
        ("POST /llm/chat/completions", whole(51 << 20), "request_too_large"),
        ("POST /llm/chat/completions", chunked, "request_too_large"),
        ("POST /llm/chat/completions", whole(5 << 20), "broker_busy"),
    ] {
        // The only place is taken.
        let _call = match expected {
            "broker_busy" => Some(Open::post(harness.relay, CHAT, HI).await),
            _ => None,
        };
        a.called(usize::from(expected == "broker_busy")).await;
        let request = [format!("{line} HTTP/1.1\r\nHost: h\r\n").as_bytes(), &rest].concat();
        let answer = Open::raw(harness.relay, &request).await.closed().await;
        assert!(answer.starts_with("HTTP/1.1 ") && answer.contains(expected), "{line}: {answer:?}");
        assert!(answer.to_ascii_lowercase().contains("connection: close\r\n"), "{line}: {answer:?}");
    }
}

#[tokio::test]
async fn clients_that_write_on_after_a_refusal_keep_no_others_out() {
    let a = Scripted::start(good()).await;
    // Twice as many connections.
    let harness =
        Harness::with(&pools(&[super::target("a", &a.url())]), |setup| setup.set("BROKER_RELAY_CALLS", "1")).await;
    let head = format!("POST /other/ HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 5 << 20);
    let mut writing = Vec::new();
    for _ in 0..2 {
        let mut refused = Open::raw(harness.relay, head.as_bytes()).await;
        refused.until("no_such_pool").await;
        writing.push(tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            while refused.tries(b"x").await {
                pace.tick().await;
            }
        }));
    }
    let began = std::time::Instant::now();
    assert_eq!(harness.call().await.status, 200);
    assert!(began.elapsed() < Duration::from_secs(10), "they would be there for 20 s: {:?}", began.elapsed());
    writing.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A relay with one place, whose patience is a second.
async fn impatient(a: &Scripted) -> Harness {
    let text = pools(&[super::target("a", &a.url())]);
    Harness::with(&text, |setup| setup.set("BROKER_RELAY_PATIENCE", "1").set("BROKER_RELAY_CALLS", "1")).await
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_and_frees_everything() {
    let mut act = vec![stream(), chunk(": one\n\ndata: {}\n\n")];
    act.extend((0..1_000).map(|_| chunk(&"x".repeat(100_000))));
    let a = Scripted::start(act).await;
    let harness = impatient(&a).await;
    let mut slow = Open::post(harness.relay, CHAT, HI).await;
    slow.until("data: {}").await;
    let began = std::time::Instant::now();
    assert_eq!(code(&harness.call().await), "broker_busy", "it has the only place");
    a.gone(1).await;
    assert!(began.elapsed() >= Duration::from_millis(900), "not before its time: {:?}", began.elapsed());
    a.always(good());
    assert_eq!(harness.call().await.status, 200, "its place is free");
    let text = slow.closed().await;
    assert!(text.len() < 100_000_000 && !text.ends_with("0\r\n\r\n"), "{}", text.len());
    assert_eq!(harness.disabled().await, Vec::<String>::new(), "a client that is cut off counts against no target");
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_steadily_gets_all_of_its_answer() {
    let part = "x".repeat(10_000_000);
    let act = vec![stream(), chunk("data: {}\n\n"), chunk(&part), chunk("the end"), last_chunk()];
    let a = Scripted::start(act).await;
    let harness = impatient(&a).await;
    let mut slow = Open::post(harness.relay, CHAT, HI).await;
    slow.until("data: {}").await;
    let mut pace = tokio::time::interval(Duration::from_millis(400));
    for _ in 0..5 {
        pace.tick().await;
        slow.some(1_000_000).await;
    }
    slow.until("the end\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_client_that_sends_its_body_too_slowly_gets_408_and_frees_its_place() {
    let a = Scripted::start(good()).await;
    let harness = impatient(&a).await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{{");
    let mut slow = Open::raw(harness.relay, head.as_bytes()).await;
    let mut pace = tokio::time::interval(Duration::from_millis(300));
    let answer = async {
        // A byte now and then does not make it any faster.
        loop {
            tokio::select! {
                _ = pace.tick() => slow.again(b" ").await,
                () = slow.more() => break,
            }
        }
        slow.until("request_too_slow").await;
        slow.text()
    };
    let answer = super::super::support::soon("the end of its time", answer).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(harness.call().await.status, 200, "its place is free");
    assert_eq!(a.calls(), 1, "and no target was called for it");
}

#[tokio::test]
async fn a_client_that_sends_its_body_slowly_but_steadily_is_served() {
    let a = Scripted::start(good()).await;
    let harness = impatient(&a).await;
    let part = " ".repeat(256 << 10);
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{{}}", 4 * part.len() + 2);
    let began = std::time::Instant::now();
    let mut slow = Open::raw(harness.relay, head.as_bytes()).await;
    let mut pace = tokio::time::interval(Duration::from_millis(400));
    for _ in 0..4 {
        pace.tick().await;
        slow.again(part.as_bytes()).await;
    }
    slow.until(super::HELLO).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "longer than its patience: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_steady_body_takes_no_longer_than_a_call_may() {
    let a = Scripted::start(good()).await;
    let text = pools(&[super::target("a", &a.url())]).replace(r#""timeout": "25s""#, r#""timeout": "1s""#);
    let harness = Harness::of(&text).await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{{");
    let mut slow = Open::raw(harness.relay, head.as_bytes()).await;
    slow.until("request_too_slow").await;
    assert_eq!(a.calls(), 0);
}

#[tokio::test]
async fn over_the_limit_a_client_gets_the_time_to_come_back() {
    let a = Scripted::start(vec![Move::Hold]).await;
    let text = pools(&[super::target("a", &a.url())]);
    let harness = Harness::with(&text, |setup| setup.set("BROKER_RELAY_CALLS", "2")).await;
    let _one = Open::post(harness.relay, CHAT, HI).await;
    let two = Open::post(harness.relay, CHAT, HI).await;
    a.called(2).await;
    let busy = harness.call().await;
    assert_eq!((busy.status, busy.header("retry-after"), code(&busy).as_str()), (503, Some("1"), "broker_busy"));
    a.always(good());
    drop(two);
    a.gone(1).await;
    // The place is free when the connection's end was seen, which is before the upstream's was.
    assert_eq!(harness.call().await.status, 200);
}

#[tokio::test]
async fn connections_are_kept_for_the_next_call() {
    let a = Scripted::start(good()).await;
    let harness = Harness::before(&[&a]).await;
    let request = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{{}}");
    let mut open = Open::raw(harness.relay, request.as_bytes()).await;
    open.until("hello").await;
    open.again(request.as_bytes()).await;
    super::super::support::soon("a second answer", async {
        while open.text().matches("hello").count() < 2 {
            open.more().await;
        }
    })
    .await;
    assert_eq!(a.calls(), 2);
}

#[tokio::test]
async fn at_the_end_calls_in_flight_are_finished_and_no_new_ones_taken() {
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let mut act = vec![Move::Await(std::sync::Arc::clone(&go))];
    act.extend(good());
    let a = Scripted::start(act).await;
    let text = pools(&[super::target("a", &a.url())]);
    let mut harness = Harness::of(&text).await;
    let mut call = Open::post(harness.relay, CHAT, HI).await;
    a.called(1).await;
    harness.broker.signal("TERM");
    harness.broker.until(&["stopping"]).await;
    super::super::support::soon("a closed port", async {
        while tokio::net::TcpStream::connect(harness.relay).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    go.notify_one();
    call.until("hello").await;
    assert_eq!(harness.broker.exit().await.code(), Some(0));
}

#[tokio::test]
async fn half_a_head_does_not_delay_the_end() {
    let a = Scripted::start(good()).await;
    let text = pools(&[super::target("a", &a.url())]);
    let mut harness = Harness::with(&text, |setup| setup.set("BROKER_RELAY_GRACE", "60")).await;
    let whole = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{{}}");
    let mut second = Open::raw(harness.relay, whole.as_bytes()).await;
    second.until("hello").await;
    second.again(b"POST /llm/").await;
    let _first = Open::raw(harness.relay, b"POST /llm/").await;
    let began = std::time::Instant::now();
    harness.broker.signal("TERM");
    assert_eq!(harness.broker.exit().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "not after the grace: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_as_the_next_call_comes_is_no_targets_fault() {
    let (a, b) = (Scripted::start(answer_and_hang_up_later(HELLO)).await, Scripted::start(good()).await);
    let harness = Harness::before(&[&a, &b]).await;
    for calls in 1..=5 {
        let answer = harness.call().await;
        assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some("/llm/a/")), "call {calls}");
        assert_eq!((a.calls(), b.calls()), (calls, 0));
    }
    assert_eq!(harness.disabled().await, Vec::<String>::new());
}

#[tokio::test]
async fn targets_and_limits_change_while_the_relay_runs() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let file = PoolsFile::of(&pools(&[super::target("a", &a.url())]));
    let harness = Harness::on(file, |setup| setup).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/a/"));
    harness.file.put(&pools(&[super::target("a", &b.url()), super::target("b", &a.url())]));
    harness.broker.until(&["pools file applied"]).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/a/"));
    assert_eq!((a.calls(), b.calls()), (1, 1), "the same name, another address");
    b.always(answer(500, &[], "{}"));
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"));
    harness.file.put(&pools(&[super::target("c", "https://${NOBODY}/")]));
    harness.broker.until(&["needs the variable NOBODY"]).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"), "a bad file changes nothing");
    harness.file.put(
        &pools(&[super::target("a", &b.url()), super::target("b", &a.url())])
            .replace("{\"timeout\"", "{\"attempts\": 1, \"timeout\""),
    );
    harness.broker.until_nth(&["pools file applied"], 2).await;
    a.always(answer(500, &[], "{}"));
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.header("x-broker-attempts")), (500, Some("1")));
}
