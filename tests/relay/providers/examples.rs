//! The examples with providers, each as it is but for the addresses.

use std::collections::BTreeMap;

use gateway_sim::vendors::{Fault, Kind};
use serde_json::json;

use super::sdks::{example, world_of};
use super::{Harness, Vendors, chunks, read, router};

fn tools() -> serde_json::Value {
    json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}])
}

/// So many chats, whole and streamed, with tools and without: who served them, each right.
async fn served(harness: &Harness, calls: usize) -> BTreeMap<String, usize> {
    let mut served = BTreeMap::new();
    for number in 0..calls {
        let (stream, with_tools) = (number % 2 == 1, number % 4 >= 2);
        let mut asked = json!({"model": "gpt-4o", "stream": stream});
        if with_tools {
            asked["tools"] = tools();
        }
        let answer = harness.chat("/llm/", &asked).await;
        let calls = if stream {
            let chunks = chunks(&answer);
            let deltas = chunks.iter().flat_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array());
            deltas.flatten().filter(|call| call["id"].is_string()).count()
        } else {
            read(&answer)["choices"][0]["message"]["tool_calls"].as_array().map_or(0, Vec::len)
        };
        assert_eq!(calls, if with_tools { 2 } else { 0 }, "{}", answer.text());
        *served.entry(router(&answer).to_owned()).or_default() += 1;
    }
    served
}

#[tokio::test]
async fn half_to_openai_and_half_to_a_pair() {
    let vendors = Vendors::start().await;
    let harness = world_of(&vendors, &example("cookbook-loadbalance-fallback.json", &vendors)).await;
    let all_well = served(&harness, 60).await;
    assert!(all_well["/llm/openai/"] >= 12 && all_well["/llm/anthropic/"] >= 12 && all_well.len() == 2, "{all_well:?}");
    vendors.of(Kind::Anthropic).always(Some(Fault::Status(529)));
    let one_down = served(&harness, 40).await;
    assert!(one_down["/llm/azure/"] >= 6 && !one_down.contains_key("/llm/anthropic/"), "{one_down:?}");
    vendors.of(Kind::OpenAi).always(Some(Fault::Status(503)));
    assert_eq!(served(&harness, 8).await, [("/llm/azure/".to_owned(), 8)].into());
}

#[tokio::test]
async fn a_canary_of_another_provider() {
    let vendors = Vendors::start().await;
    let harness = world_of(&vendors, &example("cookbook-canary.json", &vendors)).await;
    let shares = served(&harness, 200).await;
    // Ten are expected; fewer than one or more than 40 come once in many thousand times.
    let canary = shares.get("/llm/canary/").copied().unwrap_or_default();
    assert!((1..=40).contains(&canary), "{shares:?}");
    vendors.of(Kind::Anthropic).always(Some(Fault::CutWithin(0)));
    let before = vendors.calls(Kind::Anthropic);
    let mut calls = 0;
    while vendors.calls(Kind::Anthropic) == before {
        assert_eq!(served(&harness, 4).await, [("/llm/stable/".to_owned(), 4)].into(), "no client sees it fail");
        calls += 4;
        assert!(calls < 1_000, "the canary is never met");
    }
    harness.broker.until(&["router disabled", "/llm/canary/"]).await;
}
