//! Row 1: every message with a reply subject gets exactly one reply, whatever it is.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;

use super::support::{Bus, DECIDE, DUD, GPT4, GPT35, Log, REQUEST, Setup, chosen, soon};

/// Deeper than a recursive reader can go.
const DEEP: usize = 200_000;

#[tokio::test]
async fn a_request_to_the_ingress_gets_a_router_and_a_stamp_of_at_most_300_bytes() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    let answer = bus.ask(DECIDE, REQUEST).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let router = answer["gl_path"].as_str().unwrap();
    assert!([GPT35, GPT4, DUD].contains(&router), "{router}");
    let stamp = &answer["broker"];
    assert_eq!(answer.as_object().unwrap().len(), 2, "nothing else: {answer}");
    assert!(stamp.to_string().len() <= 300);
    assert_eq!(stamp["router"], router);
    assert_eq!(stamp["pool"], "/azure/");
    assert_eq!(stamp["replica"], broker.replica().await.as_str());
    assert!((stamp["p"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-5, "{stamp}");
    for text in ["id", "why", "config"] {
        assert!(stamp[text].as_str().is_some_and(|text| !text.is_empty()), "{text} in {stamp}");
    }
    let names: HashSet<_> = stamp.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, HashSet::from(["id", "replica", "pool", "router", "p", "why", "config"]));
}

