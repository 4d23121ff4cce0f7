//! What goes upstream: headers, masked and removed ones, parameters, body, path.

use serde_json::{Value, json};

use crate::support::http::{self, Call, Exchange, Upstream};
use crate::support::world::{World, by_name, processor};

/// One sync request modifier on `t.change` that may write `fields` and replies `reply`.
async fn changed_by(fields: &'static [&'static str], reply: Value, change: impl Fn(&mut Value)) -> World {
    let upstream = Upstream::start(|_: &Exchange| http::json(200, "{}")).await;
    let world = World::start(upstream, &|config: &mut Value| {
        config["request"]["processors"] = json!([[processor("change", "t.change", true, false, &[], fields)]]);
        config["response"]["processors"] = json!([]);
        change(config);
    })
    .await;
    world.answer("t.change", move |_| reply.to_string()).await;
    world
}

fn unchanged(_: &mut Value) {}

#[tokio::test]
async fn static_headers_win_and_masked_ones_are_always_the_clients() {
    let world = changed_by(&[], json!({}), |config| {
        config["routers"][1]["outbound"]["headers"] =
            json!({"Api-Key": ["router-key"], "X-Team": ["router"], "x-other": ["router"]});
    })
    .await;
    let call =
        Call::post("/azure/").with("X-Team", "client").with("X-Other", "client").with("X-Two", "1").with("X-Two", "2");
    world.send(&call).await.unwrap();
    let seen = &world.upstream.seen()[0];
    assert_eq!(seen.header("Api-Key"), ["secret-client-key"]);
    assert_eq!(seen.header("X-Team"), ["router"]);
    assert_eq!(seen.header("X-Other"), ["client", "router"]);
    assert_eq!(seen.header("X-Two"), ["1", "2"]);
    let log = world.log(0).await;
    assert_eq!(log["request"]["outbound_headers"]["Api-Key"], json!(["*****MASKED*****"]));
    assert!(!log.to_string().contains("secret-client-key") && !log.to_string().contains("router-key"));
}

#[tokio::test]
async fn a_modifier_replaces_the_headers_but_not_masked_or_static_ones() {
    let headers =
        json!({"outbound_headers": {"Authorization": ["forged"], "X-New": ["1"], "Content-Type": ["text/plain"]}});
    let world = changed_by(&["outbound_headers"], headers, unchanged).await;
    world.send(&Call::post("/azure/").with("X-Old", "1")).await.unwrap();
    let seen = &world.upstream.seen()[0];
    assert_eq!(seen.header("X-New"), ["1"]);
    assert_eq!(seen.header("Content-Type"), ["application/json"]);
    assert_eq!(seen.header("Api-Key"), ["secret-client-key"]);
    assert!(seen.header("Authorization").is_empty() && seen.header("X-Old").is_empty());
    let log = world.log(0).await;
    assert_eq!(log["request"]["outbound_headers_discarded"], json!({"Content-Length": [], "X-Old": []}));
}

#[tokio::test]
async fn removal_needs_the_canonical_spelling_and_is_only_reported_for_masked_names() {
    let world = changed_by(&[], json!({}), |config| {
        config["remove_headers"] = json!(["X-Gone", "x-stays", "Api-Key"]);
    })
    .await;
    world.send(&Call::post("/azure/").with("x-gone", "1").with("x-stays", "1")).await.unwrap();
    let seen = &world.upstream.seen()[0];
    assert!(seen.header("X-Gone").is_empty());
    assert_eq!(seen.header("X-Stays"), ["1"]);
    assert_eq!(seen.header("Api-Key"), ["secret-client-key"]);
    assert_eq!(world.log(0).await["request"]["outbound_headers_removed"], json!({"Api-Key": [], "X-Gone": []}));
}

#[tokio::test]
async fn ingress_headers_must_be_exactly_as_demanded() {
    let world = changed_by(&[], json!({}), |config| {
        config["routers"][1]["ingress"]["headers"] =
            json!({"X-Any": ["regex:.+"], "X-Literal": ["regex:a.*"], "X-Two": ["1", "2"]});
    })
    .await;
    let good = || {
        Call::post("/azure/").with("X-Any", "z").with("X-Literal", "regex:a.*").with("x-two", "1").with("X-Two", "2")
    };
    assert_eq!(world.send(&good()).await.unwrap().status(), 200);
    let unauthorized = |what: &str| format!(r#"{{"error":"unauthorized header:'{what}"}}"#);
    for (call, what) in [
        (good().without("X-Any"), "X-Any' missing"),
        (good().without("X-Literal").with("X-Literal", "abc"), "X-Literal' values invalid"),
        (good().without("x-two"), "X-Two' values missing"),
        (good().with("X-Two", "3"), "X-Two' values invalid"),
    ] {
        let answer = world.send(&call).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (401, unauthorized(what).as_str()));
    }
}

