//! What is counted of calls and attempts.

use super::super::support::http::Open;
use super::super::support::metrics::Scrape;
use super::super::support::scripted::{Move, Scripted, answer};
use super::super::support::soon;
use super::{CHAT, HI, Harness, good, pools, target};

const CALLS: &str = "gecholog_broker_relay_calls_total";
const ATTEMPTS: &str = "gecholog_broker_relay_attempts_total";
const GIVEN_UP: &str = "gecholog_broker_relay_calls_given_up_total";
const IN_FLIGHT: &str = "gecholog_broker_relay_calls_in_flight";

#[tokio::test]
async fn calls_and_attempts_are_counted_by_how_they_ended() {
    let (a, c) = (Scripted::start(answer(503, &[], "{}")).await, Scripted::start(vec![]).await);
    c.once(good());
    // Nobody listens on port 9, and no other test is ever given it.
    let targets = [target("a", &a.url()), target("b", "http://127.0.0.1:9/v1/"), target("c", &c.url())];
    let harness = Harness::of(&pools(&targets)).await;
    let scrape = Scrape::of(&harness.broker).await;
    scrape.has(&[
        (CALLS, &["answered"], 0.0),
        (ATTEMPTS, &["answered_5xx"], 0.0),
        (GIVEN_UP, &["no_target_left"], 0.0),
        (IN_FLIGHT, &[], 0.0),
        // The old name, for one release more.
        ("gecholog_broker_relay_calls_under_way", &[], 0.0),
        ("gecholog_broker_relay_calls_limit", &[], 2_048.0),
        // The old name, for one release more.
        ("gecholog_broker_relay_calls_room", &[], 2_048.0),
        ("gecholog_broker_relay_log_entries_dropped_total", &[], 0.0),
    ]);
    assert_eq!(harness.call().await.status, 200);
    assert_eq!(harness.send("/other/", &[], HI).await.status, 404);
    // The first two are out now, and the third closes the connection.
    assert_eq!(harness.call().await.status, 503);
    Scrape::of(&harness.broker).await.has(&[
        (CALLS, &["\"answered\""], 1.0),
        (CALLS, &["no_such_pool"], 1.0),
        (CALLS, &["all_targets_unavailable"], 1.0),
        (CALLS, &["client_gone"], 0.0),
        (ATTEMPTS, &["answered_5xx"], 1.0),
        (ATTEMPTS, &["answered_2xx"], 1.0),
        (ATTEMPTS, &["\"not_connected\""], 1.0),
        (ATTEMPTS, &["\"no_answer\""], 1.0),
        (GIVEN_UP, &["no_target_left"], 1.0),
        (IN_FLIGHT, &[], 0.0),
    ]);
}

#[tokio::test]
async fn a_call_is_in_flight_until_it_ends_and_beyond_the_last_place_is_counted() {
    let a = Scripted::start(vec![Move::Hold]).await;
    let harness = Harness::with(&pools(&[target("a", &a.url())]), |setup| setup.set("BROKER_RELAY_CALLS", "1")).await;
    let first = Open::post(harness.relay, CHAT, HI).await;
    a.called(1).await;
    assert_eq!(harness.call().await.status, 503);
    Scrape::of(&harness.broker).await.has(&[(IN_FLIGHT, &[], 1.0), (CALLS, &["broker_busy"], 1.0)]);
    drop(first);
    // Its place is free before it is counted.
    soon("the end of the call", async {
        while Scrape::of(&harness.broker).await.series(CALLS, &["client_gone"]) != Some(1.0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    Scrape::of(&harness.broker).await.has(&[(IN_FLIGHT, &[], 0.0), (ATTEMPTS, &["client_gone"], 1.0)]);
}

#[tokio::test]
async fn a_gateway_that_is_away_is_no_routers_fault() {
    let away = "http://127.0.0.1:9";
    let file = pools(&[r#"{"router": "/llm/a/"}"#.to_owned()]);
    let harness = Harness::with(&file, |setup| setup.set("BROKER_GATEWAY", away)).await;
    assert_eq!(harness.call().await.status, 503);
    let scrape = Scrape::of(&harness.broker).await;
    assert!(scrape.series(ATTEMPTS, &["gateway_unreachable"]).unwrap() > 0.0, "{}", scrape.0);
    scrape.has(&[
        (ATTEMPTS, &["not_connected"], 0.0),
        ("gecholog_broker_outcomes_total", &["/llm/a/", "class=\"failure\""], 0.0),
    ]);
}
