//! How a router comes back: what the upstream says counts, one request at a time proves it, and a dead one costs little.

use std::time::Duration;

use futures_util::StreamExt;
use gateway_sim::llm::Behaviour;
use serde_json::{Value, json};

use super::support::broker::moment;
use super::support::gateway::{one_row, two_rows};
use super::support::{Broker, Bus, DECIDE, GPT4, GPT35, Gateway, LOGGER, Llms, Log, REQUEST, Setup, soon};

fn limited(status: u16, header: (&str, &str)) -> Behaviour {
    let headers = vec![(header.0.to_owned(), header.1.to_owned())];
    Behaviour { status, headers, ..Behaviour::default() }
}

/// Calls until one is answered with this status.
async fn until(gateway: &Gateway, status: u16) {
    for _ in 0..200 {
        if gateway.call().await.status == status {
            return;
        }
    }
    panic!("no call was answered with {status}");
}

async fn two(bus: &Bus) -> Broker {
    Setup::on(bus).set("BROKER_ROUTERS", format!("{GPT4},{GPT35}")).ready().await
}

#[tokio::test]
async fn a_rate_limit_that_says_two_seconds_costs_two_and_not_ten_minutes() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = two(&bus).await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    llms.behave("gpt35turbo", limited(429, ("Retry-After", "2")));
    until(&gateway, 429).await;
    llms.answer("gpt35turbo", 200);
    let asked = llms.calls("gpt35turbo");
    for _ in 0..20 {
        assert_eq!(gateway.call().await.status, 200);
    }
    assert_eq!(llms.calls("gpt35turbo"), asked, "left alone");
    let out = broker.until(&["router disabled", GPT35]).await;
    let back = broker.until(&["router enabled", GPT35]).await;
    let time = moment(&back) - moment(&out);
    assert!((1.99..2.5).contains(&time.as_secs_f64()), "{time:?}");
    let before = llms.calls("gpt35turbo");
    for _ in 0..50 {
        gateway.call().await;
    }
    assert!(llms.calls("gpt35turbo") > before, "it serves again");
}

#[tokio::test]
async fn with_retry_after_ignore_the_broker_keeps_to_the_disabled_time() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let routers = format!("{GPT4},{GPT35}");
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", routers).set("BROKER_RETRY_AFTER", "ignore").ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    llms.behave("gpt35turbo", limited(429, ("Retry-After", "2")));
    until(&gateway, 429).await;
    assert!(broker.until(&["router disabled", GPT35]).await.contains("seconds=600"));
}

#[tokio::test]
async fn after_its_time_one_request_proves_it_while_fifty_are_in_flight() {
    for rows in [two_rows, one_row] {
        let (bus, llms) = (Bus::start().await, Llms::start().await);
        let routers = format!("{GPT4},{GPT35}");
        let broker = Setup::on(&bus).set("BROKER_ROUTERS", routers).set("DISABLED_TIME", "0.01").ready().await;
        let gateway = Gateway::start(&bus, &rows(&bus, &llms)).await;
        llms.answer("gpt35turbo", 503);
        until(&gateway, 503).await;
        // The first one's log comes after the others have been sent.
        llms.behave("gpt35turbo", Behaviour { delay: Duration::from_millis(400), ..Behaviour::default() });
        broker.until(&["router on probation", GPT35]).await;
        let before = llms.calls("gpt35turbo");
        let calls = (0..50).map(|_| async { gateway.call().await.status });
        let statuses = futures_util::future::join_all(calls).await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        assert_eq!(llms.calls("gpt35turbo"), before + 1, "one at a time");
        broker.until(&["router enabled", GPT35]).await;
        for _ in 0..50 {
            gateway.call().await;
        }
        assert!(llms.calls("gpt35turbo") > before + 1, "and then it serves");
    }
}

#[tokio::test]
async fn the_probe_says_so_in_the_gateways_log() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", GPT35).set("DISABLED_TIME", "0.01").ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    llms.answer("gpt35turbo", 500);
    assert_eq!(gateway.call().await.status, 500);
    llms.answer("gpt35turbo", 200);
    broker.until(&["router on probation", GPT35]).await;
    let mut logs = bus.subscribe(LOGGER).await;
    let plain = "random, 1 of 1 serve";
    for (probe, why) in
        [(json!(true), format!("{plain}; on probation (answered 500)")), (Value::Null, plain.to_owned())]
    {
        assert_eq!(gateway.call().await.status, 200);
        let log: Value = serde_json::from_slice(&soon("the log", logs.next()).await.unwrap().payload).unwrap();
        let stamp = &log["request"]["broker"];
        assert_eq!((&stamp["probe"], &stamp["why"]), (&probe, &json!(why)), "{stamp}");
        broker.until(&["router enabled", GPT35]).await;
    }
}

#[tokio::test]
async fn a_dead_router_that_always_says_one_second_costs_seven_calls_a_minute_at_most() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let _broker = two(&bus).await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    llms.behave("gpt35turbo", limited(503, ("Retry-After", "1")));
    let begin = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    soon("the fourth call", async {
        while llms.calls("gpt35turbo") < 4 {
            ticks.tick().await;
            gateway.call().await;
        }
    })
    .await;
    // At 0, 1, 3 and 7 seconds, and never sooner; the whole minute, with 6, is a unit test of `health`.
    assert!(begin.elapsed() >= Duration::from_secs(7), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn the_log_of_one_replicas_probe_decides_in_all() {
    let bus = Bus::start().await;
    let brokers = [
        Setup::on(&bus).set("BROKER_ROUTERS", GPT35).set("DISABLED_TIME", "0.01").ready().await,
        Setup::on(&bus).set("BROKER_ROUTERS", GPT35).set("DISABLED_TIME", "0.01").ready().await,
    ];
    bus.log(Log::of(GPT35, 500)).await;
    for broker in &brokers {
        broker.until(&["router on probation", GPT35]).await;
    }
    let answer: Value = serde_json::from_slice(&bus.ask(DECIDE, REQUEST).await).unwrap();
    assert_eq!(answer["broker"]["probe"], json!(true), "{answer}");
    bus.log(Log::of(GPT35, 200).with("/request/broker", answer["broker"].clone())).await;
    for broker in &brokers {
        broker.until(&["router enabled", GPT35]).await;
    }
}
