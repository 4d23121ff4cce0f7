//! What is told of calls that do not pass the gateway: entries of its log, in its own form.

use futures_util::StreamExt;
use serde_json::Value;

use super::super::support::scripted::{Scripted, answer};
use super::super::support::{LOGGER, Setup, soon};
use super::{HI, KEY, World, good};

#[tokio::test]
async fn every_attempt_is_an_entry_of_the_log_that_everybody_can_read() {
    let (a, b) = (Scripted::start(answer(503, &[], "{}")).await, Scripted::start(good()).await);
    let world = World::before(&[&a, &b]).await;
    let mut entries = world.bus.client.subscribe(LOGGER).await.unwrap();
    world.bus.client.flush().await.unwrap();
    let answer = world.call().await;
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
    let world = World::before(&[&a, &b]).await;
    let beside = Setup::on(&world.bus).set("BROKER_CONFIG", world.file.path()).set("KEY", KEY).ready().await;
    assert_eq!(world.call().await.status, 200);
    beside.until(&["router disabled", "/llm/a/", "answered 500"]).await;
    // Once more through the log of the bus: what it has read by now it has learnt.
    beside.until(&["only the relay serves it"]).await;
    assert_eq!(world.disabled(), ["/llm/a/"]);
    assert_eq!(world.broker.count(&["router disabled for longer"]), 0);
}
