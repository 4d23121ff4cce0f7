//! What an answer means: each test has the number of the line that it is about in the list of situations from public reports.

use std::sync::Arc;

use tokio::sync::Notify;

use super::super::support::http::{self, Open};
use super::super::support::metrics::Scrape;
use super::super::support::scripted::{Act, Move, Scripted, answer, chunk, last_chunk, stream};
use super::{CHAT, HELLO, HI, Harness, LIMITS, good, pools, target};

const CONTENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

const BROKEN: &str = r#"{"error": {"message": "Provider returned error", "code": 502}}"#;
/// The model ends by itself, and has said nothing.
const SILENCE: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const NOTHING_USED: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":0}}\n\n";

/// A whole stream of these events.
fn events(events: &[&str]) -> Act {
    let parts = events.iter().map(|event| chunk(event));
    [stream()].into_iter().chain(parts).chain([last_chunk()]).collect()
}

/// The call is answered by the backup, and whether the primary is out afterwards.
async fn backup_answers(what: &str, primary: Act, disables: bool) {
    let (a, b) = (Scripted::start(primary).await, Scripted::start(good()).await);
    let harness = Harness::before(&[&a, &b]).await;
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, HELLO), "{what}");
    assert_eq!((a.calls(), b.calls()), (1, 1), "{what}");
    harness.call().await;
    let expected = if disables { vec!["/llm/a/"] } else { Vec::new() };
    if disables {
        // What it prints comes a moment after what it does.
        harness.broker.until(&["router disabled", "/llm/a/"]).await;
    }
    assert_eq!(harness.disabled().await, expected, "{what}\n{}", harness.broker.text());
    assert_eq!(a.calls(), if disables { 1 } else { 2 }, "{what}");
}

