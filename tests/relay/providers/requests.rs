//! What each provider is sent: keys, addresses, signatures, and of `/v1/messages` every byte.

use gateway_sim::vendors::{Fault, Kind};
use serde_json::{Value, json};

use super::super::super::support::PoolsFile;
use super::{Harness, KEY, Vendors, chunks, read, router, unchunked};

#[tokio::test]
async fn each_key_goes_where_its_provider_looks_and_the_clients_goes_nowhere() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    let bearer = format!("Bearer {KEY}");
    for (name, kind, _) in &vendors.targets {
        read(&harness.chat(&format!("/{name}/"), &json!({})).await);
        let call = vendors.last(*kind);
        let credentials = ["authorization", "api-key", "x-api-key"].map(|header| call.header(header));
        match *name {
            "openai" | "gemini" | "bedrockopenai" => {
                assert_eq!(credentials, [Some(bearer.as_str()), None, None], "{name}")
            }
            "azure" | "azuredeployment" => assert_eq!(credentials, [None, Some(KEY), None], "{name}"),
            "anthropic" => assert_eq!(credentials, [None, None, Some(KEY)], "{name}"),
            "vertexgemini" | "vertexclaude" => {
                let [token, ..] = credentials;
                assert!(token.unwrap().starts_with("Bearer ya29."), "{name}");
                assert_eq!(credentials[1..], [None; 2], "{name}");
            }
            "ollama" => assert_eq!(credentials, [None; 3], "{name}"),
            _ => {
                let signature = credentials[0].unwrap();
                assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDFAKE/"), "{name}: {signature}");
                assert!(signature.contains("/eu-central-1/bedrock/aws4_request"), "{name}: {signature}");
            }
        }
    }
    // The pools of Vertex are two targets, each with a token of its own.
    assert_eq!(vendors.of(Kind::Vertex).tokens(), 2);
}

#[tokio::test]
async fn each_address_and_model_is_as_its_provider_has_it() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    for (name, target, model) in [
        ("openai", "/v1/chat/completions", Some("gpt-4o")),
        ("azure", "/openai/v1/chat/completions", Some("gpt4")),
        ("azuredeployment", "/openai/deployments/gpt4/chat/completions?api-version=2024-10-21", Some("gpt4")),
        ("anthropic", "/v1/messages", Some("claude-sonnet-4-5")),
        ("gemini", "/v1beta/openai/chat/completions", Some("gemini-2.5-flash")),
        (
            "vertexgemini",
            "/v1/projects/p/locations/europe-west1/endpoints/openapi/chat/completions",
            Some("google/gemini-2.5-flash"),
        ),
        (
            "vertexclaude",
            "/v1/projects/p/locations/europe-west1/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict",
            None,
        ),
        ("converse", "/model/meta.llama3-1-70b-instruct-v1%3A0/converse", None),
        ("bedrockclaude", "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke", None),
        ("bedrockopenai", "/openai/v1/chat/completions", Some("openai.gpt-oss-120b-1:0")),
        ("ollama", "/v1/chat/completions", Some("llama3.2")),
    ] {
        read(&harness.chat(&format!("/{name}/v1/"), &json!({})).await);
        let (_, kind, _) = vendors.targets.iter().find(|(other, ..)| *other == name).unwrap();
        let call = vendors.last(*kind);
        let sent = call.target.replace("%40", "@").replace("%3a", "%3A");
        assert_eq!((sent.as_str(), call.json()["model"].as_str()), (target, model), "{name}");
    }
}

#[tokio::test]
async fn what_passes_is_sent_byte_for_byte() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    let body = "{ \"messages\" : [{\"role\":\"user\",\"content\":\"h\\u0069 \u{e4}\"}],\n \"temperature\":1e0, \"model\":\"gpt-4o\" }";
    let answer = harness.send_with("/openai/chat/completions", &[], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(vendors.last(Kind::OpenAi).body, body.as_bytes());
}

const MESSAGES: &str = "{ \"max_tokens\":10,\n \"model\":\"claude-sonnet-4-5\", \"messages\":[{\"role\":\"user\",\"content\":\"h\\u0069\"}], \"temperature\":1e0 }";

