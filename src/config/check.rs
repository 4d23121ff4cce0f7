//! Validates the settings. All faults are collected; the first one does not end the validation.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::file::{HealthDefaults, PoolsFile};
use super::names::{self, Unknown};
use super::raw::Sources;
use super::{Config, Fault, OperatorAccess, Resolved, secret};
use crate::system::files;
use crate::telemetry::Format;
use crate::{http, relay, telemetry};
use balancer::broker::{self, RouterSettings};
use balancer::health::Preset;
use types::mode::OperatingMode;
use types::outcome::FailureRule;
use types::router::RouterPath;

const DEFAULT_INGRESS: &str = "/azure/";
const DEFAULT_ROUTERS: &str = "/azure/gpt35turbo/,/azure/gpt4/,/azure/dud/";

/// The largest file of a token, credentials or certificates, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 4 << 20;

/// A setting as it was written, and where.
pub(super) struct Sourced {
    pub(super) place: String,
    pub(super) value: String,
}

/// Builds the settings, or lists all faults.
pub fn resolve(sources: Sources) -> Resolved {
    let mut check = Resolver { faults: sources.faults.clone(), sources };
    let mut warnings = check.sources.notices.clone();
    for name in check.sources.names.clone() {
        match names::check_name(&name) {
            Some(Unknown::Fault(fault)) => check.faults.push(fault),
            Some(Unknown::Warning(fault)) => warnings.push(fault),
            None => {}
        }
    }
    let (broker, pools, rules) = check.broker();
    warnings.extend(pools.iter().flat_map(PoolsFile::notices));
    let prices = check.prices();
    let modes = OperatingMode::ALL.map(|mode| (mode.name(), mode));
    let mode = check.one_of("BROKER_MODE", &modes);
    let bus = check.bus();
    let nats = check.nats();
    let http = check.http();
    let access = http::Access { hosts: check.hosts(), token: check.admin_token() };
    let mut relay = check.relay(rules);
    warnings.extend(super::relay_settings::idle(&relay, &broker));
    if !bus && relay.listen.is_none() {
        let problem =
            "is off, and without a bus only the relay serves calls: set BROKER_RELAY too, such as 0.0.0.0:5390";
        check.secret_fault("BROKER_BUS", problem);
    }
    let tls = check.tls();
    let calls = check.calls();
    let traces = check.traces();
    // Nothing else is called through it, and its variables are those of all programs.
    if relay.listen.is_some() || traces.is_some() {
        relay.proxy = check.proxy(&relay.gateway);
        warnings.extend(super::relay_settings::idle_no_proxy(&relay.proxy));
    }
    let telemetry = check.telemetry();
    let config = if check.faults.is_empty() {
        Ok(Config {
            broker,
            pools,
            prices,
            mode: mode.unwrap_or_default(),
            bus,
            nats,
            http,
            calls,
            traces,
            access,
            relay,
            tls,
            telemetry,
        })
    } else {
        Err(check.faults)
    };
    Resolved { config, warnings }
}

/// The HTTP address of the broker of this machine, and whether it uses TLS. Only these settings are validated, so that another
/// fault, such as a pools file that is just being written, does not make a running broker look unhealthy.
///
/// # Errors
/// What is wrong with the address.
pub fn http_of(sources: Sources) -> Result<(http::HttpSettings, bool), Vec<Fault>> {
    let mut check = Resolver { sources, faults: Vec::new() };
    check.telemetry();
    let (http, tls) = (check.http(), check.has_tls());
    if check.faults.is_empty() { Ok((http, tls)) } else { Err(check.faults) }
}

/// The settings for reaching running brokers, and those of the log, which are validated by every command. Other faults must not
/// keep an operator from draining a router.
///
/// # Errors
/// What is wrong with it.
pub fn operator_of(sources: Sources) -> Result<OperatorAccess, Vec<Fault>> {
    let mut check = Resolver { sources, faults: Vec::new() };
    if !check.bus() {
        let problem = "is off, and this command reaches brokers over the bus: use the page or the API at BROKER_HTTP";
        check.secret_fault("BROKER_BUS", problem);
    }
    check.telemetry();
    let (nats, token) = (check.nats(), check.admin_token());
    let trace_header = check.trace_header();
    if check.faults.is_empty() { Ok(OperatorAccess { nats, token, trace_header }) } else { Err(check.faults) }
}

