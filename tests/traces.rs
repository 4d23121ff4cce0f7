//! Finished calls as traces: what a collector gets, field by field, and what a collector that does not work costs.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::support::gateway::{HI as GATEWAY_HI, two_rows};
use super::support::http::{self, Open};
use super::support::scripted::{Move, Scripted, answer, chunk, last_chunk, stream};
use super::support::tls;
use super::support::{Broker, Bus, GPT4, Gateway, Llms, Log, PoolsFile, Setup, soon, tool};

const CHAT: &str = "/llm/chat/completions";
const ASK: &str = r#"{"model":"gpt-4o","user":"end-user-7","messages":[{"role":"user","content":"xylophone"}]}"#;
const STREAMED: &str = r#"{"model":"gpt-4o","stream":true,"messages":[]}"#;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The receiver, a process that writes what it gets.
struct Receiver {
    child: Child,
    port: u16,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    /// `None` where the decoder is missing.
    fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// The same, with a certificate and its key.
    fn with(certificate: &[String]) -> Option<Self> {
        let python = std::env::var_os("OPENAI_PYTHON").filter(|path| !path.is_empty()).map(PathBuf::from);
        let has = |python: &PathBuf| {
            let check = Command::new(python).args(["-c", "import opentelemetry.proto"]).stderr(Stdio::null()).status();
            check.is_ok_and(|status| status.success())
        };
        let Some(python) = python.filter(has) else {
            tool::missing("opentelemetry-proto", "OPENAI_PYTHON names no Python that has it; `make test` sets it");
            return None;
        };
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/otlp_receiver.py"))
            .args(certificate)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                read.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Some(Self { child, port: first.trim().parse().unwrap(), lines })
    }

    fn requests(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }

    fn spans(&self) -> Vec<Value> {
        self.requests().iter().flat_map(|request| request["spans"].as_array().unwrap().clone()).collect()
    }

