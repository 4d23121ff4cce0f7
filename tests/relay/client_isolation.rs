//! What a client chooses is the client's: its typos take no target out, its paths stay below a target's address, its query does
//! not override a target's, its credentials stay here.

use futures_util::StreamExt;

use super::super::support::http::{self, Open};
use super::super::support::scripted::{Move, Scripted, answer, chunk, last_chunk, stream};
use super::super::support::{LOGGER, Setup, soon};
use super::{CHAT, HI, Harness, KEY, good, pools, target};

const NO_DEPLOYMENT: &str = r#"{"error":{"code":"DeploymentNotFound","message":"m"}}"#;
const NO_MODEL: &str =
    r#"{"error":{"code":"model_not_found","message":"m","param":null,"type":"invalid_request_error"}}"#;
const NO_CODE: &str = r#"{"error":{"code":"404","message":"Resource not found"}}"#;

/// A target whose address ends so, with further settings.
fn at(name: &str, upstream: &Scripted, path: &str, settings: &str) -> String {
    let url = upstream.url().replace("/v1/", path);
    target(name, &url).replacen('{', &format!("{{{settings}"), 1)
}

struct Case {
    about: &'static str,
    /// Of the targets' addresses.
    path: &'static str,
    settings: &'static str,
    /// Of the call, below the ingress.
    subpath: &'static str,
    body: &'static str,
    status: u16,
    error: &'static str,
    /// The targets are at fault.
    targets: bool,
}

const CASE: Case = Case {
    about: "",
    path: "/",
    settings: "",
    subpath: "openai/deployments/typo/chat/completions?api-version=1",
    body: HI,
    status: 404,
    error: NO_DEPLOYMENT,
    targets: false,
};

