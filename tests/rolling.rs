//! Replicas come and go under load, and not one request goes unanswered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::support::bus::connect;
use super::support::gateway::two_rows;
use super::support::{APPLY, Bus, DECIDE, DUD, Gateway, Llms, OUTCOME, REQUEST, Setup, outcome, soon};

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
    // One replica and nobody to take over: each of these was on its way when it was asked to stop.
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
