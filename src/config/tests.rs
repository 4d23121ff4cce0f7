//! What was written and what becomes of it.

use std::ffi::OsString;
use std::time::Duration;

use clap::Parser;

use super::*;
use crate::cli::Cli;
use crate::telemetry::Format;
use balancer::health::{self, Preset};
use balancer::strategy::{Target, TargetKind};
use types::outcome::FailureRule;

fn resolve_with(variables: &[(&str, &str)], flags: &[&str]) -> Resolved {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let cli = Cli::try_parse_from(["broker"].iter().chain(flags)).unwrap();
    resolve(Sources::new(variables, cli.flags))
}

fn config(variables: &[(&str, &str)]) -> Config {
    resolve_with(variables, &[]).config.unwrap()
}

fn faults(variables: &[(&str, &str)]) -> Vec<String> {
    resolve_with(variables, &[]).config.unwrap_err().iter().map(ToString::to_string).collect()
}

/// The routers of the first pool.
fn routers(config: &Config) -> Vec<String> {
    let TargetKind::Branch { targets, .. } = &config.broker.pools[0].root.kind else { panic!("a pool is a branch") };
    let leaf = |target: &Target| match &target.kind {
        TargetKind::Router(path) => path.to_string(),
        TargetKind::Branch { .. } => panic!("only a file can nest"),
    };
    targets.iter().map(leaf).collect()
}

#[test]
fn nothing_written_gives_the_documented_defaults() {
    let config = config(&[]);
    let pool = &config.broker.pools[0];
    assert_eq!(pool.ingress.as_str(), "/azure/");
    assert_eq!(routers(&config), ["/azure/gpt35turbo/", "/azure/gpt4/", "/azure/dud/"]);
    assert_eq!(config.broker.defaults.health.disabled_time, Duration::from_secs(600));
    assert_eq!(config.broker.defaults.failures, FailureRule::Standard);
    assert_eq!(config.mode, OperatingMode::Balance);
    assert_eq!((config.nats.servers[0].host(), config.nats.servers[0].port()), ("localhost", 4222));
    assert_eq!(config.nats.subject, "coburn.gl.broker");
    assert_eq!(config.nats.logger_subject, "coburn.gl.logger");
    assert_eq!(config.nats.queue, "broker");
    assert_eq!(config.http, http::HttpSettings::Default);
    assert_eq!(config.telemetry.format, Format::Text);
}

#[test]
fn a_preset_is_a_whole_set_and_what_is_said_besides_wins() {
    let health = |variables: &[(&str, &str)]| config(variables).broker.defaults.health;
    let resilient = Preset::Resilient.settings();
    assert_eq!(health(&[("BROKER_HEALTH", "documented")]), Preset::Documented.settings());
    assert_eq!(health(&[("BROKER_HEALTH", "resilient")]), resilient);
    let minute = health::HealthSettings { disabled_time: Duration::from_secs(60), ..resilient };
    assert_eq!(health(&[("BROKER_HEALTH", "resilient"), ("DISABLED_TIME", "1")]), minute);
    assert!(!health(&[("BROKER_HEALTH", "resilient"), ("BROKER_RETRY_AFTER", "ignore")]).retry_after.honor);
    let reported = faults(&[("BROKER_HEALTH", "robust")]);
    assert_eq!(reported, ["BROKER_HEALTH=\"robust\": must be documented or resilient"]);
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let names: Vec<_> = super::names().map(|name| (name, "")).collect();
    assert_eq!(format!("{:?}", config(&names)), format!("{:?}", config(&[])));
}

#[test]
fn what_is_written_counts() {
    let config = config(&[
        ("GECHOLOG_HOST", "gecholog:4333"),
        ("DISABLED_TIME", "0.5"),
        ("BROKER_INGRESS", "/in/"),
        ("BROKER_ROUTERS", "/a/, /b/"),
        ("BROKER_FAILURE_STATUS", "any"),
        ("BROKER_MODE", "observe"),
        ("BROKER_HTTP", "off"),
        ("BROKER_LOG_FORMAT", "json"),
        ("BROKER_SUBJECT", "x.y"),
    ]);
    assert_eq!((config.nats.servers[0].host(), config.nats.servers[0].port()), ("gecholog", 4333));
    assert_eq!(config.broker.defaults.health.disabled_time, Duration::from_secs(30));
    assert_eq!(routers(&config), ["/a/", "/b/"]);
    assert_eq!(config.broker.defaults.failures, FailureRule::AnyButSuccess);
    assert_eq!(config.mode, OperatingMode::Observe);
    assert_eq!(config.http, http::HttpSettings::Off);
    assert_eq!(config.telemetry.format, Format::Json);
    assert_eq!(config.nats.subject, "x.y");
}

