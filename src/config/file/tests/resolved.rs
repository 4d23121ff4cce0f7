//! What a good file becomes.

use std::time::Duration;

use serde_json::json;

use super::{faults, resolve};
use crate::fixtures::{path, pools_file};
use balancer::broker::WhenAllDisabled;
use balancer::broker::{BrokerSettings, RouterSettings};
use balancer::health;
use balancer::load::rate_limit::RateLimit;
use balancer::strategy::{Field, Policy, Target, TargetKind};
use types::outcome::FailureRule;
use types::request::{Patch, Request};
use types::router::RouterPath;

fn branch(target: &Target) -> (&Policy, &[Target]) {
    let TargetKind::Branch { policy, targets } = &target.kind else { panic!("a branch") };
    (policy, targets)
}

fn leaf(target: &Target) -> &str {
    let TargetKind::Router(path) = &target.kind else { panic!("a router") };
    path.as_str()
}

fn patch(target: &Target) -> serde_json::Value {
    let Patch { merge, model_map } = &*target.patch;
    json!([merge, model_map])
}

fn settings_of(settings: &BrokerSettings, router: &str) -> RouterSettings {
    settings.routers.get(&path(router)).unwrap_or(&settings.defaults).clone()
}

#[test]
fn what_is_left_out_has_its_default() {
    let settings = resolve(r#"{"pools": [{"ingress": "/in/", "targets": [{"router": "/a/"}]}]}"#);
    let pool = &settings.pools[0];
    assert_eq!(pool.ingress.as_str(), "/in/");
    let (policy, targets) = branch(&pool.root);
    assert!(matches!(policy, Policy::LoadBalance));
    let target = &targets[0];
    assert_eq!((leaf(target), &target.name, target.weight, target.drained), ("/a/", &None, 1.0, false));
    assert!(target.patch.is_empty());
    assert_eq!(settings.defaults, RouterSettings::default());
    assert!(settings.routers.is_empty());
}

#[test]
fn comments_commas_and_a_byte_order_mark_are_welcome() {
    let text = "\u{feff}/* pools */ {\"pools\": [ // one\n {\"ingress\": \"/in/\", \"targets\": [{\"router\": \"/a/\",},],},],}";
    assert_eq!(resolve(text).pools.len(), 1);
}

#[test]
fn what_is_written_counts() {
    let settings = resolve(
        r#"{"$schema": "./broker.schema.json", "pools": [
            {"ingress": "/in/", "strategy": {"mode": "fallback"}, "targets": [
                {"router": "/a/", "weight": 0.9, "drained": true},
                {"name": "turns", "weight": 0, "strategy": {"mode": "round_robin"}, "targets": [{"router": "/a/"}]},
                {"strategy": {"mode": "sticky", "key": "headers.X-User"}, "targets": [{"router": "/b/"}]},
                {"strategy": {"mode": "loadbalance"}, "targets": [{"router": "/b/"}]}
            ]},
            {"ingress": "/on/", "targets": [{"router": "/c/"}]}
        ]}"#,
    );
    let (policy, targets) = branch(&settings.pools[0].root);
    assert!(matches!(policy, Policy::Fallback));
    assert_eq!((targets[0].weight, targets[0].drained), (0.9, true));
    assert_eq!((targets[1].weight, targets[1].name.as_deref()), (0.0, Some("turns")));
    assert!(matches!(branch(&targets[1]).0, Policy::RoundRobin));
    assert!(matches!(branch(&targets[2]).0, Policy::Sticky(Field::Header(name)) if name == "X-User"));
    assert!(matches!(branch(&targets[3]).0, Policy::LoadBalance));
    assert_eq!(settings.pools[1].ingress.as_str(), "/on/");
}

#[test]
fn conditions_point_to_places() {
    let settings = resolve(
        r#"{"pools": [{"ingress": "/in/", "strategy": {"mode": "conditional", "default": "c", "conditions": [
            {"query": {"params.model": "gpt-4"}, "then": "b"},
            {"query": {"params.n": {"$gte": 1, "$lt": 5}, "headers.x-tier": {"$in": ["gold", "silver"]}}, "then": "c"},
            {"query": {"$or": [{"path": {"$regex": "^/out"}}, {"$not": {"params.stop": {"$ne": ["a", null]}}}]}, "then": "b"}
        ]}, "targets": [{"router": "/a/"}, {"name": "b", "router": "/b/"}, {"name": "c", "router": "/c/"}]}]}"#,
    );
    let (Policy::Conditional { conditions, default }, _) = branch(&settings.pools[0].root) else {
        panic!("conditional")
    };
    assert_eq!(*default, Some(2));
    assert_eq!(conditions.iter().map(|condition| condition.then).collect::<Vec<_>>(), [1, 2, 1]);
    let holds = |number: usize, body: serde_json::Value| conditions[number].query.evaluate(&Body(body)) == Some(true);
    assert!(holds(0, json!({"model": "gpt-4"})) && !holds(0, json!({"model": "gpt-5"})) && !holds(0, json!({})));
    assert!(holds(1, json!({"n": 4})) && !holds(1, json!({"n": 5})) && !holds(1, json!({"n": 0})));
    assert!(holds(2, json!({"stop": ["a", null]})) && !holds(2, json!({"stop": ["a"]})) && !holds(2, json!({})));
}

