//! The pools file at work: each mode, and what targets change in a request, through a real bus and a gateway.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use gateway_sim::llm::Behaviour;

use super::support::gateway::{HI, one_row, overriding, overriding_in_one_row, seeing, two_rows};
use super::support::pools::pool;
use super::support::upstream::Upstream;
use super::support::{Broker, Bus, DUD, GPT4, GPT35, Gateway, Llms, PoolsFile, Setup};

async fn broker(bus: &Bus, file: &PoolsFile) -> Broker {
    Setup::on(bus).set("BROKER_CONFIG", file.path()).ready().await
}

/// Bus, fake LLMs, a broker that follows `text`, and the gateway.
struct Harness {
    llms: Llms,
    gateway: Gateway,
    broker: Broker,
    _file: PoolsFile,
    _bus: Bus,
}

impl Harness {
    async fn of(text: &str, fields: &[&str]) -> Self {
        let (bus, llms, file) = (Bus::start().await, Llms::start().await, PoolsFile::of(text));
        let broker = broker(&bus, &file).await;
        let gateway = Gateway::start(&bus, &seeing(two_rows(&bus, &llms), fields)).await;
        Self { llms, gateway, broker, _file: file, _bus: bus }
    }

    /// How often gpt4 and gpt35turbo were called.
    fn calls(&self) -> (u64, u64) {
        (self.llms.calls("gpt4"), self.llms.calls("gpt35turbo"))
    }

