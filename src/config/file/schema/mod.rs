//! The pools file as types, from which its JSON Schema is made. Editors show the comments.
//!
//! The broker parses the file with `reader`, which has positions and continues after a fault; the known keys of each object
//! come from these types.

pub mod health;

use std::collections::BTreeMap;

use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

mod price;
mod provider;
pub mod relay;
mod target;

pub use health::Health;
pub use target::{Budget, Target};

/// The JSON Schema of the file, as text.
pub fn schema() -> String {
    let mut schema = schema_for!(PoolsFile);
    tidy(&mut schema);
    // Cannot fail: it is JSON already.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// Removes the line breaks of this file from descriptions, and `null` as a value of optional keys: a null is more often a
/// template without a value than intended.
fn tidy(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for field in fields.into_iter().flat_map(|fields| fields.values_mut()).filter_map(Value::as_object_mut) {
        if let Some(kinds) = field.get_mut("type").and_then(Value::as_array_mut) {
            kinds.retain(|kind| kind != "null");
            if let [kind] = &kinds[..] {
                let kind = kind.clone();
                field.insert("type".to_owned(), kind);
            }
        }
        field.remove("default").filter(|value| !value.is_null()).map(|value| field.insert("default".to_owned(), value));
        let either = field.get("anyOf").and_then(Value::as_array);
        let meant = either.and_then(|either| either.iter().find_map(|one| one.get("$ref"))).cloned();
        if let Some(meant) = meant {
            field.remove("anyOf");
            field.insert("$ref".to_owned(), meant);
        }
    }
    transform_subschemas(&mut tidy, schema);
}

/// The pools behind the routers that clients of the gateway call. Read by `broker --config FILE`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolsFile {
    /// Where editors find this schema; the broker does not read it.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    /// The pools, one per ingress.
    #[schemars(length(min = 1))]
    pub pools: Vec<Pool>,
    /// For every router without a nearer setting.
    pub health: Option<Health>,
    /// Limits of the relay: for one call, and for all together.
    pub relay: Option<relay::Relay>,
}

/// The targets behind one ingress.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The router that clients call, such as /azure/.
    #[schemars(regex(pattern = r"^(/[a-zA-Z0-9]+)+/$"), length(max = 80))]
    pub ingress: String,
    /// How the pool chooses among its targets.
    pub strategy: Option<Strategy>,
    /// The targets; their order counts for `fallback`.
    #[schemars(length(min = 1))]
    pub targets: Vec<Target>,
    /// For the routers of this pool.
    pub health: Option<Health>,
    /// True: only the relay serves this pool, and requests of the gateway for its ingress are not changed. This is always so
    /// for a pool with a target that has a url. An object: time limits of its targets.
    pub relay: Option<relay::PoolRelay>,
    /// Where a request goes when every router that may serve it is disabled. Without: pass; soonest for a pool with a target
    /// that has a url.
    pub when_all_disabled: Option<WhenAllDisabled>,
    /// Whether a request that names a response, thread, file or batch goes to the target that made it, if that is available.
    /// Without: true for a pool with a target that has a url. Only in pools that the relay serves.
    pub affinity: Option<bool>,
    /// True: clients may send their own strategy over the targets of this pool, in the header `x-portkey-config`. Only in pools
    /// that the relay serves.
    pub client_config: Option<bool>,
}

/// Where a request goes when every router that may serve it is disabled.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenAllDisabled {
    /// The gateway serves it by the ingress router's own endpoint. The relay answers 503.
    Pass,
    /// It goes to the router whose cooldown ends first, one request at a time; other requests are treated as with pass.
    Soonest,
    /// It goes to any of them (panic mode), except for those whose upstream named a time to wait.
    Any,
}

/// A text that is not empty.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Word(#[schemars(length(min = 1))] pub String);

