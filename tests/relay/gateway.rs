//! The table of faults through the gateway: one transaction per attempt, all in one session.

use std::time::Duration;

use futures_util::StreamExt;
use gateway_sim::llm::Behaviour;
use serde_json::Value;

use super::super::support::gateway::{HI, two_rows, two_rows_before};
use super::super::support::http::{self, Answer};
use super::super::support::scripted::{Act, Move, Scripted, answer, chunk, last_chunk, stream};
use super::super::support::{Broker, Bus, DUD, GPT4, GPT35, Gateway, LOGGER, Llms, PoolsFile, Setup, soon};
use super::faults::cut;
use super::{HELLO, SHORT_LIMITS, good};

/// A relay before a gateway with two deployments, the first of which is preferred.
pub(super) struct Through {
    pub(super) bus: Bus,
    pub(super) llms: Llms,
    pub(super) broker: Broker,
    relay: std::net::SocketAddr,
    _gateway: Gateway,
    _file: PoolsFile,
}

fn target(router: &str) -> String {
    format!(r#"{{"router": "{router}"}}"#)
}

/// These targets, with short limits for the first.
fn stalling(routers: &[&str]) -> Vec<String> {
    let mut targets: Vec<_> = routers.iter().map(|router| target(router)).collect();
    targets[0] = format!(r#"{{"router": "{}", {SHORT_LIMITS}}}"#, routers[0]);
    targets
}

impl Through {
    /// The first of them may stall: its limits are short.
    pub(super) async fn start() -> Self {
        let (bus, llms) = (Bus::start().await, Llms::start().await);
        let config = two_rows(&bus, &llms);
        Self::on(bus, llms, config, &stalling(&[GPT35, GPT4]), |setup| setup).await
    }

    pub(super) async fn with(set: impl FnOnce(Setup) -> Setup) -> Self {
        let (bus, llms) = (Bus::start().await, Llms::start().await);
        let config = two_rows(&bus, &llms);
        Self::on(bus, llms, config, &[GPT35, GPT4].map(target), set).await
    }

    /// The same before an upstream that follows a script, byte by byte; the router that is called is in the path.
    pub(super) async fn before(upstream: &Scripted, routers: &[&str]) -> Self {
        let (bus, llms) = (Bus::start().await, Llms::start().await);
        let url = upstream.url().replace("/v1/", "");
        let mut config = two_rows_before(&bus, &url);
        let dud = config["routers"].as_array_mut().unwrap().iter_mut().find(|router| router["path"] == DUD).unwrap();
        dud["outbound"]["url"] = url.into();
        dud["outbound"]["endpoint"] = "dud".into();
        Self::on(bus, llms, config, &stalling(routers), |setup| setup).await
    }

    async fn on(bus: Bus, llms: Llms, config: Value, targets: &[String], set: impl FnOnce(Setup) -> Setup) -> Self {
        let gateway = Gateway::start(&bus, &config).await;
        let file = PoolsFile::of(&format!(
            r#"{{"relay": {}, "pools": [{{"ingress": "/llm/", "strategy": {{"mode": "fallback"}}, "relay": true,
                "targets": [{}]}}]}}"#,
            super::LIMITS,
            targets.join(",")
        ));
        let setup = Setup::on(&bus).set("BROKER_CONFIG", file.path()).set("BROKER_RELAY", "127.0.0.1:0");
        let broker = set(setup.set("BROKER_GATEWAY", format!("http://{}", gateway.addr()))).ready().await;
        let relay = broker.relay().await;
        Self { bus, llms, broker, relay, _gateway: gateway, _file: file }
    }

    pub(super) async fn call(&self) -> Answer {
        self.send(&[]).await
    }

    pub(super) async fn send(&self, headers: &[(&str, &str)]) -> Answer {
        let own = [("Content-Type", "application/json"), ("Api-Key", "key-of-the-client"), ("Accept-Encoding", "gzip")];
        let headers = [&own, headers].concat();
        http::send(self.relay, "POST", "/llm/", &headers, HI.as_bytes()).await.unwrap()
    }
}

fn status(status: u16, headers: &[(&str, &str)]) -> Behaviour {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Behaviour { status, headers, ..Behaviour::default() }
}

#[tokio::test]
async fn a_router_that_fails_is_never_noticed() {
    for (fault, behaviour, disables) in [
        ("429 with Retry-After", status(429, &[("Retry-After", "2")]), true),
        ("429", status(429, &[]), true),
        ("500", status(500, &[]), true),
        ("503", status(503, &[]), true),
        ("404, no such deployment", status(404, &[]), true),
        ("closed without an answer", Behaviour { close: true, ..Behaviour::default() }, true),
        ("silent", Behaviour { delay: Duration::from_secs(30), ..Behaviour::default() }, true),
    ] {
        let harness = Through::start().await;
        harness.llms.behave("gpt35turbo", behaviour);
        let answer = harness.call().await;
        assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some(GPT4)), "{fault}: {}", answer.text());
        assert_eq!(answer.header("x-broker-attempts"), Some("2"), "{fault}");
        harness.call().await;
        assert_eq!(harness.llms.calls("gpt35turbo"), if disables { 1 } else { 2 }, "{fault}");
        harness.broker.exactly(&["router disabled"], usize::from(disables)).await;
    }
}

