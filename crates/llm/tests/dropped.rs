//! What is left out of requests, by every way in which something can be.

use llm::provider::{
    ClientRequest, ModelFacts, Operation, PrepareError, Prepared, Provider, Settings, TargetModel, prepare,
};
use llm::translate::{MAX_DROPPED, TranslateError, Unsupported};
use serde_json::{Value, json};

/// A target of each kind that leaves something out.
const TARGETS: [(&str, Provider, &str); 7] = [
    ("anthropic", Provider::Anthropic, "claude-opus-4-6"),
    ("vertex claude", Provider::Vertex, "claude-opus-4-6"),
    ("bedrock claude", Provider::Bedrock, "anthropic.claude-opus-4-6-v1"),
    ("converse", Provider::Bedrock, "meta.llama3-1-70b-instruct-v1:0"),
    ("gemini", Provider::Gemini, "gemini-2.5-flash"),
    ("ollama", Provider::Ollama, "llama3.2"),
    ("openai", Provider::OpenAi, "gpt-4o"),
];

/// The request as this target takes it; its `model` is the target's.
fn prepared<T>(
    (provider, model): (Provider, &str),
    operation: Operation,
    request: &Value,
    unsupported: Unsupported,
    read: impl FnOnce(Result<Prepared<'_>, PrepareError>) -> T,
) -> T {
    let settings =
        Settings { region: Some("eu-central-1"), project: Some("p"), location: Some("global"), ..Settings::default() };
    let target = TargetModel { provider, settings, unsupported };
    let mut request = request.clone();
    request["model"] = model.into();
    let body = request.to_string();
    let asked = ClientRequest {
        operation,
        path: "chat/completions",
        body: body.as_bytes(),
        anthropic_version: None,
        anthropic_beta: Vec::new(),
    };
    read(prepare(&target, &asked, |_| ModelFacts::default()))
}

#[test]
fn what_is_left_out_is_counted_where_it_is_not_named() {
    let fields = |object: &mut Value, count: usize| (0..count).for_each(|at| object[format!("x{at}")] = json!(1));
    let hi = json!({"role": "user", "content": "hi"});
    let mut at_the_top = json!({"messages": [hi]});
    fields(&mut at_the_top, 150);
    let (mut first, mut second) = (hi.clone(), hi.clone());
    fields(&mut first, 140);
    fields(&mut second, 10);
    let in_messages = json!({"messages": [first, second]});
    let mut text = json!({"type": "text", "text": "hi"});
    fields(&mut text, 150);
    let in_a_part = json!({"messages": [{"role": "user", "content": [text]}]});
    for (name, provider, model) in TARGETS {
        let is_translated = name.contains("claude") || ["anthropic", "converse"].contains(&name);
        for (place, request, total) in [
            ("the top", &at_the_top, if name == "openai" { 0 } else { 150 }),
            ("messages", &in_messages, if is_translated { 150 } else { 0 }),
            ("a part", &in_a_part, if is_translated { 150 } else { 0 }),
        ] {
            let dropped =
                prepared((provider, model), Operation::Chat, request, Unsupported::Drop, |made| made.unwrap().dropped);
            assert_eq!((dropped.total(), dropped.iter().count()), (total, total.min(MAX_DROPPED)), "{name}: {place}");
            let refused = prepared((provider, model), Operation::Chat, request, Unsupported::Refuse, |made| made.err());
            match refused {
                None => assert_eq!(total, 0, "{name}: {place}"),
                Some(PrepareError::Translate(TranslateError::Unsupported(dropped))) => {
                    assert_eq!(dropped.total(), total, "{name}: {place}");
                    let said = TranslateError::Unsupported(dropped).to_string();
                    assert!(said.ends_with(" and 50 more"), "{name}: {place}: {said}");
                }
                Some(other) => panic!("{name}: {place}: {other}"),
            }
        }
    }
}
