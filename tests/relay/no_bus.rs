//! `BROKER_BUS=off`: the relay and HTTP without a bus.

use std::sync::Arc;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::super::support::http::Open;
use super::super::support::scripted::{Move, Scripted, answer, chunk, last_chunk, stream};
use super::super::support::{Broker, PoolsFile, Setup, http};
use super::{CHAT, HI, KEY, good, pools, target};

fn off(file: &PoolsFile) -> Setup {
    Setup::bare()
        .set("BROKER_BUS", "off")
        .set("BROKER_HEALTH", "documented")
        .set("BROKER_HTTP", "127.0.0.1:0")
        .set("BROKER_RELAY", "127.0.0.1:0")
        .set("BROKER_CONFIG", file.path())
        .set("KEY", KEY)
        .secret(KEY)
}

async fn call(broker: &Broker) -> http::Answer {
    let headers = [("Content-Type", "application/json")];
    http::send(broker.relay().await, "POST", CHAT, &headers, HI.as_bytes()).await.unwrap()
}

async fn status(broker: &Broker) -> Value {
    serde_json::from_slice(&broker.get("/api/v1/status").await.body).unwrap()
}

#[tokio::test]
async fn s2_a_target_whose_key_was_refused_is_asked_again_when_its_file_has_another() {
    let a = Scripted::answering(|call| if call.head.contains("new-key") { good() } else { answer(401, &[], "{}") });
    let (a, b) = (a.await, Scripted::start(good()).await);
    let file = PoolsFile::none();
    let key = file.folder().join("key");
    std::fs::write(&key, "old-key\n").unwrap();
    let own = target("a", &a.url()).replace("${KEY}", &format!("${{file:{}}}", key.display()));
    file.put(&pools(&[own, target("b", &b.url())]));
    let broker = off(&file).secret("old-key").secret("new-key").spawn();
    for _ in 0..2 {
        assert_eq!(call(&broker).await.header("x-broker-router"), Some("/llm/b/"));
    }
    assert_eq!(a.calls(), 1, "out: its key is refused");
    std::fs::write(&key, "new-key\n").unwrap();
    broker.until(&["router on probation", "/llm/a/"]).await;
    for _ in 0..2 {
        assert_eq!(call(&broker).await.header("x-broker-router"), Some("/llm/a/"));
    }
}

#[tokio::test]
async fn s2_the_relay_serves_is_ready_learns_and_reloads_without_a_bus() {
    let bus = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (a, b) = (Scripted::start(answer(500, &[], "{}")).await, Scripted::start(good()).await);
    let file = PoolsFile::of(&pools(&[target("a", &a.url()), target("b", &b.url())]));
    let mut broker = off(&file).set("GECHOLOG_HOST", bus.local_addr().unwrap().to_string()).spawn();
    let served = call(&broker).await;
    assert_eq!((served.status, served.header("x-broker-router")), (200, Some("/llm/b/")));
    let ready = broker.get("/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (200, "ready\n"));
    broker.until(&["router disabled", "/llm/a/"]).await;
    let document = status(&broker).await;
    assert_eq!((&document["connections"], &document["pools"][0]["relayed"]), (&serde_json::json!([]), &true.into()));
    // An entry of the log teaches the tokens of an answer, and there is no bus that would bring it back.
    super::super::support::soon("tokens", async {
        while !broker.get("/metrics").await.text().contains(r#"completion_tokens_total{router="/llm/b/"} 3"#) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    file.put(&pools(&[target("c", &b.url())]));
    broker.until(&["pools file applied"]).await;
    assert_eq!(call(&broker).await.header("x-broker-router"), Some("/llm/c/"));
    let none = tokio::time::timeout(std::time::Duration::ZERO, bus.accept()).await;
    assert!(none.is_err(), "no connection to a bus");
    assert_eq!(broker.count(&["bus", "connect"]), 0, "{}", broker.text());
    broker.signal("TERM");
    assert!(broker.exit().await.success());
}

#[tokio::test]
async fn a_broker_that_stops_is_alive_and_not_ready_until_its_calls_are_answered() {
    let go_on = Arc::new(Notify::new());
    let first = "data: {\"choices\":[{\"delta\":{\"content\":\"hel\"}}]}\n\n";
    let rest = "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\ndata: [DONE]\n\n";
    let act = vec![stream(), chunk(first), Move::Await(Arc::clone(&go_on)), chunk(rest), last_chunk()];
    let a = Scripted::start(act).await;
    let file = PoolsFile::of(&pools(&[target("a", &a.url())]));
    let mut broker = off(&file).spawn();
    let mut open = Open::post(broker.relay().await, CHAT, HI).await;
    open.until("hel").await;
    assert_eq!(broker.get("/readyz").await.status, 200);
    broker.signal("TERM");
    broker.until(&["stopping"]).await;
    let ready = broker.get("/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (503, "stopping\n"));
    assert_eq!(broker.get("/livez").await.status, 200);
    go_on.notify_one();
    assert!(open.closed().await.contains("[DONE]"));
    assert!(broker.exit().await.success());
}

#[tokio::test]
async fn s2_what_needs_a_bus_says_so() {
    let file = PoolsFile::of(&pools(&[target("a", "http://127.0.0.1:1/")]));
    for command in [&["status"][..], &["watch"], &["drain", "/llm/a/"], &["mode", "observe"]] {
        let ended = off(&file).arguments(command).ended().await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{command:?}: {ended:?}");
        assert!(ended.err.contains("BROKER_BUS: is off, and this command reaches brokers over the bus"), "{ended:?}");
    }
    for (setup, words) in [
        (off(&file).unset("BROKER_RELAY"), "BROKER_BUS: is off, and without a bus only the relay serves calls"),
        (off(&file).set("BROKER_RELAY", "off"), "BROKER_BUS: is off, and without a bus only the relay serves calls"),
        (off(&file).set("BROKER_BUS", "none"), "BROKER_BUS=\"none\": must be on or off"),
    ] {
        let ended = setup.ended().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(words), "{ended:?}");
    }
}
