//! Captured traffic of the real gateway: played again against the simulated gateway, and compared.
//!
//! What differs from run to run is made equal on both sides: times, ids, ports, dates, the order of lists, and the words of
//! JSON errors, which are no part of the contract.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::harness::{ConfigChange, Harness};
use super::http::{Call, Exchange, Upstream};

pub(crate) struct Captured {
    meta: Value,
    messages: Vec<Value>,
    /// How long processors take to reply.
    pub(crate) reply_after: Duration,
}

fn text_of(file: &str) -> String {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", file].iter().collect();
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A file of the capture that is one JSON document.
pub(crate) fn read(file: &str) -> Value {
    serde_json::from_str(&text_of(file)).unwrap()
}

pub(crate) fn load(name: &str) -> Captured {
    let lines = text_of(&format!("{name}.jsonl"));
    let messages = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Captured { meta: read(&format!("{name}.meta.json")), messages, reply_after: Duration::ZERO }
}

/// Plays a scenario and compares everything: messages in order, answers to the client, requests upstream.
pub(crate) async fn play(name: &str, upstream: Upstream, change: ConfigChange<'_>) {
    load(name).play(upstream, change).await;
}

impl Captured {
    /// What processors reply, where the capture did not keep it.
    pub(crate) fn set_exchanges(&mut self, exchanges: Value) {
        self.meta["processor_exchanges"] = exchanges;
    }

    /// What the client sends, where the capture shortened it.
    pub(crate) fn set_client_body(&mut self, body: &str) {
        self.meta["client"][0]["request"]["body"] = json!(body);
    }

    pub(crate) async fn play(self, upstream: Upstream, change: ConfigChange<'_>) {
        let mut harness = Harness::start(upstream, change).await;
        self.start_processors(&harness).await;
        let mut answers = Vec::new();
        for client in self.meta["client"].as_array().unwrap() {
            answers.push(harness.send(&call(&client["request"])).await.expect("an answer"));
            self.until_all_received(&harness, answers.len()).await;
        }
        harness.stop_and_drain().await;
        self.compare_messages(&harness);
        self.compare_answers(&answers);
        self.compare_requests(&harness.upstream.seen());
    }

    /// Processors reply as they did when captured, request by request.
    async fn start_processors(&self, harness: &Harness) {
        let mut replies = HashMap::<&str, VecDeque<String>>::new();
        for exchange in self.meta["processor_exchanges"].as_array().unwrap() {
            let reply = exchange["reply"].as_str().unwrap().to_owned();
            replies.entry(exchange["subject"].as_str().unwrap()).or_default().push_back(reply);
        }
        for (subject, replies) in replies {
            let (replies, delay) = (Arc::new(Mutex::new(replies)), self.reply_after);
            let next = move |_: &Value| {
                let reply = replies.lock().unwrap().pop_front().unwrap_or_else(|| "<none>".to_owned());
                (delay, (reply != "<none>").then(|| reply.into_bytes()))
            };
            harness.respond_with(subject, Box::new(next)).await;
        }
    }

    /// One transaction at a time, as when captured: its share of the messages must have come.
    async fn until_all_received(&self, harness: &Harness, answered: usize) {
        let calls = self.meta["client"].as_array().unwrap().len();
        harness.until_received(self.messages.len() * answered / calls).await;
    }

    fn compare_messages(&self, harness: &Harness) {
        let received: Vec<Value> = harness
            .received()
            .iter()
            .map(|message| json!({"subject": message.subject, "has_reply": message.has_reply, "data": message.data()}))
            .collect();
        let expected = self.messages.iter().cloned().map(|mut message| {
            message.as_object_mut().unwrap().remove("context");
            message
        });
        let (mut received, mut expected) = (normal(received), normal(expected.collect()));
        if self.meta["scenario"] == "13_two_processors_one_row" {
            // Members of a row are asked at the same time.
            received[..2].sort_by_key(Value::to_string);
            expected[..2].sort_by_key(Value::to_string);
        }
        assert_eq!(pretty(&received), pretty(&expected), "messages");
    }

    fn compare_answers(&self, answers: &[Exchange]) {
        let received = answers
            .iter()
            .map(|answer| json!({"status": answer.status(), "headers": answer.headers, "body": body_of(answer)}));
        let expected = self.meta["client"].as_array().unwrap().iter().map(|client| client["response"].clone());
        assert_eq!(pretty(&normal(received.collect())), pretty(&normal(expected.collect())), "answers");
    }

    fn compare_requests(&self, requests: &[Exchange]) {
        let received = requests.iter().map(|request| {
            let (method, path) = (request.method(), request.target());
            json!({"method": method, "path": path, "headers": request.headers, "body": body_of(request)})
        });
        let expected = self.meta["upstream_saw"].as_array().unwrap().clone();
        assert_eq!(pretty(&normal(received.collect())), pretty(&normal(expected)), "requests upstream");
    }
}

fn body_of(exchange: &Exchange) -> String {
    String::from_utf8_lossy(&exchange.body).into_owned()
}

/// The client's call as the capture describes it.
fn call(request: &Value) -> Call {
    let text = |name: &str, default: &str| request[name].as_str().unwrap_or(default).to_owned();
    let mut call = Call::post(&text("path", "/azure/"));
    call.method = text("method", "POST");
    call.headers = vec![("Content-Type".to_owned(), text("ctype", "application/json"))];
    for (name, value) in request["headers"].as_object().unwrap() {
        call.headers.push((name.clone(), value.as_str().unwrap().to_owned()));
    }
    match request.get("body") {
        None => {}
        Some(Value::Null) => call.body = None,
        Some(body) => call.body = Some(bytes(body.as_str().unwrap())),
    }
    call
}

/// Bodies are described as text in which `\xff` stands for that byte.
fn bytes(described: &str) -> Vec<u8> {
    let mut parts = described.split("\\xff").map(|part| part.as_bytes().to_vec());
    let first = parts.next().unwrap();
    parts.fold(first, |so_far, part| [so_far, vec![0xff], part].concat())
}

fn pretty(values: &[Value]) -> String {
    serde_json::to_string_pretty(values).unwrap()
}

fn normal(values: Vec<Value>) -> Vec<Value> {
    values.into_iter().map(normal_value).collect()
}

fn normal_value(value: Value) -> Value {
    match value {
        Value::Object(map) if map.contains_key("duration") => normal_timer(&map),
        Value::Object(map) => map.into_iter().map(|(name, value)| named(name, value)).collect(),
        Value::Array(values) => normal_list(values.into_iter().map(normal_value).collect()),
        Value::String(text) => Value::String(normal_text(&text)),
        value => value,
    }
}

fn named(name: String, value: Value) -> (String, Value) {
    let value = match (name.as_str(), value) {
        ("Date", _) => json!("date"),
        ("details", Value::String(text)) => Value::String(normal_details(text)),
        ("body", Value::String(text)) => Value::String(short(&text)),
        (_, value) => normal_value(value),
    };
    (name, value)
}

fn normal_timer(timer: &Map<String, Value>) -> Value {
    let moment = |name: &str| if timer[name] == "0001-01-01T00:00:00Z" { "never" } else { "once" };
    let saturated = timer["duration"] == json!(9_223_372_036_854_i64);
    json!([moment("start"), moment("stop"), if saturated { "saturated" } else { "measured" }])
}

/// Lists of named entries and of headers have no order.
fn normal_list(mut values: Vec<Value>) -> Value {
    let is_date = |value: &Value| value[0] == "Date" && value.as_array().is_some_and(|pair| pair.len() == 2);
    for value in values.iter_mut().filter(|value| is_date(value)) {
        value[1] = json!("date");
    }
    let unordered = |value: &Value| value.get("name").is_some() || value.as_array().is_some_and(|pair| pair.len() == 2);
    if values.iter().all(unordered) {
        values.sort_by_key(Value::to_string);
    }
    Value::Array(values)
}

/// Ids keep their gateway and their number in the session; ports are hidden; long texts are cut.
fn normal_text(text: &str) -> String {
    let parts: Vec<&str> = text.split('_').collect();
    if let [gateway @ "LAB00002", _, _, number] = parts[..] {
        return format!("{gateway}_*_*_{number}");
    }
    if let Some((before, behind)) = text.split_once("127.0.0.1:") {
        return format!("{before}127.0.0.1:*{}", behind.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    short(text)
}

/// The capture shortened long texts.
fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Only texts that are no JSON errors are part of the contract.
fn normal_details(text: String) -> String {
    let foreign = text.starts_with("json:") || text.starts_with("invalid ") || text.contains(" at line ");
    if foreign { "a JSON error".to_owned() } else { text }
}