#[tokio::test]
async fn parameters_are_merged_from_client_url_and_endpoint() {
    let world = changed_by(&[], json!({}), |config| {
        let outbound = &mut config["routers"][1]["outbound"];
        outbound["url"] = json!(format!("{}?a=url&b=url", outbound["url"].as_str().unwrap()));
        outbound["endpoint"] = json!("x?b=endpoint");
    })
    .await;
    world.send(&Call::post("/azure/?b=client&c=x+y&c=%26&a=client")).await.unwrap();
    assert_eq!(world.upstream.seen()[0].target(), "/x?a=url&b=endpoint&c=x+y&c=%26");
    let log = world.log(0).await;
    let request = &log["request"];
    assert_eq!(request["outbound_query_parameters"], json!({"a": ["url"], "b": ["endpoint"], "c": ["x y", "&"]}));
    assert_eq!(request["outbound_query_parameters_overwritten"], json!({"a": ["url"], "b": ["endpoint"]}));
    let array = json!([{"name": "a", "details": ["client"]}, {"name": "b", "details": ["client"]}, {"name": "c", "details": ["x y", "&"]}]);
    assert_eq!(request["ingress_query_parameters"], array);
    assert_eq!(world.heard_on("t.change")[0]["outbound_query_parameters"], array);
}

#[tokio::test]
async fn parameters_of_the_wrong_shape_are_all_lost() {
    let world =
        changed_by(&["outbound_query_parameters"], json!({"outbound_query_parameters": {"q": ["2"]}}), unchanged).await;
    world.send(&Call::post("/azure/?q=1")).await.unwrap();
    assert!(world.upstream.seen()[0].target().ends_with("?api-version=2023-05-15"));
    let log = world.log(0).await;
    assert!(by_name(&log["request"]["error"]).contains_key("outbound_query_parameters"));
    assert_eq!(log["request"]["outbound_query_parameters_discarded"], json!({"q": ["1"]}));
}

#[tokio::test]
async fn a_modifier_replaces_the_body_byte_for_byte() {
    for body in [r#"{ "b" : 1.0,"a":"<&>" }"#, r#""a string""#] {
        let upstream = Upstream::start(|_: &Exchange| http::json(200, "{}")).await;
        let world = World::start(upstream, &|config: &mut Value| {
            let change = processor("change", "t.change", true, false, &["gl_path"], &["outbound_payload"]);
            config["request"]["processors"] = json!([[change]]);
        })
        .await;
        world.answer("t.change", move |_| format!(r#"{{"outbound_payload":{body}}}"#)).await;
        world.send(&Call::post("/azure/")).await.unwrap();
        assert_eq!(world.upstream.seen()[0].text(), body);
        assert_eq!(world.log(0).await["request"]["ingress_payload"]["max_tokens"], 15);
    }
}

#[tokio::test]
async fn a_modifier_replaces_the_subpath_of_a_router_without_endpoint() {
    let world = changed_by(&["outbound_subpath"], json!({"outbound_subpath": "../up/./to?x/"}), |config| {
        let outbound = &mut config["routers"][1]["outbound"];
        outbound["url"] = json!(format!("{}v1", outbound["url"].as_str().unwrap()));
        outbound["endpoint"] = json!("");
    })
    .await;
    world.send(&Call::post("/azure/chat")).await.unwrap();
    assert_eq!(world.upstream.seen()[0].target(), "/up/to%3Fx/");
}

#[tokio::test]
async fn hop_by_hop_headers_pass_and_a_missing_user_agent_is_gos() {
    let world = changed_by(&[], json!({}), unchanged).await;
    world
        .send(&Call::post("/azure/").with("X-Forwarded-For", "1.2.3.4").with("Cookie", "a=b").with("TE", "trailers"))
        .await
        .unwrap();
    let seen = &world.upstream.seen()[0];
    assert_eq!(seen.header("X-Forwarded-For"), ["1.2.3.4"]);
    assert_eq!(seen.header("Cookie"), ["a=b"]);
    assert_eq!(seen.header("User-Agent"), ["Go-http-client/1.1"]);
    assert_eq!(seen.header("Accept-Encoding"), ["gzip"]);
    let called = Call::post("/azure/").with("User-Agent", "mine/1");
    world.send(&called).await.unwrap();
    assert_eq!(world.upstream.seen()[1].header("User-Agent"), ["mine/1"]);
}
