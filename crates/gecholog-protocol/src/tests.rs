//! The gateway's messages, captured and invented.

#![expect(clippy::disallowed_methods, reason = "the captured messages are files; the crate itself reads none")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use types::outcome::{LogEntry, RetryAfter, SetBy};
use types::request::{Request, RequestSize};

use types::time::GatewayTime;

/// One captured message: where it was sent, and its bytes as the gateway writes them.
struct Captured {
    scenario: String,
    is_log: bool,
    bytes: Vec<u8>,
}

fn captured() -> Vec<Captured> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "gateway-sim", "tests", "fixtures"].iter().collect();
    let mut all = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "jsonl") {
            let scenario = file.file_stem().unwrap().to_string_lossy().into_owned();
            for line in std::fs::read_to_string(&file).unwrap().lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                let is_log = line["context"] == "log";
                let bytes = serde_json::to_vec(&line["data"]).unwrap();
                all.push(Captured { scenario: scenario.clone(), is_log, bytes });
            }
        }
    }
    all
}

/// The logs of a scenario.
fn logs<'a>(all: &'a [Captured], scenario: &str) -> Vec<LogEntry<'a>> {
    let logs = all.iter().filter(|one| one.is_log && one.scenario == scenario);
    logs.map(|log| log_entry::read(&log.bytes).unwrap()).collect()
}

#[test]
fn every_captured_message_can_be_read() {
    let all = captured();
    assert!(all.len() > 150, "only {} captured messages found", all.len());
    for message in &all {
        if message.is_log {
            let report = log_entry::read(&message.bytes).unwrap();
            assert!(report.answer.transaction.is_some() && report.started.is_some(), "{}", message.scenario);
            assert!(report.started <= report.stopped, "{}", message.scenario);
            let filtered = message.scenario == "15_filter_nothing" || message.scenario == "15_filter_only_gl_path";
            assert_eq!(report.filtered.is_some(), filtered, "{}", message.scenario);
        } else {
            Message::read(&message.bytes).unwrap();
        }
    }
}

#[test]
fn what_captured_logs_say() {
    let all = captured();
    // scenario: router, upstream's status, client's status, made by the gateway
    let expected = BTreeMap::from([
        ("02_upstream_429_all_fields", (Some("/azure/gpt4/"), Some(429), Some(429), false)),
        ("03_upstream_400", (Some("/azure/gpt4/"), Some(400), Some(400), false)),
        ("03_upstream_401_log_unauthorized_true", (Some("/azure/gpt4/"), Some(401), Some(401), false)),
        ("03_upstream_503", (Some("/azure/gpt4/"), Some(503), Some(503), false)),
        ("04_connection_refused", (Some("/azure/gpt35turbo/"), Some(502), Some(502), true)),
        ("04_dns_failure", (Some("/azure/dud/"), Some(503), Some(503), true)),
        ("04_upstream_closes", (Some("/azure/gpt4/"), Some(500), Some(500), true)),
        ("05_response_gzip_client_accepts_gzip", (Some("/azure/gpt4/"), Some(200), Some(500), false)),
        ("06_request_binary", (Some("/azure/gpt4/"), None, Some(500), true)),
        ("11_broker_unknown_path", (Some("/azure/"), Some(200), Some(200), false)),
        ("14_required_request_timeout", (None, None, Some(500), false)),
        ("15_filter_include_and_exclude", (Some("/azure/gpt4/"), Some(200), Some(200), false)),
    ]);
    for (scenario, wanted) in expected {
        let reports = logs(&all, scenario);
        assert!(!reports.is_empty(), "{scenario} is not among the fixtures");
        for report in reports {
            let found = (
                report.answer.served_path,
                report.answer.status,
                report.egress_status,
                report.answer.gateway_generated,
            );
            assert_eq!(found, wanted, "{scenario}");
        }
    }
    assert!(logs(&all, "12_control_object").iter().all(|report| report.processor_generated));
    assert!(logs(&all, "20_echo").iter().all(|report| report.ingress == Some("/echo/")));
    let unknown = logs(&all, "11_broker_unknown_path");
    assert_eq!((unknown[0].routed_path, unknown[0].ingress), (Some("/nowhere/"), Some("/azure/")));
    let success = logs(&all, "01_success_azure_balanced");
    assert_eq!(success[0].details.completion_tokens, Some(15));
    assert_eq!(success[0].details.latency, Some(Duration::from_millis(0)));
    assert_eq!(success[0].started, Some(GatewayTime::from_nanos(1_795_324_897_644_499_599)));
    assert_eq!(success[0].stopped, Some(GatewayTime::from_nanos(1_795_324_897_646_168_907)));
}