    /// The deployment that answers this call.
    async fn served_by(&self, headers: &[(&str, &str)], body: &str) -> String {
        let answer = self.gateway.send("/azure/", headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        answer["model"].as_str().unwrap().to_owned()
    }
}

fn both(first: &str, second: &str) -> String {
    format!(r#"{{"router": "{GPT4}" {first}}}, {{"router": "{GPT35}" {second}}}"#)
}

#[tokio::test]
async fn loadbalance_keeps_the_weights() {
    let text = pool(r#"{"mode": "loadbalance"}"#, &both(r#", "weight": 0.9"#, r#", "weight": 0.1"#));
    let harness = Harness::of(&text, &[]).await;
    for _ in 0..400 {
        assert_eq!(harness.gateway.call().await.status, 200);
    }
    let (most, few) = harness.calls();
    assert_eq!(most + few, 400);
    // Five sigma around 40.
    assert!((10..=70).contains(&few), "{few}");
}

#[tokio::test]
async fn round_robin_is_exact_over_each_cycle() {
    let text = pool(r#"{"mode": "round_robin"}"#, &both(r#", "weight": 3"#, ""));
    let harness = Harness::of(&text, &[]).await;
    for cycle in 1..=10 {
        for _ in 0..4 {
            assert_eq!(harness.gateway.call().await.status, 200);
        }
        assert_eq!(harness.calls(), (3 * cycle, cycle));
    }
}

#[tokio::test]
async fn after_the_first_of_a_fallback_fails_the_very_next_request_goes_to_the_second() {
    let text = pool(r#"{"mode": "fallback"}"#, &both(r#", "health": {"disabled_time": 0.02}"#, ""));
    let harness = Harness::of(&text, &[]).await;
    for _ in 0..5 {
        assert_eq!(harness.gateway.call().await.status, 200);
    }
    assert_eq!(harness.calls(), (5, 0), "the first serves everything");
    harness.llms.answer("gpt4", 503);
    assert_eq!(harness.gateway.call().await.status, 503, "the call that fails is answered with its error");
    assert_eq!(harness.gateway.call().await.status, 200, "the next one goes on");
    assert_eq!(harness.calls(), (6, 1));
    harness.llms.answer("gpt4", 200);
    // Its own time, not the ten minutes of the others.
    harness.broker.until(&["router on probation", GPT4]).await;
    assert_eq!(harness.gateway.call().await.status, 200);
    assert_eq!(harness.calls(), (7, 1), "and back");
}

#[tokio::test]
async fn fastest_prefers_the_faster_by_the_times_in_the_log() {
    let harness = Harness::of(&pool(r#"{"mode": "fastest"}"#, &both("", "")), &[]).await;
    let slow = Behaviour { delay: Duration::from_millis(150), ..Behaviour::default() };
    harness.llms.behave("gpt35turbo", slow.clone());
    for _ in 0..80 {
        assert_eq!(harness.gateway.call().await.status, 200);
    }
    let (fast, few) = harness.calls();
    // Both draws name the slow one in a quarter of the calls; five sigma above that.
    assert!((1..=40).contains(&few), "{few} of {}", fast + few);
    harness.llms.behave("gpt35turbo", Behaviour::default());
    harness.llms.behave("gpt4", slow);
    // Until both are known anew.
    for _ in 0..40 {
        assert_eq!(harness.gateway.call().await.status, 200);
    }
    let fast = harness.calls().0;
    for _ in 0..80 {
        assert_eq!(harness.gateway.call().await.status, 200);
    }
    let few = harness.calls().0 - fast;
    assert!((1..=40).contains(&few), "{few} of 80 after they changed places");
    assert_eq!(harness.broker.count(&["shows a stamp of ours"]), 0, "{}", harness.broker.text());
}

/// One row cannot add the stamp to the log.
#[tokio::test]
async fn a_log_without_stamps_is_said_once() {
    let file = PoolsFile::of(&pool(r#"{"mode": "least_busy"}"#, &both("", "")));
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = broker(&bus, &file).await;
    let gateway = Gateway::start(&bus, &one_row(&bus, &llms)).await;
    for _ in 0..20 {
        assert_eq!(gateway.call().await.status, 200);
    }
    broker.until(&["WARN", "shows a stamp of ours", "fastest and least_busy"]).await;
    for _ in 0..5 {
        assert_eq!(gateway.call().await.status, 200);
    }
    broker.exactly(&["shows a stamp of ours"], 1).await;
}

#[tokio::test]
async fn sticky_keeps_each_user_and_yields_to_health() {
    let text = pool(r#"{"mode": "sticky", "key": "headers.X-User"}"#, &both("", ""));
    let harness = Harness::of(&text, &["outbound_headers"]).await;
    let mut home: HashMap<String, String> = HashMap::new();
    for round in 0..3 {
        for number in 0..30 {
            let user = format!("user-{number}");
            // However the client spells the header.
            let name = ["X-User", "x-user", "X-USER"][round];
            let router = harness.served_by(&[(name, &user)], HI).await;
            assert_eq!(*home.entry(user).or_insert_with(|| router.clone()), router, "round {round}");
        }
    }
    let homes: HashSet<_> = home.values().collect();
    assert_eq!(homes.len(), 2, "30 users on one router: 1 in 500 million");
    let moved = home.iter().find(|(_, router)| *router == "gpt35turbo").unwrap();
    harness.llms.answer("gpt35turbo", 500);
    assert_eq!(harness.gateway.send("/azure/", &[("X-User", moved.0)], HI.as_bytes()).await.status, 500);
    for user in home.keys() {
        assert_eq!(harness.served_by(&[("X-User", user)], HI).await, "gpt4");
    }
    assert_eq!(harness.broker.count(&["chosen without the"]), 0, "{}", harness.broker.text());
}

#[tokio::test]
async fn a_key_that_the_gateway_does_not_show_is_said_once() {
    let text = pool(r#"{"mode": "sticky", "key": "headers.X-User"}"#, &both("", ""));
    let harness = Harness::of(&text, &[]).await;
    for _ in 0..20 {
        harness.served_by(&[("X-User", "42")], HI).await;
    }
    assert!(harness.broker.until(&["chosen without the headers"]).await.contains("outbound_headers"));
    harness.broker.exactly(&["chosen without the headers"], 1).await;
}

#[tokio::test]
async fn conditional_follows_the_model_of_the_request() {
    let strategy = r#"{"mode": "conditional", "conditions": [
        {"query": {"params.model": {"$regex": "^gpt-4"}}, "then": "large"},
        {"query": {"params.model": "gpt-3.5", "headers.x-tier": {"$ne": "gold"}}, "then": "small"}]}"#;
    let targets = both(r#", "name": "large""#, r#", "name": "small""#);
    let harness = Harness::of(&pool(strategy, &targets), &["outbound_payload", "outbound_headers"]).await;
    for (model, tier, served, why) in [
        ("gpt-4", "free", "gpt4", "the first"),
        ("gpt-4-turbo", "gold", "gpt4", "the first"),
        ("gpt-3.5", "free", "gpt35turbo", "the second"),
        ("gpt-3.5", "gold", "gpt4", "none: the ingress's own endpoint"),
        ("other", "free", "gpt4", "none: the ingress's own endpoint"),
    ] {
        let body = format!(r#"{{"model":"{model}","messages":[]}}"#);
        assert_eq!(harness.served_by(&[("X-Tier", tier)], &body).await, served, "{model}, {tier}: {why}");
    }
    harness.llms.answer("gpt35turbo", 500);
    let small = br#"{"model":"gpt-3.5"}"#;
    assert_eq!(harness.gateway.send("/azure/", &[], small).await.status, 500);
    let before = harness.calls();
    assert_eq!(
        harness.gateway.send("/azure/", &[], small).await.status,
        200,
        "nothing for it: the ingress's own endpoint"
    );
    assert_eq!(harness.calls(), (before.0 + 1, before.1));
}

#[tokio::test]
async fn a_branch_serves_as_long_as_anything_in_it_does() {
    let targets = format!(
        r#"{{"name": "pair", "targets": [{{"router": "{DUD}"}},
            {{"name": "inner", "strategy": {{"mode": "round_robin"}}, "targets": [{{"router": "{GPT35}"}}]}}]}},
           {{"router": "{GPT4}"}}"#
    );
    let harness = Harness::of(&pool(r#"{"mode": "fallback"}"#, &targets), &[]).await;
    let mut calls = 0;
    while harness.gateway.call().await.status == 200 {
        calls += 1;
        assert!(calls < 100, "the dud is never met");
    }
    for _ in 0..20 {
        assert_eq!(harness.gateway.call().await.status, 200);
    }
    assert_eq!(harness.calls(), (0, calls + 20), "without the dud the other of the pair serves");
    harness.llms.answer("gpt35turbo", 429);
    assert_eq!(harness.gateway.call().await.status, 429);
    for _ in 0..5 {
        assert_eq!(harness.gateway.call().await.status, 200);
    }
    assert_eq!(harness.calls(), (5, calls + 21), "the whole pair is out");
}

/// Every spelling that a careless rewriting would lose; `model` and `max_tokens` are changed on the way.
const SENT: &str = r#"{"top_p":1.50,"model":"gpt-4","unknown":{"b":[1e3,-0.0],"a":null,"a":"\u00fc ü \/"},"max_tokens":15,"user":"u","n":1e0,"max_tokens":16}"#;
const RECEIVED: &str = r#"{"top_p":1.50,"model":"gpt4","unknown":{"b":[1e3,-0.0],"a":null,"a":"\u00fc ü \/"},"max_tokens":200,"n":1e0,"seed":7}"#;

/// Overrides of the pool's branch and of the target: the nearest wins.
fn overrides() -> String {
    let targets = format!(
        r#"{{"override_params": {{"max_tokens": 5, "seed": 7}}, "targets": [
            {{"router": "{GPT35}", "override_params": {{"max_tokens": 200, "user": null}}, "model_map": {{"gpt-4": "gpt4"}}}}]}}"#
    );
    pool("{}", &targets)
}

#[tokio::test]
async fn the_request_arrives_overridden_and_otherwise_byte_for_byte() {
    let (bus, upstream, file) = (Bus::start().await, Upstream::start().await, PoolsFile::of(&overrides()));
    for (rows, config) in
        [("two rows", overriding(&bus, &upstream.url())), ("one row", overriding_in_one_row(&bus, &upstream.url()))]
    {
        let broker = broker(&bus, &file).await;
        let gateway = Gateway::start(&bus, &config).await;
        assert_eq!(gateway.send("/azure/", &[], SENT.as_bytes()).await.status, 200, "{rows}");
        let (path, body) = upstream.last();
        assert!(path.contains("/gpt35turbo/"), "{rows}: {path}");
        assert_eq!(body, RECEIVED, "{rows}");
        // Called directly, nothing is ours to change.
        assert_eq!(gateway.send(GPT35, &[], SENT.as_bytes()).await.status, 200);
        assert_eq!(upstream.last().1, SENT, "{rows}");
        assert_eq!(broker.count(&["was not changed"]), 0, "{rows}: {}", broker.text());
        for (sent, received) in [("no JSON", r#""no JSON""#), ("[1,2]", "[1,2]"), ("", r#""""#)] {
            assert_eq!(gateway.send("/azure/", &[], sent.as_bytes()).await.status, 200, "{rows}: {sent:?}");
            let (path, body) = upstream.last();
            assert!(path.contains("/gpt35turbo/"), "balanced all the same; {rows}: {path}");
            assert_eq!(body, received, "{rows}");
        }
        broker.until(&["a body was not changed", "not a JSON object"]).await;
        assert_eq!(broker.count(&["was not changed"]), 1, "said once; {rows}: {}", broker.text());
    }
}

#[tokio::test]
async fn what_the_gateway_does_not_show_cannot_be_changed_and_is_said() {
    let (bus, llms, file) = (Bus::start().await, Llms::start().await, PoolsFile::of(&overrides()));
    let broker = broker(&bus, &file).await;
    let mut config = overriding(&bus, &llms.url());
    config["request"]["processors"][1][0]["input_fields_include"] = serde_json::json!(["broker", "broker_patch"]);
    let gateway = Gateway::start(&bus, &config).await;
    for _ in 0..3 {
        assert_eq!(gateway.call().await.status, 200);
    }
    assert_eq!(llms.calls("gpt35turbo"), 3, "routed all the same");
    broker.until(&["a body was not changed", "outbound_payload"]).await;
    broker.exactly(&["a body was not changed"], 1).await;
}

#[tokio::test]
async fn a_wrong_file_ends_the_start_with_all_its_faults() {
    let text = r#"{
  "pools": [
    {
      "ingress": "/azure/", "strategy": {"mode": "loadbalanced"},
      "targets": [
        {"router": "/azure/gpt-4/"},
        {"router": "/azure/gpt4/", "weigth": 2},
        {"router": "/azure/dud/", "weight": -1},
        {"targets": []}
      ]
    }
  ]
}"#;
    let file = PoolsFile::of(text);
    let ended = Setup::bare().set("BROKER_CONFIG", file.path()).ended().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.out, "", "nothing has started");
    for (place, value, right) in [
        (":4:50 pools[0].strategy.mode", "loadbalanced", "loadbalance"),
        (":6:20 pools[0].targets[0].router", "/azure/gpt-4/", "letters"),
        (":7:36 pools[0].targets[1].weigth", "", "weight"),
        (":8:45 pools[0].targets[2].weight", "-1", ""),
        (":9:21 pools[0].targets[3].targets", "[]", ""),
    ] {
        let said = ended.err.lines().any(|line| [place, value, right].iter().all(|word| line.contains(word)));
        assert!(said, "no line with {place}, {value}, {right} in:\n{}", ended.err);
    }
    assert_eq!(ended.err.lines().count(), 6, "a head and five faults:\n{}", ended.err);
}

#[tokio::test]
async fn a_file_and_a_list_of_routers_do_not_go_together() {
    let file = PoolsFile::of(&pool("{}", &both("", "")));
    let path = file.path().display().to_string();
    for (name, value) in [("BROKER_ROUTERS", GPT4), ("BROKER_INGRESS", "/azure/")] {
        let ended = Setup::bare().set("BROKER_CONFIG", file.path()).set(name, value).ended().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(name) && ended.err.contains("BROKER_CONFIG"), "{}", ended.err);
        let ended = Setup::bare().arguments(&["--config", &path]).set(name, value).ended().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
    let ended = Setup::bare().set("BROKER_CONFIG", "/no/such/file").ended().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("/no/such/file") && ended.err.contains("cannot read"), "{}", ended.err);
}

#[tokio::test]
async fn where_all_are_disabled_the_soonest_is_tried_and_a_success_returns_it() {
    let pool = format!(
        r#"{{"pools": [{{"ingress": "/azure/", "when_all_disabled": "soonest", "strategy": {{"mode": "fallback"}},
            "targets": [{{"router": "{GPT35}"}}, {{"router": "{DUD}"}}]}}]}}"#
    );
    let harness = Harness::of(&pool, &[]).await;
    harness.llms.answer("gpt35turbo", 503);
    assert_eq!(harness.gateway.call().await.status, 503);
    assert_eq!(harness.gateway.call().await.status, 502, "the second has no upstream");
    harness.broker.until(&["all routers disabled", "when_all_disabled"]).await;
    assert_eq!(harness.gateway.call().await.status, 503, "the first is tried, and is still broken");
    harness.llms.answer("gpt35turbo", 200);
    let before = harness.calls();
    harness.broker.until(&["router disabled", DUD]).await;
    loop {
        // The permit of the last try is free as soon as its log is there; until then calls pass.
        let answer = harness.gateway.call().await;
        assert_eq!(answer.status, 200);
        if harness.calls().1 > before.1 {
            break;
        }
    }
    harness.broker.until(&["router enabled", GPT35]).await;
    harness.broker.until(&["routers available again"]).await;
}
