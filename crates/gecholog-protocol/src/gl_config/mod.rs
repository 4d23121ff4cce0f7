//! The gateway's configuration file, read as the gateway reads it (docs/gateway-protocol.md 4), to predict what it will do.
//!
//! Two problems do not make the gateway reject a file: a router that breaks a rule is silently dropped, and some files that
//! pass its validation make it exit at its start. Both are recorded here and reported elsewhere. Variables are expanded as the
//! gateway does; texts are displayed as written ([`Text`]), because a value may be secret. What depends on a variable that is
//! unset here is neither right nor wrong, but unknown.

mod decode;
mod expand;
mod processors;
mod routers;
mod rules;

use std::cell::RefCell;
use std::fmt;

use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde::de::IgnoredAny;

use decode::{Document, Node};
pub use decode::{Fault, Text};
use expand::Expanded;
pub use processors::{Filter, Names, Processor, Rows};
pub use routers::{HeaderList, Router};

/// The version for which the gateway refuses to load a file at all.
const REFUSED_VERSION: &str = "0.92.1";
/// Strict JSON.
pub const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_trailing_commas: false,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// The gateway's configuration.
#[derive(Debug, Clone, Default)]
pub struct GlConfig {
    /// The name of the file.
    pub name: String,
    /// Variables that are unset here, each with the first place that uses it.
    pub unset: Vec<(String, String)>,
    /// Their lines, from 1, each with the variable.
    pub unset_lines: Vec<(usize, String)>,
    /// Why the gateway rejects the file.
    pub faults: Vec<Fault>,
    /// Whether the file could be parsed.
    pub readable: bool,
    /// All routers, dropped ones too.
    pub routers: Vec<Router>,
    /// There may be more routers.
    pub routers_unsure: bool,
    pub gateway_id: Text,
    /// The port for clients; absent if unknown.
    pub port: Option<u16>,
    pub bus: ServiceBus,
    /// Whether clients are served over TLS; absent if unknown.
    pub serves_tls: Option<bool>,
    /// The files of certificate authorities for upstreams.
    pub authorities: Vec<Text>,
    /// The header that carries the session.
    pub session_header: Text,
    /// Headers whose values are masked on the bus.
    pub masked: Names,
    /// Headers that are not sent on.
    pub removed: Names,
    /// Whether calls that end with 401 are logged; absent if unknown.
    pub log_unauthorized: Option<bool>,
    /// The request processors.
    pub request: Rows,
    /// The response processors.
    pub response: Rows,
    /// The fields of requests that the log shows.
    pub log_request: Filter,
    /// The fields of responses that the log shows.
    pub log_response: Filter,
}

impl GlConfig {
    /// The unset variables on which a fault at this place (file, line, column) can depend: those of its line, or else all.
    pub fn unset_at(&self, place: &str) -> Vec<&str> {
        let line = place.strip_prefix(&self.name).and_then(|rest| rest.split(':').nth(1)?.parse::<usize>().ok());
        let on_line = self.unset_lines.iter().filter(|(number, _)| Some(*number) == line);
        let mut names: Vec<_> = on_line.map(|(_, name)| &**name).collect();
        if names.is_empty() {
            names = self.unset.iter().map(|(name, _)| &**name).collect();
        }
        names.dedup();
        names
    }
}

/// The gateway's connection to the bus.
#[derive(Debug, Clone, Default)]
pub struct ServiceBus {
    /// `host:port`
    pub host: Text,
    pub token: BusToken,
    /// The subjects of its status, of its sign of life, and of the log.
    pub status: Text,
    pub isalive: Text,
    pub logger: Text,
}

/// The token of the bus, which is never displayed.
#[derive(Clone, Default)]
pub struct BusToken(Text);

impl BusToken {
    /// The token after expansion; `None` if it depends on a variable that is unset here.
    pub fn value(&self) -> Option<&str> {
        self.0.value()
    }
}

impl fmt::Debug for BusToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A header's canonical name: `x-user` becomes `X-User`.
pub fn canonical(name: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters.map(|letter| letter.to_ascii_lowercase())).collect::<String>()
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

/// Parses the text of a file with this name; `env` returns the values of variables.
pub fn read(name: &str, text: &str, env: impl Fn(&str) -> Option<String>) -> GlConfig {
    let expanded = Expanded::new(text, env);
    let unset = expanded.unset().into_iter().map(|(variable, offset)| {
        let (line, column) = expanded.position_written(offset);
        (variable, format!("{name}:{line}:{column}"))
    });
    let lines = expanded.unset_places();
    let lines = lines.map(|(variable, offset)| (expanded.position_written(offset).0, variable.to_owned()));
    let (unset, unset_lines) = (unset.collect(), lines.collect());
    let config = GlConfig { name: name.to_owned(), unset, unset_lines, ..GlConfig::default() };
    if is_refused_version(text) {
        let problem =
            format!("the gateway does not load a file of version {REFUSED_VERSION} at all; write another version");
        return refused(config, name.to_owned(), problem, true);
    }
    // The strict parser first: errors of the other one could show an expanded value.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(&expanded.text) {
        let before =
            expanded.text.split('\n').take(error.line().saturating_sub(1)).map(|line| line.len() + 1).sum::<usize>();
        let (line, column) = expanded.position(before + error.column().saturating_sub(1));
        let sure = config.unset.is_empty();
        let problem =
            "is not JSON from here on, with its variables expanded; a value with a quote or a line break does that too";
        return refused(config, format!("{name}:{line}:{column}"), problem.to_owned(), sure);
    }
    let parsed = parse_to_ast(&expanded.text, &CollectOptions::default(), &STRICT);
    let Some(value) = parsed.ok().and_then(|parsed| parsed.value) else {
        return refused(config, name.to_owned(), "cannot be read".to_owned(), true);
    };
    let document = Document { name, expanded: &expanded, faults: RefCell::default() };
    let config = file(config, &Node::root(&document, &value));
    let mut faults = document.faults.take();
    // A value that is read twice has its fault twice.
    let mut reported = Vec::new();
    faults.retain(|fault| {
        let new = !reported.contains(fault);
        reported.push(fault.clone());
        new
    });
    GlConfig { faults, ..config }
}

