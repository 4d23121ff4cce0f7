//! Pools with addresses as shipped: what one failure, one bad request and one silent target cost; and the time limits.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::Value;

use super::super::support::scripted::{Act, Call, Move, Scripted, answer};
use super::super::support::{LOGGER, PoolsFile, http, soon};
use super::affinity::replica;
use super::{CHAT, HELLO, HI, Harness, good, target};

/// A pool of these upstreams in order of preference, with these keys of the file and of the pool.
async fn before(upstreams: &[&Scripted], file: &str, pool: &str) -> Harness {
    let targets = ["a", "b", "c"].iter().zip(upstreams).map(|(name, upstream)| target(name, &upstream.url()));
    let targets = targets.collect::<Vec<_>>().join(",");
    let text = format!(
        r#"{{{file} "pools": [{{"ingress": "/llm/", "strategy": {{"mode": "fallback"}}, {pool} "targets": [{targets}]}}]}}"#
    );
    Harness::shipped(PoolsFile::of(&text), |setup| setup).await
}

const FAST: &str = r#""relay": {"backoff": {"base": "5ms", "cap": "20ms"}},"#;

/// A rate limit for so many seconds.
fn answer_later(seconds: u64) -> Act {
    answer(429, &[("Retry-After", &seconds.to_string())], "{}")
}

fn failing(status: u16) -> Act {
    answer(status, &[], "{}")
}

#[tokio::test]
async fn s1_8_one_failure_of_every_target_disables_none() {
    for targets in 1..=3 {
        let mut upstreams = Vec::new();
        for _ in 0..targets {
            let upstream = Scripted::start(good()).await;
            upstream.once(failing(500));
            upstreams.push(upstream);
        }
        let harness = before(&upstreams.iter().collect::<Vec<_>>(), FAST, "").await;
        for _ in 0..4 {
            assert_eq!(harness.call().await.status, 200, "{targets} targets");
        }
        assert_eq!(harness.disabled().await, Vec::<String>::new(), "{targets} targets");
    }
}

#[tokio::test]
async fn s1_8_the_last_target_is_asked_through_an_outage_and_serves_the_moment_that_is_over() {
    let a = Scripted::start(failing(500)).await;
    let harness = before(&[&a], FAST, "").await;
    for _ in 0..5 {
        assert_eq!(harness.call().await.status, 500, "its own answer, and none of ours");
    }
    assert_eq!(harness.disabled().await, Vec::<String>::new());
    a.always(good());
    assert_eq!(harness.call().await.status, 200);
    // Its own word takes it out.
    a.always(answer(429, &[("Retry-After", "600")], "{}"));
    assert_eq!(harness.call().await.status, 429);
    harness.broker.until(&["rate limit of one model", "/llm/a/"]).await;
}

