//! Targets of providers that are known by name, against fake vendors that refuse what the vendors refuse.
//!
//! `answers` has what each of them answers in OpenAI's form; `requests` what each is sent; `content` what is passed over for it; `embeddings` has those of Bedrock;
//! `failures` what becomes of mistakes and
//! of broken answers; `models` which models there are; `sdks` the SDKs; `examples` the files in `examples/relay`.

mod answers;
mod content;
mod embeddings;
mod examples;
mod failures;
mod models;
mod requests;
mod sdks;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use gateway_sim::vendors::{AWS_KEY_ID, Call, Kind, Vendor};
use serde_json::{Value, json};

use super::super::support::http::{self, Answer};
use super::super::support::{Broker, PoolsFile, Setup};

/// The key that each vendor takes.
const KEY: &str = "sk-of-a-vendor";
/// Made for tests; no account has it.
const PEM: &str = include_str!("../../../src/provider_auth/test-only.pem");

/// A relay without a bus before some pools.
struct Harness {
    broker: Broker,
    relay: SocketAddr,
    _file: PoolsFile,
}

fn account(token_url: &str) -> String {
    json!({"type": "service_account", "client_email": "broker@p.iam.gserviceaccount.com", "private_key": PEM,
        "private_key_id": "k1", "project_id": "p", "token_uri": token_url})
    .to_string()
}

impl Harness {
    /// Before these pools: ingress and targets.
    async fn of(pools: &[(&str, &[Value])]) -> Self {
        let pool = |(ingress, targets): &(&str, &[Value])| json!({"ingress": ingress, "strategy": {"mode": "fallback"}, "targets": targets});
        Self::with(&json!({"pools": pools.iter().map(pool).collect::<Vec<_>>()}), &[]).await
    }

    /// With this file, and variables beside `KEY`.
    async fn with(file: &Value, variables: &[(&str, &str)]) -> Self {
        let mut file = file.clone();
        file["relay"] = json!({"backoff": {"base": "5ms", "cap": "20ms"}, "first_byte": "5s", "connect": "2s"});
        let file = PoolsFile::of(&file.to_string());
        let setup = Setup::bare()
            .set("BROKER_BUS", "off")
            .set("BROKER_HEALTH", "documented")
            .set("BROKER_HTTP", "127.0.0.1:0")
            .set("BROKER_RELAY", "127.0.0.1:0")
            .set("BROKER_CONFIG", file.path())
            .set("KEY", KEY)
            .secret(KEY);
        let broker = variables.iter().fold(setup, |setup, (name, value)| setup.set(name, *value)).spawn();
        let relay = broker.relay().await;
        Self { broker, relay, _file: file }
    }

    async fn send(&self, path: &str, body: &Value) -> Answer {
        self.send_with(path, &[], &body.to_string()).await
    }

    async fn send_with(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = [&[("Content-Type", "application/json"), ("Authorization", "Bearer of-the-client")], headers];
        http::send(self.relay, "POST", path, &headers.concat(), body.as_bytes()).await.unwrap()
    }

    /// A chat with this pool.
    async fn chat(&self, ingress: &str, changes: &Value) -> Answer {
        self.send(&format!("{ingress}chat/completions"), &asking(changes)).await
    }

    fn assert_nothing_disabled(&self) {
        assert_eq!(self.broker.lines(&["router disabled"]), Vec::<String>::new());
    }
}

/// A short conversation with these changes.
fn asking(changes: &Value) -> Value {
    let mut body = json!({"model": "asked-for", "messages": [{"role": "user", "content": "hi"}]});
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn read(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// The error of an answer in OpenAI's form.
fn error(answer: &Answer) -> Value {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let error = &body["error"];
    // Google's errors pass but for their array.
    let is_googles = error["status"].is_string() && error["code"].is_u64();
    assert!(error["message"].is_string() && (is_googles || error["type"].is_string()), "{body}");
    assert!(is_googles || (error.get("param").is_some() && error.get("code").is_some()), "{body}");
    error.clone()
}

/// The chunks of a stream that ends as it should.
fn chunks(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type").map(|kind| kind.starts_with("text/event-stream")), Some(true));
    let text = unchunked(answer);
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    events.filter(|event| *event != "[DONE]").map(|event| serde_json::from_str(event).unwrap()).collect()
}

/// The body of an answer in chunks.
fn unchunked(answer: &Answer) -> String {
    let Some("chunked") = answer.header("transfer-encoding") else { return answer.text() };
    let (mut rest, mut text) = (answer.body.as_slice(), Vec::new());
    loop {
        // A stream that breaks has no end.
        let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else {
            return String::from_utf8(text).unwrap();
        };
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return String::from_utf8(text).unwrap();
        }
        text.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 2 + length + 2..];
    }
}

