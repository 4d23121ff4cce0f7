//! What a request asks for, whatever its form: forms, lists of models, calls that make nothing.

use std::io::Write;

use serde_json::{Value, json};

use super::super::support::http;
use super::super::support::scripted::{Act, Move, Scripted, answer};
use super::{CHAT, HI, Harness, good, pools, target};

const FORM: &str = "multipart/form-data; boundary=B";

fn transcription(model: &str) -> String {
    format!(
        "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--B\r\nContent-Disposition: form-data; \
         name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n--model--\r\n--B--\r\n"
    )
}

/// A target with these further settings.
fn with(name: &str, upstream: &Scripted, settings: &str) -> String {
    target(name, &upstream.url()).replacen('{', &format!("{{{settings}, "), 1)
}

#[tokio::test]
async fn s1_10_forms_are_seen_by_conditions_maps_and_overrides() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let audio = with(
        "audio",
        &a,
        r#""model_map": {"whisper-1": "large"}, "override_params": {"language": "de", "temperature": 0.5, "user": null}"#,
    );
    let targets = [audio, target("chat", &b.url())];
    let text = pools(&targets).replace(
        r#""mode": "fallback""#,
        r#""mode": "conditional", "conditions": [{"query": {"params.model": "whisper-1"}, "then": "audio"}], "default": "chat""#,
    );
    let harness = Harness::of(&text).await;
    let path = "/llm/audio/transcriptions";
    let send = async |body: String| {
        http::send(harness.relay, "POST", path, &[("Content-Type", FORM)], body.as_bytes()).await.unwrap().status
    };
    assert_eq!(send(transcription("whisper-1")).await, 200);
    assert_eq!((a.calls(), b.calls()), (1, 0), "the condition sees the form");
    let sent = a.last();
    assert!(sent.head.contains("content-type: multipart/form-data; boundary=b\r\n"), "{}", sent.head);
    let field = |name: &str, value: &str| format!("name=\"{name}\"\r\n\r\n{value}\r\n");
    for part in [field("model", "large"), field("language", "de"), field("temperature", "0.5")] {
        assert!(sent.body.contains(&part), "{part} in {}", sent.body);
    }
    assert!(!sent.body.contains("whisper-1") && !sent.body.contains("\"user\""), "{}", sent.body);
    assert!(sent.body.contains("filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n--model--\r\n--B--"));
    assert_eq!(send(transcription("other")).await, 200);
    assert_eq!((b.calls(), b.last().body), (1, transcription("other")), "nothing to change: the same bytes");
}

#[tokio::test]
async fn s1_10_a_number_in_a_form_meets_a_condition_on_numbers() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let text = pools(&[target("warm", &a.url()), target("cold", &b.url())]).replace(
        r#""mode": "fallback""#,
        r#""mode": "conditional", "conditions": [{"query": {"params.temperature": {"$gte": 0.5}, "params.stream": true}, "then": "warm"}], "default": "cold""#,
    );
    let harness = Harness::of(&text).await;
    let field =
        |name: &str, value: &str| format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    for (temperature, calls) in [("0.7", (1, 0)), ("0.2", (1, 1)), ("warm", (1, 2)), ("1", (2, 2))] {
        let body = field("temperature", temperature) + &field("stream", "true") + "--B--\r\n";
        let path = "/llm/audio/transcriptions";
        let came = http::send(harness.relay, "POST", path, &[("Content-Type", FORM)], body.as_bytes()).await.unwrap();
        assert_eq!((came.status, (a.calls(), b.calls())), (200, calls), "{temperature}");
    }
}

