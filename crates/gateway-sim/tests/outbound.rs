//! What goes upstream: headers, masked and removed ones, parameters, body, path.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::harness::{Harness, LOGGER, Responder, by_name, processor};
use crate::support::http::{self, Call, Exchange, Upstream};

/// One sync request modifier on `t.change` that may write `fields` and replies `reply`.
async fn changed_by(fields: &'static [&'static str], reply: Value, change: impl Fn(&mut Value)) -> Harness {
    let upstream = Upstream::start(|_: &Exchange| http::json(200, "{}")).await;
    let harness = Harness::start(upstream, &|config: &mut Value| {
        config["request"]["processors"] = json!([[processor("change", "t.change", true, false, &[], fields)]]);
        config["response"]["processors"] = json!([]);
        change(config);
    })
    .await;
    harness.answer("t.change", move |_| reply.to_string()).await;
    harness
}

fn unchanged(_: &mut Value) {}

const MASK: &str = "*****MASKED*****";

#[tokio::test]
async fn static_headers_win_and_masked_ones_are_always_the_clients() {
    let harness = changed_by(&[], json!({}), |config| {
        config["routers"][1]["outbound"]["headers"] =
            json!({"Api-Key": ["router-key"], "X-Team": ["router"], "x-other": ["router"]});
    })
    .await;
    let call =
        Call::post("/azure/").with("X-Team", "client").with("X-Other", "client").with("X-Two", "1").with("X-Two", "2");
    harness.send(&call).await.unwrap();
    let seen = &harness.upstream.seen()[0];
    assert_eq!(seen.header("Api-Key"), ["secret-client-key"]);
    assert_eq!(seen.header("X-Team"), ["router"]);
    assert_eq!(seen.header("X-Other"), ["client", "router"]);
    assert_eq!(seen.header("X-Two"), ["1", "2"]);
    let log = harness.log(0).await;
    assert_eq!(log["request"]["outbound_headers"]["Api-Key"], json!([MASK]));
    assert_eq!(log["request"]["outbound_headers"]["X-Other"], json!(["client", "router"]));
    assert!(log["request"]["outbound_headers"].get("x-other").is_none());
    assert!(!log.to_string().contains("secret-client-key") && !log.to_string().contains("router-key"));
}

#[tokio::test]
async fn a_modifier_replaces_the_headers_but_not_masked_or_static_ones() {
    let headers =
        json!({"outbound_headers": {"Authorization": ["forged"], "X-New": ["1"], "Content-Type": ["text/plain"]}});
    let harness = changed_by(&["outbound_headers"], headers, unchanged).await;
    harness.send(&Call::post("/azure/").with("X-Old", "1")).await.unwrap();
    let seen = &harness.upstream.seen()[0];
    assert_eq!(seen.header("X-New"), ["1"]);
    assert_eq!(seen.header("Content-Type"), ["application/json"]);
    assert_eq!(seen.header("Api-Key"), ["secret-client-key"]);
    assert!(seen.header("Authorization").is_empty() && seen.header("X-Old").is_empty());
    let log = harness.log(0).await;
    // The client's masked header was not in the processor's set, so it counts as discarded although it is sent.
    let discarded = json!({"Api-Key": [MASK], "Content-Length": [], "X-Old": []});
    assert_eq!(log["request"]["outbound_headers_discarded"], discarded);
}

#[tokio::test]
async fn removal_needs_the_canonical_spelling_and_is_only_reported_for_masked_names() {
    let harness = changed_by(&[], json!({}), |config| {
        config["remove_headers"] = json!(["X-Gone", "x-stays", "Api-Key"]);
    })
    .await;
    harness.send(&Call::post("/azure/").with("x-gone", "1").with("x-stays", "1")).await.unwrap();
    let seen = &harness.upstream.seen()[0];
    assert!(seen.header("X-Gone").is_empty());
    assert_eq!(seen.header("X-Stays"), ["1"]);
    assert_eq!(seen.header("Api-Key"), ["secret-client-key"]);
    let removed = json!({"Api-Key": [MASK], "X-Gone": []});
    assert_eq!(harness.log(0).await["request"]["outbound_headers_removed"], removed);
}

