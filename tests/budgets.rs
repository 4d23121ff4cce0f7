//! Budgets: a router over its limit is skipped, and the log corrects the estimate of a call.

use serde_json::{Value, json};

use super::support::gateway::{HI, seeing, two_rows};
use super::support::pools::pool;
use super::support::{
    Broker, Bus, DECIDE, DUD, GPT4, GPT35, Gateway, Llms, Log, PoolsFile, Setup, messages::SENTINEL, sentinel,
};

/// A pool whose first router has this budget; what it has no room for goes to the second.
fn spilling(budget: &str) -> PoolsFile {
    PoolsFile::of(&pool(
        r#"{"mode": "fallback"}"#,
        &format!(
            r#"{{"router": "{GPT4}", "budget": {budget}}}, {{"router": "{GPT35}"}}, {{"router": "{DUD}"}},
            {{"router": "{SENTINEL}0/"}}, {{"router": "{SENTINEL}1/"}}, {{"router": "{SENTINEL}2/"}}"#
        ),
    ))
}

async fn broker(bus: &Bus, file: &PoolsFile) -> Broker {
    Setup::on(bus).set("BROKER_CONFIG", file.path()).set("BROKER_LOG", "debug").ready().await
}

/// The stamp of one decision about a request of about this many tokens.
async fn stamp(bus: &Bus, tokens: u64) -> Value {
    let question = json!({"gl_path": "/azure/", "outbound_payload": {"max_tokens": tokens}}).to_string();
    let answer: Value = serde_json::from_slice(&bus.ask(DECIDE, question).await).unwrap();
    answer["broker"].clone()
}

#[tokio::test]
async fn through_the_gateway_a_budget_spills_over() {
    let (bus, llms, file) = (Bus::start().await, Llms::start().await, spilling(r#"{"rpm": 5}"#));
    let broker = broker(&bus, &file).await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    for _ in 0..9 {
        assert_eq!(gateway.call().await.status, 200);
    }
    assert_eq!((llms.calls("gpt4"), llms.calls("gpt35turbo")), (5, 4));
    let line = broker.until(&["/azure/ -> /azure/gpt35turbo/", "instead of /azure/gpt4/, no room: rpm"]).await;
    assert!(!line.contains("(p "), "{line}");
}

#[tokio::test]
async fn through_the_gateway_the_size_of_a_request_counts() {
    let (bus, llms, file) = (Bus::start().await, Llms::start().await, spilling(r#"{"tpm": 500}"#));
    let _broker = broker(&bus, &file).await;
    let gateway = Gateway::start(&bus, &seeing(two_rows(&bus, &llms), &["outbound_payload"])).await;
    let large = format!(r#"{{"max_tokens": 490, "messages": [{{"role": "user", "content": "{}"}}]}}"#, "x".repeat(40));
    for body in [large.as_bytes(), HI.as_bytes()] {
        assert_eq!(gateway.send("/azure/", &[], body).await.status, 200);
    }
    assert_eq!((llms.calls("gpt4"), llms.calls("gpt35turbo")), (1, 1), "the large one has no room, the small one has");
}

#[tokio::test]
async fn the_log_corrects_what_was_expected() {
    let (bus, file) = (Bus::start().await, spilling(r#"{"tpm": 1000}"#));
    let broker = broker(&bus, &file).await;
    let first = stamp(&bus, 900).await;
    assert_eq!(first["router"], GPT4);
    let second = stamp(&bus, 900).await;
    assert_eq!((&second["router"], second.get("p")), (&json!(GPT35), None));
    assert!(second["why"].as_str().unwrap().contains("instead of /azure/gpt4/, no room: tpm"), "{second}");
    let usage = json!({"usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}});
    let log = Log::of(GPT4, 200).with("/request/broker", first).with("/response/inbound_payload", usage);
    bus.log(log).await;
    sentinel(&bus, &broker).await;
    assert_eq!(stamp(&bus, 900).await["router"], GPT4, "17 and not 900");
}

#[tokio::test]
async fn what_the_upstream_says_is_left_counts_where_there_is_a_budget() {
    for budget in ["{}", r#"{"rpm": 600}"#] {
        let (bus, file) = (Bus::start().await, spilling(budget));
        let broker = broker(&bus, &file).await;
        let headers = json!({
            "Content-Type": ["application/json"],
            "X-Ratelimit-Limit-Requests": ["60"],
            "X-Ratelimit-Remaining-Requests": ["0"],
            "X-Ratelimit-Reset-Requests": ["59s"],
        });
        let log = Log::of(GPT4, 200).with("/request/broker", stamp(&bus, 1).await);
        bus.log(log.with("/response/inbound_headers", headers)).await;
        sentinel(&bus, &broker).await;
        let stamp = stamp(&bus, 1).await;
        assert_eq!(stamp["router"], GPT35, "{budget}");
        assert!(stamp["why"].as_str().unwrap().contains("no room: remaining requests"), "{stamp}");
    }
}