#[tokio::test]
async fn s1_11_targets_are_asked_for_no_compression_unless_they_say_otherwise() {
    let (a, b) = (Scripted::start(answer(500, &[], "{}")).await, Scripted::start(good()).await);
    let own = r#""headers": {"Accept-Encoding": ["br"], "Authorization": ["Bearer ${KEY}"]}"#;
    let b_text = format!(r#"{{"name": "b", "url": "{}", {own}}}"#, b.url());
    let harness = Harness::of(&pools(&[target("a", &a.url()), b_text])).await;
    assert_eq!(harness.send(CHAT, &[("Accept-Encoding", "gzip, deflate")], HI).await.status, 200);
    assert!(a.last().head.contains("\r\naccept-encoding: identity\r\n"), "{}", a.last().head);
    assert!(b.last().head.contains("\r\naccept-encoding: br\r\n"), "{}", b.last().head);
    // What cannot be read is passed on as it is, and judged by its status.
    b.once(answer(200, &[("Content-Encoding", "br")], "\u{1f}not json"));
    let came = harness.call().await;
    assert_eq!(
        (came.status, came.header("content-encoding"), came.text().as_str()),
        (200, Some("br"), "\u{1f}not json")
    );
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// What a target compresses although it was asked not to is judged by what it says, and passed on without its coding.
#[tokio::test]
async fn s1_11_what_is_compressed_nevertheless_is_read() {
    let packed = |status: u16, body: &[u8], has_length: bool| -> Act {
        let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n");
        let rest = if has_length {
            format!("Content-Length: {}\r\n\r\n", body.len())
        } else {
            "Connection: close\r\n\r\n".into()
        };
        vec![Move::Send([head.as_bytes(), rest.as_bytes(), body].concat())]
    };
    let spent =
        r#"{"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access"}}"#;
    let failed = r#"{"error": {"message": "Provider returned error", "code": 502}}"#;
    let hello = gzip(super::HELLO);
    for has_length in [true, false] {
        for (status, body) in [
            (400, gzip(spent)),
            (200, gzip(failed)),
            (200, gzip("{\"choices\": []}")),
            (200, failed.into()),
            (200, hello[..hello.len() - 4].to_vec()),
            (200, b"\x1f\x8bgarbage, and no member of a gzip file".to_vec()),
            (200, Vec::new()),
        ] {
            let (a, b) = (Scripted::start(packed(status, &body, has_length)).await, Scripted::start(good()).await);
            let harness = Harness::before(&[&a, &b]).await;
            let came = harness.call().await;
            assert_eq!(came.header("x-broker-router"), Some("/llm/b/"), "{:?}", String::from_utf8_lossy(&body));
            harness.broker.until(&["router disabled", "/llm/a/"]).await;
        }
        let (a, b) = (Scripted::start(packed(200, &hello, has_length)).await, Scripted::start(good()).await);
        let harness = Harness::before(&[&a, &b]).await;
        let came = harness.call().await;
        assert_eq!((came.header("content-encoding"), came.text().as_str()), (None, super::HELLO));
        assert_eq!((b.calls(), harness.disabled().await), (0, Vec::new()));
    }
}

#[tokio::test]
async fn s2_a_pool_lists_its_models_where_all_are_known() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let mapped = with("a", &a, r#""model_map": {"small": "x", "large": "y"}"#);
    let set = with("b", &b, r#""override_params": {"model": "mine"}"#);
    let harness = Harness::of(&pools(&[mapped.clone(), set])).await;
    let ask = async |harness: &Harness, method: &str, path: &str| {
        http::send(harness.relay, method, path, &[], b"").await.unwrap()
    };
    for path in ["/llm/models", "/llm/v1/models/", "/llm/models?limit=20"] {
        let came = ask(&harness, "GET", path).await;
        let list: Value = serde_json::from_slice(&came.body).unwrap();
        let names: Value = list["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
        assert_eq!(
            (came.status, &list["object"], names),
            (200, &json!("list"), json!(["large", "mine", "small"])),
            "{path}"
        );
        assert!(list["data"][0] == json!({"id": "large", "object": "model", "created": 0, "owned_by": "broker"}));
    }
    assert_eq!((a.calls(), b.calls()), (0, 0), "no target is called");
    for (method, path) in [("GET", "/llm/models/small"), ("POST", "/llm/models"), ("GET", "/llm/v1beta/models")] {
        let before = a.calls();
        assert_eq!(ask(&harness, method, path).await.status, 200);
        assert_eq!(a.calls(), before + 1, "{method} {path} is passed on");
    }
    harness.file.put(&pools(&[mapped, target("b", &b.url())]));
    harness.broker.until(&["pools file applied"]).await;
    let before = a.calls();
    assert_eq!(ask(&harness, "GET", "/llm/models").await.text(), super::HELLO);
    assert_eq!(a.calls(), before + 1, "the second target may serve anything");
}

/// A target whose completions fail and whose lists work.
async fn half_well() -> Scripted {
    Scripted::answering(|call| if call.head.starts_with("get ") { good() } else { answer(500, &[], "{}") }).await
}

#[tokio::test]
async fn s2_calls_that_make_nothing_end_no_probation_and_are_no_probe() {
    let (a, b) = (half_well().await, Scripted::start(good()).await);
    let text = pools(&[target("a", &a.url()), target("b", &b.url())]);
    let text = text.replacen('{', r#"{"health": {"disabled_time": 0.005}, "#, 1);
    let harness = Harness::of(&text).await;
    assert_eq!(harness.call().await.status, 200);
    harness.broker.until(&["router on probation"]).await;
    let failed = a.calls();
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        let came = http::send(harness.relay, method, "/llm/models", &[], b"").await;
        // An answer to HEAD has a length and no body, which this client takes for half of one.
        assert!(method == "HEAD" || came.unwrap().header("x-broker-router") == Some("/llm/b/"), "{method}");
    }
    assert_eq!(a.calls(), failed, "the one on probation is left alone");
    assert_eq!(harness.call().await.status, 200);
    assert_eq!(a.calls(), failed + 1, "a completion is its probe");
    assert_eq!(harness.broker.count(&["router enabled"]), 0);
}

#[tokio::test]
async fn s2_where_only_one_on_probation_is_left_it_answers_and_stays_there() {
    let a = half_well().await;
    let text = pools(&[target("a", &a.url())]).replacen('{', r#"{"health": {"disabled_time": 0.005}, "#, 1);
    let harness = Harness::of(&text).await;
    assert_eq!(harness.call().await.status, 500);
    let line = harness.broker.until(&["router on probation"]).await;
    for _ in 0..3 {
        let came = http::send(harness.relay, "GET", "/llm/models", &[], b"").await.unwrap();
        assert_eq!((came.status, came.header("x-broker-router")), (200, Some("/llm/a/")), "{line}");
    }
    assert_eq!(harness.broker.count(&["router enabled"]), 0);
    a.always(good());
    assert_eq!(harness.call().await.status, 200);
    harness.broker.until(&["router enabled"]).await;
}

#[tokio::test]
async fn s2_no_upgrade_and_encoded_slashes_within_segments() {
    let a = Scripted::start(good()).await;
    let harness = Harness::before(&[&a]).await;
    let came = harness.send("/llm/realtime", &[("Connection", "Upgrade"), ("Upgrade", "websocket")], "").await;
    let error: Value = serde_json::from_slice(&came.body).unwrap();
    assert_eq!((came.status, &error["error"]["code"], a.calls()), (501, &json!("upgrade_not_supported"), 0));
    for offer in ["h2c", "TLS/1.2"] {
        let headers = [("Connection", "Upgrade"), ("Upgrade", offer)];
        assert_eq!(harness.send(CHAT, &headers, HI).await.status, 200, "{offer}: an offer that need not be taken");
        assert!(!a.last().head.contains("upgrade"), "{}", a.last().head);
    }
    let path = "model/arn%3Aaws%3Abedrock%3Aprofile%2Fclaude/converse";
    assert_eq!(harness.send(&format!("/llm/{path}"), &[], HI).await.status, 200);
    assert!(a.last().head.starts_with(&format!("post /v1/{path} http").to_ascii_lowercase()), "{}", a.last().head);
    for path in ["/llm/a%2f..%2fadmin", "/llm/..%2fadmin", "/llm/a%252fb", "/llm/a%2fb%2f%2e%2e"] {
        assert_eq!(harness.send(path, &[], HI).await.status, 400, "{path}");
    }
    assert_eq!(a.calls(), 3);
}

#[tokio::test]
async fn s2_pages_of_listed_origins_may_call_the_relay() {
    let a = Scripted::start(answer(200, &[("Access-Control-Allow-Origin", "*")], super::HELLO)).await;
    let text = pools(&[target("a", &a.url())]);
    let harness = Harness::with(&text, |setup| setup.set("BROKER_CORS", "https://chat.example.com")).await;
    let preflight = async |harness: &Harness, origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization,content-type"),
        ];
        http::send(harness.relay, "OPTIONS", CHAT, &headers, b"").await.unwrap()
    };
    let granted = preflight(&harness, "https://chat.example.com").await;
    assert_eq!((granted.status, a.calls()), (204, 0), "the relay answers");
    for (name, value) in [
        ("access-control-allow-origin", "https://chat.example.com"),
        ("access-control-allow-headers", "authorization,content-type"),
        ("vary", "origin"),
    ] {
        assert_eq!(granted.header(name), Some(value), "{}", granted.head);
    }
    assert!(granted.header("access-control-allow-methods").unwrap().contains("post"), "{}", granted.head);
    assert!(!preflight(&harness, "https://evil.example").await.head.contains("access-control"));
    let called = harness.send(CHAT, &[("Origin", "https://chat.example.com")], HI).await;
    assert_eq!(called.header("access-control-allow-origin"), Some("https://chat.example.com"));
    assert_eq!(called.head.matches("access-control-allow-origin").count(), 1, "the target has no say");
    let own = harness.send("/elsewhere", &[("Origin", "https://chat.example.com")], HI).await;
    assert_eq!((own.status, own.header("access-control-allow-origin")), (404, Some("https://chat.example.com")));
    let foreign = harness.send(CHAT, &[("Origin", "https://evil.example")], HI).await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (200, None));
    let off = Harness::of(&text).await;
    let before = a.calls();
    let refused = preflight(&off, "https://chat.example.com").await;
    assert_eq!((refused.status, a.calls()), (204, before), "off: nobody is called");
    let called = off.send(CHAT, &[("Origin", "https://chat.example.com")], HI).await;
    assert_eq!((called.status, a.calls()), (200, before + 1));
    for answer in [refused, called] {
        assert!(!answer.head.contains("access-control"), "the target has no say: {}", answer.head);
    }
    let asked = http::send(off.relay, "OPTIONS", CHAT, &[], b"").await.unwrap();
    assert_eq!((asked.status, a.calls()), (200, before + 2), "no preflight");
}

#[tokio::test]
async fn what_belongs_to_the_clients_key_its_page_and_its_way_here_reaches_no_target() {
    let a = Scripted::start(good()).await;
    let harness = Harness::before(&[&a]).await;
    let kept = [("HTTP-Referer", "https://app.example"), ("OpenAI-Beta", "assistants=v2"), ("X-Kept", "1")];
    let dropped = [
        ("OpenAI-Organization", "org-of-the-client"),
        ("OpenAI-Project", "proj-of-the-client"),
        ("X-Goog-User-Project", "project-of-the-client"),
        ("Origin", "https://app.example"),
        ("Referer", "https://app.example/page"),
        ("Sec-Fetch-Mode", "cors"),
        ("CF-Connecting-IP", "192.0.2.1"),
        ("CDN-Loop", "cloudflare"),
        ("Forwarded", "for=192.0.2.1"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Real-IP", "192.0.2.1"),
        ("True-Client-IP", "192.0.2.1"),
        ("Via", "1.1 edge"),
    ];
    let path = format!("{CHAT}?%24userProject=p&a=1");
    assert_eq!(harness.send(&path, &[&kept[..], &dropped].concat(), HI).await.status, 200);
    let head = a.last().head;
    for (name, _) in kept {
        assert!(head.contains(&format!("\r\n{}: ", name.to_ascii_lowercase())), "{name}: {head}");
    }
    for (name, _) in dropped {
        assert!(!head.contains(&format!("\r\n{}: ", name.to_ascii_lowercase())), "{name}: {head}");
    }
    assert!(head.starts_with("post /v1/chat/completions?a=1 http"), "{head}");
}

#[tokio::test]
async fn an_account_that_the_client_chose_beside_our_key_is_the_clients_fault() {
    let mismatched =
        r#"{"error": {"message": "x", "type": "invalid_request_error", "code": "mismatched_organization"}}"#;
    let (a, b) = (Scripted::start(answer(401, &[], mismatched)).await, Scripted::start(good()).await);
    let forwards = target("a", &a.url()).replacen('{', r#"{"forward_credentials": true, "#, 1);
    let harness = Harness::of(&pools(&[forwards, target("b", &b.url())])).await;
    let came = harness.send(CHAT, &[("OpenAI-Organization", "org-of-the-client")], HI).await;
    assert_eq!((came.status, came.header("x-broker-router")), (200, Some("/llm/b/")));
    assert_eq!(harness.disabled().await, Vec::<String>::new());
    assert_eq!(harness.call().await.status, 200);
    harness.broker.until(&["router disabled", "/llm/a/"]).await;
}

#[tokio::test]
async fn s2_a_key_from_a_file_is_read_again_when_the_file_changes() {
    let a = Scripted::start(good()).await;
    let folder = std::env::temp_dir().join(format!("broker-key-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("key");
    std::fs::write(&path, "sk-first-of-the-file\n").unwrap();
    let text = pools(&[target("a", &a.url())]).replace("${KEY}", &format!("${{file:{}}}", path.display()));
    let secrets = |setup: super::Setup| setup.secret("sk-first-of-the-file").secret("sk-second-of-the-file");
    let harness = Harness::with(&text, secrets).await;
    assert_eq!(harness.call().await.status, 200);
    assert!(a.last().head.contains("authorization: bearer sk-first-of-the-file\r\n"), "{}", a.last().head);
    std::fs::write(&path, "sk-second-of-the-file").unwrap();
    harness.broker.until(&["pools file applied"]).await;
    assert_eq!(harness.call().await.status, 200);
    assert!(a.last().head.contains("authorization: bearer sk-second-of-the-file\r\n"), "{}", a.last().head);
    std::fs::remove_file(&path).unwrap();
    harness.broker.until(&["needs the secret in", "No such file"]).await;
    assert_eq!(harness.call().await.status, 200, "the old one stays in force");
    std::fs::remove_dir_all(&folder).unwrap();
}
