//! What people and their tools see over HTTP, and what a client may take of it.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::support::metrics::Scrape;
use super::support::{Broker, Bus, DUD, GPT4, GPT35, LOGGER, Log, OUTCOME, Setup, http, outcome, soon};

async fn json(broker: &Broker, path: &str) -> Value {
    let answer = broker.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// One router of a status.
fn router<'a>(status: &'a Value, path: &str) -> &'a Value {
    status["routers"].as_array().unwrap().iter().find(|router| router["router"] == path).unwrap()
}

#[tokio::test]
async fn the_status_shows_what_happened_to_each_router() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let status = json(&broker, "/api/v1/status").await;
    assert_eq!(status["mode"], "balance");
    assert_eq!(status["replica"], broker.replica().await.as_str());
    assert_eq!(status["pools"][0]["ingress"], "/azure/");
    for target in status["pools"][0]["tree"]["targets"].as_array().unwrap() {
        let share = target["share"].as_f64().unwrap();
        assert!((share - 1.0 / 3.0).abs() < 1e-9, "{target}");
    }
    assert_eq!(router(&status, DUD)["state"], "enabled");
    assert_eq!(router(&status, DUD)["standing"], "enabled", "the old name, for one release more");

    let decision = bus.decide().await;
    let used = decision["gl_path"].as_str().unwrap().to_owned();
    let mut log = Log::of(&used, 200);
    log.0["request"]["broker"] = decision["broker"].clone();
    bus.log(log).await;
    bus.log(Log::of(DUD, 500)).await;
    broker.until(&["router disabled", DUD]).await;

    let status = json(&broker, "/api/v1/status").await;
    let dud = router(&status, DUD);
    assert_eq!((&dud["state"], &dud["why"]), (&"disabled".into(), &"answered 500".into()), "{dud}");
    let left = dud["seconds_left"].as_f64().unwrap();
    assert!(left > 590.0 && left <= 600.0, "{left}");
    assert_eq!(dud["failures"], 1);
    assert_eq!(dud["last_failure"]["cause"], "answered 500");
    let served = router(&status, &used);
    assert_eq!((&served["requests"], &served["in_flight"]), (&1.into(), &0.into()), "its log came back: {served}");
    assert_eq!(served["latency"]["count"], if used == DUD { 2 } else { 1 });
    let shares: Vec<_> =
        status["pools"][0]["tree"]["targets"].as_array().unwrap().iter().map(|one| one["share"].as_f64()).collect();
    assert_eq!(shares, [Some(0.5), Some(0.5), Some(0.0)], "its share went to the others");
}

#[tokio::test]
async fn decisions_are_kept_with_their_reasons_and_only_the_last_thousand() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let first = bus.decide().await;
    let shown = json(&broker, "/api/v1/decisions").await;
    let kept = &shown["decisions"][0];
    for field in ["id", "replica", "pool", "router", "config", "p", "why"] {
        assert_eq!(kept[field], first["broker"][field], "{field}");
    }
    assert!(kept["at"].as_str().unwrap().ends_with('Z'));
    for _ in 0..1_010 {
        bus.decide().await;
    }
    let last = bus.decide().await;
    let shown = json(&broker, "/api/v1/decisions").await;
    let shown = shown["decisions"].as_array().unwrap();
    assert_eq!(shown.len(), 1_000);
    assert_eq!(shown[999]["id"], last["broker"]["id"], "the newest is last");
}