const REFUSALS: [(u16, &str); 6] = [
    (401, r#"{"error": {"message": "m", "code": "invalid_api_key"}}"#),
    (400, r#"[{"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}]"#),
    (
        400,
        r#"{"error": {"code": 400, "message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}}"#,
    ),
    (
        400,
        r#"{"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."}}"#,
    ),
    (400, r#"{"error": {"message": "m", "code": "billing_hard_limit_reached"}}"#),
    (
        429,
        r#"{"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}}"#,
    ),
];

#[tokio::test]
async fn s1_1_a_refused_key_or_a_used_up_quota_of_ours_leads_on_and_takes_the_target_out() {
    for (status, body) in REFUSALS {
        backup_answers(body, answer(status, &[], body), true).await;
    }
}

/// Answers that deny what a request asks for, and not the key.
const DENIALS: [(u16, &str); 13] = [
    (403, r#"{"error": {"message": "Project `p` does not have access to model `m`", "code": "model_not_found"}}"#),
    (403, r#"{"error": {"message": "You are not allowed to sample from this model", "code": null}}"#),
    (
        403,
        r#"{"type": "error", "error": {"type": "permission_error", "message": "Your API key does not have permission to use the specified resource."}}"#,
    ),
    (
        401,
        r#"{"error": {"message": "You have insufficient permissions for this operation.", "code": "missing_scope"}}"#,
    ),
    (402, r#"{"error": {"message": "This request requires more credits, or fewer max_tokens.", "code": 402}}"#),
    (404, r#"{"error": {"message": "No endpoints found that support tool use.", "code": 404}}"#),
    (410, r#"{"error": {"message": "The model `m` has reached its end of life.", "code": null}}"#),
    (
        429,
        r#"{"type": "error", "error": {"type": "rate_limit_error", "message": "Extra usage is required for long context requests."}}"#,
    ),
    (
        400,
        r#"{"error": {"message": "Your organization must be verified to stream this model.", "code": "unsupported_value"}}"#,
    ),
    (400, r#"{"error": {"message": "Previous response not found.", "code": "previous_response_not_found"}}"#),
    (402, r#"{"error": {"message": "Prompt tokens limit exceeded: 64128 > 6964.", "code": 402}}"#),
    (
        413,
        r#"{"error": {"message": "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 14368", "code": "rate_limit_exceeded"}}"#,
    ),
    (200, r#"{"error": "Unexpected endpoint or method. (POST /chat/completions)"}"#),
];

#[tokio::test]
async fn s1_1_a_denial_of_what_a_request_asks_for_leads_on_and_costs_its_target_nothing() {
    for (status, body) in DENIALS {
        backup_answers(body, answer(status, &[], body), false).await;
    }
}

#[tokio::test]
async fn s1_1_a_target_that_may_not_use_its_own_model_fails() {
    let (a, b) = (Scripted::start(answer(403, &[], DENIALS[1].1)).await, Scripted::start(good()).await);
    let own = target("a", &a.url()).replacen('{', r#"{"override_params": {"model": "m"}, "#, 1);
    let harness = Harness::of(&pools(&[own, target("b", &b.url())])).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"));
    harness.broker.until(&["router disabled", "/llm/a/", "answered 403"]).await;
    assert_eq!((harness.call().await.status, a.calls()), (200, 1));
}

#[tokio::test]
async fn s1_1_where_the_clients_own_key_was_sent_it_is_the_callers_fault() {
    for (status, body) in REFUSALS {
        let (a, b) = (Scripted::start(answer(status, &[], body)).await, Scripted::start(good()).await);
        let forwards = format!(r#"{{"name": "a", "url": "{}", "forward_credentials": true}}"#, a.url());
        let harness = Harness::of(&pools(&[forwards, target("b", &b.url())])).await;
        let answer = harness.call().await;
        assert_eq!((answer.status, answer.text().as_str()), (status, body));
        assert_eq!((b.calls(), harness.disabled().await), (0, Vec::new()), "{body}");
    }
}

/// OpenAI's and Groq's words where nothing is left for calls of the flex tier.
const NO_SPARE_CAPACITY: [(u16, &str); 3] = [
    (429, r#"{"error": {"message": "Resource unavailable", "code": "resource_unavailable"}}"#),
    (429, r#"{"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}"#),
    (498, r#"{"error": {"message": "Flex tier capacity exceeded", "code": "capacity_exceeded"}}"#),
];

#[tokio::test]
async fn s1_1_a_lack_of_capacity_for_a_tier_that_the_client_chose_leads_on_and_costs_its_target_nothing() {
    let flex = r#"{"service_tier": "flex", "messages": []}"#;
    for (status, body) in NO_SPARE_CAPACITY {
        for (own, request, takes_out) in [
            ("", flex, false),
            ("", r#"{"service_tier": "auto", "messages": []}"#, true),
            (r#""override_params": {"service_tier": "flex"}, "#, flex, true),
        ] {
            let (a, b) = (Scripted::start(answer(status, &[], body)).await, Scripted::start(good()).await);
            let own = target("a", &a.url()).replacen('{', &format!("{{{own}"), 1);
            let harness = Harness::of(&pools(&[own, target("b", &b.url())])).await;
            let answer = harness.send(CHAT, &[("Content-Type", "application/json")], request).await;
            assert_eq!((answer.status, b.calls()), (200, 1), "{body}, {request}");
            if takes_out {
                harness.broker.until(&["router disabled", "/llm/a/"]).await;
            }
            assert_eq!(!harness.disabled().await.is_empty(), takes_out, "{body}, {request}");
        }
    }
}

#[tokio::test]
async fn s1_1_server_faults_below_500_are_failures() {
    for status in [424, 425, 498] {
        backup_answers(&status.to_string(), answer(status, &[], r#"{"error": {"message": "x"}}"#), true).await;
    }
}

#[tokio::test]
async fn s1_1_a_listed_status_or_class_goes_to_each_other_target_once() {
    let long = r#"{"error": {"message": "m", "code": "context_length_exceeded"}}"#;
    for (status, body) in [(418, "{}"), (400, long)] {
        let (a, b) =
            (Scripted::start(answer(status, &[], body)).await, Scripted::start(answer(status, &[], body)).await);
        let text = format!(
            r#"{{"relay": {LIMITS}, "pools": [{{"ingress": "/llm/", "strategy": {{"mode": "fallback",
                "retry_on": ["context_too_long"], "on_status_codes": [418]}}, "targets": [{}, {}]}}]}}"#,
            target("a", &a.url()),
            target("b", &b.url())
        );
        let harness = Harness::of(&text).await;
        assert_eq!(harness.call().await.status, status);
        assert_eq!((a.calls(), b.calls()), (1, 1), "{status}");
        a.once(answer(500, &[], "{}"));
        assert_eq!(harness.call().await.status, 500, "what is not listed is passed on");
        assert_eq!((a.calls(), b.calls()), (2, 1));
    }
}

#[tokio::test]
async fn s1_2_what_a_text_says_is_no_protocol() {
    let says = |text: &str| {
        let content = serde_json::Value::from(text);
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":{content}}}}}]}}\n\n")
    };
    let (one, two) = (says("event: error, then\nevent: error\n\ndata: {\"error\""), says("data: {\"error\": {}}"));
    let a = Scripted::start(events(&[one.as_str(), two.as_str(), DONE])).await;
    let harness = Harness::before(&[&a]).await;
    for call in 1..=3 {
        let answer = harness.call().await;
        let text = answer.text();
        assert_eq!(answer.status, 200);
        assert!(
            [one.as_str(), two.as_str(), DONE].iter().all(|event| text.contains(*event))
                && !text.contains("stream_broken"),
            "{text}"
        );
        assert_eq!((a.calls(), harness.disabled().await), (call, Vec::new()));
    }
}

const PREAMBLES: [(&str, &str); 4] = [
    (
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
        "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"code\":503}}\n\n",
    ),
    (
        "data: {\"choices\":[],\"prompt_filter_results\":[{\"prompt_index\":0}]}\n\n",
        "data:{\"error\":{\"message\":\"m\",\"code\":\"rate_limit_exceeded\"}}\r\n\r\n",
    ),
    (
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
    ),
    (
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\"}}\n\n",
        "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}\n\n",
    ),
];

#[tokio::test]
async fn s1_3_an_error_before_any_content_leads_on() {
    for (preamble, error) in PREAMBLES {
        backup_answers(error, events(&[preamble, error]), true).await;
    }
}

#[tokio::test]
async fn s1_3_after_the_time_to_hold_a_preamble_is_passed_on() {
    let go = Arc::new(Notify::new());
    let preamble = PREAMBLES[0].0;
    let act = vec![stream(), chunk(preamble), Move::Await(Arc::clone(&go)), chunk(CONTENT), chunk(DONE), last_chunk()];
    let (a, b) = (Scripted::start(act).await, Scripted::start(good()).await);
    let limits = LIMITS.replacen('{', r#"{"hold": "50ms", "#, 1);
    let text = pools(&[target("a", &a.url()), target("b", &b.url())]).replace(LIMITS, &limits);
    let harness = Harness::of(&text).await;
    let mut answer = Open::post(harness.relay, CHAT, HI).await;
    answer.until("assistant").await;
    go.notify_one();
    answer.until("\r\n0\r\n\r\n").await;
    assert_eq!((b.calls(), harness.disabled().await), (0, Vec::new()));
}

#[tokio::test]
async fn s1_3_a_preamble_that_the_calls_own_time_cuts_short_is_passed_on_and_blames_no_target() {
    let a = Scripted::start(vec![stream(), chunk(PREAMBLES[0].0), Move::Hold]).await;
    let text = pools(&[target("a", &a.url())]).replace(LIMITS, r#"{"timeout": "400ms"}"#);
    let harness = Harness::of(&text).await;
    let came = Open::post(harness.relay, CHAT, HI).await.closed().await;
    assert!(came.contains("assistant") && came.contains("had not answered when the call's time was over"), "{came}");
    assert!(came.contains("stream_broken") && !came.contains("\r\n0\r\n"), "{came}");
    assert_eq!((a.calls(), harness.disabled().await), (1, Vec::new()));
}

#[tokio::test]
async fn s1_3_a_stream_that_breaks_ends_in_its_clients_protocol() {
    let text = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"one\"}}\n\n";
    for parts in [vec![PREAMBLES[2].0], vec![PREAMBLES[2].0, text]] {
        let mut act = vec![stream()];
        act.extend(parts.iter().map(|part| chunk(part)));
        let a = Scripted::start(act).await;
        let harness = Harness::before(&[&a]).await;
        let came = Open::post(harness.relay, "/llm/v1/messages", HI).await.closed().await;
        let last = came.rsplit("event: ").next().unwrap();
        assert!(last.starts_with("error\ndata: {") && last.contains(r#""type":"error""#), "{came}");
        assert!(!came.contains("\r\n0\r\n"), "the connection is cut: {came}");
    }
}

#[tokio::test]
async fn s1_4_a_good_status_without_an_answer_is_none() {
    let slow = |last: &str| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        vec![Move::Send(head.into()), chunk("\n"), chunk("\n"), chunk(last), last_chunk()]
    };
    for (what, primary) in [
        ("an error", answer(200, &[], BROKEN)),
        ("no byte", answer(200, &[], "")),
        ("no choices", answer(200, &[], r#"{"object": "chat.completion", "choices": []}"#)),
        ("white space, then an error", slow(r#"{"error": {"message": "x", "code": 502}}"#)),
        ("white space alone", slow(" ")),
        ("a stream without an event", events(&[])),
        ("a stream of comments", events(&[": wait\n\n"])),
        ("a stream that is only done", events(&[DONE])),
        ("a stream of silence", events(&[SILENCE, NOTHING_USED, DONE])),
        ("a stream that the server gave up", events(&[&SILENCE.replace("stop", "insufficient_system_resource")])),
        ("an error without the type of JSON", answer(200, &[("Content-Type", "text/plain")], BROKEN)),
    ] {
        backup_answers(what, primary, true).await;
    }
    let (a, b) = (Scripted::start(slow(HELLO)).await, Scripted::start(good()).await);
    let harness = Harness::before(&[&a, &b]).await;
    assert_eq!(harness.call().await.text().trim(), HELLO);
    assert_eq!((a.calls(), b.calls(), harness.disabled().await), (1, 0, Vec::new()), "white space, then an answer");
}

#[tokio::test]
async fn s1_4_embeddings_that_are_none_come_from_another_target() {
    let page = answer(200, &[("Content-Type", "text/html")], "<html>");
    let empty = answer(200, &[], r#"{"object": "list", "data": []}"#);
    for (what, primary) in [("a page", page), ("no data", empty), ("an error", answer(200, &[], r#"{"detail": "x"}"#))]
    {
        let (a, b) = (Scripted::start(primary).await, Scripted::start(good()).await);
        let harness = Harness::before(&[&a, &b]).await;
        let answer = harness.send("/llm/v1/embeddings", &[], r#"{"input": "hi"}"#).await;
        assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some("/llm/b/")), "{what}");
        harness.broker.until(&["router disabled", "/llm/a/"]).await;
    }
}

#[tokio::test]
async fn s1_4_a_stream_that_is_called_json_is_one() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let go = Arc::new(Notify::new());
    let act = vec![Move::Send(head.into()), chunk(CONTENT), Move::Await(Arc::clone(&go)), chunk(DONE), last_chunk()];
    let a = Scripted::start(act).await;
    let harness = Harness::before(&[&a]).await;
    let mut answer = Open::post(harness.relay, CHAT, HI).await;
    answer.until("\"one\"").await;
    go.notify_one();
    answer.until("\r\n0\r\n\r\n").await;
    assert_eq!(harness.disabled().await, Vec::<String>::new());
}

#[tokio::test]
async fn s1_4_a_redirect_is_passed_on_and_says_nothing_of_its_target_unless_it_leads_to_a_file() {
    let documents = r#"{"model": "m", "query": "q", "documents": ["a"]}"#;
    for (path, request, outcome) in [
        (CHAT, HI, "\"neutral\""),
        ("/llm/v1/embeddings", HI, "\"neutral\""),
        ("/llm/v1/audio/transcriptions", HI, "\"neutral\""),
        ("/llm/v2/rerank", documents, "\"neutral\""),
        ("/llm/v1/images/generations", HI, "\"success\""),
        ("/llm/v1/audio/speech", HI, "\"success\""),
    ] {
        let (a, b) = (Scripted::start(answer(303, &[("Location", "/v2/")], "{}")).await, Scripted::start(good()).await);
        let harness = Harness::before(&[&a, &b]).await;
        let answer = harness.send(path, &[], request).await;
        assert_eq!((answer.status, answer.header("location"), b.calls()), (303, Some("/v2/"), 0), "{path}");
        Scrape::of(&harness.broker).await.has(&[("gecholog_broker_outcomes_total", &["/llm/a/", outcome], 1.0)]);
    }
}

/// What a file holds is its owner's, whatever its type says.
#[tokio::test]
async fn s1_4_the_content_of_a_file_is_not_judged_and_other_json_that_is_fetched_may_have_several_values() {
    let path = "/llm/v1/files/file-1";
    let content = format!("{path}/content");
    for (path, body, expected) in [
        (content.as_str(), "{\"a\": ", "/llm/a/"),
        (content.as_str(), "no JSON at all", "/llm/a/"),
        (path, "{\"a\": 1}\n{\"a\": NaN}\n", "/llm/a/"),
        (path, "\u{feff}{\"a\": 1}", "/llm/a/"),
        (path, "{\"a\": ", "/llm/b/"),
    ] {
        let (a, b) = (Scripted::start(answer(200, &[], body)).await, Scripted::start(good()).await);
        let harness = Harness::before(&[&a, &b]).await;
        let answer = http::send(harness.relay, "GET", path, &[], b"").await.unwrap();
        assert_eq!(answer.header("x-broker-router"), Some(expected), "{path} {body}");
    }
}

/// What a stored response says of itself in its stream is not about the target that keeps it; a stream that breaks off is.
#[tokio::test]
async fn s1_4_the_stream_of_a_stored_response_that_failed_is_a_good_answer() {
    let text = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"one\"}\n\n";
    let failed = PREAMBLES[3].1;
    for (primary, out) in [
        (events(&[PREAMBLES[3].0, failed]), Vec::new()),
        (events(&[PREAMBLES[3].0, text, failed]), Vec::new()),
        (vec![stream(), chunk(text)], vec!["/llm/a/".to_owned()]),
    ] {
        let a = Scripted::start(primary).await;
        let harness = Harness::before_stalling(&[&a]).await;
        let asked = "GET /llm/v1/responses/resp_1?stream=true HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let came = Open::raw(harness.relay, asked.as_bytes()).await.closed().await;
        assert!(came.starts_with("HTTP/1.1 200 "), "{came}");
        if !out.is_empty() {
            harness.broker.until(&["router disabled", "/llm/a/"]).await;
        }
        assert_eq!(harness.disabled().await, out, "{came}");
    }
}

/// What a call says that asks for nothing to be made is about what it asks after.
#[tokio::test]
async fn s1_4_the_failure_of_what_is_cancelled_or_asked_after_is_no_failure_of_its_target() {
    let failed = r#"{"id": "resp_1", "object": "response", "status": "failed", "error": {"code": "server_error"}, "output": []}"#;
    let operation = r#"{"name": "projects/p/operations/1", "done": true, "error": {"code": 13, "message": "x"}}"#;
    for (path, body) in [
        ("/llm/v1/responses/resp_1/cancel", failed),
        ("/llm/v1/publishers/google/models/veo-3:fetchPredictOperation", operation),
    ] {
        let (a, b) = (Scripted::start(answer(200, &[], body)).await, Scripted::start(good()).await);
        let harness = Harness::before(&[&a, &b]).await;
        for call in 1..=2 {
            let answer = http::send(harness.relay, "POST", path, &[], b"{}").await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, body), "{path}");
            assert_eq!((a.calls(), b.calls()), (call, 0), "{path}");
        }
        assert_eq!(harness.disabled().await, Vec::<String>::new(), "{path}");
    }
}

#[tokio::test]
async fn s1_7_when_to_come_back_stands_in_the_body_too() {
    let body = r#"[{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "30s"}]}}]"#;
    let a = Scripted::start(answer(429, &[], body)).await;
    let harness = Harness::before(&[&a]).await;
    let answer = harness.call().await;
    assert_eq!((answer.status, a.calls()), (429, 1));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((29..=30).contains(&wait), "{wait}");
}

#[tokio::test]
async fn s1_10_streams_count_towards_the_tokens_per_minute() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":40000,\"completion_tokens\":10000,\"total_tokens\":50000}}\n\n";
    let (a, b) = (Scripted::start(events(&[CONTENT, usage, DONE])).await, Scripted::start(good()).await);
    let limited = target("a", &a.url()).replacen('{', r#"{"budget": {"tpm": 1000}, "#, 1);
    let harness = Harness::of(&pools(&[limited, target("b", &b.url())])).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/a/"));
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"));
}

/// A list that was to be made, with nothing in it, is no answer, unless the request may be answered so.
#[tokio::test]
async fn s1_4_an_empty_list_leads_on_only_where_something_was_to_be_in_it() {
    const EMPTY: &str = r#"{"id": "x", "results": [], "meta": {"api_version": {"version": "2"}}}"#;
    let documents = r#"{"model": "m", "query": "q", "documents": ["a"]}"#;
    let none = r#"{"model": "m", "query": "q", "documents": ["a"], "top_n": 0}"#;
    for (path, request, attempts) in [
        ("/llm/v2/rerank", documents, "2"),
        ("/llm/v2/rerank", none, "1"),
        ("/llm/v1/moderations", r#"{"input": "a"}"#, "2"),
        ("/llm/v1/moderations", r#"{"input": []}"#, "1"),
        ("/llm/v1/search", r#"{"query": "a"}"#, "1"),
    ] {
        let (a, b) = (Scripted::start(answer(200, &[], EMPTY)).await, Scripted::start(good()).await);
        let harness = Harness::before(&[&a, &b]).await;
        let answer = harness.send(path, &[], request).await;
        assert_eq!((answer.status, answer.header("x-broker-attempts")), (200, Some(attempts)), "{path} {request}");
    }
}

/// What may be empty, or no JSON, is known by what the target is sent.
#[tokio::test]
async fn s1_4_what_the_settings_ask_for_decides_how_an_answer_is_judged() {
    const TEXT: &str = "Content-Disposition: form-data; name=\"response_format\"\r\n\r\ntext\r\n";
    const NONE: &str = r#"{"id": "x", "results": []}"#;
    let json = ("Content-Type", "application/json");
    let form = ("Content-Type", "multipart/form-data; boundary=B");
    let recording = "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--B--\r\n";
    let as_text = format!("--B\r\n{TEXT}{recording}");
    let documents = r#"{"model": "m", "query": "q", "documents": ["a"]}"#;
    let below = r#"{"model": "m", "query": "q", "documents": ["a"], "score_threshold": 0.9}"#;
    let transcript = answer(200, &[("Content-Type", "text/html")], "Hello.");
    let ranked = || answer(200, &[], NONE);
    for (settings, path, kind, request, primary, attempts) in [
        (r#""response_format": "text""#, "/llm/v1/audio/transcriptions", form, recording, transcript.clone(), "1"),
        (
            r#""response_format": "json""#,
            "/llm/v1/audio/transcriptions",
            form,
            as_text.as_str(),
            transcript.clone(),
            "2",
        ),
        (r#""language": "de""#, "/llm/v1/audio/transcriptions", form, as_text.as_str(), transcript, "1"),
        (r#""score_threshold": 0.9"#, "/llm/v2/rerank", json, documents, ranked(), "1"),
        (r#""top_n": 0"#, "/llm/v2/rerank", json, documents, ranked(), "1"),
        (r#""score_threshold": null"#, "/llm/v2/rerank", json, below, ranked(), "2"),
        (r#""top_n": 3"#, "/llm/v2/rerank", json, documents, ranked(), "2"),
    ] {
        let (a, b) = (Scripted::start(primary).await, Scripted::start(good()).await);
        let own = target("a", &a.url()).replacen('{', &format!(r#"{{"override_params": {{{settings}}}, "#), 1);
        let harness = Harness::of(&pools(&[own, target("b", &b.url())])).await;
        let answer = http::send(harness.relay, "POST", path, &[kind], request.as_bytes()).await.unwrap();
        assert_eq!((answer.status, answer.header("x-broker-attempts")), (200, Some(attempts)), "{path} {settings}");
    }
}
