//! Row 2 answers from the message alone; observe mode changes nothing but the log.

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::support::gateway::two_rows;
use super::support::{
    APPLY, Bus, DECIDE, DUD, GPT4, GPT35, Gateway, LOGGER, Llms, Log, OUTCOME, REQUEST, Setup, outcome, soon,
};

#[tokio::test]
async fn any_replica_answers_row_2_from_the_message_alone() {
    let bus = Bus::start().await;
    let answer = {
        let _first = Setup::on(&bus).ready().await;
        bus.decide().await
    };
    // A replica that has never seen row 1, and whose own pool is another one.
    let _second = Setup::on(&bus).set("BROKER_ROUTERS", "/azure/other/").ready().await;
    let row_2 = json!({"broker": answer["broker"]}).to_string();
    let applied: Value = serde_json::from_slice(&bus.ask(APPLY, row_2).await).unwrap();
    assert_eq!(applied, json!({"gl_path": answer["gl_path"]}));
}

#[tokio::test]
async fn row_2_without_a_stamp_that_names_a_router_gets_zero_bytes() {
    let bus = Bus::start().await;
    let _broker = Setup::on(&bus).ready().await;
    for body in [
        "{}",
        "",
        "not JSON",
        "[]",
        REQUEST,
        r#"{"broker":null}"#,
        r#"{"broker":"/azure/gpt4/"}"#,
        r#"{"broker":["/azure/gpt4/"]}"#,
        r#"{"broker":{}}"#,
        r#"{"broker":{"router":7}}"#,
        r#"{"broker":{"router":null}}"#,
        r#"{"broker":{"router":""}}"#,
        r#"{"broker":{"router":"no slashes"}}"#,
        r#"{"broker":{"router":"/a\"b/"}}"#,
        r#"{"broker":{"would":"/azure/gpt4/"}}"#,
        r#"{"router":"/azure/gpt4/"}"#,
    ] {
        assert_eq!(bus.ask(APPLY, body).await, "", "{body}");
    }
}

#[tokio::test]
async fn observing_stamps_what_it_would_do_and_leaves_the_request_alone() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_MODE", "observe").ready().await;
    let answer = bus.decide().await;
    assert!(answer["gl_path"].is_null(), "{answer}");
    let stamp = &answer["broker"];
    assert!([GPT35, GPT4, DUD].contains(&stamp["would"].as_str().unwrap()), "{stamp}");
    assert!(stamp["router"].is_null(), "{stamp}");
    assert!(stamp.to_string().len() <= 300);
    assert_eq!(bus.ask(APPLY, json!({"broker": stamp}).to_string()).await, "");
    assert_eq!(bus.ask(DECIDE, r#"{"gl_path":"/other/"}"#).await, "");
    // It learns as ever.
    bus.log(Log::of(DUD, 500)).await;
    broker.until(&["router disabled", DUD]).await;
    bus.ask(OUTCOME, outcome(GPT4, 429)).await;
    broker.until(&["router disabled", GPT4]).await;
    for _ in 0..20 {
        assert_eq!(bus.decide().await["broker"]["would"], GPT35);
    }
}

#[tokio::test]
async fn observed_calls_go_where_they_went_before_and_the_log_shows_both() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).set("BROKER_MODE", "observe").ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let mut logs = bus.subscribe(LOGGER).await;
    let mut would = std::collections::HashSet::new();
    for number in 1..=20 {
        assert_eq!(gateway.call().await.status, 200);
        assert_eq!(llms.calls("gpt4"), number, "the ingress's own endpoint");
        let log: Value = serde_json::from_slice(&soon("the log", logs.next()).await.unwrap().payload).unwrap();
        assert_eq!(log["response"]["gl_path"], "/azure/");
        assert_eq!(log["request"]["gl_path"], "/azure/");
        assert!(log["request"]["broker"]["router"].is_null());
        would.insert(log["request"]["broker"]["would"].as_str().unwrap().to_owned());
    }
    assert_eq!(llms.calls("gpt35turbo"), 0);
    assert!(would.len() > 1, "twenty times the same: {would:?}");
    // A direct call of a router is an outcome as good as any.
    llms.answer("gpt35turbo", 500);
    assert_eq!(gateway.send(GPT35, &[], b"{}").await.status, 500);
    broker.until(&["router disabled", GPT35]).await;
    // Failures of the ingress's own endpoint count for no router.
    llms.answer("gpt4", 500);
    assert_eq!(gateway.call().await.status, 500);
    // Two logs have come since the loop; what comes after them is read after them.
    for _ in 0..2 {
        soon("the log", logs.next()).await.unwrap();
    }
    bus.ask(OUTCOME, "{}").await;
    bus.log(Log::of(DUD, 500)).await;
    broker.until(&["router disabled", DUD]).await;
    broker.exactly(&["router disabled"], 2).await;
    assert_eq!(broker.count(&["was not applied"]), 0, "{}", broker.text());
}
