//! One target as types: a router, a url, a provider, or a branch.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::provider::{Api, ProviderName, Unsupported};
use super::{Health, Strategy, Word, one, price, relay};

/// A router, a url, a provider, or a branch: a strategy over further targets.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "oneOf" = [
        {"required": ["router"], "properties": {"strategy": false}},
        {"required": ["url"], "properties": {"strategy": false, "provider": false}},
        {"required": ["provider"], "properties": {"strategy": false, "endpoint": false}},
        {"required": ["targets"], "properties": {"budget": false, "price": false}}
    ]
))]
pub struct Target {
    /// Its name in reasons and conditions; unique in its branch.
    #[schemars(length(min = 1, max = 80))]
    pub name: Option<String>,
    /// The gateway's router that serves it, such as /azure/gpt4/.
    #[schemars(regex(pattern = r"^(/[a-zA-Z0-9]+)+/$"), length(max = 80))]
    pub router: Option<String>,
    /// The address of a target that the relay calls without the gateway, such as `https://api.openai.com/v1/`. The rest of the
    /// client's path follows it. ${NAME} is a variable of the environment, ${file:/path} the content of a file, here and in the
    /// next three.
    #[schemars(length(min = 1))]
    pub url: Option<String>,
    /// For a url: the path below it, instead of the rest of the client's.
    #[schemars(length(min = 1))]
    pub endpoint: Option<String>,
    /// For a url: query parameters, which replace the client's of the same name, in whatever spelling.
    pub query: Option<BTreeMap<String, Word>>,
    /// For a url: headers, which replace the client's of the same name: {"Authorization": ["Bearer
    /// ${OPENAI_API_KEY}"]}.
    pub headers: Option<relay::Headers>,
    /// For a url: headers of the client that are not forwarded.
    #[schemars(length(min = 1))]
    pub remove_headers: Option<Vec<Word>>,
    /// For a url: forwards the client's own credentials, in headers and in the query. Without: false.
    pub forward_credentials: Option<bool>,
    /// The provider, called by the relay without the gateway. It determines address, paths, key header and protocol; requests
    /// in OpenAI's form are translated if the provider has another protocol. `url`, `headers` and `query` override these.
    pub provider: Option<ProviderName>,
    /// For a provider: the model, which replaces the client's. Without: the client's, renamed by `model_map`.
    #[schemars(length(min = 1))]
    pub model: Option<String>,
    /// For a provider: its key, best as "${OPENAI_API_KEY}".
    #[schemars(length(min = 1))]
    pub api_key: Option<String>,
    /// For a provider: the protocol of the model there, if it does not follow from the model's name.
    pub api: Option<Api>,
    /// For azure: the api-version, with which the paths with deployments are used. For anthropic: the anthropic-version.
    #[schemars(length(min = 1))]
    pub api_version: Option<String>,
    /// For azure: the name of the resource.
    #[schemars(length(min = 1))]
    pub resource: Option<String>,
    /// For bedrock: the region of AWS.
    #[schemars(length(min = 1))]
    pub region: Option<String>,
    /// For vertex: the project. Without: that of the service account.
    #[schemars(length(min = 1))]
    pub project: Option<String>,
    /// For vertex: the location, such as europe-west1 or global.
    #[schemars(length(min = 1))]
    pub location: Option<String>,
    /// For bedrock: the id of a key of AWS. Without it and without api_key: the key from AWS's variables in the environment.
    #[schemars(length(min = 1))]
    pub access_key_id: Option<String>,
    /// For bedrock: the secret of that key.
    #[schemars(length(min = 1))]
    pub secret_access_key: Option<String>,
    /// For bedrock: the session token of a temporary key.
    #[schemars(length(min = 1))]
    pub session_token: Option<String>,
    /// For vertex: the JSON file of a service account, as "${file:/path/to/account.json}".
    #[schemars(length(min = 1))]
    pub service_account: Option<String>,
    /// For a provider: what happens with fields that it does not support. Without: drop.
    pub unsupported: Option<Unsupported>,
    /// For a provider that requires a limit of output tokens: the limit if the client sets none. Without: that of the model.
    #[schemars(range(min = 1, max = 4294967295_u32))]
    pub max_tokens: Option<u32>,
    /// How the branch chooses among its targets.
    pub strategy: Option<Strategy>,
    /// The targets of the branch, nested at most 16 deep.
    #[schemars(length(min = 1))]
    pub targets: Option<Vec<Target>>,
    /// Its share relative to its siblings' weights; 0 receives no calls. For all modes except fallback and conditional.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    pub weight: f64,
    /// True: no calls until it is removed.
    #[serde(default)]
    pub drained: bool,
    /// Fields that are set in the JSON request on its way to this target; null removes one. Those of a branch apply to all
    /// targets below it, and the nearest wins.
    pub override_params: Option<Map<String, Value>>,
    /// New names for the request's field `model`, by the old ones; `*` on the left stands for every other name, on the right
    /// for the name as it is. Names that are not here pass, unless every target of a relay's pool has a map and none names
    /// them. Those of a branch apply to all targets below it, and the nearest wins.
    pub model_map: Option<BTreeMap<String, Word>>,
    /// For the routers at or below this target.
    pub health: Option<Health>,
    /// The router's rate limit: a router over its limit is skipped while another one is within its own. It belongs to the
    /// router: two targets must not give one router different budgets.
    pub budget: Option<Budget>,
    /// The prices of its tokens, instead of those of the price tables, in dollars per million tokens. They belong to the
    /// router: two targets must not give one router different prices.
    pub price: Option<price::Price>,
    /// Time limits of the relay at or below this target.
    pub relay: Option<relay::TimeLimits>,
}

/// The limits of a router per minute. Empty: only what its upstream reports as remaining (x-ratelimit-remaining-*), which
/// counts in any case.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Requests per minute.
    #[schemars(range(min = 1, max = 4294967295_u32))]
    pub rpm: Option<u32>,
    /// Tokens per minute, of prompts and completions. The broker's processor must see outbound_payload.
    #[schemars(range(min = 1, max = 4294967295_u32))]
    pub tpm: Option<u32>,
}
