//! A kept connection to a target that breaks: what is sent again, how it is counted, and whom it is held against.

use futures_util::StreamExt;

use super::super::support::http;
use super::super::support::metrics::Scrape;
use super::super::support::scripted::{Act, Move, Scripted, answer, kept_answer};
use super::super::support::{LOGGER, soon};
use super::{CHAT, HELLO, HI, Harness, good, pools, target};

const ATTEMPTS: &str = "gecholog_broker_relay_attempts_total";

/// Answers one call and keeps the connection, reads the next call, and then does this.
fn then(act: Act) -> Act {
    [vec![kept_answer(HELLO), Move::NextCall], act].concat()
}

/// Two targets of which the first has a kept connection that will do this with the next call.
async fn with_kept_connection(act: Act) -> (Scripted, Scripted, Harness) {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    a.once(then(act));
    let harness = Harness::of(&pools(&[target("a", &a.url()), target("b", &b.url())])).await;
    assert_eq!(harness.call().await.header("x-broker-attempts"), Some("1"));
    assert_eq!(a.calls(), 1);
    (a, b, harness)
}

#[tokio::test]
async fn one_that_closes_before_any_answer_is_an_attempt_that_is_no_targets_fault() {
    let (a, b, harness) = with_kept_connection(vec![]).await;
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some("/llm/a/")));
    assert_eq!(answer.header("x-broker-attempts"), Some("2"), "it was sent twice, and that is what is said");
    assert_eq!((a.calls(), b.calls()), (3, 0));
    assert_eq!(harness.disabled().await, Vec::<String>::new());
    Scrape::of(&harness.broker).await.has(&[
        (ATTEMPTS, &["stale_connection"], 1.0),
        (ATTEMPTS, &["answered_2xx"], 2.0),
        (ATTEMPTS, &["\"no_answer\""], 0.0),
        (ATTEMPTS, &["client_gone"], 0.0),
    ]);
}

#[tokio::test]
async fn one_that_is_sent_again_goes_to_the_same_provider() {
    let a = Scripted::start(good()).await;
    a.once(then(vec![]));
    let of_openai = target("a", &a.url()).replacen('{', r#"{"provider": "openai", "#, 1);
    let harness = Harness::of(&pools(&[of_openai])).await;
    for attempts in ["1", "2"] {
        assert_eq!(harness.call().await.header("x-broker-attempts"), Some(attempts));
    }
    let calls = ("gen_ai_client_operation_duration_seconds_count", &["provider_name=\"openai\""][..], 2.0);
    Scrape::of(&harness.broker).await.has(&[calls]);
}

/// It is said of the time before the request, and crosses it on its way.
#[tokio::test]
async fn one_that_answers_408_and_closes_is_asked_again_over_a_new_one() {
    let idle = || answer(408, &[], "");
    let (a, b, harness) = with_kept_connection(idle()).await;
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some("/llm/a/")));
    assert_eq!((answer.header("x-broker-attempts"), a.calls(), b.calls()), (Some("2"), 3, 0));
    assert_eq!(harness.disabled().await, Vec::<String>::new());
    // On a new connection it is about the request.
    a.once(idle());
    let answer = harness.call().await;
    assert_eq!((answer.header("x-broker-router"), answer.header("x-broker-attempts")), (Some("/llm/b/"), Some("2")));
}

#[tokio::test]
async fn one_that_is_sent_again_leaves_no_gap_in_the_numbers_of_the_log() {
    let (a, b, harness) = with_kept_connection(vec![]).await;
    let mut entries = harness.bus.subscribe(LOGGER).await;
    a.once(answer(500, &[], "{}"));
    let came = harness.call().await;
    assert_eq!((came.header("x-broker-router"), came.header("x-broker-attempts")), (Some("/llm/b/"), Some("3")));
    assert_eq!(b.calls(), 1);
    let session = came.header("x-broker-session").unwrap().trim_end_matches('0').to_ascii_uppercase();
    let mut numbers = Vec::new();
    while numbers.len() < 2 {
        let entry = soon("an entry", entries.next()).await.unwrap();
        let entry: serde_json::Value = serde_json::from_slice(&entry.payload).unwrap();
        // The entry of the call before may still be on its way.
        numbers.extend(entry["transaction_id"].as_str().unwrap().strip_prefix(&session).map(str::to_owned));
    }
    assert_eq!(numbers, ["1", "2"]);
}