/// The deployment does this, and the other one answers well.
async fn ill(act: Act) -> Scripted {
    Scripted::answering(move |call| if call.head.contains("gpt35turbo") { act.clone() } else { good() }).await
}

#[tokio::test]
async fn a_router_whose_answer_is_not_whole_is_never_noticed_as_the_gateway_collects_it() {
    let (error, head) = (r#"{"error": {"message": "m"}}"#, b"HTTP/1.1 200 OK\r\nContent-".to_vec());
    let event = || vec![stream(), chunk("data: {\"choices\":[]}\n\n")];
    for (fault, act, disables) in [
        ("408", answer(408, &[], error), true),
        ("529", answer(529, &[], error), true),
        ("409", answer(409, &[], error), false),
        ("half a head", vec![Move::Send(head)], true),
        ("no HTTP", vec![Move::Send(b"hello\r\n\r\n".to_vec())], true),
        ("half a body", cut(answer(200, &[], HELLO)), true),
        ("an error with half a body", cut(answer(503, &[], error)), true),
        ("a slow first token", vec![stream(), Move::Hold], true),
        ("a slow first token, with comments", vec![stream(), chunk(": wait\n\n"), Move::Hold], true),
        ("a stream that is cut", event(), true),
        ("a stream that stands still", [event(), vec![Move::Hold]].concat(), true),
    ] {
        let upstream = ill(act).await;
        let harness = Through::before(&upstream, &[GPT35, GPT4]).await;
        let answer = harness.call().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, HELLO), "{fault}");
        assert_eq!(answer.header("x-broker-router"), Some(GPT4), "{fault}");
        assert_eq!(answer.header("x-broker-attempts"), Some("2"), "{fault}");
        let before = upstream.calls();
        harness.call().await;
        assert_eq!(upstream.calls() - before, if disables { 1 } else { 2 }, "{fault}");
        harness.broker.exactly(&["router disabled"], usize::from(disables)).await;
    }
}

#[tokio::test]
async fn a_router_that_does_not_listen_is_never_noticed() {
    for url in ["http://127.0.0.1:9", "http://no.such.host.invalid"] {
        let (bus, llms) = (Bus::start().await, Llms::start().await);
        let mut config = two_rows(&bus, &llms);
        let routers = config["routers"].as_array_mut().unwrap();
        routers.iter_mut().find(|router| router["path"] == GPT35).unwrap()["outbound"]["url"] = url.into();
        let harness = Through::on(bus, llms, config, &stalling(&[GPT35, GPT4]), |setup| setup).await;
        for attempts in ["2", "1"] {
            let answer = harness.call().await;
            assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some(GPT4)), "{url}");
            assert_eq!(answer.header("x-broker-attempts"), Some(attempts), "{url}");
        }
    }
}

