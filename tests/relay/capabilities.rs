//! A target whose model lacks what a request needs is passed over while another one can serve it, and says so.

use serde_json::{Value, json};

use super::super::support::Setup;
use super::super::support::http::Answer;
use super::super::support::scripted::{Scripted, answer};
use super::{CHAT, Harness, good};

const OPERATORS: &str = "the-operators-own-token";
const ASKING: [(&str, &str); 2] = [("X-Broker-Explain", "1"), ("X-Broker-Token", OPERATORS)];
const TOOLS: &str = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;

fn operated(setup: Setup) -> Setup {
    setup.set("BROKER_ADMIN_TOKEN", OPERATORS).secret(OPERATORS)
}

/// A pools file before `a` and `b`, in this order of preference, both OpenAI's with these models.
fn pools(a: (&Scripted, &str), b: (&Scripted, &str)) -> String {
    let target = |name: &str, (upstream, model): (&Scripted, &str)| json!({"name": name, "provider": "openai", "url": upstream.url(), "api_key": "${KEY}", "model": model});
    json!({"pools": [{"ingress": "/llm/", "strategy": {"mode": "fallback"}, "targets": [target("a", a), target("b", b)]}]})
        .to_string()
}

fn body(rest: &str) -> String {
    format!(r#"{{"model":"any",{rest}}}"#)
}

fn trace(answer: &Answer) -> Value {
    serde_json::from_str(answer.header("x-broker-trace").unwrap()).unwrap()
}

/// The router and the number of attempts.
fn served(answer: &Answer) -> (u16, Option<&str>, Option<&str>) {
    (answer.status, answer.header("x-broker-router"), answer.header("x-broker-attempts"))
}

const A: Option<&str> = Some("/llm/a/");
const B: Option<&str> = Some("/llm/b/");

/// The shipped table says of each of these models that it lacks this.
#[tokio::test]
async fn what_a_model_lacks_leads_to_the_next_target_and_is_in_its_stamp() {
    let long = format!(r#""messages":[{{"role":"user","content":"{}"}}]"#, "word ".repeat(8_000));
    let image =
        r#""messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://h/a.png"}}]}]"#;
    let schema = r#""response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}"#;
    for (model, needs, lack) in [
        ("gpt-5-chat", TOOLS, "its model takes no tools"),
        ("o3-mini", image, "its model takes no images"),
        ("gpt-5.4-pro", schema, "its model takes no schemas"),
        ("computer-use-preview", &long, "its model's context is too small"),
    ] {
        let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
        let relay = Harness::with(&pools((&a, model), (&b, "gpt-4o")), operated).await;
        let answer = relay.send(CHAT, &ASKING, &body(needs)).await;
        assert_eq!(served(&answer), (200, B, Some("1")), "{model}");
        assert_eq!((a.calls(), b.calls()), (0, 1), "{model}");
        let trace = trace(&answer);
        assert_eq!(trace[0]["broken"], format!("was passed over: {lack}"), "{trace}");
        let why = trace[1]["why"].as_str().unwrap();
        assert!(why.ends_with(&format!("; /llm/a/ passed over: {lack}")), "{why}");

        let plain = relay.send(CHAT, &[], &body(r#""messages":[]"#)).await;
        assert_eq!((served(&plain), a.calls()), ((200, A, Some("1")), 1), "{model}");
        assert!(relay.disabled().await.is_empty());
    }
}

#[tokio::test]
async fn where_no_target_is_capable_the_first_choice_is_sent_the_request() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let relay = Harness::with(&pools((&a, "gpt-5-chat"), (&b, "o3-deep-research")), operated).await;
    let answer = relay.send(CHAT, &ASKING, &body(TOOLS)).await;
    assert_eq!(served(&answer), (200, A, Some("1")));
    assert_eq!((a.calls(), b.calls()), (1, 0));
    let trace = trace(&answer);
    let routers: Vec<_> = (0..3).map(|place| trace[place]["router"].as_str().unwrap()).collect();
    assert_eq!((routers, &trace[2]["status"]), (vec!["/llm/a/", "/llm/b/", "/llm/a/"], &json!(200)));
}

#[tokio::test]
async fn a_target_that_lacks_something_is_better_than_none() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(answer(503, &[], "{}")).await);
    let relay = Harness::with(&pools((&a, "gpt-5-chat"), (&b, "gpt-4o")), operated).await;
    let first = relay.send(CHAT, &[], &body(TOOLS)).await;
    assert_eq!(served(&first), (200, A, Some("2")), "the one that can has failed");
    assert_eq!(relay.disabled().await, ["/llm/b/"]);
    let second = relay.send(CHAT, &[], &body(TOOLS)).await;
    assert_eq!(served(&second), (200, A, Some("1")), "the one that can is out");
}
