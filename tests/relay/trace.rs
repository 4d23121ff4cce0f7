//! What became of each attempt of a call, for clients with the operators' token only.

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::super::support::http::{Answer, Open};
use super::super::support::scripted::{Move, Scripted, answer, chunk, last_chunk, stream};
use super::super::support::{GPT4, GPT35, LOGGER, Setup, soon};
use super::gateway::Through;
use super::{CHAT, HELLO, HI, Harness, good, pools, stalling_target, target};

const OPERATORS: &str = "the-operators-own-token";
const ASKING: [(&str, &str); 2] = [("X-Broker-Explain", "1"), ("X-Broker-Token", OPERATORS)];

fn operated(setup: Setup) -> Setup {
    setup.set("BROKER_ADMIN_TOKEN", OPERATORS).secret(OPERATORS)
}

fn trace(answer: &Answer) -> Value {
    serde_json::from_str(answer.header("x-broker-trace").unwrap()).unwrap()
}

/// One attempt of a trace: who, how it ended, and something of why.
fn attempt(trace: &Value, place: usize, router: &str, how: (&str, Value), why: &str) {
    let attempt = &trace[place];
    assert_eq!((&attempt["router"], &attempt[how.0]), (&json!(router), &how.1), "{trace}");
    assert!(attempt["why"].as_str().unwrap().contains(why) && attempt["ms"].is_u64(), "{trace}");
    let has_error = attempt["status"].as_u64().is_some_and(|status| status >= 400);
    assert_eq!(attempt["error_class"].is_string(), has_error, "{trace}");
    assert_eq!(attempt.as_object().unwrap().len(), 4 + usize::from(has_error), "{trace}");
}

#[tokio::test]
async fn each_attempt_is_listed_with_its_end_its_time_and_its_reason() {
    let (a, b, c) = (Scripted::start(answer(503, &[], "{}")).await, Scripted::start(vec![Move::Hold]).await, good());
    let c = Scripted::start(c).await;
    let all = pools(&[target("a", &a.url()), stalling_target("b", &b.url()), target("c", &c.url())]);
    let harness = Harness::with(&all, operated).await;
    let answer = harness.send(CHAT, &ASKING, HI).await;
    let shown = trace(&answer);
    assert_eq!((answer.status, shown.as_array().unwrap().len()), (200, 3), "{shown}");
    attempt(&shown, 0, "/llm/a/", ("status", json!(503)), "first in order");
    attempt(&shown, 1, "/llm/b/", ("broken", json!("gave no answer in time")), "");
    attempt(&shown, 2, "/llm/c/", ("status", json!(200)), "");
    assert!(shown[1]["ms"].as_u64().unwrap() >= 400, "it was waited for: {shown}");
    assert_eq!(harness.call().await.header("x-broker-trace"), None, "not asked for");
}

#[tokio::test]
async fn a_stream_and_a_call_that_is_given_up_and_one_without_attempts_have_one_too() {
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n";
    let a = Scripted::start(vec![stream(), chunk(event), chunk("data: [DONE]\n\n"), last_chunk()]).await;
    let harness = Harness::with(&pools(&[target("a", &a.url())]), operated).await;
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nHost: h\r\nX-Broker-Explain: 1\r\nX-Broker-Token: {OPERATORS}\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let mut streamed = Open::raw(harness.relay, request.as_bytes()).await;
    streamed.until(event).await;
    assert!(streamed.text().contains("x-broker-trace: [{\"") && streamed.text().contains("\"status\":200"));
    a.always(answer(500, &[], "{}"));
    let last = harness.send(CHAT, &ASKING, HI).await;
    assert_eq!((last.status, last.header("x-broker-reason")), (500, Some("no target left")));
    attempt(&trace(&last), 0, "/llm/a/", ("status", json!(500)), "first in order");
    for path in [CHAT, "/other/"] {
        let ours = harness.send(path, &ASKING, HI).await;
        assert_eq!(trace(&ours), json!([]), "{path} {}", ours.text());
    }
    let broken = Harness::with(&pools(&[target("a", "http://127.0.0.1:9/")]), operated).await;
    let ours = broken.send(CHAT, &ASKING, HI).await;
    assert!(ours.status == 503 && ours.text().contains("all_targets_unavailable"), "{}", ours.text());
    attempt(&trace(&ours), 0, "/llm/a/", ("broken", json!("cannot be connected to")), "first in order");
}

