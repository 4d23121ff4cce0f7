//! What has begun goes on as it comes, ends badly where its target does, and ends at once where the client does.

use std::io::Write;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::Notify;

use super::super::support::http::Open;
use super::super::support::scripted::{Move, Scripted, answer, chunk, last_chunk, stream};
use super::super::support::{LOGGER, soon};
use super::{CHAT, HI, Harness, good};

const STREAMED: &str = r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
const ONE: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n";
const TWO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"two\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[tokio::test]
async fn events_come_when_they_are_sent() {
    let go = Arc::new(Notify::new());
    let act = vec![stream(), chunk(ONE), Move::Await(Arc::clone(&go)), chunk(TWO), chunk(DONE), last_chunk()];
    let a = Scripted::start(act).await;
    let harness = Harness::before(&[&a]).await;
    let mut answer = Open::post(harness.relay, CHAT, HI).await;
    answer.until("\"one\"").await;
    assert!(!answer.text().contains("\"two\""));
    go.notify_one();
    answer.until("\r\n0\r\n\r\n").await;
    let text = answer.text();
    assert!(text.contains("\"two\"") && text.contains("[DONE]"), "{text}");
    assert!(text.to_ascii_lowercase().contains("x-broker-router: /llm/a/"), "{text}");
    assert_eq!(harness.disabled().await, Vec::<String>::new());
}

/// A stream in gzip, one chunk for each event, as a server packs it that sends each event at once.
fn gzipped(events: &[&str]) -> Vec<Move> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n";
    let mut moves = vec![Move::Send(format!("{head}Transfer-Encoding: chunked\r\n\r\n").into())];
    for event in events {
        gzip.write_all(event.as_bytes()).unwrap();
        gzip.flush().unwrap();
        let packed = std::mem::take(gzip.get_mut());
        moves.push(Move::Send([format!("{:x}\r\n", packed.len()).as_bytes(), &packed, b"\r\n"].concat()));
    }
    moves
}

#[tokio::test]
async fn s1_11_a_compressed_stream_is_read_as_it_comes() {
    const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    const ERROR: &str = "data: {\"error\":{\"code\":502,\"message\":\"x\"}}\n\n";
    let failed = [gzipped(&[ROLE, ERROR]), vec![last_chunk()]].concat();
    let (a, b) = (Scripted::start(failed).await, Scripted::start(good()).await);
    let harness = Harness::before(&[&a, &b]).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"), "an error before its content");

    let go = Arc::new(Notify::new());
    let mut act = gzipped(&[ONE, TWO, DONE]);
    act.insert(2, Move::Await(Arc::clone(&go)));
    let a = Scripted::start([act, vec![last_chunk()]].concat()).await;
    let harness = Harness::before(&[&a]).await;
    let mut answer = Open::post(harness.relay, CHAT, STREAMED).await;
    answer.until("\"one\"").await;
    go.notify_one();
    answer.until("[DONE]").await;
    assert!(!answer.text().to_ascii_lowercase().contains("content-encoding"), "{}", answer.text());
    assert_eq!(harness.disabled().await, Vec::<String>::new());

    let a = Scripted::start(gzipped(&[ONE])).await;
    let harness = Harness::before(&[&a]).await;
    let text = Open::post(harness.relay, CHAT, STREAMED).await.closed().await;
    assert!(text.contains("\"one\"") && text.contains("stream_broken"), "{text}");
}

#[tokio::test]
async fn a_stream_that_breaks_never_ends_well_and_its_target_is_to_blame() {
    for (fault, last, words) in
        [("cut", None, "truncated its answer"), ("stalled", Some(Move::Hold), "stalled in its answer")]
    {
        let mut act = vec![stream(), chunk(ONE)];
        act.extend(last);
        let (a, b) = (Scripted::start(act).await, Scripted::start(good()).await);
        let harness = Harness::before_stalling(&[&a, &b]).await;
        let text = Open::post(harness.relay, CHAT, HI).await.closed().await;
        assert!(text.contains("\"one\"") && text.contains("stream_broken") && text.contains(words), "{fault}: {text}");
        assert!(!text.contains("\r\n0\r\n"), "{fault}: the connection is cut and not ended: {text}");
        harness.broker.until(&["router disabled", "/llm/a/", words]).await;
        assert_eq!(b.calls(), 0, "{fault}: what has begun is not begun again");
        assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"));
    }
}