#[tokio::test]
async fn any_other_path_gets_zero_bytes() {
    let bus = Bus::start().await;
    let _broker = Setup::on(&bus).ready().await;
    for path in [GPT4, DUD, "/azure", "azure/", "/azure/foo/", "/AZURE/", "/echo/", "/", "", "/azure/\\u0000"] {
        let request = format!(r#"{{"gl_path":"{path}"}}"#);
        assert_eq!(bus.ask(DECIDE, request).await, "", "{path}");
    }
    let more = r#" {"x":{"gl_path":"/azure/gpt4/"}, "gl_path" : "/azure/gpt4/","gl_path":"/azure/", "y":[1]} "#;
    assert_ne!(bus.ask(DECIDE, more).await, "", "the last of two counts, and fields elsewhere do not");
}

#[tokio::test]
async fn what_cannot_be_read_gets_zero_bytes_once_and_is_said_at_most_once_a_second_per_kind() {
    let bus = Bus::start().await;
    let mut broker = Setup::on(&bus).ready().await;
    let garbage: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let unreadable: Vec<(&str, Bytes)> = vec![
        ("nothing", Bytes::new()),
        ("text", "not JSON".into()),
        ("half", r#"{"gl_path":"/azure/"#.into()),
        ("two", r#"{"gl_path":"/azure/"} {}"#.into()),
        ("a megabyte of garbage", garbage.into()),
        ("a megabyte of brackets", vec![b'['; 1_000_000].into()),
        ("a deep array", format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP)).into()),
        ("a deep object", format!("{}1{}", r#"{"a":"#.repeat(DEEP / 2), "}".repeat(DEEP / 2)).into()),
        ("an array", "[1,2]".into()),
        ("a string", "\"/azure/\"".into()),
        ("null", "null".into()),
        ("no gl_path", "{}".into()),
        ("a number", r#"{"gl_path":5}"#.into()),
        ("a null", r#"{"gl_path":null}"#.into()),
        ("an object", r#"{"gl_path":{"gl_path":"/azure/"}}"#.into()),
        ("bytes that are no UTF-8", Bytes::from_static(b"{\"gl_path\":\"/azure/\xff\xfe\"}")),
    ];
    let inbox = bus.client.new_inbox();
    let mut answers = bus.client.subscribe(format!("{inbox}.*")).await.unwrap();
    for round in 0..20 {
        for (kind, (_, body)) in unreadable.iter().enumerate().filter(|(_, (_, body))| round == 0 || body.len() < 100) {
            let reply = format!("{inbox}.{round}-{kind}");
            bus.client.publish_with_reply(DECIDE, reply, body.clone()).await.unwrap();
        }
    }
    let last = format!("{inbox}.last");
    bus.client.publish_with_reply(DECIDE, last.clone(), REQUEST.into()).await.unwrap();
    let mut seen = HashSet::new();
    loop {
        let answer = soon("an answer", answers.next()).await.unwrap();
        let (_, place) = answer.subject.rsplit_once('.').unwrap();
        if answer.subject.as_str() == last {
            assert_ne!(answer.payload, "", "it lives and answers");
            break;
        }
        let kind: usize = place.rsplit_once('-').unwrap().1.parse().unwrap();
        assert_eq!(answer.payload, "", "{}", unreadable[kind].0);
        assert!(seen.insert(place.to_owned()), "two replies to {}", unreadable[kind].0);
    }
    let small = unreadable.iter().filter(|(_, body)| body.len() < 100).count();
    assert_eq!(seen.len(), unreadable.len() + 19 * small, "one reply each");
    for kind in ["not JSON", "not a JSON object", "without a gl_path"] {
        broker.until(&["a message is", kind]).await;
        let lines = broker.lines(&["a message is", kind]);
        let moments: Vec<Duration> = lines.iter().map(|line| super::support::broker::moment(line)).collect();
        let gaps = moments.windows(2).map(|two| two[1] - two[0]);
        assert!(gaps.into_iter().all(|gap| gap >= Duration::from_millis(990)), "{kind}: {lines:?}");
    }
    assert!(broker.is_running());
}

#[tokio::test]
async fn a_message_without_a_reply_subject_does_no_harm() {
    let bus = Bus::start().await;
    let mut broker = Setup::on(&bus).ready().await;
    for subject in [DECIDE, super::support::APPLY, super::support::OUTCOME] {
        for body in [REQUEST, "{}", "", "not JSON", r#"{"broker":{"router":"/azure/gpt4/"}}"#] {
            bus.tell(subject, body).await;
        }
    }
    assert!(bus.decide().await["gl_path"].is_string());
    assert!(broker.is_running());
}

#[tokio::test]
async fn a_thousand_requests_at_once_get_exactly_one_reply_each() {
    let bus = Bus::start().await;
    let _broker = Setup::on(&bus).ready().await;
    let inbox = bus.client.new_inbox();
    let mut answers = bus.client.subscribe(format!("{inbox}.*")).await.unwrap();
    for number in 0..=1_000 {
        // The last one ends the count: one connection keeps its order.
        let body = if number == 1_000 { r#"{"gl_path":"/other/"}"# } else { REQUEST };
        bus.client.publish_with_reply(DECIDE, format!("{inbox}.{number}"), body.into()).await.unwrap();
    }
    let mut replies: HashMap<String, u32> = HashMap::new();
    let mut ids = HashSet::new();
    loop {
        let answer = soon("an answer", answers.next()).await.unwrap();
        if answer.payload.is_empty() {
            break;
        }
        *replies.entry(answer.subject.to_string()).or_default() += 1;
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(ids.insert(answer["broker"]["id"].as_str().unwrap().to_owned()), "an id twice: {answer}");
    }
    assert_eq!(replies.len(), 1_000);
    assert!(replies.values().all(|&count| count == 1));
}

#[tokio::test]
async fn the_probability_in_the_stamps_is_the_spread_that_one_sees() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).ready().await;
    // Chi-square that good dice exceed once in a million runs, for 2 and for 1 degrees of freedom.
    let three = spread(&bus, 6_000).await;
    assert_eq!(three.len(), 3);
    assert!(chi_square(&three, 6_000.0) < 27.6, "{three:?}");
    bus.log(Log::of(DUD, 500)).await;
    broker.until(&["router disabled", DUD]).await;
    let two = spread(&bus, 4_000).await;
    assert_eq!(two.len(), 2);
    assert!(chi_square(&two, 4_000.0) < 23.9, "{two:?}");
}

/// Per router: how often it was chosen, and the sum of the probabilities with which each of them says it might have been.
async fn spread(bus: &Bus, decisions: usize) -> HashMap<String, (f64, f64)> {
    let mut spread: HashMap<String, (f64, f64)> = HashMap::new();
    for _ in 0..decisions {
        let stamp = bus.decide().await["broker"].take();
        let entry = spread.entry(stamp["router"].as_str().unwrap().to_owned()).or_default();
        entry.0 += 1.0;
        entry.1 = stamp["p"].as_f64().unwrap();
    }
    spread
}

fn chi_square(spread: &HashMap<String, (f64, f64)>, decisions: f64) -> f64 {
    let total: f64 = spread.values().map(|(_, p)| p).sum();
    assert!((total - 1.0).abs() < 1e-4, "the probabilities make {total}");
    spread.values().map(|(seen, p)| (seen - p * decisions).powi(2) / (p * decisions)).sum()
}

#[tokio::test]
async fn the_longest_paths_fit_into_the_stamp_and_the_router_is_whole() {
    let bus = Bus::start().await;
    let ingress = format!("/{}/", "i".repeat(78));
    let router = format!("/{}/", "r".repeat(78));
    let setup = Setup::on(&bus).set("BROKER_INGRESS", &ingress).set("BROKER_ROUTERS", &router);
    let _broker = setup.ready().await;
    let answer = bus.ask(DECIDE, format!(r#"{{"gl_path":"{ingress}"}}"#)).await;
    let text = String::from_utf8(answer.to_vec()).unwrap();
    let (_, stamp) = text.split_once(r#""broker":"#).unwrap();
    assert!(stamp.len() - 1 <= 300, "{} bytes: {stamp}", stamp.len() - 1);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["gl_path"], router.as_str());
    assert_eq!(answer["broker"]["router"], router.as_str());
    assert_eq!(answer["broker"]["p"].as_f64(), Some(1.0));
}

#[tokio::test]
async fn subjects_queue_and_pool_are_those_of_the_settings() {
    let bus = Bus::start().await;
    let setup = Setup::on(&bus)
        .set("BROKER_SUBJECT", "our.own.brain")
        .set("BROKER_LOGGER_SUBJECT", "our.own.log")
        .set("BROKER_QUEUE", "brains")
        .set("BROKER_INGRESS", "/chat/")
        .set("BROKER_ROUTERS", "/chat/a/, /chat/b/,/chat/c/");
    let (first, second) = (setup.clone().ready().await, setup.ready().await);
    let ask = async |bus: &Bus| -> Value {
        serde_json::from_slice(&bus.ask("our.own.brain", r#"{"gl_path":"/chat/"}"#).await).unwrap()
    };
    let answer = ask(&bus).await;
    assert_eq!(answer["broker"]["pool"], "/chat/");
    let apply = bus.ask("our.own.brain.apply", r#"{"broker":{"router":"/chat/a/"}}"#).await;
    assert_eq!(apply, r#"{"gl_path":"/chat/a/"}"#);
    bus.tell("our.own.log", Log::of("/chat/a/", 500)).await;
    assert_eq!(bus.ask("our.own.brain.outcome", super::support::outcome("/chat/b/", 500)).await, "");
    for broker in [&first, &second] {
        broker.until(&["router disabled", "/chat/a/"]).await;
        broker.until(&["router disabled", "/chat/b/"]).await;
    }
    for _ in 0..20 {
        assert_eq!(ask(&bus).await["gl_path"], "/chat/c/");
    }
}

#[tokio::test]
async fn while_all_are_disabled_requests_get_zero_bytes_and_both_ends_are_said_once() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("DISABLED_TIME", "0.02").ready().await;
    for router in [GPT35, GPT4, DUD] {
        bus.ask(super::support::OUTCOME, super::support::outcome(router, 500)).await;
    }
    assert_eq!(bus.ask(DECIDE, REQUEST).await, "");
    let line = broker.until(&["all routers disabled"]).await;
    assert!(line.contains("/azure/") && line.contains("own endpoint"), "names the last resort: {line}");
    broker.until_nth(&["router on probation"], 3).await;
    assert!(chosen(&bus, 50).await.iter().all(|router| !router.is_empty()));
    broker.until(&["available again", "/azure/"]).await;
    broker.exactly(&["all routers disabled"], 1).await;
    broker.exactly(&["available again"], 1).await;
    broker.exactly(&["router disabled"], 3).await;
}
