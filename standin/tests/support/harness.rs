//! A bus, a gateway, an upstream, and recording listeners and processors on the bus.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use standin::config::Config;
use standin::gateway::Gateway;
use tokio::sync::watch;

use super::http::{Call, Exchange, Upstream};
use super::nats::{NatsServer, TOKEN};
use super::within_limit;

pub(crate) const LOGGER: &str = "coburn.gl.logger";
pub(crate) const BROKER: &str = "coburn.gl.broker";

/// What one test changes in the configuration of the captured scenarios.
pub(crate) type ConfigChange<'a> = &'a dyn Fn(&mut Value);

/// One message that a listener or processor got.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) has_reply: bool,
    pub(crate) raw: Bytes,
}

impl Message {
    pub(crate) fn data(&self) -> Value {
        serde_json::from_slice(&self.raw).unwrap()
    }
}

/// What a processor does with a request: after how long, and what (`None`: nothing).
pub(crate) type Responder = Box<dyn Fn(&Value) -> (Duration, Option<Vec<u8>>) + Send + Sync>;

pub(crate) struct Harness {
    pub(crate) nats: NatsServer,
    pub(crate) bus: async_nats::Client,
    pub(crate) gateway: Option<Gateway>,
    pub(crate) upstream: Upstream,
    received: Arc<Mutex<Vec<Message>>>,
    changed: watch::Sender<usize>,
}

impl Harness {
    /// The configuration of the captured scenarios, with changes.
    pub(crate) async fn start(upstream: Upstream, change: ConfigChange<'_>) -> Harness {
        Harness::start_on(NatsServer::start().await, upstream, change).await
    }

    pub(crate) async fn start_on(nats: NatsServer, upstream: Upstream, change: ConfigChange<'_>) -> Harness {
        let bus = nats.connect().await;
        let mut tree = captured_config(&format!("http://{}/", upstream.addr), &nats.host());
        change(&mut tree);
        let config = parse(&tree);
        let harness =
            Harness { bus, gateway: None, upstream, received: Arc::default(), changed: watch::Sender::new(0), nats };
        harness.record(LOGGER).await;
        Harness { gateway: Some(Gateway::start(config).await.unwrap()), ..harness }
    }

    pub(crate) fn addr(&self) -> std::net::SocketAddr {
        self.gateway.as_ref().unwrap().addr()
    }

    pub(crate) async fn send(&self, call: &Call) -> Option<Exchange> {
        call.send(self.addr()).await
    }

    /// Records what comes on `subject`.
    pub(crate) async fn record(&self, subject: &str) {
        self.respond_with(subject, Box::new(|_| (Duration::ZERO, None))).await;
    }

    /// A processor that answers at once.
    pub(crate) async fn answer(&self, subject: &str, respond: impl Fn(&Value) -> String + Send + Sync + 'static) {
        let respond = move |request: &Value| (Duration::ZERO, Some(respond(request).into_bytes()));
        self.respond_with(subject, Box::new(respond)).await;
    }

