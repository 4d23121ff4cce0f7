//! Which models there are.

use gateway_sim::vendors::{Fault, Kind};
use serde_json::{Value, json};

use super::super::super::support::http;
use super::{Harness, Vendors, error, read, router};

/// A pool that asks each model's own target.
async fn by_model(vendors: &Vendors) -> Harness {
    let named = [("gpt-4o", "openai"), ("claude", "anthropic"), ("llama", "converse"), ("nomic", "ollama")];
    let conditions: Vec<_> = named
        .iter()
        .map(|(model, target)| json!({"query": {"params.model": {"$eq": model}}, "then": target}))
        .collect();
    let targets: Vec<_> = named.iter().map(|(_, target)| vendors.target(target)).collect();
    let pool =
        json!({"ingress": "/llm/", "strategy": {"mode": "conditional", "conditions": conditions}, "targets": targets});
    vendors.harness(&json!({"pools": [pool]})).await
}

#[tokio::test]
async fn an_unknown_model_is_404_names_what_exists_and_touches_no_target() {
    let vendors = Vendors::start().await;
    let harness = by_model(&vendors).await;
    let answer = harness.chat("/llm/", &json!({"model": "claude"})).await;
    assert_eq!((read(&answer)["object"].as_str(), router(&answer)), (Some("chat.completion"), "/llm/anthropic/"));
    let calls = |vendors: &Vendors| Kind::ALL.map(|kind| vendors.calls(kind));
    let before = calls(&vendors);
    for path in ["/llm/chat/completions", "/llm/v1/messages", "/llm/embeddings"] {
        let body = json!({"model": "gpt-5-\u{e4}\"", "messages": [], "input": "hi"});
        let answer = harness.send(path, &body).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert_eq!(answer.header("x-trace-id").map(str::len), Some(32), "it is a call, and is recorded");
        let whole: Value = serde_json::from_slice(&answer.body).unwrap();
        let said = &whole["error"];
        assert_eq!(said["code"], "model_not_found");
        if path.ends_with("messages") {
            assert_eq!((&whole["type"], &said["type"]), (&json!("error"), &json!("not_found_error")));
            assert_eq!(said["param"], Value::Null);
        } else {
            assert_eq!((&said["type"], &said["param"]), (&json!("invalid_request_error"), &json!("model")));
        }
        let message = said["message"].as_str().unwrap();
        assert!(message.contains("`gpt-5-\u{e4}\"`"), "{message}");
        assert!(message.contains("claude, gpt-4o, llama, nomic"), "{message}");
        assert_eq!(answer.header("x-broker-router"), None);
    }
    assert_eq!(calls(&vendors), before);
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn where_all_targets_map_models_others_are_404_unless_a_row_lets_them_pass() {
    let vendors = Vendors::start().await;
    let pool = |row: Option<&str>| {
        let target = |name: &str| {
            let mut target = vendors.target(name);
            target.as_object_mut().unwrap().remove("model");
            target["model_map"] = json!({"fast": format!("{name}-1")});
            target
        };
        let (first, mut last) = (target("openai"), target("azure"));
        if let Some(row) = row {
            last["model_map"]["*"] = json!(row);
        }
        json!({"pools": [{"ingress": "/llm/", "targets": [first, last], "strategy": {"mode": "fallback"}}]})
    };
    for (row, sent) in [(None, None), (Some("*"), Some("other")), (Some("all"), Some("all"))] {
        let harness = vendors.harness(&pool(row)).await;
        vendors.of(Kind::OpenAi).always(Some(Fault::Status(503)));
        let before = vendors.calls(Kind::Azure);
        let answer = harness.chat("/llm/", &json!({"model": "other"})).await;
        assert_eq!(answer.status, if sent.is_some() { 200 } else { 404 }, "{}", answer.text());
        assert_eq!(vendors.calls(Kind::Azure) - before, usize::from(sent.is_some()));
        if let Some(sent) = sent {
            assert_eq!(vendors.of(Kind::Azure).calls().last().unwrap().json()["model"], sent);
        } else {
            assert!(
                error(&answer)["message"].as_str().unwrap().contains("Available models: fast."),
                "{}",
                answer.text()
            );
        }
    }
}

/// A request that names no model, in each way in which it can.
fn unnamed(path: &str) -> Vec<Value> {
    let messages = json!([{"role": "user", "content": "hi"}]);
    let rest = if path.ends_with("embeddings") {
        json!({"input": "hi"})
    } else {
        json!({"messages": messages, "max_tokens": 9})
    };
    let mut bodies = vec![rest];
    for model in [json!(""), json!(null), json!(7)] {
        let mut body = bodies[0].clone();
        body["model"] = model;
        bodies.push(body);
    }
    bodies
}

#[tokio::test]
async fn a_request_without_a_model_is_400_where_the_targets_only_map_models() {
    let vendors = Vendors::start().await;
    let mapping = |name: &str, rows: Value| {
        let mut target = vendors.target(name);
        target.as_object_mut().unwrap().remove("model");
        target["model_map"] = rows;
        target
    };
    let names = ["anthropic", "vertexclaude", "vertexgemini", "converse", "openai", "ollama"];
    let all: Vec<_> = names.iter().map(|name| mapping(name, json!({"fast": "x", "good": "y"}))).collect();
    let harness = vendors.pool(&all).await;
    for path in
        ["/llm/chat/completions", "/llm/v1/chat/completions", "/llm/v1/messages", "/llm/embeddings", "/llm/completions"]
    {
        for body in unnamed(path) {
            let answer = harness.send(path, &body).await;
            let whole: Value = serde_json::from_slice(&answer.body).unwrap();
            let said = &whole["error"];
            assert_eq!(
                (answer.status, &said["type"]),
                (400, &json!("invalid_request_error")),
                "{path} {body}: {whole}"
            );
            assert!(
                said["message"].as_str().unwrap().contains("Available models: fast, good."),
                "{path} {body}: {whole}"
            );
            assert_eq!(whole["type"] == "error", path.ends_with("messages"), "{path}: {whole}");
            if !path.ends_with("messages") {
                assert_eq!(said["param"], "model", "{path}: {whole}");
            }
        }
    }
    assert_eq!(Kind::ALL.map(|kind| vendors.calls(kind)), [0; 7]);
    harness.assert_nothing_disabled();
    // What needs no model passes, and so does a model in the path.
    let answer = harness.send("/llm/v1/responses", &json!({"prompt": {"id": "p"}})).await;
    assert!(vendors.calls(Kind::OpenAi) > 0, "{}", answer.text());
    let azure = vendors.pool(&[mapping("azure", json!({"fast": "gpt4"}))]).await;
    let answer = azure.send("/llm/openai/deployments/fast/chat/completions", &unnamed("")[0]).await;
    assert_eq!((answer.status, &vendors.last(Kind::Azure).json()["model"]), (200, &json!("gpt4")), "{}", answer.text());
}

#[tokio::test]
async fn a_row_for_all_other_names_holds_for_a_request_without_one() {
    let vendors = Vendors::start().await;
    for (name, kind) in [("openai", Kind::OpenAi), ("anthropic", Kind::Anthropic), ("ollama", Kind::Ollama)] {
        let mut target = vendors.target(name);
        target.as_object_mut().unwrap().remove("model");
        // What it becomes is asked for itself as well.
        target["model_map"] = json!({"fast": "x", "good": "y", "*": "good"});
        let harness = vendors.pool(&[target.clone()]).await;
        for body in unnamed("/llm/chat/completions") {
            let answer = harness.send("/llm/chat/completions", &body).await;
            assert_eq!(answer.status, 200, "{name} {body}: {}", answer.text());
            assert_eq!(vendors.last(kind).json()["model"], "good", "{name} {body}");
        }
        // Where all names pass, there is none to send.
        target["model_map"] = json!({"fast": "x", "*": "*"});
        let harness = vendors.pool(&[target]).await;
        let before = vendors.calls(kind);
        let answer = harness.send("/llm/chat/completions", &unnamed("/llm/chat/completions")[0]).await;
        if name == "anthropic" {
            assert_eq!((answer.status, vendors.calls(kind)), (400, before), "{}", answer.text());
            assert_eq!(error(&answer)["param"], "model");
        } else {
            assert_eq!(vendors.last(kind).json().get("model"), None, "{name}: it judges itself");
        }
    }
}

/// A target that sets its model serves what another one cannot.
#[tokio::test]
async fn a_request_without_a_model_goes_to_the_target_that_sets_one() {
    let vendors = Vendors::start().await;
    for name in ["anthropic", "vertexgemini", "vertexclaude", "converse"] {
        let mut first = vendors.target(name);
        first.as_object_mut().unwrap().remove("model");
        first["model_map"] = json!({"fast": "x"});
        let harness = vendors.pool(&[first, vendors.target("openai")]).await;
        let answer = harness.send("/llm/chat/completions", &unnamed("/llm/chat/completions")[0]).await;
        assert_eq!((answer.status, router(&answer)), (200, "/llm/openai/"), "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_pool_that_sets_its_models_itself_takes_any_name() {
    let vendors = Vendors::start().await;
    let harness = vendors.pool(&[vendors.target("anthropic"), vendors.target("openai")]).await;
    assert_eq!(router(&harness.chat("/llm/", &json!({"model": "anything"})).await), "/llm/anthropic/");
}

#[tokio::test]
async fn the_models_of_a_pool_are_listed_and_no_target_is_called() {
    let vendors = Vendors::start().await;
    let harness = by_model(&vendors).await;
    let answer = http::send(harness.relay, "GET", "/llm/v1/models", &[], b"").await.unwrap();
    let said = read(&answer);
    let ids: Vec<_> = said["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!((said["object"].as_str(), ids), (Some("list"), vec!["claude", "gpt-4o", "llama", "nomic"]));
    assert_eq!(Kind::ALL.map(|kind| vendors.calls(kind)), [0; 7]);
    // Where the settings do not name them, the provider is asked.
    let target = json!({"name": "a", "provider": "openai", "url": vendors.of(Kind::OpenAi).url(), "api_key": "${KEY}"});
    let harness = vendors.pool(&[target]).await;
    let answer = http::send(harness.relay, "GET", "/llm/models", &[], b"").await.unwrap();
    assert_eq!(read(&answer)["data"][0]["id"], Value::from("a-model-of-openai"));
}
