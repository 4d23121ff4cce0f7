//! Rows of processors: order, snapshots, what is sent, what of the reply counts, and what a missing reply costs.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::harness::{Harness, by_name, processor};
use crate::support::http::{self, Call, Exchange, Upstream};

async fn harness(change: impl Fn(&mut Value)) -> Harness {
    let bare = |config: &mut Value| {
        config["request"]["processors"] = json!([]);
        config["response"]["processors"] = json!([]);
        change(config);
    };
    Harness::start(Upstream::start(|_: &Exchange| http::json(200, r#"{"ok": true}"#)).await, &bare).await
}

async fn call(harness: &Harness) -> Exchange {
    harness.send(&Call::post("/azure/")).await.unwrap()
}

fn annotator(name: &str, write: &[&str]) -> Value {
    processor(name, &format!("t.{name}"), false, false, &["gl_path"], write)
}

fn delayed(ms: u64, reply: &str) -> crate::support::harness::Responder {
    let reply = reply.as_bytes().to_vec();
    Box::new(move |_| (Duration::from_millis(ms), Some(reply.clone())))
}

#[tokio::test]
async fn members_of_a_row_are_asked_at_the_same_time_with_the_same_snapshot() {
    let harness = harness(|config| {
        let all = |name: &str| processor(name, &format!("t.{name}"), false, false, &[], &[name]);
        config["request"]["processors"] = json!([[all("a"), all("b")], [all("c")]]);
    })
    .await;
    // Each of the two answers only when both have been asked: one after the other would never end.
    let both = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    for name in ["a", "b"] {
        let (both, bus) = (std::sync::Arc::clone(&both), harness.bus.clone());
        harness.record(&format!("t.{name}")).await;
        let mut requests = bus.subscribe(format!("t.{name}")).await.unwrap();
        harness.round_trip().await;
        tokio::spawn(async move {
            let request = requests.next().await.unwrap();
            both.wait().await;
            bus.publish(request.reply.unwrap(), format!(r#"{{"{name}":1}}"#).into()).await.unwrap();
        });
    }
    harness.answer("t.c", |_| r#"{"c":1}"#.to_owned()).await;
    call(&harness).await;
    harness.log(0).await;
    assert!(harness.received_on("t.a")[0].get("b").is_none() && harness.received_on("t.b")[0].get("a").is_none());
    let third = &harness.received_on("t.c")[0];
    assert_eq!((&third["a"], &third["b"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn writes_of_a_row_are_applied_in_order_of_arrival() {
    let harness = harness(|config| {
        let write = |name: &str| processor(name, &format!("t.{name}"), true, false, &["gl_path"], &["ingress_subpath"]);
        config["request"]["processors"] = json!([[write("slow"), write("fast")]]);
    })
    .await;
    harness.respond_with("t.slow", delayed(150, r#"{"ingress_subpath":"slow"}"#)).await;
    harness.respond_with("t.fast", delayed(0, r#"{"ingress_subpath":"fast"}"#)).await;
    call(&harness).await;
    assert_eq!(harness.log(0).await["request"]["ingress_subpath"], "slow");
}

#[tokio::test]
async fn a_modifier_replaces_and_an_annotator_adds_and_both_write_named_fields_only() {
    let harness = harness(|config| {
        let fields = ["ingress_subpath", "new", "control"];
        let one = |name: &str, modifier: bool| processor(name, &format!("t.{name}"), modifier, false, &[], &fields);
        config["request"]["processors"] = json!([[one("modifier", true)], [one("annotator", false)]]);
    })
    .await;
    let reply = |said: &'static str| {
        move |_: &Value| json!({"ingress_subpath": said, "new": said, "unnamed": said, "gl_path": said}).to_string()
    };
    harness.answer("t.modifier", reply("modifier")).await;
    harness.answer("t.annotator", reply("annotator")).await;
    call(&harness).await;
    let log = harness.log(0).await;
    assert_eq!(log["request"]["ingress_subpath"], "modifier");
    assert_eq!(log["request"]["new"], "annotator");
    assert_eq!(log["request"]["gl_path"], "/azure/");
    assert!(log["request"].get("unnamed").is_none());
}

#[tokio::test]
async fn input_is_included_then_excluded_and_nothing_left_means_no_call() {
    let harness = harness(|config| {
        let mut some = annotator("some", &[]);
        some["input_fields_include"] = json!(["gl_path", "ingress_subpath"]);
        some["input_fields_exclude"] = json!(["gl_path"]);
        let mut all_but = annotator("all_but", &[]);
        all_but["input_fields_include"] = json!([]);
        all_but["input_fields_exclude"] = json!(["ingress_headers", "outbound_headers"]);
        let mut none = annotator("none", &[]);
        none["input_fields_include"] = json!(["no_such_field"]);
        config["request"]["processors"] = json!([[some, all_but, none]]);
    })
    .await;
    for name in ["some", "all_but", "none"] {
        harness.answer(&format!("t.{name}"), |_| r#"{"x":1}"#.to_owned()).await;
    }
    call(&harness).await;
    let log = harness.log(0).await;
    assert_eq!(harness.received_on("t.some"), [json!({"ingress_subpath": ""})]);
    let payload: Value = serde_json::from_str(http::HI).unwrap();
    assert_eq!(
        harness.received_on("t.all_but"),
        [json!({
            "gl_path": "/azure/", "ingress_subpath": "", "outbound_subpath": "",
            "ingress_payload": payload, "outbound_payload": payload
        })]
    );
    assert!(harness.received_on("t.none").is_empty());
    let ran = by_name(&log["request"]["processors"]);
    let never = json!({"start": "0001-01-01T00:00:00Z", "stop": "0001-01-01T00:00:00Z", "duration": 0});
    assert_eq!(ran["none"], json!({"required": false, "completed": false, "timestamp": never}));
    assert_eq!(ran["some"]["completed"], true);
    assert!(log["request"].get("error").is_none());
}

#[tokio::test]
async fn an_empty_input_fails_a_required_processor() {
    let harness = harness(|config| {
        let mut none = annotator("none", &[]);
        none["input_fields_include"] = json!(["no_such_field"]);
        none["required"] = json!(true);
        config["request"]["processors"] = json!([[none]]);
    })
    .await;
    assert_eq!(call(&harness).await.status(), 500);
    assert!(harness.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_failed_required_member_hides_those_behind_it_but_not_their_writes() {
    let harness = harness(|config| {
        let mut required = annotator("b", &[]);
        required["required"] = json!(true);
        config["request"]["processors"] =
            json!([[annotator("a", &["a"]), required, annotator("c", &["c"])], [annotator("d", &["d"])]]);
        config["response"]["processors"] = json!([[annotator("sync", &[])]]);
    })
    .await;
    for name in ["a", "c", "d", "sync"] {
        harness.answer(&format!("t.{name}"), move |_| json!({name: 1}).to_string()).await;
    }
    harness.answer("t.b", |_| String::new()).await;
    assert_eq!(call(&harness).await.text(), r#"{"error":"internal server error"}"#);
    let log = harness.log(0).await;
    let ran = by_name(&log["request"]["processors"]);
    assert_eq!(ran.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(log["request"]["c"], 1);
    assert!(harness.received_on("t.d").is_empty() && harness.received_on("t.sync").is_empty());
}

#[tokio::test]
async fn async_processors_run_after_the_client_was_answered_and_then_the_log_comes() {
    let harness = harness(|config| {
        let post = |name: &str, write: &[&str]| processor(name, &format!("t.{name}"), false, true, &[], write);
        config["request"]["processors"] = json!([[post("q1", &["q1"])], [post("q2", &["q2"])]]);
        config["response"]["processors"] = json!([[post("r1", &["r1"])], [post("r2", &["r2"])]]);
    })
    .await;
    let (release, hold) = tokio::sync::watch::channel(false);
    let bus = harness.bus.clone();
    harness.record("t.q1").await;
    let mut requests = bus.subscribe("t.q1").await.unwrap();
    harness.round_trip().await;
    tokio::spawn(async move {
        let (request, mut hold) = (requests.next().await.unwrap(), hold);
        hold.wait_for(|released| *released).await.unwrap();
        bus.publish(request.reply.unwrap(), r#"{"q1":1}"#.into()).await.unwrap();
    });
    for name in ["q2", "r1", "r2"] {
        harness.answer(&format!("t.{name}"), move |_| json!({name: 1}).to_string()).await;
    }
    assert_eq!(call(&harness).await.status(), 200);
    assert!(harness.received_on("coburn.gl.logger").is_empty());
    release.send(true).unwrap();
    let log = harness.log(0).await;
    let order: Vec<String> = harness.received().iter().map(|message| message.subject.clone()).collect();
    assert_eq!(order, ["t.q1", "t.q2", "t.r2", "t.r1", "coburn.gl.logger"]);
    assert!(harness.received_on("t.q2")[0]["url_path"].as_str().unwrap().contains("/gpt4/"));
    assert_eq!(harness.received_on("t.q2")[0]["outbound_query_parameters"], json!({"api-version": ["2023-05-15"]}));
    assert_eq!(harness.received_on("t.r1")[0]["r2"], 1);
    assert_eq!(by_name(&log["response"]["processors_async"]).len(), 2);
    assert_eq!(log["request"]["q1"], 1);
}

#[tokio::test]
async fn after_a_failed_required_async_request_processor_no_async_one_runs() {
    let harness = harness(|config| {
        let post = |name: &str| processor(name, &format!("t.{name}"), false, true, &[], &[]);
        let mut required = post("q1");
        required["required"] = json!(true);
        config["request"]["processors"] = json!([[required], [post("q2")]]);
        config["response"]["processors"] = json!([[post("r1")]]);
    })
    .await;
    for name in ["q2", "r1"] {
        harness.answer(&format!("t.{name}"), |_| r#"{"x":1}"#.to_owned()).await;
    }
    assert_eq!(call(&harness).await.status(), 200);
    let log = harness.log(0).await;
    assert_eq!(by_name(&log["request"]["error"])["q1"], "required processor didn't run");
    assert!(log["request"].get("processors_async").is_none());
    assert!(harness.received_on("t.q2").is_empty() && harness.received_on("t.r1").is_empty());
}

#[tokio::test]
async fn the_first_reply_wins_and_late_ones_are_ignored() {
    let harness = harness(|config| {
        let mut late = annotator("late", &["late"]);
        late["timeout"] = json!(30);
        config["request"]["processors"] = json!([[annotator("twice", &["who"]), late]]);
    })
    .await;
    harness.respond_with("t.twice", delayed(0, r#"{"who":"first"}"#)).await;
    harness.respond_with("t.twice", delayed(80, r#"{"who":"second"}"#)).await;
    harness.respond_with("t.late", delayed(60, r#"{"late":1}"#)).await;
    call(&harness).await;
    let log = harness.log(0).await;
    assert_eq!(log["request"]["who"], "first");
    assert!(log["request"].get("late").is_none());
    assert_eq!(by_name(&log["request"]["error"])["late"], "context deadline exceeded");
    let waited = &by_name(&log["request"]["processors"])["late"]["timestamp"]["duration"];
    assert!(waited.as_i64().unwrap() >= 30, "{waited}");
}

#[tokio::test]
async fn the_same_name_in_two_rows_leaves_one_entry() {
    let harness = harness(|config| {
        let mut again = annotator("one", &["b"]);
        again["service_bus_topic"] = json!("t.two");
        config["request"]["processors"] = json!([[annotator("one", &["a"])], [again]]);
    })
    .await;
    harness.answer("t.one", |_| r#"{"a":1}"#.to_owned()).await;
    harness.answer("t.two", |_| String::new()).await;
    call(&harness).await;
    let log = harness.log(0).await;
    assert_eq!(log["request"]["processors"].as_array().unwrap().len(), 1);
    assert_eq!(log["request"]["processors"][0]["details"]["completed"], false);
}

#[tokio::test]
async fn messages_are_compact_sorted_escaped_and_otherwise_as_the_client_wrote_them() {
    let harness = harness(|config| {
        let mut all = annotator("all", &[]);
        all["input_fields_include"] = json!(["ingress_payload", "gl_path"]);
        config["request"]["processors"] = json!([[all]]);
    })
    .await;
    harness.answer("t.all", |_| String::new()).await;
    let body = b"{ \"b\": 1.0e+2, \"a\": \"<x> & \xff\", \"b\": -0 }";
    harness.send(&Call::post("/azure/").body(&body[..])).await.unwrap();
    harness.until_received(1).await;
    let expected =
        b"{\"gl_path\":\"/azure/\",\"ingress_payload\":{\"b\":1.0e+2,\"a\":\"\\u003cx\\u003e \\u0026 \xff\",\"b\":-0}}";
    assert_eq!(&harness.received()[0].raw[..], &expected[..]);
    assert_eq!(harness.upstream.seen()[0].body, body);
}

#[tokio::test]
async fn a_reply_with_a_wrong_shape_is_an_error_and_not_completed() {
    let harness = harness(|config| config["request"]["processors"] = json!([[annotator("a", &["x"])]])).await;
    harness.answer("t.a", |_| "\u{feff}{\"x\":1}".to_owned()).await;
    call(&harness).await;
    let log = harness.log(0).await;
    assert!(by_name(&log["request"]["error"]).contains_key("a"));
    assert_eq!(by_name(&log["request"]["processors"])["a"]["completed"], false);
}
