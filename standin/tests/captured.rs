//! Every captured scenario, played again. Names are those of the fixtures.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::capture::{load, play};
use crate::support::harness::{BROKER, processor};
use crate::support::http::{self, Exchange, Upstream};

const COMPLETION: &str = r#"{"id": "chatcmpl-1", "object": "chat.completion", "created": 1706824088, "model": "gpt-4", "choices": [{"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": "ok"}}], "usage": {"prompt_tokens": 29, "completion_tokens": 15, "total_tokens": 44}}"#;

fn unchanged(_: &mut Value) {}

async fn healthy() -> Upstream {
    Upstream::start(|_: &Exchange| http::json(200, COMPLETION)).await
}

async fn failing(status: u16) -> Upstream {
    let body = format!(r#"{{"error": {{"code": "{status}", "message": "synthetic"}}}}"#);
    Upstream::start(move |_: &Exchange| http::json(status, &body)).await
}

async fn answering(answer: Vec<u8>) -> Upstream {
    Upstream::start(move |_: &Exchange| answer.clone()).await
}

/// A port on which nothing listens.
async fn closed_port() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn set_request(config: &mut Value, rows: Value) {
    config["request"]["processors"] = rows;
}

fn set_response(config: &mut Value, rows: Value) {
    config["response"]["processors"] = rows;
}

fn broker_request() -> Value {
    processor("broker", BROKER, true, false, &["gl_path"], &["gl_path"])
}

fn broker_response() -> Value {
    processor("broker", BROKER, false, true, &["gl_path", "egress_status_code"], &[])
}

#[tokio::test]
async fn fixture_01_success_azure_balanced() {
    let mut captured = load("01_success_azure_balanced");
    let route = |path: &str| json!({"subject": BROKER, "reply": json!({"gl_path": path}).to_string()});
    let no_reply = || json!({"subject": BROKER, "reply": ""});
    let (gpt35, gpt4) = (|| route("/azure/gpt35turbo/"), || route("/azure/gpt4/"));
    captured.set_exchanges(json!([gpt35(), no_reply(), gpt4(), no_reply(), gpt35(), no_reply(), gpt4(), no_reply()]));
    captured.play(healthy().await, &unchanged).await;
}

#[tokio::test]
async fn fixture_02_upstream_429() {
    let headers = [
        ("Content-Type", "application/json"),
        ("retry-after", "7"),
        ("retry-after-ms", "7000"),
        ("x-ratelimit-limit-requests", "120"),
        ("x-ratelimit-limit-tokens", "120000"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-requests", "7s"),
        ("x-ratelimit-reset-tokens", "7s"),
    ];
    let answer = http::answer(429, &headers, br#"{"error": {"code": "429", "message": "synthetic"}}"#);
    play("02_upstream_429_original_fields", answering(answer.clone()).await, &unchanged).await;
    let all_fields = |config: &mut Value| {
        for side in ["request", "response"] {
            config[side]["processors"][0][0]["input_fields_include"] = json!([]);
        }
    };
    play("02_upstream_429_all_fields", answering(answer).await, &all_fields).await;
}

#[tokio::test]
async fn fixture_03_upstream_errors_pass_through() {
    for status in [400, 404, 500, 503] {
        play(&format!("03_upstream_{status}"), failing(status).await, &unchanged).await;
    }
}

#[tokio::test]
async fn fixture_03_upstream_401_without_messages_and_log_unauthorized() {
    play("03_upstream_401_log_unauthorized_false", failing(401).await, &unchanged).await;
    let log = |config: &mut Value| config["log_unauthorized"] = json!(true);
    play("03_upstream_401_log_unauthorized_true", failing(401).await, &log).await;
}

#[tokio::test]
async fn fixture_04_connection_refused() {
    let port = closed_port().await;
    let refused = |config: &mut Value| config["routers"][3]["outbound"]["url"] = json!(format!("http://{port}/"));
    play("04_connection_refused", healthy().await, &refused).await;
}

#[tokio::test]
async fn fixture_04_dns_failure() {
    play("04_dns_failure", healthy().await, &unchanged).await;
}

#[tokio::test]
async fn fixture_04_upstream_closes() {
    play("04_upstream_closes", answering(Vec::new()).await, &unchanged).await;
}

#[tokio::test]
async fn fixture_04_upstream_truncated_body() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"id\":\"half";
    play("04_upstream_truncated_body", answering(cut.to_vec()).await, &unchanged).await;
}

#[tokio::test]
async fn fixture_05_response_html_and_stream_are_quoted() {
    let page = b"<html>it \"works\" & more</html>\n";
    play("05_response_html", answering(http::answer(200, &[("Content-Type", "text/html")], page)).await, &unchanged)
        .await;
    let gateway = b"<html>Bad gateway</html>";
    let answer = http::answer(502, &[("Content-Type", "text/html")], gateway);
    play("05_response_html_502", answering(answer).await, &unchanged).await;
    let stream = b"data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"He\"}}]}\n\ndata: [DONE]\n\n";
    let answer = http::answer(200, &[("Content-Type", "text/event-stream")], stream);
    play("05_response_sse_stream", answering(answer).await, &unchanged).await;
}

#[tokio::test]
async fn fixture_05_response_gzip_with_and_without_the_clients_accept_encoding() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(COMPLETION.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let answer = http::answer(200, &headers, &packed);
    for name in ["05_response_gzip_client_accepts_gzip", "05_response_gzip_client_silent"] {
        play(name, answering(answer.clone()).await, &unchanged).await;
    }
}

#[tokio::test]
async fn fixture_05_response_200_and_204_empty() {
    play("05_response_200_empty", answering(http::json(200, "")).await, &unchanged).await;
    play("05_response_204_empty", answering(http::answer(204, &[], b"")).await, &unchanged).await;
}

#[tokio::test]
async fn fixture_06_requests_that_are_no_json() {
    for name in ["06_request_text", "06_request_binary", "06_request_get_no_body"] {
        play(name, healthy().await, &unchanged).await;
    }
}

#[tokio::test]
async fn fixture_07_large_logs_are_lost_and_large_questions_not_asked() {
    let large = format!(r#"{{"pad": "{}"}}"#, "x".repeat(1_500_000));
    let answering = || async { answering(http::json(200, &large)).await };
    play("07_large_response_original_fields", answering().await, &unchanged).await;
    let payload = |config: &mut Value| {
        config["response"]["processors"][0][0]["input_fields_include"] = json!(["gl_path", "inbound_payload"]);
    };
    play("07_large_response_payload_processor", answering().await, &payload).await;
    let mut captured = load("07_large_request_original_fields");
    captured.set_client_body(&large.replace('x', "y"));
    captured.play(healthy().await, &unchanged).await;
}

#[tokio::test]
async fn fixture_08_unauthorized() {
    play("08_unauthorized_log_false", healthy().await, &unchanged).await;
    let log = |config: &mut Value| config["log_unauthorized"] = json!(true);
    play("08_unauthorized_log_true", healthy().await, &log).await;
}

#[tokio::test]
async fn fixture_09_direct_gpt4() {
    play("09_direct_gpt4", healthy().await, &unchanged).await;
}

#[tokio::test]
async fn fixture_10_broker_absent() {
    play("10_broker_absent", healthy().await, &unchanged).await;
}

#[tokio::test]
async fn fixture_10_a_wildcard_listener_turns_no_responders_into_timeouts() {
    let mut captured = load("10_broker_absent_wildcard_listener");
    captured.set_exchanges(json!([{"subject": BROKER, "reply": "<none>"}]));
    captured.play(healthy().await, &short_timeouts).await;
}

fn short_timeouts(config: &mut Value) {
    for side in ["request", "response"] {
        config[side]["processors"][0][0]["timeout"] = json!(50);
    }
}

#[tokio::test]
async fn fixture_11_replies_that_route_nothing() {
    for reply in [
        "array",
        "empty_object",
        "empty_reply",
        "invalid_json",
        "other_fields_only",
        "path_not_string",
        "path_null",
        "path_without_slash",
        "same_path",
        "unknown_path",
    ] {
        play(&format!("11_broker_{reply}"), healthy().await, &unchanged).await;
    }
}

fn gate(modifier: bool) -> Value {
    processor("gate", "coburn.lab.gate", modifier, false, &["gl_path"], &["control"])
}

#[tokio::test]
async fn fixture_12_control() {
    let annotator = |config: &mut Value| set_request(config, json!([[gate(false)]]));
    play("12_control_object", healthy().await, &annotator).await;
    play("12_control_string", healthy().await, &annotator).await;
    let modifier = |config: &mut Value| set_request(config, json!([[gate(true)]]));
    play("12_control_ignored_when_modifier_true", healthy().await, &modifier).await;
}

#[tokio::test]
async fn fixture_12_control_plus_status_rewrite() {
    let softened = |config: &mut Value| {
        let fields = ["egress_status_code", "egress_payload", "egress_headers"];
        let softener = processor("softener", "coburn.lab.soft", true, false, &fields, &fields);
        set_request(config, json!([[gate(false)]]));
        set_response(config, json!([[softener], [broker_response()]]));
    };
    play("12_control_plus_status_rewrite", healthy().await, &softened).await;
}

#[tokio::test]
async fn fixture_13_two_processors_one_row() {
    let rows = |config: &mut Value| {
        let tag = ["gl_path", "ingress_payload"];
        let tagger = processor("tagger", "coburn.lab.tag", false, false, &tag, &["tag"]);
        let score = ["gl_path", "inbound_payload", "inbound_status_code"];
        let scorer = processor("scorer", "coburn.lab.score", false, false, &score, &["score"]);
        set_request(config, json!([[broker_request(), tagger]]));
        set_response(config, json!([[broker_response(), scorer]]));
    };
    play("13_two_processors_one_row", healthy().await, &rows).await;
}

#[tokio::test]
async fn fixture_13_two_rows_order() {
    let rows = |config: &mut Value| {
        let tagger = processor("tagger", "coburn.lab.tag", false, false, &["gl_path"], &["tag"]);
        let respond = |name: &str, subject: &str, seen: &str| {
            let include = ["gl_path", "seen_by_row1", "seen_by_row2"];
            processor(name, subject, false, false, &include, &[seen])
        };
        let (first, second) = (
            respond("resp_row1", "coburn.lab.r1", "seen_by_row1"),
            respond("resp_row2", "coburn.lab.r2", "seen_by_row2"),
        );
        set_request(config, json!([[broker_request()], [tagger]]));
        set_response(config, json!([[first], [second]]));
    };
    play("13_two_rows_order", healthy().await, &rows).await;
}

fn require(side: &'static str) -> impl Fn(&mut Value) {
    move |config: &mut Value| config[side]["processors"][0][0]["required"] = json!(true)
}

#[tokio::test]
async fn fixture_14_required_request() {
    play("14_required_request_empty_reply", healthy().await, &require("request")).await;
    play("14_required_request_no_responders", healthy().await, &require("request")).await;
    let mut late = load("14_required_request_timeout");
    late.reply_after = Duration::from_millis(300);
    let change = |config: &mut Value| {
        require("request")(config);
        short_timeouts(config);
    };
    late.play(healthy().await, &change).await;
}

#[tokio::test]
async fn fixture_14_required_response() {
    play("14_required_response_async", healthy().await, &require("response")).await;
    let sync = |config: &mut Value| {
        require("response")(config);
        config["response"]["processors"][0][0]["async"] = json!(false);
    };
    play("14_required_response_sync", healthy().await, &sync).await;
}

#[tokio::test]
async fn fixture_15_log_filters() {
    let only = |field: &'static str| {
        move |config: &mut Value| {
            let filter = json!({"fields_include": [field], "fields_exclude": []});
            config["logger"] = json!({"request": filter, "response": filter});
        }
    };
    play("15_filter_only_gl_path", healthy().await, &only("gl_path")).await;
    play("15_filter_nothing", healthy().await, &only("no_such_field")).await;
    let both = |config: &mut Value| {
        let hidden = ["egress_headers", "egress_payload", "inbound_headers", "inbound_payload"];
        config["logger"] = json!({
            "request": {"fields_include": ["gl_path", "original_gl_path"], "fields_exclude": ["gl_path"]},
            "response": {"fields_exclude": hidden}
        });
    };
    play("15_filter_include_and_exclude", healthy().await, &both).await;
}

#[tokio::test]
async fn fixture_16_session_header() {
    play("16_session_header", healthy().await, &unchanged).await;
}

#[tokio::test]
async fn fixture_20_echo() {
    play("20_echo", healthy().await, &unchanged).await;
}
