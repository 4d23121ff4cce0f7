//! A replica that starts while others run: where its calls go, whatever happened before and whatever program answers it on the
//! bus.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::HeaderMap;
use serde_json::{Value, json};

use super::admin_api::{ADMIN, Signed, admin, post, router, say};
use super::support::broker::{field, moment};
use super::support::{Broker, Bus, DUD, GPT4, GPT35, Log, Setup, soon};

/// What one that starts asks.
const STATE: &str = "coburn.gl.broker.ctl.state";

/// Where calls go: by replica, how many to each router.
async fn calls(bus: &Bus, number: usize) -> HashMap<String, HashMap<String, usize>> {
    let mut to: HashMap<String, HashMap<String, usize>> = HashMap::new();
    for _ in 0..number {
        let decision = bus.decide().await;
        let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
        let router = to.entry(text(&decision["broker"]["replica"])).or_default().entry(text(&decision["gl_path"]));
        *router.or_default() += 1;
    }
    to
}

/// Asserts that these replicas, and no other ones, send calls to exactly these routers.
async fn assert_calls(bus: &Bus, replicas: &[&Broker], routers: &[&str]) {
    let to = calls(bus, 60 * replicas.len()).await;
    for replica in replicas {
        let id = replica.replica().await;
        let mut to: Vec<_> = to.get(&id).into_iter().flat_map(HashMap::keys).map(String::as_str).collect();
        to.sort_unstable();
        let mut expected = routers.to_vec();
        expected.sort_unstable();
        assert_eq!(to, expected, "of replica {id}");
    }
    assert_eq!(to.len(), replicas.len(), "{to:?}");
}

async fn fail(bus: &Bus, replicas: &[&Broker], router: &str) {
    bus.log(Log::of(router, 500)).await;
    for replica in replicas {
        replica.until(&["router disabled", router]).await;
    }
}

#[tokio::test]
async fn an_outage_before_the_start_keeps_calls_away_also_from_one_that_hears_of_it_at_third_hand() {
    let bus = Bus::start().await;
    let first = Setup::on(&bus).ready().await;
    fail(&bus, &[&first], DUD).await;
    let second = Setup::on(&bus).ready().await;
    assert_calls(&bus, &[&first, &second], &[GPT35, GPT4]).await;
    drop(first);
    let third = Setup::on(&bus).ready().await;
    assert_calls(&bus, &[&second, &third], &[GPT35, GPT4]).await;
    // And after the start.
    fail(&bus, &[&second, &third], GPT35).await;
    assert_calls(&bus, &[&second, &third], &[GPT4]).await;
}

#[tokio::test]
async fn an_outage_that_begins_while_a_replica_starts_is_learnt_or_taken_over() {
    let bus = Bus::start().await;
    let moments = [None, Some("broker starts"), Some("HTTP listens"), Some("connected to the bus and subscribed")];
    for moment in moments {
        let first = Setup::on(&bus).ready().await;
        let second = Setup::on(&bus).spawn();
        if let Some(words) = moment {
            second.until(&[words]).await;
        }
        fail(&bus, &[&first], DUD).await;
        second.until_nth(&["connected to the bus and subscribed"], 2).await;
        second.until(&["router disabled", DUD]).await;
        assert_calls(&bus, &[&first, &second], &[GPT35, GPT4]).await;
    }
}

#[tokio::test]
async fn a_router_that_was_taken_over_comes_to_its_probation_in_time_and_back() {
    let bus = Bus::start().await;
    let setup = || Setup::on(&bus).set("DISABLED_TIME", "0.15");
    let first = setup().ready().await;
    fail(&bus, &[&first], DUD).await;
    let second = setup().ready().await;
    let out = moment(&first.until(&["router disabled", DUD]).await);
    drop(first);
    let third = setup().ready().await;
    assert_calls(&bus, &[&second, &third], &[GPT35, GPT4]).await;
    for replica in [&second, &third] {
        let probation = moment(&replica.until(&["router on probation", DUD]).await);
        let time = (probation - out).as_secs_f64();
        assert!((8.9..10.0).contains(&time), "after {time} s and not 9");
    }
    // One call of each replica finds out.
    let mut probes = Vec::new();
    for _ in 0..120 {
        let decision = bus.decide().await;
        if decision["gl_path"] == DUD {
            probes.push(decision["broker"].clone());
        }
    }
    assert_eq!(probes.len(), 2, "{probes:?}");
    assert!(probes.iter().all(|probe| probe["probe"] == true) && probes[0]["replica"] != probes[1]["replica"]);
    bus.log(Log::of(DUD, 200).with("/request/broker", probes.remove(0))).await;
    for replica in [&second, &third] {
        replica.until(&["router enabled", DUD]).await;
    }
    assert_calls(&bus, &[&second, &third], &[DUD, GPT35, GPT4]).await;
}

