//! A fake LLM on loopback: enough of the OpenAI and Azure OpenAI chat API for their SDKs, with scripted
//! faults.
//!
//! What a deployment does can be changed while it runs, by a call or by a script. Tokens are not counted, the
//! conversation is not read, and a stream has all its events at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::path;
use crate::script::{Script, ScriptRun};
use crate::serve::{CloseConnection, HalfClosed, HandlerResult, Server, lock, response};
use crate::upstream::collect;

/// A running fake LLM; it stops when dropped.
#[derive(Debug)]
pub struct Llm {
    server: Server,
    deployments: Deployments,
}

/// What a deployment does with every call; by default it answers 200 with a chat completion.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Status of the answer.
    pub status: u16,
    /// Headers of the answer, over the default `Content-Type: application/json`.
    pub headers: Vec<(String, String)>,
    /// Body of the answer; `None` is one that fits the status.
    pub body: Option<String>,
    /// How long the answer takes.
    pub delay: Duration,
    /// Closes the connection (after the delay) without an answer.
    pub close: bool,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour { status: 200, headers: Vec::new(), body: None, delay: Duration::ZERO, close: false }
    }
}

#[derive(Debug, Default)]
struct Deployment {
    behaviour: Behaviour,
    calls: u64,
    /// The script that replaces `behaviour`, and its begin.
    play: Option<(Instant, ScriptRun)>,
}

type Deployments = Arc<Mutex<HashMap<String, Deployment>>>;

impl Llm {
    /// Starts serving at `addr`; port 0 is any free one.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub async fn start(addr: SocketAddr) -> std::io::Result<Llm> {
        let deployments = Deployments::default();
        let served = Arc::clone(&deployments);
        let server =
            Server::start(addr, HalfClosed::Dropped, move |request| handle(Arc::clone(&served), request)).await?;
        Ok(Llm { server, deployments })
    }

    /// Where it serves.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// What `deployment` does from now on.
    pub fn set(&self, deployment: &str, behaviour: Behaviour) {
        lock(&self.deployments).entry(deployment.to_owned()).or_default().behaviour = behaviour;
    }

    /// Starts these scripts now, each for the deployment of its name. They replace what [`Llm::set`] set for it.
    pub fn play(&self, scripts: impl IntoIterator<Item = (String, Script)>) {
        let (now, mut deployments) = (Instant::now(), lock(&self.deployments));
        for (name, script) in scripts {
            let play = ScriptRun::new(&name, script);
            deployments.entry(name).or_default().play = Some((now, play));
        }
    }

    /// How many calls `deployment` got.
    pub fn calls(&self, deployment: &str) -> u64 {
        lock(&self.deployments).get(deployment).map_or(0, |deployment| deployment.calls)
    }
}

async fn handle(deployments: Deployments, request: Request<Incoming>) -> HandlerResult {
    let path = path::decode(request.uri().path()).ok_or(CloseConnection)?;
    let method = request.method().clone();
    let body = collect(request.into_body()).await.map_err(|_| CloseConnection)?;
    let Some(name) = deployment_of(&path, &body) else {
        let exists = method == Method::GET;
        let body = if exists { json!({"object": "list", "data": []}).to_string() } else { error_body(404, "") };
        return response::<String>(if exists { 200 } else { 404 }, &[], body);
    };
    let behaviour = record_call(&deployments, &name);
    tokio::time::sleep(behaviour.delay).await;
    if behaviour.close {
        return Err(CloseConnection);
    }
    if behaviour.body.is_none() && (200..300).contains(&behaviour.status) && wants_stream(&body) {
        let headers = [vec![("content-type".to_owned(), "text/event-stream".to_owned())], behaviour.headers].concat();
        return response(behaviour.status, &headers, events(&name));
    }
    let body = behaviour.body.unwrap_or_else(|| default_body(behaviour.status, &name));
    response(behaviour.status, &behaviour.headers, body)
}

fn wants_stream(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct StreamOption {
        stream: bool,
    }
    serde_json::from_slice::<StreamOption>(body).is_ok_and(|option| option.stream)
}

/// A completion in parts, as OpenAI sends them.
fn events(deployment: &str) -> String {
    let parts = [
        json!({"role": "assistant", "content": "Hello"}),
        json!({"content": format!(" from {deployment}.")}),
        json!({}),
    ];
    let event = |(number, delta): (usize, &serde_json::Value)| {
        let reason = if number + 1 == parts.len() { json!("stop") } else { json!(null) };
        let part = json!({
            "id": "chatcmpl-simulated",
            "object": "chat.completion.chunk",
            "created": 1_706_824_088,
            "model": deployment,
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]
        });
        format!("data: {part}\n\n")
    };
    parts.iter().enumerate().map(event).collect::<String>() + "data: [DONE]\n\n"
}

fn record_call(deployments: &Deployments, name: &str) -> Behaviour {
    let mut deployments = lock(deployments);
    let deployment = deployments.entry(name.to_owned()).or_default();
    deployment.calls += 1;
    match &mut deployment.play {
        Some((since, play)) => play.next(since.elapsed()),
        None => deployment.behaviour.clone(),
    }
}

/// Azure names the deployment in the path, OpenAI names the model in the body.
fn deployment_of(path: &str, body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ModelField {
        model: String,
    }
    if let Some((_, behind)) = path.split_once("/deployments/") {
        return behind.split('/').next().map(str::to_owned);
    }
    if !path.ends_with("/chat/completions") {
        return None;
    }
    let named = serde_json::from_slice::<ModelField>(body);
    Some(named.map_or_else(|_| "unnamed".to_owned(), |named| named.model))
}

fn default_body(status: u16, deployment: &str) -> String {
    if (200..300).contains(&status) { completion(deployment) } else { error_body(status, deployment) }
}

fn completion(deployment: &str) -> String {
    json!({
        "id": "chatcmpl-simulated",
        "object": "chat.completion",
        "created": 1_706_824_088,
        "model": deployment,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": format!("Hello from {deployment}.")},
            "finish_reason": "stop"
        }],
        "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
    })
    .to_string()
}

fn error_body(status: u16, deployment: &str) -> String {
    let (code, kind, message) = match status {
        401 => ("401".to_owned(), "invalid_request_error", "The key is not accepted here.".to_owned()),
        404 => ("DeploymentNotFound".to_owned(), "invalid_request_error", format!("No deployment '{deployment}'.")),
        429 => ("429".to_owned(), "rate_limit_error", format!("Too many calls to '{deployment}'.")),
        400..500 => (status.to_string(), "invalid_request_error", "The request is not valid.".to_owned()),
        _ => (status.to_string(), "server_error", format!("'{deployment}' is unavailable.")),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_parts_of_one_answer_and_its_end() {
        let text = events("gpt4");
        let parts: Vec<_> = text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
        let (last, parts) = parts.split_last().unwrap();
        assert_eq!(*last, "[DONE]");
        let said = parts.iter().map(|part| serde_json::from_str::<serde_json::Value>(part).unwrap());
        let said: String =
            said.map(|part| part["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(said, "Hello from gpt4.");
        assert!(wants_stream(br#"{"stream":true}"#) && !wants_stream(br#"{"stream":false}"#) && !wants_stream(b"{}"));
    }
}
