//! Start, stop, the status topic and isalive.

use std::time::Duration;

use async_nats::RequestErrorKind;
use futures_util::StreamExt;
use serde_json::{Value, json};
use standin::gateway::{Gateway, StartError};
use tokio::net::TcpListener;

use crate::support::http::{self, Call, Exchange, Upstream};
use crate::support::nats::NatsServer;
use crate::support::world::{BROKER, World, captured_config, parse};
use crate::support::{capture, soon};

async fn world(answer: Vec<u8>) -> World {
    let upstream = Upstream::start(move |_: &Exchange| answer.clone()).await;
    World::start(upstream, &|_: &mut Value| {}).await
}

async fn isalive(world: &World) -> Value {
    let answer = soon("isalive", world.bus.request("coburn.gl.isalive", "".into())).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

async fn nobody_listens(world: &World) -> bool {
    let question = async_nats::Request::new().timeout(Some(Duration::from_millis(100)));
    let answer = world.bus.send_request("coburn.gl.isalive", question).await;
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
    let mut world = World::start(Upstream::start(script).await, &|_: &mut Value| {}).await;
    world.answer(BROKER, |_| String::new()).await;
    let expected = capture::read("27_isalive_and_status_topic.json");
    let same = |heard: &Value, captured: &str, id: &str| {
        let mut expected = expected[captured].clone();
        expected["Body"]["LastTransactionID"] = json!(id);
        let (time, at) = (&heard["Body"]["LastErrorTime"], expected["Body"]["LastErrorTime"].clone());
        assert_eq!(time.as_str().unwrap().len(), at.as_str().unwrap().len());
        expected["Body"]["LastErrorTime"] = time.clone();
        assert_eq!(heard, &expected);
    };
    same(&isalive(&world).await, "isalive_fresh", "");
    world.send(&Call::post("/azure/")).await.unwrap();
    let id = world.log(0).await["transaction_id"].as_str().unwrap().to_owned();
    same(&isalive(&world).await, "isalive_after_one_transaction", &id);
    world.send(&Call::post("/azure/").body(r#""large""#)).await.unwrap();
    world.until_heard(5).await;
    let lost = soon("the error", async {
        loop {
            let heard = isalive(&world).await;
            if heard["Body"]["LastError"] != "" {
                return heard;
            }
        }
    });
    same(&lost.await, "isalive_after_lost_log", &id);
    world.settle().await;
    assert_eq!(world.heard().len(), 5);
}

#[tokio::test]
async fn the_status_topic_gets_two_plain_texts_at_start() {
    let nats = NatsServer::start().await;
    let bus = nats.connect().await;
    let mut told = bus.subscribe("coburn.gl.gecholog").await.unwrap();
    bus.flush().await.unwrap();
    let gateway = Gateway::start(parse(&config(&nats))).await.unwrap();
    for text in ["running & connected to message bus", "HTTP(s) server listening"] {
        assert_eq!(soon("a status", told.next()).await.unwrap().payload, text);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_prevents_a_start_is_told_clearly() {
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
    let mut world = world(http::json(200, "{}")).await;
    let addr = world.addr();
    world.send(&Call::post("/azure/")).await.unwrap();
    world.settle().await;
    assert_eq!(world.heard().len(), 1);
    TcpListener::bind(addr).await.unwrap();
}

#[tokio::test]
async fn dropping_a_gateway_frees_the_port_and_leaves_the_bus() {
    let mut world = world(http::json(200, "{}")).await;
    let addr = world.addr();
    drop(world.gateway.take());
    soon("silence", async { while !nobody_listens(&world).await {} }).await;
    soon("the port", async {
        while TcpListener::bind(addr).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