#[tokio::test]
async fn orders_hold_in_replicas_that_start_after_them_and_their_ends_too() {
    let bus = Bus::start().await;
    let first = admin(&bus).ready().await;
    say(&first, DUD, "disable", r#"{"for":"1h"}"#).await;
    let second = admin(&bus).ready().await;
    assert_calls(&bus, &[&first, &second], &[GPT35, GPT4]).await;
    say(&first, GPT4, "drain", r#"{"reason":"keys leaked"}"#).await;
    assert_calls(&bus, &[&first, &second], &[GPT35]).await;
    drop(first);
    let third = admin(&bus).ready().await;
    assert_calls(&bus, &[&second, &third], &[GPT35]).await;
    let left = router(&third, DUD).await["seconds_left"].as_f64().unwrap();
    assert!(left > 3_500.0, "an operator's time is longer than a cooldown: {left}");

    say(&third, GPT4, "resume", "").await;
    say(&third, DUD, "enable", "").await;
    let weight = json!({"router": GPT35, "weight": 0.0}).to_string();
    assert_eq!(post(&second, "/api/v1/pools/%2Fazure%2F/weight", Some(ADMIN), &weight).await.0, 200);
    assert_calls(&bus, &[&second, &third], &[DUD, GPT4]).await;
    drop(second);
    let fourth = admin(&bus).ready().await;
    assert_calls(&bus, &[&third, &fourth], &[DUD, GPT4]).await;
}

/// The bus is away, and comes back for all.
async fn bus_is_away(bus: &mut Bus, replicas: &[&Broker], meanwhile: impl Future<Output = ()>) {
    bus.server.kill();
    for replica in replicas {
        replica.until(&["the connection to the bus is lost", "logs"]).await;
    }
    meanwhile.await;
    bus.server.restart().unwrap();
}

#[tokio::test]
async fn what_operators_order_while_the_bus_is_away_holds_in_all_replicas_once_it_is_back() {
    let mut bus = Bus::start().await;
    let (one, two) = (admin(&bus).ready().await, admin(&bus).ready().await);
    say(&one, GPT4, "drain", "").await;
    two.until(&["command of an operator", "drained", GPT4]).await;
    bus_is_away(&mut bus, &[&one, &two], async {
        say(&one, DUD, "drain", r#"{"reason":"keys leaked"}"#).await;
        say(&two, GPT4, "resume", "").await;
        assert_eq!(post(&two, "/api/v1/mode", Some(ADMIN), r#"{"mode":"observe"}"#).await.0, 200);
    })
    .await;
    two.until(&["command of an operator", "drained", DUD, "keys leaked"]).await;
    one.until(&["command of an operator", "resumed", GPT4]).await;
    one.until(&["command of an operator", "mode=observe"]).await;
    for replica in [&one, &two] {
        assert!(router(replica, DUD).await["drained"].is_object() && router(replica, GPT4).await["drained"].is_null());
        assert_eq!(replica.count(&["drained", DUD]), 1, "once: {}", replica.text());
    }
}

/// A server that hangs keeps what subscribed there, so the group of the connection that was lost has a member that never answers.
#[tokio::test]
async fn a_replica_that_has_reconnected_gets_each_command_though_its_old_subscriptions_stay() {
    let mut bus = Bus::start().await;
    let broker = admin(&bus).ready().await;
    bus_is_away(&mut bus, &[&broker], async {}).await;
    broker.until_nth(&["connected to the bus and subscribed", "logs"], 2).await;
    let anew = format!(r#""queue_group":"{}-2""#, broker.replica().await);
    // One that asks in the moment of the change may get no answer.
    let info =
        || tokio::time::timeout(Duration::from_millis(200), bus.client.request("$SRV.INFO.gecholog-broker", "".into()));
    soon("endpoints anew", async {
        while !info().await.is_ok_and(|info| String::from_utf8_lossy(&info.unwrap().payload).contains(&anew)) {}
    })
    .await;
    let mut stale = Vec::new();
    for group in [broker.replica().await, format!("{}-1", broker.replica().await)] {
        stale.push(bus.client.queue_subscribe("coburn.gl.broker.ctl.*", group).await.unwrap());
    }
    bus.sync().await;
    for _ in 0..30 {
        let answer = soon("an answer", bus.client.request("coburn.gl.broker.ctl.config", "".into())).await;
        assert!(answer.unwrap().payload.starts_with(b"{"));
    }
}

#[tokio::test]
async fn a_mode_is_taken_over_if_an_operator_ordered_it_and_not_if_it_is_a_replicas_own_setting() {
    let bus = Bus::start().await;
    let observer = admin(&bus).set("BROKER_MODE", "observe").ready().await;
    let first = admin(&bus).ready().await;
    let to = calls(&bus, 60).await;
    assert!(!to[&first.replica().await].contains_key("nothing"), "its own setting is to balance: {to:?}");
    drop(observer);
    assert_eq!(post(&first, "/api/v1/mode", Some(ADMIN), r#"{"mode":"observe"}"#).await.0, 200);
    let second = admin(&bus).ready().await;
    assert_calls(&bus, &[&first, &second], &["nothing"]).await;
    assert_eq!(post(&second, "/api/v1/mode", Some(ADMIN), r#"{"mode":"balance"}"#).await.0, 200);
    drop(first);
    let third = admin(&bus).ready().await;
    assert_calls(&bus, &[&second, &third], &[DUD, GPT35, GPT4]).await;
}

/// Answers each ask for a state before any broker does: with a state that says nothing of what operators ordered, or with more
/// parts of answers than anybody may keep.
async fn forge(bus: &Bus, flood: bool) -> tokio::task::JoinHandle<()> {
    use futures_util::StreamExt;

    let client = super::support::bus::connect(&bus.server).await;
    let mut asks = client.subscribe(STATE).await.unwrap();
    client.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(ask) = asks.next().await {
            let inbox = ask.reply.unwrap();
            let state = json!({
                "replica": "evil", "mode": "observe",
                "mode_order": {"mode": "observe", "seconds_ago": 0.0, "by": "", "reason": ""},
                "routers": [{"router": GPT35, "seconds_left": 1e9, "why": "answered 500"}],
                "orders": [{"router": DUD, "pool": null, "weight": null, "seconds_left": null, "by": "", "reason": ""}],
            });
            if !flood {
                client.publish(inbox.clone(), state.to_string().into()).await.unwrap();
            }
            let large = bytes::Bytes::from(vec![b'['; 1_000_000]);
            for number in (0..600).take_while(|_| flood) {
                let mut headers = HeaderMap::new();
                headers.insert("Broker-Part", format!("{}/1000", number % 10 + 1).as_str());
                headers.insert("Broker-Replica", format!("evil{}", number / 10).as_str());
                headers.insert("Broker-Time", "1");
                headers.insert("Broker-Nonce", std::str::from_utf8(&ask.payload).unwrap());
                headers.insert("Broker-Mac", "00".repeat(32).as_str());
                client.publish_with_headers(inbox.clone(), headers, large.clone()).await.unwrap();
            }
            client.flush().await.unwrap();
        }
    })
}

#[tokio::test]
async fn with_a_token_a_forged_state_neither_erases_a_drain_nor_takes_a_router_out() {
    let bus = Bus::start().await;
    let first = admin(&bus).ready().await;
    say(&first, GPT4, "drain", r#"{"reason":"keys leaked"}"#).await;
    let forger = forge(&bus, false).await;
    // The forger is surely first.
    first.signal("STOP");
    let second = admin(&bus).spawn();
    second.until(&["HTTP listens"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    first.signal("CONT");
    second.until_nth(&["connected to the bus and subscribed"], 2).await;
    let line = second.until(&["taking over the state of another replica"]).await;
    assert_eq!(field(&line, "replica").as_deref(), Some(first.replica().await.as_str()), "{line}");
    assert_calls(&bus, &[&first, &second], &[DUD, GPT35]).await;
    assert_eq!(router(&second, GPT35).await["state"], "enabled");

    drop((first, second));
    let alone = admin(&bus).ready().await;
    alone.until(&["nothing was taken over", "BROKER_ADMIN_TOKEN"]).await;
    assert_calls(&bus, &[&alone], &[DUD, GPT35, GPT4]).await;
    forger.abort();
}

#[tokio::test]
async fn without_a_token_a_forged_state_does_no_more_than_a_log_entry_could() {
    let bus = Bus::start().await;
    let forger = forge(&bus, false).await;
    let broker = Setup::on(&bus).ready().await;
    broker.until(&["taking over the state of another replica"]).await;
    let left = router(&broker, GPT35).await["seconds_left"].as_f64().unwrap();
    assert!(left <= 600.0, "its own longest time: {left}");
    assert_calls(&bus, &[&broker], &[DUD, GPT4]).await;
    forger.abort();
}

#[tokio::test]
async fn forged_parts_take_neither_memory_nor_the_start() {
    for setup in [admin as fn(&Bus) -> Setup, |bus| Setup::on(bus)] {
        let bus = Bus::start().await;
        let forger = forge(&bus, true).await;
        let broker = setup(&bus).ready().await;
        assert!(!calls(&bus, 30).await.is_empty());
        if let Some(kilobytes) = broker.most_resident() {
            // Of 600 MB that were sent; one turn of the connection reads more than 100 MB.
            assert!(kilobytes < 250_000, "{kilobytes} kB at its peak");
        }
        forger.abort();
    }
}

#[tokio::test]
async fn a_recorded_order_is_refused_after_a_restart() {
    let bus = Bus::start().await;
    let body = json!({"router": DUD}).to_string();
    let first = admin(&bus).ready().await;
    let drain = Signed::new("drain", &body, ADMIN, 0);
    // By a clock that is ahead; and one that is given later than it is signed, as by a clock that is behind.
    let (ahead, behind) = (Signed::new("resume", &body, ADMIN, 20), Signed::new("drain", &body, ADMIN, 0));
    drain.send(&bus).await.unwrap();
    ahead.send(&bus).await.unwrap();
    // Another one remembers, whatever the clocks say.
    let second = admin(&bus).ready().await;
    drop(first);
    for recorded in [&drain, &ahead] {
        assert_eq!(recorded.send(&bus).await.unwrap_err(), "received before");
    }
    behind.send(&bus).await.unwrap();
    assert_eq!(Signed::new("resume", &body, ADMIN, 0).send(&bus).await.unwrap()["error"], Value::Null);
    // No replica remembers it.
    drop(second);
    let third = admin(&bus).ready().await;
    for recorded in [&drain, &behind] {
        let refused = recorded.send(&bus).await.unwrap_err();
        assert!(refused.contains("before this replica started"), "{refused}");
    }
    assert_calls(&bus, &[&third], &[DUD, GPT35, GPT4]).await;
    Signed::new("drain", &body, ADMIN, 0).send(&bus).await.unwrap();
    assert_calls(&bus, &[&third], &[GPT35, GPT4]).await;
}

#[tokio::test]
async fn a_replica_that_does_not_answer_delays_a_start_by_no_more_than_its_wait() {
    let bus = Bus::start().await;
    let first = Setup::on(&bus).ready().await;
    first.signal("STOP");
    let second = soon("a start beside a replica that hangs", Setup::on(&bus).ready()).await;
    let begin = second.until(&["broker starts"]).await;
    let time = moment(&second.until(&["connected to the bus and subscribed", "decisions"]).await) - moment(&begin);
    assert!(time.as_secs_f64() < 5.0, "{time:?}");
    first.signal("CONT");
}