#[test]
fn what_the_relay_may_hold_is_never_less_than_one_body_needs() {
    let limits = |variables: &[(&str, &str)]| config(variables).relay.limits;
    assert_eq!(limits(&[]), relay::RelayLimits::default());
    let small = limits(&[("BROKER_RELAY_BODY", "1"), ("BROKER_RELAY_PATIENCE", "7"), ("BROKER_RELAY_CALLS", "3")]);
    assert_eq!((small.body, small.bodies, small.client_io_timeout), (1 << 20, 512 << 20, Duration::from_secs(7)));
    assert_eq!((small.calls, small.connections), (3, 6));
    let large = limits(&[("BROKER_RELAY_BODY", "1024")]);
    assert_eq!((large.body, large.bodies), (1 << 30, (2 << 30) + (1 << 20)));
    for (name, bad, right) in [
        ("BROKER_RELAY_BODY", "0", "MB, from 1 to 1024"),
        ("BROKER_RELAY_BODY", "1025", "MB, from 1 to 1024"),
        ("BROKER_RELAY_BODY", "20 MB", "MB, from 1 to 1024"),
        ("BROKER_RELAY_PATIENCE", "0", "seconds, from 1 to 3600"),
        ("BROKER_RELAY_PATIENCE", "1.5", "seconds, from 1 to 3600"),
        ("BROKER_RELAY_PATIENCE", "-1", "seconds, from 1 to 3600"),
    ] {
        assert_eq!(faults(&[(name, bad)]), [format!("{name}={bad:?}: must be a whole number of {right}")]);
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_is_named_in_its_fault() {
    let resolved = resolve_with(&[("DISABLED_TIME", "5")], &["--disabled-time", "1"]);
    assert_eq!(resolved.config.unwrap().broker.defaults.health.disabled_time, Duration::from_secs(60));
    let resolved = resolve_with(&[("DISABLED_TIME", "5")], &["--disabled-time", "-1"]);
    assert_eq!(resolved.config.unwrap_err()[0].place, "--disabled-time");
    let resolved = resolve_with(&[], &["health", "--broker-http", "127.0.0.1:9"]);
    assert!(matches!(resolved.config.unwrap().http, http::HttpSettings::At(_)), "a flag counts behind a command too");
}

#[test]
fn all_faults_are_reported_at_once() {
    let faults = faults(&[
        ("DISABLED_TIME", "soon"),
        ("BROKER_INGRESS", "azure"),
        ("BROKER_ROUTERS", "/a/,/a/,/gpt-4/"),
        ("BROKER_FAILURE_STATUS", "429,x"),
        ("BROKER_MODE", "obsserve"),
        ("BROKER_HTTP", "5381"),
        ("BROKER_LOG", "info=loud"),
        ("BROKER_LOG_FORMAT", "xml"),
        ("BROKER_SUBJECT", "a..b"),
        ("GECHOLOG_HOST", "nats://gecholog"),
        ("NATS_CA", "/does/not/exist"),
        ("BROKER_ROUTER", "/a/"),
    ]);
    for expected in [
        "DISABLED_TIME=\"soon\": must be minutes",
        "BROKER_INGRESS=\"azure\": must begin and end with '/'",
        "names /a/ twice",
        "the router \"/gpt-4/\" has the character '-'",
        "BROKER_FAILURE_STATUS=\"429,x\": \"x\" is not a status",
        "BROKER_MODE=\"obsserve\": must be balance or observe",
        "BROKER_HTTP=\"5381\": must be an address with a port",
        "BROKER_LOG=\"info=loud\"",
        "BROKER_LOG_FORMAT=\"xml\": must be text or json",
        "BROKER_SUBJECT=\"a..b\"",
        "GECHOLOG_HOST=\"nats://gecholog\": must be a host",
        "NATS_CA=\"/does/not/exist\": cannot read the file",
        "BROKER_ROUTER: no such setting; did you mean BROKER_ROUTERS?",
    ] {
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}\nis not among\n{}", faults.join("\n"));
    }
    assert_eq!(faults.len(), 13);
}

#[test]
fn invalid_minutes() {
    for bad in ["", " ", "abc", "-1", "-0.5", "nan", "NaN", "inf", "-inf", "1e300", "10m", "1,5"] {
        let resolved = resolve_with(&[("DISABLED_TIME", bad)], &[]);
        assert_eq!(resolved.config.is_ok(), bad.is_empty(), "{bad:?}");
    }
    for (good, seconds) in [("0", 0.0), ("-0", 0.0), ("0.05", 3.0), ("1e1", 600.0), (" 2 ", 120.0)] {
        assert_eq!(
            config(&[("DISABLED_TIME", good)]).broker.defaults.health.disabled_time.as_secs_f64(),
            seconds,
            "{good}"
        );
    }
}

#[test]
fn the_ingress_is_not_one_of_its_routers() {
    let faults = faults(&[("BROKER_ROUTERS", "/azure/,/a/")]);
    assert!(faults[0].contains("names the ingress /azure/ itself"), "{faults:?}");
}

/// A file that is there as long as the test is.
struct TempFile(std::path::PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("broker-{name}-{}.json", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn a_file_has_the_pools_and_the_environment_what_it_leaves_out() {
    let file = TempFile::new("good", r#"{"pools": [{"ingress": "/in/", "targets": [{"router": "/a/"}]}]}"#);
    let resolved = resolve_with(
        &[("DISABLED_TIME", "5"), ("BROKER_FAILURE_STATUS", "any"), ("BROKER_CONFIG", "elsewhere")],
        &["--config", file.path()],
    );
    let config = resolved.config.unwrap();
    assert_eq!((config.broker.pools[0].ingress.as_str(), routers(&config)), ("/in/", vec!["/a/".to_owned()]));
    assert_eq!(config.broker.defaults.health.disabled_time, Duration::from_secs(300));
    assert_eq!(config.broker.defaults.failures, FailureRule::AnyButSuccess);
    let pools = config.pools.unwrap();
    assert_eq!((pools.path.to_str(), &pools.defaults.routers), (Some(file.path()), &config.broker.defaults));
    assert_eq!(
        format!("{:?}", pools.load().unwrap().0),
        format!("{:?}", config.broker),
        "read again, it says the same"
    );
}

#[test]
fn a_file_and_one_pool_exclude_each_other() {
    let file = TempFile::new("bad", "{\n  \"pool\": []}");
    let faults = faults(&[("BROKER_CONFIG", file.path()), ("BROKER_INGRESS", "/in/"), ("BROKER_ROUTERS", "/a/")]);
    for (fault, expected) in faults.iter().zip([
        "BROKER_INGRESS=\"/in/\": BROKER_CONFIG is set too, and its file names the pools",
        "BROKER_ROUTERS=\"/a/\": BROKER_CONFIG is set too",
        ".json:1:1: needs \"pools\"",
        ".json:2:3 pool: no such key; did you mean pools?",
    ]) {
        assert!(fault.contains(expected), "{fault}\n{expected}");
    }
    assert_eq!(faults.len(), 4);
    let missing = self::faults(&[("BROKER_CONFIG", "/does/not/exist.json")]);
    assert!(missing[0].starts_with("/does/not/exist.json: cannot read the file: "), "{missing:?}");
}

#[test]
fn who_asks_a_running_broker_needs_no_good_file() {
    let http = |address: &str| {
        let variables = [("BROKER_CONFIG", "/does/not/exist.json"), ("BROKER_HTTP", address)];
        http_of(Sources::new(variables.map(|(name, value)| (name.into(), value.into())), RawSettings::default()))
    };
    assert!(matches!(http("127.0.0.1:9"), Ok((http::HttpSettings::At(_), false))));
    assert!(http("5381").is_err());
}

#[test]
fn what_kubernetes_sets_only_warns() {
    let resolved = resolve_with(&[("BROKER_PORT", "tcp://10.0.0.1:80"), ("BROKER_SERVICE_HOST", "10.0.0.1")], &[]);
    assert!(resolved.config.is_ok());
    assert_eq!(resolved.warnings.len(), 2);
}

#[test]
fn secrets_are_taken_out_of_urls_and_never_shown() {
    let config = config(&[("NATS_URL", "nats://hush@one:4222,tls://two")]);
    assert_eq!(config.nats.token, Some(nats::Secret("hush".to_owned())));
    let hosts: Vec<_> = config.nats.servers.iter().map(|server| server.host().to_owned()).collect();
    assert_eq!(hosts, ["one", "two"]);
    assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    let config = self::config(&[("NATS_URL", "nats://me:hush@one")]);
    assert_eq!(config.nats.user, Some(("me".to_owned(), nats::Secret("hush".to_owned()))));
    assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    let config = self::config(&[("NATS_URL", "nats://m%40e:hu%2Fsh%20%C3%A4^@one")]);
    assert_eq!(config.nats.user, Some(("m@e".to_owned(), nats::Secret("hu/sh ä^".to_owned()))));
    let config = self::config(&[("NATS_URL", "nats://hu%3Ash@one")]);
    assert_eq!(config.nats.token, Some(nats::Secret("hu:sh".to_owned())));
    let bad_urls = [
        "http://hush@one",
        "hush@one",
        "nats://hush@one,ftp://hush@two",
        "nats://me:hush@:x",
        "nats://me:hush%FF@one",
        "nats://hush%FF@one",
    ];
    for bad in bad_urls {
        let faults = faults(&[("NATS_URL", bad)]);
        assert!(!faults.is_empty() && !faults.join("\n").contains("hush"), "{bad}: {faults:?}");
    }
    let bare = self::faults(&[("GECHOLOG_HOST", "::1")]);
    assert!(bare[0].ends_with("must have an IPv6 address in brackets: [::1]:4222"), "{bare:?}");
    let faults = faults(&[("GECHOLOG_HOST", "hush@gecholog")]);
    assert!(!faults.join("\n").contains("hush"), "{faults:?}");
}

#[test]
fn the_token_comes_from_one_place() {
    let file = std::env::temp_dir().join(format!("broker-token-{}", std::process::id()));
    std::fs::write(&file, "hush\n").unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(config(&[("NATS_TOKEN_FILE", path)]).nats.token, Some(nats::Secret("hush".to_owned())));
    let both = faults(&[("NATS_TOKEN_FILE", path), ("NATS_TOKEN", "other")]);
    std::fs::write(&file, "\u{feff}hush\r\n").unwrap();
    assert_eq!(config(&[("NATS_TOKEN_FILE", path)]).nats.token, Some(nats::Secret("hush".to_owned())));
    std::fs::write(&file, "\u{feff} \n").unwrap();
    let empty = faults(&[("NATS_TOKEN_FILE", path)]);
    std::fs::remove_file(&file).unwrap();
    assert!(both[0].contains("NATS_TOKEN is set too") && !both[0].contains("other"), "{both:?}");
    assert!(empty[0].contains("the file is empty"), "{empty:?}");
    assert!(faults(&[("NATS_TOKEN_FILE", path)])[0].contains("cannot read the file"));
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_text_is_a_fault_of_ours_only() {
    use std::os::unix::ffi::OsStringExt;

    let odd = || OsString::from_vec(vec![0xff, 0xfe]);
    let variables = [("BROKER_MODE".into(), odd()), ("SOMETHING".into(), odd())];
    let faults = resolve(Sources::new(variables, RawSettings::default())).config.unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].place, "BROKER_MODE");
}

#[test]
fn help_names_every_switch_but_the_secrets() {
    use clap::CommandFactory;

    let help = Cli::command().render_long_help().to_string();
    for name in super::names() {
        let flag = super::names::flag(name) + " ";
        // A proxy's address may carry a password, and its variables and OpenTelemetry's are those of all programs.
        let secret = matches!(name, "NATS_TOKEN" | "NATS_URL" | "BROKER_ADMIN_TOKEN") || name.ends_with("_PROXY");
        let secret = secret || name.starts_with("OTEL_");
        assert_eq!(help.contains(&flag), !secret, "{flag}");
    }
}

#[test]
fn what_of_no_proxy_matches_nothing_is_a_warning() {
    let variables = [
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("NO_PROXY", "internal.example,10.0.0.0/33,u:hush@<local>"),
        ("BROKER_RELAY", "127.0.0.1:0"),
    ];
    let resolved = resolve_with(&variables, &[]);
    assert!(resolved.config.is_ok());
    let warnings: Vec<_> = resolved.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("NO_PROXY=\"10.0.0.0/33\": matches no host"), "{warnings:?}");
    assert!(!warnings.concat().contains("hush"), "{warnings:?}");
}
