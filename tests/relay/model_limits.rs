//! A rate limit is that of the model, where the client chose it: where the calls go meanwhile, for this model and for others.

use serde_json::{Value, json};

use super::super::support::http::{self, Answer};
use super::super::support::scripted::{Act, Scripted, answer};
use super::super::support::{PoolsFile, Setup, soon};
use super::{CHAT, HI, Harness, KEY, good, target};

const OPERATORS: &str = "the-operators-own-token";
const LIMITED: &str = r#"{"error": {"message": "Rate limit reached for this model", "code": "rate_limit_exceeded"}}"#;

fn limited(seconds: u64) -> Act {
    answer(429, &[("Retry-After", &seconds.to_string())], LIMITED)
}

/// A pool of these targets in order of preference, with what is set by default where addresses are called.
fn pool(targets: &[String]) -> String {
    let (relay, targets) = (r#""relay": {"backoff": {"base": "5ms", "cap": "20ms"}}"#, targets.join(","));
    let strategy = r#""strategy": {"mode": "fallback"}"#;
    format!(r#"{{{relay}, "pools": [{{"ingress": "/llm/", {strategy}, "targets": [{targets}]}}]}}"#)
}

async fn before(targets: &[String]) -> Harness {
    let set = |setup: Setup| setup.set("BROKER_ADMIN_TOKEN", OPERATORS).secret(OPERATORS);
    Harness::shipped(PoolsFile::of(&pool(targets)), set).await
}

async fn before_two(a: &Scripted, b: &Scripted) -> Harness {
    before(&[target("a", &a.url()), target("b", &b.url())]).await
}

/// A chat with this model.
fn chat(model: &str) -> String {
    HI.replace("gpt-4o", model)
}

fn served_by(answer: &Answer) -> (u16, Option<String>) {
    (answer.status, answer.header("x-broker-router").map(str::to_owned))
}

fn from(router: &str) -> (u16, Option<String>) {
    (200, Some(router.to_owned()))
}

async fn rests(broker: &super::super::support::Broker) -> Vec<(String, String)> {
    let status: Value = serde_json::from_slice(&broker.get("/api/v1/status").await.body).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut resting = Vec::new();
    for router in status["routers"].as_array().unwrap() {
        for one in router["rests_for"].as_array().into_iter().flatten() {
            resting.push((text(&router["router"]), text(&one["model"])));
        }
    }
    resting
}

#[tokio::test]
async fn a_model_that_is_refused_goes_to_the_other_target_and_the_others_stay() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let harness = before_two(&a, &b).await;
    let beside = Setup::on(&harness.bus).set("BROKER_CONFIG", harness.file.path()).set("BROKER_RELAY", "127.0.0.1:0");
    let beside = beside.set("KEY", KEY).secret(KEY).ready().await;
    a.once(limited(60));
    assert_eq!(served_by(&harness.send(CHAT, &[], &chat("hot")).await), from("/llm/b/"), "the same call");
    assert_eq!((a.calls(), b.calls()), (1, 1));
    for call in 1..=5 {
        assert_eq!(served_by(&harness.send(CHAT, &[], &chat("other")).await), from("/llm/a/"));
        assert_eq!(served_by(&harness.send(CHAT, &[], &chat("hot")).await), from("/llm/b/"));
        assert_eq!((a.calls(), b.calls()), (1 + call, 1 + call));
    }
    assert_eq!(harness.disabled().await, Vec::<String>::new());
    let expected = [("/llm/a/".to_owned(), "hot".to_owned())];
    assert_eq!(rests(&harness.broker).await, expected);
    // The other replica has it from the log entry.
    soon("the entry", async { while rests(&beside).await != expected {} }).await;
    let relay = beside.relay().await;
    for (model, router) in [("hot", "/llm/b/"), ("other", "/llm/a/")] {
        let answer = http::send(relay, "POST", CHAT, &[], chat(model).as_bytes()).await.unwrap();
        assert_eq!(served_by(&answer), from(router), "{model}");
    }
    // A good answer of the other target says nothing of this one; an operator knows better.
    let (path, bearer) = ("/api/v1/routers/%2Fllm%2Fa%2F/resume", format!("Bearer {OPERATORS}"));
    let http = harness.broker.http().await;
    let done = http::send(http, "POST", path, &[("Authorization", bearer.as_str())], b"").await.unwrap();
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(served_by(&harness.send(CHAT, &[], &chat("hot")).await), from("/llm/a/"));
    assert!(rests(&harness.broker).await.is_empty());
}

#[tokio::test]
async fn the_model_may_stand_in_the_body_in_a_form_or_in_the_path() {
    let form =
        |model: &str| format!("--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--B--\r\n");
    let json = ("Content-Type", "application/json");
    let multipart = ("Content-Type", "multipart/form-data; boundary=B");
    let (hot, other) = (chat("hot"), chat("other"));
    let (hot_form, other_form) = (form("hot"), form("other"));
    let transcriptions = "/llm/audio/transcriptions";
    let gemini = ["/llm/models/hot:generateContent", "/llm/models/other:generateContent"];
    // The deployment is what is called, whatever the body says.
    let azure = ["/llm/deployments/hot/chat/completions", "/llm/deployments/other/chat/completions"];
    let (named, unnamed) = (chat("other"), r#"{"messages": []}"#);
    for (kind, hot, other) in [
        (json, (CHAT, hot.as_str()), (CHAT, other.as_str())),
        (multipart, (transcriptions, hot_form.as_str()), (transcriptions, other_form.as_str())),
        (json, (gemini[0], r#"{"contents": []}"#), (gemini[1], r#"{"contents": []}"#)),
        (json, (azure[0], named.as_str()), (azure[1], unnamed)),
    ] {
        let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
        let harness = before_two(&a, &b).await;
        a.once(limited(60));
        for ((path, body), router) in [(hot, "/llm/b/"), (hot, "/llm/b/"), (other, "/llm/a/")] {
            let answer = http::send(harness.relay, "POST", path, &[kind], body.as_bytes()).await.unwrap();
            assert_eq!(answer.header("x-broker-router"), Some(router), "{path} {body}: {}", answer.text());
        }
        assert_eq!((a.calls(), b.calls()), (2, 2), "{}", hot.0);
    }
}

/// A model of the settings' is the same for all calls, and a fifth one shows that the account is limited.
#[tokio::test]
async fn what_takes_the_whole_target_out() {
    let long = "m".repeat(257);
    for (settings, refused) in [
        (r#""override_params": {"model": "mine"}, "#, &["hot"][..]),
        (r#""model_map": {"*": "mine"}, "#, &["hot"]),
        ("", &["one", "two", "three", "four", "five"]),
        // Names that cannot be noted: too long, with letters that entries write with escapes, or that turn what is read around.
        ("", &[long.as_str()]),
        ("", &[r#"o\"ne"#]),
        ("", &["gpt\u{202e}4o"]),
    ] {
        let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
        let first = target("a", &a.url()).replacen('{', &format!("{{{settings}"), 1);
        let harness = before(&[first, target("b", &b.url())]).await;
        for model in refused {
            a.once(limited(60));
            assert_eq!(served_by(&harness.send(CHAT, &[], &chat(model)).await), from("/llm/b/"), "{settings}");
        }
        assert_eq!(served_by(&harness.send(CHAT, &[], &chat("other")).await), from("/llm/b/"), "{settings}");
        assert_eq!((a.calls(), harness.disabled().await), (refused.len(), vec!["/llm/a/".to_owned()]), "{settings}");
    }
}

#[tokio::test]
async fn where_no_other_target_is_left_the_models_calls_are_answered_and_the_others_are_served() {
    let a = Scripted::start(good()).await;
    let harness = before(&[target("a", &a.url())]).await;
    a.once(limited(80));
    assert_eq!(harness.send(CHAT, &[], &chat("hot")).await.status, 429);
    for call in 1..=3 {
        let told = harness.send(CHAT, &[], &chat("hot")).await;
        let error: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!((told.status, &error["error"]["code"]), (429, &json!("all_targets_rate_limited")), "{error}");
        let wait: u64 = told.header("retry-after").unwrap().parse().unwrap();
        assert!((70..=80).contains(&wait), "{wait}");
        assert_eq!(served_by(&harness.send(CHAT, &[], &chat("other")).await), from("/llm/a/"));
        assert_eq!(a.calls(), 1 + call, "the model is not asked for again so soon");
    }
    // It is back sooner than it said: now and then a call finds out.
    soon("an early call", async { while harness.send(CHAT, &[], &chat("hot")).await.status != 200 {} }).await;
    assert!(rests(&harness.broker).await.is_empty());
    assert_eq!(served_by(&harness.send(CHAT, &[], &chat("hot")).await), from("/llm/a/"));
}