#[tokio::test]
async fn a_target_that_closes_a_new_connection_too_is_at_fault() {
    let (a, b, harness) = with_kept_connection(vec![]).await;
    a.once(vec![]);
    let answer = harness.call().await;
    assert_eq!((answer.header("x-broker-router"), answer.header("x-broker-attempts")), (Some("/llm/b/"), Some("3")));
    assert_eq!((a.calls(), b.calls()), (3, 1));
    harness.broker.until(&["router disabled", "/llm/a/", "closed the connection without an answer"]).await;
}

#[tokio::test]
async fn it_is_sent_no_more_often_than_allowed() {
    let a = Scripted::start(good()).await;
    a.once(then(vec![]));
    let once = pools(&[target("a", &a.url())]).replace("{\"timeout\"", "{\"attempts\": 1, \"timeout\"");
    let harness = Harness::of(&once).await;
    harness.call().await;
    let answer = harness.call().await;
    assert_eq!(
        (answer.status, answer.header("x-broker-attempts"), a.calls()),
        (503, Some("1"), 2),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("/llm/a/ closed a reused connection before it answered"), "{}", answer.text());
    assert_eq!(harness.disabled().await, Vec::<String>::new());
    assert_eq!((harness.call().await.status, a.calls()), (200, 3));
}

#[tokio::test]
async fn one_that_breaks_in_its_answer_has_failed_and_is_not_sent_there_again() {
    for (fault, bytes, cause) in [
        ("half a head", "HTTP/1.1 200 OK\r\nContent-", "closed the connection without an answer"),
        ("one byte", "H", "closed the connection without an answer"),
        ("no HTTP", "HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n", "not valid HTTP"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}", "not valid HTTP"),
        ("half a body", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{", "truncated its answer"),
    ] {
        let (a, b, harness) = with_kept_connection(vec![Move::Send(bytes.into())]).await;
        let answer = harness.call().await;
        assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some("/llm/b/")), "{fault}");
        assert_eq!(answer.header("x-broker-attempts"), Some("2"), "{fault}");
        assert_eq!((a.calls(), b.calls()), (2, 1), "{fault}: it was sent there once");
        harness.broker.until(&["router disabled", "/llm/a/", cause]).await;
    }
}

#[tokio::test]
async fn one_that_is_reset_while_a_large_body_is_written_is_no_targets_fault() {
    let a = Scripted::start(good()).await;
    // It reads 1 KB of the second call and closes with the rest unread: a reset.
    a.once(vec![kept_answer(HELLO), Move::Hear]);
    let harness = Harness::of(&pools(&[target("a", &a.url())])).await;
    harness.call().await;
    let body = format!(r#"{{"messages": "{}"}}"#, "x".repeat(8 << 20));
    let answer = harness.send(CHAT, &[], &body).await;
    assert_eq!((answer.status, answer.header("x-broker-attempts")), (200, Some("2")), "{}", answer.text());
    assert_eq!((a.last().body.len(), harness.disabled().await), (body.len(), Vec::new()));
}

#[tokio::test]
async fn many_kept_connections_that_close_at_once_take_no_target_out() {
    let a = Scripted::start(vec![kept_answer(HELLO), Move::NextCall]).await;
    let relaxed = pools(&[target("a", &a.url())]).replace(
        "{\"timeout\"",
        "{\"attempts\": 3, \"retry_budget\": {\"ratio\": 1, \"per_second\": 100}, \"timeout\"",
    );
    let harness = Harness::of(&relaxed).await;
    for _ in 0..3 {
        let calls = (0..20).map(|_| http::send(harness.relay, "POST", CHAT, &[], HI.as_bytes()));
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(answer.unwrap().status, 200);
        }
    }
    assert_eq!(harness.disabled().await, Vec::<String>::new());
}
