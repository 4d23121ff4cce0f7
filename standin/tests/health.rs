//! Start, stop, the status topic and isalive.

use std::time::Duration;

use async_nats::RequestErrorKind;
use futures_util::StreamExt;
use serde_json::{Value, json};
use standin::gateway::{Gateway, StartError};
use tokio::net::TcpListener;

use crate::support::harness::{BROKER, Harness, captured_config, parse};
use crate::support::http::{self, Call, Exchange, Upstream};
use crate::support::nats::NatsServer;
use crate::support::{capture, within_limit};

async fn harness(answer: Vec<u8>) -> Harness {
    let upstream = Upstream::start(move |_: &Exchange| answer.clone()).await;
    Harness::start(upstream, &|_: &mut Value| {}).await
}

async fn isalive(harness: &Harness) -> Value {
    let answer = within_limit("isalive", harness.bus.request("coburn.gl.isalive", "".into())).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

async fn isalive_has_no_responders(harness: &Harness) -> bool {
    let request = async_nats::Request::new().timeout(Some(Duration::from_millis(100)));
    let answer = harness.bus.send_request("coburn.gl.isalive", request).await;
    answer.is_err_and(|error| error.kind() == RequestErrorKind::NoResponders)
}

fn config(nats: &NatsServer) -> Value {
    captured_config("http://127.0.0.1:9/", &nats.host())
}

#[tokio::test]
async fn fixture_27_isalive() {
    let large = format!(r#"{{"pad": "{}"}}"#, "x".repeat(1_500_000));
    let script = move |request: &Exchange| {
        if request.text().contains("large") { http::json(200, &large) } else { http::json(200, "{}") }
    };
    let mut harness = Harness::start(Upstream::start(script).await, &|_: &mut Value| {}).await;
    harness.answer(BROKER, |_| String::new()).await;
    let expected = capture::read("27_isalive_and_status_topic.json");
    let same = |received: &Value, captured: &str, id: &str| {
        let mut expected = expected[captured].clone();
        expected["Body"]["LastTransactionID"] = json!(id);
        let (time, at) = (&received["Body"]["LastErrorTime"], expected["Body"]["LastErrorTime"].clone());
        assert_eq!(time.as_str().unwrap().len(), at.as_str().unwrap().len());
        expected["Body"]["LastErrorTime"] = time.clone();
        assert_eq!(received, &expected);
    };
    same(&isalive(&harness).await, "isalive_fresh", "");
    harness.send(&Call::post("/azure/")).await.unwrap();
    let id = harness.log(0).await["transaction_id"].as_str().unwrap().to_owned();
    same(&isalive(&harness).await, "isalive_after_one_transaction", &id);
    harness.send(&Call::post("/azure/").body(r#""large""#)).await.unwrap();
    harness.until_received(5).await;
    let lost = within_limit("the error", async {
        loop {
            let received = isalive(&harness).await;
            if received["Body"]["LastError"] != "" {
                return received;
            }
        }
    });
    same(&lost.await, "isalive_after_lost_log", &id);
    harness.stop_and_drain().await;
    assert_eq!(harness.received().len(), 5);
}

#[tokio::test]
async fn the_status_topic_gets_two_plain_texts_at_start() {
    let nats = NatsServer::start().await;
    let bus = nats.connect().await;
    let mut statuses = bus.subscribe("coburn.gl.gecholog").await.unwrap();
    bus.flush().await.unwrap();
    let gateway = Gateway::start(parse(&config(&nats))).await.unwrap();
    for text in ["running & connected to message bus", "HTTP(s) server listening"] {
        assert_eq!(within_limit("a status", statuses.next()).await.unwrap().payload, text);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_prevents_a_start_is_a_clear_error() {
    let nats = NatsServer::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut port_in_use = parse(&config(&nats));
    port_in_use.set_port(taken.local_addr().unwrap().port());
    let error = Gateway::start(port_in_use).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }) && error.to_string().contains("127.0.0.1"), "{error}");

    let mut wrong_token = config(&nats);
    wrong_token["service_bus"]["token"] = json!("wrong");
    let error = Gateway::start(parse(&wrong_token)).await.unwrap_err();
    assert!(matches!(error, StartError::Bus { .. }), "{error}");

    let mut no_bus = parse(&config(&nats));
    no_bus.set_bus(&taken.local_addr().unwrap().to_string());
    drop(taken);
    assert!(matches!(Gateway::start(no_bus).await, Err(StartError::Bus { .. })));
}

#[tokio::test]
async fn stopping_waits_for_the_logs_and_frees_the_port() {
    let mut harness = harness(http::json(200, "{}")).await;
    let addr = harness.addr();
    harness.send(&Call::post("/azure/")).await.unwrap();
    harness.stop_and_drain().await;
    assert_eq!(harness.received().len(), 1);
    TcpListener::bind(addr).await.unwrap();
}

#[tokio::test]
async fn dropping_a_gateway_frees_the_port_and_leaves_the_bus() {
    let mut harness = harness(http::json(200, "{}")).await;
    let addr = harness.addr();
    drop(harness.gateway.take());
    within_limit("no responders", async { while !isalive_has_no_responders(&harness).await {} }).await;
    within_limit("the port", async {
        while TcpListener::bind(addr).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