#[tokio::test]
async fn messages_pass_to_anthropic_byte_for_byte_with_the_clients_version() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    for (path, version) in [("/anthropic/v1/messages", None), ("/anthropic/messages", Some("2026-10-21"))] {
        let body = if version.is_none() { MESSAGES.to_owned() } else { MESSAGES.replace(", \"temperature\":1e0", "") };
        let headers: Vec<_> = version.map(|version| ("Anthropic-Version", version)).into_iter().collect();
        let headers = [&headers[..], &[("X-Api-Key", "of-the-client"), ("Anthropic-Beta", "a-beta")]].concat();
        let answer = harness.send_with(path, &headers, &body).await;
        let said = read(&answer);
        assert_eq!((&said["type"], &said["content"][0]["text"]), (&json!("message"), &json!("Hello from anthropic.")));
        let call = vendors.last(Kind::Anthropic);
        assert_eq!(call.body, body.as_bytes());
        assert_eq!(call.header("anthropic-version"), Some(version.unwrap_or("2023-06-01")));
        assert_eq!((call.header("x-api-key"), call.header("anthropic-beta")), (Some(KEY), Some("a-beta")));
        assert_eq!(call.header("authorization"), None);
    }
    let streamed = MESSAGES.replacen('{', "{\"stream\":true,", 1);
    let answer = harness.send_with("/anthropic/v1/messages", &[], &streamed).await;
    let text = unchunked(&answer);
    assert!(text.starts_with("event: message_start\ndata: {") && text.contains("event: message_stop"), "{text}");
    // The vendor's own error passes as it is.
    let answer = harness.send_with("/anthropic/v1/messages", &[], &MESSAGES.replace("\"max_tokens\":10,", "")).await;
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (answer.status, &said["type"], &said["error"]["type"]),
        (400, &json!("error"), &json!("invalid_request_error"))
    );
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn messages_reach_the_clouds_in_their_envelopes_and_streams_come_back_without_frames() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    for (name, kind, version) in
        [("bedrockclaude", Kind::Bedrock, "bedrock-2023-05-31"), ("vertexclaude", Kind::Vertex, "vertex-2023-10-16")]
    {
        let path = format!("/{name}/v1/messages");
        let said = read(&harness.send_with(&path, &[], MESSAGES).await);
        assert_eq!(said["content"][0]["text"], format!("Hello from {}.", kind.name()));
        let sent = vendors.last(kind).json();
        assert_eq!((&sent["anthropic_version"], sent.get("model")), (&json!(version), None), "{name}");
        let answer = harness.send_with(&path, &[], &MESSAGES.replacen('{', "{\"stream\":true,", 1)).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{name}");
        let text = unchunked(&answer);
        assert!(
            text.starts_with("event: message_start\ndata: {") && text.contains("event: message_stop\ndata: "),
            "{name}: {text}"
        );
    }
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn each_attempt_is_signed_anew() {
    let (vendors, second) = (Vendors::start().await, Vendors::start().await);
    let other = second.changed("converse", &json!({"name": "other", "region": "us-east-1"}));
    let harness = vendors.pool(&[vendors.target("converse"), other]).await;
    vendors.of(Kind::Bedrock).once(Fault::Status(503));
    let answer = harness.chat("/llm/", &json!({})).await;
    assert_eq!((read(&answer)["object"].as_str(), router(&answer)), (Some("chat.completion"), "/llm/other/"));
    let [first, second] =
        [&vendors, &second].map(|vendors| vendors.last(Kind::Bedrock).header("authorization").unwrap().to_owned());
    assert!(first.contains("/eu-central-1/") && second.contains("/us-east-1/"), "{first} {second}");
}

#[tokio::test]
async fn a_target_without_a_token_is_passed_over_and_not_blamed() {
    let vendors = Vendors::start().await;
    let harness = vendors.pool(&[vendors.target("vertexgemini"), vendors.target("openai")]).await;
    vendors.of(Kind::Vertex).refuse_tokens(true);
    let answer = harness.chat("/llm/", &json!({})).await;
    assert_eq!(router(&answer), "/llm/openai/", "{}", answer.text());
    assert_eq!(vendors.calls(Kind::Vertex), 0);
    harness.assert_nothing_disabled();
    // Without another target the client gets the error, and may retry.
    let alone = vendors.pool(&[vendors.target("vertexgemini")]).await;
    let answer = alone.chat("/llm/", &json!({})).await;
    assert_eq!((answer.status, &super::error(&answer)["code"]), (503, &json!("no_key")));
    vendors.of(Kind::Vertex).refuse_tokens(false);
    alone.assert_nothing_disabled();
}

