//! The gateway's configuration file, parsed and validated.
//!
//! All faults are reported at once, each with its place. Two things are not faults, because the gateway accepts them: a
//! router that breaks a rule is dropped silently, and some valid files make the gateway crash at start (see
//! [`Config::crash`]).

mod expand;
mod place;
mod processors;
mod routers;
mod rules;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use place::Fault;
use place::{ConfigNode, Faults};
pub(crate) use processors::{Filter, Processor, Rows};
pub(crate) use routers::Router;
use serde_json::Value;

use crate::headers::Names;

/// The version that makes the gateway refuse to load a file at all.
const REFUSED_VERSION: &str = "0.92.1";

/// What the gateway then reports as missing.
const REQUIRED: [&str; 11] = [
    "gateway_id",
    "version",
    "log_level",
    "gl_port",
    "session_id_header",
    "routers",
    "service_bus.hostname",
    "service_bus.topic",
    "service_bus.topic_exact_isalive",
    "service_bus.topic_exact_logger",
    "service_bus.token",
];

/// A configuration that the gateway would accept.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) gateway_id: String,
    pub(crate) bus: Bus,
    pub(crate) port: u16,
    /// As written. Go looks headers up and sends them in canonical spelling, but messages show this one.
    pub(crate) session_header: String,
    pub(crate) masked: Names,
    pub(crate) removed: Names,
    pub(crate) log_unauthorized: bool,
    pub(crate) routers: BTreeMap<String, Arc<Router>>,
    pub(crate) request: Rows,
    pub(crate) response: Rows,
    pub(crate) log_request: Filter,
    pub(crate) log_response: Filter,
    dropped: Vec<String>,
    crash: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Bus {
    pub(crate) host: String,
    pub(crate) token: String,
    pub(crate) status: String,
    pub(crate) isalive: String,
    pub(crate) logger: String,
}

