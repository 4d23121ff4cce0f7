//! Settings as written, from variables and flags: each is an optional text.
//!
//! `envy` stops at the first fault and panics on text that is not UTF-8. So it gets only valid texts and fills only optional
//! texts; everything else is validated later, and all faults are reported at once.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Fault;
use super::file::{Variables, line_end_notice, without_line_end};

/// All settings. The field is the variable's name in lower case; the flag is the same with dashes, but for
/// `--config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Args)]
pub struct RawSettings {
    #[arg(skip)]
    pub(super) nats_token: Option<String>,
    /// File that holds the token of the bus (NATS_TOKEN itself is only read from the environment)
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) nats_token_file: Option<String>,
    /// Host, or host:port, of the bus [default: localhost:4222]
    #[arg(long, global = true, value_name = "HOST")]
    pub(super) gecholog_host: Option<String>,
    /// Servers of the bus instead of the host: nats:// or tls://, separated by commas (may carry a secret: prefer the
    /// environment)
    #[arg(skip)]
    pub(super) nats_url: Option<String>,
    /// Credentials file for the bus
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) nats_creds: Option<String>,
    /// Extra certificate authority for the bus, a PEM file
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) nats_ca: Option<String>,
    /// on, or off: only the relay, without the bus and so without the gateway's requests and log [default: on]
    #[arg(long, global = true, value_name = "ON|OFF")]
    pub(super) broker_bus: Option<String>,
    /// Minutes that a failing router is left out; fractions allowed, 0 = never [default: 10 under the preset documented; 5
    /// seconds under resilient, so for targets with a url]
    #[arg(long, global = true, value_name = "MINUTES", allow_hyphen_values = true)]
    pub(super) disabled_time: Option<String>,
    /// File with the pools: targets, weights, strategies, health [BROKER_CONFIG; without it: one pool, of BROKER_INGRESS and
    /// BROKER_ROUTERS]
    #[arg(long = "config", global = true, value_name = "FILE")]
    pub(super) broker_config: Option<String>,
    /// File with prices of models over those that are shipped, in our own form or LiteLLM's; read again when it changes
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) broker_prices: Option<String>,
    /// Router that clients call and that is balanced [default: /azure/]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) broker_ingress: Option<String>,
    /// Routers behind it, separated by commas [default: /azure/gpt35turbo/,/azure/gpt4/,/azure/dud/]
    #[arg(long, global = true, value_name = "PATHS")]
    pub(super) broker_routers: Option<String>,
    /// Subject of the requests; .apply and .outcome follow it [default: coburn.gl.broker]
    #[arg(long, global = true, value_name = "SUBJECT")]
    pub(super) broker_subject: Option<String>,
    /// Subject of the gateway's log [default: coburn.gl.logger]
    #[arg(long, global = true, value_name = "SUBJECT")]
    pub(super) broker_logger_subject: Option<String>,
    /// Queue group that the replicas share [default: broker]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) broker_queue: Option<String>,
    /// Name of the broker's processor in the gateway's configuration, for counting calls that were not balanced [default: broker]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) broker_processor: Option<String>,
    /// Statuses that count as failures, such as 404,429,500-599,5xx, or any [default: 408, 424, 425, 429, 498, 5xx except 501
    /// and 505, a refused key or used-up quota of the target's settings, and a 404 that says that the target's own
    /// deployment or model does not exist]
    #[arg(long, global = true, value_name = "LIST")]
    pub(super) broker_failure_status: Option<String>,
    /// Preset of the health settings: documented, or resilient [default: documented, and resilient for targets with a url]
    #[arg(long, global = true, value_name = "PRESET")]
    pub(super) broker_health: Option<String>,
    /// How an upstream's Retry-After is used: honor (it replaces DISABLED_TIME), or ignore [default: honor]
    #[arg(long, global = true, value_name = "HONOR|IGNORE")]
    pub(super) broker_retry_after: Option<String>,
    /// balance, or observe: change no route, and log the route that would have been chosen [default: balance]
    #[arg(long, global = true, value_name = "MODE")]
    pub(super) broker_mode: Option<String>,
    /// Address of the page, probes, metrics and the API, or off [default: 127.0.0.1:5381]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(super) broker_http: Option<String>,
    /// Address of the relay, such as 0.0.0.0:5390, or off [default: off]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(super) broker_relay: Option<String>,
    /// URL at which the relay calls the gateway [default: http://, the host of GECHOLOG_HOST, :5380]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) broker_gateway: Option<String>,
    /// Extra certificate authorities for the relay's targets, a PEM file
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) broker_relay_ca: Option<String>,
    /// Calls of the relay in progress at a time; further ones get 503 with Retry-After [default: 2048]
    #[arg(long, global = true, value_name = "NUMBER")]
    pub(super) broker_relay_calls: Option<String>,
    /// Largest request body that the relay accepts, in MB [default: 50]
    #[arg(long, global = true, value_name = "MB")]
    pub(super) broker_relay_body: Option<String>,
    /// Origins whose pages may call the relay (CORS), such as `https://chat.example.com`, separated by commas, or * [default:
    /// none]
    #[arg(long, global = true, value_name = "ORIGINS")]
    pub(super) broker_cors: Option<String>,
    /// Seconds that a client of the relay may take for each 256 KB of its request body, and to read each part of the response
    /// [default: 60]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(super) broker_relay_patience: Option<String>,
    /// Seconds that the relay's calls in progress get to finish at shutdown [default: 25]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(super) broker_relay_grace: Option<String>,
    /// Host names under which the API may be called, besides localhost and IP addresses, separated by commas
    #[arg(long, global = true, value_name = "NAMES")]
    pub(super) broker_http_hosts: Option<String>,
    /// Certificate chain with which the relay and the HTTP port serve TLS, a PEM file; needs the key too
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) broker_tls_cert: Option<String>,
    /// Private key of that certificate, a PEM file
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) broker_tls_key: Option<String>,
    #[arg(skip)]
    pub(super) broker_admin_token: Option<String>,
    /// File that holds the operators' token (BROKER_ADMIN_TOKEN itself is only read from the environment)
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) broker_admin_token_file: Option<String>,
    /// File to which every finished call is written, one JSON line each [default: none]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) broker_calls: Option<String>,
    /// Largest size of that file and its older files together, in MB [default: 256]
    #[arg(long, global = true, value_name = "MB")]
    pub(super) broker_calls_size: Option<String>,
    /// Memory for recent calls, which the API, the page and `broker why` show, in MB [default: 16]
    #[arg(long, global = true, value_name = "MB")]
    pub(super) broker_recent_calls: Option<String>,
    /// Request header whose value is a trace id, besides traceparent, X-Trace-Id and x-portkey-trace-id [default: X-Trace-Id]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) broker_trace_header: Option<String>,
    /// Whether the sampled flag of a client's traceparent decides if its call is traced: ignore, or trust [default: ignore]
    #[arg(long, global = true, value_name = "IGNORE|TRUST")]
    pub(super) broker_trace_sampled: Option<String>,
    /// Whether traces contain prompts and answers: off, or full [default: off]
    #[arg(long, global = true, value_name = "OFF|FULL")]
    pub(super) broker_trace_content: Option<String>,
    #[arg(skip)]
    pub(super) otel_sdk_disabled: Option<String>,
    #[arg(skip)]
    pub(super) otel_exporter_otlp_endpoint: Option<String>,
    #[arg(skip)]
    pub(super) otel_exporter_otlp_traces_endpoint: Option<String>,
    #[arg(skip)]
    pub(super) otel_exporter_otlp_headers: Option<String>,
    #[arg(skip)]
    pub(super) otel_exporter_otlp_traces_headers: Option<String>,
    #[arg(skip)]
    pub(super) otel_exporter_otlp_certificate: Option<String>,
    #[arg(skip)]
    pub(super) otel_exporter_otlp_timeout: Option<String>,
    #[arg(skip)]
    pub(super) otel_exporter_otlp_protocol: Option<String>,
    #[arg(skip)]
    pub(super) otel_exporter_otlp_traces_protocol: Option<String>,
    #[arg(skip)]
    pub(super) otel_traces_exporter: Option<String>,
    #[arg(skip)]
    pub(super) otel_service_name: Option<String>,
    #[arg(skip)]
    pub(super) otel_resource_attributes: Option<String>,
    #[arg(skip)]
    pub(super) otel_traces_sampler: Option<String>,
    #[arg(skip)]
    pub(super) otel_traces_sampler_arg: Option<String>,
    /// Log filter, such as info, debug or warn,gecholog_broker=trace [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) broker_log: Option<String>,
    /// Format of log lines: text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(super) broker_log_format: Option<String>,
}

