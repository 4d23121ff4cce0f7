//! Finished calls with real processes: the record of each, where it is read, how it is found again, and the file.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use futures_util::StreamExt;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use super::support::gateway::{HI as GATEWAY_HI, two_rows};
use super::support::http::{self, Open};
use super::support::scripted::{Act, Move, Scripted, answer, chunk, last_chunk, stream};
use super::support::{Broker, Bus, DUD, Gateway, Llms, Log, PoolsFile, Setup, soon};

const CHAT: &str = "/llm/chat/completions";
const ASK: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"a word that no record has: xylophone"}]}"#;
const STREAMED: &str = r#"{"model":"gpt-4o","stream":true,"messages":[]}"#;
const KEY: &str = "sk-of-the-targets";
/// $2.50 and $10 per million tokens, half of it for cached ones: 8 · 2.5 + 4 · 1.25 + 5 · 10 millionths of a dollar.
const NANO_USD: u64 = 75_000;

fn good() -> Act {
    let usage = json!({"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}});
    let body = json!({"model": "gpt-4o-2024-08-06", "choices": [{"message": {"content": "hello"}}], "usage": usage});
    answer(200, &[], &body.to_string())
}

fn overloaded() -> Act {
    answer(503, &[], r#"{"error":{"message":"busy"}}"#)
}

/// A relay before `a` and `b`, in this order of preference, on a bus.
struct Harness {
    bus: Bus,
    broker: Broker,
    _file: PoolsFile,
}

fn pools(a: &Scripted, b: &Scripted) -> PoolsFile {
    let target = |name: &str, upstream: &Scripted| json!({"name": name, "url": upstream.url(), "headers": {"Authorization": ["Bearer ${KEY}"]}});
    let pool =
        json!({"ingress": "/llm/", "strategy": {"mode": "fallback"}, "targets": [target("a", a), target("b", b)]});
    PoolsFile::of(&json!({"pools": [pool]}).to_string())
}

impl Harness {
    async fn before(a: &Scripted, b: &Scripted) -> Self {
        Self::with(a, b, |setup| setup).await
    }

    async fn with(a: &Scripted, b: &Scripted, set: impl FnOnce(Setup) -> Setup) -> Self {
        let (bus, file) = (Bus::start().await, pools(a, b));
        let setup = Setup::on(&bus).set("BROKER_CONFIG", file.path()).set("BROKER_RELAY", "127.0.0.1:0");
        let broker = set(setup.set("KEY", KEY).secret(KEY).secret("xylophone").secret("s3cret")).ready().await;
        Self { bus, broker, _file: file }
    }

    async fn call(&self, headers: &[(&str, &str)]) -> http::Answer {
        self.send(CHAT, headers, ASK).await
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)], body: &str) -> http::Answer {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        http::send(self.broker.relay().await, "POST", path, &headers, body.as_bytes()).await.unwrap()
    }
}

/// The calls that a query finds, once there are this many.
async fn calls(broker: &Broker, query: &str, count: usize) -> Vec<Value> {
    soon(&format!("{count} calls of {query}"), async {
        loop {
            let answer = broker.get(&format!("/api/v1/calls?{query}")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page: Value = serde_json::from_slice(&answer.body).unwrap();
            let found = page["calls"].as_array().unwrap();
            if found.len() >= count {
                break found.clone();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn call_of(broker: &Broker, query: &str) -> Value {
    let mut found = calls(broker, query, 1).await;
    assert_eq!(found.len(), 1, "{query}: {found:?}");
    found.remove(0)
}

/// `broker why` beside a running one.
async fn why(setup: Setup, arguments: &[&str]) -> super::support::ProcessOutput {
    setup.unset("BROKER_HTTP").arguments(&["why"]).arguments(arguments).ended().await
}

#[tokio::test]
async fn a_call_that_failed_over_is_one_record_that_every_reader_has() {
    let (a, b) = (Scripted::start(overloaded()).await, Scripted::start(good()).await);
    let harness = Harness::before(&a, &b).await;
    let headers = [("X-Trace-Id", "request-loadbalance-fallback"), ("Api-Key", "s3cret"), ("baggage", "user=s3cret")];
    let answered = harness.send(&format!("{CHAT}?key=s3cret"), &headers, ASK).await;
    assert_eq!((answered.status, answered.header("x-trace-id")), (200, Some("request-loadbalance-fallback")));
    let call = call_of(&harness.broker, "trace=request-loadbalance-fallback").await;
    let session = answered.header("x-broker-session").unwrap();
    assert!(call["id"].as_str().unwrap().eq_ignore_ascii_case(session), "{call}");
    assert_eq!((&call["v"], &call["via"], &call["pool"]), (&json!(1), &json!("relay"), &json!("/llm/")));
    assert_eq!((&call["model"], &call["served_model"]), (&json!("gpt-4o"), &json!("gpt-4o-2024-08-06")));
    assert_eq!((&call["router"], &call["status"], &call["class"]), (&json!("/llm/b/"), &json!(200), &json!("success")));
    assert_eq!((&call["usage"]["input_uncached"], &call["usage"]["cache_read"]), (&json!(8), &json!(4)));
    assert_eq!((&call["usage"]["output"], &call["usage"]["reasoning"]), (&json!(5), &json!(2)));
    assert_eq!(call["cost"]["nano_usd"], NANO_USD, "{call}");
    let [first, second] = &call["attempts"].as_array().unwrap()[..] else { panic!("{call}") };
    assert_eq!(
        (&first["router"], &first["status"], &first["class"]),
        (&json!("/llm/a/"), &json!(503), &json!("overloaded"))
    );
    assert_eq!(
        (&second["router"], &second["class"], &second["tries"]),
        (&json!("/llm/b/"), &json!("success"), &json!(1))
    );
    assert!(first["why"].is_string() && first["decision"].is_string() && second["first_byte_ms"].is_u64(), "{call}");
    // The log entries of both attempts came back, and are no calls of their own.
    harness.bus.log(Log::of(DUD, 200)).await;
    assert_eq!(calls(&harness.broker, "", 1).await.len(), 1);
    let text = call.to_string();
    assert!(!text.contains("xylophone") && !text.contains("s3cret") && !text.contains(KEY), "{text}");
    let metrics = harness.broker.get("/metrics").await.text();
    for line in [
        r#"call_tokens_total{router="/llm/b/",model="openai/gpt-4o-2024-08-06",kind="input"} 8"#,
        r#"call_cost_usd_total{router="/llm/b/",model="openai/gpt-4o-2024-08-06"} 0.000075"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let ended = why(Setup::on(&harness.bus), &["request-loadbalance-fallback"]).await;
    for words in ["/llm/a/  503 (overloaded)", "/llm/b/  200", "12 in (4 from", "$0.000075 by the price of openai/"] {
        assert!(ended.out.contains(words), "{words}: {ended:?}");
    }
    let ended = why(Setup::on(&harness.bus), &["no-such-call"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("no call no-such-call"), "{ended:?}");
}

#[tokio::test]
async fn a_stream_is_recorded_at_its_end_and_estimated_without_usage() {
    let one = "data: {\"model\":\"gpt-4o\",\"choices\":[{\"delta\":{\"content\":\"hello world\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n";
    let ends = [
        ("counted", vec![chunk(usage), chunk("data: [DONE]\n\n"), last_chunk()]),
        ("uncounted", vec![chunk("data: [DONE]\n\n"), last_chunk()]),
        ("broken", vec![]),
    ];
    for (name, end) in ends {
        let act: Act = [vec![stream(), chunk(one)], end].concat();
        let (a, b) = (Scripted::start(act).await, Scripted::start(good()).await);
        let harness = Harness::before(&a, &b).await;
        let mut open = Open::post(harness.broker.relay().await, CHAT, STREAMED).await;
        if name == "broken" {
            open.closed().await;
        } else {
            open.until("\r\n0\r\n\r\n").await;
        }
        let call = call_of(&harness.broker, "model=gpt-4o").await;
        let class = if name == "broken" { "broken_answer" } else { "success" };
        assert_eq!(
            (&call["stream"], &call["class"], &call["status"]),
            (&json!(true), &json!(class), &json!(200)),
            "{name}"
        );
        let usage = &call["usage"];
        assert_eq!(usage["estimated"], name != "counted", "{name}: {call}");
        assert!(
            usage["output"].as_u64().unwrap() > 0 && call["cost"]["nano_usd"].as_u64().unwrap() > 0,
            "{name}: {call}"
        );
        if name == "counted" {
            assert_eq!((&usage["input_uncached"], &usage["output"]), (&json!(3), &json!(2)));
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_and_a_call_without_an_answer_are_recorded_too() {
    let go = Move::Hold;
    let one = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n";
    let (a, b) = (Scripted::start(vec![stream(), chunk(one), go]).await, Scripted::start(good()).await);
    let harness = Harness::before(&a, &b).await;
    let mut open = Open::post(harness.broker.relay().await, CHAT, STREAMED).await;
    open.until("hello").await;
    drop(open);
    let call = call_of(&harness.broker, "class=client_gone").await;
    assert_eq!((&call["router"], &call["attempts"][0]["class"]), (&json!("/llm/a/"), &json!("client_gone")));
    let (a, b) = (Scripted::start(vec![Move::Hold]).await, Scripted::start(good()).await);
    let harness = Harness::before(&a, &b).await;
    let open = Open::post(harness.broker.relay().await, CHAT, ASK).await;
    a.called(1).await;
    drop(open);
    let call = call_of(&harness.broker, "class=client_gone").await;
    assert_eq!((call.get("status"), &call["attempts"][0]["class"]), (None, &json!("client_gone")), "{call}");
    let (a, b) = (Scripted::start(Vec::new()).await, Scripted::start(Vec::new()).await);
    let harness = Harness::before(&a, &b).await;
    assert!(harness.call(&[]).await.status >= 500);
    let call = call_of(&harness.broker, "status=5xx").await;
    assert_eq!((call.get("router"), &call["class"]), (None, &json!("broken_answer")), "{call}");
    assert!(call["attempts"].as_array().unwrap().len() >= 2 && call.get("usage").is_none(), "{call}");
}

#[tokio::test]
async fn a_call_is_priced_at_the_tier_that_served_it() {
    let (a, b) = (Scripted::start(Vec::new()).await, Scripted::start(Vec::new()).await);
    let harness = Harness::before(&a, &b).await;
    let usage = json!({"prompt_tokens": 8, "completion_tokens": 5, "total_tokens": 13});
    let whole = |tier: &str, content: &str| {
        let choices = json!([{"message": {"content": content}, "finish_reason": "stop"}]);
        // In the order in which OpenAI writes them.
        let body = format!(r#"{{"model":"gpt-5","choices":{choices},"usage":{usage},"service_tier":"{tier}"}}"#);
        answer(200, &[], &body)
    };
    let long = "x".repeat(200_000);
    // $1.25 and $10 per million tokens; half of it, and twice as much.
    for (count, (act, nano_usd)) in [
        (whole("default", "a"), Some(60_000)),
        (whole("flex", "a"), Some(30_000)),
        (whole("priority", &long), Some(120_000)),
        (whole("scale", "a"), None),
    ]
    .into_iter()
    .enumerate()
    {
        a.once(act);
        assert_eq!(harness.call(&[]).await.status, 200);
        let call = calls(&harness.broker, "", count + 1).await.remove(0);
        assert_eq!(call["cost"]["nano_usd"].as_u64(), nano_usd, "{call}");
    }
    let event = json!({"model": "gpt-5", "choices": [{"delta": {"content": "a"}}], "service_tier": "flex"});
    let last = json!({"model": "gpt-5", "choices": [], "usage": usage});
    let events = format!("data: {event}\n\ndata: {last}\n\ndata: [DONE]\n\n");
    a.once(vec![stream(), chunk(&events), last_chunk()]);
    let mut open = Open::post(harness.broker.relay().await, CHAT, STREAMED).await;
    open.until("\r\n0\r\n\r\n").await;
    let call = calls(&harness.broker, "", 5).await.remove(0);
    assert_eq!((&call["usage"]["service_tier"], &call["cost"]["nano_usd"]), (&json!("flex"), &json!(30_000)), "{call}");
}

#[tokio::test]
async fn a_call_through_the_gateway_gives_the_same_record_from_its_log() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let broker = Setup::on(&bus).ready().await;
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let traced = [("X-Trace-Id", "through-the-gateway")];
    while gateway.send("/azure/", &traced, GATEWAY_HI.as_bytes()).await.status != 200 {}
    let call = call_of(&broker, "trace=through-the-gateway&status=200").await;
    assert_eq!(
        (&call["via"], &call["pool"], &call["class"]),
        (&json!("gateway"), &json!("/azure/"), &json!("success"))
    );
    assert_eq!(call["model"], "gpt4");
    assert_eq!((&call["usage"]["input_uncached"], &call["usage"]["output"]), (&json!(12), &json!(5)), "{call}");
    let attempt = &call["attempts"][0];
    assert!(attempt["p"].is_f64() && attempt["why"].is_string() && attempt["ms"].is_u64(), "{call}");
    assert_eq!(call["replica"], broker.replica().await.as_str());
    let ended = why(Setup::on(&bus), &[call["id"].as_str().unwrap()]).await;
    assert!(ended.out.contains("through the gateway") && ended.out.contains("12 in, 5 out"), "{ended:?}");
}

/// Not again where the entry comes twice, and not for the attempt of a relay, which counts its answers itself.
#[tokio::test]
async fn a_usage_in_the_log_that_cannot_be_believed_is_counted_once() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", "/azure/gpt4/,/azure/gpt35turbo/").ready().await;
    let events = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":-1}}\n\n";
    let traced = |log: Log, id: &str| log.with("/request/ingress_headers", json!({"X-Trace-Id": [id]}));
    let hostile = Log::of("/azure/gpt4/", 200).with("/response/inbound_payload", json!(events));
    let attempt = hostile.clone().with("/session_id", json!("Z3UQUIXY_1795913986229082810_2_0"));
    let attempt = attempt.with("/transaction_id", json!("Z3UQUIXY_1795913986229082810_2_1"));
    bus.log(attempt.with("/request/original_gl_path", json!("/azure/gpt4/"))).await;
    bus.log(traced(hostile.clone(), "hostile")).await;
    bus.log(traced(hostile, "hostile")).await;
    bus.log(traced(Log::of("/azure/gpt4/", 200), "after")).await;
    call_of(&broker, "trace=after").await;
    assert_eq!(call_of(&broker, "trace=hostile").await["usage"], json!(null));
    let metrics = broker.get("/metrics").await.text();
    assert!(metrics.contains("\ngecholog_broker_invalid_usages_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_call_of_the_relay_through_the_gateway_is_one_call_and_budgets_count_streams_in_the_log() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let setup =
        Setup::on(&bus).set("BROKER_RELAY", "127.0.0.1:0").set("BROKER_GATEWAY", format!("http://{}", gateway.addr()));
    let broker = setup.set("BROKER_ROUTERS", "/azure/gpt4/,/azure/gpt35turbo/").ready().await;
    let headers = [("Content-Type", "application/json"), ("Api-Key", "key-of-the-client")];
    let relay = broker.relay().await;
    for _ in 0..3 {
        let answer = http::send(relay, "POST", "/azure/", &headers, GATEWAY_HI.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    // The gateway logs after it has answered: what came back three times was read.
    soon("the log of three calls", async {
        let read = |text: &str| {
            let tokens = text.lines().filter(|line| line.starts_with("gecholog_broker_completion_tokens_total"));
            tokens.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
        };
        while read(&broker.get("/metrics").await.text()) < 15 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let found = calls(&broker, "", 3).await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|call| call["via"] == "relay" && call["usage"]["output"] == 5), "{found:?}");
    let events = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1000,\"total_tokens\":1001}}\n\ndata: [DONE]\n\n";
    bus.log(Log::of("/azure/gpt4/", 200).with("/response/inbound_payload", json!(events))).await;
    soon("the tokens of a stream", async {
        while !broker.get("/metrics").await.text().contains(r#"completion_tokens_total{router="/azure/gpt4/"} 10"#) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn trace_ids_find_a_call_end_at_the_relay_and_come_back() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let harness = Harness::with(&a, &b, |setup| setup.set("BROKER_TRACE_HEADER", "X-Request-Id")).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        ("traceparent", parent),
        ("tracestate", "a=b"),
        ("baggage", "user=someone"),
        ("X-Request-Id", "mine"),
        ("x-portkey-trace-id", "theirs"),
    ];
    assert_eq!(harness.call(&headers).await.header("x-trace-id"), Some("theirs"));
    for id in ["4bf92f3577b34da6a3ce929d0e0e4736", "mine", "theirs"] {
        call_of(&harness.broker, &format!("trace={id}")).await;
    }
    let sent = a.last().head;
    for name in ["traceparent", "tracestate", "baggage"] {
        assert!(!sent.contains(name), "{sent}");
    }
    let made = harness.call(&[]).await.header("x-trace-id").unwrap().to_owned();
    assert_eq!(made.len(), 32);
    call_of(&harness.broker, &format!("trace={made}")).await;
    let odd = harness.call(&[("X-Trace-Id", "\u{e4}")]).await;
    assert_eq!(odd.header("x-trace-id").unwrap().len(), 32, "what is no id is none");
}

#[tokio::test]
async fn what_the_relay_refuses_itself_is_a_call_with_an_id_too() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let harness = Harness::with(&a, &b, |setup| setup.set("BROKER_RELAY_BODY", "1")).await;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    let refused = harness.send(CHAT, &[("X-Trace-Id", "too-large")], &large).await;
    assert_eq!((refused.status, refused.header("x-trace-id")), (413, Some("too-large")));
    let call = call_of(&harness.broker, "trace=too-large").await;
    assert_eq!((&call["status"], &call["class"], &call["pool"]), (&json!(413), &json!("broker"), &json!("/llm/")));
    assert_eq!((&call["attempts"], call.get("router")), (&json!([]), None));
}

#[tokio::test]
async fn pages_follow_each_other_and_faults_are_named() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let harness = Harness::before(&a, &b).await;
    for number in 0..5 {
        harness.call(&[("X-Trace-Id", &format!("t-{number}"))]).await;
    }
    calls(&harness.broker, "", 5).await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = harness.broker.get(&format!("/api/v1/calls?limit=2{cursor}")).await;
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        seen.extend(page["calls"].as_array().unwrap().iter().map(|call| call["trace_ids"][0].clone()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["t-4", "t-3", "t-2", "t-1", "t-0"]);
    let wrong = harness.broker.get("/api/v1/calls?status=9&since=soon&cursor=other-7").await;
    assert_eq!(wrong.status, 400);
    for words in ["status must be", "since must be", "cursor must be"] {
        assert!(wrong.text().contains(words), "{}", wrong.text());
    }
    assert!(harness.broker.get("/api/v1/calls?colour=red").await.text().contains("no such field: colour"));
}

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("broker-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[tokio::test]
async fn the_file_has_every_call_is_private_and_is_read_by_why() {
    let folder = Folder::new("file");
    let path = folder.0.join("calls.jsonl");
    let (a, b) = (Scripted::start(overloaded()).await, Scripted::start(good()).await);
    let mut harness = Harness::with(&a, &b, |setup| setup.set("BROKER_CALLS", &path)).await;
    for number in 0..3 {
        harness.call(&[("X-Trace-Id", &format!("t-{number}"))]).await;
    }
    harness.broker.signal("TERM");
    assert!(harness.broker.exit().await.success());
    let text = fs::read_to_string(&path).unwrap();
    let calls: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(calls.len(), 3, "{text}");
    assert!(calls.iter().all(|call| call["v"] == 1 && call["cost"]["nano_usd"] == NANO_USD), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for secret in ["xylophone", "hello", KEY] {
        assert!(!text.contains(secret), "{text}");
    }
    let file = path.to_str().unwrap();
    let ended = why(Setup::bare(), &["t-0", "--calls", file]).await;
    assert!(ended.out.contains("503 (overloaded)") && ended.out.contains("$0.000075"), "{ended:?}");
    let ended = why(Setup::bare(), &["t-9", "--calls", file]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
}

#[tokio::test]
async fn a_file_of_calls_that_cannot_be_used_is_a_wrong_argument() {
    let folder = Folder::new("why");
    let absent = folder.0.join("absent");
    for (file, words) in [(absent.as_path(), "does not exist"), (folder.0.as_path(), "cannot read")] {
        let ended = why(Setup::bare(), &["t-0", "--calls", file.to_str().unwrap()]).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.err.contains(words) && ended.err.contains(file.to_str().unwrap()), "{ended:?}");
    }
}

#[tokio::test]
async fn a_symbolic_link_is_refused_at_the_start() {
    let folder = Folder::new("link");
    let (path, behind) = (folder.0.join("calls.jsonl"), folder.0.join("behind"));
    std::os::unix::fs::symlink(&behind, &path).unwrap();
    let setup = Setup::bare().set("BROKER_BUS", "off").set("BROKER_RELAY", "127.0.0.1:0").set("BROKER_CALLS", &path);
    let ended = setup.ended().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(format!("{ended:?}").contains("is a symbolic link, which is not followed"), "{ended:?}");
    assert!(!behind.exists(), "nothing was made behind it");
}

/// How many lines of the file were `written` or `lost`.
async fn file_lines(broker: &Broker, result: &str) -> u64 {
    let text = broker.get("/metrics").await.text();
    let start = format!(r#"gecholog_broker_calls_file_lines_total{{result="{result}"}} "#);
    text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap()
}

/// Lets a running broker write files up to this size only, as a full disk does: the line that reaches it is taken in part.
fn limit_files(broker: &Broker, bytes: Option<u64>) {
    let pid = Pid::from_raw(broker.pid().try_into().unwrap()).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_line() {
    let folder = Folder::new("full");
    let path = folder.0.join("calls.jsonl");
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let harness = Harness::with(&a, &b, |setup| setup.set("BROKER_CALLS", &path).ignoring("XFSZ")).await;
    let lines = || {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with('\n'), "{text}");
        text.lines().for_each(|line| assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}"));
        text.lines().count() as u64
    };
    let mut sent = 0;
    for until in ["lost", "written"] {
        limit_files(&harness.broker, (until == "lost").then_some(5_000));
        let before = file_lines(&harness.broker, until).await;
        while file_lines(&harness.broker, until).await == before {
            assert_eq!(harness.call(&[]).await.status, 200);
            sent += 1;
        }
        soon("every line is counted", async {
            while file_lines(&harness.broker, "written").await + file_lines(&harness.broker, "lost").await < sent {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(lines(), file_lines(&harness.broker, "written").await, "{until}");
    }
    harness.broker.until(&["calls are written to the file again", "lost="]).await;
    harness.broker.exactly(&["calls cannot be written"], 1).await;
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_made_anew_and_that_is_logged() {
    let folder = Folder::new("moved");
    let path = folder.0.join("calls.jsonl");
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let harness = Harness::with(&a, &b, |setup| setup.set("BROKER_CALLS", &path)).await;
    for number in 1..=2 {
        harness.call(&[]).await;
        soon("a written line", async {
            while file_lines(&harness.broker, "written").await < number {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let moved = folder.0.join(format!("moved-{number}"));
        fs::rename(&path, &moved).unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap().lines().count(), 1);
    }
    harness.broker.until(&["INFO", "the file of BROKER_CALLS was moved or removed", "calls.jsonl"]).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_costs_one_line_and_a_metric_and_no_call() {
    let folder = Folder::new("unwritable");
    let path = folder.0.join("not-yet-there").join("calls.jsonl");
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let harness = Harness::with(&a, &b, |setup| setup.set("BROKER_CALLS", &path)).await;
    harness.broker.until(&["calls cannot be written", "not-yet-there"]).await;
    for _ in 0..3 {
        assert_eq!(harness.call(&[]).await.status, 200);
    }
    soon("a lost line", async {
        while file_lines(&harness.broker, "lost").await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    fs::create_dir(path.parent().unwrap()).unwrap();
    soon("a line", async {
        while fs::read_to_string(&path).unwrap_or_default().is_empty() {
            harness.call(&[]).await;
        }
    })
    .await;
    harness.broker.until(&["calls are written to the file again", "lost="]).await;
    harness.broker.exactly(&["calls cannot be written"], 1).await;
}

#[tokio::test]
async fn without_a_bus_the_broker_of_this_machine_explains_why() {
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let file = pools(&a, &b);
    let setup = Setup::bare().set("BROKER_BUS", "off").set("BROKER_CONFIG", file.path()).set("KEY", KEY).secret(KEY);
    let broker = setup.clone().set("BROKER_HTTP", "127.0.0.1:0").set("BROKER_RELAY", "127.0.0.1:0").spawn();
    let headers = [("Content-Type", "application/json"), ("X-Trace-Id", "a b")];
    let relay = broker.relay().await;
    assert_eq!(http::send(relay, "POST", CHAT, &headers, ASK.as_bytes()).await.unwrap().status, 200);
    call_of(&broker, "trace=a+b").await;
    let address = broker.http().await.to_string();
    let ended = setup.clone().set("BROKER_HTTP", address).arguments(&["why", "a b"]).ended().await;
    assert!(ended.out.contains("/llm/a/  200"), "{ended:?}");
    let ended = setup.set("BROKER_HTTP", "off").arguments(&["why", "x"]).ended().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

/// The files and sockets that a process has open.
fn open(broker: &Broker) -> BTreeSet<String> {
    let entries = fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.map(|target| target.to_string_lossy().into_owned()).filter(|target| target.starts_with('/')).collect()
}

#[tokio::test]
async fn without_a_new_variable_no_file_port_or_connection_is_opened() {
    let folder = Folder::new("nothing");
    let (a, b) = (Scripted::start(good()).await, Scripted::start(good()).await);
    let harness = Harness::with(&a, &b, |setup| setup.set("TMPDIR", &folder.0).set("HOME", &folder.0)).await;
    harness.call(&[("X-Trace-Id", "t")]).await;
    call_of(&harness.broker, "trace=t").await;
    let files: Vec<_> = open(&harness.broker).into_iter().filter(|file| !file.starts_with("/dev/")).collect();
    assert_eq!((files, folder.names()), (Vec::<String>::new(), BTreeSet::new()));
    // The bus twice, the relay and HTTP listening; a call to the target and this test's own may be open too.
    let listening = |table: &str| {
        let text = fs::read_to_string(format!("/proc/{}/net/{table}", harness.broker.pid())).unwrap_or_default();
        let sockets = sockets(&harness.broker);
        let own = |line: &&str| line.split_whitespace().nth(9).is_some_and(|inode| sockets.contains(inode));
        text.lines().skip(1).filter(|line| line.split_whitespace().nth(3) == Some("0A")).filter(own).count()
    };
    assert_eq!(listening("tcp") + listening("tcp6") + listening("udp"), 2, "the relay and HTTP");
    assert!(!harness.broker.get("/metrics").await.text().contains("calls_file"), "and there is no metric of a file");
}

/// The sockets of a process, by their inodes.
fn sockets(broker: &Broker) -> BTreeSet<String> {
    let entries = fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let inode = |target: PathBuf| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    targets.filter_map(inode).collect()
}

/// Prices are settings of the brokers, which `broker watch` does not have: it shows what their records say.
#[tokio::test]
async fn watch_shows_the_cost_that_the_brokers_record() {
    let bus = Bus::start().await;
    let logged = |why: &str| {
        let answer = json!({"model": "gpt-4o", "usage": {"prompt_tokens": 12, "completion_tokens": 5}});
        let stamp = json!({"router": "/azure/gpt4/", "why": why});
        Log::of("/azure/gpt4/", 200)
            .with("/response/inbound_payload", answer)
            .with("/request/broker", stamp)
            .with("/request/ingress_headers", json!({"X-Trace-Id": [why]}))
            .with("/transaction_id", json!(format!("{why}_1_1_0")))
    };
    let watch = Setup::on(&bus).unset("BROKER_HTTP").arguments(&["watch"]).spawn();
    watch.until(&["watching "]).await;
    bus.log(logged("nobody-answers")).await;
    watch.until(&["  12+5 tokens gpt-4o  nobody-answers"]).await;
    watch.until(&["no broker answers", "cost"]).await;
    let pools = PoolsFile::of(
        r#"{"pools": [{"ingress": "/azure/", "targets": [{"router": "/azure/gpt4/", "price": {"input": 1000, "output": 2000}}]}]}"#,
    );
    let priced = |set: Setup| set.set("BROKER_CONFIG", pools.path());
    let broker = priced(Setup::on(&bus)).ready().await;
    let _other = priced(Setup::on(&bus)).ready().await;
    bus.log(logged("priced")).await;
    let line = watch.until(&["  priced"]).await;
    assert!(line.contains("  12+5 tokens gpt-4o $0.022  priced"), "{line}");
    assert_eq!(call_of(&broker, "trace=priced").await["cost"]["nano_usd"], 22_000_000);
    bus.log(logged("last")).await;
    watch.until(&["  last"]).await;
    // Once, however many brokers record it.
    watch.exactly(&["  priced"], 1).await;
}

/// Its entry is the gateway's, and its record the relay's.
#[tokio::test]
async fn watch_shows_what_a_call_of_the_relay_through_the_gateway_cost() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let gateway = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let pools = PoolsFile::of(
        r#"{"pools": [{"ingress": "/azure/", "relay": true, "targets": [{"router": "/azure/gpt4/", "price": {"input": 1000, "output": 2000}}]}]}"#,
    );
    let setup =
        Setup::on(&bus).set("BROKER_RELAY", "127.0.0.1:0").set("BROKER_GATEWAY", format!("http://{}", gateway.addr()));
    let broker = setup.set("BROKER_CONFIG", pools.path()).ready().await;
    let watch = Setup::on(&bus).unset("BROKER_HTTP").arguments(&["watch"]).spawn();
    watch.until(&["watching "]).await;
    let headers = [("Content-Type", "application/json"), ("Api-Key", "key-of-the-client")];
    let answer = http::send(broker.relay().await, "POST", "/azure/", &headers, GATEWAY_HI.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    watch.until(&["-> /azure/gpt4/  200  ", "  12+5 tokens ", "$0.022  "]).await;
}

/// A broker whose machine is busy makes its record after the entry was read here: its own answers are passed on later.
#[tokio::test]
async fn watch_waits_for_a_record_that_comes_late() {
    let bus = Bus::start().await;
    let pools = PoolsFile::of(
        r#"{"pools": [{"ingress": "/azure/", "targets": [{"router": "/azure/gpt4/", "price": {"input": 1000, "output": 2000}}]}]}"#,
    );
    let _broker = Setup::on(&bus).set("BROKER_SUBJECT", "busy").set("BROKER_CONFIG", pools.path()).ready().await;
    let mut requests = bus.client.subscribe("coburn.gl.broker.ctl.records").await.unwrap();
    let watch = Setup::on(&bus).unset("BROKER_HTTP").arguments(&["watch"]).spawn();
    watch.until(&["watching "]).await;
    let answer = json!({"model": "gpt-4o", "usage": {"prompt_tokens": 12, "completion_tokens": 5}});
    let entry = Log::of("/azure/gpt4/", 200)
        .with("/response/inbound_payload", answer)
        .with("/request/broker", json!({"router": "/azure/gpt4/", "why": "late"}))
        .with("/transaction_id", json!("late_1_1_0"));
    bus.log(entry).await;
    for number in 0..5 {
        let request = soon("the record is requested", requests.next()).await.unwrap();
        let records = match number {
            0..4 => "[]".into(),
            _ => bus.client.request("busy.ctl.records", request.payload).await.unwrap().payload,
        };
        bus.client.publish(request.reply.unwrap(), records).await.unwrap();
    }
    watch.until(&["  12+5 tokens gpt-4o $0.022  late"]).await;
}