pub(super) struct Resolver {
    pub(super) sources: Sources,
    pub(super) faults: Vec<Fault>,
}

impl Resolver {
    /// The text of a setting; a flag wins over a variable.
    pub(super) fn get(&self, name: &str) -> Option<Sourced> {
        debug_assert!(names::is_known(name), "{name} is no field of RawSettings");
        let written = |texts: &BTreeMap<String, String>, place: String| {
            texts.get(name).map(|value| Sourced { place, value: value.clone() })
        };
        written(&self.sources.flags, names::flag(name)).or_else(|| written(&self.sources.environment, name.to_owned()))
    }

    /// The variable that is set under one of these names; the first one wins.
    pub(super) fn variable(&self, names: [&str; 2]) -> Option<Sourced> {
        let set = |name: &str| self.sources.variables.get(name).map(|value| (name.to_owned(), value.trim().to_owned()));
        names.into_iter().find_map(set).map(|(place, value)| Sourced { place, value })
    }

    pub(super) fn fault(&mut self, written: &Sourced, problem: impl Into<String>) {
        let value = secret::shown(written.value.clone());
        let fault = Fault { place: written.place.clone(), value, problem: problem.into() };
        self.faults.push(fault);
    }

    /// A fault that does not show the value.
    pub(super) fn secret_fault(&mut self, place: &str, problem: impl Into<String>) {
        self.faults.push(Fault::new(place, problem));
    }