struct Body(serde_json::Value);

impl Request for Body {
    fn path(&self) -> &str {
        "/in/"
    }

    fn param(&self, names: &[String]) -> Option<types::request::FieldValue> {
        names.iter().try_fold(&self.0, |value, name| value.get(name)).cloned().map(types::request::FieldValue::Value)
    }

    fn header(&self, name: &str) -> Vec<String> {
        if name.eq_ignore_ascii_case("X-Tier") { vec!["silver".to_owned()] } else { Vec::new() }
    }
}

#[test]
fn the_child_wins_field_by_field() {
    let settings = resolve(
        r#"{"pools": [{"ingress": "/in/", "targets": [
            {"override_params": {"max_tokens": 200, "user": "u", "n": {"a": 1}}, "model_map": {"a": "b", "c": "d"}, "targets": [
                {"router": "/a/"},
                {"router": "/b/", "override_params": {"user": null, "n": {"b": 2}, "t": 0.10}, "model_map": {"c": "e"}},
                {"override_params": {"max_tokens": 1}, "targets": [{"router": "/c/"}]}
            ]},
            {"router": "/d/"}
        ]}]}"#,
    );
    let (_, outer) = branch(&settings.pools[0].root);
    assert!(outer[0].patch.is_empty(), "a branch has what its leaves have");
    assert!(outer[1].patch.is_empty());
    let (_, inner) = branch(&outer[0]);
    assert_eq!(patch(&inner[0]), json!([{"max_tokens": 200, "user": "u", "n": {"a": 1}}, {"a": "b", "c": "d"}]));
    let merged = json!([{"max_tokens": 200, "user": null, "n": {"b": 2}, "t": 0.1}, {"a": "b", "c": "e"}]);
    assert_eq!(patch(&inner[1]), merged);
    let deepest = branch(&inner[2]).1;
    assert_eq!(patch(&deepest[0]), json!([{"max_tokens": 1, "user": "u", "n": {"a": 1}}, {"a": "b", "c": "d"}]));
}

#[test]
fn the_nearest_health_wins_setting_by_setting() {
    let minutes = |minutes: u64| health::HealthSettings {
        disabled_time: Duration::from_secs(minutes * 60),
        ..Default::default()
    };
    let environment = RouterSettings { failures: FailureRule::AnyButSuccess, health: minutes(1), rate_limit: None };
    let text = br#"{"health": {"disabled_time": 2}, "pools": [
        {"ingress": "/in/", "health": {"disabled_time": 3}, "targets": [
            {"router": "/a/"},
            {"health": {"failure_status": [404, "5xx"]}, "targets": [
                {"router": "/b/"},
                {"router": "/c/", "health": {"disabled_time": 0.5, "failure_status": "any"}}
            ]}
        ]},
        {"ingress": "/on/", "targets": [{"router": "/d/"}, {"router": "/a/"}]}
    ]}"#;
    let settings = pools_file(text, &environment).unwrap();
    let listed = FailureRule::parse("404,5xx").unwrap();
    let any = FailureRule::AnyButSuccess;
    let half = health::HealthSettings { disabled_time: Duration::from_secs(30), ..Default::default() };
    assert_eq!(settings.defaults, RouterSettings { failures: any.clone(), health: minutes(2), rate_limit: None });
    for (router, failures, health) in
        [("/a/", &any, minutes(3)), ("/b/", &listed, minutes(3)), ("/c/", &any, half), ("/d/", &any, minutes(2))]
    {
        let expected = RouterSettings { failures: failures.clone(), health, rate_limit: None };
        assert_eq!(settings_of(&settings, router), expected, "{router}");
    }
    let own: Vec<_> = settings.routers.keys().map(RouterPath::as_str).collect();
    assert_eq!(own, ["/a/", "/b/", "/c/"], "only what is not the default");
}

