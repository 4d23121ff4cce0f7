//! 50,000 log entries of 100 KB, as fast as the bus takes them, while decisions keep being answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::bus::connect;
use super::support::{Bus, DUD, GPT4, LOGGER, Log, Setup, TEST_TIMEOUT};

const ENTRIES: usize = 50_000;
const SIZE: usize = 100_000;
/// In kB. One read of the connection brings up to 128 entries (the budget that tokio gives a task) and what the system holds for
/// it; 8,192 entries, as many as may wait, would be 800 MB.
const MEMORY: u64 = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_logs_delays_no_decision_and_fills_no_memory() {
    let bus = Bus::start().await;
    let mut broker = Setup::on(&bus).ready().await;
    let entry = Log::of(GPT4, 200).with("/request/ingress_payload", json!("x ".repeat(SIZE / 2))).bytes();
    let flooded: Arc<AtomicBool> = Arc::default();
    let publisher = connect(&bus.server).await;
    let publishing = tokio::spawn({
        let flooded = Arc::clone(&flooded);
        async move {
            for number in 0..ENTRIES {
                publisher.publish(LOGGER, entry.clone()).await.unwrap();
                if number % 16 == 15 {
                    publisher.flush().await.unwrap();
                }
            }
            publisher.flush().await.unwrap();
            flooded.store(true, Ordering::Relaxed);
        }
    });
    let mut times = Vec::new();
    let mut most = 0;
    let begin = Instant::now();
    while !flooded.load(Ordering::Relaxed) {
        let asked = Instant::now();
        assert!(bus.decide().await["gl_path"].is_string());
        times.push(asked.elapsed());
        if times.len() % 100 == 0 {
            most = most.max(broker.resident().unwrap_or(0));
        }
        assert!(begin.elapsed() < 6 * TEST_TIMEOUT, "the bus does not take the flood");
    }
    publishing.await.unwrap();
    let took = begin.elapsed();
    most = most.max(broker.resident().unwrap_or(0));
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    println!(
        "{} decisions in {took:?} of flood: p99 {p99:?}, at most {:?}; {most} kB",
        times.len(),
        times[times.len() - 1]
    );
    assert!(times.len() > 500, "decisions keep being answered");
    // A decision that waited behind the flood would take as long as the flood, whatever the machine; `make bench` has figures.
    assert!(p99 < took / 10, "p99 {p99:?} of {took:?}");
    assert!(most < MEMORY, "{most} kB");
    // What was lost in the flood is lost; what comes after it is learnt.
    while broker.count(&["router disabled", DUD]) == 0 {
        bus.log(Log::of(DUD, 500)).await;
        assert!(bus.decide().await["gl_path"].is_string());
        assert!(begin.elapsed() < 8 * TEST_TIMEOUT, "nothing is learnt after the flood");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(broker.is_running());
}