#[test]
fn captured_429s_carry_their_hint() {
    let mut carried = 0;
    for message in &captured() {
        let answer = if message.is_log {
            log_entry::read(&message.bytes).unwrap().answer
        } else {
            Message::read(&message.bytes).unwrap().response.answer
        };
        // A processor that is sent the original fields only sees no headers.
        let has_wait =
            answer.status == Some(429) && (message.is_log || message.scenario == "02_upstream_429_all_fields");
        let expected = has_wait.then_some(RetryAfter::Delay(Duration::from_secs(7)));
        assert_eq!(answer.retry_after, expected, "{}", message.scenario);
        carried += u32::from(has_wait);
    }
    assert!(carried >= 3, "only {carried} hints found");
}

#[test]
fn captured_logs_carry_what_the_client_sent() {
    let mut carried = 0;
    for log in captured().iter().filter(|one| one.is_log) {
        let entry: Value = serde_json::from_slice(&log.bytes).unwrap();
        let report = log_entry::read(&log.bytes).unwrap();
        let sent = report.payload.map(|payload| serde_json::from_slice::<Value>(payload).unwrap());
        assert_eq!(sent.as_ref(), entry["request"].get("ingress_payload"), "{}", log.scenario);
        carried += u32::from(sent.is_some());
    }
    assert!(carried >= 3, "only {carried} payloads found");
}

#[test]
fn a_page_for_people_is_recognised_by_its_content_type() {
    for (name, value, html) in [
        ("Content-Type", "text/html", true),
        ("content-type", "Text/HTML; charset=utf-8", true),
        ("Content-Type", "application/json", false),
        ("Content-Type", "text", false),
        ("X-Content-Type", "text/html", false),
    ] {
        let headers = json!({ name: [value], "Server": ["x"] });
        let entry = json!({"response": {"gl_path": "/a/", "inbound_status_code": 200, "inbound_headers": headers}});
        let bytes = serde_json::to_vec(&entry).unwrap();
        assert_eq!(log_entry::read(&bytes).unwrap().answer.html, html, "{name}: {value}");
        let message = json!({"gl_path": "/a/", "inbound_status_code": 200, "inbound_headers": headers});
        let bytes = serde_json::to_vec(&message).unwrap();
        assert_eq!(Message::read(&bytes).unwrap().response.answer.html, html, "{name}: {value}");
    }
}

#[test]
fn requests_and_responses_are_distinguished() {
    let all = captured();
    for message in all.iter().filter(|message| !message.is_log) {
        let fields: Value = serde_json::from_slice(&message.bytes).unwrap();
        let read = Message::read(&message.bytes).unwrap();
        assert_eq!(read.is_response, fields.get("egress_status_code").is_some(), "{}", message.scenario);
        assert_eq!(read.response.answer.served_path, fields["gl_path"].as_str(), "{}", message.scenario);
    }
}

