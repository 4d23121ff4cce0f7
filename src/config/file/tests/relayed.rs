//! What the relay adds to a pools file: targets with a url, its limits, and what is wrong with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::super::{HealthDefaults, Variables, read};
use crate::config::Fault;
use crate::fixtures::path;
use crate::relay::RelayRules;
use balancer::broker::{Broker, BrokerSettings, Decision, Pass, RouterSettings, WhenAllDisabled};
use balancer::health::{HealthSettings, Preset};
use balancer::retry::TimeLimits;
use types::router::RouterPath;

const KEY: &str = "sk-very-secret";

fn load(text: &str) -> Result<(BrokerSettings, RelayRules), Vec<Fault>> {
    let variables = [("KEY", KEY), ("HOST", "api.example.com"), ("ODD", "a\nb")];
    let variables: BTreeMap<_, _> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    read(
        Path::new("broker.json"),
        text.as_bytes(),
        &HealthDefaults::new(RouterSettings::default()),
        &Variables::new(variables),
    )
}

fn targets(targets: &str) -> String {
    format!("{{\"pools\": [{{\"ingress\": \"/in/\", \"targets\": [{targets}]}}]}}")
}

fn fault(text: &str) -> String {
    let faults = load(text).unwrap_err();
    let reported: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    assert!(!reported.contains(KEY), "{reported}");
    reported
}

#[test]
fn a_url_has_a_path_that_stands_for_it_and_only_the_relay_serves_its_pool() {
    let text = targets(
        r#"{"url": "https://${HOST}/v1/", "headers": {"Authorization": ["Bearer ${KEY}"], "X-One": "1"}},
           {"name": "Azure, west", "url": "https://west.example.com/", "query": {"api-version": "1"}},
           {"router": "/azure/gpt4/"}"#,
    );
    let (settings, rules) = load(&text).unwrap();
    let paths: Vec<_> = rules.direct.keys().map(RouterPath::as_str).collect();
    assert_eq!(paths, ["/in/Azurewest/", "/in/apiexamplecom/"]);
    assert_eq!(format!("{:?}", rules.direct.values().last().unwrap()), "Direct(https://api.example.com/v1, ..)");
    let relayed: Vec<_> = settings.relayed.iter().map(RouterPath::as_str).collect();
    assert_eq!(relayed, ["/in/", "/in/Azurewest/", "/in/apiexamplecom/"]);
    let broker = Broker::new(settings.clone());
    assert_eq!(
        broker.choose(&"/in/", &mut rand::rng()),
        Decision::Pass(Pass::UnknownIngress),
        "the gateway cannot reach them"
    );
    assert!(!format!("{settings:?} {rules:?}").contains(KEY));
}

#[test]
fn a_pool_of_routers_can_be_the_relays_too() {
    let text = r#"{"pools": [{"ingress": "/in/", "relay": true, "targets": [{"router": "/a/"}]}]}"#;
    let broker = Broker::new(load(text).unwrap().0);
    assert_eq!(broker.choose(&"/in/", &mut rand::rng()), Decision::Pass(Pass::UnknownIngress));
}

#[test]
fn one_target_may_stand_twice_and_two_may_not_share_a_name() {
    let same = r#"{"url": "https://h/"}, {"targets": [{"url": "https://h/"}]}"#;
    assert_eq!(load(&targets(same)).unwrap().1.direct.len(), 1);
    let other = r#"{"url": "https://h/a"}, {"url": "https://h/b"}"#;
    assert!(fault(&targets(other)).contains("give them names that differ"));
    let router = r#"{"url": "https://h/a"}, {"router": "/in/h/"}"#;
    assert!(fault(&targets(router)).contains("give that another name"));
}