fn cases() -> Vec<Case> {
    let azure = "/openai/deployments/mine/";
    let (chat, named) = ("chat/completions", r#"{"model": "typo"}"#);
    vec![
        Case { about: "a deployment in the client's path", ..CASE },
        Case { about: "a model in the client's path", subpath: "models/typo:generateContent", error: NO_MODEL, ..CASE },
        Case {
            about: "an address that ends before the name",
            path: "/openai/deployments/",
            subpath: "typo/chat",
            ..CASE
        },
        Case { about: "an address with the name", path: azure, subpath: chat, targets: true, ..CASE },
        Case {
            about: "an endpoint with the name",
            settings: r#""endpoint": "openai/deployments/mine/chat/completions", "#,
            targets: true,
            ..CASE
        },
        Case { about: "a deployment as the client's model", subpath: chat, body: named, ..CASE },
        Case { about: "the client's model", subpath: chat, body: named, error: NO_MODEL, ..CASE },
        Case { about: "the client's model, 400", subpath: chat, body: named, error: NO_MODEL, status: 400, ..CASE },
        Case {
            about: "a model that the target sets",
            settings: r#""override_params": {"model": "mine"}, "#,
            subpath: chat,
            body: named,
            error: NO_MODEL,
            targets: true,
            ..CASE
        },
        Case {
            about: "a model that the target sets, 400",
            settings: r#""override_params": {"model": "mine"}, "#,
            subpath: chat,
            body: named,
            error: NO_MODEL,
            status: 400,
            targets: true,
            ..CASE
        },
        Case {
            about: "a model that the target renames",
            settings: r#""model_map": {"gpt-4o": "mine"}, "#,
            subpath: chat,
            error: NO_MODEL,
            targets: true,
            ..CASE
        },
        Case {
            about: "a model that the target does not rename",
            settings: r#""model_map": {"gpt-4o": "mine", "*": "*"}, "#,
            subpath: chat,
            body: named,
            error: NO_MODEL,
            ..CASE
        },
        Case { about: "a path that does not exist", path: azure, subpath: "chat/typo", error: NO_CODE, ..CASE },
    ]
}

#[tokio::test]
async fn what_the_caller_named_is_the_callers_fault_and_what_the_target_names_the_targets() {
    for Case { about, path, settings, subpath, body, status, error, targets } in cases() {
        let (a, b) =
            (Scripted::start(answer(status, &[], error)).await, Scripted::start(answer(status, &[], error)).await);
        let harness = Harness::of(&pools(&[at("a", &a, path, settings), at("b", &b, path, settings)])).await;
        let mut entries = harness.bus.client.subscribe(LOGGER).await.unwrap();
        let beside = Setup::on(&harness.bus).set("BROKER_CONFIG", harness.file.path());
        let beside = beside.set("BROKER_HEALTH", "documented").set("KEY", KEY).ready().await;
        let given = harness.send(&format!("/llm/{subpath}"), &[], body).await;
        assert_eq!((given.status, given.text().as_str()), (status, error), "{about}");
        let attempts = a.calls() + b.calls();
        assert_eq!(attempts, if status == 404 || targets { 2 } else { 1 }, "{about}");
        for _ in 0..attempts {
            soon("an entry", entries.next()).await.unwrap();
        }
        let expected = if targets { 2 } else { 0 };
        // A second broker learns from the entries, and comes to the same.
        if targets {
            beside.until_nth(&["router disabled"], expected).await;
            harness.broker.until_nth(&["router disabled"], expected).await;
        }
        assert_eq!(harness.disabled().await.len(), expected, "{about}: {}", harness.broker.text());
        for upstream in [&a, &b] {
            upstream.always(good());
        }
        let later = harness.call().await;
        assert_eq!(later.status, if targets { 503 } else { 200 }, "{about}: {}", later.text());
        beside.exactly(&["router disabled"], expected).await;
    }
}

#[tokio::test]
async fn a_path_goes_where_it_is_put_or_nowhere() {
    let a = Scripted::start(good()).await;
    let harness = Harness::before(&[&a]).await;
    for good in [
        "models/gemini-2.5-pro:generateContent",
        "models/gemini%3AstreamGenerateContent",
        "models/claude-opus@20240229:rawPredict",
        "model/anthropic.claude-v2:1/invoke",
        "a%20b/c..d;e=f/",
    ] {
        let calls = a.calls();
        assert_eq!(harness.send(&format!("/llm/{good}"), &[], HI).await.status, 200, "{good}");
        let line = format!("post /v1/{good} http/1.1\r\n").to_ascii_lowercase();
        assert!(a.calls() == calls + 1 && a.last().head.starts_with(&line), "{good}: {}", a.last().head);
    }
    let calls = a.calls();
    for bad in [
        "..;/admin",
        "..;x/admin",
        ".;/admin",
        "x/..",
        "%2e%2e/admin",
        "%252e%252e/admin",
        "%25252e/admin",
        "a%2f..",
        "a%5Cb",
        "a\\b",
        ".%00./admin",
        "..%20/admin",
        "%c0%ae%c0%ae/admin",
        "%u002e/admin",
        "a%0d%0ab",
        "%",
    ] {
        let given = harness.send(&format!("/llm/{bad}"), &[], HI).await;
        assert_eq!((given.status, given.text().contains("bad_path")), (400, true), "{bad}");
    }
    assert_eq!(a.calls(), calls);
}

#[tokio::test]
async fn a_targets_query_wins_and_a_clients_credentials_neither_go_on_nor_stand_in_the_log() {
    let secret = "secret-of-the-client";
    for forwards in [false, true] {
        let a = Scripted::start(good()).await;
        let settings = format!(r#""query": {{"api-version": "7"}}, "forward_credentials": {forwards}, "#);
        let harness = Harness::of(&pools(&[at("a", &a, "/v1/", &settings)])).await;
        let mut entries = harness.bus.subscribe(LOGGER).await;
        for spelling in ["api-version=1", "api%2Dversion=1", "API-Version=1&api-version=2", "x=1;api%252dversion=1"] {
            assert_eq!(harness.send(&format!("{CHAT}?{spelling}"), &[], HI).await.status, 200);
            let head = a.last().head;
            let line = head.lines().next().unwrap().to_owned();
            assert!(
                line.ends_with("?api-version=7 http/1.1") || line.ends_with("?x=1&api-version=7 http/1.1"),
                "{line}"
            );
            soon("an entry", entries.next()).await.unwrap();
        }
        for name in [
            "api_key",
            "api-key",
            "key",
            "subscription-key",
            "Ocp-Apim-Subscription-Key",
            "X-Amz-Security-Token",
            "X-Auth-Token",
            "X-Goog-Api-Key",
            "access_token",
            "sig",
            "X-Amz-Signature",
            "X-Amz-Credential",
            "Cookie",
        ] {
            let query = format!("{CHAT}?b=1&{name}={secret}");
            assert_eq!(harness.send(&query, &[(name, secret)], HI).await.status, 200, "{name}");
            let head = a.last().head;
            assert_eq!(head.matches(secret).count(), if forwards { 2 } else { 0 }, "{name}: {head}");
            assert!(head.contains("?b=1&"), "{name}: {head}");
            let entry = soon("an entry", entries.next()).await.unwrap();
            let text = String::from_utf8_lossy(&entry.payload).into_owned();
            assert!(!text.contains(secret), "{name}: {text}");
            assert!(text.contains("*****MASKED*****"), "{text}");
        }
    }
}

#[tokio::test]
async fn an_encoded_body_passes_as_it_is() {
    let a = Scripted::start(good()).await;
    let settings = r#""override_params": {"max_tokens": 5}, "model_map": {"gpt-4o": "mine"}, "#;
    let harness = Harness::of(&pools(&[at("a", &a, "/v1/", settings)])).await;
    // 10 GB of zeros would come of these few bytes, if anything were decoded; this body is not even valid.
    for body in ["\u{1f}\u{8b}\u{8}bomb", HI] {
        assert_eq!(harness.send(CHAT, &[("Content-Encoding", "gzip")], body).await.status, 200);
        let call = a.last();
        assert_eq!(call.body, body);
        assert!(call.head.contains("content-encoding: gzip"), "{}", call.head);
    }
    assert_eq!(harness.send(CHAT, &[("Content-Encoding", "identity")], HI).await.status, 200);
    assert!(a.last().body.contains("mine"), "{}", a.last().body);
}

#[tokio::test]
async fn bodies_in_parts_of_one_byte_are_joined() {
    let mut act = vec![stream()];
    act.push(Move::Send(b"1\r\n:\r\n".repeat(50_000)));
    act.extend([chunk("\n\ndata: {}\n\n"), last_chunk()]);
    let a = Scripted::start(act).await;
    let text = pools(&[target("a", &a.url())]);
    let harness = Harness::of(&text).await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    let body = b"1\r\nx\r\n".repeat(50_000);
    let call = Open::raw(harness.relay, &[head.as_bytes(), &body, b"0\r\n\r\n"].concat()).await;
    let given = call.closed().await;
    assert!(given.starts_with("HTTP/1.1 200") && given.contains("data: {}"), "{}", given.len());
    assert!(given.len() < 60_000, "the stream's comments went on in one part, not in 50,000: {}", given.len());
    assert_eq!(a.last().body.len(), 50_000);
}

#[tokio::test]
async fn a_body_is_sent_again_and_changed_for_each_target() {
    let (a, b) = (Scripted::start(answer(503, &[], "{}")).await, Scripted::start(answer(503, &[], "{}")).await);
    let c = Scripted::start(good()).await;
    let large = format!(r#"{{"model":"gpt-4o","text":"{}"}}"#, "x".repeat(3 << 20));
    let mapped = |name: &str| format!(r#""model_map": {{"gpt-4o": "{name}"}}, "#);
    let targets = [at("a", &a, "/v1/", &mapped("one")), at("b", &b, "/v1/", &mapped("one")), at("c", &c, "/v1/", "")];
    let harness = Harness::of(&pools(&targets)).await;
    assert_eq!(http::send(harness.relay, "POST", CHAT, &[], large.as_bytes()).await.unwrap().status, 200);
    for (upstream, model) in [(&a, "one"), (&b, "one"), (&c, "gpt-4o")] {
        assert_eq!(upstream.last().body, large.replace("gpt-4o", model).as_str());
    }
}

/// Other replicas are told so.
#[tokio::test]
async fn what_a_clients_own_key_has_used_up_is_there_for_other_clients() {
    let limited = answer(429, &[("Retry-After", "60"), ("x-ratelimit-remaining-requests", "0")], "{}");
    let a = Scripted::start(limited).await;
    let b = Scripted::start(good()).await;
    let forwarding = format!(r#"{{"name": "a", "url": "{}", "forward_credentials": true}}"#, a.url());
    let harness = Harness::of(&pools(&[forwarding, target("b", &b.url())])).await;
    let mut entries = harness.bus.client.subscribe(LOGGER).await.unwrap();
    let answer = harness.send(CHAT, &[("Authorization", "Bearer of-one-client")], HI).await;
    assert_eq!((answer.status, a.calls(), b.calls()), (200, 1, 1), "another target may take it");
    let entry = soon("an entry", entries.next()).await.unwrap();
    let entry = String::from_utf8_lossy(&entry.payload).into_owned();
    assert!(entry.contains(r#""clients_key":true"#), "{entry}");
    let answer = harness.send(CHAT, &[("Authorization", "Bearer of-another")], HI).await;
    assert_eq!((answer.status, a.calls(), b.calls()), (200, 2, 2), "the first target is still asked first");
}