/// Others of the pool serve, but not this model.
#[tokio::test]
async fn s1_8_the_only_target_of_a_model_is_asked_through_an_outage() {
    let (a, b) = (Scripted::start(failing(500)).await, Scripted::start(good()).await);
    let pool = format!(
        r#""strategy": {{"mode": "conditional", "default": "b",
            "conditions": [{{"query": {{"params.model": {{"$eq": "gpt-4o"}}}}, "then": "a"}}]}}, "targets": [{}, {}]"#,
        target("a", &a.url()),
        target("b", &b.url())
    );
    let text = format!(r#"{{{FAST} "pools": [{{"ingress": "/llm/", {pool}}}]}}"#);
    let harness = Harness::shipped(PoolsFile::of(&text), |setup| setup).await;
    for number in 0..5 {
        let body = format!(r#"{{"model": "gpt-4o", "messages": [], "user": "{number}"}}"#);
        assert_eq!(harness.send(CHAT, &[], &body).await.status, 500);
    }
    assert_eq!(harness.disabled().await, Vec::<String>::new());
    a.always(good());
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/a/"));
    assert_eq!(b.calls(), 0);
}

/// Each target is asked once; then clients are told at once when to come back, and in their own form.
#[tokio::test]
async fn s1_8_targets_that_all_announce_a_wait_are_left_alone_and_clients_are_told_when_to_come_back() {
    for (status, ours, code) in [(429, 429, "all_targets_rate_limited"), (503, 503, "all_targets_unavailable")] {
        let refusal = |seconds: &str| answer(status, &[("Retry-After", seconds)], r#"{"error": {"message": "later"}}"#);
        let (a, b) = (Scripted::start(refusal("90")).await, Scripted::start(refusal("100")).await);
        let file = format!(r#"{FAST} "health": {{"consecutive": 1}},"#);
        let harness = before(&[&a, &b], &file, "").await;
        let first = harness.call().await;
        assert_eq!((first.status, a.calls(), b.calls()), (status, 1, 1));
        let began = std::time::Instant::now();
        for _ in 0..20 {
            let told = harness.call().await;
            assert_eq!(told.status, ours, "{}", told.text());
            let wait: u64 = told.header("retry-after").unwrap().parse().unwrap();
            assert!((80..=90).contains(&wait), "{wait}");
            let body: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
            assert_eq!(body["error"]["code"], code);
        }
        let told = harness.send("/llm/v1/messages", &[], r#"{"model": "gpt-4o", "messages": []}"#).await;
        let body: serde_json::Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!((told.status, &body["type"]), (ours, &serde_json::json!("error")), "{body}");
        assert!(began.elapsed().as_secs() < 4, "too slow to tell");
        assert_eq!((a.calls(), b.calls()), (1, 1), "neither is asked before five seconds are over");
    }
}

#[tokio::test]
async fn s1_8_an_explicit_policy_counts() {
    let a = Scripted::start(failing(500)).await;
    let file = format!(r#"{FAST} "health": {{"preset": "documented"}},"#);
    let harness = before(&[&a], &file, r#""when_all_disabled": "pass","#).await;
    harness.call().await;
    harness.broker.until(&["router disabled", "/llm/a/"]).await;
    assert_eq!((harness.call().await.status, a.calls()), (503, 1));
}

/// One request may be what it dislikes: a target is out only after several, and they go elsewhere meanwhile.
#[tokio::test]
async fn s1_1_one_bare_403_takes_no_target_out_and_several_in_a_row_do() {
    for body in ["", "Forbidden", r#"{"message":"Forbidden"}"#] {
        let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
        let harness = before(&[&a, &b], FAST, "").await;
        let served =
            |answer: &super::super::support::http::Answer| answer.header("x-broker-router").unwrap().to_owned();
        a.once(answer(403, &[], body));
        for expected in ["/llm/b/", "/llm/a/"] {
            let answer = harness.call().await;
            assert_eq!((answer.status, served(&answer).as_str()), (200, expected), "{body}");
        }
        assert_eq!(harness.disabled().await, Vec::<String>::new(), "{body}");
        a.always(answer(403, &[], body));
        for _ in 0..3 {
            assert_eq!(harness.call().await.status, 200, "{body}");
        }
        assert_eq!(harness.disabled().await, ["/llm/a/"], "{body}");
        let met = a.calls();
        harness.call().await;
        assert_eq!(a.calls(), met);
    }
    let (a, b) = (
        Scripted::start(answer(403, &[], r#"{"error":{"message":"Invalid API key"}}"#)).await,
        Scripted::start(good()).await,
    );
    let harness = before(&[&a, &b], FAST, "").await;
    harness.call().await;
    assert_eq!(harness.disabled().await, ["/llm/a/"], "it says that it refuses the key");
}

/// 403 leaves open whether it refuses the key or the request.
#[tokio::test]
async fn s1_6_one_request_that_all_refuse_costs_no_other_request_anything() {
    for status in [500, 403] {
        let bad = move |call: &Call| {
            if call.body.contains("bad") { failing(status) } else { good() }
        };
        let mut upstreams = Vec::new();
        for _ in 0..3 {
            upstreams.push(Scripted::answering(bad).await);
        }
        let strict = format!(r#"{FAST} "health": {{"consecutive": 1}},"#);
        for file in [FAST, &strict] {
            let harness = before(&upstreams.iter().collect::<Vec<_>>(), file, "").await;
            for _ in 0..3 {
                assert_eq!(harness.send(CHAT, &[], "{\"x\": \"bad\"}").await.status, status, "{file}");
            }
            for _ in 0..3 {
                assert_eq!(harness.call().await.status, 200, "{file}");
            }
            let before = upstreams[0].calls();
            let served = harness.call().await;
            assert_eq!(served.header("x-broker-router"), Some("/llm/a/"), "{status} {file}: it serves again");
            assert_eq!(upstreams[0].calls(), before + 1);
        }
    }
}

/// As monitors and retries send it: a target that is dead is found out, and who asks again is served.
#[tokio::test]
async fn s1_6_one_request_that_comes_again_goes_to_who_has_not_failed_it() {
    let once = r#""relay": {"attempts": 1},"#;
    let (a, b) = (Scripted::start(failing(502)).await, Scripted::start(good()).await);
    let harness = before(&[&a, &b], once, "").await;
    let mut entries = harness.bus.subscribe(LOGGER).await;
    let mut met = Vec::new();
    for _ in 0..7 {
        let status = harness.call().await.status;
        let entry: Value = serde_json::from_slice(&soon("an entry", entries.next()).await.unwrap().payload).unwrap();
        met.push((status, entry["request"]["broker"]["why"].as_str().unwrap().to_owned()));
    }
    let first = (502, "first in order, 2 of 2 serve".to_owned());
    let again =
        (200, "first in order, 2 of 2 serve; /llm/a/ passed over: it has failed this request before".to_owned());
    let last = (200, "first in order, 1 of 2 serve".to_owned());
    assert_eq!(
        met,
        [first.clone(), again.clone(), first.clone(), again, first, last.clone(), last],
        "three failures in a row"
    );
    assert_eq!(harness.disabled().await, ["/llm/a/"]);
    // Nothing was sent where nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let targets = [target("a", &format!("http://{closed}")), target("b", &b.url())].join(",");
    let text = format!(
        r#"{{{once} "pools": [{{"ingress": "/llm/", "strategy": {{"mode": "fallback"}}, "targets": [{targets}]}}]}}"#
    );
    let harness = Harness::shipped(PoolsFile::of(&text), |setup| setup).await;
    let mut failed = 0;
    for _ in 0..7 {
        failed += usize::from(harness.call().await.status != 200);
    }
    assert_eq!((failed, harness.disabled().await), (3, vec!["/llm/a/".to_owned()]));
}

/// What has no body, what is a form, and what has its model in the path are recognised too.
#[tokio::test]
async fn s1_6_a_bad_request_of_any_form_costs_no_other_request_anything() {
    let form = |boundary: &str, file: &str| {
        let part = "Content-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"";
        format!("--{boundary}\r\n{part}\r\n\r\n{file}\r\n--{boundary}--\r\n")
    };
    let bad = |call: &Call| {
        if call.head.contains("bad") || call.body.contains("bad") { failing(500) } else { good() }
    };
    for kind in ["no body", "form", "path"] {
        let (a, b) = (Scripted::answering(bad).await, Scripted::answering(bad).await);
        let harness = before(&[&a, &b], FAST, "").await;
        for round in 0..6 {
            let (method, path, content, body) = match kind {
                "no body" => ("GET", "/llm/v1/batches/batch_bad", "text/plain".to_owned(), String::new()),
                "form" => (
                    "POST",
                    "/llm/v1/audio/transcriptions",
                    format!("multipart/form-data; boundary=b{round}"),
                    form(&format!("b{round}"), "bad"),
                ),
                _ => ("POST", "/llm/deployments/bad/chat/completions", "application/json".to_owned(), HI.to_owned()),
            };
            let asked =
                http::send(harness.relay, method, path, &[("Content-Type", &content)], body.as_bytes()).await.unwrap();
            assert_eq!(asked.status, 500, "{kind}");
            let well = http::send(harness.relay, "POST", "/llm/deployments/other/chat/completions", &[], HI.as_bytes());
            assert_eq!(well.await.unwrap().header("x-broker-router"), Some("/llm/a/"), "{kind}, round {round}");
        }
        assert_eq!(harness.disabled().await, Vec::<String>::new(), "{kind}");
    }
}

/// A client's retries reach now one replica, now the other.
#[tokio::test]
async fn s1_6_one_request_that_all_refuse_is_known_by_all_replicas() {
    let bad = move |call: &Call| {
        if call.body.contains("bad") { failing(500) } else { good() }
    };
    let mut upstreams = Vec::new();
    for _ in 0..3 {
        upstreams.push(Scripted::answering(bad).await);
    }
    let harness = before(&upstreams.iter().collect::<Vec<_>>(), FAST, "").await;
    let (other, other_relay) = replica(&harness.bus, &harness.file).await;
    let mut entries = harness.bus.client.subscribe(LOGGER).await.unwrap();
    for _ in 0..3 {
        for relay in [harness.relay, other_relay] {
            let asked = http::send(relay, "POST", CHAT, &[], b"{\"x\": \"bad\"}").await.unwrap();
            assert_eq!(asked.status, 500);
        }
    }
    let attempts: usize = upstreams.iter().map(Scripted::calls).sum();
    for _ in 0..attempts {
        soon("each attempt's entry", entries.next()).await.unwrap();
    }
    for relay in [harness.relay, other_relay] {
        let served = http::send(relay, "POST", CHAT, &[], HI.as_bytes()).await.unwrap();
        assert_eq!(served.header("x-broker-router"), Some("/llm/a/"));
    }
    assert_eq!(harness.disabled().await, Vec::<String>::new());
    other.exactly(&["router disabled"], 0).await;
}

#[tokio::test]
async fn s1_5_an_attempt_that_the_calls_own_time_cuts_short_blames_no_target() {
    let (a, b) = (Scripted::start(vec![Move::Hold]).await, Scripted::start(vec![Move::Hold]).await);
    let file = r#""relay": {"first_byte": "400ms", "timeout": "600ms"},"#;
    let harness = before(&[&a, &b], file, "").await;
    let answer = harness.call().await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("/llm/b/ had not answered when the call's time was over"), "{}", answer.text());
    harness.broker.until(&["router disabled", "/llm/a/"]).await;
    b.always(good());
    let answer = harness.call().await;
    assert_eq!((answer.text().as_str(), answer.header("x-broker-router")), (HELLO, Some("/llm/b/")));
    assert_eq!(harness.disabled().await, ["/llm/a/"], "it had its whole time, and the other one had not");
}

#[tokio::test]
async fn s1_5_the_first_byte_is_limited_for_streams_and_where_the_file_says_so_from_the_sent_request() {
    for (file, body, limited) in [
        (r#""relay": {"first_byte": "300ms", "connect": "20s"},"#, "{\"stream\": true}", true),
        (r#""relay": {"first_byte": "300ms", "connect": "20s"},"#, "{}", true),
        (r#""relay": {"timeout": "700ms"},"#, "{}", false),
    ] {
        let (a, b) = (Scripted::start(vec![Move::Hold]).await, Scripted::start(good()).await);
        let harness = before(&[&a, &b], file, "").await;
        let began = Instant::now();
        let answer = harness.send(CHAT, &[], body).await;
        let expected = if limited { (200, 1) } else { (503, 0) };
        assert_eq!((answer.status, b.calls()), expected, "{file} {body}");
        let least = Duration::from_millis(if limited { 300 } else { 700 });
        assert!(began.elapsed() >= least, "{file} {body}: {:?}", began.elapsed());
    }
}

/// Four may have the call for half a second; who has longer is asked, and no attempt is counted that was never made.
#[tokio::test]
async fn s1_5_a_target_without_time_is_passed_over() {
    let (slow, b) = (Scripted::start(vec![Move::Hold]).await, Scripted::start(good()).await);
    let limited = |name: &str, timeout: &str| {
        format!(r#"{{"name": "{name}", "url": "{}", "relay": {{"timeout": "{timeout}"}}}}"#, slow.url())
    };
    let pool = |targets: &[String]| {
        let targets = targets.join(",");
        let text = format!(
            r#"{{"relay": {{"timeout": "30s"}}, "pools": [{{"ingress": "/llm/", "strategy": {{"mode": "fallback"}}, "targets": [{targets}]}}]}}"#
        );
        PoolsFile::of(&text)
    };
    let several = [limited("a", "500ms"), limited("c", "500ms"), limited("d", "500ms"), limited("e", "500ms")];
    let file = pool(&[&several[..], &[target("b", &b.url())]].concat());
    let harness = Harness::shipped(file, |setup| setup).await;
    let answer = harness.call().await;
    let head = |name| answer.header(name);
    assert_eq!((head("x-broker-router"), head("x-broker-attempts")), (Some("/llm/b/"), Some("2")), "{}", answer.text());
    assert_eq!((slow.calls(), harness.disabled().await), (1, Vec::new()));
    // A call lasts as long as its most patient target, here the only one.
    let harness = Harness::shipped(pool(&[limited("a", "500ms")]), |setup| setup).await;
    let began = Instant::now();
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.header("x-broker-attempts"), slow.calls()), (503, Some("1"), 2));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    slow.always(answer_later(8));
    let harness = Harness::shipped(pool(&[limited("a", "3s")]), |setup| setup).await;
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.header("retry-after"), slow.calls()), (429, Some("8"), 3), "no wait in vain");
}

#[tokio::test]
async fn s1_5_a_target_may_have_limits_of_its_own() {
    let (a, b) = (Scripted::start(vec![Move::Hold]).await, Scripted::start(good()).await);
    let text = format!(
        r#"{{"relay": {{"first_byte": "10m"}}, "pools": [{{"ingress": "/llm/", "strategy": {{"mode": "fallback"}}, "targets": [
            {{"name": "a", "url": "{}", "relay": {{"first_byte": "200ms"}}}}, {{"name": "b", "url": "{}"}}]}}]}}"#,
        a.url(),
        b.url()
    );
    let harness = Harness::shipped(PoolsFile::of(&text), |setup| setup).await;
    // The file's limit is longer than the test waits.
    assert_eq!(harness.call().await.header("x-broker-router"), Some("/llm/b/"), "its own limit, and not the file's");
}
