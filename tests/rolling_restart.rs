//! Replicas come and go under load: not one request goes unanswered, and none goes to a router that is out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::support::bus::connect;
use super::support::gateway::two_rows;
use futures_util::StreamExt;
use serde_json::Value;

use super::support::{
    APPLY, Bus, DECIDE, DUD, GPT4, GPT35, Gateway, LOGGER, Llms, OUTCOME, REQUEST, Setup, outcome, soon,
};

const IN_FLIGHT: usize = 64;
const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_are_rolled_and_every_request_is_answered() {
    let bus = Bus::start().await;
    let mut old = Setup::on(&bus).set("DISABLED_TIME", "0").ready().await;
    let mut new = Setup::on(&bus).set("DISABLED_TIME", "0").ready().await;
    let stop: Arc<AtomicBool> = Arc::default();
    let answered: Arc<AtomicU64> = Arc::default();
    let mut load = tokio::task::JoinSet::new();
    let client = connect(&bus.server).await;
    for number in 0..IN_FLIGHT {
        let (client, stop, answered) = (client.clone(), Arc::clone(&stop), Arc::clone(&answered));
        load.spawn(async move {
            let stamp = r#"{"broker":{"router":"/azure/gpt4/"}}"#;
            while !stop.load(Ordering::Relaxed) {
                // As one call asks: row 1, row 2, and how it ended.
                for (subject, body) in [(DECIDE, REQUEST.into()), (APPLY, stamp.into()), (OUTCOME, outcome(DUD, 200))] {
                    let answer = client.request(subject, body).await;
                    let answer = answer.unwrap_or_else(|error| panic!("worker {number}, {subject}: {error}")).payload;
                    assert_eq!(answer.is_empty(), subject == OUTCOME, "{subject}: {answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    for round in 1..=ROUNDS {
        let before = answered.load(Ordering::Relaxed);
        soon("some load", async {
            while answered.load(Ordering::Relaxed) < before + 500 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        old.signal("TERM");
        assert_eq!(old.exit().await.code(), Some(0), "round {round}: {}", old.text());
        assert_eq!(old.count(&["before every answer"]), 0, "{}", old.text());
        old = new;
        new = Setup::on(&bus).set("DISABLED_TIME", "0").ready().await;
    }
    stop.store(true, Ordering::Relaxed);
    soon("the end of the load", load.join_all()).await;
    println!("{} requests answered over {ROUNDS} rolls", answered.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_has_been_sent_is_answered_before_it_ends() {
    // One replica and no other to take over: each of these was on its way when it was asked to stop.
    for round in 0..5 {
        let bus = Bus::start().await;
        let mut broker = Setup::on(&bus).ready().await;
        let client = bus.client.clone();
        let asking: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.request(DECIDE, REQUEST.into()).await })
            })
            .collect();
        broker.signal("TERM");
        for asked in asking {
            let answer = asked.await.unwrap().unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_ne!(answer.payload, "");
        }
        assert_eq!(broker.exit().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_through_the_gateway_goes_unbalanced_while_replicas_are_rolled() {
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let setup = Setup::on(&bus).set("BROKER_ROUTERS", "/azure/gpt35turbo/");
    let (mut old, mut new) = (setup.clone().ready().await, setup.clone().ready().await);
    let gateway = Arc::new(Gateway::start(&bus, &two_rows(&bus, &llms)).await);
    let stop: Arc<AtomicBool> = Arc::default();
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (gateway, stop) = (Arc::clone(&gateway), Arc::clone(&stop));
        load.spawn(async move {
            let mut calls = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(gateway.call().await.status, 200);
                calls += 1;
            }
            calls
        });
    }
    for _ in 0..3 {
        let before = llms.calls("gpt35turbo");
        soon("some load", async {
            while llms.calls("gpt35turbo") < before + 100 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        old.signal("TERM");
        assert_eq!(old.exit().await.code(), Some(0));
        old = new;
        new = setup.clone().ready().await;
    }
    stop.store(true, Ordering::Relaxed);
    let calls: u64 = soon("the end of the load", load.join_all()).await.into_iter().sum();
    assert_eq!(llms.calls("gpt4"), 0, "what is not balanced goes to the ingress's own endpoint, which is gpt4");
    assert_eq!(llms.calls("gpt35turbo"), calls);
}

/// Eight clients, one call after the other each, none of which may fail.
fn calling(gateway: &Arc<Gateway>, stop: &Arc<AtomicBool>, made: &Arc<AtomicU64>) -> tokio::task::JoinSet<()> {
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (gateway, stop, made) = (Arc::clone(gateway), Arc::clone(stop), Arc::clone(made));
        load.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(gateway.call().await.status, 200);
                made.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    load
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_goes_to_a_dead_router_while_three_replicas_are_restarted_in_its_outage() {
    const CALLS: u64 = 1_000;
    let (bus, llms) = (Bus::start().await, Llms::start().await);
    let setup = Setup::on(&bus).set("BROKER_ROUTERS", format!("{GPT35},{GPT4}"));
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(setup.clone().ready().await);
    }
    let gateway = Arc::new(Gateway::start(&bus, &two_rows(&bus, &llms)).await);
    let mut logs = bus.subscribe(LOGGER).await;
    llms.answer("gpt35turbo", 503);
    let mut before = 1;
    while gateway.call().await.status == 200 {
        before += 1;
    }
    for replica in &replicas {
        replica.until(&["router disabled", GPT35]).await;
    }
    let dead = llms.calls("gpt35turbo");
    for _ in 0..before {
        soon("a log of before", logs.next()).await.unwrap();
    }

    let stop: Arc<AtomicBool> = Arc::default();
    let made: Arc<AtomicU64> = Arc::default();
    let load = calling(&gateway, &stop, &made);
    let until = |calls: u64| {
        let made = Arc::clone(&made);
        soon("some load", async move {
            while made.load(Ordering::Relaxed) < calls {
                tokio::task::yield_now().await;
            }
        })
    };
    let mut ids = Vec::new();
    for round in 0..3 {
        until(made.load(Ordering::Relaxed) + CALLS / 4).await;
        let mut old = replicas.remove(0);
        old.signal("TERM");
        assert_eq!(old.exit().await.code(), Some(0), "round {round}: {}", old.text());
        let new = setup.clone().ready().await;
        ids.push(new.replica().await);
        replicas.push(new);
    }
    until((made.load(Ordering::Relaxed) + CALLS / 4).max(CALLS)).await;
    stop.store(true, Ordering::Relaxed);
    soon("the end of the load", load.join_all()).await;

    assert_eq!(llms.calls("gpt35turbo"), dead, "of {} calls", made.load(Ordering::Relaxed));
    let mut decided_by_new = 0;
    for _ in 0..made.load(Ordering::Relaxed) {
        let log: Value = serde_json::from_slice(&soon("a log", logs.next()).await.unwrap().payload).unwrap();
        let stamp = &log["request"]["broker"];
        assert_eq!(stamp["router"], GPT4, "each call was balanced: {stamp}");
        decided_by_new += u64::from(ids.iter().any(|id| stamp["replica"] == id.as_str()));
    }
    assert!(decided_by_new > CALLS / 4, "{decided_by_new} by replicas that started in the outage");
    for replica in &replicas {
        // Taken over.
        replica.exactly(&["router disabled", GPT35], 1).await;
    }
}
