//! What must hold for any bytes that arrive, one function for each kind of message. The fuzzer calls them with what it
//! invents, the ordinary tests with the corpus that it left.
#![allow(dead_code, reason = "each fuzz target uses one of them")]

use std::time::Duration;

use gecholog_broker::broker::{Broker, Event, RouterSettings, Settings, invariants};
use gecholog_broker::outcome::Report;
use gecholog_broker::router::RouterPath;
use gecholog_broker::time::Now;
use gecholog_broker::wire::stamp::{MAX, Mode};
use gecholog_broker::wire::{Message, Signature, log_entry, reply};
use rand::SeedableRng;
use rand::rngs::SmallRng;

fn broker() -> Broker {
    let path = |text: &str| RouterPath::parse(text).expect("a good path");
    let routers = vec![path("/azure/gpt4/"), path("/azure/dud/")];
    Broker::new(Settings::flat(path("/azure/"), routers, RouterSettings::default()))
}

/// Whatever a report says, learning from it keeps the invariants, and time brings every router back: the longest hint that
/// is believed is an hour.
fn learn(report: &Report<'_>) {
    let mut broker = broker();
    let now = Now::from_nanos(1_800_000_000_000_000_000);
    broker.apply(Event::Report(report), now);
    broker.apply(Event::Report(report), now);
    assert_eq!(invariants::broken(&broker), None);
    broker.apply(Event::Tick, now.after(Duration::from_secs(10_000)));
    assert_eq!(broker.next_deadline(), None);
}

/// Requests and outcome messages: an answer is nothing, or one object that names a router of the pool.
pub fn processor(data: &[u8]) {
    let Ok(message) = Message::read(data) else { return };
    learn(&message.report);
    let Ok(request) = message.request() else { return };
    let mut broker = broker();
    let signature = Signature::new("fuzz", broker.settings(), Mode::Balance);
    let (decision, _) = broker.decide(&request, Now::from_nanos(1), &mut SmallRng::seed_from_u64(1));
    let (answer, _) = reply::route(&signature, &broker, &decision).complete(request.body());
    if !answer.is_empty() {
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("an answer is JSON");
        assert!(matches!(answer["gl_path"].as_str(), Some("/azure/gpt4/" | "/azure/dud/")));
        assert!(answer["broker"].to_string().len() <= MAX);
    }
}

/// Row 2: an answer is nothing, or a path that the gateway could have.
pub fn row_2(data: &[u8]) {
    let Ok(message) = Message::read(data) else { return };
    let answer = reply::apply(&message).0;
    if !answer.is_empty() {
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("an answer is JSON");
        let path = answer["gl_path"].as_str().expect("a path");
        assert!(RouterPath::parse(path).is_ok(), "{path:?}");
    }
}

/// Log entries: what can be read teaches without harm, and what a parser refuses outright is not half believed.
pub fn log_entry(data: &[u8]) {
    if let Ok(report) = log_entry::read(data) {
        learn(&report);
    } else {
        let is_object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(data).is_ok();
        assert!(!is_object, "a proper object was refused");
    }
}
