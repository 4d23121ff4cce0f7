//! A user of the bus who may not do everything: what the broker needs it says, and without the rest it goes on.

use async_nats::{Client, ConnectOptions};
use gateway_sim::nats_server::NatsServer;
use serde_json::Value;

use super::support::{APPLY, Broker, DECIDE, LOGGER, OUTCOME, REQUEST, Setup, TOKEN, soon};

/// Starts a bus on which the broker's user has these permissions, in the server's own language.
fn bus(permissions: &str) -> NatsServer {
    let users = format!(
        "authorization {{ users: [{{ user: broker, password: {TOKEN:?}, {permissions} }}, {{ user: gateway, password: gateway }}] }}"
    );
    NatsServer::start(0, TOKEN, &users).unwrap()
}

fn setup(bus: &NatsServer) -> Setup {
    let url = format!("nats://broker:{TOKEN}@{}", bus.host());
    Setup::bare().set("NATS_URL", url).set("BROKER_HTTP", "127.0.0.1:0")
}

async fn gateway(bus: &NatsServer) -> Client {
    let options = ConnectOptions::with_user_and_password("gateway".to_owned(), "gateway".to_owned());
    soon("the bus", options.connect(bus.host())).await.unwrap()
}

/// Waits until `/readyz` answers this, and returns what it says.
async fn readyz(broker: &Broker, status: u16) -> String {
    soon("another readiness", async {
        loop {
            let answer = broker.get("/readyz").await;
            if answer.status == status {
                return answer.text();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_subscription_that_the_bus_denies_is_no_readiness_and_says_which() {
    for (connection, subject, queue) in [
        ("decisions", DECIDE, ""),
        ("decisions", DECIDE, " broker"),
        ("decisions", APPLY, ""),
        ("decisions", OUTCOME, ""),
        ("logs", LOGGER, ""),
    ] {
        let bus = bus(&format!("permissions: {{ subscribe: {{ deny: [\"{subject}{queue}\"] }} }}"));
        let broker = setup(&bus).spawn();
        let line = broker.until(&["ERROR", "may not subscribe"]).await;
        assert!(line.contains(subject) && line.contains(connection), "{line}");
        let other = if connection == "logs" { "decisions" } else { "logs" };
        broker.until(&["connected to the bus and subscribed", other]).await;
        let answer = broker.get("/readyz").await;
        assert_eq!(answer.status, 503, "{subject}{queue}");
        assert!(answer.text().contains(&format!("{connection}: ")), "{}", answer.text());
        assert!(answer.text().contains(&format!("subscribe to {subject}: ")), "{}", answer.text());
        assert_eq!(broker.count(&["connected to the bus and subscribed", connection]), 0, "{}", broker.text());
    }
}

#[tokio::test]
async fn a_limit_of_subscriptions_is_no_readiness() {
    let bus = NatsServer::start(0, TOKEN, "max_subscriptions: 1").unwrap();
    let broker = Setup::at(&bus.host()).spawn();
    broker.until(&["ERROR", "decisions", "limit of subscriptions"]).await;
    assert!(readyz(&broker, 503).await.contains("decisions: "));
}

#[tokio::test]
async fn what_was_denied_can_be_allowed_without_a_restart_of_the_broker() {
    let denied = format!("permissions: {{ subscribe: {{ deny: [\"{DECIDE}\"] }} }}");
    let mut bus = bus(&denied);
    let broker = setup(&bus).spawn();
    broker.until(&["ERROR", "may not subscribe"]).await;
    let (port, allowed) = (bus.port(), "permissions: { subscribe: \">\" }");
    bus.kill();
    broker.until_nth(&["the connection to the bus is lost"], 2).await;
    let users = format!(
        "authorization {{ users: [{{ user: broker, password: {TOKEN:?}, {allowed} }}, {{ user: gateway, password: gateway }}] }}"
    );
    let bus = NatsServer::start(port, TOKEN, &users).unwrap();
    readyz(&broker, 200).await;
    let answer = gateway(&bus).await.request(DECIDE, REQUEST.into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer["gl_path"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_user_who_may_publish_only_replies_is_ready_again_after_a_restart_of_the_bus() {
    for permissions in [
        "permissions: { publish: { deny: [\">\"] }, allow_responses: true }",
        "permissions: { publish: [\"coburn.gl.>\"], allow_responses: true }",
        "permissions: { subscribe: [\"coburn.gl.>\"], publish: [\"coburn.gl.>\"], allow_responses: true }",
    ] {
        let mut bus = bus(permissions);
        let broker = setup(&bus).ready().await;
        for round in 1..=2 {
            let answer = gateway(&bus).await.request(DECIDE, REQUEST.into()).await.unwrap();
            assert!(!answer.payload.is_empty(), "{permissions}");
            bus.kill();
            broker.until_nth(&["the connection to the bus is lost"], 2 * round).await;
            bus.restart().unwrap();
            broker.until_nth(&["connected to the bus and subscribed"], 2 + 2 * round).await;
            assert_eq!(broker.get("/readyz").await.status, 200, "{permissions}");
        }
        let lines = broker.count(&["the bus reports an error"]);
        assert!(lines <= 12, "{lines} lines:\n{}", broker.text());
    }
}

#[tokio::test]
async fn replies_that_are_denied_do_not_fill_the_log() {
    let bus = bus("permissions: { publish: { deny: [\"_INBOX.>\"] } }");
    let broker = setup(&bus).ready().await;
    let client = gateway(&bus).await;
    let before = broker.count(&["the bus reports an error"]);
    for _ in 0..200 {
        client.publish_with_reply(DECIDE, client.new_inbox(), REQUEST.into()).await.unwrap();
    }
    broker.signal("TERM");
    let ended = broker.ended().await;
    let lines = ended.out.lines().filter(|line| line.contains("the bus reports an error")).count();
    assert!(lines <= before + 10, "{ended:?}");
}