#[test]
fn every_setting_of_health_arrives() {
    let text = br#"{"pools": [{"ingress": "/in/", "when_all_disabled": "soonest", "targets": [{"router": "/a/", "health": {
        "cooldown": {"base": "5s", "factor": 2, "max": "5m", "jitter": 0.25}, "consecutive": 3,
        "ratio": {"below": 0.25, "over": "10s", "min": 20}, "retry_after": {"honor": false, "max": "90s", "assume": "7s", "preempt": true},
        "probe": {"concurrency": 4, "timeout": "30s"}, "ramp": "10s", "slow_is_failure_after": "20s", "poison": true
    }}]}]}"#;
    let settings = pools_file(text, &RouterSettings::default()).unwrap();
    assert_eq!(settings.pools[0].when_all_disabled, WhenAllDisabled::Soonest);
    let seconds = Duration::from_secs;
    let expected = health::HealthSettings {
        disabled_time: seconds(5),
        cooldown: health::Cooldown { factor: 2.0, max: seconds(300), jitter: 0.25 },
        consecutive: 3,
        ratio: Some(health::Ratio { below: 0.25, over: seconds(10), min: 20 }),
        retry_after: health::RetryAfterSettings {
            honor: false,
            max: seconds(90),
            preempt: true,
            assume: Some(seconds(7)),
        },
        probe: health::Probe { concurrency: 4, timeout: seconds(30) },
        slow_start: seconds(10),
        slow: Some(seconds(20)),
        poison: true,
        timeout_ejects: false,
        keep_last: false,
    };
    assert_eq!(settings_of(&settings, "/a/").health, expected);
}

#[test]
fn a_preset_leaves_nothing_of_what_was_said_further_out_and_yields_to_what_is_nearer() {
    let text = br#"{"health": {"consecutive": 7, "failure_status": "any", "poison": true}, "pools": [
        {"ingress": "/in/", "health": {"disabled_time": 1, "preset": "resilient", "ramp": false}, "targets": [
            {"router": "/a/"},
            {"router": "/b/", "health": {"consecutive": 2, "ratio": false}},
            {"router": "/c/", "health": {"preset": "documented"}}
        ]}
    ]}"#;
    let settings = pools_file(text, &RouterSettings::default()).unwrap();
    let (resilient, documented) = (health::Preset::Resilient.settings(), health::Preset::Documented.settings());
    let a = health::HealthSettings { disabled_time: Duration::from_secs(60), slow_start: Duration::ZERO, ..resilient };
    let b = health::HealthSettings { consecutive: 2, timeout_ejects: false, ratio: None, ..a };
    for (router, health) in [("/a/", a), ("/b/", b), ("/c/", documented)] {
        let expected = RouterSettings { failures: FailureRule::AnyButSuccess, health, rate_limit: None };
        assert_eq!(settings_of(&settings, router), expected, "{router}");
    }
}

#[test]
fn a_budget_belongs_to_the_router_wherever_it_stands() {
    let settings = resolve(
        r#"{"pools": [
            {"ingress": "/in/", "targets": [
                {"router": "/a/", "budget": {"rpm": 600, "tpm": 100000}, "health": {"preset": "resilient"}},
                {"targets": [{"router": "/b/", "budget": {}}, {"router": "/a/"}]},
                {"router": "/c/"}
            ]},
            {"ingress": "/other/", "targets": [{"router": "/a/", "budget": {"tpm": 100000, "rpm": 600}}]}
        ]}"#,
    );
    let (both, upstream) = (RateLimit { rpm: Some(600), tpm: Some(100_000) }, RateLimit { rpm: None, tpm: None });
    for (router, budget) in [("/a/", Some(both)), ("/b/", Some(upstream)), ("/c/", None)] {
        assert_eq!(settings_of(&settings, router).rate_limit, budget, "{router}");
    }
}

#[test]
fn lists_and_texts_of_statuses_say_the_same() {
    let of = |statuses: &str| {
        let health = format!("{{\"failure_status\": {statuses}}}");
        resolve(&format!(
            "{{\"health\": {health}, \"pools\": [{{\"ingress\": \"/in/\", \"targets\": [{{\"router\": \"/a/\"}}]}}]}}"
        ))
    };
    let list = of("[404, \"429\", \"500-599\", \"7xx\"]");
    assert_eq!(list.defaults, of("\"404,429,500-599,7xx\"").defaults);
    assert_eq!(of("\"any\"").defaults.failures, FailureRule::AnyButSuccess);
}

#[test]
fn a_path_leads_to_the_fault() {
    let reported = faults(r#"{"pools": [{"ingress": "/in/", "targets": [{"targets": [{"router": 1}]}]}]}"#);
    assert_eq!(
        reported,
        ["broker.json:1:68 pools[0].targets[0].targets[0].router=\"1\": must be a text, and is a number"]
    );
}
