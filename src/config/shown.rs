//! The settings in force for display: each with its value, masked where it is secret, and its source.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::Config;
use super::health_in_force::{self, Reach};
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
    /// `environment`, the flag, or `default`, with more words where it is in force for some routers only; for a setting without
    /// effect, what replaces it.
    pub from: String,
}

/// All settings, in the order of `--help`; the proxies come last.
pub fn settings(sources: &Sources, config: &Config) -> Vec<Setting> {
    let defaults = defaults();
    let setting = |name: &'static str| {
        let (value, from) = in_force(name, sources, config, &defaults);
        Setting { name, value: value.map(|value| masked(name, value.trim())), from }
    };
    names().map(setting).collect()
}

/// The value of a setting that is in force, and where it is from.
fn in_force(
    name: &str,
    sources: &Sources,
    config: &Config,
    defaults: &BTreeMap<String, String>,
) -> (Option<String>, String) {
    let is_set = |name: &str| sources.flags.contains_key(name) || sources.environment.contains_key(name);
    let written = written(name, sources);
    if let Some(other) = replaced_by(name).filter(|other| is_set(other)) {
        // The relay looks for the gateway on this host all the same.
        return match written.filter(|_| name == "GECHOLOG_HOST" && !is_set("BROKER_GATEWAY")) {
            Some((value, from)) => (Some(value), format!("{from}, for the default of BROKER_GATEWAY; {other} is set")),
            None => (None, format!("not used: {other} is set")),
        };
    }
    let reach = health_in_force::reach(name, config);
    if reach.is_some_and(Reach::is_empty) {
        return (None, "not used: the file of BROKER_CONFIG replaces it".to_owned());
    }
    let (value, mut from) = match (written, name, reach) {
        (Some((value, from)), ..) => (Some(value), from),
        (None, "BROKER_GATEWAY", _) => (Some(config.relay.gateway.to_string()), "default".to_owned()),
        (None, "DISABLED_TIME", Some(reach)) => {
            let (value, from) = health_in_force::disabled_time(config, reach);
            (Some(value), from)
        }
        (None, ..) => (defaults.get(name).cloned(), "default".to_owned()),
    };
    if reach.is_some_and(|reach| reach.in_part) {
        from.push_str("; the file of BROKER_CONFIG replaces it for some routers");
    }
    (value, from)
}

/// The value that is set, and where.
fn written(name: &str, sources: &Sources) -> Option<(String, String)> {
    if let Some(value) = sources.flags.get(name) {
        return Some((value.clone(), flag(name)));
    }
    let value = match PROXIES.contains(&name) {
        // Read from the environment alone, in either case, as other programs do.
        true => {
            let names = [name.to_owned(), name.to_ascii_lowercase()];
            names.iter().find_map(|name| sources.variables.get(name).map(str::to_owned))
        }
        false => sources.environment.get(name).cloned(),
    };
    value.map(|value| (value, "environment".to_owned()))
}