fn refused(config: GlConfig, place: String, problem: String, sure: bool) -> GlConfig {
    GlConfig { faults: vec![Fault { place, problem, sure }], ..config }
}

/// Read before expansion, as the gateway does; a text that is not JSON then has no version yet.
fn is_refused_version(text: &str) -> bool {
    let tree = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).unwrap_or_default();
    tree.iter().any(|(name, value)| name.eq_ignore_ascii_case("version") && value == REFUSED_VERSION)
}

fn file(config: GlConfig, file: &Node<'_>) -> GlConfig {
    let demand = |name: &str, rule: fn(&str) -> bool, problem: &str| {
        let place = file.field(name);
        place.require(rule(place.text().raw()), problem);
    };
    demand("gateway_id", rules::is_gateway_id, "must be 8 characters of A-Z and 0-9");
    demand("version", rules::is_version, "must begin with three numbers, such as 1.0.1");
    let levels = |level: &str| matches!(level, "DEBUG" | "INFO" | "WARN" | "ERROR");
    demand("log_level", levels, "must be DEBUG, INFO, WARN or ERROR");
    demand("session_id_header", |name| !name.is_empty() && rules::is_header(name), "must be a header's name");
    let (list, logger, tls) = (file.field("routers"), file.field("logger"), file.field("tls"));
    GlConfig {
        readable: true,
        routers: routers::read(&list),
        routers_unsure: list.is_unset() || list.list().iter().any(Node::is_unset),
        gateway_id: file.field("gateway_id").text(),
        port: port(&file.field("gl_port")),
        bus: bus(&file.field("service_bus")),
        serves_tls: ingress_tls(&tls.field("ingress")),
        authorities: authorities(&tls.field("outbound")),
        session_header: file.field("session_id_header").text(),
        masked: headers(&file.field("masked_headers")),
        removed: headers(&file.field("remove_headers")),
        log_unauthorized: file.field("log_unauthorized").flag(),
        request: processors::read(&file.field("request")),
        response: processors::read(&file.field("response")),
        log_request: processors::filter(&logger.field("request"), "fields"),
        log_response: processors::filter(&logger.field("response"), "fields"),
        ..config
    }
}

fn port(port: &Node<'_>) -> Option<u16> {
    let read = port.integer()?;
    let valid = u16::try_from(read).ok().filter(|port| *port > 0);
    port.require(valid.is_some(), "must be a port from 1 to 65535");
    valid
}

fn bus(bus: &Node<'_>) -> ServiceBus {
    let (host, token) = (bus.field("hostname"), bus.field("token"));
    host.require(rules::is_host_and_port(host.text().raw()), "must be host:port of one server, without a scheme");
    token.require(rules::is_ascii_text(token.text().raw()), "must be plain ASCII and not empty");
    let subjects = ["topic", "topic_exact_isalive", "topic_exact_logger"].map(|name| bus.field(name));
    for subject in &subjects {
        subject.require(rules::is_subject(subject.text().raw()), "must be letters, digits, dots and underscores");
    }
    let [status, isalive, logger] = subjects.map(|subject| subject.text());
    processors::unique(bus, [&status, &isalive, &logger].into_iter(), "has two topics that are the same");
    ServiceBus { host: host.text(), token: BusToken(token.text()), status, isalive, logger }
}

fn headers(list: &Node<'_>) -> Names {
    for name in list.list() {
        name.require(rules::is_header(name.text().raw()), "must be a header's name");
    }
    let names = list.texts();
    processors::unique(list, names.iter(), "has the same header twice");
    Names::new(names, list.is_unset())
}

/// Checks only the types: whether the certificate exists can be seen only where the gateway runs.
fn ingress_tls(ingress: &Node<'_>) -> Option<bool> {
    let (_, _) = (ingress.field("certificate_file").text(), ingress.field("private_key_file").text());
    ingress.field("enabled").flag()
}

/// The same of the authorities' files.
fn authorities(outbound: &Node<'_>) -> Vec<Text> {
    let (_, _) = (outbound.field("insecure").flag(), outbound.field("system_cert_pool").flag());
    let list = outbound.field("cert_files");
    let files = list.texts();
    processors::unique(&list, files.iter(), "has the same file twice");
    files
}

#[cfg(test)]
mod tests;
