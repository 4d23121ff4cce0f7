//! The real OpenAI Python SDK, unchanged but for its address, with its own retries off: the relay does them.

use std::process::Command;

use super::super::support::scripted::{Act, Call, Scripted, answer, chunk, last_chunk, stream};
use super::super::support::tool;
use super::Harness;

/// What OpenAI says to each kind of call.
pub(super) fn openai(call: &Call) -> Act {
    let delta = |text: &str| {
        format!(
            r#"data: {{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}{}"#,
            "\n\n"
        )
    };
    let path = call.head.split(' ').nth(1).unwrap_or_default();
    if call.body.contains("\"stream\":true") {
        return vec![stream(), chunk(&delta("hel")), chunk(&delta("lo")), chunk("data: [DONE]\n\n"), last_chunk()];
    }
    let body = if path.contains("/chat/completions") {
        r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hello"}}]}"#
    } else if path.contains("/embeddings") {
        r#"{"object":"list","model":"e","data":[{"object":"embedding","index":0,"embedding":[0.5,0.25]}],"usage":{"prompt_tokens":1,"total_tokens":1}}"#
    } else {
        r#"{"id":"1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"hello","finish_reason":"stop","logprobs":null}]}"#
    };
    answer(200, &[], body)
}

async fn every_kind_of_call(kind: &'static str) {
    let Some(python) = std::env::var_os("OPENAI_PYTHON").filter(|path| !path.is_empty()) else {
        return tool::missing("OpenAI SDK", "OPENAI_PYTHON names no Python that has it; `make test` sets it");
    };
    let (a, b) =
        (Scripted::start(answer(429, &[("Retry-After-Ms", "1")], "{}")).await, Scripted::answering(openai).await);
    let harness = Harness::before(&[&a, &b]).await;
    let url = format!("http://{}", harness.relay);
    let run = tokio::task::spawn_blocking(move || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/sdk.py");
        Command::new(python).args([script, kind, &url]).env_clear().output().unwrap()
    });
    let output = run.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "chat hello\nstream hello\nembeddings [0.5, 0.25]\ncompletions hello\n", "{output:?}");
    assert!(a.calls() >= 1, "the failing one was met");
}

#[tokio::test]
async fn openai_makes_every_kind_of_call() {
    every_kind_of_call("OpenAI").await;
}

#[tokio::test]
async fn azure_openai_makes_every_kind_of_call() {
    every_kind_of_call("AzureOpenAI").await;
}
