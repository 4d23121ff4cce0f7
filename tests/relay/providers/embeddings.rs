//! Embeddings of Bedrock's models, asked for in OpenAI's form.

use gateway_sim::vendors::{AWS_KEY_ID, Fault, Kind};
use serde_json::{Value, json};

use super::super::super::support::soon;
use super::{Vendors, error, read, router};

/// A target for a model of Bedrock's, signed for.
pub(super) fn target(vendors: &Vendors, name: &str, model: &str) -> Value {
    json!({"name": name, "provider": "bedrock", "url": vendors.of(Kind::Bedrock).url(), "region": "eu-central-1",
        "access_key_id": AWS_KEY_ID, "secret_access_key": "${KEY}", "model": model})
}

#[tokio::test]
async fn titan_and_cohere_answer_in_openais_form() {
    let vendors = Vendors::start().await;
    let models = [
        ("g1", "amazon.titan-embed-text-v1", json!("hi"), json!({"inputText": "hi"})),
        ("v2", "amazon.titan-embed-text-v2:0", json!(["hi"]), json!({"inputText": "hi", "dimensions": 256})),
        (
            "image",
            "amazon.titan-embed-image-v1",
            json!("hi"),
            json!({"inputText": "hi", "embeddingConfig": {"outputEmbeddingLength": 256}}),
        ),
        (
            "english",
            "cohere.embed-english-v3",
            json!(["hi", "ho"]),
            json!({"texts": ["hi", "ho"], "input_type": "search_document"}),
        ),
        (
            "v4",
            "eu.cohere.embed-v4:0",
            json!("hi"),
            json!({"texts": ["hi"], "input_type": "search_document", "output_dimension": 256}),
        ),
    ];
    let pool = |(name, model, ..): &(&str, &str, Value, Value)| json!({"ingress": format!("/{name}/"), "targets": [target(&vendors, name, model)]});
    let harness = vendors.harness(&json!({"pools": models.iter().map(pool).collect::<Vec<_>>()})).await;
    for (name, model, input, sent) in &models {
        // These have one length, which is another.
        let dropped = ["g1", "english"].contains(name).then_some("dimensions");
        for format in ["float", "base64"] {
            let asked = json!({"model": "e", "input": input, "dimensions": 256, "encoding_format": format});
            let answer = harness.send(&format!("/{name}/v1/embeddings"), &asked).await;
            let said = read(&answer);
            let vector = if format == "base64" { json!("AAAAPwAAgD4=") } else { json!([0.5, 0.25]) };
            let count = input.as_array().map_or(1, Vec::len);
            let data: Vec<_> =
                (0..count).map(|index| json!({"object": "embedding", "index": index, "embedding": vector})).collect();
            let expected = json!({"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": 3, "total_tokens": 3}});
            assert_eq!(said, expected, "{name}");
            assert_eq!(answer.header("x-broker-dropped"), dropped, "{name}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
            let call = vendors.last(Kind::Bedrock);
            assert_eq!(call.target, format!("/model/{}/invoke", model.replace(':', "%3A")));
            assert_eq!(&call.json(), sent, "{name}");
        }
    }
    // What each of them read is in the calls' records, whether the body says it or a header.
    let all = 2 * models.len();
    let used: Vec<Value> = soon("the records", async {
        loop {
            let page: Value = serde_json::from_slice(&harness.broker.get("/api/v1/calls").await.body).unwrap();
            let calls = page["calls"].as_array().unwrap();
            if calls.len() == all {
                break calls.iter().map(|call| call["usage"]["input_uncached"].clone()).collect();
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(used, vec![json!(3); all]);
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn what_a_model_cannot_take_is_refused_in_openais_form() {
    let vendors = Vendors::start().await;
    let harness = vendors.pool(&[target(&vendors, "titan", "amazon.titan-embed-text-v2:0")]).await;
    for (input, param) in
        [(json!(["hi", "ho"]), "input"), (json!([1, 2]), "input"), (json!([[1]]), "input"), (json!([]), "input")]
    {
        let answer = harness.send("/llm/embeddings", &json!({"model": "e", "input": input})).await;
        let said = error(&answer);
        assert_eq!(
            (answer.status, &said["param"], &said["type"]),
            (400, &json!(param), &json!("invalid_request_error"))
        );
        assert_eq!(vendors.calls(Kind::Bedrock), 0, "{input}");
    }
    // Of the length of its vectors the vendor judges.
    let answer = harness.send("/llm/embeddings", &json!({"model": "e", "input": "hi", "dimensions": 300})).await;
    let said = error(&answer);
    assert_eq!((answer.status, &said["code"]), (400, &json!("ValidationException")), "{said}");
    assert_eq!(vendors.calls(Kind::Bedrock), 1);
    harness.assert_nothing_disabled();
}

/// Titan takes one text in a call.
#[tokio::test]
async fn several_texts_go_to_a_target_that_takes_them_and_its_stamp_says_so() {
    let vendors = Vendors::start().await;
    let titan = target(&vendors, "titan", "amazon.titan-embed-text-v2:0");
    let pool =
        json!({"ingress": "/llm/", "strategy": {"mode": "fallback"}, "targets": [titan, vendors.target("ollama")]});
    let token = "the-operators-own-token";
    let harness = super::Harness::with(&json!({"pools": [pool]}), &[("BROKER_ADMIN_TOKEN", token)]).await;
    let headers = [("X-Broker-Explain", "1"), ("X-Broker-Token", token)];
    for (input, count) in [(json!(["hi", "ho"]), 2), (json!([[1, 2], [3]]), 2), (json!([1, 2]), 1)] {
        let asked = json!({"model": "e", "input": input}).to_string();
        let answer = harness.send_with("/llm/embeddings", &headers, &asked).await;
        assert_eq!(
            (answer.status, router(&answer), answer.header("x-broker-attempts")),
            (200, "/llm/ollama/", Some("1")),
            "{}",
            answer.text()
        );
        if input[0].is_string() {
            assert_eq!(read(&answer)["data"].as_array().map(Vec::len), Some(count), "{input}");
        }
        let trace: Value = serde_json::from_str(answer.header("x-broker-trace").unwrap()).unwrap();
        let why = trace[1]["why"].as_str().unwrap();
        assert!(why.ends_with("; /llm/titan/ passed over: it cannot take the request"), "{trace}");
    }
    assert_eq!(vendors.calls(Kind::Bedrock), 0);
    let answer = harness.send("/llm/embeddings", &json!({"model": "e", "input": ["hi"]})).await;
    assert_eq!((answer.status, router(&answer)), (200, "/llm/titan/"), "one text is one text");
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn another_target_answers_where_bedrock_fails() {
    let vendors = Vendors::start().await;
    let cohere = target(&vendors, "cohere", "cohere.embed-v4:0");
    for fault in [Fault::Status(503), Fault::CutWithin(0)] {
        let harness = vendors.pool(&[cohere.clone(), vendors.target("ollama")]).await;
        vendors.of(Kind::Bedrock).once(fault);
        let answer = harness.send("/llm/embeddings", &json!({"model": "e", "input": ["hi", "ho"]})).await;
        assert_eq!((read(&answer)["data"].as_array().map(Vec::len), router(&answer)), (Some(2), "/llm/ollama/"));
    }
}
