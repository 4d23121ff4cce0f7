//! Whole calls: client, gateway, broker and upstream, with the two configurations that we ship.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;

use super::support::broker::moment;
use super::support::gateway::{HI, one_row, two_rows};
use super::support::{Broker, Bus, DUD, GPT4, GPT35, Gateway, LOGGER, Llms, Setup, soon};

/// 0.05 minutes.
const OUT: Duration = Duration::from_secs(3);

/// Calls the ingress until the dud is met, and says how often it was not.
async fn meet_the_dud(gateway: &Gateway) -> usize {
    let mut good = 0;
    loop {
        match gateway.call().await.status {
            200 => good += 1,
            502 => return good,
            other => panic!("the dud answers 502, not {other}"),
        }
        assert!(good < 200, "the dud is never met");
    }
}

/// The broker's own moments of the n-th time that the dud went out and came back.
async fn time_out(broker: &Broker, n: usize) -> Duration {
    let out = broker.until_nth(&["router disabled", DUD], n).await;
    let back = broker.until_nth(&["router on probation", DUD], n).await;
    moment(&back) - moment(&out)
}

/// A line has the time at which it was written, a little after the event: so the time between two lines can
/// also be a little too short.
fn is_time_out(time: Duration) -> bool {
    (OUT - Duration::from_millis(100)..OUT + Duration::from_millis(500)).contains(&time)
}

#[tokio::test]
async fn with_two_rows_the_very_next_call_after_a_failure_does_not_meet_the_dud() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("DISABLED_TIME", "0.05").ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    for round in 1..=3 {
        meet_the_dud(&gateway).await;
        // Known before the client had its answer, so the log line needs no waiting for.
        for _ in 0..20 {
            assert_eq!(gateway.call().await.status, 200, "round {round}");
        }
        // Without any traffic it is back on time, in service, and fails again in the next round.
        let time = time_out(&broker, round).await;
        assert!(is_time_out(time), "{time:?}");
    }
    assert!(llms.calls("gpt4") > 5 && llms.calls("gpt35turbo") > 5, "both good ones serve");
    assert_eq!(broker.count(&["router disabled"]), broker.count(&["router disabled", DUD]), "{}", broker.text());
}

#[tokio::test]
async fn with_one_row_the_dud_is_found_left_out_and_back_on_time() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("DISABLED_TIME", "0.05").ready().await;
    let gateway = Gateway::start(&bus, &one_row(&bus, &llms)).await;
    for round in 1..=2 {
        meet_the_dud(&gateway).await;
        // Here the gateway reports after it has answered the client.
        broker.until_nth(&["router disabled", DUD], round).await;
        for _ in 0..20 {
            assert_eq!(gateway.call().await.status, 200, "round {round}");
        }
        let time = time_out(&broker, round).await;
        assert!(is_time_out(time), "{time:?}");
    }
    broker.exactly(&["router disabled"], 2).await;
}

#[tokio::test]
async fn calls_are_spread_over_the_routers_and_each_log_has_its_stamp() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let _broker = Setup::on(&bus).set("DISABLED_TIME", "0").ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let mut logs = bus.subscribe(LOGGER).await;
    let mut spread: HashMap<String, u32> = HashMap::new();
    for _ in 0..300 {
        let status = gateway.call().await.status;
        let log: Value = serde_json::from_slice(&soon("the log", logs.next()).await.unwrap().payload).unwrap();
        let router = log["response"]["gl_path"].as_str().unwrap();
        assert_eq!(log["request"]["broker"]["router"], router, "the stamp names the router");
        assert_eq!(log["request"]["original_gl_path"], "/azure/");
        assert_eq!(status, if router == DUD { 502 } else { 200 }, "0 minutes never disable");
        *spread.entry(router.to_owned()).or_default() += 1;
    }
    // Five sigma around 100.
    assert!([GPT35, GPT4, DUD].iter().all(|&router| (59..142).contains(&spread[router])), "{spread:?}");
}

