//! What each provider answers, as a client of OpenAI's API gets it.

use gateway_sim::vendors::{INPUT_TOKENS, OUTPUT_TOKENS};
use serde_json::{Value, json};

use super::{Vendors, chunks, read};

fn tools() -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!([{"type": "function", "function": {"name": "weather", "description": "Of a city", "parameters": parameters}}])
}

fn assert_usage(usage: &Value, whose: &str) {
    let total = INPUT_TOKENS + OUTPUT_TOKENS;
    let counted = (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]);
    assert_eq!(counted, (&json!(INPUT_TOKENS), &json!(OUTPUT_TOKENS), &json!(total)), "{whose}: {usage}");
}

/// The calls of a message or of put-together deltas: name and city.
fn cities(calls: &[Value]) -> Vec<(String, String)> {
    let city = |call: &Value| {
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        (call["function"]["name"].as_str().unwrap().to_owned(), arguments["city"].as_str().unwrap().to_owned())
    };
    calls.iter().map(city).collect()
}

fn both() -> Vec<(String, String)> {
    ["Paris", "Rome"].map(|city| ("weather".to_owned(), city.to_owned())).to_vec()
}

#[tokio::test]
async fn each_provider_answers_a_whole_chat() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    for (name, kind, _) in &vendors.targets {
        let answer = harness.chat(&format!("/{name}/"), &json!({"temperature": 0.5, "max_tokens": 50})).await;
        let said = read(&answer);
        assert_eq!(said["object"], "chat.completion", "{name}");
        let choice = &said["choices"][0];
        assert_eq!(choice["message"]["content"], format!("Hello from {}.", kind.name()), "{name}");
        assert_eq!(
            (&choice["finish_reason"], &choice["message"]["role"]),
            (&json!("stop"), &json!("assistant")),
            "{name}"
        );
        assert!(said["id"].is_string() && said["model"].is_string() && said["created"].is_u64(), "{name}: {said}");
        assert_usage(&said["usage"], name);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
        assert_eq!(answer.header("x-broker-dropped"), None, "{name}");
    }
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn each_provider_streams_a_chat() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    for (name, kind, _) in &vendors.targets {
        for with_usage in [false, true] {
            let mut asked = json!({"stream": true});
            if with_usage {
                asked["stream_options"] = json!({"include_usage": true});
            }
            let chunks = chunks(&harness.chat(&format!("/{name}/"), &asked).await);
            let deltas = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
            assert_eq!(deltas.collect::<String>(), format!("Hello from {}.", kind.name()), "{name}");
            let reasons: Vec<_> =
                chunks.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
            assert_eq!(reasons, ["stop"], "{name}");
            let ids: std::collections::BTreeSet<_> = chunks.iter().map(|chunk| chunk["id"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), 1, "{name}: one id");
            let usages: Vec<_> = chunks.iter().filter(|chunk| chunk["usage"].is_object()).collect();
            assert_eq!(usages.len(), usize::from(with_usage), "{name}");
            usages.iter().for_each(|chunk| assert_usage(&chunk["usage"], name));
        }
    }
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn each_provider_calls_tools_side_by_side_and_takes_their_results() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    for (name, kind, _) in &vendors.targets {
        let ingress = format!("/{name}/");
        let said = read(&harness.chat(&ingress, &json!({"tools": tools()})).await);
        let choice = &said["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{name}");
        let message = choice["message"].clone();
        let calls = message["tool_calls"].as_array().unwrap();
        assert_eq!(cities(calls), both(), "{name}");
        assert_eq!(message["content"], Value::Null, "{name}");
        let result = |call: &Value| json!({"role": "tool", "tool_call_id": call["id"], "content": "sunny"});
        let mut messages = vec![
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "user", "content": "weather?"}),
            message.clone(),
        ];
        messages.extend(calls.iter().map(result));
        let said = read(&harness.chat(&ingress, &json!({"tools": tools(), "messages": messages})).await);
        let words = format!("It is sunny, says {}.", kind.name());
        assert_eq!(said["choices"][0]["message"]["content"], words, "{name}");
        // A history with calls, and no tools any more.
        let said = read(&harness.chat(&ingress, &json!({"messages": messages})).await);
        assert_eq!(said["choices"][0]["message"]["content"], words, "{name}");
    }
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn functions_of_the_old_form_reach_those_who_know_tools_only() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    let functions: Vec<_> = tools().as_array().unwrap().iter().map(|tool| tool["function"].clone()).collect();
    for (name, whose) in
        [("anthropic", "anthropic"), ("bedrockclaude", "bedrock"), ("converse", "bedrock"), ("vertexclaude", "vertex")]
    {
        let ingress = format!("/{name}/");
        let said = read(&harness.chat(&ingress, &json!({"functions": functions})).await);
        let choice = &said["choices"][0];
        assert_eq!(choice["finish_reason"], "function_call", "{name} {said}");
        let message = choice["message"].clone();
        let arguments: Value = serde_json::from_str(message["function_call"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!((&message["function_call"]["name"], &arguments["city"]), (&json!("weather"), &json!("Paris")));
        let result = json!({"role": "function", "name": "weather", "content": "sunny"});
        let messages = json!([{"role": "user", "content": "weather?"}, message, result]);
        let said = read(&harness.chat(&ingress, &json!({"functions": functions, "messages": messages})).await);
        assert_eq!(said["choices"][0]["message"]["content"], format!("It is sunny, says {whose}."), "{name}");
        let streamed = chunks(&harness.chat(&ingress, &json!({"functions": functions, "stream": true})).await);
        let last = streamed.last().unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "function_call", "{name} {last}");
    }
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn each_provider_streams_calls_of_tools_side_by_side() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    for (name, ..) in &vendors.targets {
        let chunks = chunks(&harness.chat(&format!("/{name}/"), &json!({"tools": tools(), "stream": true})).await);
        let mut calls: Vec<Value> = Vec::new();
        for part in
            chunks.iter().flat_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten())
        {
            let index = usize::try_from(part["index"].as_u64().unwrap()).unwrap();
            if index == calls.len() {
                assert!(part["id"].is_string() && part["type"] == "function", "{name}: {part}");
                calls.push(json!({"function": {"name": part["function"]["name"], "arguments": ""}}));
            }
            let known = calls[index]["function"]["arguments"].as_str().unwrap();
            let arguments = format!("{known}{}", part["function"]["arguments"].as_str().unwrap_or_default());
            calls[index]["function"]["arguments"] = json!(arguments);
        }
        assert_eq!(cities(&calls), both(), "{name}");
        let reasons: Vec<_> = chunks.iter().filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).collect();
        assert_eq!(reasons, ["tool_calls"], "{name}");
    }
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn embeddings_come_from_those_who_have_them_and_the_others_are_not_called() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    for (name, kind, _) in &vendors.targets {
        let has = ["openai", "azure", "azuredeployment", "gemini", "ollama"].contains(name);
        let before = vendors.calls(*kind);
        let answer = harness.send(&format!("/{name}/embeddings"), &json!({"model": "e", "input": "hi"})).await;
        if has {
            assert_eq!(read(&answer)["data"][0]["embedding"], json!([0.5, 0.25]), "{name}");
        } else {
            assert_eq!((answer.status, vendors.calls(*kind)), (404, before), "{name}: {}", answer.text());
            assert_eq!(super::error(&answer)["type"], "invalid_request_error", "{name}");
        }
    }
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn a_schema_reaches_those_who_take_one() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "person", "strict": true, "schema": schema}});
    for (name, ..) in vendors.targets.iter().filter(|(name, ..)| *name != "converse") {
        let said = read(&harness.chat(&format!("/{name}/"), &json!({"response_format": format})).await);
        let content: Value = serde_json::from_str(said["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
        assert_eq!(content, json!({"name": "Ada", "age": 36}), "{name}");
    }
}
