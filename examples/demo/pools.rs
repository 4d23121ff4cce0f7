//! What the broker's settings say about the pools, and what the gateway's configuration needs so that they can be shown.

use std::path::PathBuf;

use balancer::broker::{Broker, BrokerSettings};
use balancer::strategy::{Policy, Target, TargetKind};
use serde_json::{Value, json};
use types::request::RequestNeeds;

/// The targets behind one ingress, as far as the demo judges them.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    /// The router that clients call.
    pub(crate) ingress: String,
    /// All routers below it, each once.
    pub(crate) routers: Vec<String>,
    /// Whether each call is drawn among all of them alike.
    pub(crate) even: bool,
    /// Whether the broker may name no router though some serve.
    pub(crate) may_pass: bool,
    /// Whether a target changes the request.
    overrides: bool,
    needs: RequestNeeds,
}

/// What a gateway's configuration did not have.
#[derive(Debug, Default)]
pub(crate) struct Gap {
    pub(crate) routers: Vec<String>,
    pub(crate) fields: Vec<&'static str>,
}

impl Pool {
    /// All that there are.
    pub(crate) fn all(settings: &BrokerSettings) -> Vec<Self> {
        let broker = Broker::new(settings.clone());
        let pools = settings.pools.iter().zip(broker.pools());
        let pools = pools.map(|(pool, built)| Self::of(pool.ingress.as_str(), &pool.root, built.tree().needs()));
        pools.collect()
    }

    fn of(ingress: &str, root: &Target, needs: RequestNeeds) -> Self {
        let mut pool = Self {
            ingress: ingress.to_owned(),
            routers: Vec::new(),
            even: is_even(root),
            may_pass: false,
            overrides: false,
            needs,
        };
        pool.walk(root);
        pool
    }

    fn walk(&mut self, target: &Target) {
        match &target.kind {
            TargetKind::Router(path) => {
                let path = path.as_str().to_owned();
                if !self.routers.contains(&path) {
                    self.routers.push(path);
                }
                self.overrides |= !target.patch.is_empty();
            }
            TargetKind::Branch { policy, targets } => {
                self.may_pass |= matches!(policy, Policy::Conditional { .. });
                targets.iter().for_each(|target| self.walk(target));
            }
        }
    }
}

fn is_even(root: &Target) -> bool {
    let TargetKind::Branch { policy: Policy::LoadBalance, targets } = &root.kind else { return false };
    let alike =
        |target: &Target| !target.drained && target.weight == 1.0 && matches!(target.kind, TargetKind::Router(_));
    targets.iter().all(alike)
}

/// The repository's configuration that fits these pools.
pub(crate) fn gl_config(pools: &[Pool]) -> PathBuf {
    let overrides = pools.iter().any(|pool| pool.overrides);
    let name = if overrides { "docs/gl_config.overrides.json" } else { "gl_config.json" };
    [env!("CARGO_MANIFEST_DIR"), name].iter().collect()
}

/// Gives a gateway's configuration the routers that the pools name, served by the fake LLMs, and the fields that they choose
/// by. A text that is no such configuration stays as it is, for the gateway to say what is wrong with it.
pub(crate) fn fill(text: &mut String, pools: &[Pool], subject: &str) -> Gap {
    let mut gap = Gap::default();
    let Ok(mut config) = serde_json::from_str::<Value>(text) else { return gap };
    if let Some(routers) = config["routers"].as_array_mut() {
        for path in pools.iter().flat_map(|pool| std::iter::once(&pool.ingress).chain(&pool.routers)) {
            if routers.iter().all(|router| router["path"] != json!(path)) {
                routers.push(router(path));
                gap.routers.push(path.clone());
            }
        }
    }
    let wanted = [("outbound_payload", pools.iter().any(|pool| pool.needs.body))];
    let wanted = wanted.into_iter().chain([("outbound_headers", pools.iter().any(|pool| pool.needs.headers))]);
    for (field, _) in wanted.filter(|(_, wanted)| *wanted) {
        if show(&mut config, subject, field) {
            gap.fields.push(field);
        }
    }
    *text = config.to_string();
    gap
}

/// A router to the fake LLM's deployment of the same name.
fn router(path: &str) -> Value {
    let name = path.trim_matches('/').rsplit('/').next().unwrap_or_default();
    json!({
        "path": path,
        "ingress": {"headers": {}},
        "outbound": {
            "url": "${AISERVICE_API_BASE}",
            "endpoint": format!("openai/deployments/{name}/chat/completions?api-version=2023-05-15"),
            "headers": {"Content-Type": ["application/json"]},
        },
    })
}

/// A router to the relay.
pub(crate) fn to_the_relay(path: &str, relay: &str, ingress: &str) -> Value {
    json!({
        "path": path,
        "ingress": {"headers": {}},
        "outbound": {
            "url": format!("http://{relay}{}", ingress.trim_end_matches('/')),
            "endpoint": "chat/completions",
            "headers": {"Content-Type": ["application/json"]},
        },
    })
}

/// Gives a gateway's configuration one router more.
pub(crate) fn add(text: &mut String, router: &Value) {
    let Ok(mut config) = serde_json::from_str::<Value>(text) else { return };
    if let Some(routers) = config["routers"].as_array_mut() {
        routers.push(router.clone());
    }
    *text = config.to_string();
}

/// Lets the processor on this subject see a field; false if it sees it already.
fn show(config: &mut Value, subject: &str, field: &str) -> bool {
    let rows = config["request"]["processors"].as_array_mut().into_iter().flatten();
    let mut processors = rows.filter_map(Value::as_array_mut).flatten();
    let ours = processors.find(|processor| processor["service_bus_topic"] == json!(subject));
    // An empty list means all fields.
    let Some(seen) = ours.and_then(|processor| processor["input_fields_include"].as_array_mut()) else { return false };
    let missing = !seen.is_empty() && !seen.contains(&json!(field));
    if missing {
        seen.push(json!(field));
    }
    missing
}