#[tokio::test]
async fn while_all_are_out_the_ingress_serves_by_its_own_endpoint() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("DISABLED_TIME", "0.05").ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    llms.answer("gpt4", 500);
    llms.answer("gpt35turbo", 503);
    for _ in 0..3 {
        assert_ne!(gateway.call().await.status, 200, "three routers, three failures");
    }
    let line = broker.until(&["all routers disabled"]).await;
    assert!(line.contains("/azure/") && line.contains("own endpoint"), "{line}");
    llms.answer("gpt4", 200);
    let before = llms.calls("gpt4");
    for _ in 0..10 {
        assert_eq!(gateway.call().await.status, 200, "the ingress's own endpoint is gpt4");
    }
    assert_eq!(llms.calls("gpt4"), before + 10);
    llms.answer("gpt35turbo", 200);
    broker.until_nth(&["router on probation"], 3).await;
    broker.exactly(&["all routers disabled"], 1).await;
    assert!(broker.until(&["available again"]).await.contains("/azure/"));
    broker.exactly(&["available again"], 1).await;
    assert_eq!(
        broker.count(&["router disabled"]),
        3,
        "the last resort's answers count for no router: {}",
        broker.text()
    );
}

#[tokio::test]
async fn a_callers_own_fault_disables_no_router() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    for rows in [two_rows, one_row] {
        let broker = Setup::on(&bus).set("BROKER_ROUTERS", format!("{GPT4},{GPT35},/sentinel/0/")).ready().await;
        let gateway = Gateway::start(&bus, &rows(&bus, &llms)).await;
        let mut logs = bus.subscribe(LOGGER).await;
        let direct = async |body: &[u8], expected: u16| {
            for number in 0..20 {
                let router = if number % 2 == 0 { GPT4 } else { GPT35 };
                assert_eq!(gateway.send(router, &[], body).await.status, expected);
            }
        };
        direct(b"\x00\x01\xff\xfe", 500).await;
        for name in ["gpt4", "gpt35turbo"] {
            llms.answer(name, 400);
        }
        direct(b"{\"messages\":5}", 400).await;
        for name in ["gpt4", "gpt35turbo"] {
            llms.answer_with(name, 404, r#"{"error":{"code":"model_not_found","message":"no such model"}}"#);
        }
        direct(HI.as_bytes(), 404).await;
        for name in ["gpt4", "gpt35turbo"] {
            llms.answer(name, 200);
        }
        for _ in 0..60 {
            soon("a log", logs.next()).await.unwrap();
        }
        super::support::sentinel(&bus, &broker).await;
        // Only the sentinel.
        broker.exactly(&["router disabled"], 1).await;
        drop(gateway);
    }
}

#[tokio::test]
async fn binary_bodies_through_the_ingress_disable_no_router() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let routers = format!("{GPT4},{GPT35},/azure/sentinel/");
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", routers).ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let mut logs = bus.subscribe(LOGGER).await;
    for _ in 0..20 {
        assert_eq!(gateway.send("/azure/", &[], b"\x00\x01\xff\xfe").await.status, 500);
        soon("a log", logs.next()).await.unwrap();
    }
    bus.log(super::support::Log::of("/azure/sentinel/", 500)).await;
    broker.until(&["router disabled", "/azure/sentinel/"]).await;
    let others = broker.count(&["router disabled", "answered"]);
    assert_eq!(others, 1, "{}", broker.text());
}

#[tokio::test]
async fn a_constant_session_id_hides_no_failure_and_counts_none_twice() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    for rows in [two_rows, one_row] {
        let broker = Setup::on(&bus).set("DISABLED_TIME", "0.05").ready().await;
        let gateway = Gateway::start(&bus, &rows(&bus, &llms)).await;
        let session = [("Session-Id", "LAB00002_1700000000000000000_5_3")];
        let call = async || gateway.send("/azure/", &session, HI.as_bytes()).await.status;
        for round in 1..=3 {
            let mut calls = 0;
            while call().await == 200 {
                calls += 1;
                assert!(calls < 200, "the dud is never met");
            }
            broker.until_nth(&["router disabled", DUD], round).await;
            for _ in 0..20 {
                assert_eq!(call().await, 200, "round {round}");
            }
            let time = time_out(&broker, round).await;
            assert!(is_time_out(time), "{time:?}");
        }
        broker.exactly(&["router disabled"], 3).await;
    }
}

#[tokio::test]
async fn a_rate_limit_disables_even_the_only_router() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", GPT35).set("DISABLED_TIME", "0.02").ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    llms.answer("gpt35turbo", 429);
    assert_eq!(gateway.call().await.status, 429);
    assert!(broker.until(&["router disabled", GPT35]).await.contains("answered 429"));
    broker.until(&["all routers disabled"]).await;
    assert_eq!(gateway.call().await.status, 200, "the ingress's own endpoint");
    assert_eq!((llms.calls("gpt35turbo"), llms.calls("gpt4")), (1, 1));
    llms.answer("gpt35turbo", 200);
    broker.until(&["router on probation", GPT35]).await;
    assert_eq!(gateway.call().await.status, 200);
    assert_eq!(llms.calls("gpt35turbo"), 2);
}