/// The setting that replaces this one.
fn replaced_by(name: &str) -> Option<&'static str> {
    match name {
        "GECHOLOG_HOST" => Some("NATS_URL"),
        "BROKER_INGRESS" | "BROKER_ROUTERS" => Some("BROKER_CONFIG"),
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => Some("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
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
                           pools: _,
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
                "{broker:?} {prices:?} {mode} {:?} {} {http:?} {relay:?} {access:?} {telemetry:?} {tls:?} {bus} {calls:?} {traces:?}",
                nats.show(),
                nats.processor
            );
            text.replace("filter: \"info\"", "filter: \"\"")
        };
        let preset = PoolsFile::new("preset", r#""health": {"preset": "resilient"}, "#, r#"{"router": "/a/one/"}"#);
        let router = PoolsFile::new("router", "", r#"{"router": "/a/one/"}"#);
        // Three are sentences; an address that is given must be free, while the default one may be taken.
        let left_out = ["BROKER_FAILURE_STATUS", "BROKER_HEALTH", "BROKER_HTTP"];
        let files = [&preset, &router].map(|file| ("BROKER_CONFIG", file.0.as_str()));
        for base in
            [&[][..], &[("BROKER_HEALTH", "resilient")], &[("BROKER_HEALTH", "documented")], &files[..1], &files[1..]]
        {
            let unset = essence(resolve(sources(base)).config.unwrap());
            let mut count = 0;
            for setting in shown(base).into_iter().filter(|setting| setting.from.starts_with("default")) {
                let Some(value) = setting.value.filter(|_| !left_out.contains(&setting.name)) else { continue };
                let all = [base, &[(setting.name, &*value)]].concat();
                let config = resolve(sources(&all)).config;
                let config = config.unwrap_or_else(|faults| panic!("{all:?}: {faults:?}"));
                assert_eq!(essence(config), unset, "{all:?}");
                count += 1;
            }
            assert!(count > 15, "{count}");
        }
        let http = one(&shown(&[]), "BROKER_HTTP").0;
        assert_eq!(http, Some(crate::http::DEFAULT_ADDRESS.to_string()));
    }

    /// A pools file with one pool, removed at the end.
    struct PoolsFile(String);

    impl PoolsFile {
        fn new(name: &str, before: &str, targets: &str) -> Self {
            let path = std::env::temp_dir().join(format!("broker-shown-{name}-{}.json", std::process::id()));
            std::fs::write(&path, format!(r#"{{{before}"pools": [{{"ingress": "/a/", "targets": [{targets}]}}]}}"#))
                .unwrap();
            Self(path.display().to_string())
        }
    }

    impl Drop for PoolsFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn one(shown: &[Setting], name: &str) -> (Option<String>, String) {
        let setting = shown.iter().find(|setting| setting.name == name).unwrap();
        (setting.value.clone(), setting.from.clone())
    }

    #[test]
    fn a_health_setting_that_is_shown_is_the_one_in_force() {
        const RESILIENT: &str = r#""health": {"preset": "resilient"}"#;
        const NOT_USED: &str = "not used: the file of BROKER_CONFIG replaces it";
        const PART: &str = "; the file of BROKER_CONFIG replaces it for some routers";
        let (plain, direct) = (r#"{"router": "/a/one/"}"#, r#"{"url": "http://localhost:1", "name": "two"}"#);
        let own = format!(r#"{{"router": "/a/own/", {RESILIENT}}}"#);
        let (top, both, some) = (format!("{RESILIENT}, "), format!("{plain}, {direct}"), format!("{plain}, {own}"));
        let failures = r#""health": {"failure_status": "any", "retry_after": {"honor": false}}, "#;
        let set = [("DISABLED_TIME", "3")];
        let resilient = [("BROKER_HEALTH", "resilient")];
        let five = "0.08333333333";
        for (number, (file, variables, name, value, from)) in [
            (None, &resilient[..], "DISABLED_TIME", Some(five), "default of resilient: 5s".to_owned()),
            (None, &set, "DISABLED_TIME", Some("3"), "environment".to_owned()),
            (Some((&*top, plain)), &set, "DISABLED_TIME", None, NOT_USED.to_owned()),
            (Some((&*top, plain)), &[], "DISABLED_TIME", None, NOT_USED.to_owned()),
            (Some((&*top, plain)), &[("BROKER_HEALTH", "documented")], "BROKER_HEALTH", None, NOT_USED.to_owned()),
            (
                Some((&*top, plain)),
                &[("BROKER_RETRY_AFTER", "ignore")],
                "BROKER_RETRY_AFTER",
                None,
                NOT_USED.to_owned(),
            ),
            (
                Some((&*top, plain)),
                &[("BROKER_FAILURE_STATUS", "any")],
                "BROKER_FAILURE_STATUS",
                Some("any"),
                "environment".to_owned(),
            ),
            (Some((failures, plain)), &[], "BROKER_FAILURE_STATUS", None, NOT_USED.to_owned()),
            (Some((failures, plain)), &[], "BROKER_RETRY_AFTER", None, NOT_USED.to_owned()),
            (Some((failures, plain)), &set, "DISABLED_TIME", Some("3"), "environment".to_owned()),
            (Some(("", &*own)), &set, "DISABLED_TIME", None, NOT_USED.to_owned()),
            (Some(("", &*some)), &set, "DISABLED_TIME", Some("3"), format!("environment{PART}")),
            (Some(("", &*some)), &[], "DISABLED_TIME", Some("10"), format!("default{PART}")),
            (Some(("", direct)), &[], "DISABLED_TIME", Some(five), "default of resilient: 5s".to_owned()),
            (Some(("", &*both)), &[], "DISABLED_TIME", Some("10"), "default; 5s for targets with a url".to_owned()),
            (Some(("", &*both)), &resilient, "DISABLED_TIME", Some(five), "default of resilient: 5s".to_owned()),
        ]
        .into_iter()
        .enumerate()
        {
            let file = file.map(|(before, targets)| PoolsFile::new(&format!("health-{number}"), before, targets));
            let file = file.as_ref().map(|file| ("BROKER_CONFIG", file.0.as_str()));
            let all: Vec<_> = variables.iter().copied().chain(file).collect();
            assert_eq!(one(&shown(&all), name), (value.map(str::to_owned), from), "{number}: {name}, {all:?}");
        }
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
        let url = ("NATS_URL", "nats://u:p@one:4222");
        let not_used = (None, "not used: NATS_URL is set".to_owned());
        assert_eq!(one(&shown(&[url]), "GECHOLOG_HOST"), not_used);
        let host = ("GECHOLOG_HOST", "two");
        let for_gateway = "environment, for the default of BROKER_GATEWAY; NATS_URL is set".to_owned();
        assert_eq!(one(&shown(&[url, host]), "GECHOLOG_HOST"), (Some("two".to_owned()), for_gateway));
        assert_eq!(one(&shown(&[url, host, ("BROKER_GATEWAY", "http://three:1")]), "GECHOLOG_HOST"), not_used);
        let [all, own] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        let shown = shown(&[(all, "http://one:4318"), (own, "http://two:4318/v1/traces")]);
        assert_eq!(one(&shown, all), (None, format!("not used: {own} is set")));
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