#[tokio::test]
async fn a_stream_whose_last_event_came_has_ended_well_though_its_connection_stays_open_or_breaks() {
    for (fault, last) in [("cut", None), ("open", Some(Move::Hold))] {
        let mut act = vec![stream(), chunk(ONE), chunk("data: [DONE]\n\n")];
        act.extend(last);
        let a = Scripted::start(act).await;
        let harness = Harness::before_stalling(&[&a]).await;
        let answer = harness.send(CHAT, &[], STREAMED).await;
        let text = answer.text();
        assert!(text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n") && !text.contains("error"), "{fault}: {text}");
        assert_eq!(harness.disabled().await, Vec::<String>::new(), "{fault}");
    }
}

#[tokio::test]
async fn lines_of_json_that_begin_with_an_error_are_answered_by_another_target() {
    let lines = |text: &str| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
        vec![Move::Send(head.into()), chunk(text), last_chunk()]
    };
    let fails = lines("{\"message\":{\"content\":\"\"},\"done\":false}\n{\"error\":\"model runner has stopped\"}\n");
    let serves =
        lines("{\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"message\":{\"content\":\"\"},\"done\":true}\n");
    let (a, b) = (Scripted::start(fails).await, Scripted::start(serves).await);
    let harness = Harness::before(&[&a, &b]).await;
    let answer = harness.send("/llm/api/chat", &[], HI).await;
    assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some("/llm/b/")));
    assert!(answer.text().ends_with("\"done\":true}\n\r\n0\r\n\r\n"), "{}", answer.text());
    harness.broker.until(&["router disabled", "/llm/a/", "sent an error in its stream"]).await;
}

#[tokio::test]
async fn a_stream_that_breaks_within_an_event_leaves_the_client_no_half_of_one() {
    const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    const HALF: &str = "data: {\"id\":\"1\",\"object\":\"chat";
    let ended = |text: &str| vec![chunk(text), chunk(HALF), last_chunk()];
    for (fault, act) in [
        ("cut", vec![chunk(ONE), chunk(HALF)]),
        ("cut, in one part", vec![chunk(&format!("{ONE}{HALF}"))]),
        ("cut, in many parts", [vec![chunk(ONE)], HALF.split_inclusive(':').map(chunk).collect()].concat()),
        ("stalled", vec![chunk(ONE), chunk(HALF), Move::Hold]),
        ("ended", ended(ONE)),
        ("ended in its preamble", ended(ROLE)),
    ] {
        let a = Scripted::start([vec![stream()], act].concat()).await;
        let harness = Harness::before_stalling(&[&a]).await;
        let text = Open::post(harness.relay, CHAT, STREAMED).await.closed().await;
        assert!(text.contains("stream_broken") && !text.contains("chat\""), "{fault}: {text}");
        assert!(!text.contains("\"object\"") && !text.contains("\"id\""), "{fault}: {text}");
    }
}

#[tokio::test]
async fn a_line_goes_on_once_it_is_whole_and_the_last_one_needs_no_end() {
    let go = Arc::new(Notify::new());
    let (begins, ends) = TWO.split_at(TWO.find("o\"}").unwrap());
    let first = format!("{ONE}event: message\n{begins}");
    let act =
        vec![stream(), chunk(&first), Move::Await(Arc::clone(&go)), chunk(ends), chunk(DONE.trim()), last_chunk()];
    let a = Scripted::start(act).await;
    let harness = Harness::before(&[&a]).await;
    let mut answer = Open::post(harness.relay, CHAT, STREAMED).await;
    answer.until("event: message\n").await;
    assert!(!answer.text().contains("\"tw"), "its line is not whole");
    go.notify_one();
    answer.until("\r\n0\r\n\r\n").await;
    let text = answer.text();
    let pieces =
        [begins, ends, "data: [DONE]"].map(|piece| text.find(piece).unwrap_or_else(|| panic!("{piece}: {text}")));
    assert!(pieces.is_sorted(), "{text}");
    assert_eq!(harness.disabled().await, Vec::<String>::new());
}

