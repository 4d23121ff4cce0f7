//! The table of faults, directly: what a primary target does, and what the client and the primary get to see.

use super::super::support::scripted::{Act, Move, Scripted, answer, chunk, last_chunk, stream};
use super::{HELLO, Harness, good, pools, target};

/// The client never notices; the primary is disabled, or no target is to blame.
struct Hidden {
    fault: &'static str,
    primary: Act,
    disables: bool,
}

const fn hidden(fault: &'static str, primary: Act, disables: bool) -> Hidden {
    Hidden { fault, primary, disables }
}

fn table() -> Vec<Hidden> {
    let error = r#"{"error": {"message": "m", "type": "t", "code": "c"}}"#;
    let missing = r#"{"error": {"code": "DeploymentNotFound", "message": "m"}}"#;
    let event = format!("data: {error}\n\n");
    let minimax = r#"{"choices": null, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}"#;
    vec![
        hidden("429 with Retry-After", answer(429, &[("Retry-After", "2")], error), true),
        hidden("429", answer(429, &[], error), true),
        hidden("500", answer(500, &[], error), true),
        hidden("503", answer(503, &[], error), true),
        hidden("529", answer(529, &[], error), true),
        hidden("408", answer(408, &[], error), true),
        hidden("409", answer(409, &[], error), false),
        hidden("401 of the target's own key", answer(401, &[], error), true),
        hidden("402 of the target's own key", answer(402, &[], error), true),
        hidden("403 of the target's own key", answer(403, &[], error), true),
        hidden("404, no such model", answer(404, &[], error), false),
        hidden("404, no such deployment, which the client had named", answer(404, &[], missing), false),
        hidden("200 with MiniMax's limit", answer(200, &[], minimax), true),
        hidden(
            "a stream of MiniMax's limit",
            vec![stream(), chunk(&format!("data: {minimax}\n\n")), last_chunk()],
            true,
        ),
        hidden("no word at all", vec![Move::Hold], true),
        hidden("closed without an answer", vec![], true),
        hidden("half a head", vec![Move::Send(b"HTTP/1.1 200 OK\r\nContent-".to_vec())], true),
        hidden("no HTTP", vec![Move::Send(b"hello\r\n\r\n".to_vec())], true),
        hidden("half a body", cut(answer(200, &[], HELLO)), true),
        hidden("an error with half a body", cut(answer(503, &[], error)), true),
        hidden("malformed JSON", answer(200, &[], "{\"choices\": ["), true),
        hidden("a stream that says nothing", vec![stream(), Move::Hold], true),
        hidden("a stream of comments", vec![stream(), chunk(": wait\n\n"), Move::Hold], true),
        hidden("a stream that ends before its first event", vec![stream(), chunk("data: {")], true),
        hidden("a stream that begins with an error", vec![stream(), chunk(&event), last_chunk()], true),
    ]
}

/// An answer that breaks off in its last bytes.
pub(super) fn cut(mut act: Act) -> Act {
    if let Some(Move::Send(bytes)) = act.last_mut() {
        bytes.truncate(bytes.len() - 5);
    }
    act
}

#[tokio::test]
async fn a_fault_before_the_first_byte_is_never_noticed() {
    for Hidden { fault, primary, disables } in table() {
        let stalls = primary.iter().any(|step| matches!(step, Move::Hold));
        let (a, b) = (Scripted::start(primary).await, Scripted::start(good()).await);
        let harness = if stalls { Harness::before_stalling(&[&a, &b]).await } else { Harness::before(&[&a, &b]).await };
        let answer = harness.call().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, HELLO), "{fault}");
        assert_eq!(answer.header("x-broker-router"), Some("/llm/b/"), "{fault}");
        assert_eq!(answer.header("x-broker-attempts"), Some("2"), "{fault}");
        assert_eq!((a.calls(), b.calls()), (1, 1), "{fault}");
        harness.call().await;
        let expected = if disables { vec!["/llm/a/"] } else { Vec::new() };
        let out = [harness.disabled().await, harness.resting().await].concat();
        assert_eq!(out, expected, "{fault}\n{}", harness.broker.text());
        assert_eq!(a.calls(), if disables { 1 } else { 2 }, "{fault}: a disabled target is left alone");
    }
}

