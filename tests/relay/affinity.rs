//! A call that names what a target made goes there: learnt from answers, whole and streamed, shared with the other replicas.

use futures_util::StreamExt;
use serde_json::Value;

use super::super::support::http;
use super::super::support::scripted::{Act, Call, Scripted, answer, chunk, last_chunk, stream};
use super::super::support::{Broker, Bus, LOGGER, PoolsFile, Setup, soon};
use super::{CHAT, HELLO, HI, Harness, KEY, pools, target};

/// What an upstream of this name makes.
fn makes(name: &'static str) -> impl Fn(&Call) -> Act + Send + 'static {
    move |call| {
        let path = call.head.split(' ').nth(1).unwrap_or_default();
        let made = |kind: &str| answer(200, &[], &format!(r#"{{"id": "{kind}_{name}", "object": "{kind}"}}"#));
        match path.trim_start_matches("/v1/") {
            "responses" if call.body.contains("\"stream\"") => vec![
                stream(),
                chunk(&format!(
                    "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"id\":\"streamed_{name}\"}}}}\n\n"
                )),
                chunk(&format!(
                    "data: {{\"type\":\"response.output_item.added\",\"item\":{{\"id\":\"streamed_msg_{name}\",\"type\":\"message\"}}}}\n\n"
                )),
                chunk("data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n"),
                chunk("data: {\"type\":\"response.completed\",\"response\":{\"output\":[1]}}\n\n"),
                last_chunk(),
            ],
            "responses" => {
                let output = format!(
                    r#"[{{"type": "reasoning", "encrypted_content": "secret_{name}"}}, {{"type": "message", "id": "msg_{name}", "content": [{{"text": "hi"}}]}}]"#
                );
                answer(200, &[], &format!(r#"{{"id": "response_{name}", "object": "response", "output": {output}}}"#))
            }
            "chat/completions" if call.body.contains("\"store\"") => {
                let chat = |rest: &str| chunk(&format!("data: {{\"id\":\"chat_{name}\",\"choices\":[{rest}]}}\n\n"));
                vec![
                    stream(),
                    chat(r#"{"index":0,"delta":{"role":"assistant"}}"#),
                    chat(r#"{"index":0,"delta":{"content":"hi"}}"#),
                    chat(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#),
                    chunk("data: [DONE]\n\n"),
                    last_chunk(),
                ]
            }
            "threads" => made("thread"),
            "files" if call.head.starts_with("get ") => {
                answer(200, &[], r#"{"object":"list","data":[],"id":"listed"}"#)
            }
            "files" => made("file"),
            "batches" => made("batch"),
            _ => answer(200, &[], HELLO),
        }
    }
}

/// Two targets, of which the first in order gets what nothing else leads elsewhere.
async fn two() -> (Scripted, Scripted, PoolsFile) {
    let (a, b) = (Scripted::answering(makes("a")).await, Scripted::answering(makes("b")).await);
    let file = PoolsFile::of(&pools(&[target("a", &a.url()), target("b", &b.url())]));
    (a, b, file)
}

/// Who answers a call, at the first attempt.
async fn served_by(harness: &Harness, method: &str, path: &str, body: &str) -> String {
    let answer =
        http::send(harness.relay, method, path, &[("Content-Type", "application/json")], body.as_bytes()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200, "{method} {path}");
    answer.header("x-broker-router").unwrap().to_owned()
}

/// Calls this where only `b` answers: by default five failures in a row disable, so a good answer follows each.
async fn make_at_b(harness: &Harness, a: &Scripted, path: &str, body: &str) {
    a.once(answer(500, &[], "{}"));
    assert_eq!(served_by(harness, "POST", path, body).await, "/llm/b/");
    assert_eq!(served_by(harness, "POST", CHAT, HI).await, "/llm/a/");
}

#[tokio::test]
async fn s1_9_what_names_a_thing_goes_where_it_was_made() {
    let (a, _b, file) = two().await;
    let harness = Harness::shipped(file, |setup| setup).await;
    let continued = r#"{"model": "m", "previous_response_id": "response_b", "input": "hi"}"#;
    assert_eq!(served_by(&harness, "POST", "/llm/responses", continued).await, "/llm/a/", "no target made it yet");
    for (path, body) in [
        ("/llm/responses", r#"{"input": "hi"}"#),
        ("/llm/responses", r#"{"input": "hi", "stream": true}"#),
        (CHAT, r#"{"model": "m", "store": true, "stream": true, "messages": []}"#),
        ("/llm/threads", "{}"),
        ("/llm/files", "{}"),
        ("/llm/batches", "{}"),
    ] {
        make_at_b(&harness, &a, path, body).await;
    }
    for (method, path, body) in [
        ("POST", "/llm/responses", continued),
        ("POST", "/llm/responses", r#"{"previous_response_id": "streamed_b"}"#),
        ("GET", "/llm/responses/response_b", ""),
        ("GET", "/llm/responses/response_b/input_items?limit=2", ""),
        ("GET", "/llm/responses/response%5Fb", ""),
        ("POST", "/llm/responses/streamed_b/cancel", "{}"),
        ("GET", "/llm/chat/completions/chat_b", ""),
        ("POST", "/llm/threads/thread_b/messages", r#"{"role": "user", "content": "hi"}"#),
        ("GET", "/llm/files/file_b/content", ""),
        ("POST", "/llm/batches", r#"{"input_file_id": "file_b"}"#),
        ("POST", "/llm/vector_stores", r#"{"file_ids": ["file_b"]}"#),
        ("POST", "/llm/responses", r#"{"input": [{"content": [{"type": "input_file", "file_id": "file_b"}]}]}"#),
        (
            "POST",
            "/llm/responses",
            r#"{"input": [{"type": "item_reference", "id": "msg_b"}, {"role": "user", "content": "hi"}]}"#,
        ),
        ("POST", "/llm/responses", r#"{"input": [{"type": "item_reference", "id": "streamed_msg_b"}]}"#),
        ("GET", "/llm/batches/batch_b", ""),
        ("DELETE", "/llm/files/file_b", ""),
    ] {
        assert_eq!(served_by(&harness, method, path, body).await, "/llm/b/", "{method} {path} {body}");
    }
    for (method, path, body) in [
        ("POST", "/llm/responses", r#"{"previous_response_id": "response_x"}"#),
        ("POST", "/llm/responses", r#"{"input": "{\"previous_response_id\": \"response_b\"}"}"#),
        ("POST", "/llm/responses", r#"{"input": [{"type": "item_reference", "id": "msg_x"}]}"#),
        ("GET", "/llm/files", ""),
        ("GET", "/llm/files/listed", ""),
    ] {
        assert_eq!(served_by(&harness, method, path, body).await, "/llm/a/", "{method} {path} {body}");
    }
}

#[tokio::test]
async fn s1_9_a_maker_that_may_not_serve_is_left_out_and_the_stamp_says_why() {
    let (a, b, file) = two().await;
    let harness = Harness::on(file, |setup| setup).await;
    let mut entries = harness.bus.subscribe(LOGGER).await;
    let mut why = async || {
        let entry = soon("an entry", entries.next()).await.unwrap();
        let entry: Value = serde_json::from_slice(&entry.payload).unwrap();
        entry["request"]["broker"]["why"].as_str().unwrap().to_owned()
    };
    let continued = r#"{"previous_response_id": "response_a"}"#;
    assert_eq!(served_by(&harness, "POST", "/llm/responses", "{}").await, "/llm/a/");
    assert_eq!(why().await, "first in order, 2 of 2 serve");
    assert_eq!(served_by(&harness, "POST", "/llm/responses", continued).await, "/llm/a/");
    assert_eq!(why().await, "affinity");
    // It fails: the same call goes on to the other, and later ones go there at once.
    a.always(answer(500, &[], "{}"));
    assert_eq!(served_by(&harness, "POST", "/llm/responses", continued).await, "/llm/b/");
    assert_eq!(why().await, "affinity");
    assert_eq!(why().await, "first in order, 1 of 2 serve; affinity with /llm/a/ not possible");
    let before = a.calls();
    assert_eq!(served_by(&harness, "POST", "/llm/responses", continued).await, "/llm/b/");
    assert_eq!(why().await, "first in order, 1 of 2 serve; affinity with /llm/a/ not possible");
    assert_eq!((a.calls(), b.calls()), (before, 2), "a disabled target is not called");
}

#[tokio::test]
async fn s1_9_affinity_can_be_off_and_what_is_not_stored_is_not_learnt() {
    let (a, _b, file) = two().await;
    let harness = Harness::shipped(file, |setup| setup).await;
    make_at_b(&harness, &a, "/llm/responses", r#"{"store": false}"#).await;
    let continued = r#"{"previous_response_id": "response_b"}"#;
    assert_eq!(served_by(&harness, "POST", "/llm/responses", continued).await, "/llm/a/");
    make_at_b(&harness, &a, CHAT, r#"{"model": "m", "store": false, "stream": true, "messages": []}"#).await;
    assert_eq!(served_by(&harness, "GET", "/llm/chat/completions/chat_b", "").await, "/llm/a/");
    let encrypted =
        r#"{"store": false, "input": [{"type": "reasoning", "summary": [], "encrypted_content": "secret_b"}]}"#;
    assert_eq!(served_by(&harness, "POST", "/llm/responses", encrypted).await, "/llm/b/", "only its maker can read it");
    let (a, b) = (Scripted::answering(makes("a")).await, Scripted::answering(makes("b")).await);
    let text = pools(&[target("a", &a.url()), target("b", &b.url())]);
    let file = PoolsFile::of(&text.replace(r#""ingress""#, r#""affinity": false, "ingress""#));
    let off = Harness::shipped(file, |setup| setup).await;
    make_at_b(&off, &a, "/llm/responses", "{}").await;
    assert_eq!(served_by(&off, "POST", "/llm/responses", continued).await, "/llm/a/");
}

/// One more replica on the same bus, with the same pools.
pub(super) async fn replica(bus: &Bus, file: &PoolsFile) -> (Broker, std::net::SocketAddr) {
    let setup = Setup::on(bus).set("BROKER_CONFIG", file.path()).set("BROKER_RELAY", "127.0.0.1:0");
    let broker = setup.set("KEY", KEY).secret(KEY).ready().await;
    let relay = broker.relay().await;
    (broker, relay)
}

/// Asks one replica until the answer comes from this target: word of an id takes some milliseconds.
async fn until_served_by(relay: std::net::SocketAddr, router: &str) {
    let asking = async {
        loop {
            let path = "/llm/responses/response_b";
            let answer = http::send(relay, "GET", path, &[], b"").await.unwrap();
            if answer.header("x-broker-router") == Some(router) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    soon("the other replica knows it", asking).await;
}

#[tokio::test]
async fn s1_9_replicas_share_what_they_learn_also_with_one_that_starts_later() {
    let (a, _b, file) = two().await;
    let harness = Harness::shipped(file, |setup| setup).await;
    let (other, other_relay) = replica(&harness.bus, &harness.file).await;
    let subject = "coburn.gl.broker.ctl.affinity";
    let mut heard = harness.bus.subscribe(subject).await;
    make_at_b(&harness, &a, "/llm/responses", "{}").await;
    let message = soon("a message", heard.next()).await.unwrap();
    let text = String::from_utf8(message.payload.to_vec()).unwrap();
    assert!(text.contains("/llm/b/") && !text.contains("response_b") && !text.contains(KEY), "{text}");
    until_served_by(other_relay, "/llm/b/").await;
    let (_late, late_relay) = replica(&harness.bus, &harness.file).await;
    until_served_by(late_relay, "/llm/b/").await;
    drop(other);
}

#[tokio::test]
async fn s1_9_what_is_made_while_the_bus_is_away_is_known_to_all_once_it_is_back() {
    let (a, _b, file) = two().await;
    let mut harness = Harness::shipped(file, |setup| setup).await;
    let (other, other_relay) = replica(&harness.bus, &harness.file).await;
    harness.bus.server.kill();
    for broker in [&harness.broker, &other] {
        broker.until(&["the connection to the bus is lost", "logs"]).await;
    }
    make_at_b(&harness, &a, "/llm/responses", "{}").await;
    harness.bus.server.restart().unwrap();
    until_served_by(other_relay, "/llm/b/").await;
}

#[tokio::test]
async fn s1_9_forged_messages_lead_nowhere_but_to_targets_that_serve() {
    let (a, _b, file) = two().await;
    let harness = Harness::shipped(file, |setup| setup).await;
    make_at_b(&harness, &a, "/llm/responses", "{}").await;
    let key = "0".repeat(32);
    let large = format!("[{}]", vec![format!("[\"{key}\",\"/llm/a/\"]"); 5_000].join(","));
    for forged in ["", "[", "[[1,2]]", "[[\"x\",\"/llm/a/\"]]", "\u{0}", &format!("[[\"{key}\",\"/evil/\"]]"), &large] {
        let subject = "coburn.gl.broker.ctl.affinity";
        harness.bus.client.publish(subject, forged.to_owned().into()).await.unwrap();
    }
    harness.bus.client.flush().await.unwrap();
    let continued = r#"{"previous_response_id": "response_b"}"#;
    assert_eq!(served_by(&harness, "POST", "/llm/responses", continued).await, "/llm/b/");
    assert_eq!(served_by(&harness, "POST", "/llm/responses", "{}").await, "/llm/a/");
}