    /// The spans, once there are this many.
    async fn received(&self, count: usize) -> Vec<Value> {
        soon(&format!("{count} spans"), async {
            loop {
                let spans = self.spans();
                if spans.len() >= count {
                    break spans;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn good() -> Vec<Move> {
    let usage = json!({"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}});
    let body = json!({"model": "gpt-4o-2024-08-06", "choices": [{"message": {"content": "marimba"}}], "usage": usage});
    answer(200, &[], &body.to_string())
}

fn overloaded() -> Vec<Move> {
    answer(503, &[], r#"{"error":{"message":"busy"}}"#)
}

/// A relay before `a` and `b`, in this order of preference, without a bus.
struct Harness {
    broker: Broker,
    _file: PoolsFile,
}

impl Harness {
    async fn before(a: &Scripted, b: &Scripted, set: impl FnOnce(Setup) -> Setup) -> Self {
        let target = |name: &str, upstream: &Scripted| json!({"name": name, "provider": "openai", "url": upstream.url(), "headers": {"Authorization": ["Bearer sk-own"]}});
        let pool =
            json!({"ingress": "/llm/", "strategy": {"mode": "fallback"}, "targets": [target("a", a), target("b", b)]});
        let file = PoolsFile::of(&json!({"pools": [pool]}).to_string());
        let setup = Setup::bare().set("BROKER_BUS", "off").set("BROKER_CONFIG", file.path());
        let setup = setup.set("BROKER_HTTP", "127.0.0.1:0").set("BROKER_RELAY", "127.0.0.1:0");
        let broker = set(setup.secret("xylophone").secret("marimba").secret("s3cret")).spawn();
        broker.relay().await;
        Self { broker, _file: file }
    }

    async fn call(&self, headers: &[(&str, &str)]) -> http::Answer {
        let headers = [&[JSON], headers].concat();
        http::send(self.broker.relay().await, "POST", CHAT, &headers, ASK.as_bytes()).await.unwrap()
    }

    async fn count(&self, result: &str) -> u64 {
        let line = format!("gecholog_broker_traced_calls_total{{result=\"{result}\"}} ");
        let text = self.broker.get("/metrics").await.text();
        text.lines().find_map(|text| text.strip_prefix(&line)?.parse().ok()).unwrap_or_default()
    }

    async fn until(&self, result: &str, count: u64) {
        soon(&format!("{count} calls {result}"), async {
            while self.count(result).await < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn to(receiver: &Receiver) -> impl FnOnce(Setup) -> Setup + use<> {
    let endpoint = format!("http://127.0.0.1:{}/api/public/otel/", receiver.port);
    move |setup| {
        setup
            .set("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .set("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20s3cret,x-langfuse-ingestion-version=4")
            .set("OTEL_SERVICE_NAME", "mine")
            .set("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod")
    }
}

/// The spans of one call by their kind: its own, and those of its attempts in order.
fn by_kind(spans: &[Value]) -> (Value, Vec<Value>) {
    let (server, attempts): (Vec<_>, Vec<_>) =
        spans.iter().cloned().partition(|span| span["kind"] == "SPAN_KIND_SERVER");
    assert_eq!(server.len(), 1, "{spans:?}");
    (server[0].clone(), attempts)
}

fn nanos(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// As the first attempt of that call is.
fn is_a_failed_attempt(failed: &Value) {
    let mapped = &failed["langfuse"];
    assert_eq!(
        (&mapped["type"], &mapped["level"], &mapped["statusMessage"]),
        (&json!("generation"), &json!("WARNING"), &json!("overloaded"))
    );
    assert_eq!((&mapped["usage"], &mapped["cost"]), (&json!({}), &Value::Null), "{failed}");
    assert_eq!(
        (&failed["status"], &failed["attributes"]["error.type"]),
        (&json!("STATUS_CODE_ERROR"), &json!("overloaded"))
    );
    assert_eq!(
        (&failed["attributes"]["http.response.status_code"], &failed["attributes"]["broker.router"]),
        (&json!(503), &json!("/llm/a/"))
    );
}

/// As the second one is.
fn is_the_answer(good: &Value) {
    let mapped = &good["langfuse"];
    assert_eq!(
        (&mapped["type"], &mapped["level"], &mapped["model"]),
        (&json!("generation"), &json!("DEFAULT"), &json!("gpt-4o-2024-08-06"))
    );
    let usage = json!({"input": 8, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output": 3, "output_reasoning_tokens": 2, "total": 17});
    assert_eq!(mapped["usage"], usage);
    assert_eq!(mapped["cost"], json!({"total": 0.000_075}));
    let attributes = &good["attributes"];
    for (name, value) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("openai")),
        ("gen_ai.request.model", json!("gpt-4o")),
        ("gen_ai.response.model", json!("gpt-4o-2024-08-06")),
        ("gen_ai.request.stream", json!(false)),
        ("gen_ai.usage.input_tokens", json!(12)),
        ("gen_ai.usage.output_tokens", json!(5)),
        ("gen_ai.usage.cache_read.input_tokens", json!(4)),
        ("gen_ai.usage.reasoning.output_tokens", json!(2)),
        ("broker.router", json!("/llm/b/")),
        ("broker.attempt.number", json!(2)),
    ] {
        assert_eq!(attributes[name], value, "{name}: {good}");
    }
    assert!(attributes["broker.decision.p"].is_f64() && attributes["broker.decision.why"].is_string(), "{good}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_failed_over_is_a_trace_as_langfuse_reads_it() {
    let Some(receiver) = Receiver::start() else { return };
    let (a, b) = (Scripted::start(overloaded()).await, Scripted::start(good()).await);
    let harness = Harness::before(&a, &b, to(&receiver)).await;
    let answered = harness.call(&[("X-Trace-Id", "request-loadbalance-fallback")]).await;
    assert_eq!(answered.status, 200);
    let (server, attempts) = by_kind(&receiver.received(3).await);
    let request = receiver.requests().remove(0);
    assert_eq!(request["path"], "/api/public/otel/v1/traces");
    assert_eq!(request["headers"]["content-type"], "application/x-protobuf");
    assert_eq!(request["headers"]["authorization"], "Basic s3cret");
    assert_eq!(request["headers"]["x-langfuse-ingestion-version"], "4");
    assert_eq!(request["resource"]["service.name"], "mine");
    assert_eq!(request["resource"]["deployment.environment"], "prod");
    assert_eq!(request["scope"]["schema"], "https://opentelemetry.io/schemas/gen-ai/1.42.0");

    let session = answered.header("x-broker-session").unwrap().to_ascii_uppercase();
    let [failed, good] = &attempts[..] else { panic!("{attempts:?}") };
    for span in [&server, failed, good] {
        let trace = &span["langfuse"]["trace"];
        assert_eq!(trace["name"], "chat /llm/", "{span}");
        assert_eq!(trace["userId"], "end-user-7");
        assert_eq!(trace["sessionId"].as_str().unwrap().to_ascii_uppercase(), session);
        assert_eq!(trace["tags"], json!(["/llm/", "relay"]));
        assert_eq!(trace["metadata"]["trace_id"], "request-loadbalance-fallback");
        assert_eq!((&trace["metadata"]["router"], &trace["metadata"]["model"]), (&json!("/llm/b/"), &json!("gpt-4o")));
        assert_eq!(span["trace"], server["trace"]);
        assert_eq!((&span["langfuse"]["input"], &span["langfuse"]["output"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(
        (&server["parent"], &server["name"], &server["status"]),
        (&json!(""), &json!("chat /llm/"), &json!("STATUS_CODE_UNSET"))
    );
    let own = &server["attributes"];
    assert_eq!((&own["http.response.status_code"], &own["broker.call.attempts"]), (&json!(200), &json!(2)));
    assert_eq!(own["broker.call.trace_ids"], json!(["request-loadbalance-fallback"]));
    let mapped = &server["langfuse"];
    assert_eq!((&mapped["type"], &mapped["model"], &mapped["cost"]), (&json!("span"), &Value::Null, &Value::Null));
    assert_eq!(mapped["usage"], json!({}), "usage stands once, on the attempt");

    is_a_failed_attempt(failed);
    is_the_answer(good);
    assert_eq!((&good["name"], &good["parent"]), (&json!("chat gpt-4o"), &server["span"]));
    assert!(nanos(&server["start"]) <= nanos(&failed["start"]) && nanos(&failed["start"]) <= nanos(&good["start"]));
    assert!(nanos(&good["start"]) <= nanos(&good["end"]), "{good}");
    let text = receiver.requests().iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("xylophone") && !text.contains("marimba") && !text.contains("sk-own"), "{text}");
    let metrics = harness.broker.get("/metrics").await.text();
    for line in [
        r#"gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="openai/gpt-4o-2024-08-06",gen_ai_token_type="input"} 12.0"#,
        r#"gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="openai/gpt-4o-2024-08-06",error_type="overloaded"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_trace_is_continued_and_its_flag_is_not_trusted() {
    let Some(receiver) = Receiver::start() else { return };
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let harness = Harness::before(&a, &b, to(&receiver)).await;
    harness.call(&[("traceparent", &format!("00-{TRACE}-{SPAN}-00"))]).await;
    let (server, attempts) = by_kind(&receiver.received(2).await);
    assert_eq!((&server["trace"], &server["parent"]), (&json!(TRACE), &json!(SPAN)));
    assert_eq!(attempts[0]["trace"], TRACE);
    let trace = &server["langfuse"]["trace"];
    assert_eq!((&trace["name"], &trace["sessionId"]), (&Value::Null, &Value::Null), "those are the client's");
    let made = harness.call(&[]).await.header("x-trace-id").unwrap().to_owned();
    let spans = receiver.received(4).await;
    assert_eq!(spans[2]["trace"], made.as_str(), "the id that the answer carries");
    drop(harness);

    let set = to(&receiver);
    let harness = Harness::before(&a, &b, |setup| set(setup).set("BROKER_TRACE_SAMPLED", "trust")).await;
    harness.call(&[("traceparent", &format!("00-{TRACE}-{SPAN}-00"))]).await;
    harness.until("not_sampled", 1).await;
    harness.call(&[("traceparent", &format!("00-{TRACE}-{SPAN}-01"))]).await;
    harness.until("exported", 1).await;
    assert_eq!(receiver.received(6).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_when_its_first_part_came() {
    let Some(receiver) = Receiver::start() else { return };
    let one = "data: {\"model\":\"gpt-4o\",\"choices\":[{\"delta\":{\"content\":\"hello world\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n";
    let act = vec![stream(), chunk(one), chunk(usage), chunk("data: [DONE]\n\n"), last_chunk()];
    let (a, b) = (Scripted::start(act).await, Scripted::start(good()).await);
    let harness = Harness::before(&a, &b, to(&receiver)).await;
    let mut open = Open::post(harness.broker.relay().await, CHAT, STREAMED).await;
    open.until("\r\n0\r\n\r\n").await;
    let (_, attempts) = by_kind(&receiver.received(2).await);
    let (attributes, mapped) = (&attempts[0]["attributes"], &attempts[0]["langfuse"]);
    assert_eq!((&attributes["gen_ai.request.stream"], &mapped["usage"]["total"]), (&json!(true), &json!(5)));
    assert!(attributes["gen_ai.response.time_to_first_chunk"].is_f64(), "{attributes}");
    assert!(mapped["completionStartTime"].as_str().unwrap().ends_with('Z'), "{mapped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_and_answers_are_sent_only_if_the_setting_says_so() {
    let Some(receiver) = Receiver::start() else { return };
    let one = "data: {\"model\":\"gpt-4o\",\"choices\":[{\"delta\":{\"content\":\"marimba\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n";
    let done = "data: [DONE]\n\n";
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let set = to(&receiver);
    let file = std::env::temp_dir().join(format!("broker-content-{}.jsonl", std::process::id()));
    let harness = Harness::before(&a, &b, |setup| {
        set(setup).set("BROKER_TRACE_CONTENT", "full").set("BROKER_CALLS", file.display().to_string())
    })
    .await;
    let content = |span: &Value| (span["langfuse"]["input"].clone(), span["langfuse"]["output"].clone());
    let none = (Value::Null, Value::Null);

    a.once(overloaded());
    let answered = harness.call(&[]).await;
    let (server, attempts) = by_kind(&receiver.received(3).await);
    assert_eq!(content(&attempts[1]), (json!(ASK), json!(answered.text())));
    assert!((content(&server), content(&attempts[0])) == (none.clone(), none.clone()), "once, on the answer");
    let messages = |span: &Value| {
        ["input", "output"].map(|side| {
            let text = span["attributes"][format!("gen_ai.{side}.messages")].as_str()?;
            Some(serde_json::from_str::<Value>(text).unwrap())
        })
    };
    let asked: Value = serde_json::from_str(ASK).unwrap();
    let prompt = json!([{"role": "user", "parts": [{"type": "text", "content": asked["messages"][0]["content"]}]}]);
    assert_eq!(messages(&attempts[1])[0], Some(prompt.clone()));
    assert_eq!((messages(&server), messages(&attempts[0])), ([None, None], [None, None]));

    a.once(vec![stream(), chunk(one), chunk(usage), chunk(done), last_chunk()]);
    let mut open = Open::post(harness.broker.relay().await, CHAT, STREAMED).await;
    open.until("\r\n0\r\n\r\n").await;
    let (_, attempts) = by_kind(&receiver.received(5).await[3..]);
    assert_eq!(content(&attempts[0]), (json!(STREAMED), json!(format!("{one}{done}"))), "as the client got it");
    let said =
        json!([{"role": "assistant", "parts": [{"type": "text", "content": "marimba"}], "finish_reason": "error"}]);
    assert_eq!(messages(&attempts[0])[1], Some(said), "no chunk had a reason for the end");

    a.once(answer(200, &[], &format!("{{\"choices\":[{{\"message\":{{\"content\":\"{}\"}}}}]}}", "x".repeat(200_000))));
    let long = harness.call(&[]).await;
    assert_eq!(long.text().len(), 200_040);
    let (_, attempts) = by_kind(&receiver.received(7).await[5..]);
    let (_, output) = content(&attempts[0]);
    let output = output.as_str().unwrap();
    assert!(output.ends_with("x (cut: 200040 bytes in all)") && output.len() < 66_000, "{}", output.len());
    assert_eq!(messages(&attempts[0]), [Some(prompt), None], "what is cut has no form");

    a.once(answer(400, &[], r#"{"error":{"message":"no"}}"#));
    let refused = harness.call(&[]).await;
    assert_eq!(refused.status, 400);
    let (_, attempts) = by_kind(&receiver.received(9).await[7..]);
    assert_eq!(content(&attempts[0]), (json!(ASK), json!(refused.text())));

    let calls = harness.broker.get("/api/v1/calls").await.text();
    drop(harness);
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(written.lines().count(), 4);
    assert!([calls, written].iter().all(|text| !text.contains("xylophone") && !text.contains("marimba")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_only_the_gateway_carried_has_a_trace_too() {
    let Some(receiver) = Receiver::start() else { return };
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let setup = to(&receiver)(Setup::on(&bus)).set("BROKER_TRACE_CONTENT", "full");
    let broker = setup.set("BROKER_ROUTERS", "/azure/gpt4/").ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let answered =
        gateway.send("/azure/", &[("X-Trace-Id", "request-loadbalance-fallback")], GATEWAY_HI.as_bytes()).await;
    assert_eq!(answered.status, 200);
    let (server, attempts) = by_kind(&receiver.received(2).await);
    let trace = &server["langfuse"]["trace"];
    assert_eq!(
        (&trace["tags"], &trace["metadata"]["trace_id"]),
        (&json!(["/azure/", "gateway"]), &json!("request-loadbalance-fallback"))
    );
    assert_eq!(server["attributes"]["broker.replica"], broker.replica().await.as_str());
    let [attempt] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!((&attempt["attributes"]["broker.router"], &attempt["parent"]), (&json!(GPT4), &server["span"]));
    let body = |name: &str| serde_json::from_str::<Value>(attempt["langfuse"][name].as_str().unwrap()).unwrap();
    assert_eq!(body("input"), serde_json::from_str::<Value>(GATEWAY_HI).unwrap());
    assert_eq!(body("output"), serde_json::from_str::<Value>(&answered.text()).unwrap());
    for side in ["input", "output"] {
        let messages = attempt["attributes"][format!("gen_ai.{side}.messages")].as_str().unwrap();
        let messages: Value = serde_json::from_str(messages).unwrap();
        assert!(messages[0]["parts"][0]["content"].is_string(), "{messages}");
    }
    assert_eq!(
        (&attempt["langfuse"]["usage"]["input"], &attempt["langfuse"]["usage"]["output"]),
        (&json!(12), &json!(5))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_may_have_a_certificate_of_its_own_authority() {
    let file = |name: &str| format!("{}/{name}", tls::FOLDER);
    let Some(receiver) = Receiver::with(&[file("server.pem"), file("server.key")]) else { return };
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let endpoint = format!("https://localhost:{}", receiver.port);
    let set = |setup: Setup| setup.set("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    let harness = Harness::before(&a, &b, |setup| set(setup).set("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")).await;
    harness.call(&[]).await;
    harness.until("failed", 1).await;
    harness.broker.until(&["calls could not be sent", "certificate"]).await;
    let ca = file("ca.pem");
    let harness = Harness::before(&a, &b, |setup| set(setup).set("OTEL_EXPORTER_OTLP_CERTIFICATE", ca)).await;
    harness.call(&[]).await;
    harness.until("exported", 1).await;
    assert_eq!(receiver.received(2).await.len(), 2);
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let collector = Scripted::start(answer(200, &[], "")).await;
    collector.once(answer(503, &[], "{}"));
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let harness = Harness::before(&a, &b, |setup| setup.set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())).await;
    harness.call(&[]).await;
    harness.until("exported", 1).await;
    assert_eq!((collector.calls(), harness.count("failed").await), (2, 0));
    assert_eq!(harness.broker.count(&["calls could not be sent"]), 0, "{}", harness.broker.text());
}

#[tokio::test]
async fn a_collector_that_does_not_work_costs_one_line_and_no_call() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let refusing = Scripted::start(answer(400, &[], "{}")).await;
    let hanging = Scripted::start(vec![Move::Hold]).await;
    for (name, url, why) in [
        ("refuses", format!("http://{closed}"), "refused"),
        ("answers 400", refusing.url(), "the collector answers 400"),
        ("hangs", hanging.url(), "no answer in time"),
    ] {
        let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
        let set = |setup: Setup| setup.set("OTEL_EXPORTER_OTLP_ENDPOINT", url).set("OTEL_EXPORTER_OTLP_TIMEOUT", "300");
        let harness = Harness::before(&a, &b, set).await;
        for round in 1..=3 {
            assert_eq!(harness.call(&[]).await.status, 200, "{name}");
            harness.until("failed", round).await;
        }
        harness.broker.until(&["calls could not be sent as traces"]).await;
        let lines = harness.broker.lines(&["calls could not be sent as traces"]);
        assert!(lines.len() == 1 && lines[0].contains(why), "{name}: {}", harness.broker.text());
    }
}

#[tokio::test]
async fn what_waits_for_a_collector_is_bounded() {
    let hanging = Scripted::start(vec![Move::Hold]).await;
    let bus = Bus::start().await;
    let setup = Setup::on(&bus).set("OTEL_EXPORTER_OTLP_ENDPOINT", hanging.url());
    let broker = setup.set("OTEL_EXPORTER_OTLP_TIMEOUT", "600000").set("BROKER_RECENT_CALLS", "1").ready().await;
    let full = || async {
        let text = broker.get("/metrics").await.text();
        let line = r#"gecholog_broker_traced_calls_total{result="queue_full"} "#;
        text.lines().find_map(|text| text.strip_prefix(line)?.parse::<u64>().ok()).unwrap()
    };
    for _ in 0..3_000 {
        bus.log(Log::of(GPT4, 200)).await;
    }
    soon("a full queue", async {
        while full().await == 0 {
            bus.log(Log::of(GPT4, 200)).await;
        }
    })
    .await;
    let (before, lost) = (broker.resident(), full().await);
    for _ in 0..3_000 {
        bus.log(Log::of(GPT4, 200)).await;
    }
    soon("the rest", async {
        while full().await < lost + 2_500 {
            tokio::task::yield_now().await
        }
    })
    .await;
    let (Some(before), Some(after)) = (before, broker.resident()) else { return };
    assert!(after < before + (16 << 20), "{before} and then {after}");
    let mut broker = broker;
    broker.signal("TERM");
    assert!(soon("the end", broker.exit()).await.success(), "a collector that hangs holds up no end");
}

#[tokio::test]
async fn without_an_endpoint_there_is_no_thread_and_no_metric() {
    let threads = |broker: &Broker| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", broker.pid())).unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim() == "traces").count()
    };
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let collector = Scripted::start(answer(200, &[], "")).await;
    let url = collector.url();
    for (disabled, count) in [("", 1), ("true", 0)] {
        let set = |setup: Setup| setup.set("OTEL_EXPORTER_OTLP_ENDPOINT", &url).set("OTEL_SDK_DISABLED", disabled);
        let harness = Harness::before(&a, &b, set).await;
        assert_eq!(threads(&harness.broker), count, "OTEL_SDK_DISABLED={disabled}");
    }
    let harness = Harness::before(&a, &b, |setup| setup.set("OTEL_SERVICE_NAME", "mine")).await;
    assert_eq!(harness.call(&[]).await.status, 200);
    assert_eq!(threads(&harness.broker), 0);
    assert!(!harness.broker.get("/metrics").await.text().contains("traced_calls"));
    assert_eq!(collector.calls(), 0);
}