#[tokio::test]
async fn s4_a_masked_header_that_comes_twice_is_sent_twice_and_shown_once() {
    let answer = http::answer(200, &[("Authorization", "up-1"), ("Authorization", "up-2")], b"{}");
    let upstream = Upstream::start(move |_: &Exchange| answer.clone()).await;
    let harness = Harness::start(upstream, &|config: &mut Value| {
        config["request"]["processors"] = json!([[processor("all", "t.all", false, false, &[], &[])]]);
        config["response"]["processors"] = json!([]);
    })
    .await;
    harness.answer("t.all", |_| String::new()).await;
    let answer = harness.send(&Call::post("/azure/").with("Api-Key", "second-key")).await.unwrap();
    assert_eq!(harness.upstream.seen()[0].header("Api-Key"), ["secret-client-key", "second-key"]);
    assert_eq!(answer.header("Authorization"), ["up-1", "up-2"]);
    let (log, request) = (harness.log(0).await, &harness.received_on("t.all")[0]);
    for shown in [&request["ingress_headers"], &request["outbound_headers"], &log["request"]["outbound_headers"]] {
        assert_eq!(shown["Api-Key"], json!([MASK]));
    }
    for field in ["inbound_headers", "egress_headers"] {
        assert_eq!(log["response"][field]["Authorization"], json!([MASK]));
    }
}

