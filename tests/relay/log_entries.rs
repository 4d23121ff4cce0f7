//! Log entries of calls that do not pass the gateway, in its own form.

use futures_util::StreamExt;
use serde_json::Value;

use super::super::support::scripted::{Move, Scripted, answer};
use super::super::support::{Broker, LOGGER, PoolsFile, Setup, soon};
use super::{HI, Harness, KEY, good, pools, stalling_target, target};

#[tokio::test]
async fn every_attempt_is_an_entry_of_the_log_that_everybody_can_read() {
    let (a, b) = (Scripted::start(answer(503, &[], "{}")).await, Scripted::start(good()).await);
    let harness = Harness::before(&[&a, &b]).await;
    let mut entries = harness.bus.subscribe(LOGGER).await;
    let answer = harness.call().await;
    let session = answer.header("x-broker-session").unwrap().to_ascii_uppercase();
    for (number, router, status) in [(1, "/llm/a/", 503), (2, "/llm/b/", 200)] {
        let message = soon("an entry", entries.next()).await.unwrap();
        let text = String::from_utf8(message.payload.to_vec()).unwrap();
        assert!(!text.contains(KEY), "{text}");
        let entry: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(entry["session_id"], session.as_str());
        assert_eq!(entry["transaction_id"], format!("{}{number}", session.trim_end_matches('0')));
        assert_eq!(entry["request"]["original_gl_path"], "/llm/");
        assert_eq!(entry["request"]["broker"]["router"], router);
        assert_eq!(entry["response"]["gl_path"], router);
        assert_eq!(entry["response"]["inbound_status_code"], status);
        assert_eq!(
            entry["request"]["ingress_payload"].to_string(),
            serde_json::from_str::<Value>(HI).unwrap().to_string()
        );
        assert_eq!(entry["request"]["outbound_headers"]["Authorization"][0], "*****MASKED*****");
    }
}

#[tokio::test]
async fn another_broker_learns_from_it_and_our_own_counts_it_once() {
    let (a, b) = (Scripted::start(answer(500, &[], "{}")).await, Scripted::start(good()).await);
    let harness = Harness::before(&[&a, &b]).await;
    let beside = Setup::on(&harness.bus).set("BROKER_CONFIG", harness.file.path());
    let beside = beside.set("BROKER_HEALTH", "documented").set("KEY", KEY).ready().await;
    assert_eq!(harness.call().await.status, 200);
    beside.until(&["router disabled", "/llm/a/", "answered 500"]).await;
    // Once more through the log of the bus: what it has read by now it has learnt.
    beside.until(&["only the relay serves it"]).await;
    assert_eq!(harness.disabled().await, ["/llm/a/"]);
    assert_eq!(harness.broker.count(&["router disabled for longer"]), 0);
}

/// What one call has found out by waiting or by being refused costs no caller of another replica the same again.
#[tokio::test]
async fn what_takes_a_target_out_alone_takes_it_out_in_every_replica_in_the_same_words() {
    let quota = r#"{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}"#;
    for (act, cause) in [
        (answer(429, &[], quota), "the quota of our account is used up"),
        (answer(200, &[], quota), "the quota of our account is used up"),
        (vec![Move::Hold], "gave no answer in time"),
    ] {
        let (a, b) = (Scripted::start(act).await, Scripted::start(good()).await);
        let text = pools(&[stalling_target("a", &a.url()), target("b", &b.url())]);
        let harness = Harness::shipped(PoolsFile::of(&text), |setup| setup.set("BROKER_HEALTH", "resilient")).await;
        let beside = Setup::on(&harness.bus).set("BROKER_CONFIG", harness.file.path()).set("KEY", KEY).secret(KEY);
        let beside = beside.set("BROKER_HEALTH", "resilient").ready().await;
        assert_eq!(harness.call().await.status, 200, "{cause}");
        for broker in [&harness.broker, &beside] {
            broker.until(&["router disabled", "/llm/a/", cause]).await;
        }
        assert_eq!(a.calls(), 1, "{cause}");
    }
}

/// `broker watch`, listening.
async fn watch(harness: &Harness, arguments: &[&str]) -> Broker {
    let setup = Setup::on(&harness.bus).unset("BROKER_HTTP").arguments(&["watch"]).arguments(arguments);
    let watch = setup.spawn();
    watch.until(&["watching ", LOGGER]).await;
    watch
}

#[tokio::test]
async fn watch_shows_which_attempts_are_one_call() {
    let (a, b) = (Scripted::start(answer(503, &[], "{}")).await, Scripted::start(Vec::new()).await);
    let c = Scripted::start(good()).await;
    let harness = Harness::before(&[&a, &b, &c]).await;
    let (plain, failures) = (watch(&harness, &[]).await, watch(&harness, &["--status", "5xx"]).await);
    let (grouped, of_c) =
        (watch(&harness, &["--grouped"]).await, watch(&harness, &["--grouped", "--router", "/llm/c/"]).await);
    let session = harness.call().await.header("x-broker-session").unwrap().to_ascii_uppercase();
    let number = |number| format!("  {}{number}  ", session.trim_end_matches('0'));
    plain.until(&[&number(1), "  /llm/ -> /llm/a/  503  "]).await;
    plain.until(&[&number(2), "  /llm/ \u{21b3} attempt 2 -> /llm/b/  502  "]).await;
    plain.until(&[&number(3), "  /llm/ \u{21b3} attempt 3 -> /llm/c/  200  "]).await;
    failures.until(&[&number(2), "\u{21b3} attempt 2"]).await;
    for watch in [&grouped, &of_c] {
        watch.until(&["    3  /llm/c/  200  ", "  9+3 tokens gpt-4o $0.0000525  "]).await;
        let text = watch.text();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("watching")).collect();
        let [head, rows @ ..] = &lines[..] else { panic!("{text}") };
        assert!(head.contains(&format!("  {session}  /llm/ -> /llm/c/  200  ")), "{text}");
        assert!(head.ends_with(" ms in all  3 attempts"), "{text}");
        assert!(rows.len() == 3 && rows[0].starts_with("    1  /llm/a/  503  "), "{text}");
        assert!(rows[1].contains("  /llm/b/  502  ") && rows[1].contains("closed the connection"), "{text}");
    }
    // The next call needs one attempt only, and is a line like any other.
    harness.call().await;
    let line = grouped.until(&["_1_1  /llm/ -> /llm/c/  200  "]).await;
    assert!(!line.starts_with(' ') && !line.contains("attempt"), "{line}");
    assert_eq!(failures.count(&["/llm/c/"]), 0);
}
