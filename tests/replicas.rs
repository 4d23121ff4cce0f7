//! Two replicas on one bus: each learns everything, and they share the requests.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::support::{Broker, Bus, DUD, GPT4, Log, OUTCOME, Setup, outcome, soon};

#[tokio::test]
async fn both_learn_from_one_log_entry_and_from_one_outcome_message() {
    let bus = Bus::start().await;
    let (first, second) = (Setup::on(&bus).ready().await, Setup::on(&bus).ready().await);
    bus.log(Log::of(DUD, 500)).await;
    assert_eq!(bus.ask(OUTCOME, outcome(GPT4, 429)).await, "");
    for broker in [&first, &second] {
        broker.until(&["router disabled", DUD]).await;
        broker.until(&["router disabled", GPT4]).await;
    }
}

#[tokio::test]
async fn requests_are_shared_and_no_two_stamps_have_one_id() {
    let bus = Bus::start().await;
    let (first, second) = (Setup::on(&bus).ready().await, Setup::on(&bus).ready().await);
    let mut shares: HashMap<String, usize> = HashMap::new();
    let (mut ids, mut configs) = (HashSet::new(), HashSet::new());
    for _ in 0..1_000 {
        let stamp = bus.decide().await["broker"].take();
        *shares.entry(stamp["replica"].as_str().unwrap().to_owned()).or_default() += 1;
        configs.insert(stamp["config"].as_str().unwrap().to_owned());
        assert!(ids.insert(stamp["id"].as_str().unwrap().to_owned()), "an id twice: {stamp}");
    }
    let replicas = HashSet::from([first.replica().await, second.replica().await]);
    assert_eq!(shares.keys().cloned().collect::<HashSet<_>>(), replicas);
    assert!(shares.values().all(|&share| share > 300), "the bus draws between them: {shares:?}");
    assert_eq!(configs.len(), 1, "the same settings have the same hash: {configs:?}");
}

#[tokio::test]
async fn another_setting_is_another_hash() {
    let bus = Bus::start().await;
    let mut configs = HashSet::new();
    for (name, value) in
        [("DISABLED_TIME", "10"), ("DISABLED_TIME", "9"), ("BROKER_ROUTERS", GPT4), ("BROKER_FAILURE_STATUS", "any")]
    {
        let _broker = Setup::on(&bus).set(name, value).ready().await;
        configs.insert(bus.decide().await["broker"]["config"].as_str().unwrap().to_owned());
    }
    assert_eq!(configs.len(), 4);
}

/// The output tokens of all calls that this replica counts.
async fn tokens(broker: &Broker) -> u64 {
    let text = broker.get("/metrics").await.text();
    let is_output =
        |line: &&str| line.starts_with("gecholog_broker_call_tokens_total{") && line.contains(r#"kind="output""#);
    text.lines().filter(is_output).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// The newest call, once there are this many.
async fn newest(broker: &Broker, count: usize) -> Value {
    soon(&format!("{count} calls"), async {
        loop {
            let page: Value = serde_json::from_slice(&broker.get("/api/v1/calls").await.body).unwrap();
            if page["calls"].as_array().unwrap().len() >= count {
                break page["calls"][0].clone();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn who_decided_counts_a_call_and_without_a_stamp_each_replica_does() {
    let bus = Bus::start().await;
    let (first, second) = (Setup::on(&bus).ready().await, Setup::on(&bus).ready().await);
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8});
    let entry = || Log::of(GPT4, 200).with("/response/inbound_payload", json!({"choices": [], "usage": usage}));
    for (replica, expected) in [(&first, (5, 0)), (&second, (5, 5)), (&second, (5, 10))] {
        let replica = replica.replica().await;
        let stamp = json!({"id": format!("{replica}-0"), "replica": replica, "router": GPT4, "pool": "/azure/"});
        bus.log(entry().with("/request/broker", stamp)).await;
        let count = (expected.0 + expected.1) as usize / 5;
        for broker in [&first, &second] {
            assert_eq!(newest(broker, count).await["replica"], replica.as_str(), "both show it");
        }
        assert_eq!((tokens(&first).await, tokens(&second).await), expected, "once in all");
    }
    bus.log(entry()).await;
    let (one, two) = (newest(&first, 4).await, newest(&second, 4).await);
    assert_eq!(
        (&one["id"], one.get("replica"), two.get("replica")),
        (&two["id"], None, None),
        "how they are distinguished"
    );
    assert_eq!((tokens(&first).await, tokens(&second).await), (10, 15));
}