/// Every fault of a configuration file.
#[derive(Clone, Debug, thiserror::Error)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl ConfigError {
    /// All faults, in the order of the file's schema.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    fn whole(problem: String) -> ConfigError {
        ConfigError { faults: vec![Fault { place: String::new(), problem }] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.faults.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Config {
    /// Reads the text of a configuration file; `env` answers `${NAME}`.
    ///
    /// # Errors
    ///
    /// All faults for which the gateway would refuse the file.
    pub fn parse(text: &str, env: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        if is_refused_version(text) {
            let missing = |place: &&str| Fault { place: (*place).to_owned(), problem: "is required".to_owned() };
            return Err(ConfigError { faults: REQUIRED.iter().map(missing).collect() });
        }
        let expanded = expand::expand(text, env);
        let tree: Value = serde_json::from_str(&expanded)
            .map_err(|error| ConfigError::whole(format!("not one JSON document: {error}")))?;
        let faults = Faults::default();
        let config = read(&ConfigNode::root(&tree, &faults));
        let faults = faults.into_inner();
        if faults.is_empty() { Ok(config) } else { Err(ConfigError { faults }) }
    }

    /// The paths of the routers that break a rule and were left out, as the gateway leaves them out.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Serves clients on another port than the file says; 0 is any free one.
    pub fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// Uses another bus than the file says, as `host:port`.
    pub fn set_bus(&mut self, host_port: &str) {
        host_port.clone_into(&mut self.bus.host);
    }

    /// Why the real gateway would accept this file and then crash at start, if it would.
    pub fn crash(&self) -> Option<&str> {
        self.crash.as_deref()
    }
}

/// Looked for before expansion, as the gateway does; a text that is no JSON before expansion has no version yet.
fn is_refused_version(text: &str) -> bool {
    let tree: Result<Value, _> = serde_json::from_str(text);
    tree.is_ok_and(|tree| ConfigNode::root(&tree, &Faults::default()).field("version").text() == REFUSED_VERSION)
}

fn read(file: &ConfigNode<'_>) -> Config {
    let gateway_id = file.field("gateway_id");
    gateway_id.require(rules::is_gateway_id(gateway_id.text()), "must be 8 characters of A-Z and 0-9");
    let version = file.field("version");
    version.require(rules::is_version(version.text()), "must begin with three numbers, such as 1.0.1");
    let level = file.field("log_level");
    let levels = ["DEBUG", "INFO", "WARN", "ERROR"];
    level.require(levels.contains(&level.text()), "must be DEBUG, INFO, WARN or ERROR");
    let tls = read_tls(&file.field("tls"));
    let read_routers = routers::read(&file.field("routers"));
    let logger = file.field("logger");
    Config {
        gateway_id: gateway_id.text().to_owned(),
        bus: read_bus(&file.field("service_bus")),
        port: read_port(&file.field("gl_port")),
        session_header: read_session_header(&file.field("session_id_header")),
        masked: read_header_names(&file.field("masked_headers")),
        removed: read_header_names(&file.field("remove_headers")),
        log_unauthorized: file.field("log_unauthorized").flag(),
        routers: read_routers.kept,
        request: processors::read(&file.field("request"), false),
        response: processors::read(&file.field("response"), true),
        log_request: processors::read_filter(&logger.field("request"), "fields"),
        log_response: processors::read_filter(&logger.field("response"), "fields"),
        dropped: read_routers.dropped,
        crash: read_routers.crash.or(tls),
    }
}

fn read_bus(bus: &ConfigNode<'_>) -> Bus {
    let host = bus.field("hostname");
    host.require(rules::is_host_and_port(host.text()), "must be host:port of one server, without a scheme");
    let token = bus.field("token");
    let good = !token.text().is_empty() && token.text().is_ascii();
    token.require(good, "must be ASCII and not empty");
    let subjects = ["topic", "topic_exact_isalive", "topic_exact_logger"].map(|name| bus.field(name));
    for subject in &subjects {
        subject.require(rules::is_subject(subject.text()), "must be made of letters, digits, dots and underscores");
    }
    let [status, isalive, logger] = subjects.map(|subject| subject.text().to_owned());
    let all = [status.clone(), isalive.clone(), logger.clone()];
    bus.require(rules::are_unique(&all), "the three topics must differ");
    Bus { host: host.text().to_owned(), token: token.text().to_owned(), status, isalive, logger }
}

fn read_port(port: &ConfigNode<'_>) -> u16 {
    let read = u16::try_from(port.integer()).unwrap_or(0);
    port.require(read > 0, "must be from 1 to 65535");
    read
}

fn read_session_header(name: &ConfigNode<'_>) -> String {
    let good = !name.text().is_empty() && rules::is_header_name(name.text());
    name.require(good, "must be a header name");
    name.text().to_owned()
}

fn read_header_names(list: &ConfigNode<'_>) -> Names {
    for name in list.list() {
        name.require(rules::is_header_name(name.text()), "must be a header name");
    }
    let names = list.texts();
    list.require(rules::are_unique(&names), "must not repeat a name");
    names.into_iter().collect()
}

/// Certificates are checked where the gateway checks them; TLS for clients is reported as a crash, because there is no TLS here.
fn read_tls(tls: &ConfigNode<'_>) -> Option<String> {
    let outbound = tls.field("outbound");
    let (_, _) = (outbound.field("insecure").flag(), outbound.field("system_cert_pool").flag());
    let files = outbound.field("cert_files");
    for file in files.list() {
        file.require(Path::new(file.text()).is_file(), "no such file");
    }
    files.require(rules::are_unique(&files.texts()), "must not repeat a file");
    let ingress = tls.field("ingress");
    let (_, _) = (ingress.field("certificate_file").text(), ingress.field("private_key_file").text());
    ingress
        .field("enabled")
        .flag()
        .then(|| "tls.ingress.enabled: the simulated gateway speaks plain HTTP only".to_owned())
}