#[tokio::test]
async fn what_the_gateway_makes_a_text_of_is_passed_on() {
    let event = format!("data: {}\n\n", r#"{"error": {"message": "m"}}"#);
    let begins = vec![stream(), chunk(&event), last_chunk()];
    let later = vec![stream(), chunk("data: {}\n\n"), chunk(&event), last_chunk()];
    let malformed = answer(200, &[], "{\"choices\": [");
    for (fault, act) in [("an error", begins), ("an error later", later), ("malformed JSON", malformed)] {
        let upstream = ill(act).await;
        let harness = Through::before(&upstream, &[GPT35, GPT4]).await;
        let answer = harness.call().await;
        assert_eq!((answer.status, answer.header("x-broker-router")), (200, Some(GPT35)), "{fault}");
        assert!(serde_json::from_slice::<String>(&answer.body).is_ok(), "{fault}: {}", answer.text());
        assert_eq!(harness.broker.count(&["router disabled"]), 0, "{fault}");
    }
}

#[tokio::test]
async fn a_mix_of_faults_is_never_noticed() {
    let refusals = std::sync::atomic::AtomicU32::new(0);
    let upstream = Scripted::answering(move |call| {
        if call.head.contains("gpt35turbo") {
            answer(429, &[("Retry-After", "60")], "{}")
        } else if call.head.contains("gpt4") {
            vec![]
        } else if refusals.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            answer(409, &[], "{}")
        } else {
            good()
        }
    })
    .await;
    let harness = Through::before(&upstream, &[GPT35, GPT4, DUD]).await;
    let answer = harness.call().await;
    assert_eq!((answer.status, answer.header("x-broker-attempts")), (200, Some("4")), "{}", answer.text());
    assert_eq!((upstream.calls(), answer.header("x-broker-router")), (4, Some(DUD)));
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_where_there_is_no_other_target() {
    let upstream = Scripted::start(good()).await;
    upstream.once(answer(429, &[("Retry-After-Ms", "1500")], "{}"));
    let harness = Through::before(&upstream, &[GPT35]).await;
    let began = std::time::Instant::now();
    let answer = harness.call().await;
    assert_eq!((answer.status, upstream.calls()), (200, 2));
    assert!(began.elapsed().as_millis() >= 1_500, "the upstream's own word is kept");
}

#[tokio::test]
async fn a_refusal_of_the_clients_own_key_or_request_is_answered_as_it_is() {
    for refused in [400, 401, 402, 403, 404, 413, 422] {
        let harness = Through::start().await;
        // A 404 that speaks of a deployment would be the router's fault.
        harness.llms.answer_with("gpt35turbo", refused, r#"{"error": {"code": "no"}}"#);
        let answer = harness.call().await;
        assert_eq!((answer.status, answer.header("x-broker-router")), (refused, Some(GPT35)), "{}", answer.text());
        assert_eq!((harness.llms.calls("gpt4"), harness.broker.count(&["router disabled"])), (0, 0), "{refused}");
    }
}

#[tokio::test]
async fn where_all_fail_the_last_answer_comes_as_it_was_and_then_one_of_ours() {
    let harness = Through::start().await;
    harness.llms.answer("gpt35turbo", 500);
    harness.llms.answer("gpt4", 503);
    let last = harness.call().await;
    assert_eq!((last.status, last.header("x-broker-router")), (503, Some(GPT4)));
    let ours = harness.call().await;
    assert!(ours.status == 503 && ours.text().contains("all_targets_unavailable"), "{}", ours.text());
    assert_eq!((harness.llms.calls("gpt35turbo"), harness.llms.calls("gpt4")), (1, 1));
}

#[tokio::test]
async fn an_outage_is_noticed_once_by_its_first_call_and_by_no_client() {
    let harness = Through::start().await;
    harness.llms.answer("gpt35turbo", 503);
    for _ in 0..15 {
        assert_eq!(harness.call().await.status, 200);
    }
    assert_eq!((harness.llms.calls("gpt35turbo"), harness.llms.calls("gpt4")), (1, 15));
}

#[tokio::test]
async fn all_attempts_are_one_session_and_each_counts_once() {
    let harness = Through::start().await;
    let mut entries = harness.bus.subscribe(LOGGER).await;
    harness.llms.answer("gpt35turbo", 500);
    let answer = harness.call().await;
    let session = answer.header("x-broker-session").unwrap().to_ascii_uppercase();
    for number in 1..=2 {
        let entry = soon("an entry", entries.next()).await.unwrap();
        let entry: Value = serde_json::from_slice(&entry.payload).unwrap();
        assert_eq!(entry["session_id"], session.as_str());
        assert_eq!(entry["transaction_id"], format!("{}{number}", session.trim_end_matches('0')));
    }
    assert_eq!(
        answer.header("session-id").map(str::to_ascii_uppercase),
        Some(format!("{}2", session.trim_end_matches('0')))
    );
    harness.broker.exactly(&["router disabled"], 1).await;
}

#[tokio::test]
async fn a_gateway_that_is_away_is_no_routers_fault() {
    let bus = Bus::start().await;
    let file = PoolsFile::of(&format!(
        r#"{{"pools": [{{"ingress": "/llm/", "targets": [{{"router": "{GPT35}"}}, {{"router": "{GPT4}"}}]}}]}}"#
    ));
    let setup = Setup::on(&bus).set("BROKER_CONFIG", file.path()).set("BROKER_RELAY", "127.0.0.1:0");
    let broker = setup.set("BROKER_GATEWAY", "http://127.0.0.1:9").ready().await;
    let answer = http::send(broker.relay().await, "POST", "/llm/", &[], b"{}").await.unwrap();
    assert!(answer.status == 503 && answer.text().contains("cannot be connected to"), "{}", answer.text());
    assert_eq!(broker.count(&["router disabled"]), 0);
}

#[tokio::test]
async fn behind_the_gateway_its_ingress_leads_to_the_relay() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let file = PoolsFile::of(&format!(
        r#"{{"pools": [{{"ingress": "/azure/", "strategy": {{"mode": "fallback"}}, "relay": true,
            "targets": [{{"router": "{GPT35}"}}, {{"router": "{GPT4}"}}]}}]}}"#
    ));
    // Each needs the other's address: the inner gateway comes first, and stands for the one that clients call too.
    let inner = Gateway::start(&bus, &two_rows(&bus, &llms)).await;
    let setup = Setup::on(&bus).set("BROKER_CONFIG", file.path()).set("BROKER_RELAY", "127.0.0.1:0");
    let broker = setup.set("BROKER_GATEWAY", format!("http://{}", inner.addr())).ready().await;
    let mut config = two_rows(&bus, &llms);
    let routers = config["routers"].as_array_mut().unwrap();
    let ingress = routers.iter_mut().find(|router| router["path"] == "/azure/").unwrap();
    ingress["outbound"]["url"] = format!("http://{}/azure/", broker.relay().await).into();
    ingress["outbound"]["endpoint"] = "".into();
    let outer = Gateway::start(&bus, &config).await;
    llms.answer("gpt35turbo", 503);
    for _ in 0..5 {
        let answer = outer.call().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-broker-router"), Some(GPT4), "{}", answer.head);
    }
    assert_eq!((llms.calls("gpt35turbo"), llms.calls("gpt4")), (1, 5));
}
