//! Embeddings of Bedrock's InvokeModel: golden requests and answers, and whatever else comes.

use llm::translate::Unsupported;
use llm::translate::embeddings::{EmbeddingModel, EmbeddingsContext, answer, request};
use proptest::prelude::*;
use serde_json::Value;

use super::Golden;

fn family(golden: &Golden) -> EmbeddingModel {
    EmbeddingModel::from_name(golden.section("model")).unwrap()
}

#[test]
fn requests() {
    for golden in Golden::all("embeddings/requests") {
        let unsupported = match golden.get("unsupported") {
            None => Unsupported::Drop,
            Some("refuse") => Unsupported::Refuse,
            Some("pass") => Unsupported::Pass,
            Some(other) => panic!("{other}"),
        };
        let made = match request(golden.section("request").as_bytes(), family(&golden), unsupported) {
            Ok(translated) => {
                let body = String::from_utf8(translated.body).unwrap();
                serde_json::from_str::<Value>(&body).unwrap();
                let dropped: Vec<_> = translated.dropped.iter().map(ToString::to_string).collect();
                let mut made = vec![("body", body)];
                made.extend((!dropped.is_empty()).then(|| ("dropped", dropped.join("\n"))));
                made
            }
            Err(error) => vec![("error", error.to_string())],
        };
        golden.expect(&["model", "unsupported", "request"], &made);
    }
}

#[test]
fn answers() {
    for golden in Golden::all("embeddings/answers") {
        let asked = request(golden.section("request").as_bytes(), family(&golden), Unsupported::Drop).unwrap().answer;
        let counted = golden.get("counted").map(|counted| counted.parse().unwrap());
        let made = match answer(golden.section("answer").as_bytes(), &asked, counted) {
            Ok(made) => {
                serde_json::from_slice::<Value>(&made).unwrap();
                ("embeddings", String::from_utf8(made).unwrap())
            }
            Err(broken) => ("broken", broken.to_string()),
        };
        golden.expect(&["model", "request", "counted", "answer"], &[made]);
    }
}

const FAMILIES: [EmbeddingModel; 5] = [
    EmbeddingModel::TitanG1,
    EmbeddingModel::TitanV2,
    EmbeddingModel::TitanMultimodal,
    EmbeddingModel::CohereV3,
    EmbeddingModel::CohereV4,
];

proptest! {
    /// Texts arrive as they were written, in their order; what is made is JSON.
    #[test]
    fn texts_arrive(texts in prop::collection::vec(any::<String>(), 1..5), extra: String, family in prop::sample::select(&FAMILIES[..])) {
        let mut body = serde_json::json!({"model": "m", "input": texts});
        body[&extra] = body.get(&extra).cloned().unwrap_or_else(|| Value::from(true));
        let made = request(body.to_string().as_bytes(), family, Unsupported::Pass);
        let is_cohere = matches!(family, EmbeddingModel::CohereV3 | EmbeddingModel::CohereV4);
        if !is_cohere && texts.len() > 1 {
            prop_assert!(made.is_err());
            return Ok(());
        }
        let sent: Value = serde_json::from_slice(&made.unwrap().body).unwrap();
        if is_cohere {
            prop_assert_eq!(&sent["texts"], &Value::from(texts));
        } else {
            prop_assert_eq!(&sent["inputText"], &Value::from(texts[0].as_str()));
        }
    }

    /// The base64 of an answer holds the same numbers as the list, as the SDKs read them.
    #[test]
    fn base64_holds_the_same_numbers(vectors in prop::collection::vec(prop::collection::vec(-1e9_f32..1e9, 1..9), 1..4)) {
        use base64::Engine as _;
        let body = serde_json::json!({"embeddings": vectors}).to_string();
        let context = EmbeddingsContext { model: "m".to_owned(), family: EmbeddingModel::CohereV3, inputs: vectors.len(), is_base64: true };
        let made: Value = serde_json::from_slice(&answer(body.as_bytes(), &context, None).unwrap()).unwrap();
        for (index, vector) in vectors.iter().enumerate() {
            let one = &made["data"][index];
            prop_assert_eq!(&one["index"], &Value::from(index));
            let bytes = base64::engine::general_purpose::STANDARD.decode(one["embedding"].as_str().unwrap()).unwrap();
            let floats: Vec<_> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
            prop_assert_eq!(&floats, vector);
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, json in "[\\[\\]{}\",:a-f0-9.e-]{0,40}", family in prop::sample::select(&FAMILIES[..])) {
        let context = EmbeddingsContext { model: String::new(), family, inputs: 1, is_base64: false };
        let wrapped = format!("{{\"input\":{json},\"embedding\":{json},\"embeddings\":{json}}}");
        for body in [&bytes, json.as_bytes(), wrapped.as_bytes()] {
            if let Ok(made) = request(body, family, Unsupported::Pass) {
                prop_assert!(made.answer.inputs > 0);
            }
            let _ = answer(body, &context, None);
        }
    }
}