#[tokio::test]
async fn a_target_that_does_not_listen_is_never_noticed() {
    let b = Scripted::start(good()).await;
    let harness = Harness::of(&pools(&[target("a", "http://127.0.0.1:9/"), target("b", &b.url())])).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"));
    harness.broker.until(&["router disabled", "/llm/a/", "cannot be connected to"]).await;
    let harness = Harness::of(&pools(&[target("a", "http://no.such.host.invalid/"), target("b", &b.url())])).await;
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"));
    harness.broker.until(&["router disabled", "/llm/a/", "cannot be connected to"]).await;
}

#[tokio::test]
async fn a_callers_own_fault_is_answered_as_it_is_and_no_other_target_is_asked() {
    let filter = r#"{"error": {"code": "content_filter", "message": "no"}}"#;
    for status in [400, 413, 422] {
        let (a, b) = (Scripted::start(answer(status, &[], filter)).await, Scripted::start(good()).await);
        let harness = Harness::before(&[&a, &b]).await;
        for calls in 1..=2 {
            let answer = harness.call().await;
            assert_eq!((answer.status, answer.text().as_str()), (status, filter));
            assert_eq!((a.calls(), b.calls()), (calls, 0), "{status}");
        }
        assert_eq!(harness.disabled().await, Vec::<String>::new(), "{status}");
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_where_there_is_no_other_target() {
    let a = Scripted::start(good()).await;
    a.once(answer(429, &[("Retry-After-Ms", "1500")], "{}"));
    let harness = Harness::before(&[&a]).await;
    let began = std::time::Instant::now();
    let answer = harness.call().await;
    assert_eq!((answer.status, a.calls()), (200, 2));
    assert!(began.elapsed().as_millis() >= 1_500, "the upstream's own word is kept");
    assert_eq!(answer.header("x-broker-attempts"), Some("2"));
}

#[tokio::test]
async fn where_all_fail_the_last_answer_comes_as_it_was_and_then_one_of_ours() {
    let error = r#"{"error": {"message": "theirs"}}"#;
    let (a, b) = (Scripted::start(answer(500, &[], "{}")).await, Scripted::start(answer(503, &[], error)).await);
    let harness = Harness::before(&[&a, &b]).await;
    let last = harness.call().await;
    assert_eq!((last.status, last.text().as_str()), (503, error));
    assert_eq!(last.header("x-broker-router"), Some("/llm/b/"));
    assert_eq!(last.header("x-broker-reason"), Some("no target left"));
    assert_eq!(last.header("retry-after"), Some("600"));
    let ours = harness.call().await;
    assert_eq!((ours.status, ours.header("retry-after")), (503, Some("600")));
    let body: serde_json::Value = serde_json::from_slice(&ours.body).unwrap();
    assert_eq!(body["error"]["code"], "all_targets_unavailable");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("/llm/a/") && message.contains("answered 503"), "{message}");
    assert_eq!((a.calls(), b.calls()), (1, 1), "no disabled target is called");
}

#[tokio::test]
async fn an_outage_is_noticed_once_by_its_first_call_and_by_no_client() {
    let (a, b) = (Scripted::start(answer(503, &[], "{}")).await, Scripted::start(good()).await);
    let harness = Harness::before(&[&a, &b]).await;
    for _ in 0..15 {
        assert_eq!(harness.call().await.status, 200);
    }
    assert_eq!((a.calls(), b.calls()), (1, 15));
}

#[tokio::test]
async fn many_calls_at_once_into_an_outage_all_come_through() {
    let (a, b) = (Scripted::start(answer(503, &[], "{}")).await, Scripted::start(good()).await);
    let harness = Harness::before(&[&a, &b]).await;
    let calls = (0..50).map(|_| harness.call());
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(harness.disabled().await, ["/llm/a/"], "those that were in progress neither extend nor repeat it");
    let met = a.calls();
    for _ in 0..10 {
        harness.call().await;
    }
    assert_eq!(a.calls(), met, "none after its detection");
}

#[tokio::test]
async fn a_mix_of_faults_is_never_noticed() {
    let error = "{}";
    let (a, b) = (Scripted::start(answer(429, &[("Retry-After", "60")], error)).await, Scripted::start(vec![]).await);
    let c = Scripted::start(good()).await;
    let harness = Harness::before(&[&a, &b, &c]).await;
    c.once(answer(409, &[], error));
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.header("x-broker-attempts")), (200, Some("4")), "{}", answer.text());
    assert_eq!((a.calls(), b.calls(), c.calls()), (1, 1, 2), "the last is asked again when no other is left");
}

