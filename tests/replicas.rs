//! Two replicas on one bus: each learns everything, and they share the requests.

use std::collections::{HashMap, HashSet};

use super::support::{Bus, DUD, GPT4, Log, OUTCOME, Setup, outcome};

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
