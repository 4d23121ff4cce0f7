//! Clients that send a strategy of their own along: where their calls go, and what they may not do.

use std::process::Command;

use serde_json::{Value, json};

use super::super::support::http::Answer;
use super::super::support::scripted::{Scripted, answer};
use super::super::support::{PoolsFile, soon, tool};
use super::{CHAT, Harness, good, target};

const CONFIG: &str = "x-portkey-config";
const ASK: &str = r#"{"messages":[]}"#;

struct ClientHarness {
    relay: Harness,
    upstreams: [Scripted; 3],
}

/// A pool over `a`, `b` and `c` whose clients may (or may not) choose themselves.
fn pools(upstreams: &[Scripted; 3], client_config: bool) -> String {
    let targets: Vec<Value> = ["a", "b", "c"]
        .iter()
        .zip(upstreams)
        .map(|(name, upstream)| serde_json::from_str(&target(name, &upstream.url())).unwrap())
        .collect();
    let strategy = json!({"mode": "fallback"});
    let pool = json!({"ingress": "/llm/", "client_config": client_config, "strategy": strategy, "targets": targets});
    json!({"pools": [pool], "relay": {"backoff": {"base": "5ms", "cap": "20ms"}}}).to_string()
}

impl ClientHarness {
    async fn new(client_config: bool) -> Self {
        let upstreams = [
            Scripted::start(good()).await,
            Scripted::start(answer(503, &[], "{}")).await,
            Scripted::start(good()).await,
        ];
        Self { relay: Harness::of(&pools(&upstreams, client_config)).await, upstreams }
    }

    async fn send(&self, config: &str) -> Answer {
        let headers = [(CONFIG, config), ("x-portkey-api-key", "theirs"), ("x-portkey-trace-id", "trace-7")];
        self.relay.send(CHAT, &headers, ASK).await
    }

    fn calls(&self) -> [usize; 3] {
        self.upstreams.each_ref().map(Scripted::calls)
    }
}

fn served(answer: &Answer) -> (u16, Option<&str>, Option<&str>) {
    (answer.status, answer.header("x-broker-router"), answer.header("x-broker-attempts"))
}

/// The shape of the cookbook: half to one, half to a pair with a fallback; here the first has the weight 0.
fn nested() -> Value {
    json!({"strategy": {"mode": "loadbalance"}, "targets": [
        {"virtual_key": "a", "weight": 0},
        {"weight": 0.5, "strategy": {"mode": "fallback", "on_status_codes": [503]}, "targets": [
            {"virtual_key": "b"},
            {"provider": "@c", "override_params": {"model": "theirs"}}]}]})
}

#[tokio::test]
async fn a_nested_config_leads_where_it_says_and_health_is_the_targets_own() {
    let harness = ClientHarness::new(true).await;
    let first = harness.send(&nested().to_string()).await;
    assert_eq!(served(&first), (200, Some("/llm/c/"), Some("2")));
    assert_eq!((harness.calls(), first.header("x-trace-id")), ([0, 1, 1], Some("trace-7")));
    let sent = harness.upstreams[2].last();
    assert_eq!(serde_json::from_str::<Value>(&sent.body).unwrap(), json!({"messages": [], "model": "theirs"}));
    assert!(!sent.head.contains("portkey") && !sent.head.contains("theirs"), "{}", sent.head);

    assert_eq!(harness.relay.disabled().await, ["/llm/b/"]);
    let other = json!({"strategy": {"mode": "fallback"}, "targets": [{"virtual_key": "b"}, {"virtual_key": "a"}]});
    assert_eq!(served(&harness.send(&other.to_string()).await), (200, Some("/llm/a/"), Some("1")), "b is out for all");

    let plain = harness.relay.send(CHAT, &[], ASK).await;
    assert_eq!(served(&plain), (200, Some("/llm/a/"), Some("1")), "the pool's own order");
}

#[tokio::test]
async fn a_single_target_is_called_once_and_with_retries_more_often() {
    let upstreams =
        [Scripted::start(good()).await, Scripted::start(answer(503, &[], "{}")).await, Scripted::start(good()).await];
    let relay = Harness::shipped(PoolsFile::of(&pools(&upstreams, true)), |setup| setup).await;
    for (config, attempts) in [
        (json!({"virtual_key": "b"}), 1),
        (json!({"virtual_key": "b", "retry": {"attempts": 2}}), 3),
        (json!({"virtual_key": "b", "retry": {"attempts": 20}}), 4),
    ] {
        let before = upstreams[1].calls();
        let answer = relay.send(CHAT, &[(CONFIG, &config.to_string())], ASK).await;
        assert_eq!((answer.status, upstreams[1].calls() - before), (503, attempts), "{config}");
    }
    assert_eq!((upstreams[0].calls(), upstreams[2].calls()), (0, 0));
}

