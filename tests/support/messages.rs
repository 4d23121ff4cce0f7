//! The gateway's messages, as captured from a real one and cut to what matters; each is about a call of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Broker, Bus};

/// Routers of a pool that serve only to be disabled, one after the other; see [`sentinel`].
pub(crate) const SENTINEL: &str = "/sentinel/";

/// This many of them, for `BROKER_ROUTERS`.
pub(crate) fn sentinels(count: usize) -> String {
    (0..count).map(|number| format!("{SENTINEL}{number}/")).collect::<Vec<_>>().join(",")
}

/// A moment of the gateway's clock, in nanoseconds, later than all before.
fn later() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    // Any date will do: the gateway's moments are compared with each other only.
    1_795_324_903_000_000_000 + CALLS.fetch_add(1, Ordering::Relaxed) * 1_000_000_000
}

fn rfc3339(nanos: u64) -> String {
    Timestamp::from_nanosecond(nanos.into()).unwrap().to_string()
}

fn timer(start: u64, time: Duration) -> Value {
    let stop = start + u64::try_from(time.as_nanos()).unwrap();
    json!({"start": rfc3339(start), "stop": rfc3339(stop), "duration": time.as_millis()})
}

/// One entry of the gateway's log.
#[derive(Clone, Debug)]
pub(crate) struct Log(pub(crate) Value);

impl Log {
    /// A call of the ingress that this router served, and that the upstream answered with this status.
    pub(crate) fn of(router: &str, status: u16) -> Self {
        let start = later();
        let id = format!("LAB00002_{start}_1_0");
        let log = Self(json!({
            "session_id": id,
            "transaction_id": id,
            "request": {
                "gl_path": router,
                "original_gl_path": "/azure/",
                "ingress_payload": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 15},
            },
            "response": {
                "gl_path": router,
                "inbound_status_code": status,
                "egress_status_code": status,
                "inbound_headers": {"Content-Type": ["application/json"]},
                "egress_headers": {"Content-Type": ["application/json"], "Session-Id": [id]},
                "inbound_payload": {"error": {"code": status.to_string(), "message": "synthetic"}},
            },
        }));
        log.lasting(start, Duration::from_millis(5))
    }

    /// When the gateway received the call, and how long it took.
    pub(crate) fn lasting(mut self, start: u64, time: Duration) -> Self {
        self.0["ingress_egress_timer"] = timer(start, time);
        self.0["egress_post_timer"] = timer(start, time);
        self.0["request"]["ingress_outbound_timer"] = timer(start, Duration::ZERO);
        self.0["response"]["outbound_inbound_timer"] = timer(start, time);
        self
    }

    /// Puts a value at a JSON pointer whose parent exists.
    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        self.0.pointer_mut(parent).unwrap()[name] = value;
        self
    }

    pub(crate) fn without(mut self, pointer: &str) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        self.0.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        self
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.0.to_string().into()
    }

    /// What the shipped configuration's outcome processor is sent about the same call.
    pub(crate) fn outcome(&self) -> Bytes {
        let fields = ["gl_path", "inbound_status_code", "egress_status_code", "inbound_headers", "egress_headers"];
        let response = &self.0["response"];
        let kept = fields.iter().filter_map(|&name| Some((name.to_owned(), response.get(name)?.clone())));
        Value::Object(kept.collect()).to_string().into()
    }
}

impl From<Log> for Bytes {
    fn from(log: Log) -> Self {
        log.bytes()
    }
}

/// What the shipped configuration's outcome processor is sent about a call of its own.
pub(crate) fn outcome(router: &str, status: u16) -> Bytes {
    Log::of(router, status).outcome()
}

/// Waits until the broker has read every log entry that was published before. Its pool must have an unused sentinel.
pub(crate) async fn sentinel(bus: &Bus, broker: &Broker) {
    let next = format!("{SENTINEL}{}/", broker.count(&["router disabled", SENTINEL]));
    bus.log(Log::of(&next, 500)).await;
    broker.until(&["router disabled", &next]).await;
}

/// The routers of this many decisions, in the order of the requests.
pub(crate) async fn chosen(bus: &Bus, decisions: usize) -> Vec<String> {
    let mut routers = Vec::with_capacity(decisions);
    for _ in 0..decisions {
        routers.push(bus.decide().await["gl_path"].as_str().unwrap_or_default().to_owned());
    }
    routers
}
