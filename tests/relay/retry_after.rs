//! When a call may come back whose targets are out: those that its conditions lead to, under every `when_all_disabled`; and calls
//! that wait for a target.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::support::http::{self, Answer};
use super::super::support::metrics::Scrape;
use super::super::support::scripted::{Act, Move, Scripted, answer};
use super::super::support::{PoolsFile, soon};
use super::{CHAT, HI, Harness, good, target};

const OPERATORS: &str = "the-operators-own-token";
const IN_PROGRESS: &str = "gecholog_broker_relay_calls_under_way";

/// A refusal that names its wait in seconds.
fn busy(status: u16, seconds: u64) -> Act {
    answer(status, &[("Retry-After", &seconds.to_string())], r#"{"error": {"message": "later"}}"#)
}

/// A pool of these targets with these keys, in order of preference; and these keys of the file.
fn pool(keys: &str, file: &str, targets: &[String]) -> String {
    let targets = targets.join(",");
    let relay = r#""relay": {"backoff": {"base": "5ms", "cap": "20ms"}}"#;
    format!(r#"{{{relay}, {file} "pools": [{{"ingress": "/llm/", {keys} "targets": [{targets}]}}]}}"#)
}

async fn before(text: &str) -> Harness {
    Harness::shipped(PoolsFile::of(text), |setup| setup.set("BROKER_ADMIN_TOKEN", OPERATORS).secret(OPERATORS)).await
}

/// In order of preference.
const FALLBACK: &str = r#""strategy": {"mode": "fallback"},"#;

fn code(answer: &Answer) -> Value {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["error"]["code"].clone()
}

fn wait(answer: &Answer) -> Option<u64> {
    Some(answer.header("retry-after")?.parse().unwrap())
}

#[tokio::test]
async fn s1_7_a_call_is_told_when_the_targets_are_back_that_its_conditions_lead_to() {
    for (status, expected) in [(429, "all_targets_rate_limited"), (503, "all_targets_unavailable")] {
        let [a, b, c] = [good(), busy(status, 80), busy(status, 90)].map(Scripted::start);
        let (a, b, c) = (a.await, b.await, c.await);
        let by_model = r#""strategy": {"mode": "conditional", "default": "a",
            "conditions": [{"query": {"params.model": {"$eq": "gpt-4o"}}, "then": "both"}]},"#;
        let both = [target("b", &b.url()), target("c", &c.url())].join(",");
        let both = format!(r#"{{"name": "both", {FALLBACK} "targets": [{both}]}}"#);
        let harness = before(&pool(by_model, "", &[both, target("a", &a.url())])).await;
        let first = harness.call().await;
        assert_eq!((first.status, b.calls(), c.calls()), (status, 1, 1));
        let began = Instant::now();
        for _ in 0..5 {
            let told = harness.call().await;
            assert_eq!((told.status, code(&told)), (status, json!(expected)), "{}", told.text());
            assert!((70..=80).contains(&wait(&told).unwrap()), "{:?}", wait(&told));
        }
        assert!(began.elapsed() < Duration::from_secs(4), "none is held");
        assert_eq!((b.calls(), c.calls()), (1, 1), "neither is asked before five seconds are over");
        assert_eq!(harness.send(CHAT, &[], &HI.replace("gpt-4o", "other")).await.status, 200);
        // One early probe.
        b.always(good());
        soon("the first to be asked", async { while harness.call().await.status != 200 {} }).await;
        assert_eq!((b.calls() > 1, c.calls()), (true, 1));
    }
}

#[tokio::test]
async fn s1_7_where_all_targets_are_rate_limited_it_is_429_under_every_mode() {
    for mode in ["soonest", "any", "pass"] {
        let (a, b) = (Scripted::start(busy(429, 90)).await, Scripted::start(busy(429, 100)).await);
        let keys = format!(r#"{FALLBACK} "when_all_disabled": "{mode}","#);
        let harness = before(&pool(&keys, "", &[target("a", &a.url()), target("b", &b.url())])).await;
        assert_eq!(harness.call().await.status, 429);
        let told = harness.call().await;
        assert_eq!((told.status, code(&told)), (429, json!("all_targets_rate_limited")), "{mode}: {}", told.text());
        assert!((80..=90).contains(&wait(&told).unwrap()), "{mode}: {:?}", wait(&told));
        assert_eq!((a.calls(), b.calls()), (1, 1), "{mode}");
    }
}

/// Whatever the last of them said.
#[tokio::test]
async fn s1_7_the_last_answer_says_when_the_first_target_is_back() {
    let last = |headers: &[(&str, &str)]| answer(429, headers, r#"{"error": {"message": "later"}}"#);
    let soon_in_ms = [("Retry-After-Ms", "80"), ("X-Other", "stays")];
    for (first, last, attempts, expected) in [
        (busy(429, 40), last(&[("Retry-After", "90")]), 2, 30..=40),
        (busy(429, 90), last(&[("Retry-After", "50"), ("Retry-After-Ms", "50000")]), 2, 40..=50),
        (busy(429, 90), last(&soon_in_ms), 2, 1..=1),
        // The second may serve at once.
        (busy(429, 90), good(), 1, 1..=1),
    ] {
        let (a, b) = (Scripted::start(first).await, Scripted::start(last).await);
        let text = pool(FALLBACK, "", &[target("a", &a.url()), target("b", &b.url())]);
        let harness = before(&text.replace(r#""backoff""#, &format!(r#""attempts": {attempts}, "backoff""#))).await;
        let told = harness.call().await;
        assert_eq!((told.status, a.calls(), b.calls()), (429, 1, attempts - 1), "{}", told.text());
        assert!(expected.contains(&wait(&told).unwrap()), "{expected:?}: {:?}", wait(&told));
        assert_eq!(told.header("retry-after-ms"), None, "clients read it before the other");
    }
}

#[tokio::test]
async fn s1_7_one_503_that_names_its_wait_takes_its_target_out_for_that_long() {
    for status in [503, 529] {
        let (a, b) = (Scripted::start(busy(status, 60)).await, Scripted::start(good()).await);
        let harness = before(&pool(FALLBACK, "", &[target("a", &a.url()), target("b", &b.url())])).await;
        for _ in 0..5 {
            assert_eq!(harness.call().await.status, 200);
        }
        assert_eq!((a.calls(), b.calls()), (1, 5), "{status}");
    }
}

/// A call that waits for its only target, which asked for forty seconds.
async fn held(harness: &Harness, a: &Scripted) -> (tokio::task::JoinHandle<Answer>, Instant) {
    let relay = harness.relay;
    let headers = [("Content-Type", "application/json")];
    let call = tokio::spawn(async move { http::send(relay, "POST", CHAT, &headers, HI.as_bytes()).await.unwrap() });
    a.called(1).await;
    harness.broker.until(&["rate limit of one model", "/llm/a/"]).await;
    (call, Instant::now())
}

async fn is_served(call: tokio::task::JoinHandle<Answer>, since: Instant, by: &str) {
    let answer = soon("the call that waits", call).await.unwrap();
    assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some(by)));
    assert!(since.elapsed() < Duration::from_secs(15), "before the forty seconds are over: {:?}", since.elapsed());
}

/// A call that waits for its only target, which another call has asked.
async fn held_unsent(harness: &Harness) -> (tokio::task::JoinHandle<Answer>, Instant) {
    assert_eq!(harness.call().await.status, 429);
    let (relay, since) = (harness.relay, Instant::now());
    let call = tokio::spawn(async move { http::send(relay, "POST", CHAT, &[], HI.as_bytes()).await.unwrap() });
    let waits = async { while Scrape::of(&harness.broker).await.series(IN_PROGRESS, &[]) != Some(1.0) {} };
    soon("the call that waits", waits).await;
    (call, since)
}

/// One target, which asks for forty seconds; calls wait for it unsent.
async fn before_one(a: &Scripted) -> Harness {
    a.once(busy(429, 40));
    let text = pool(&format!(r#"{FALLBACK} "when_all_disabled": "pass","#), "", &[target("a", &a.url())]);
    before(&text.replace(r#""backoff""#, r#""attempts": 1, "backoff""#)).await
}

#[tokio::test]
async fn calls_that_wait_end_with_what_is_known_when_the_broker_stops() {
    for is_sent in [true, false] {
        let a = Scripted::start(good()).await;
        let (mut harness, (call, _)) = if is_sent {
            a.once(busy(429, 40));
            let harness = before(&pool(FALLBACK, "", &[target("a", &a.url())])).await;
            let held = held(&harness, &a).await;
            (harness, held)
        } else {
            let harness = before_one(&a).await;
            let held = held_unsent(&harness).await;
            (harness, held)
        };
        let stopped = Instant::now();
        harness.broker.signal("TERM");
        let answer = soon("the call that waits", call).await.unwrap();
        assert_eq!((answer.status, a.calls()), (429, 1), "{is_sent}: {}", answer.text());
        assert!((20..=40).contains(&wait(&answer).unwrap()), "{is_sent}: {:?}", wait(&answer));
        let text = answer.text();
        assert_eq!(text.contains("all_targets_rate_limited"), !is_sent, "{text}");
        assert!(harness.broker.exit().await.success());
        assert!(stopped.elapsed() < Duration::from_secs(15), "the grace is 25 s: {:?}", stopped.elapsed());
    }
}

#[tokio::test]
async fn s1_7_a_call_that_waits_is_sent_as_soon_as_a_target_is_back() {
    let a = Scripted::start(good()).await;
    let harness = before_one(&a).await;
    let (call, since) = held_unsent(&harness).await;
    // An operator knows better.
    let bearer = format!("Bearer {OPERATORS}");
    let path = "/api/v1/routers/%2Fllm%2Fa%2F/enable";
    let http = harness.broker.http().await;
    let done = http::send(http, "POST", path, &[("Authorization", bearer.as_str())], b"").await.unwrap();
    assert_eq!(done.status, 200);
    is_served(call, since, "/llm/a/").await;
}

#[tokio::test]
async fn s1_7_a_call_that_waits_is_sent_to_a_target_that_the_file_adds() {
    let (a, b) = (Scripted::start(busy(429, 40)).await, Scripted::start(good()).await);
    let harness = before(&pool(FALLBACK, "", &[target("a", &a.url())])).await;
    let (call, since) = held(&harness, &a).await;
    harness.file.put(&pool(FALLBACK, "", &[target("a", &a.url()), target("b", &b.url())]));
    is_served(call, since, "/llm/b/").await;
}

/// Many calls wait, and one that comes later is the early probe: its success wakes them, and not all in one moment.
#[tokio::test]
async fn s1_7_calls_that_wait_are_sent_when_an_early_probe_succeeds() {
    let a = Scripted::start(good()).await;
    let refusals: [Arc<Notify>; 8] = Default::default();
    for refusal in &refusals {
        a.once([vec![Move::Await(Arc::clone(refusal))], busy(429, 40)].concat());
    }
    let harness = before(&pool(FALLBACK, "", &[target("a", &a.url())])).await;
    let relay = harness.relay;
    let call = move || async move {
        http::send(relay, "POST", CHAT, &[("Content-Type", "application/json")], HI.as_bytes()).await.unwrap()
    };
    let calls = refusals.each_ref().map(|_| tokio::spawn(call()));
    a.called(refusals.len()).await;
    let since = Instant::now();
    refusals.iter().for_each(|refusal| refusal.notify_one());
    // Before that, one more call is no probe, and its success would wake nobody.
    harness.broker.until(&["rate limit of one model", "/llm/a/"]).await;
    soon("an early probe", async { while harness.call().await.status != 200 {} }).await;
    for call in calls {
        is_served(call, since, "/llm/a/").await;
    }
}