#[tokio::test]
async fn comments_keep_a_client_alive_and_first_byte_still_limits_the_first_event() {
    const COMMENT: &str = ": PROCESSING\n\n";
    let limits = r#""relay": {"first_byte": "900ms", "idle": "2s", "hold": "100ms"}"#;
    for first_event in ["", ONE] {
        let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
        let go = Arc::new(Notify::new());
        let more = format!(": more\n\n{first_event}");
        a.once(vec![stream(), chunk(COMMENT), Move::Await(Arc::clone(&go)), chunk(&more), Move::Hold]);
        let limited = super::target("a", &a.url()).replacen('{', &format!("{{{limits}, "), 1);
        let harness = Harness::of(&super::pools(&[limited, super::target("b", &b.url())])).await;
        let mut answer = Open::post(harness.relay, CHAT, STREAMED).await;
        answer.until("PROCESSING").await;
        go.notify_one();
        // When it is cut: src/relay/tests.rs, on a stopped clock.
        let text = answer.closed().await;
        assert!(text.contains("stream_broken") && text.contains("stalled in its answer"), "{text}");
        harness.broker.until(&["router disabled", "/llm/a/", "stalled in its answer"]).await;
        assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_cut_too() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 200000\r\n\r\n";
    let a = Scripted::start(vec![Move::Send(head.into()), Move::Send(vec![b'x'; 100_000])]).await;
    let harness = Harness::before(&[&a]).await;
    let text = Open::post(harness.relay, CHAT, HI).await.closed().await;
    let body = text.split_once("\r\n\r\n").unwrap().1;
    assert!(!body.is_empty() && body.len() <= 100_000 && !text.contains("stream_broken"), "{}", body.len());
    harness.broker.until(&["router disabled", "/llm/a/", "truncated its answer"]).await;
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_stream_is_passed_on_and_its_target_is_to_blame() {
    let error = "data: {\"error\":{\"message\":\"out of luck\"}}\n\n";
    let a = Scripted::start(vec![stream(), chunk(ONE), chunk(error), last_chunk()]).await;
    let harness = Harness::before(&[&a]).await;
    let mut answer = Open::post(harness.relay, CHAT, HI).await;
    answer.until("\r\n0\r\n\r\n").await;
    assert!(answer.text().contains("out of luck"));
    harness.broker.until(&["router disabled", "/llm/a/", "sent an error in its stream"]).await;
}

#[tokio::test]
async fn s1_7_an_error_before_the_content_of_a_stream_says_when_to_come_back() {
    let stated = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"Please try again in 77s\"}}\n\n";
    let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Please try again in 1m17s.\"}}}\n\n";
    let chat = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\ndata: {\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"message\":\"no\",\"details\":[{\"retryDelay\":\"77s\"}]}}\n\n";
    let whole = answer(200, &[("Retry-After", "77")], r#"{"error": {"code": "rate_limit_exceeded", "message": "no"}}"#);
    let streamed = |event: &str| vec![stream(), chunk(event), last_chunk()];
    for act in [streamed(stated), streamed(failed), streamed(chat), whole] {
        let (a, b) = (Scripted::start(act).await, Scripted::start(good()).await);
        let harness = Harness::before(&[&a, &b]).await;
        assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"));
        let router = harness.router("/llm/a/").await;
        let left = router["rests_for"][0]["seconds_left"].as_f64().unwrap_or_default();
        assert!((60.0..100.0).contains(&left), "{router}");
    }
}

#[tokio::test]
async fn a_rate_limit_before_the_content_of_a_stream_is_429_where_there_is_no_other_target() {
    let event = |kind: &str| {
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"Please try again in 77s\"}}}}\n\n"
        )
    };
    let streamed = |kind: &str| vec![stream(), chunk(&event(kind)), last_chunk()];
    for (kinds, status, code) in [
        (["rate_limit_error", "rate_limit_error"], 429, "all_targets_rate_limited"),
        (["rate_limit_error", "api_error"], 503, "all_targets_unavailable"),
    ] {
        let (a, b) = (Scripted::start(streamed(kinds[0])).await, Scripted::start(streamed(kinds[1])).await);
        let harness = Harness::before(&[&a, &b]).await;
        let answer = harness.call().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["code"], code);
        let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((60..=77).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_call_and_counts_against_no_target() {
    let (a, b) = (Scripted::start(vec![Move::Hold]).await, Scripted::start(good()).await);
    let harness = Harness::before(&[&a, &b]).await;
    let waiting = Open::post(harness.relay, CHAT, HI).await;
    a.called(1).await;
    drop(waiting);
    a.gone(1).await;
    a.always(vec![stream(), chunk(ONE), Move::Hold]);
    let mut reading = Open::post(harness.relay, CHAT, HI).await;
    reading.until("\"one\"").await;
    drop(reading);
    a.gone(2).await;
    a.always(good());
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/a/"));
    assert_eq!((harness.disabled().await, b.calls()), (Vec::new(), 0));
}

#[tokio::test]
async fn a_probe_whose_client_goes_away_lets_another_one_find_out() {
    let a = Scripted::start(good()).await;
    let text = super::pools(&[super::target("a", &a.url())]);
    let harness = Harness::with(&text, |setup| setup.set("DISABLED_TIME", "0.005")).await;
    a.once(vec![]);
    a.once(vec![Move::Hold]);
    // The first failure disables it for 0.3 s; the call waits for it and becomes the probe.
    let probe = Open::post(harness.relay, CHAT, HI).await;
    a.called(2).await;
    drop(probe);
    a.gone(1).await;
    let mut entries = harness.bus.subscribe(LOGGER).await;
    assert_eq!(harness.call().await.status, 200);
    let entry = soon("an entry", entries.next()).await.unwrap();
    let entry: serde_json::Value = serde_json::from_slice(&entry.payload).unwrap();
    assert_eq!(entry["request"]["broker"]["probe"], true, "it is a probe, and not the last resort beside one");
    harness.broker.until(&["router enabled", "/llm/a/"]).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_leaves_its_answer_with_the_target() {
    let part = "x".repeat(100_000);
    let mut act = vec![stream(), chunk(ONE)];
    act.extend((0..1_000).map(|_| chunk(&part)));
    let a = Scripted::start(act).await;
    let harness = Harness::before(&[&a]).await;
    let mut answer = Open::post(harness.relay, CHAT, HI).await;
    answer.until("\"one\"").await;
    let before = harness.broker.resident();
    // 100 MB want to come; an answer that is not asked for stays where it is.
    assert_eq!(harness.call().await.status, 200, "others are served");
    if let (Some(before), Some(after)) = (before, harness.broker.resident()) {
        assert!(after < before + 20_000, "{before} kB, then {after} kB");
    }
}
