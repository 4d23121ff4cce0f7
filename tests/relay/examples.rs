//! The examples, each as it is but for the addresses.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::support::http::Answer;
use super::super::support::scripted::{Scripted, answer};
use super::{Harness, good};

/// An example's text, its hosts replaced, with the first of the upstreams for the first of the hosts.
fn placed(text: &str, hosts: &[(&str, &Scripted)]) -> String {
    let mut text = text.replace("../../", "");
    for (host, upstream) in hosts {
        let there = upstream.url();
        text = text.replace(&format!("https://{host}/"), there.trim_end_matches("v1/"));
    }
    assert!(!text.contains("https://"), "{text}");
    text
}

async fn harness(text: &str) -> Harness {
    let keys = ["OPENAI", "ANTHROPIC", "AZURE", "AZURE_WEST", "AZURE_NORTH", "PTU"];
    let setup = |setup| {
        keys.iter().fold(setup, |setup: super::Setup, key| {
            let secret = format!("secret-of-{}", key.to_ascii_lowercase());
            setup.set(&format!("{key}_API_KEY"), &secret).secret(&secret)
        })
    };
    Harness::with(text, setup).await
}

fn router(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-broker-router").unwrap().to_owned()
}

fn body(upstream: &Scripted) -> Value {
    serde_json::from_str(&upstream.last().body).unwrap()
}

#[tokio::test]
async fn half_to_one_provider_and_half_to_a_pair() {
    let (one, two, three) =
        (Scripted::start(good()).await, Scripted::start(good()).await, Scripted::start(good()).await);
    let hosts = [("api.anthropic.com", &one), ("api.openai.com", &two), ("west.openai.azure.com", &three)];
    let harness = harness(&placed(include_str!("../../examples/relay/01-nested.json"), &hosts)).await;
    let mut served = BTreeMap::<String, u32>::new();
    for _ in 0..100 {
        *served.entry(router(&harness.call().await)).or_default() += 1;
    }
    assert!(served["/llm/anthropic/"] >= 25 && served["/llm/openai/"] >= 25 && served.len() == 2, "{served:?}");
    assert!(one.last().head.contains("authorization: bearer secret-of-anthropic"));
    assert_eq!(body(&one)["model"], "claude-sonnet-5");
    two.always(answer(503, &[], "{}"));
    while router(&harness.call().await) != "/llm/azure/" {}
    assert_eq!((&body(&three)["max_tokens"], &body(&three)["model"]), (&250.into(), &"gpt-4o".into()));
    let head = three.last().head;
    assert!(head.contains("/openai/deployments/gpt4/chat/completions?api-version=2024-06-01"), "{head}");
    assert!(head.contains("api-key: secret-of-azure"), "{head}");
}

#[tokio::test]
async fn a_canary_with_a_model_of_its_own_whose_failures_no_client_sees() {
    let openai = Scripted::answering(|call| match call.body.contains("gpt-5") {
        true => answer(500, &[], "{}"),
        false => good(),
    })
    .await;
    let text = placed(include_str!("../../examples/relay/02-canary.json"), &[("api.openai.com", &openai)]);
    let harness = harness(&text).await;
    let mut calls = 0;
    while harness.disabled().await.is_empty() {
        assert_eq!(router(&harness.call().await), "/llm/old/");
        calls += 1;
        assert!(calls < 1_000, "the canary is never met");
    }
    assert_eq!(harness.disabled().await, ["/llm/canary/"]);
}

#[tokio::test]
async fn a_list_of_endpoints_in_turn_out_after_five_failures() {
    let (one, two, three) =
        (Scripted::start(good()).await, Scripted::start(good()).await, Scripted::start(good()).await);
    let hosts = [("api.openai.com", &one), ("west.openai.azure.com", &two), ("north.openai.azure.com", &three)];
    let text = placed(include_str!("../../examples/relay/03-endpoint-list.json"), &hosts);
    let in_turn = harness(&text).await;
    for _ in 0..6 {
        in_turn.call().await;
    }
    assert_eq!((one.calls(), two.calls(), three.calls()), (2, 2, 2));
    assert_eq!((&body(&one)["model"], &body(&two)["model"]), (&"gpt-4o".into(), &"gpt4o".into()));
    assert_eq!(body(&three)["model"], "gpt-4o-north");
    two.always(answer(500, &[], "{}"));
    let mut calls = 0;
    while in_turn.disabled().await.is_empty() {
        assert_ne!(router(&in_turn.call().await), "/llm/azurewest/");
        calls += 1;
        assert!(calls < 100, "it is never out");
    }
    assert_eq!((in_turn.disabled().await, two.calls()), (vec!["/llm/azurewest/".to_owned()], 2 + 5));
    let first_active = harness(&text.replace("round_robin", "fallback")).await;
    let before = one.calls();
    for _ in 0..5 {
        assert_eq!(router(&first_active.call().await), "/llm/openai/");
    }
    assert_eq!(one.calls(), before + 5);
}

#[tokio::test]
async fn provisioned_capacity_first_and_then_as_one_goes() {
    let (ptu, west, north) =
        (Scripted::start(good()).await, Scripted::start(good()).await, Scripted::start(good()).await);
    let hosts = [("ptu.openai.azure.com", &ptu), ("west.openai.azure.com", &west), ("north.openai.azure.com", &north)];
    let harness = harness(&placed(include_str!("../../examples/relay/04-provisioned-first.json"), &hosts)).await;
    assert_eq!(router(&harness.call().await), "/llm/provisioned/");
    ptu.once(answer(429, &[("Retry-After-Ms", "1200")], "{}"));
    assert_ne!(router(&harness.call().await), "/llm/provisioned/", "the call that meets the limit is not lost");
    assert_ne!(router(&harness.call().await), "/llm/provisioned/", "it is full for so long");
    harness.broker.until(&["router enabled", "/llm/provisioned/"]).await;
    assert_eq!(router(&harness.call().await), "/llm/provisioned/", "as soon as it has room again");
}