#[tokio::test]
async fn a_branch_may_say_after_which_answers_a_call_goes_elsewhere() {
    let (a, b) = (Scripted::start(answer(503, &[], "{}")).await, Scripted::start(good()).await);
    let listed = pools(&[target("a", &a.url()), target("b", &b.url())])
        .replace("\"fallback\"", "\"fallback\", \"on_status_codes\": [422]");
    let harness = Harness::of(&listed).await;
    assert_eq!((harness.call().await.status, b.calls()), (503, 0), "not on the list");
    let harness = Harness::of(&listed).await;
    a.always(answer(422, &[], "{}"));
    assert_eq!((harness.call().await.status, b.calls()), (200, 1), "on the list");
}

/// The head of an error whose body is still to come, and its first bytes.
fn unfinished(status: u16, body: &str) -> Act {
    let head = format!(
        "HTTP/1.1 {status} Any\r\nContent-Type: application/json\r\nRetry-After: 40\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    vec![Move::Send(head.into_bytes()), chunk(body)]
}

#[tokio::test]
async fn an_error_whose_body_does_not_end_counts_by_its_head_and_the_next_target_is_asked() {
    for status in [429, 503] {
        for (fault, body, last) in [
            ("nothing but spaces", " ", Some(Move::Hold)),
            ("half an error", "{\"error\": {\"mess", Some(Move::Hold)),
            ("cut", "{\"error\": {\"mess", None),
        ] {
            let mut act = unfinished(status, body);
            act.extend(last);
            let (a, b) = (Scripted::start(act).await, Scripted::start(good()).await);
            // No limit of the attempt is over before its error is judged.
            let harness = Harness::before(&[&a, &b]).await;
            let answer = harness.call().await;
            assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some("/llm/b/")), "{status} {fault}");
            let router = harness.router("/llm/a/").await;
            // A rate limit is that of the model.
            let out = if status == 429 { &router["rests_for"][0] } else { &router };
            let left = out["seconds_left"].as_f64();
            assert!((25.0..=40.0).contains(&left.unwrap_or_default()), "{fault}: {left:?}");
            harness.call().await;
            assert_eq!((a.calls(), b.calls()), (1, 2), "{fault}");
        }
    }
}

#[tokio::test]
async fn an_error_without_its_end_that_is_passed_on_is_whole_and_no_fault_of_the_target_where_it_is_the_callers() {
    let whole = "{\"error\": {\"message\": \"theirs\"}}";
    for (body, stalls, is_theirs) in
        [("", true, false), ("{\"error\": {\"mess", false, false), (whole, true, true), (whole, false, true)]
    {
        let mut act = unfinished(400, body);
        if body.is_empty() {
            act.truncate(1);
        }
        act.extend(stalls.then_some(Move::Hold));
        let (a, b) = (Scripted::start(act).await, Scripted::start(good()).await);
        let listed = pools(&[target("a", &a.url()), target("b", &b.url())])
            .replace("\"idle\": \"20s\"", "\"idle\": \"20s\", \"hold\": \"300ms\"");
        let harness = Harness::of(&listed).await;
        let answer = harness.call().await;
        assert_eq!((answer.status, answer.header("x-broker-router")), (400, Some("/llm/a/")), "{body}");
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(said["error"]["message"] == "theirs", is_theirs, "{said}");
        assert_eq!(said["error"]["code"] == "incomplete_error", !is_theirs, "{said}");
        assert_eq!((b.calls(), harness.disabled().await), (0, Vec::<String>::new()), "{body}");
    }
}