#[tokio::test]
async fn what_a_target_cannot_take_is_dropped_and_named_refused_or_passed() {
    let vendors = Vendors::start().await;
    let asked = json!({"seed": 1, "logit_bias": {"1": 1}, "temperature": 0.5});
    for (name, kind) in [("anthropic", Kind::Anthropic), ("converse", Kind::Bedrock), ("gemini", Kind::Gemini)] {
        let way = |way: &str| vendors.changed(name, &json!({"unsupported": way}));
        let dropping = vendors.pool(&[way("drop")]).await;
        let answer = dropping.chat("/llm/", &asked).await;
        assert_eq!(
            (answer.status, answer.header("x-broker-dropped")),
            (200, Some("logit_bias, seed")),
            "{name}: {}",
            answer.text()
        );
        let before = vendors.calls(kind);
        let refusing = vendors.pool(&[way("refuse")]).await;
        let answer = refusing.chat("/llm/", &asked).await;
        assert_eq!((answer.status, vendors.calls(kind)), (400, before), "{name}");
        let said = super::error(&answer);
        assert!(said["message"].as_str().unwrap().contains("`logit_bias`, `seed`"), "{name}: {said}");
        let passing = vendors.pool(&[way("pass")]).await;
        let answer = passing.chat("/llm/", &json!({"store": true, "a_field_of_the_vendors": 1})).await;
        // The vendor refuses what it does not know, in the client's form.
        if name == "converse" {
            let sent = vendors.last(kind).json();
            assert_eq!(sent["additionalModelRequestFields"]["a_field_of_the_vendors"], 1, "{sent}");
        } else {
            assert_eq!(answer.status, 400, "{name}: {}", answer.text());
            assert_eq!(vendors.last(kind).json()["a_field_of_the_vendors"], 1, "{name}");
            super::error(&answer);
        }
        passing.assert_nothing_disabled();
    }
}

#[tokio::test]
async fn of_what_is_dropped_the_first_are_named_and_the_others_counted() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    for name in ["anthropic", "converse", "gemini"] {
        for (count, end) in [(40, "x039"), (41, "x039 and 1 more"), (1_000, "x039 and 960 more")] {
            let many = (0..count).map(|at| (format!("x{at:03}"), json!("\u{e4}"))).collect::<serde_json::Map<_, _>>();
            let answer = harness.chat(&format!("/{name}/v1/"), &many.into()).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            let dropped = answer.header("x-broker-dropped").unwrap();
            assert!(dropped.starts_with("x000, x001, ") && dropped.ends_with(end), "{name}: {dropped}");
        }
        // However long and odd the names are, the header fits.
        let long =
            (0..60).map(|at| (format!("{at:02}{}", "\u{e4}".repeat(300)), json!(1))).collect::<serde_json::Map<_, _>>();
        let answer = harness.chat(&format!("/{name}/v1/"), &long.into()).await;
        let dropped = answer.header("x-broker-dropped").unwrap();
        assert!(dropped.len() < 5_000 && dropped.ends_with(" and 20 more"), "{name}: {dropped}");
    }
}