#[tokio::test]
async fn s4_async_processors_see_the_outbound_headers_before_they_are_merged() {
    let upstream = Upstream::start(|_: &Exchange| http::json(200, "{}")).await;
    let harness = Harness::start(upstream, &|config: &mut Value| {
        let change = processor("change", "t.change", true, false, &["gl_path"], &["outbound_headers"]);
        let late = processor("late", "t.late", false, true, &[], &[]);
        config["request"]["processors"] = json!([[change, late]]);
        config["response"]["processors"] = json!([]);
        config["routers"][1]["outbound"]["headers"] = json!({"X-Static": ["1"]});
    })
    .await;
    harness.answer("t.late", |_| String::new()).await;
    let call = Call::post("/azure/").with("X-Own", "1");
    harness.send(&call).await.unwrap();
    harness.log(0).await;
    harness.answer("t.change", |_| r#"{"outbound_headers":{"x-new":["1"]}}"#.to_owned()).await;
    harness.send(&call).await.unwrap();
    let log = harness.log(1).await;
    let seen = harness.received_on("t.late");
    assert_eq!(seen[0]["outbound_headers"], seen[0]["ingress_headers"]);
    assert_eq!(seen[0]["outbound_headers_removed"], json!({"Content-Length": []}));
    assert_eq!(seen[1]["outbound_headers"], json!({"x-new": ["1"]}));
    let sent = json!({"Api-Key": [MASK], "X-New": ["1"], "X-Static": ["1"]});
    assert_eq!(log["request"]["outbound_headers"], sent, "the log has the merged set");
}

#[tokio::test]
async fn s4_invalid_utf8_in_a_reply_is_sent_byte_for_byte() {
    let upstream = Upstream::start(|_: &Exchange| http::json(200, "{}")).await;
    let harness = Harness::start(upstream, &|config: &mut Value| {
        let fields = ["outbound_payload", "gl_path"];
        let change = processor("change", "t.change", true, false, &["gl_path"], &fields);
        let answer = processor("answer", "t.answer", true, false, &["gl_path"], &["egress_payload"]);
        config["request"]["processors"] = json!([[change]]);
        config["response"]["processors"] = json!([[answer]]);
    })
    .await;
    let replying = |reply: &'static [u8]| -> Responder { Box::new(move |_| (Duration::ZERO, Some(reply.to_vec()))) };
    harness
        .respond_with("t.change", replying(b"{\"outbound_payload\":{ \"a\":\"\xff\xc3\"},\"gl_path\":\"/\xfe/\"}"))
        .await;
    harness.respond_with("t.answer", replying(b"{\"egress_payload\":\"\xfe \xc3\xa9\"}")).await;
    let answer = harness.send(&Call::post("/azure/")).await.unwrap();
    assert_eq!(harness.upstream.seen()[0].body, b"{ \"a\":\"\xff\xc3\"}");
    assert_eq!(answer.body, b"\"\xfe \xc3\xa9\"");
    harness.until_received(3).await;
    let log = harness.received().into_iter().find(|message| message.subject == LOGGER).unwrap().raw;
    assert!(log.windows(5).any(|bytes| bytes == b"\"\xff\xc3\"}"), "{}", log.escape_ascii());
}

#[tokio::test]
async fn s4_ingress_headers_must_be_exactly_as_required() {
    let harness = changed_by(&[], json!({}), |config| {
        config["routers"][1]["ingress"]["headers"] =
            json!({"X-Any": ["regex:.+"], "X-Literal": ["regex:a.*"], "X-Two": ["1", "2"]});
    })
    .await;
    let good = || {
        Call::post("/azure/").with("X-Any", "z").with("X-Literal", "regex:a.*").with("x-two", "1").with("X-Two", "2")
    };
    assert_eq!(harness.send(&good()).await.unwrap().status(), 200);
    let several = good().with("X-Any", "").with("X-Any", "y");
    assert_eq!(harness.send(&several).await.unwrap().status(), 200);
    let unauthorized = |what: &str| format!(r#"{{"error":"unauthorized header:'{what}"}}"#);
    for (call, what) in [
        (good().without("X-Any"), "X-Any' missing"),
        (good().without("X-Literal").with("X-Literal", "abc"), "X-Literal' values invalid"),
        (good().without("X-Any").with("X-Any", ""), "X-Any' values missing"),
        (good().without("x-two"), "X-Two' values invalid"),
        (good().with("X-Two", "3"), "X-Two' values invalid"),
    ] {
        let answer = harness.send(&call).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (401, unauthorized(what).as_str()));
    }
}

#[tokio::test]
async fn parameters_are_merged_from_client_url_and_endpoint() {
    let harness = changed_by(&[], json!({}), |config| {
        let outbound = &mut config["routers"][1]["outbound"];
        outbound["url"] = json!(format!("{}?a=url&b=url", outbound["url"].as_str().unwrap()));
        outbound["endpoint"] = json!("x?b=endpoint");
    })
    .await;
    harness.send(&Call::post("/azure/?b=client&c=x+y&c=%26&a=client")).await.unwrap();
    assert_eq!(harness.upstream.seen()[0].target(), "/x?a=url&b=endpoint&c=x+y&c=%26");
    let log = harness.log(0).await;
    let request = &log["request"];
    assert_eq!(request["outbound_query_parameters"], json!({"a": ["url"], "b": ["endpoint"], "c": ["x y", "&"]}));
    assert_eq!(request["outbound_query_parameters_overwritten"], json!({"a": ["url"], "b": ["url", "endpoint"]}));
    let array = json!([{"name": "a", "details": ["client"]}, {"name": "b", "details": ["client"]}, {"name": "c", "details": ["x y", "&"]}]);
    assert_eq!(request["ingress_query_parameters"], array);
    assert_eq!(harness.received_on("t.change")[0]["outbound_query_parameters"], array);
}

#[tokio::test]
async fn parameters_of_the_wrong_shape_are_all_lost() {
    let harness =
        changed_by(&["outbound_query_parameters"], json!({"outbound_query_parameters": {"q": ["2"]}}), unchanged).await;
    harness.send(&Call::post("/azure/?q=1")).await.unwrap();
    assert!(harness.upstream.seen()[0].target().ends_with("?api-version=2023-05-15"));
    let log = harness.log(0).await;
    assert!(by_name(&log["request"]["error"]).contains_key("outbound_query_parameters"));
    assert_eq!(log["request"]["outbound_query_parameters_discarded"], json!({"q": ["1"]}));
}

#[tokio::test]
async fn discarded_parameters_are_the_clients_even_if_processors_change_the_ingress_field() {
    let fields = &["outbound_query_parameters", "ingress_query_parameters"];
    let reply = json!({"outbound_query_parameters": [{"name": "n", "details": ["1"]}], "ingress_query_parameters": []});
    let harness = changed_by(fields, reply, unchanged).await;
    harness.send(&Call::post("/azure/?q=1&q=2")).await.unwrap();
    let log = harness.log(0).await;
    assert_eq!(log["request"]["outbound_query_parameters_discarded"], json!({"q": ["1", "2"]}));
    assert!(harness.upstream.seen()[0].target().ends_with("?api-version=2023-05-15&n=1"));
}

#[tokio::test]
async fn a_query_without_a_parameter_leaves_no_field() {
    let harness = changed_by(&[], json!({}), unchanged).await;
    for target in ["/azure/?", "/azure/?a;b", "/azure/?%zz=1"] {
        harness.send(&Call::post(target)).await.unwrap();
    }
    for request in harness.received_on("t.change") {
        assert!(request.get("ingress_query_parameters").is_none(), "{request}");
    }
}

#[tokio::test]
async fn a_subpath_of_the_wrong_shape_is_an_error_only_where_it_is_used() {
    let reply = || json!({"outbound_subpath": 1});
    let hidden = changed_by(&["outbound_subpath"], reply(), unchanged).await;
    let used = changed_by(&["outbound_subpath"], reply(), |config| {
        config["routers"][1]["outbound"]["endpoint"] = json!("");
    })
    .await;
    for (harness, noted) in [(hidden, false), (used, true)] {
        harness.send(&Call::post("/azure/x")).await.unwrap();
        let log = harness.log(0).await;
        assert_eq!(by_name(&log["request"]["error"]).contains_key("outbound_subpath"), noted);
    }
}

#[tokio::test]
async fn a_modifier_replaces_the_body_byte_for_byte() {
    for body in [r#"{ "b" : 1.0,"a":"<&>" }"#, r#""a string""#] {
        let upstream = Upstream::start(|_: &Exchange| http::json(200, "{}")).await;
        let harness = Harness::start(upstream, &|config: &mut Value| {
            let change = processor("change", "t.change", true, false, &["gl_path"], &["outbound_payload"]);
            config["request"]["processors"] = json!([[change]]);
        })
        .await;
        harness.answer("t.change", move |_| format!(r#"{{"outbound_payload":{body}}}"#)).await;
        harness.send(&Call::post("/azure/")).await.unwrap();
        assert_eq!(harness.upstream.seen()[0].text(), body);
        assert_eq!(harness.log(0).await["request"]["ingress_payload"]["max_tokens"], 15);
    }
}

#[tokio::test]
async fn a_modifier_replaces_the_subpath_of_a_router_without_endpoint() {
    let harness = changed_by(&["outbound_subpath"], json!({"outbound_subpath": "../up/./to?x/"}), |config| {
        let outbound = &mut config["routers"][1]["outbound"];
        outbound["url"] = json!(format!("{}v1", outbound["url"].as_str().unwrap()));
        outbound["endpoint"] = json!("");
    })
    .await;
    harness.send(&Call::post("/azure/chat")).await.unwrap();
    assert_eq!(harness.upstream.seen()[0].target(), "/up/to%3Fx/");
}

#[tokio::test]
async fn hop_by_hop_headers_pass_and_a_missing_user_agent_is_gos() {
    let harness = changed_by(&[], json!({}), unchanged).await;
    harness
        .send(&Call::post("/azure/").with("X-Forwarded-For", "1.2.3.4").with("Cookie", "a=b").with("TE", "trailers"))
        .await
        .unwrap();
    let seen = &harness.upstream.seen()[0];
    assert_eq!(seen.header("X-Forwarded-For"), ["1.2.3.4"]);
    assert_eq!(seen.header("Cookie"), ["a=b"]);
    assert_eq!(seen.header("User-Agent"), ["Go-http-client/1.1"]);
    assert_eq!(seen.header("Accept-Encoding"), ["gzip"]);
    let called = Call::post("/azure/").with("User-Agent", "mine/1");
    harness.send(&called).await.unwrap();
    assert_eq!(harness.upstream.seen()[1].header("User-Agent"), ["mine/1"]);
    harness.send(&Call::post("/azure/").with("User-Agent", "")).await.unwrap();
    assert!(harness.upstream.seen()[2].header("User-Agent").is_empty());
    let host = harness.upstream.addr.to_string();
    assert_eq!(seen.header("Host"), [host.as_str()]);
}

#[tokio::test]
async fn pragma_no_cache_means_cache_control_too() {
    let harness = changed_by(&[], json!({}), unchanged).await;
    harness.send(&Call::post("/azure/").with("Pragma", "no-cache")).await.unwrap();
    assert_eq!(harness.upstream.seen()[0].header("Cache-Control"), ["no-cache"]);
    let own = Call::post("/azure/").with("Pragma", "no-cache").with("Cache-Control", "max-age=1");
    harness.send(&own).await.unwrap();
    assert_eq!(harness.upstream.seen()[1].header("Cache-Control"), ["max-age=1"]);
}