#[test]
fn an_unusable_status_still_makes_a_response() {
    for status in ["null", "0", "-1", "\"404\"", "99", "1000", "4.5", "[]", "{}", "true"] {
        let text = format!("{{\"egress_status_code\":{status},\"gl_path\":\"/azure/\"}}");
        let message = Message::read(text.as_bytes()).unwrap();
        assert!(message.is_response, "{status}");
        assert_eq!(message.response.egress_status, None, "{status}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    for (bytes, fault) in [
        (&b""[..], Malformed::NotJson),
        (b"garbage", Malformed::NotJson),
        (b"{", Malformed::NotJson),
        (b"{\"gl_path\":\"/azure/\"", Malformed::NotJson),
        (b"{\"gl_path\":\"/azure/\"} x", Malformed::NotJson),
        (b"{\"gl_path\" \"/azure/\"}", Malformed::NotJson),
        (b"{'gl_path':'/azure/'}", Malformed::NotJson),
        (b"\xef\xbb\xbf{}", Malformed::NotJson),
        (b"[]", Malformed::NotAnObject),
        (b" \"text\" ", Malformed::NotAnObject),
        (b"null", Malformed::NotAnObject),
        (b"17", Malformed::NotAnObject),
    ] {
        assert_eq!(Message::read(bytes).unwrap_err(), fault, "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(log_entry::read(bytes).unwrap_err(), fault, "{:?}", String::from_utf8_lossy(bytes));
    }
    for bytes in [&b"{}"[..], b"{\"gl_path\":7}", b"{\"gl_path\":null}", b"{\"gl_path\":[\"/azure/\"]}"] {
        let message = Message::read(bytes).unwrap();
        assert_eq!(message.request(), Err(Malformed::NoPath), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn the_last_of_two_equal_names_counts() {
    let message = Message::read(b"{\"gl_path\":\"/a/\",\"gl_path\":\"/azure/\"}").unwrap();
    assert_eq!(message.request().map(|asked| asked.path().to_owned()), Ok("/azure/".to_owned()));
}

#[test]
fn text_that_is_no_utf8_loses_itself_and_not_the_entry() {
    let mut entry = serde_json::to_vec(&json!({
        "transaction_id": "A_1_1_0",
        "request": {"gl_path": "/azure/gpt4/", "original_gl_path": "/azure/", "ingress_payload": {"text": "ODD"}},
        "response": {"gl_path": "/azure/gpt4/", "inbound_status_code": 404,
            "inbound_payload": {"error": {"code": "ODD", "message": "ODD"}}},
    }))
    .unwrap();
    for place in 0..entry.len() - 2 {
        if &entry[place..place + 3] == b"ODD" {
            entry[place..place + 3].copy_from_slice(b"\xff\xfe\xc3");
        }
    }
    let report = log_entry::read(&entry).unwrap();
    assert_eq!(
        (report.answer.served_path, report.answer.status, report.details.missing),
        (Some("/azure/gpt4/"), Some(404), None)
    );
}

#[test]
fn a_missing_deployment_and_the_tokens_stand_in_the_payload() {
    let entry = |payload: Value| {
        let entry = json!({"response": {"gl_path": "/a/", "inbound_status_code": 404, "inbound_payload": payload}});
        let bytes = serde_json::to_vec(&entry).unwrap();
        let report = log_entry::read(&bytes).unwrap();
        (report.details.missing, report.details.completion_tokens)
    };
    assert_eq!(entry(json!({"error": {"code": "DeploymentNotFound"}})), (Some(SetBy::Target), None));
    assert_eq!(entry(json!({"error": {"code": "ModelNotFound"}})), (Some(SetBy::Client), None));
    assert_eq!(entry(json!({"error": {"code": "404"}})), (None, None));
    assert_eq!(entry(json!({"usage": {"prompt_tokens": 1, "completion_tokens": 15}})), (None, Some(15)));
    for odd in [json!("DeploymentNotFound"), json!(null), json!([1]), json!({"usage": 3})] {
        assert_eq!(entry(odd), (None, None));
    }
}

#[test]
fn a_log_entry_shows_who_named_what_is_missing() {
    let url = "https://h:1/openai/deployments/gpt4/chat/completions?api-version=1";
    let (body, other) = (json!({"model": "a"}), json!({"model": "b"}));
    for (code, request, by) in [
        ("DeploymentNotFound", json!({"url": url, "ingress_subpath": "chat/completions"}), SetBy::Target),
        ("DeploymentNotFound", json!({"url": url, "ingress_subpath": ""}), SetBy::Target),
        ("DeploymentNotFound", json!({"url": url, "ingress_subpath": "gpt4/chat/completions"}), SetBy::Client),
        ("DeploymentNotFound", json!({"url": url, "ingress_subpath": "deployments/other/chat"}), SetBy::Target),
        ("DeploymentNotFound", json!({"url": url}), SetBy::Target),
        ("DeploymentNotFound", json!({"url": "", "ingress_subpath": "x"}), SetBy::Target),
        ("DeploymentNotFound", json!({"url": 7, "ingress_subpath": []}), SetBy::Target),
        ("model_not_found", json!({"ingress_payload": body, "outbound_payload": body}), SetBy::Client),
        ("model_not_found", json!({"ingress_payload": body, "outbound_payload": other}), SetBy::Target),
        (
            "model_not_found",
            json!({"ingress_payload": body, "outbound_payload": body,
                "broker_patch": {"merge": {"model": "a"}, "model_map": {}}}),
            SetBy::Target,
        ),
        ("model_not_found", json!({"outbound_payload": body}), SetBy::Client),
        ("model_not_found", json!({}), SetBy::Client),
    ] {
        let mut entry = json!({"response": {"gl_path": "/a/", "inbound_status_code": 404,
            "inbound_payload": {"error": {"code": code}}}});
        entry["request"] = request;
        let bytes = serde_json::to_vec(&entry).unwrap();
        assert_eq!(log_entry::read(&bytes).unwrap().details.missing, Some(by), "{entry}");
    }
}

/// The gateway makes a text of what is no JSON.
#[test]
fn the_tokens_of_lines_of_json_and_of_bedrocks_headers() {
    let lines = "{\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"done\":true,\"prompt_eval_count\":12,\"eval_count\":5}\n";
    let headers = json!({"X-Amzn-Bedrock-Input-Token-Count": ["12"], "X-Amzn-Bedrock-Output-Token-Count": ["5"]});
    let bad = json!({"X-Amzn-Bedrock-Input-Token-Count": ["-12"]});
    for (payload, headers, expected) in [
        (json!(lines), json!({}), Some(17)),
        (json!("no JSON"), json!({}), None),
        (json!({"outputs": [{"text": "hi"}]}), headers.clone(), Some(17)),
        (json!({"usage": {"input_tokens": 1, "output_tokens": 2}}), headers, Some(3)),
        (json!({"outputs": []}), bad, None),
    ] {
        let response = json!({"gl_path": "/a/", "inbound_status_code": 200, "inbound_headers": headers, "inbound_payload": payload});
        let entry = serde_json::to_vec(&json!({"response": response})).unwrap();
        assert_eq!(log_entry::read(&entry).unwrap().details.total_tokens, expected, "{payload}");
    }
}

#[test]
fn the_tokens_that_a_call_used_by_whichever_names_its_api_has() {
    let used = |usage: Value| {
        let entry =
            json!({"response": {"gl_path": "/a/", "inbound_status_code": 200, "inbound_payload": {"usage": usage}}});
        log_entry::read(&serde_json::to_vec(&entry).unwrap()).unwrap().details.total_tokens
    };
    for (usage, expected) in [
        (json!({"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 18}), Some(18)),
        (json!({"prompt_tokens": 12, "completion_tokens": 5}), Some(17)),
        (json!({"input_tokens": 12, "output_tokens": 5}), Some(17)),
        (json!({"prompt_tokens": 12}), Some(12)),
        (json!({"prompt_tokens": u64::MAX, "completion_tokens": 5}), None),
        (json!({"inputTokens": 12, "outputTokens": 5, "totalTokens": 17}), Some(17)),
        (json!({"prompt_tokens": -12, "total_tokens": "18"}), None),
        (json!({}), None),
        (json!(null), None),
    ] {
        assert_eq!(used(usage.clone()), expected, "{usage}");
    }
}

#[test]
fn how_large_a_request_is_and_how_long_an_answer_it_allows() {
    let request_size = |message: Value| {
        let bytes = serde_json::to_vec(&message).unwrap();
        let request_size = Message::read(&bytes).unwrap().request().unwrap().size();
        (request_size.bytes, request_size.max_output_tokens)
    };
    let of = |body: Value| request_size(json!({"gl_path": "/a/", "outbound_payload": body}));
    assert_eq!(of(json!({"max_tokens": 200})), (18, Some(200)));
    assert_eq!(of(json!({"max_completion_tokens": 7})).1, Some(7));
    assert_eq!(of(json!({"max_output_tokens": 7, "max_tokens": 9})).1, Some(9));
    assert_eq!(of(json!({"max_tokens": "200", "messages": {"max_tokens": 3}})).1, None);
    assert_eq!(of(json!("text")), (6, None));
    assert_eq!(request_size(json!({"gl_path": "/a/"})), (0, None));
    let tokens = |bytes, longest| RequestSize { bytes, max_output_tokens: longest }.estimated_tokens();
    assert_eq!((tokens(403, None), tokens(400, Some(50)), tokens(8, Some(u64::MAX))), (100, 150, u32::MAX));
}

#[test]
fn the_transaction_of_a_message_is_the_session_header() {
    let id = |headers: Value| {
        let message = json!({"egress_status_code": 200, "egress_headers": headers});
        let bytes = serde_json::to_vec(&message).unwrap();
        Message::read(&bytes).unwrap().response.answer.transaction.map(str::to_owned)
    };
    assert_eq!(id(json!({"A": ["B_1_1_0"], "Session-Id": ["A_1_1_0"]})).as_deref(), Some("A_1_1_0"));
    assert_eq!(id(json!({"Date": ["x"], "My-Session": ["A_1_1_3"]})).as_deref(), Some("A_1_1_3"), "named otherwise");
    assert_eq!(id(json!({"Session-Id": ["nonsense"]})), None);
    assert_eq!(id(json!({"Session-Id": "A_1_1_0"})), None, "a header's values are a list");
    assert_eq!(id(json!("A_1_1_0")), None);
}

#[test]
fn row_2_answers_from_the_message_alone() {
    for (message, answer) in [
        (&b"{\"broker\":{\"router\":\"/azure/gpt4/\",\"id\":\"x\"}}"[..], &b"{\"gl_path\":\"/azure/gpt4/\"}"[..]),
        (b"{\"gl_path\":\"/azure/\",\"broker\":{\"id\":\"x\",\"router\":\"/b/\"}}", b"{\"gl_path\":\"/b/\"}"),
        (b"{}", b""),
        (b"{\"broker\":null}", b""),
        (b"{\"broker\":{\"would\":\"/azure/gpt4/\"}}", b""),
        (b"{\"broker\":{\"router\":7}}", b""),
        (b"{\"broker\":{\"router\":\"no path\"}}", b""),
        (b"{\"broker\":{\"router\":\"/x\\\"/\"}}", b""),
    ] {
        let read = Message::read(message).unwrap();
        assert_eq!(reply::apply(&read).0, answer, "{:?}", String::from_utf8_lossy(message));
    }
}