#[tokio::test]
async fn a_deployment_that_does_not_exist_is_left_out() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", format!("{GPT4},{GPT35}")).ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    llms.answer_with("gpt35turbo", 404, r#"{"error":{"code":"DeploymentNotFound","message":"no such deployment"}}"#);
    let mut calls = 0;
    while gateway.call().await.status != 404 {
        calls += 1;
        assert!(calls < 100);
    }
    assert!(broker.until(&["router disabled", GPT35]).await.contains("answered 404"));
    for _ in 0..20 {
        assert_eq!(gateway.call().await.status, 200);
    }
}

#[tokio::test]
async fn a_deployment_that_the_client_misspelt_takes_no_router_out() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", GPT35).ready().await;
    let mut config = two_rows(&bus, &llms);
    // Without an endpoint of its own, the router takes the client's path.
    let routers = config["routers"].as_array_mut().unwrap();
    let router = routers.iter_mut().find(|router| router["path"] == GPT35).unwrap();
    router["outbound"].as_object_mut().unwrap().remove("endpoint");
    let gateway = Gateway::start(&bus, &config).await;
    let call = async |deployment: &str| {
        let path = format!("/azure/openai/deployments/{deployment}/chat/completions");
        gateway.send(&path, &[], HI.as_bytes()).await
    };
    llms.answer("typo", 404);
    let typo = call("typo").await;
    assert!(typo.status == 404 && typo.text().contains("DeploymentNotFound"), "{} {}", typo.status, typo.text());
    llms.answer("gpt35turbo", 503);
    assert_eq!(call("gpt35turbo").await.status, 503);
    // Logs are learnt from in their order: what the typo did has been done by now.
    assert!(broker.until(&["router disabled", GPT35]).await.contains("answered 503"));
    broker.exactly(&["router disabled"], 1).await;
}

#[tokio::test]
async fn without_any_broker_the_gateway_goes_on_alone() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    for _ in 0..5 {
        assert_eq!(gateway.call().await.status, 200);
    }
    assert_eq!(llms.calls("gpt4"), 5);
    // And one that comes later is asked from its first moment on.
    let _broker = Setup::on(&bus).set("BROKER_ROUTERS", GPT35).ready().await;
    assert_eq!(gateway.call().await.status, 200);
    assert_eq!(llms.calls("gpt35turbo"), 1);
}

#[tokio::test]
async fn the_gateway_takes_both_configurations_whole() {
    for text in [include_str!("../gl_config.json"), include_str!("../docs/gl_config.one-row.json")] {
        let environment = |name: &str| match name {
            "NATS_TOKEN" => Some("token".to_owned()),
            "AISERVICE_API_BASE" => Some("https://your.openai.azure.com/".to_owned()),
            other => panic!("{other} is asked for"),
        };
        let config = gateway_sim::config::Config::parse(text, environment).unwrap();
        assert_eq!(config.dropped(), [""; 0], "no router is dropped");
        assert_eq!(config.crash(), None);
    }
}

#[tokio::test]
async fn a_client_needs_no_content_type_and_may_ask_for_compression() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    for rows in [two_rows, one_row] {
        let _broker = Setup::on(&bus).set("BROKER_ROUTERS", format!("{GPT4},{GPT35}")).ready().await;
        let gateway = Gateway::start(&bus, &rows(&bus, &llms)).await;
        let mut logs = bus.subscribe(LOGGER).await;
        let headers = [("Accept-Encoding", "gzip")];
        let sent = super::support::http::send(gateway.addr(), "POST", "/azure/", &headers, HI.as_bytes()).await;
        assert_eq!(sent.unwrap().status, 200);
        let log: Value = serde_json::from_slice(&soon("the log", logs.next()).await.unwrap().payload).unwrap();
        let sent = &log["request"]["outbound_headers"];
        assert!(sent["Accept-Encoding"].is_null(), "a compressed answer would become a 500: {sent}");
        assert_eq!(sent["Content-Type"][0], "application/json");
        assert_eq!(gateway.send("/echo/", &[], HI.as_bytes()).await.text(), HI);
    }
}