#[test]
fn limits() {
    let text = r#"{"relay": {"attempts": 2, "timeout": "10s", "connect": "1s", "first_byte": "2s", "idle": "3s", "hold": "4s",
        "backoff": {"base": "10ms", "cap": "1s"}, "retry_budget": {"ratio": 0.5, "per_second": 3}},
        "pools": [{"ingress": "/in/", "targets": [{"router": "/a/"}]}]}"#;
    let rules = load(text).unwrap().1;
    assert_eq!((rules.limits.attempts, rules.limits.timeout), (2, Duration::from_secs(10)));
    assert_eq!((rules.times.connect, rules.times.first_byte), (Duration::from_secs(1), Some(Duration::from_secs(2))));
    assert_eq!((rules.times.idle, rules.limits.backoff.base), (Duration::from_secs(3), Duration::from_millis(10)));
    assert_eq!(rules.times.hold, Duration::from_secs(4));
    assert_eq!((rules.retry_budget.ratio, rules.retry_budget.per_second), (0.5, 3));
    let defaults = load(&targets(r#"{"router": "/a/"}"#)).unwrap().1;
    let TimeLimits { connect, first_byte, idle, timeout, hold } = defaults.times;
    assert_eq!([connect, idle, timeout, hold].map(|time| time.as_secs()), [5, 120, 600, 10]);
    assert_eq!(first_byte, None);
    assert_eq!((defaults.limits.attempts, defaults.limits.timeout), (4, timeout));
    let bounds = defaults.limits.backoff;
    assert_eq!((bounds.base, bounds.cap), (Duration::from_millis(500), Duration::from_secs(8)));
    assert_eq!((defaults.retry_budget.ratio, defaults.retry_budget.per_second), (0.2, 10));
    assert_eq!(
        [true, false].map(|stream| defaults.times.first_byte_of(stream)),
        [Some(Duration::from_secs(120)), None]
    );
}

#[test]
fn s1_5_each_time_limit_holds_for_the_nearest_place_that_sets_it() {
    let text = r#"{"relay": {"connect": "1s", "idle": "7s"}, "pools": [
        {"ingress": "/in/", "relay": {"first_byte": "2s", "hold": "6s"}, "targets": [
            {"router": "/a/"},
            {"url": "https://h/", "relay": {"timeout": "900s", "first_byte": "3s", "hold": "8s"}},
            {"relay": {"connect": "4s"}, "targets": [{"router": "/b/"}, {"router": "/c/", "relay": {"idle": "5s"}}]}]},
        {"ingress": "/other/", "targets": [{"router": "/a/"}]}]}"#;
    let (settings, rules) = load(text).unwrap();
    for (ingress, router, expected) in [
        ("/in/", "/a/", (1, Some(2), 7, 600, 6)),
        ("/in/", "/in/h/", (1, Some(3), 7, 900, 8)),
        ("/in/", "/b/", (4, Some(2), 7, 600, 6)),
        ("/in/", "/c/", (4, Some(2), 5, 600, 6)),
        ("/other/", "/a/", (1, None, 7, 600, 10)),
    ] {
        let times = rules.times_of(&path(ingress), &path(router));
        let seconds = |time: Duration| time.as_secs();
        let first_byte = times.first_byte.map(seconds);
        let [connect, idle, timeout, hold] = [times.connect, times.idle, times.timeout, times.hold].map(seconds);
        let found = (connect, first_byte, idle, timeout, hold);
        assert_eq!(found, expected, "{ingress} {router}");
    }
    let timeout = |ingress| rules.limits_of(&path(ingress)).timeout.as_secs();
    assert_eq!((timeout("/in/"), timeout("/other/")), (900, 600), "a call lasts as long as its most patient target");
    assert!(!settings.relayed.contains(&path("/other/")));
    for (relay, words) in [
        (r#""relay": {"attempts": 2}"#, "there are connect, first_byte, idle"),
        (r#""relay": {"idle": 3}"#, "must be a text"),
    ] {
        let reported = fault(&targets(&format!("{{\"router\": \"/a/\", {relay}}}")));
        assert!(reported.contains(words), "{reported}");
    }
    let twice = r#"{"router": "/a/"}, {"targets": [{"router": "/a/", "relay": {"idle": "3s"}}]}"#;
    assert!(fault(&targets(twice)).contains("other time limits"));
}

#[test]
fn s1_8_a_pool_with_addresses_is_resilient_and_keeps_its_last_target_unless_the_file_says_otherwise() {
    let resilient = HealthDefaults::new(RouterSettings::default()).direct.health;
    assert!(resilient.keep_last && resilient == HealthSettings { keep_last: true, ..Preset::Resilient.settings() });
    let documented = Preset::Documented.settings();
    let five = Duration::from_secs(300);
    let without = HealthSettings { keep_last: false, ..resilient };
    let once = HealthSettings { consecutive: 1, timeout_ejects: false, ..resilient };
    for (file, pool, target, health, when) in [
        ("", "", "", resilient, WhenAllDisabled::Soonest),
        ("", r#""when_all_disabled": "pass","#, "", without, WhenAllDisabled::Pass),
        ("", r#""when_all_disabled": "any","#, "", resilient, WhenAllDisabled::Any),
        (r#""health": {"preset": "documented"},"#, "", "", documented, WhenAllDisabled::Soonest),
        ("", r#""health": {"preset": "documented"},"#, "", documented, WhenAllDisabled::Soonest),
        ("", "", r#", "health": {"preset": "documented"}"#, documented, WhenAllDisabled::Soonest),
        ("", r#""health": {"preset": "resilient"},"#, "", resilient, WhenAllDisabled::Soonest),
        ("", r#""health": {"consecutive": 1},"#, "", once, WhenAllDisabled::Soonest),
        (
            r#""health": {"disabled_time": 5},"#,
            "",
            "",
            HealthSettings { disabled_time: five, ..resilient },
            WhenAllDisabled::Soonest,
        ),
    ] {
        let text = format!(
            r#"{{{file} "pools": [{{"ingress": "/in/", {pool} "targets": [{{"url": "https://h/"{target}}}]}},
                {{"ingress": "/gateway/", "targets": [{{"router": "/a/"}}]}}]}}"#
        );
        let settings = load(&text).unwrap().0;
        let of = |router: &str| settings.for_router(&path(router)).health;
        assert_eq!((of("/in/h/"), settings.pools[0].when_all_disabled), (health, when), "{file} {pool} {target}");
        let documented = if file.contains("disabled_time") {
            HealthSettings { disabled_time: five, ..documented }
        } else {
            documented
        };
        assert_eq!((of("/a/"), settings.pools[1].when_all_disabled), (documented, WhenAllDisabled::Pass), "{file}");
    }
}

#[test]
fn faults_say_what_would_be_right_and_show_no_secret() {
    for (target, words) in [
        (r#""url": "api.openai.com""#, "must be a URL such as"),
        (r#""url": "ftp://h/""#, "must begin with http"),
        (r#""url": "https://user:sk-very-secret@h/""#, "must not carry a user"),
        (r#""url": "https://${NOBODY}/""#, "needs the variable NOBODY"),
        (r#""url": "https://${HOST/""#, "without its }"),
        (r#""url": "https://h/", "headers": {"Authorization": ["Bearer ${KEYS}"]}"#, "needs the variable KEYS"),
        (r#""url": "https://h/", "headers": {"Api Key": "${KEY}"}"#, "is not the name of a header"),
        (r#""url": "https://h/", "headers": {"Host": "${KEY}"}"#, "is set by the relay itself"),
        (r#""url": "https://h/", "headers": {"Key": "${ODD}"}"#, "has a value that is not valid in a header"),
        (r#""url": "https://h/", "headers": {"Key": []}"#, "is empty"),
        (r#""url": "https://h/", "headers": {"Key": 7}"#, "must be a list of values"),
        (r#""url": "https://h/", "remove_headers": ["a b"]"#, "is not the name of a header"),
        (r#""url": "https://h/", "endpoint": "chat?a=1""#, "parameters belong into"),
        (r#""url": "https://h/", "query": {"a": 1}"#, "must be a text"),
        (r#""url": "https://h/", "forward_credentials": "yes""#, "must be true or false"),
        (r#""url": "https://h/", "strategy": {"mode": "fallback"}"#, "belongs to a branch"),
        (r#""url": "https://h/", "router": "/a/""#, "is either a router, a url or a branch"),
        (r#""router": "/a/", "headers": {"Key": "${KEY}"}"#, "belongs to a target with \"url\""),
        (r#""url": "https://h/", "name": "---""#, "give it a short name of letters"),
    ] {
        let reported = fault(&targets(&format!("{{{target}}}")));
        assert!(reported.contains(words), "{target}\n{reported}");
    }
    for (relay, words) in [
        (r#"{"attempts": 0}"#, "whole number, at least 1"),
        (r#"{"timeout": 60}"#, "must be a text"),
        (r#"{"time": "60s"}"#, "there are attempts, timeout"),
        (r#"{"retry_budget": {"per_second": 0.5}}"#, "whole number such as 10"),
        (r#"{"backoff": {"base": "soon"}}"#, "must be a time with its unit"),
    ] {
        let text = format!(
            "{{\"relay\": {relay}, \"pools\": [{{\"ingress\": \"/in/\", \"targets\": [{{\"router\": \"/a/\"}}]}}]}}"
        );
        let reported = fault(&text);
        assert!(reported.contains(words), "{relay}\n{reported}");
    }
}

#[test]
fn every_example_of_the_relay_loads_and_says_what_it_is() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/relay");
    let names = ["OPENAI", "ANTHROPIC", "AZURE", "AZURE_WEST", "AZURE_NORTH", "PTU", "EAST", "WEST", "NORTH"];
    let mut variables: BTreeMap<_, _> = names.map(|name| (format!("{name}_API_KEY"), "x".to_owned())).into();
    variables.extend(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name.to_owned(), "x".to_owned())));
    variables.insert("VERTEX_SERVICE_ACCOUNT".to_owned(), super::providers::account());
    variables.insert("LLM_URL".to_owned(), "http://localhost:5399".to_owned());
    let variables = Variables::new(variables);
    let mut examples = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("// "), "{}", path.display());
        let loaded = read(&path, text.as_bytes(), &HealthDefaults::new(RouterSettings::default()), &variables);
        assert!(loaded.is_ok(), "{loaded:?}");
        let parsed = jsonc_parser::parse_to_ast(&text, &Default::default(), &super::super::FORM).unwrap();
        let value = parsed.value.unwrap();
        let plain =
            super::super::reader::Reader::new("", &text).json(&super::super::reader::Item::root(&value)).unwrap();
        let shaped = serde_json::from_value::<super::super::schema::PoolsFile>(plain);
        assert!(shaped.is_ok(), "{}: {shaped:?}", path.display());
        examples += 1;
    }
    assert_eq!(examples, 9);
}

#[test]
fn s1_9_affinity_is_on_for_pools_with_addresses_and_can_be_set() {
    let of = |pool: &str| {
        let text = format!(r#"{{"pools": [{{"ingress": "/in/", {pool}}}]}}"#);
        load(&text).unwrap().1.has_affinity(&RouterPath::parse("/in/").unwrap())
    };
    let (direct, router) =
        (r#""targets": [{"router": "/a/"}, {"url": "https://h/"}]"#, r#""targets": [{"router": "/a/"}]"#);
    assert!(of(direct) && !of(&format!(r#""affinity": false, {direct}"#)));
    assert!(!of(router) && !of(&format!(r#""relay": true, {router}"#)));
    assert!(of(&format!(r#""relay": true, "affinity": true, {router}"#)));
    assert!(!of(&format!(r#""affinity": false, {router}"#)));
    for (pool, words) in [
        (r#""affinity": true"#, "only the relay sees what answers make"),
        (r#""affinity": "yes""#, "must be true or false"),
    ] {
        let reported = fault(&format!(r#"{{"pools": [{{"ingress": "/in/", {pool}, {router}}}]}}"#));
        assert!(reported.contains(words), "{reported}");
    }
}
