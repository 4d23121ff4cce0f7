//! Commands of operators to running brokers, over HTTP and over the bus, and their rejection without the token.

use async_nats::HeaderMap;
use gecholog_broker::admin::Token;
use serde_json::{Value, json};
use types::time::BrokerTime;

use super::support::{Broker, Bus, DUD, GPT4, GPT35, Log, Setup, http, soon};

pub(crate) const ADMIN: &str = "the-operators-own-token";

pub(crate) fn admin(bus: &Bus) -> Setup {
    Setup::on(bus).set("BROKER_ADMIN_TOKEN", ADMIN).secret(ADMIN)
}

/// A router's path, percent-encoded for a URL.
fn quoted(router: &str) -> String {
    router.replace('/', "%2F")
}

pub(crate) async fn post(broker: &Broker, path: &str, token: Option<&str>, body: &str) -> (u16, Value) {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
    let answer = http::send(broker.http().await, "POST", path, &headers, body.as_bytes()).await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

pub(crate) async fn say(broker: &Broker, router: &str, action: &str, body: &str) -> Value {
    let path = format!("/api/v1/routers/{}/{action}", quoted(router));
    let (status, answer) = post(broker, &path, Some(ADMIN), body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn status(broker: &Broker) -> Value {
    serde_json::from_slice(&broker.get("/api/v1/status").await.body).unwrap()
}

pub(crate) async fn router(broker: &Broker, path: &str) -> Value {
    let status = status(broker).await;
    status["routers"].as_array().unwrap().iter().find(|router| router["router"] == path).unwrap().clone()
}

/// The routers of this many calls.
async fn spread(bus: &Bus, calls: usize) -> Vec<String> {
    let mut to = Vec::new();
    for _ in 0..calls {
        to.push(bus.decide().await["gl_path"].as_str().unwrap_or("nothing").to_owned());
    }
    to.sort();
    to.dedup();
    to
}

#[tokio::test]
async fn a_drain_over_http_reaches_all_replicas_and_ends_with_a_resume() {
    let bus = Bus::start().await;
    let (one, two) = (admin(&bus).ready().await, admin(&bus).ready().await);
    let answer = say(&one, DUD, "drain", r#"{"reason":"new keys"}"#).await;
    assert_eq!(answer["changed"], 2, "{answer}");
    for broker in [&one, &two] {
        let drained = router(broker, DUD).await["drained"].clone();
        assert_eq!(drained["reason"], "new keys", "{drained}");
        assert_eq!(router(broker, DUD).await["state"], "enabled", "a flag apart");
        broker.until(&["command of an operator", "drained", "new keys", DUD]).await;
    }
    assert_eq!(spread(&bus, 60).await, [GPT35, GPT4]);
    let answer = say(&two, DUD, "resume", "").await;
    assert_eq!(answer["changed"], 2, "{answer}");
    assert_eq!(spread(&bus, 60).await.len(), 3);
}

#[tokio::test]
async fn the_last_one_that_is_drained_says_that_nothing_is_left() {
    let bus = Bus::start().await;
    let broker = admin(&bus).set("BROKER_ROUTERS", format!("{GPT4},{DUD}")).ready().await;
    say(&broker, DUD, "drain", "").await;
    let answer = say(&broker, GPT4, "drain", r#"{"for":"30m"}"#).await;
    for name in ["pools_left_empty", "left_without"] {
        assert_eq!(answer["replicas"][0][name], json!(["/azure/"]), "{answer}");
    }
    assert_eq!(spread(&bus, 5).await, ["nothing"]);
    let left = router(&broker, GPT4).await["drained"]["until"].clone();
    assert!(left.is_string(), "{left}");
}

#[tokio::test]
async fn disable_enable_weight_and_mode() {
    let bus = Bus::start().await;
    let broker = admin(&bus).ready().await;
    say(&broker, DUD, "disable", r#"{"for":"1h"}"#).await;
    let dud = router(&broker, DUD).await;
    assert_eq!((&dud["state"], &dud["why"]), (&"disabled".into(), &"by an operator".into()), "{dud}");
    assert_eq!(spread(&bus, 60).await, [GPT35, GPT4]);
    say(&broker, DUD, "enable", "").await;
    assert_eq!(router(&broker, DUD).await["state"], "enabled");

    let weigh = |router: &str, weight: f64| json!({"router": router, "weight": weight}).to_string();
    for (one, weight) in [(GPT35, 0.0), (GPT4, 0.0)] {
        let (code, answer) = post(&broker, "/api/v1/pools/%2Fazure%2F/weight", Some(ADMIN), &weigh(one, weight)).await;
        assert_eq!(code, 200, "{answer}");
    }
    assert_eq!(spread(&bus, 40).await, [DUD]);
    let shown = status(&broker).await["pools"][0]["weights"].clone();
    assert_eq!(shown.as_array().map(Vec::len), Some(2), "{shown}");

    let (code, answer) = post(&broker, "/api/v1/mode", Some(ADMIN), r#"{"mode":"observe","reason":"a look"}"#).await;
    assert_eq!(code, 200, "{answer}");
    let decision = bus.decide().await;
    assert_eq!((&decision["gl_path"], &decision["broker"]["would"]), (&Value::Null, &DUD.into()), "{decision}");
    assert_eq!(status(&broker).await["mode"], "observe");
    broker.until(&["command of an operator", "observe", "a look"]).await;
}

#[tokio::test]
async fn without_the_token_nothing_changes_and_the_refusal_says_why() {
    let bus = Bus::start().await;
    let closed = Setup::on(&bus).ready().await;
    let path = format!("/api/v1/routers/{}/drain", quoted(DUD));
    let (code, answer) = post(&closed, &path, Some(ADMIN), "").await;
    assert_eq!(code, 403);
    assert!(answer["error"].as_str().unwrap().contains("BROKER_ADMIN_TOKEN"), "{answer}");
    drop(closed);
    let broker = admin(&bus).ready().await;
    for token in [None, Some(""), Some("the-operators-own-toke"), Some("the-operators-own-token2")] {
        let (code, answer) = post(&broker, &path, token, "").await;
        assert_eq!(code, 401, "{answer}");
    }
    for (value, code) in [
        (format!("bearer {ADMIN}"), 200),
        (format!("BEARER   {ADMIN}"), 200),
        (format!("Bearer{ADMIN}"), 401),
        (format!("Basic {ADMIN}"), 401),
        (ADMIN.to_owned(), 401),
    ] {
        let path = "/api/v1/routers/%2Fazure%2Fdud%2F/resume";
        let headers = [("Authorization", value.as_str())];
        let answer = http::send(broker.http().await, "POST", path, &headers, b"").await.unwrap();
        assert_eq!(answer.status, code, "{}", answer.text());
        let asks = (code == 401).then_some("bearer");
        assert_eq!(answer.header("www-authenticate"), asks, "RFC 9110, 15.5.2");
    }
    let huge = "x".repeat(5_000);
    for (path, body, code, words) in [
        ("/api/v1/routers/%2Fnobodys%2F/drain", "", 404, "/nobodys/ is in no pool"),
        ("/api/v1/routers/gpt4/drain", "", 404, "begin and end with"),
        ("/api/v1/routers/%2Fazure%2Fdud%2F/kill", "", 404, "not another action"),
        ("/api/v1/routers/%2Fazure%2Fdud%2F/drain", "{", 400, "not understood"),
        ("/api/v1/routers/%2Fazure%2Fdud%2F/drain", r#"{"for":"-5m"}"#, 400, "-5m"),
        ("/api/v1/routers/%2Fazure%2Fdud%2F/disable", "", 400, "needs \"for\""),
        ("/api/v1/pools/%2Fx%2F/weight", r#"{"router":"/azure/dud/","weight":1}"#, 404, "not the ingress"),
        ("/api/v1/routers/%2Fazure%2Fdud%2F/drain", huge.as_str(), 413, "4096"),
    ] {
        let (status, answer) = post(&broker, path, Some(ADMIN), body).await;
        assert_eq!(status, code, "{path} {body:.40}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(words), "{path}: {answer}");
    }
    assert_eq!(router(&broker, DUD).await["drained"], Value::Null);
    // The two that were right.
    broker.exactly(&["command of an operator"], 2).await;
}

/// A signed order, as the command line sends it.
pub(crate) struct Signed {
    subject: String,
    headers: HeaderMap,
    body: String,
}

impl Signed {
    pub(crate) fn new(action: &str, body: &str, token: &str, shift: i64) -> Self {
        let subject = format!("coburn.gl.broker.ctl.{action}");
        let nanos = jiff::Timestamp::now().as_nanosecond() + i128::from(shift) * 1_000_000_000;
        let at = BrokerTime::from_nanos(u64::try_from(nanos).unwrap());
        let mac = Token::new(token).sign(&subject, at, format!("{nanos}"), body.as_bytes());
        let mut headers = HeaderMap::new();
        headers.insert("Broker-Time", mac.at.to_string().as_str());
        headers.insert("Broker-Nonce", mac.nonce.as_str());
        headers.insert("Broker-Mac", mac.mac.as_str());
        headers.insert("Broker-By", "somebody");
        Self { subject, headers, body: body.to_owned() }
    }

    pub(crate) async fn send(&self, bus: &Bus) -> Result<Value, String> {
        let (subject, headers, body) = (self.subject.clone(), self.headers.clone(), self.body.clone());
        let answer = soon("an answer", bus.client.request_with_headers(subject, headers, body.into())).await.unwrap();
        match answer.headers.as_ref().and_then(|headers| headers.get("Nats-Service-Error")) {
            Some(error) => Err(error.to_string()),
            None => Ok(serde_json::from_slice(&answer.payload).unwrap()),
        }
    }
}

#[tokio::test]
async fn over_the_bus_only_what_is_signed_is_carried_out_and_only_once() {
    let bus = Bus::start().await;
    let broker = admin(&bus).ready().await;
    let body = json!({"router": DUD}).to_string();
    let good = Signed::new("drain", &body, ADMIN, 0);
    for (wrong, words) in [
        (Signed::new("drain", &body, "another-token-altogether", 0), "another BROKER_ADMIN_TOKEN"),
        (Signed::new("drain", &body, ADMIN, -60), "30 s"),
        (Signed::new("drain", &body, ADMIN, 60), "30 s"),
        (Signed { headers: HeaderMap::new(), ..Signed::new("drain", &body, ADMIN, 0) }, "not signed"),
        (Signed { body: json!({"router": GPT4}).to_string(), ..Signed::new("drain", &body, ADMIN, 0) }, "changed"),
        (Signed { subject: "coburn.gl.broker.ctl.enable".into(), ..Signed::new("drain", &body, ADMIN, 0) }, "changed"),
        (Signed::new("drain", "{}", ADMIN, 0), "needs \"router\""),
        (Signed::new("drain", r#"{"router":"/azure/dud/","for":"-1m"}"#, ADMIN, 0), "-1m"),
    ] {
        let refused = wrong.send(&bus).await.unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
    assert_eq!(router(&broker, DUD).await["drained"], Value::Null, "nothing changed");
    let unknown = Signed::new("drain", r#"{"router":"/nobodys/"}"#, ADMIN, 0).send(&bus).await.unwrap();
    assert_eq!(unknown["error"], "/nobodys/ is in no pool");

    let done = good.send(&bus).await.unwrap();
    assert_eq!((&done["replica"], &done["done"]), (&broker.replica().await.into(), &"/azure/dud/ drained".into()));
    assert_eq!(router(&broker, DUD).await["drained"]["by"], "somebody over the bus");
    Signed::new("resume", &body, ADMIN, 0).send(&bus).await.unwrap();
    assert_eq!(good.send(&bus).await.unwrap_err(), "received before");
    assert_eq!(router(&broker, DUD).await["drained"], Value::Null, "a repetition changes nothing");
}

#[tokio::test]
async fn every_replica_is_a_service_on_the_bus_and_answers_for_itself() {
    use futures_util::StreamExt;

    let bus = Bus::start().await;
    let brokers = [Setup::on(&bus).ready().await, Setup::on(&bus).ready().await];
    bus.decide().await;
    for (subject, kind) in
        [("$SRV.PING", "ping"), ("$SRV.INFO.gecholog-broker", "info"), ("$SRV.STATS.gecholog-broker", "stats")]
    {
        let inbox = bus.client.new_inbox();
        let mut answers = bus.client.subscribe(inbox.clone()).await.unwrap();
        bus.client.publish_with_reply(subject, inbox, "".into()).await.unwrap();
        for _ in 0..2 {
            let answer = soon(subject, answers.next()).await.unwrap();
            let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
            assert_eq!(answer["type"], format!("io.nats.micro.v1.{kind}_response"));
            assert_eq!(answer["name"], "gecholog-broker");
            if kind == "info" {
                let endpoints: Vec<_> = answer["endpoints"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| one["subject"].as_str().unwrap())
                    .collect();
                for word in
                    ["status", "config", "state", "explain", "drain", "resume", "disable", "enable", "weight", "mode"]
                {
                    assert!(
                        endpoints.contains(&format!("coburn.gl.broker.ctl.{word}").as_str()),
                        "{word}: {endpoints:?}"
                    );
                }
            }
            if kind == "stats" {
                assert!(answer["endpoints"][0]["data"]["decisions"].is_u64(), "{answer}");
            }
        }
    }
    let explained = bus.ask("coburn.gl.broker.ctl.explain", r#"{"gl_path":"/azure/"}"#).await;
    let explained: Value = serde_json::from_slice(&explained).unwrap();
    assert!(explained["explanation"].as_str().unwrap().contains("random, 3 of 3 serve"), "{explained}");
    let config = bus.ask("coburn.gl.broker.ctl.config", "").await;
    assert!(!String::from_utf8_lossy(&config).contains(super::support::TOKEN));
    drop(brokers);
}

#[tokio::test]
async fn a_replica_that_starts_takes_over_what_the_others_know() {
    let bus = Bus::start().await;
    let one = admin(&bus).ready().await;
    bus.log(Log::of(DUD, 500)).await;
    one.until(&["router disabled", DUD]).await;
    say(&one, GPT4, "drain", r#"{"for":"1h","reason":"new keys"}"#).await;
    let (code, _) =
        post(&one, "/api/v1/pools/%2Fazure%2F/weight", Some(ADMIN), r#"{"router":"/azure/gpt35turbo/","weight":3}"#)
            .await;
    assert_eq!(code, 200);
    let two = admin(&bus).ready().await;
    two.until(&["taking over the state of another replica"]).await;
    let dud = router(&two, DUD).await;
    assert_eq!((&dud["state"], &dud["why"]), (&"disabled".into(), &"answered 500".into()), "{dud}");
    let left = dud["seconds_left"].as_f64().unwrap();
    assert!(left > 500.0 && left <= 600.0, "what is left of it: {left}");
    let drained = router(&two, GPT4).await["drained"].clone();
    assert_eq!(drained["reason"], "new keys");
    assert!(drained["until"].is_string());
    assert_eq!(status(&two).await["pools"][0]["weights"][0]["weight"], 3.0);

    let without = Setup::on(&bus).ready().await;
    assert_eq!(router(&without, DUD).await["state"], "disabled", "health is taken over without a token");
    assert_eq!(router(&without, GPT4).await["drained"], Value::Null, "what operators said is only theirs to say");
}

#[tokio::test]
async fn without_other_replicas_it_starts_with_what_it_is_set_to() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    assert_eq!(broker.count(&["taking over"]), 0);
}

#[tokio::test]
async fn a_short_admin_token_is_a_fault_that_does_not_show_it() {
    let bus = Bus::start().await;
    let ended = Setup::on(&bus).set("BROKER_ADMIN_TOKEN", "secret-15-chars").secret("secret-15-chars").ended().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("BROKER_ADMIN_TOKEN") && ended.err.contains("16 characters"), "{ended:?}");
}