impl RawSettings {
    /// The texts, by the names of the variables.
    fn texts(&self) -> BTreeMap<String, String> {
        let Ok(Value::Object(fields)) = serde_json::to_value(self) else { return BTreeMap::new() };
        let texts = fields.into_iter().filter_map(|(field, value)| match value {
            Value::String(text) => Some((field.to_ascii_uppercase(), text)),
            _ => None,
        });
        texts.collect()
    }
}

/// Where settings come from, each as texts by the names of the variables.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// From the environment; an empty variable is an unset one.
    pub(super) environment: BTreeMap<String, String>,
    /// From the command line; wins over the environment.
    pub(super) flags: BTreeMap<String, String>,
    /// Names of all variables that are set.
    pub(super) names: Vec<String>,
    /// All variables that are valid text, for `${NAME}` in the pools file.
    pub(super) variables: Variables,
    /// Known variables whose value is not UTF-8 text.
    pub(super) faults: Vec<Fault>,
    /// A notice for each known variable whose value ended with a line break.
    pub(super) notices: Vec<Fault>,
}

impl Sources {
    /// Takes the variables of a process and the flags of its command line.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>, flags: RawSettings) -> Self {
        let mut sources = Self { flags: flags.texts(), ..Self::default() };
        let mut pairs = Vec::new();
        let mut all = BTreeMap::new();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) if value.is_empty() => {}
                Ok(value) => {
                    sources.names.push(name.clone());
                    let plain = without_line_end(&value).to_owned();
                    if plain.len() < value.len() && super::names::is_known(&name) {
                        sources.notices.push(line_end_notice(&name));
                    }
                    all.insert(name.clone(), value);
                    if !plain.is_empty() {
                        pairs.push((name, plain));
                    }
                }
                Err(_) if super::names::is_known(&name) => {
                    sources.faults.push(Fault::new(name, "its value is not valid UTF-8 text"));
                }
                Err(_) => {}
            }
        }
        sources.variables = Variables::new(all);
        match envy::from_iter::<_, RawSettings>(pairs) {
            Ok(environment) => sources.environment = environment.texts(),
            // Cannot happen to texts that are all optional; if it does, it must be reported.
            Err(error) => sources.faults.push(Fault::new("environment", error.to_string())),
        }
        sources
    }
}
