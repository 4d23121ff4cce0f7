//! What a sync response processor may do to the answer.

use serde_json::{Value, json};

use crate::support::harness::{Harness, LOGGER, by_name, processor};
use crate::support::http::{self, Call, Exchange, Upstream};

const FIELDS: [&str; 3] = ["egress_status_code", "egress_payload", "egress_headers"];

/// A harness whose upstream answers 200 and whose response modifier replies `reply`.
async fn replying(reply: &'static str) -> Harness {
    let headers = [("Content-Type", "application/json"), ("Authorization", "upstream-secret"), ("X-Up", "1")];
    let answer = http::answer(200, &headers, br#"{"ok": true}"#);
    let upstream = Upstream::start(move |_: &Exchange| answer.clone()).await;
    let harness = Harness::start(upstream, &|config: &mut Value| {
        config["request"]["processors"] = json!([]);
        let late = processor("late", "t.late", false, true, &["egress_status_code"], &[]);
        config["response"]["processors"] =
            json!([[late], [processor("change", "t.change", true, false, &[], &FIELDS)]]);
    })
    .await;
    harness.answer("t.change", move |_| reply.to_owned()).await;
    harness
}

async fn call(harness: &Harness) -> Option<Exchange> {
    harness.send(&Call::post("/azure/")).await
}

#[tokio::test]
async fn a_status_from_100_to_999_goes_to_the_client_and_into_the_log() {
    for (reply, status) in [(r#"{"egress_status_code":503}"#, 503), (r#"{"egress_status_code":999}"#, 999)] {
        let harness = replying(reply).await;
        let answer = call(&harness).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (status, r#"{"ok": true}"#));
        let log = harness.log(0).await;
        assert_eq!(log["response"]["egress_status_code"], status);
        assert_eq!(log["response"]["inbound_status_code"], 200);
        assert_eq!(by_name(&log["response"]["error"])["egress_status_code"], status.to_string());
    }
}

#[tokio::test]
async fn s4_a_status_that_is_no_integer_is_500_with_the_body_there_is() {
    for reply in [r#"{"egress_status_code":"503"}"#, r#"{"egress_status_code":503.0}"#, r#"{"egress_status_code":[]}"#]
    {
        let harness = replying(reply).await;
        let answer = call(&harness).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (500, r#"{"ok": true}"#), "{reply}: upstream's body stays");
        assert_eq!(harness.log(0).await["response"]["egress_status_code"], 500);
    }
}

#[tokio::test]
async fn a_status_that_is_null_or_out_of_range_closes_the_connection_and_leaves_no_trace() {
    for reply in [
        r#"{"egress_status_code":null}"#,
        r#"{"egress_status_code":99}"#,
        r#"{"egress_status_code":1000}"#,
        r#"{"egress_status_code":-1}"#,
    ] {
        let mut harness = replying(reply).await;
        harness.record("t.late").await;
        assert_eq!(call(&harness).await, None, "{reply}");
        harness.stop_and_drain().await;
        assert!(harness.received_on(LOGGER).is_empty() && harness.received_on("t.late").is_empty());
    }
}

#[tokio::test]
async fn an_informational_status_ends_as_200() {
    let harness = replying(r#"{"egress_status_code":102}"#).await;
    assert_eq!(call(&harness).await.unwrap().status(), 200);
    assert_eq!(harness.log(0).await["response"]["egress_status_code"], 102);
}

#[tokio::test]
async fn a_401_made_by_a_processor_is_as_silent_as_any() {
    let mut harness = replying(r#"{"egress_status_code":401}"#).await;
    harness.record("t.late").await;
    assert_eq!(call(&harness).await.unwrap().status(), 401);
    harness.stop_and_drain().await;
    assert!(harness.received_on(LOGGER).is_empty() && harness.received_on("t.late").is_empty());
}

#[tokio::test]
async fn a_payload_goes_out_as_it_was_replied() {
    for (reply, body) in [
        (r#"{"egress_payload":{ "b": "<&>" , "a":1.0}}"#, r#"{ "b": "<&>" , "a":1.0}"#),
        (r#"{"egress_payload":"text"}"#, r#""text""#),
        (r#"{"egress_payload":null}"#, "null"),
    ] {
        let harness = replying(reply).await;
        let answer = call(&harness).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (200, body));
        assert_eq!(answer.header("Content-Length"), [body.len().to_string()]);
    }
}

#[tokio::test]
async fn replaced_headers_keep_the_session_and_upstreams_masked_ones() {
    let harness =
        replying(r#"{"egress_headers":{"X-New":["1"],"Authorization":["forged"],"Session-Id":["forged"]}}"#).await;
    let answer = call(&harness).await.unwrap();
    assert_eq!(answer.header("X-New"), ["1"]);
    assert_eq!(answer.header("Authorization"), ["upstream-secret"]);
    assert!(answer.header("X-Up").is_empty());
    assert_eq!(answer.header("Content-Type"), ["text/plain; charset=utf-8"]);
    let log = harness.log(0).await;
    assert_eq!(answer.header("Session-Id"), [log["transaction_id"].as_str().unwrap()]);
    assert_eq!(log["response"]["egress_headers"]["Authorization"], json!(["*****MASKED*****"]));
    let lost = json!({"Content-Length": [], "Content-Type": [], "Date": [], "Server": [], "X-Up": []});
    assert_eq!(log["response"]["egresss_headers_discarded"], lost);
    assert!(!log.to_string().contains("upstream-secret"));
}

#[tokio::test]
async fn headers_of_the_wrong_shape_leave_only_the_session() {
    let harness = replying(r#"{"egress_headers":["X-New"]}"#).await;
    let answer = call(&harness).await.unwrap();
    let mut names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Authorization", "Content-Length", "Content-Type", "Date", "Session-Id"]);
    assert!(by_name(&harness.log(0).await["response"]["error"]).contains_key("egress_headers"));
}

#[tokio::test]
async fn a_response_processor_can_correct_a_body_that_could_not_be_quoted() {
    let answer = http::answer(200, &[("Content-Type", "application/octet-stream")], b"\x00\xff");
    let harness = Harness::start(Upstream::start(move |_: &Exchange| answer.clone()).await, &|config: &mut Value| {
        config["request"]["processors"] = json!([]);
        config["response"]["processors"] = json!([[processor("change", "t.change", false, false, &[], &FIELDS)]]);
    })
    .await;
    harness.answer("t.change", |_| r#"{"egress_payload":{"was":"binary"}}"#.to_owned()).await;
    let answer = call(&harness).await.unwrap();
    assert_eq!((answer.status(), answer.text()), (200, r#"{"was":"binary"}"#));
}

#[tokio::test]
async fn header_names_are_sent_in_canonical_spelling_and_what_http_forbids_is_left_out() {
    let reply = r#"{"egress_headers":{"x-new":["1"],"X-New":["2"],"X-Line":["a\r\nb"],"bad name":["1"],"X-None":[]}}"#;
    let harness = replying(reply).await;
    let answer = call(&harness).await.unwrap();
    assert_eq!(answer.header("X-New"), ["2", "1"]);
    assert_eq!(answer.header("X-Line"), ["a  b"]);
    assert!(answer.header("Bad name").is_empty() && answer.header("X-None").is_empty());
    let log = harness.log(0).await;
    assert_eq!(log["response"]["egress_headers"]["X-New"], json!(["2", "1"]));
    assert!(log["response"]["egress_headers"].get("X-None").is_none());
}

#[tokio::test]
async fn a_304_loses_its_content_type_and_a_204_keeps_it() {
    for (reply, status, content_type) in
        [(r#"{"egress_status_code":304}"#, 304, None), (r#"{"egress_status_code":204}"#, 204, Some("application/json"))]
    {
        let answer = call(&replying(reply).await).await.unwrap();
        assert_eq!((answer.status(), answer.text()), (status, ""));
        assert_eq!(answer.header("Content-Type"), Vec::from_iter(content_type));
        assert!(answer.header("Content-Length").is_empty());
    }
}

#[tokio::test]
async fn s4_masked_headers_that_a_processor_drops_are_discarded_by_name_and_still_sent() {
    let harness = replying(r#"{"egress_headers":{"X-New":["1"]}}"#).await;
    assert_eq!(call(&harness).await.unwrap().header("Authorization"), ["upstream-secret"]);
    let log = harness.log(0).await;
    assert_eq!(log["response"]["egresss_headers_discarded"]["Authorization"], json!(["*****MASKED*****"]));
}

#[tokio::test]
async fn the_session_header_is_shown_as_configured_and_sent_in_canonical_spelling() {
    let harness = Harness::start(Upstream::start(|_: &Exchange| http::json(200, "{}")).await, &|config: &mut Value| {
        config["session_id_header"] = json!("session-id");
        config["request"]["processors"] = json!([]);
        config["response"]["processors"] = json!([[processor("all", "t.all", false, false, &["egress_headers"], &[])]]);
    })
    .await;
    harness.answer("t.all", |_| String::new()).await;
    let answer = harness.send(&Call::post("/azure/").with("Session-Id", "ZZ_1_1_1")).await.unwrap();
    assert_eq!(answer.header("Session-Id"), ["ZZ_1_1_2"]);
    assert_eq!(harness.received_on("t.all")[0]["egress_headers"]["session-id"], json!(["ZZ_1_1_2"]));
    assert_eq!(harness.log(0).await["response"]["egress_headers"]["Session-Id"], json!(["ZZ_1_1_2"]));
}
