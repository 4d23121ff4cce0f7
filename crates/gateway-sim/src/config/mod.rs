//! The gateway's configuration file, parsed and validated.
//!
//! All faults are reported at once, each with its place. Two things are not faults, because the gateway accepts them: a
//! router that breaks a rule is dropped silently, and some valid files make the gateway crash at start (see
//! [`Config::crash`]).

mod processors;
mod routers;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use gecholog_protocol::gl_config::{self, GlConfig, Text};
pub use gecholog_protocol::gl_config::{Fault, Filter};
pub(crate) use processors::{Processor, Rows};
pub(crate) use routers::Router;

use crate::headers::Names;

/// The name of the file in the places of faults.
const NAME: &str = "gl_config.json";

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
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.faults.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Config {
    /// Reads the text of a configuration file; `env` answers `${NAME}`, and a variable without an answer is empty.
    ///
    /// # Errors
    ///
    /// All faults for which the gateway would refuse the file.
    pub fn parse(text: &str, env: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let mut read = gl_config::read(NAME, text, |name| Some(env(name).unwrap_or_default()));
        read.faults.extend(missing_files(&read));
        if read.faults.is_empty() { Ok(build(&read)) } else { Err(ConfigError { faults: read.faults }) }
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

/// A certificate authority whose file is not there.
fn missing_files(read: &GlConfig) -> Vec<Fault> {
    let files = read.authorities.iter().enumerate().filter(|(_, file)| !Path::new(&owned(file)).is_file());
    let fault = |(at, _)| Fault {
        place: format!("{NAME} tls.outbound.cert_files[{at}]"),
        problem: "no such file".to_owned(),
        sure: true,
    };
    files.map(fault).collect()
}

fn build(read: &GlConfig) -> Config {
    let routers = routers::build(&read.routers);
    let bus = Bus {
        host: owned(&read.bus.host),
        token: read.bus.token.value().unwrap_or_default().to_owned(),
        status: owned(&read.bus.status),
        isalive: owned(&read.bus.isalive),
        logger: owned(&read.bus.logger),
    };
    // There is no TLS here.
    let tls = (read.serves_tls == Some(true))
        .then(|| "tls.ingress.enabled: the simulated gateway speaks plain HTTP only".to_owned());
    Config {
        gateway_id: owned(&read.gateway_id),
        bus,
        port: read.port.unwrap_or_default(),
        session_header: owned(&read.session_header),
        masked: read.masked.known().map(str::to_owned).collect(),
        removed: read.removed.known().map(str::to_owned).collect(),
        log_unauthorized: read.log_unauthorized == Some(true),
        routers: routers.kept,
        request: processors::build(&read.request, false),
        response: processors::build(&read.response, true),
        log_request: read.log_request.clone(),
        log_response: read.log_response.clone(),
        dropped: routers.dropped,
        crash: routers.crash.or(tls),
    }
}

/// The text after expansion, which is always known here.
fn owned(text: &Text) -> String {
    text.value().unwrap_or_default().to_owned()
}