/// How a branch chooses among its targets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [
    {
        "if": {"required": ["mode"], "properties": {"mode": {"const": "sticky"}}},
        "then": {"required": ["key"]},
        "else": {"properties": {"key": false}},
    },
    {
        "if": {"required": ["mode"], "properties": {"mode": {"const": "conditional"}}},
        "then": {"required": ["conditions"]},
        "else": {"properties": {"conditions": false, "default": false}},
    },
]))]
pub struct Strategy {
    /// The policy of the branch. Without: loadbalance. (Not to be confused with BROKER_MODE.)
    #[serde(default)]
    pub mode: Mode,
    /// For sticky: the field of the request that is the key, such as headers.X-User, params.user, or session.
    #[schemars(regex(pattern = r"^(session|params(\.[^.]+)+|headers\.[A-Za-z0-9!#$%&'*+.^_`|~-]+)$"))]
    pub key: Option<String>,
    /// For conditional: the first condition whose query the request matches decides.
    #[schemars(length(min = 1))]
    pub conditions: Option<Vec<Condition>>,
    /// For conditional: the name of the target for requests that match none.
    pub default: Option<String>,
    /// For the relay: the answers of a target at or below this branch after which a call is sent to each other target once, and
    /// no others, by their status or error class; the nearest list wins. Without: the table in docs/relay.md.
    pub retry_on: Option<health::Statuses>,
    /// The same under the name that other gateways use; both lists count.
    pub on_status_codes: Option<health::Statuses>,
}

/// The policy by which a branch chooses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At random, by weight.
    #[default]
    #[serde(rename = "loadbalance")]
    LoadBalance,
    /// In turn, by weight: the shares are exact over one cycle.
    RoundRobin,
    /// The first available target, in the order of the list. Through the gateway a call that fails is answered with the error,
    /// and the next call goes to the next target; the relay retries the same call there.
    Fallback,
    /// The same key to the same target as long as that is available; the keys are shared by weight.
    Sticky,
    /// By conditions on the request.
    Conditional,
    /// Of two targets chosen at random by weight, the one with the lower expected time, from the latencies in the log.
    Fastest,
    /// Of two targets chosen at random by weight, the one with fewer calls in progress for its weight.
    LeastBusy,
}

/// The target of requests that match a query.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The query.
    pub query: Query,
    /// The name of a target of this branch.
    pub then: String,
}

/// Fields and their tests, all of which must be true: {"params.model": "gpt-4", "headers.x-tier": {"$in": ["gold"]}}.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend(
    "minProperties" = 1,
    "propertyNames" = {
        "pattern": r"^(\$and|\$or|\$not|path|session|params(\.[^.]+)+|headers\.[A-Za-z0-9!#$%&'*+.^_`|~-]+)$"
    },
))]
pub struct Query {
    /// All of these.
    #[serde(rename = "$and")]
    #[schemars(length(min = 1))]
    pub and: Option<Vec<Query>>,
    /// At least one of these.
    #[serde(rename = "$or")]
    #[schemars(length(min = 1))]
    pub or: Option<Vec<Query>>,
    /// Not this.
    #[serde(rename = "$not")]
    pub not: Option<Box<Query>>,
    /// `params.<name>`, `headers.<Name>`, `path` or `session`.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Tests>,
}

/// A value that the field must equal, or tests that must all be true.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Tests {
    /// Equal to this text.
    Text(String),
    /// Equal to this number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// Null.
    Null(()),
    /// All of these.
    Operators(Box<Operators>),
}

/// Tests of one field, all of which must be true. A missing field passes only $ne and $nin; values of another type never pass.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct Operators {
    /// Equal.
    #[serde(rename = "$eq", default, deserialize_with = "some")]
    pub eq: Option<Value>,
    /// Not equal.
    #[serde(rename = "$ne", default, deserialize_with = "some")]
    pub ne: Option<Value>,
    /// Greater.
    #[serde(rename = "$gt")]
    pub gt: Option<OrderedValue>,
    /// Greater or equal.
    #[serde(rename = "$gte")]
    pub gte: Option<OrderedValue>,
    /// Less.
    #[serde(rename = "$lt")]
    pub lt: Option<OrderedValue>,
    /// Less or equal.
    #[serde(rename = "$lte")]
    pub lte: Option<OrderedValue>,
    /// One of these.
    #[serde(rename = "$in")]
    #[schemars(length(min = 1))]
    pub within: Option<Vec<Value>>,
    /// None of these.
    #[serde(rename = "$nin")]
    #[schemars(length(min = 1))]
    pub without: Option<Vec<Value>>,
    /// A text that contains a match of this regular expression.
    #[serde(rename = "$regex")]
    pub regex: Option<String>,
}

/// A number or a text, for comparisons.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OrderedValue {
    /// Numbers by value.
    Number(f64),
    /// Texts by their letters.
    Text(String),
}

const fn one() -> f64 {
    1.0
}

/// A value that is given, `null` included.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