/// What a client of Anthropic's protocol asks for beside the version is a header at Vertex, and a field at Bedrock.
#[tokio::test]
async fn beta_features_reach_the_clouds_where_they_look_for_them() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    let headers =
        [("Anthropic-Beta", "a-beta,b-beta"), ("Anthropic-Version", "2023-06-01"), ("anthropic-beta", "c-beta")];
    for stream in [false, true] {
        let body = if stream { MESSAGES.replacen('{', "{\"stream\":true,", 1) } else { MESSAGES.to_owned() };
        let answer = harness.send_with("/bedrockclaude/v1/messages", &headers, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let call = vendors.last(Kind::Bedrock);
        assert_eq!(call.json()["anthropic_beta"], json!(["a-beta", "b-beta", "c-beta"]), "stream: {stream}");
        assert_eq!((call.header("anthropic-beta"), call.header("anthropic-version")), (None, None), "stream: {stream}");
        let answer = harness.send_with("/vertexclaude/v1/messages", &headers, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let call = vendors.last(Kind::Vertex);
        let sent: Vec<_> =
            call.headers.iter().filter(|(name, _)| name == "anthropic-beta").map(|(_, beta)| beta.as_str()).collect();
        assert_eq!(
            (sent, call.json().get("anthropic_beta")),
            (vec!["a-beta,b-beta", "c-beta"], None),
            "stream: {stream}"
        );
    }
    // A translation has nothing of it.
    let answer =
        harness.send_with("/bedrockclaude/v1/chat/completions", &headers, &super::asking(&json!({})).to_string()).await;
    assert_eq!((answer.status, vendors.last(Kind::Bedrock).json().get("anthropic_beta")), (200, None));
    harness.assert_nothing_disabled();
}

/// Anthropic answers keywords that it does not enforce with 400.
#[tokio::test]
async fn a_schema_reaches_anthropic_with_the_keywords_that_it_enforces() {
    let vendors = Vendors::start().await;
    let harness = vendors.each().await;
    let schema = json!({"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}, "zip": {"type": "string", "pattern": "^[0-9]+$"}}, "required": ["age"]});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}});
    let tool = json!({"type": "function", "function": {"name": "f", "strict": true, "parameters": schema}});
    for (name, kind) in
        [("anthropic", Kind::Anthropic), ("bedrockclaude", Kind::Bedrock), ("vertexclaude", Kind::Vertex)]
    {
        let path = format!("/{name}/v1/");
        let answer = harness.chat(&path, &json!({"response_format": format})).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let dropped = answer.header("x-broker-dropped").unwrap();
        assert!(
            dropped
                .ends_with("schema.properties.age.minimum, response_format.json_schema.schema.properties.zip.pattern"),
            "{dropped}"
        );
        let sent = &vendors.last(kind).json()["output_config"]["format"]["schema"];
        assert_eq!(sent["properties"]["age"], json!({"type": "integer", "description": "{minimum: 0}"}), "{name}");
        let answer = harness.chat(&path, &json!({"tools": [tool]})).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
    let all = vendors.changed("anthropic", &json!({"unsupported": "refuse"}));
    let harness = vendors.pool(&[all, vendors.target("openai")]).await;
    let answer = harness.chat("/llm/", &json!({"response_format": format})).await;
    assert_eq!((answer.status, router(&answer)), (200, "/llm/openai/"), "one that enforces it all");
}

#[tokio::test]
async fn anthropics_later_version_gets_no_sampling() {
    let vendors = Vendors::start().await;
    let harness = vendors.pool(&[vendors.changed("anthropic", &json!({"api_version": "2026-10-21"}))]).await;
    let answer = harness.chat("/llm/", &json!({"temperature": 1, "top_p": 1})).await;
    assert_eq!(
        (answer.status, answer.header("x-broker-dropped")),
        (200, Some("temperature, top_p")),
        "{}",
        answer.text()
    );
    let call = vendors.last(Kind::Anthropic);
    assert_eq!((call.header("anthropic-version"), call.json().get("temperature")), (Some("2026-10-21"), None));
}

/// The table says what models lack; such a target is asked only where no other serves.
#[tokio::test]
async fn a_target_whose_model_cannot_do_what_is_asked_for_is_asked_last() {
    let vendors = Vendors::start().await;
    let rows = json!({
        "ollama/poor": {"input": 0, "output": 0, "lacks": ["tools", "vision", "response_schema"]},
        "ollama/small": {"input": 0, "output": 0, "context": 100},
    });
    let prices = PoolsFile::of(&json!({"models": rows}).to_string());
    let targets = |model: &str| [vendors.changed("ollama", &json!({"model": model})), vendors.target("openai")];
    let pools = ["poor", "small"].map(
        |model| json!({"ingress": format!("/{model}/"), "strategy": {"mode": "fallback"}, "targets": targets(model)}),
    );
    let path = prices.path();
    let harness = Harness::with(&json!({"pools": pools}), &[("BROKER_PRICES", path.to_str().unwrap())]).await;
    let image = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]);
    let tools = json!([{"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}]);
    let schema = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}});
    for (ingress, changes, first) in [
        ("/poor/", json!({}), true),
        ("/poor/", json!({"tools": tools}), false),
        ("/poor/", json!({"messages": [{"role": "user", "content": image}]}), false),
        ("/poor/", json!({"response_format": schema}), false),
        ("/small/", json!({}), true),
        ("/small/", json!({"messages": [{"role": "user", "content": "word ".repeat(200)}]}), false),
    ] {
        let answer = harness.chat(ingress, &changes).await;
        let expected = format!("{ingress}{}/", if first { "ollama" } else { "openai" });
        assert_eq!((answer.status, router(&answer)), (200, expected.as_str()), "{changes}: {}", answer.text());
        assert_eq!(answer.header("x-broker-attempts"), Some("1"), "{changes}");
    }
    harness.assert_nothing_disabled();
    // Where the other one cannot serve, it gets the call after all.
    vendors.of(Kind::OpenAi).always(Some(Fault::Status(503)));
    let answer = harness.chat("/poor/", &json!({"tools": tools})).await;
    assert_eq!((answer.status, router(&answer)), (200, "/poor/ollama/"), "{}", answer.text());
}

#[tokio::test]
async fn a_target_that_does_not_have_what_is_asked_for_is_passed_over() {
    let vendors = Vendors::start().await;
    let harness =
        vendors.pool(&[vendors.target("anthropic"), vendors.target("converse"), vendors.target("ollama")]).await;
    let answer = harness.send("/llm/embeddings", &json!({"model": "e", "input": ["hi", "ho"]})).await;
    assert_eq!((read(&answer)["data"].as_array().map(Vec::len), router(&answer)), (Some(2), "/llm/ollama/"));
    assert_eq!(answer.header("x-broker-attempts"), Some("1"), "no other target was called");
    assert_eq!((vendors.calls(Kind::Anthropic), vendors.calls(Kind::Bedrock)), (0, 0));
    let streamed = chunks(&harness.chat("/llm/", &json!({"stream": true})).await);
    assert!(!streamed.is_empty());
    harness.assert_nothing_disabled();
}