#[tokio::test]
async fn a_call_that_gets_nothing_is_a_decision_too() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_ROUTERS", DUD).ready().await;
    bus.ask(OUTCOME, outcome(DUD, 500)).await;
    broker.until(&["all routers disabled"]).await;
    assert_eq!(bus.decide().await, Value::Null);
    let shown = json(&broker, "/api/v1/decisions").await;
    assert_eq!(shown["decisions"][0]["why"], "nothing may serve");
    assert_eq!(shown["decisions"][0]["pool"], "/azure/");
    Scrape::of(&broker).await.has(&[
        ("gecholog_broker_passes_total", &[r#"pool="/azure/""#, r#"reason="all_disabled""#], 1.0),
        ("gecholog_broker_pool_serves", &[r#"pool="/azure/""#], 0.0),
    ]);
}

#[tokio::test]
async fn metrics_count_what_happens_and_their_labels_are_ours() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    for _ in 0..30 {
        bus.decide().await;
    }
    bus.log(Log::of(GPT4, 200)).await;
    bus.log(Log::of(GPT35, 400)).await;
    bus.log(Log::of("/strangers/own/", 500)).await;
    bus.tell(LOGGER, "{").await;
    let errors = serde_json::json!([{"name": "broker", "details": "context deadline exceeded"}]);
    bus.log(Log::of("/azure/", 200).with("/request/error", errors)).await;
    bus.log(Log::of(GPT4, 200).without("/response/gl_path")).await;
    bus.log(Log::of(GPT4, 200).without("/response/inbound_status_code")).await;
    bus.log(Log::of(DUD, 429).with("/response/inbound_headers", serde_json::json!({"Retry-After": ["soon"]}))).await;
    broker.until(&["router disabled", DUD]).await;
    let scrape = Scrape::of(&broker).await;
    let text = &scrape.0;
    let reasons = text.lines().filter(|line| line.starts_with("gecholog_broker_decisions_total{"));
    let decided: f64 = reasons.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert_eq!(decided, 30.0, "{text}");
    scrape.has(&[
        ("gecholog_broker_outcomes_total", &[GPT4, "success"], 1.0),
        ("gecholog_broker_outcomes_total", &[GPT35, "neutral"], 1.0),
        ("gecholog_broker_outcomes_total", &[DUD, "rate_limited"], 1.0),
        ("gecholog_broker_outcomes_total", &[DUD, r#"class="failure""#], 0.0),
        ("gecholog_broker_router_state", &[DUD, "disabled"], 1.0),
        ("gecholog_broker_router_state", &[DUD, "enabled"], 0.0),
        ("gecholog_broker_router_transitions_total", &[DUD, "disabled", "rate_limited"], 1.0),
        ("gecholog_broker_upstream_latency_seconds_count", &[GPT4], 1.0),
        ("gecholog_broker_upstream_latency_seconds_bucket", &[GPT4, r#"le="0.005""#], 1.0),
        ("gecholog_broker_upstream_latency_seconds_bucket", &[GPT4, r#"le="+Inf""#], 1.0),
        ("gecholog_broker_messages_total", &["ignored_log", "unknown_router"], 2.0),
        ("gecholog_broker_messages_total", &["malformed_log", "not_json"], 1.0),
        ("gecholog_broker_calls_unbalanced_total", &["timeout"], 1.0),
        ("gecholog_broker_bus_connected", &["logs"], 1.0),
        ("gecholog_broker_bus_connects_total", &["decisions"], 1.0),
        ("gecholog_broker_build_info", &["balance", env!("CARGO_PKG_VERSION")], 1.0),
        ("gecholog_broker_log_entries_incomplete_total", &["response.gl_path"], 1.0),
        ("gecholog_broker_log_entries_incomplete_total", &["response.inbound_status_code"], 1.0),
        // The old names, for one release more.
        ("gecholog_broker_router_standing", &[DUD, "disabled"], 1.0),
        ("gecholog_broker_log_entries_lacking_total", &["response.gl_path"], 1.0),
        ("gecholog_broker_log_entries_lacking_total", &["response.inbound_status_code"], 1.0),
        ("gecholog_broker_unreadable_hints_total", &[DUD], 1.0),
        ("gecholog_broker_unreadable_hints_total", &[GPT4], 0.0),
        ("gecholog_broker_bus_dropped_messages_total", &["logs"], 0.0),
        ("gecholog_broker_calls_unbalanced_total", &["absent"], 0.0),
    ]);
    assert!(scrape.series("gecholog_broker_router_cooldown_seconds", &[DUD]).unwrap() > 590.0);
    assert!(!text.contains("gecholog_broker_relay_"), "where the relay is off there is nothing to say of it");
    assert!(!text.contains("strangers"), "only known names become labels:\n{text}");
}

#[tokio::test]
async fn the_config_that_is_in_force_has_no_secret_in_it() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("DISABLED_TIME", "0.5").ready().await;
    let answer = broker.get("/api/v1/config").await;
    assert!(!answer.text().contains(super::support::TOKEN), "{}", answer.text());
    let shown: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(shown["defaults"]["disabled_seconds"], 30.0);
    assert_eq!(shown["bus"]["credentials"], "token");
    assert_eq!(shown["pools"][0]["targets"][0]["router"], GPT35);
}

/// An open stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(broker: &Broker) -> Self {
        let addr = broker.http().await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head = format!("GET /api/v1/events HTTP/1.1\r\nHost: {addr}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The data of the next event of this name.
    async fn next(&mut self, name: &str) -> Value {
        let wanted = format!("event: {name}");
        soon(name, async {
            let mut found = false;
            loop {
                let mut line = String::new();
                assert!(self.0.read_line(&mut line).await.unwrap() > 0, "the stream has ended");
                if let Some(data) = line.strip_prefix("data: ").filter(|_| found) {
                    return serde_json::from_str(data).unwrap();
                }
                found = line.trim_end() == wanted;
            }
        })
        .await
    }
}

#[tokio::test]
async fn events_tell_of_decisions_calls_and_changes() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    bus.decide().await;
    let mut events = Events::open(&broker).await;
    assert_eq!(events.next("hello").await["replica"], broker.replica().await.as_str());
    let decision = bus.decide().await;
    let mut shown = events.next("decision").await;
    // Events of the beat before are sent too.
    while shown["id"] != decision["broker"]["id"] {
        shown = events.next("decision").await;
    }
    assert_eq!(shown["why"], decision["broker"]["why"]);
    let mut log = Log::of(DUD, 503);
    log.0["request"]["broker"] = decision["broker"].clone();
    log.0["session_id"] = "the-session".into();
    bus.log(log).await;
    let call = events.next("call").await;
    assert_eq!((&call["router"], &call["status"], &call["class"]), (&DUD.into(), &503.into(), &"overloaded".into()));
    assert_eq!(
        (&call["attempts"][0]["decision"], &call["session"]),
        (&decision["broker"]["id"], &"the-session".into()),
        "{call}"
    );
    let change = events.next("change").await;
    assert_eq!((&change["about"], &change["what"]), (&DUD.into(), &"disabled".into()), "{change}");
    assert_eq!(change["why"], "answered 503");
}

#[tokio::test]
async fn a_flood_is_sampled_and_said_to_be() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let mut events = Events::open(&broker).await;
    events.next("hello").await;
    for _ in 0..1_000 {
        bus.tell(super::support::DECIDE, super::support::REQUEST).await;
    }
    let skipped = events.next("skipped").await;
    assert!(skipped["decisions"].as_u64().unwrap() > 0, "{skipped}");
}

#[tokio::test]
async fn sixteen_streams_and_no_more_and_a_probe_still_finds_room() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut events = Events::open(&broker).await;
        events.next("hello").await;
        streams.push(events);
    }
    let answer = broker.get("/api/v1/events").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("16"), "{}", answer.text());
    assert_eq!(broker.get("/livez").await.status, 200);
    streams.pop();
    soon("a free place", async {
        loop {
            let mut events = Events::open(&broker).await;
            let mut first = String::new();
            events.0.read_line(&mut first).await.unwrap();
            if first.contains("200") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_slow_sender_is_cut_off_and_a_probe_is_answered_meanwhile() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let addr = broker.http().await;
    let began = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(broker.get("/livez").await.status, 200, "four places are left");
    for mut stream in slow {
        let mut rest = Vec::new();
        soon("the end of a slow one", stream.read_to_end(&mut rest)).await.unwrap();
    }
    assert!(began.elapsed() > Duration::from_secs(4), "a sender has that time: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_writes_before_it_reads_gets_the_refusal() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let addr = broker.http().await;
    for (path, status) in [("/api/v1/mode", "403"), ("/nowhere", "404"), ("/livez", "405")] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", 5 << 20);
        soon("the whole request", stream.write_all(&[head.as_bytes(), &vec![b'x'; 5 << 20]].concat())).await.unwrap();
        let mut answer = String::new();
        soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.lines().next().is_some_and(|line| line.contains(status)), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_foreign_host_name_or_path_is_rejected_with_a_reason() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_HTTP_HOSTS", "broker.example, other.example").ready().await;
    let addr = broker.http().await;
    let ask = async |method: &str, path: &str, host: &str, more: &str| {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    let huge = format!("X-Huge: {}\r\n", "x".repeat(20_000));
    for (method, path, host, more, status, words) in [
        ("GET", "/api/v1/status", "localhost:1", "", "200", "\"replica\""),
        ("GET", "/api/v1/status", "other.example", "", "200", "\"replica\""),
        ("GET", "/api/v1/status", "evil.example", "", "421", "BROKER_HTTP_HOSTS"),
        ("GET", "/api/v1/events", "evil.example", "", "421", "BROKER_HTTP_HOSTS"),
        ("GET", "/livez", "evil.example", "", "200", "alive"),
        ("GET", "/metrics", "evil.example", "", "200", "gecholog_broker_build_info"),
        ("GET", "/nowhere", "localhost", "", "404", "no such path"),
        ("POST", "/api/v1/status", "localhost", "Content-Length: 0\r\n", "405", "method"),
        ("GET", "/livez", "localhost", huge.as_str(), "431", ""),
    ] {
        let answer = ask(method, path, host, more).await;
        let first = answer.lines().next().unwrap_or_default();
        assert!(first.contains(status), "{method} {path} {host}: {first}");
        assert!(answer.contains(words), "{method} {path} {host}: {answer}");
    }
    let answer = http::send(addr, "GET", "/livez", &[], b"").await.unwrap();
    assert_eq!(answer.status, 200);
}
