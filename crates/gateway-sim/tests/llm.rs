//! The fake LLM.

use std::time::Duration;

use gateway_sim::llm::{Behaviour, Llm};
use serde_json::Value;

use crate::support::http::{Call, Exchange};

async fn start() -> Llm {
    Llm::start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn azure(deployment: &str) -> Call {
    Call::post(&format!("/openai/deployments/{deployment}/chat/completions?api-version=2023-05-15"))
}

async fn send(llm: &Llm, call: Call) -> (Exchange, Value) {
    let answer = call.send(llm.addr()).await.unwrap();
    let body = serde_json::from_str(answer.text()).unwrap();
    (answer, body)
}

#[tokio::test]
async fn a_deployment_answers_with_a_chat_completion_and_counts_its_calls() {
    let llm = start().await;
    let (answer, body) = send(&llm, azure("gpt4")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("Content-Type"), ["application/json"]);
    assert_eq!(body["object"], "chat.completion");
    assert!(body["choices"][0]["message"]["content"].is_string());
    assert_eq!(body["usage"]["total_tokens"], 17);
    let by_model = Call::post("/v1/chat/completions").body(r#"{"model":"gpt4","messages":[]}"#);
    assert_eq!(send(&llm, by_model).await.0.status(), 200);
    assert_eq!((llm.calls("gpt4"), llm.calls("gpt35turbo")), (2, 0));
}

#[tokio::test]
async fn errors_look_like_those_of_the_api() {
    let llm = start().await;
    let limited = Behaviour { status: 429, headers: vec![("retry-after".into(), "7".into())], ..Behaviour::default() };
    llm.set("gpt4", limited);
    let (answer, body) = send(&llm, azure("gpt4")).await;
    assert_eq!((answer.status(), answer.header("Retry-After")), (429, vec!["7"]));
    assert_eq!(body["error"]["code"], "429");
    llm.set("gpt4", Behaviour { status: 404, ..Behaviour::default() });
    assert_eq!(send(&llm, azure("gpt4")).await.1["error"]["code"], "DeploymentNotFound");
    assert_eq!(send(&llm, azure("other")).await.0.status(), 200);
}

#[tokio::test]
async fn a_deployment_can_be_slow_silent_or_literal() {
    let llm = start().await;
    let delay = Duration::from_millis(50);
    llm.set("gpt4", Behaviour { delay, body: Some("{\"mine\":1}".into()), ..Behaviour::default() });
    let begin = tokio::time::Instant::now();
    assert_eq!(send(&llm, azure("gpt4")).await.1["mine"], 1);
    assert!(begin.elapsed() >= delay);
    llm.set("gpt4", Behaviour { close: true, ..Behaviour::default() });
    assert_eq!(azure("gpt4").send(llm.addr()).await, None);
    assert_eq!(llm.calls("gpt4"), 2);
}

#[tokio::test]
async fn anything_can_be_got() {
    let llm = start().await;
    let mut call = Call::post("/anything");
    (call.method, call.body) = ("GET".into(), None);
    assert_eq!(send(&llm, call).await.0.status(), 200);
    assert_eq!(send(&llm, Call::post("/anything")).await.0.status(), 404);
}