#[tokio::test]
async fn without_the_token_a_call_is_served_as_ever_and_the_error_says_what_is_missing() {
    let a = Scripted::start(good()).await;
    let only = pools(&[target("a", &a.url())]);
    let open = Harness::with(&only, operated).await;
    let closed = Harness::of(&only).await;
    for (harness, headers, words) in [
        (&open, vec![ASKING[0]], "needs x-broker-token"),
        (&open, vec![ASKING[0], ("X-Broker-Token", "the-operators-own-toke")], "is not the operators' token"),
        (&open, vec![ASKING[0], ("Authorization", "Bearer the-operators-own-token")], "needs x-broker-token"),
        (&open, vec![("X-Broker-Explain", "please"), ASKING[1]], "must be 1"),
        (&closed, ASKING.to_vec(), "broker_admin_token"),
    ] {
        let answer = harness.send(CHAT, &headers, HI).await;
        assert_eq!(answer.status, 200, "{headers:?}");
        let shown = trace(&answer);
        assert!(shown["error"].as_str().unwrap().contains(words), "{headers:?}: {shown}");
        assert_eq!(shown.as_object().unwrap().len(), 1, "{shown}");
    }
}

#[tokio::test]
async fn what_is_between_a_client_and_the_relay_goes_no_further() {
    let a = Scripted::start(answer(200, &[("X-Broker-Trace", "theirs"), ("X-Broker-Reason", "theirs")], HELLO)).await;
    let harness = Harness::with(&pools(&[target("a", &a.url())]), operated).await;
    let mut entries = harness.bus.subscribe(LOGGER).await;
    let headers = [&ASKING[..], &[("X-Broker-Whatever", "1")]].concat();
    let answer = harness.send(CHAT, &headers, HI).await;
    assert!(!answer.head.contains("theirs") && answer.status == 200, "no target speaks for us: {}", answer.head);
    assert!(!a.last().head.contains("x-broker"), "{}", a.last().head);
    let entry = soon("an entry", entries.next()).await.unwrap();
    let entry = String::from_utf8(entry.payload.to_vec()).unwrap();
    let asked = &serde_json::from_str::<Value>(&entry).unwrap()["request"]["outbound_headers"];
    assert!(!entry.contains(OPERATORS) && !asked.to_string().contains("X-Broker"), "{entry}");
}

#[tokio::test]
async fn through_the_gateway_it_is_the_same() {
    let harness = Through::with(operated).await;
    let mut entries = harness.bus.subscribe(LOGGER).await;
    harness.llms.answer("gpt35turbo", 503);
    let shown = trace(&harness.send(&ASKING).await);
    attempt(&shown, 0, GPT35, ("status", json!(503)), "first in order");
    attempt(&shown, 1, GPT4, ("status", json!(200)), "");
    for _ in 0..2 {
        let entry = soon("an entry", entries.next()).await.unwrap();
        let entry = String::from_utf8(entry.payload.to_vec()).unwrap();
        assert!(!entry.contains(OPERATORS) && !entry.contains("X-Broker"), "{entry}");
    }
    harness.llms.answer("gpt4", 500);
    let shown = trace(&harness.send(&ASKING).await);
    attempt(&shown, 0, GPT4, ("status", json!(500)), "");
    assert_eq!(trace(&harness.send(&ASKING).await), json!([]), "both are disabled, and no target was called");
    assert!(trace(&harness.send(&ASKING[..1]).await)["error"].is_string());
}