    /// A processor. Its requests are recorded before it answers.
    pub(crate) async fn respond_with(&self, subject: &str, respond: Responder) {
        let mut requests = self.bus.subscribe(subject.to_owned()).await.unwrap();
        self.round_trip().await;
        let (bus, received, changed) = (self.bus.clone(), Arc::clone(&self.received), self.changed.clone());
        tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let data = serde_json::from_slice(&request.payload).unwrap_or(Value::Null);
                let message = Message {
                    subject: request.subject.to_string(),
                    has_reply: request.reply.is_some(),
                    raw: request.payload,
                };
                received.lock().unwrap().push(message);
                changed.send_modify(|count| *count += 1);
                let (delay, answer) = respond(&data);
                let (Some(reply), Some(answer)) = (request.reply, answer) else { continue };
                let bus = bus.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    bus.publish(reply, answer.into()).await.unwrap();
                });
            }
        });
    }

    /// The server has handled all that this client sent before.
    pub(crate) async fn round_trip(&self) {
        let inbox = self.bus.new_inbox();
        let mut echo = self.bus.subscribe(inbox.clone()).await.unwrap();
        self.bus.publish(inbox, Bytes::new()).await.unwrap();
        within_limit("an echo", echo.next()).await.unwrap();
    }

    pub(crate) fn received(&self) -> Vec<Message> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn received_on(&self, subject: &str) -> Vec<Value> {
        self.received().iter().filter(|message| message.subject == subject).map(Message::data).collect()
    }

    pub(crate) async fn until_received(&self, count: usize) {
        let mut changed = self.changed.subscribe();
        within_limit("messages", changed.wait_for(|received| *received >= count)).await.unwrap();
    }

    /// The log of the `nth` finished transaction.
    pub(crate) async fn log(&self, nth: usize) -> Value {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(log) = self.received_on(LOGGER).get(nth) {
                return log.clone();
            }
            within_limit("a log", changed.changed()).await.unwrap();
        }
    }

    /// Ends the gateway and waits until all that it published has arrived.
    pub(crate) async fn stop_and_drain(&mut self) {
        within_limit("the end", self.gateway.take().unwrap().stop()).await;
        self.round_trip().await;
        // The listeners are tasks on this client: let them take what the client has already received.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn parse(tree: &Value) -> Config {
    let mut config = Config::parse(&tree.to_string(), |_| None).unwrap_or_else(|error| panic!("{error}"));
    config.set_port(0);
    config
}

/// The configuration with which the scenarios were captured.
pub(crate) fn captured_config(upstream: &str, bus: &str) -> Value {
    let content_type = || json!({"Content-Type": ["application/json"]});
    let gpt = |path: &str, deployment: &str, ingress: Value| {
        json!({
            "path": path,
            "ingress": {"headers": ingress},
            "outbound": {
                "url": upstream,
                "endpoint": format!("openai/deployments/{deployment}/chat/completions?api-version=2023-05-15"),
                "headers": content_type()
            }
        })
    };
    let blocked = || json!({"Api-Key": ["BLOCKED"], "Content-Type": ["application/json"]});
    let dud = json!({"url": "https://dud.host.ere", "endpoint": "", "headers": {}});
    let echo = json!({"url": "https://localhost", "endpoint": "", "headers": {}});
    json!({
        "gateway_id": "LAB00002",
        "version": "1.0.1",
        "log_level": "INFO",
        "service_bus": {
            "hostname": bus,
            "topic": "coburn.gl.gecholog",
            "topic_exact_isalive": "coburn.gl.isalive",
            "topic_exact_logger": LOGGER,
            "token": TOKEN
        },
        "gl_port": 5380,
        "session_id_header": "Session-Id",
        "masked_headers": ["Authorization", "Api-Key"],
        "remove_headers": ["Content-Length"],
        "log_unauthorized": false,
        "routers": [
            {"path": "/echo/", "ingress": {"headers": {}}, "outbound": echo},
            gpt("/azure/", "gpt4", content_type()),
            gpt("/azure/gpt4/", "gpt4", blocked()),
            gpt("/azure/gpt35turbo/", "gpt35turbo", blocked()),
            {"path": "/azure/dud/", "ingress": {"headers": {}}, "outbound": dud}
        ],
        "request": {"processors": [[broker(true, false, &["gl_path"], &["gl_path"])]]},
        "response": {"processors": [[broker(false, true, &["gl_path", "egress_status_code"], &[])]]}
    })
}

fn broker(modifier: bool, is_async: bool, include: &[&str], write: &[&str]) -> Value {
    processor("broker", BROKER, modifier, is_async, include, write)
}

/// A processor's entry; its timeout is one that no slow machine meets, unless a test changes it.
pub(crate) fn processor(
    name: &str,
    subject: &str,
    modifier: bool,
    is_async: bool,
    include: &[&str],
    write: &[&str],
) -> Value {
    json!({
        "name": name, "service_bus_topic": subject, "modifier": modifier, "required": false, "async": is_async,
        "timeout": 10_000, "input_fields_include": include, "input_fields_exclude": [], "output_fields_write": write
    })
}

/// Entries of a log's `processors` or `error`, by name.
pub(crate) fn by_name(list: &Value) -> HashMap<String, Value> {
    let entries = list.as_array().cloned().unwrap_or_default();
    entries.into_iter().map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry["details"].clone())).collect()
}