#[tokio::test]
async fn faults_are_all_reported_and_no_target_is_called() {
    let harness = ClientHarness::new(true).await;
    let config = json!({"strategy": {"mode": "fallback"}, "targets": [
        {"virtual_key": "nobody"},
        {"provider": "a", "custom_host": "http://169.254.169.254/", "api_key": "sk-theirs"}]});
    let refused = harness.send(&config.to_string()).await;
    let error: Value = serde_json::from_slice(&refused.body).unwrap();
    let said = error["error"]["message"].as_str().unwrap();
    assert_eq!(
        (refused.status, &error["error"]["code"], &error["error"]["type"]),
        (400, &json!("invalid_config"), &json!("invalid_request_error"))
    );
    for words in ["targets[0].virtual_key names no target", "a, b, c", "targets[1].custom_host", "targets[1].api_key"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("169.254") && !said.contains("sk-theirs"), "{said}");
    assert_eq!(harness.send("pc-stored").await.status, 400);
    assert_eq!(harness.calls(), [0; 3]);
}

#[tokio::test]
async fn a_pool_that_does_not_allow_it_keeps_its_own_order() {
    let harness = ClientHarness::new(false).await;
    let answer = harness.send(r#"{"virtual_key": "c"}"#).await;
    assert_eq!(served(&answer), (200, Some("/llm/a/"), Some("1")));
    assert!(harness.upstreams[0].last().head.contains(CONFIG), "a header like any other");
}

#[tokio::test]
async fn any_number_of_configs_is_served_and_the_pool_stays_one() {
    let harness = ClientHarness::new(true).await;
    for number in 0..600 {
        let config = json!({"virtual_key": "c", "override_params": {"user": format!("{}", number % 300)}});
        let answer = harness.send(&config.to_string()).await;
        assert_eq!(served(&answer), (200, Some("/llm/c/"), Some("1")), "{number}");
        assert!(harness.upstreams[2].last().body.contains(&format!("\"user\":\"{}\"", number % 300)));
    }
    let status: Value = serde_json::from_slice(&harness.relay.broker.get("/api/v1/status").await.body).unwrap();
    assert_eq!(status["pools"].as_array().map(Vec::len), Some(1), "{status}");
}

#[tokio::test]
async fn another_file_holds_for_configs_that_are_known_already() {
    let harness = ClientHarness::new(true).await;
    let config = r#"{"virtual_key": "c"}"#;
    assert_eq!(harness.send(config).await.status, 200);
    let renamed = pools(&harness.upstreams, true).replace(r#""name":"c""#, r#""name":"d""#);
    harness.relay.file.put(&renamed);
    soon("the other file", async {
        while harness.send(config).await.status != 400 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(harness.send(r#"{"virtual_key": "d"}"#).await.status, 200);
}

/// Portkey's own SDK, unchanged but for its address: the cookbook's two configurations, whole and as a stream.
#[tokio::test]
async fn portkeys_sdk_runs_the_cookbook() {
    let Some(python) = std::env::var_os("PORTKEY_PYTHON").filter(|path| !path.is_empty()) else {
        return tool::missing("Portkey SDK", "PORTKEY_PYTHON names no Python that has it; `make test` sets it");
    };
    let upstreams = [
        Scripted::answering(super::sdk::openai).await,
        Scripted::start(answer(503, &[], "{}")).await,
        Scripted::answering(super::sdk::openai).await,
    ];
    let relay = Harness::of(&pools(&upstreams, true)).await;
    let url = format!("http://{}/llm/", relay.relay);
    let run = tokio::task::spawn_blocking(move || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/portkey.py");
        Command::new(python).args([script, &url]).env_clear().output().unwrap()
    });
    let output = run.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines =
        "fallback hello\nfallback stream hello\ncanary hello\ncanary stream hello\nrefused 400 invalid_config\n";
    assert_eq!(said, lines, "{output:?}");
    assert_eq!((upstreams[0].calls(), upstreams[1].calls(), upstreams[2].calls()), (2, 1, 2));
    let trace = relay.broker.get("/api/v1/calls?trace=request-loadbalance-fallback").await;
    let page: Value = serde_json::from_slice(&trace.body).unwrap();
    assert_eq!(page["calls"].as_array().map(Vec::len), Some(5), "the refused one too: {page}");
}
