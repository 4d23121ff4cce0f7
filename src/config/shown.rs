//! The settings in force for display: each with its value, masked where it is secret, and its source.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::Config;
use super::names::{PROXIES, flag, names};
use super::raw::{RawSettings, Sources};

/// Replaces secrets.
const MASK: &str = "***";
/// The settings that are lists of URLs or hosts. In any other one a comma is part of the value, perhaps of a password.
const LISTS: [&str; 3] = ["NATS_URL", "BROKER_CORS", "NO_PROXY"];

/// The path of a file.
const KEY_FILE: &str = "BROKER_TLS_KEY";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The name of its variable.
    pub name: &'static str,
    /// The value in force; absent if it is not set and has no default.
    pub value: Option<String>,
    /// `environment`, the flag, or `default`; for a setting without effect, the setting that replaces it.
    pub from: String,
}

/// All settings, in the order of `--help`; the proxies come last.
pub fn settings(sources: &Sources, config: &Config) -> Vec<Setting> {
    let (flags, variables, defaults) = (&sources.flags, &sources.environment, defaults());
    let is_set = |name: &str| flags.contains_key(name) || variables.contains_key(name);
    let setting = |name: &'static str| {
        let (value, from) = match (flags.get(name), variables.get(name)) {
            (Some(value), _) => (Some(value.clone()), flag(name)),
            (None, Some(value)) => (Some(value.clone()), "environment".to_owned()),
            // Read from the environment alone, in either case, as other programs do.
            (None, None) if PROXIES.contains(&name) => {
                let value = [name.to_owned(), name.to_ascii_lowercase()]
                    .iter()
                    .find_map(|name| sources.variables.get(name).map(str::to_owned));
                let from = if value.is_some() { "environment" } else { "default" };
                (value, from.to_owned())
            }
            (None, None) => match replaced_by(name).filter(|other| is_set(other)) {
                Some(other) => (None, format!("not used: {other} is set")),
                None if name == "BROKER_GATEWAY" => (Some(config.relay.gateway.to_string()), "default".to_owned()),
                None => (defaults.get(name).cloned(), "default".to_owned()),
            },
        };
        Setting { name, value: value.map(|value| masked(name, value.trim())), from }
    };
    names().map(setting).collect()
}

/// The setting that replaces this one.
fn replaced_by(name: &str) -> Option<&'static str> {
    match name {
        "GECHOLOG_HOST" => Some("NATS_URL"),
        "BROKER_INGRESS" | "BROKER_ROUTERS" => Some("BROKER_CONFIG"),
        _ => None,
    }
}

/// The defaults as the help states them, without `none`.
fn defaults() -> BTreeMap<String, String> {
    let command = RawSettings::augment_args(clap::Command::new("settings"));
    let defaults = command.get_arguments().filter_map(|arg| {
        let help = arg.get_help()?.to_string();
        let (_, default) = help.split_once("[default: ")?;
        let default = default.strip_suffix(']').filter(|default| *default != "none")?;
        Some((arg.get_id().as_str().to_ascii_uppercase(), default.to_owned()))
    });
    defaults.collect()
}

/// A value without its secret parts: a whole token or password, the values of a list of name=value, and user, password and
/// query of each URL.
fn masked(name: &str, value: &str) -> String {
    if ["HEADERS", "ATTRIBUTES"].iter().any(|end| name.ends_with(end)) {
        return value.split(',').map(masked_pair).collect::<Vec<_>>().join(",");
    }
    let is_secret = ["TOKEN", "KEY", "PASSWORD", "SECRET"].iter().any(|end| name.ends_with(end));
    if is_secret && name != KEY_FILE {
        return MASK.to_owned();
    }
    if !value.contains("://") && !value.contains('@') {
        return value.to_owned();
    }
    match LISTS.contains(&name) {
        true => value.split(',').map(masked_url).collect::<Vec<_>>().join(","),
        false => masked_url(value),
    }
}

/// A list of `name=value`, where any value may be a secret; an element without a name is masked completely.
fn masked_pair(pair: &str) -> String {
    let name = pair.split_once('=').map(|(name, _)| name.trim()).filter(|name| !name.is_empty());
    name.map_or(MASK.to_owned(), |name| format!("{name}={MASK}"))
}

