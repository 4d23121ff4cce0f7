//! Embeddings of Bedrock's InvokeModel: the models of Amazon Titan and Cohere. Source: docs.aws.amazon.com/bedrock/latest/userguide,
//! `model-parameters-titan-embed-text`, `model-parameters-embed-v3` and `model-parameters-embed-v4`.

use serde_json::{Value, json};

use super::{Answer, Refusal, list, refuse, unknown};

/// What it says that it read.
const INPUT_TOKENS: u32 = 3;

/// Whether a model, as it stands in the address, makes embeddings.
pub(super) fn is_for(model: &str) -> bool {
    model.contains("titan-embed-") || model.contains("cohere.embed-")
}

pub(super) fn answer(model: &str, body: &Value) -> Result<Answer, Refusal> {
    if model.contains("cohere.") { cohere(model, body) } else { titan(model, body) }
}

fn only(body: &Value, fields: &[&str]) -> Result<(), Refusal> {
    unknown(body, fields).map_or(Ok(()), |name| {
        refuse(400, format!("Malformed input request: #: extraneous key [{name}] is not permitted, please reformat your input and try again."))
    })
}

/// The length is one of these, or not there.
fn length(value: &Value, lengths: &[u64]) -> Result<(), Refusal> {
    let is_good = value.is_null() || value.as_u64().is_some_and(|length| lengths.contains(&length));
    if is_good { Ok(()) } else { refuse(400, format!("{value} is not one of {lengths:?}")) }
}

fn titan(model: &str, body: &Value) -> Result<Answer, Refusal> {
    if model.contains("text-v1") || model.contains("-g1-") {
        only(body, &["inputText"])?;
    } else if model.contains("image-") {
        only(body, &["inputText", "inputImage", "embeddingConfig"])?;
        length(&body["embeddingConfig"]["outputEmbeddingLength"], &[256, 384, 1024])?;
    } else {
        only(body, &["inputText", "dimensions", "normalize", "embeddingTypes"])?;
        length(&body["dimensions"], &[256, 512, 1024])?;
    }
    match body["inputText"].as_str() {
        Some(text) if !text.is_empty() => {}
        _ => {
            return refuse(
                400,
                "Malformed input request: expected minLength: 1, actual: 0, please reformat your input and try again.",
            );
        }
    }
    Ok(Answer::json(200, &json!({"embedding": [0.5, 0.25], "inputTextTokenCount": INPUT_TOKENS})))
}

fn cohere(model: &str, body: &Value) -> Result<Answer, Refusal> {
    let own = ["input_type", "texts", "images", "truncate", "embedding_types"];
    if model.contains("-v3") {
        only(body, &own)?;
    } else {
        only(body, &[&own[..], &["inputs", "output_dimension", "max_tokens"]].concat())?;
        length(&body["output_dimension"], &[256, 512, 1024, 1536])?;
    }
    let kinds = ["search_document", "search_query", "classification", "clustering"];
    if !body["input_type"].as_str().is_some_and(|kind| kinds.contains(&kind)) {
        return refuse(
            400,
            "Malformed input request: required key [input_type] not found, please reformat your input and try again.",
        );
    }
    let texts = list(body, "texts");
    if !(1..=96).contains(&texts.len()) || !texts.iter().all(Value::is_string) {
        return refuse(
            400,
            "Malformed input request: expected 1 to 96 texts, please reformat your input and try again.",
        );
    }
    let vectors: Vec<_> = texts.iter().map(|_| json!([0.5, 0.25])).collect();
    let answer = json!({"id": "fake", "response_type": "embeddings_floats", "embeddings": vectors, "texts": texts});
    Ok(Answer::json(200, &answer).with("x-amzn-bedrock-input-token-count", INPUT_TOKENS.to_string()))
}