/// The vendors, and a target of each kind there is, by name.
struct Vendors {
    by_kind: BTreeMap<&'static str, Vendor>,
    targets: Vec<(&'static str, Kind, Value)>,
}

impl Vendors {
    async fn start() -> Self {
        let mut by_kind = BTreeMap::new();
        for kind in Kind::ALL {
            by_kind.insert(kind.name(), Vendor::start(kind, KEY).await.unwrap());
        }
        let target = |name: &'static str, kind: Kind, settings: Value| {
            let mut target = json!({"name": name, "provider": kind.name(), "url": by_kind[kind.name()].url()});
            for (name, value) in settings.as_object().unwrap() {
                target[name] = value.clone();
            }
            (name, kind, target)
        };
        let vertex = |model: &str| json!({"project": "p", "location": "europe-west1", "service_account": "${ACCOUNT}", "model": model});
        let bedrock = |model: &str| json!({"region": "eu-central-1", "access_key_id": AWS_KEY_ID, "secret_access_key": "${KEY}", "model": model});
        let targets = vec![
            target("openai", Kind::OpenAi, json!({"api_key": "${KEY}", "model": "gpt-4o"})),
            target("azure", Kind::Azure, json!({"api_key": "${KEY}", "model": "gpt4"})),
            target(
                "azuredeployment",
                Kind::Azure,
                json!({"api_key": "${KEY}", "api_version": "2024-10-21", "model": "gpt4"}),
            ),
            target("anthropic", Kind::Anthropic, json!({"api_key": "${KEY}", "model": "claude-sonnet-4-5"})),
            target("gemini", Kind::Gemini, json!({"api_key": "${KEY}", "model": "gemini-2.5-flash"})),
            target("vertexgemini", Kind::Vertex, vertex("gemini-2.5-flash")),
            target("vertexclaude", Kind::Vertex, vertex("claude-sonnet-4-5@20250929")),
            target("converse", Kind::Bedrock, bedrock("meta.llama3-1-70b-instruct-v1:0")),
            target("bedrockclaude", Kind::Bedrock, bedrock("eu.anthropic.claude-sonnet-4-5-20250929-v1:0")),
            target(
                "bedrockopenai",
                Kind::Bedrock,
                json!({"region": "us-west-2", "api_key": "${KEY}", "model": "openai.gpt-oss-120b-1:0"}),
            ),
            target("ollama", Kind::Ollama, json!({"model": "llama3.2"})),
        ];
        Self { by_kind, targets }
    }

    fn of(&self, kind: Kind) -> &Vendor {
        &self.by_kind[kind.name()]
    }

    fn target(&self, name: &str) -> Value {
        let found = self.targets.iter().find(|(other, ..)| *other == name);
        found.map(|(.., target)| target.clone()).unwrap()
    }

    /// The target with these settings beside its own.
    fn changed(&self, name: &str, changes: &Value) -> Value {
        let mut target = self.target(name);
        for (name, value) in changes.as_object().unwrap() {
            target[name] = value.clone();
        }
        target
    }

    /// A relay with a pool of its own for each target: `/name/`.
    async fn each(&self) -> Harness {
        let pool =
            |(name, _, target): &(&str, Kind, Value)| json!({"ingress": format!("/{name}/"), "targets": [target]});
        self.harness(&json!({"pools": self.targets.iter().map(pool).collect::<Vec<_>>()})).await
    }

    /// A relay with one pool, `/llm/`, whose targets are tried in this order.
    async fn pool(&self, targets: &[Value]) -> Harness {
        let pool = json!({"ingress": "/llm/", "strategy": {"mode": "fallback"}, "targets": targets});
        self.harness(&json!({"pools": [pool]})).await
    }

    async fn harness(&self, file: &Value) -> Harness {
        Harness::with(file, &[("ACCOUNT", &account(&self.of(Kind::Vertex).token_url()))]).await
    }

    fn calls(&self, kind: Kind) -> usize {
        self.of(kind).calls().len()
    }

    fn last(&self, kind: Kind) -> Call {
        self.of(kind).calls().last().cloned().unwrap()
    }
}

fn router(answer: &Answer) -> &str {
    answer.header("x-broker-router").unwrap_or_default()
}
