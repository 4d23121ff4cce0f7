//! What must hold for any bytes that arrive, one function for each kind of message. The fuzzer calls them with what it
//! invents, the ordinary tests with the corpus that it left.
#![allow(dead_code, reason = "each fuzz target uses one of them")]

use std::time::Duration;

use balancer::broker::{Broker, BrokerInput, BrokerSettings, Decision, RouterSettings, invariants};
use gecholog_broker::stamping;
use gecholog_protocol::stamp::MAX_STAMP_BYTES;
use gecholog_protocol::{Message, ReplicaIdentity, log_entry, reply};
use llm::translate::converse::{self, ConverseStream};
use llm::translate::embeddings::{self, EmbeddingModel, EmbeddingsContext};
use llm::translate::{AnswerId, ChatContext, MAX_DROPPED, StreamTranslator, Unsupported};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use types::mode::OperatingMode;
use types::outcome::CallObservation;
use types::router::RouterPath;
use types::time::BrokerTime;

fn broker() -> Broker {
    let path = |text: &str| RouterPath::parse(text).expect("a good path");
    let routers = vec![path("/azure/gpt4/"), path("/azure/dud/")];
    Broker::new(BrokerSettings::flat(path("/azure/"), routers, RouterSettings::default()))
}

/// Whatever a report says, learning from it keeps the invariants, and time brings every router back: the longest hint that
/// is believed is an hour.
fn learn(report: &CallObservation<'_>) {
    let mut broker = broker();
    let now = BrokerTime::from_nanos(1_800_000_000_000_000_000);
    broker.apply(BrokerInput::Observed(report), now);
    broker.apply(BrokerInput::Observed(report), now);
    assert_eq!(invariants::broken(&broker), None);
    broker.apply(BrokerInput::Tick, now.after(Duration::from_secs(10_000)));
    assert_eq!(broker.next_deadline(), None);
}

/// Requests and outcome messages: an answer is nothing, or one object that names a router of the pool.
pub fn processor(data: &[u8]) {
    let Ok(message) = Message::read(data) else { return };
    learn(&CallObservation::Message(&message.response));
    learn(&CallObservation::OneRow(&message.response));
    let Ok(request) = message.request() else { return };
    let mut broker = broker();
    let signature = ReplicaIdentity::new("fuzz", broker.settings().fingerprint(), OperatingMode::Balance);
    let decision = broker.select(&request, BrokerTime::from_nanos(1), &mut SmallRng::seed_from_u64(1));
    let Decision::Route(route) = decision else { return };
    let pool = broker.description(route.pool).expect("the pool is the broker's");
    let (answer, _) = stamping::answer(&signature, pool, &route).complete(request.body());
    if !answer.is_empty() {
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("an answer is JSON");
        assert!(matches!(answer["gl_path"].as_str(), Some("/azure/gpt4/" | "/azure/dud/")));
        assert!(answer["broker"].to_string().len() <= MAX_STAMP_BYTES);
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
    if let Ok(entry) = log_entry::read(data) {
        learn(&CallObservation::Log { entry: &entry, decision: None });
    } else {
        let is_object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(data).is_ok();
        assert!(!is_object, "a proper object was refused");
    }
}

/// Frames of AWS's event streams, and Converse's chunks made of them: the output does not depend on how the bytes were cut.
pub fn event_stream(data: &[u8]) {
    let translate = |size: usize| {
        let mut stream = ConverseStream::new(ChatContext::default(), &AnswerId::default());
        let mut out = Vec::new();
        let pushed = data.chunks(size).try_for_each(|piece| stream.push(piece, &mut out));
        let finished = pushed.and_then(|()| stream.finish(&mut out));
        (out, finished)
    };
    let whole = translate(data.len().max(1));
    assert_eq!(whole, translate(1));
    assert_eq!(whole, translate(5));
}

/// Requests to be translated for Converse, and its answers: what is made of JSON is JSON.
pub fn converse(data: &[u8]) {
    let is_json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    let given = is_json(data);
    for mode in [Unsupported::Drop, Unsupported::Refuse, Unsupported::Pass] {
        if let Ok(translated) = converse::request(data, mode) {
            assert!(!given || is_json(&translated.body), "{}", String::from_utf8_lossy(&translated.body));
        }
    }
    if let Ok(answer) = converse::answer(data, &ChatContext::default(), &AnswerId::default()) {
        assert!(!given || is_json(&answer), "{}", String::from_utf8_lossy(&answer));
    }
    assert!(is_json(&converse::error(500, None, data)));
}

/// Requests for Bedrock's embeddings, and their answers: what is made of JSON is JSON, and an answer has as many vectors as there
/// were texts.
pub fn embeddings(data: &[u8]) {
    use EmbeddingModel::{CohereV3, CohereV4, TitanG1, TitanMultimodal, TitanV2};
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    let given = json(data).is_some();
    for family in [TitanG1, TitanV2, TitanMultimodal, CohereV3, CohereV4] {
        for mode in [Unsupported::Drop, Unsupported::Refuse, Unsupported::Pass] {
            if let Ok(translated) = embeddings::request(data, family, mode) {
                assert!(!given || json(&translated.body).is_some(), "{}", String::from_utf8_lossy(&translated.body));
                assert!(translated.answer.inputs > 0 && translated.dropped.iter().count() <= MAX_DROPPED);
            }
        }
        for (inputs, is_base64) in [(1, false), (2, true)] {
            let context = EmbeddingsContext { model: "m".to_owned(), family, inputs, is_base64 };
            let Ok(answer) = embeddings::answer(data, &context, Some(7)) else { continue };
            let answer = json(&answer).filter(|_| given);
            let vectors = answer.map(|answer| answer["data"].as_array().map(Vec::len));
            assert!(!given || vectors == Some(Some(inputs)), "{vectors:?}");
        }
    }
}