    pub(super) fn one_of<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let written = self.get(name)?;
        let chosen = choices.iter().find(|(word, _)| *word == written.value.trim());
        if chosen.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let value = secret::shown_choice(written.value.trim()).map(str::to_owned);
            let problem = format!("must be {}", words.join(" or "));
            self.faults.push(Fault { place: written.place.clone(), value, problem });
        }
        chosen.map(|(_, choice)| *choice)
    }

    pub(super) fn broker(&mut self) -> (broker::BrokerSettings, Option<PoolsFile>, relay::RelayRules) {
        let defaults = self.defaults();
        let Some(written) = self.get("BROKER_CONFIG") else {
            let defaults = defaults.routers;
            return match self.pool() {
                Some((ingress, routers)) => {
                    (broker::BrokerSettings::flat(ingress, routers, defaults), None, relay::RelayRules::default())
                }
                None => (
                    broker::BrokerSettings { defaults, ..broker::BrokerSettings::default() },
                    None,
                    relay::RelayRules::default(),
                ),
            };
        };
        let ingress = self.get("BROKER_INGRESS");
        let routers = self.get("BROKER_ROUTERS");
        for other in ingress.into_iter().chain(routers) {
            self.fault(&other, format!("{} is set too, and its file names the pools: give one of them", written.place));
        }
        let file = PoolsFile::open(written.value.into(), defaults).with_env(self.sources.variables.clone());
        let (settings, rules) = file.load().unwrap_or_else(|faults| {
            self.faults.extend(faults);
            Default::default()
        });
        (settings, Some(file), rules)
    }

    /// The defaults for routers without their own settings.
    fn defaults(&mut self) -> HealthDefaults {
        let failures = self.get("BROKER_FAILURE_STATUS");
        let failures = failures.map(|written| match FailureRule::parse(&written.value) {
            Ok(rule) => rule,
            Err(faults) => {
                faults.iter().for_each(|fault| self.fault(&written, fault.to_string()));
                FailureRule::default()
            }
        });
        let honor = self.one_of("BROKER_RETRY_AFTER", &[("honor", true), ("ignore", false)]);
        let presets = Preset::ALL.map(|preset| (preset.name(), preset));
        let preset = self.one_of("BROKER_HEALTH", &presets);
        let routers = RouterSettings {
            failures: failures.unwrap_or_default(),
            health: preset.unwrap_or_default().settings(),
            rate_limit: None,
        };
        let mut defaults = HealthDefaults::new(routers);
        if preset == Some(Preset::Documented) {
            defaults.direct = defaults.routers.clone();
        }
        let disabled_time = self.disabled_time();
        for settings in [&mut defaults.routers, &mut defaults.direct] {
            settings.health.disabled_time = disabled_time.unwrap_or(settings.health.disabled_time);
            settings.health.retry_after.honor = honor.unwrap_or(settings.health.retry_after.honor);
        }
        defaults
    }

    fn pool(&mut self) -> Option<(RouterPath, Vec<RouterPath>)> {
        let default = |place: &str, value: &str| Sourced { place: place.to_owned(), value: value.to_owned() };
        let ingress = self.get("BROKER_INGRESS");
        let ingress = ingress.unwrap_or_else(|| default("BROKER_INGRESS", DEFAULT_INGRESS));
        let routers = self.get("BROKER_ROUTERS");
        let routers = routers.unwrap_or_else(|| default("BROKER_ROUTERS", DEFAULT_ROUTERS));
        let path = RouterPath::parse(ingress.value.trim());
        if let Err(fault) = &path {
            self.fault(&ingress, fault.to_string());
        }
        let mut members: Vec<RouterPath> = Vec::new();
        for part in routers.value.split(',').map(str::trim) {
            match RouterPath::parse(part) {
                Err(fault) => self.fault(&routers, format!("the router {part:?} {fault}")),
                Ok(router) if members.contains(&router) => self.fault(&routers, format!("names {router} twice")),
                Ok(router) if path.as_ref() == Ok(&router) => {
                    self.fault(&routers, format!("names the ingress {router} itself: name the routers behind it"));
                }
                Ok(router) => members.push(router),
            }
        }
        path.ok().map(|ingress| (ingress, members))
    }

    fn disabled_time(&mut self) -> Option<Duration> {
        let written = self.get("DISABLED_TIME")?;
        let minutes = written.value.trim().parse::<f64>().ok().filter(|minutes| *minutes >= 0.0);
        let time = minutes.and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
        if time.is_none() {
            self.fault(&written, "must be minutes: a number such as 10 or 0.5, not negative; 0 never disables");
        }
        time
    }

    pub(super) fn file(&mut self, name: &str) -> Option<PathBuf> {
        let written = self.get(name)?;
        if let Err(error) = files::read(written.value.as_ref(), MAX_FILE_BYTES) {
            self.fault(&written, error.to_string());
        }
        Some(written.value.into())
    }

    pub(super) fn http(&mut self) -> http::HttpSettings {
        let Some(written) = self.get("BROKER_HTTP") else { return http::HttpSettings::Default };
        match written.value.trim() {
            "off" => http::HttpSettings::Off,
            address => match address.parse::<SocketAddr>() {
                Ok(address) => http::HttpSettings::At(address),
                Err(_) => {
                    self.fault(
                        &written,
                        "must be an address with a port, such as 127.0.0.1:5381 or 0.0.0.0:5381, or off",
                    );
                    http::HttpSettings::Off
                }
            },
        }
    }

    fn hosts(&mut self) -> Vec<String> {
        let Some(written) = self.get("BROKER_HTTP_HOSTS") else { return Vec::new() };
        let hosts: Vec<_> = written.value.split(',').map(|host| host.trim().to_owned()).collect();
        let is_name = |host: &String| {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        if !hosts.iter().all(is_name) {
            let problem = "must be host names without a port, separated by commas, such as broker.example.com";
            self.fault(&written, problem);
        }
        hosts
    }

    pub(super) fn telemetry(&mut self) -> telemetry::LogSettings {
        let formats = [("text", Format::Text), ("json", Format::Json)];
        let format = self.one_of("BROKER_LOG_FORMAT", &formats);
        let filter = self.get("BROKER_LOG");
        if let Some(written) = &filter
            && let Err(error) = telemetry::check_filter(&written.value)
        {
            self.fault(written, format!("{error}; such as info, debug or warn,gecholog_broker=trace"));
        }
        telemetry::LogSettings {
            filter: filter.map(|written| written.value).unwrap_or_default(),
            format: format.unwrap_or_default(),
        }
    }
}
