//! The relay: a call that fails at one target is answered by another, inside the same call.
//!
//! `affinity` has where calls go that name what a target made; `answers` what an answer means; `faults` the table of what can go wrong, directly and through the gateway; `streams` what happens once an answer has
//! begun; `outage` a minute of it; `client_config` what clients bring along; `defaults` what a pool with addresses does where no setting says otherwise, and its time limits; `budgets` who has room; `callers` what a client chooses itself; `capabilities` what targets' models lack; `edges` what a client may and may not do; `protocol` what of HTTP is taken and passed
//! on; `reuse` what a kept connection that breaks comes to; `told` what is said about
//! calls, `measured` what is counted of them; `trace` what operators are told of one; `usage` what streams are asked for.

mod affinity;
mod answers;
mod budgets;
mod callers;
mod capabilities;
mod client_config;
mod defaults;
mod examples;
mod faults;
mod gateway;
mod limits;
mod log_entries;
mod metrics;
mod no_bus;
mod outage;
mod protocol;
mod proxy;
mod requests;
mod reuse;
mod sdk;
mod streams;
mod tls;
mod trace;
mod usage;

use std::net::SocketAddr;

use super::support::http::{self, Answer};
use super::support::scripted::{Act, Scripted, answer};
use super::support::{Broker, Bus, PoolsFile, Setup};

const CHAT: &str = "/llm/chat/completions";
const HI: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}"#;
const HELLO: &str =
    r#"{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;

/// Limits that a test can wait for; everything else as it is by default.
const LIMITS: &str = r#"{"timeout": "10s", "connect": "2s", "first_byte": "400ms", "idle": "400ms",
    "backoff": {"base": "5ms", "cap": "20ms"}}"#;

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

    async fn call(&self) -> Answer {
        self.send(CHAT, &[], HI).await
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        http::send(self.relay, "POST", path, &headers, body.as_bytes()).await.unwrap()
    }

    /// Which targets were disabled so far.
    fn disabled(&self) -> Vec<String> {
        let lines = self.broker.lines(&["router disabled"]);
        lines.iter().filter_map(|line| super::support::broker::field(line, "router")).collect()
    }
}
