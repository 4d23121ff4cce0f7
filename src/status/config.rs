//! What is in force, as a document: the pools with what holds for their routers, and where the bus is. Of a target's changes
//! to a request only that there are some: their values are the user's.

use serde::Serialize;
use serde_json::{Map, Value, json};

use balancer::broker::{BrokerSettings, RouterSettings};
use balancer::health;
use balancer::strategy::{Target, TargetKind};

/// Where the bus is and what we are there; without any credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bus {
    /// `host:port`, of each server.
    pub servers: Vec<String>,
    /// How we prove who we are: `token`, `user`, `credentials`, `none`.
    pub credentials: &'static str,
    /// Of the requests.
    pub subject: String,
    /// Of the gateway's log.
    pub logger_subject: String,
    /// That the replicas share.
    pub queue: String,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigShown {
    /// Short hash of what shapes decisions.
    pub config: String,
    /// `balance` or `observe`.
    pub mode: String,
    /// Where the bus is.
    pub bus: Bus,
    /// The pools.
    pub pools: Vec<Value>,
    /// What holds for every router that has nothing of its own.
    pub defaults: Value,
    /// What holds for these.
    pub routers: Map<String, Value>,
}

impl ConfigShown {
    /// What is in force.
    pub fn of(config: &str, mode: &str, bus: Bus, settings: &BrokerSettings) -> Self {
        let pools = settings.pools.iter().map(|pool| {
            let mut shown = target(&pool.root);
            shown.insert("ingress".to_owned(), json!(pool.ingress));
            Value::Object(shown)
        });
        let routers = settings.routers.iter().map(|(path, own)| (path.to_string(), router(own)));
        Self {
            config: config.to_owned(),
            mode: mode.to_owned(),
            bus,
            pools: pools.collect(),
            defaults: router(&settings.defaults),
            routers: routers.collect(),
        }
    }
}

fn router(settings: &RouterSettings) -> Value {
    // Field by field, so that a new one cannot be left out.
    let health::HealthSettings {
        disabled_time,
        cooldown,
        consecutive,
        ratio,
        retry_after,
        probe,
        slow_start: ramp,
        slow,
        poison,
        timeout_ejects,
        keep_last,
    } = settings.health;
    let ratio =
        ratio.map(|ratio| json!({"below": ratio.below, "over_seconds": ratio.over.as_secs_f64(), "min": ratio.min}));
    let cooldown =
        json!({"factor": cooldown.factor, "max_seconds": cooldown.max.as_secs_f64(), "jitter": cooldown.jitter});
    let health::RetryAfterSettings { honor, max, assume, preempt } = retry_after;
    let assume = assume.map(|wait| wait.as_secs_f64());
    json!({
        "failures": settings.failures.to_string(),
        "disabled_seconds": disabled_time.as_secs_f64(),
        "consecutive": consecutive,
        "cooldown": cooldown,
        "ratio": ratio,
        "retry_after": {"honor": honor, "max_seconds": max.as_secs_f64(), "assume_seconds": assume, "preempt": preempt},
        "ramp_seconds": ramp.as_secs_f64(),
        "slow_seconds": slow.map(|slow| slow.as_secs_f64()),
        "poison": poison,
        "timeout_ejects": timeout_ejects,
        "keep_last": keep_last,
        "probe": {"concurrency": probe.concurrency, "timeout_seconds": probe.timeout.as_secs_f64()},
    })
}

fn target(target: &Target) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| drop(shown.insert(name.to_owned(), value));
    if let Some(name) = &target.name {
        put("name", json!(name));
    }
    put("weight", json!(target.weight));
    if target.drained {
        put("drained", json!(true));
    }
    if !target.patch.is_empty() {
        put("changes_the_request", json!(true));
    }
    match &target.kind {
        TargetKind::Router(path) => put("router", json!(path)),
        TargetKind::Branch { mode, targets } => {
            put("mode", json!(mode.as_str()));
            put("targets", targets.iter().map(|inner| Value::Object(self::target(inner))).collect());
        }
    }
    shown
}
