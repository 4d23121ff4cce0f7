//! The relay: a call that fails at one target is answered by another, inside the same call.
//!
//! - `affinity`: where calls go that name what a target made;
//! - `answers`: what an answer means, by the numbers of the situations from public reports;
//! - `faults`: the table of what can go wrong,
//!   directly and through the `gateway`; `outage`: a minute of it; `no_bus`: without a bus;
//! - `capabilities`: what targets' models lack; `usage`: what streams are asked for; `invalid_usage`: what is not believed;
//! - `streams`: what happens once an answer has begun;
//! - `defaults`: what a pool with addresses does where no setting says otherwise, and its time limits; `budgets`: token limits;
//! - `client_config`: strategies that clients send along;
//! - `callers`: what a client chooses itself; `requests`: how its requests are read and changed; `limits`: how much and how
//!   slowly it may send and read;
//! - `providers`: each provider that is known by name;
//! - `protocol`: what of HTTP is accepted and passed on; `reuse`: kept connections that break; `proxy`, `tls`: the way out;
//! - `log_entries`: what the log has of calls; `metrics`: what is counted of them; `trace`: what operators see of one;
//! - `model_limits`: rate limits of single models;
//! - `waits`: when targets are back, and calls that wait for one;
//! - `examples`, `sdk`: the shipped pools files, and the OpenAI SDK.

mod affinity;
mod budgets;
mod capabilities;
mod client_config;
mod client_isolation;
mod defaults;
mod error_classes;
mod examples;
mod faults;
mod gateway;
mod invalid_usage;
mod limits;
mod log_entries;
mod metrics;
mod model_limits;
mod no_bus;
mod outage;
mod protocol;
mod providers;
mod proxy;
mod requests;
mod retry_after;
mod reuse;
mod sdk;
mod streams;
mod tls;
mod trace;
mod usage;

use std::net::SocketAddr;

use serde_json::Value;

use super::support::http::{self, Answer};
use super::support::scripted::{Act, Scripted, answer};
use super::support::{Broker, Bus, PoolsFile, Setup};

const CHAT: &str = "/llm/chat/completions";
const HI: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}"#;
const HELLO: &str =
    r#"{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;

/// Limits that no test reaches, however busy the machine is; everything else as it is by default.
const LIMITS: &str = r#"{"timeout": "25s", "connect": "2s", "first_byte": "20s", "idle": "20s",
    "backoff": {"base": "5ms", "cap": "20ms"}}"#;

/// Limits of a target that a test waits for.
const SHORT_LIMITS: &str = r#""relay": {"first_byte": "400ms", "idle": "400ms"}"#;

fn good() -> Act {
    answer(200, &[], HELLO)
}

/// A pools file with an ingress `/llm/` and these targets, in this order of preference. Nothing serves where all are disabled,
/// and [`Harness`] sets the preset `documented`: one failure disables, so that a test sees at once what counts as one. What a
/// pool with addresses does by default is in `defaults`.
fn pools(targets: &[String]) -> String {
    format!(
        r#"{{"relay": {LIMITS}, "pools": [{{"ingress": "/llm/", "strategy": {{"mode": "fallback"}}, "when_all_disabled": "pass", "targets": [{}]}}]}}"#,
        targets.join(",")
    )
}

/// A target with a key of its own.
fn target(name: &str, url: &str) -> String {
    format!(r#"{{"name": "{name}", "url": "{url}", "headers": {{"Authorization": ["Bearer ${{KEY}}"]}}}}"#)
}

/// The same with [`SHORT_LIMITS`], for an upstream that stalls.
fn stalling_target(name: &str, url: &str) -> String {
    target(name, url).replacen('{', &format!("{{{SHORT_LIMITS}, "), 1)
}

/// A relay before some upstreams, called `a`, `b` and so on.
struct Harness {
    bus: Bus,
    broker: Broker,
    relay: SocketAddr,
    file: PoolsFile,
}

/// The key of every target here; no broker may ever print it.
const KEY: &str = "sk-of-the-targets";

impl Harness {
    async fn of(text: &str) -> Self {
        Self::with(text, |setup| setup).await
    }

    async fn with(text: &str, set: impl FnOnce(Setup) -> Setup) -> Self {
        Self::on(PoolsFile::of(text), set).await
    }

    async fn on(file: PoolsFile, set: impl FnOnce(Setup) -> Setup) -> Self {
        Self::shipped(file, |setup| set(setup.set("BROKER_HEALTH", "documented"))).await
    }

    /// Without any setting of health.
    async fn shipped(file: PoolsFile, set: impl FnOnce(Setup) -> Setup) -> Self {
        let bus = Bus::start().await;
        let setup = Setup::on(&bus).set("BROKER_CONFIG", file.path()).set("BROKER_RELAY", "127.0.0.1:0");
        let broker = set(setup.set("KEY", KEY).secret(KEY)).ready().await;
        let relay = broker.relay().await;
        Self { bus, broker, relay, file }
    }

    async fn before(upstreams: &[&Scripted]) -> Self {
        let named = ["a", "b", "c"].iter().zip(upstreams);
        let targets: Vec<_> = named.map(|(name, upstream)| target(name, &upstream.url())).collect();
        Self::of(&pools(&targets)).await
    }

    /// The same, with the first of them stalling: only its limits are short.
    async fn before_stalling(upstreams: &[&Scripted]) -> Self {
        let build = [stalling_target, target, target];
        let named = ["a", "b", "c"].iter().zip(build).zip(upstreams);
        let targets: Vec<_> = named.map(|((name, build), upstream)| build(name, &upstream.url())).collect();
        Self::of(&pools(&targets)).await
    }

    async fn call(&self) -> Answer {
        self.send(CHAT, &[], HI).await
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        http::send(self.relay, "POST", path, &headers, body.as_bytes()).await.unwrap()
    }

    /// A target, as the status shows it.
    async fn router(&self, path: &str) -> Value {
        let status: Value = serde_json::from_slice(&self.broker.get("/api/v1/status").await.body).unwrap();
        status["routers"].as_array().unwrap().iter().find(|router| router["router"] == path).unwrap().clone()
    }

    /// Which targets rest for a model now.
    async fn resting(&self) -> Vec<String> {
        let status: Value = serde_json::from_slice(&self.broker.get("/api/v1/status").await.body).unwrap();
        let resting = status["routers"].as_array().unwrap().iter().filter(|router| router["rests_for"].is_array());
        resting.map(|router| router["router"].as_str().unwrap().to_owned()).collect()
    }

    /// Which targets were disabled so far.
    async fn disabled(&self) -> Vec<String> {
        // A log line may come later than the answer that it is about.
        let document = self.broker.get("/api/v1/decisions").await;
        let document: Value = serde_json::from_slice(&document.body).unwrap();
        let changes = document["changes"].as_array().unwrap().iter();
        changes
            .filter(|change| change["what"] == "disabled")
            .map(|change| change["about"].as_str().unwrap().to_owned())
            .collect()
    }
}