/// Everything before the last `@` is masked, not only what a parser takes for the password: one that is not encoded may hold
/// any letter.
fn masked_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    format!("{scheme}{separator}{user}{rest}{query}")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::resolve;
    use super::*;

    fn sources(variables: &[(&str, &str)]) -> Sources {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Sources::new(variables, RawSettings::default())
    }

    fn shown(variables: &[(&str, &str)]) -> Vec<Setting> {
        let sources = sources(variables);
        let config = resolve(sources.clone()).config.unwrap();
        settings(&sources, &config)
    }

    #[test]
    fn a_default_that_is_shown_is_the_one_in_force() {
        // A server is shown with its port, whether that was written or not.
        let essence = |Config {
                           broker,
                           pools,
                           prices,
                           mode,
                           nats,
                           http,
                           relay,
                           access,
                           telemetry,
                           tls,
                           bus,
                           calls,
                           traces,
                       }: Config| {
            let text = format!(
                "{broker:?} {pools:?} {prices:?} {mode} {:?} {} {http:?} {relay:?} {access:?} {telemetry:?} {tls:?} {bus} {calls:?} {traces:?}",
                nats.show(),
                nats.processor
            );
            text.replace("filter: \"info\"", "filter: \"\"")
        };
        let unset = essence(resolve(sources(&[])).config.unwrap());
        let shown = shown(&[]);
        let given = shown.iter().filter_map(|setting| Some((setting.name, setting.value.as_deref()?)));
        let mut count = 0;
        // Two are sentences; an address that is given must be free, while the default one may be taken.
        let left_out = ["BROKER_FAILURE_STATUS", "BROKER_HEALTH", "BROKER_HTTP"];
        for (name, value) in given.filter(|(name, _)| !left_out.contains(name)) {
            let config = resolve(sources(&[(name, value)])).config;
            let config = config.unwrap_or_else(|faults| panic!("{name}={value}: {faults:?}"));
            assert_eq!(essence(config), unset, "{name}={value}");
            count += 1;
        }
        assert!(count > 15, "{count}");
        let http = shown.iter().find(|setting| setting.name == "BROKER_HTTP").unwrap();
        assert_eq!(http.value.as_deref(), Some(crate::http::DEFAULT_ADDRESS.to_string().as_str()));
    }

    #[test]
    fn every_setting_that_can_be_written_is_shown() {
        let names = serde_json::to_value(RawSettings::default()).unwrap();
        let names: Vec<_> = names.as_object().unwrap().keys().map(|name| name.to_ascii_uppercase()).collect();
        let shown: Vec<_> = shown(&[]).iter().map(|setting| setting.name.to_owned()).collect();
        assert_eq!(shown.len(), names.len() + PROXIES.len());
        assert!(names.iter().all(|name| shown.contains(name)), "{names:?}\n{shown:?}");
    }

    #[test]
    fn what_replaces_a_setting_is_named() {
        let shown = shown(&[("NATS_URL", "nats://u:p@one:4222")]);
        let host = shown.iter().find(|setting| setting.name == "GECHOLOG_HOST").unwrap();
        assert_eq!((host.value.as_deref(), host.from.as_str()), (None, "not used: NATS_URL is set"));
    }

    #[test]
    fn a_comma_in_the_password_of_a_proxy_ends_no_mask() {
        let json = serde_json::to_string(&shown(&[("https_proxy", "http://user:pa,ss@proxy:3128")])).unwrap();
        assert!(json.contains("http://***@proxy:3128") && !json.contains("pa,") && !json.contains("ss@"), "{json}");
    }

    #[test]
    fn secrets_are_masked() {
        for (name, value, shows) in [
            ("NATS_TOKEN", "abc", "***"),
            ("BROKER_ADMIN_TOKEN", "abc", "***"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=abc", "Authorization=***"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a=b, x-y = z", "api-key=***,x-y=***"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer abc,=x,", "***,***,***"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,token=https://u:p@h/?k", "service.name=***,token=***"),
            ("NATS_TOKEN_FILE", "/run/token", "/run/token"),
            ("BROKER_TLS_KEY", "/run/tls.key", "/run/tls.key"),
            ("ANY_KEY", "abc", "***"),
            ("NATS_URL", "nats://one:4222", "nats://one:4222"),
            ("NATS_URL", "nats://tok@one:4222, tls://u:p@two", "nats://***@one:4222, tls://***@two"),
            ("NATS_URL", "nats://u:p/@?x@one:4222", "nats://***@one:4222"),
            ("BROKER_GATEWAY", "https://host/a?key=abc", "https://host/a?***"),
            ("ANY", "user:password@proxy:3128", "***@proxy:3128"),
            ("HTTPS_PROXY", "http://user:pa,ss@proxy:3128", "http://***@proxy:3128"),
            ("HTTP_PROXY", "user:p,a,@,ss@proxy:3128", "***@proxy:3128"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:p,q@host/a?k=b,c", "https://***@host/a?***"),
            ("NO_PROXY", "a.example,u:p@b.example", "a.example,***@b.example"),
            ("BROKER_CORS", "https://a.example,https://b.example", "https://a.example,https://b.example"),
            ("BROKER_ROUTERS", "/a/,/b/", "/a/,/b/"),
        ] {
            assert_eq!(masked(name, value), shows, "{name}={value}");
        }
    }
}
