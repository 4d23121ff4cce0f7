//! Providers: where calls go, which fields pass, whose errors are unwrapped.

use llm::provider::endpoint::EndpointRequest;
use llm::provider::{Api, BodyModel, Endpoint, Operation, Provider, TargetSettings, endpoint, error, fields};
use llm::translate::Unsupported;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Golden;

/// Where a call goes that is written as one line of JSON: the target's settings, the client's path, the model, the stream.
fn place(provider: Provider, line: &Value) -> Result<Endpoint, String> {
    let text = |name: &str| line[name].as_str();
    let setting = |name: &str| text(name).map(str::to_owned);
    let settings = TargetSettings {
        base: setting("url"),
        resource: setting("resource"),
        region: setting("region"),
        project: setting("project"),
        location: setting("location"),
        api_version: setting("api_version"),
        api: text("api").map(|api| Api::from_name(api).unwrap()),
    };
    let path = text("path").unwrap_or("/v1/chat/completions");
    let call = EndpointRequest {
        operation: Operation::of_path(path),
        model: text("model").unwrap_or("m"),
        stream: line["stream"] == json!(true),
        path,
    };
    endpoint(provider, &settings, &call).map_err(|error| error.to_string())
}

#[test]
fn endpoints() {
    let goldens = Golden::all("providers/endpoints");
    for provider in Provider::ALL {
        assert!(goldens.iter().any(|golden| golden.name() == provider.name()), "{}", provider.name());
    }
    for golden in goldens {
        let provider = Provider::from_name(&golden.name()).unwrap();
        let shown = golden.section("calls").lines().map(|line| {
            let made = match place(provider, &serde_json::from_str(line).unwrap()) {
                Err(error) => error,
                Ok(endpoint) => {
                    let mut shown = format!("{} {:?}", endpoint.url, endpoint.protocol);
                    match endpoint.model {
                        BodyModel::Is(model) => shown += &format!(" model={model}"),
                        BodyModel::Absent => shown += " no model",
                    }
                    for (name, value) in endpoint.headers {
                        shown += &format!(" {name}: {value}");
                    }
                    shown
                }
            };
            format!("{line}\n  {made}")
        });
        let shown = shown.collect::<Vec<_>>().join("\n");
        golden.expect(&["calls"], &[("endpoints", shown)]);
    }
}

#[test]
fn fields_that_pass() {
    for golden in Golden::all("providers/fields") {
        let target: Value = serde_json::from_str(golden.section("target")).unwrap();
        let provider = Provider::from_name(target["provider"].as_str().unwrap()).unwrap();
        let rules = place(provider, &target).unwrap().fields;
        let mode = if target["unsupported"] == json!("refuse") { Unsupported::Refuse } else { Unsupported::Drop };
        let made = match fields::filter(golden.section("request").as_bytes(), &rules, mode) {
            Ok((body, dropped)) => {
                let dropped: Vec<_> = dropped.iter().map(ToString::to_string).collect();
                vec![("body", String::from_utf8(body.into_owned()).unwrap()), ("dropped", dropped.join("\n"))]
            }
            Err(error) => vec![("error", error.to_string())],
        };
        golden.expect(&["target", "request"], &made);
    }
}

#[test]
fn trap_09_errors_are_unwrapped() {
    for (body, unwrapped) in [
        (
            r#"[{"error":{"code":400,"message":"a","status":"INVALID_ARGUMENT"}}]"#,
            Some(r#"{"error":{"code":400,"message":"a","status":"INVALID_ARGUMENT"}}"#),
        ),
        (" [ {\"error\" : {} } , 5 ]\n", Some("{\"error\" : {} }")),
        (r#"{"error":{"message":"a"}}"#, None),
        (r#"[{"candidates":[]}]"#, None),
        ("[]", None),
        ("[{\"error\":{}", None),
        ("", None),
    ] {
        assert_eq!(error::unwrap(body.as_bytes()), unwrapped.map(str::as_bytes), "{body}");
    }
}

#[test]
fn keys_are_sent_as_each_provider_reads_them() {
    for (provider, key, header) in [
        (Provider::OpenAi, "k", ("authorization", "Bearer k")),
        (Provider::Azure, "k", ("api-key", "k")),
        (Provider::Anthropic, "sk-ant-api03-k", ("x-api-key", "sk-ant-api03-k")),
        (Provider::Anthropic, "sk-ant-oat01-k", ("authorization", "Bearer sk-ant-oat01-k")),
        (Provider::Gemini, "AIzak", ("authorization", "Bearer AIzak")),
        (Provider::Vertex, "ya29.k", ("authorization", "Bearer ya29.k")),
        (Provider::Bedrock, "k", ("authorization", "Bearer k")),
        (Provider::Ollama, "k", ("authorization", "Bearer k")),
        (Provider::OpenAiCompatible, "k", ("authorization", "Bearer k")),
    ] {
        let settings = json!({"url": "https://h", "region": "r", "project": "p", "location": "l"});
        let sent = place(provider, &settings).unwrap().key.header(key);
        assert_eq!(sent, (header.0, header.1.to_owned()), "{provider:?}");
    }
}

#[test]
fn names_of_providers() {
    for name in ["openai", "azure", "anthropic", "gemini", "vertex", "bedrock", "ollama", "openai_compatible"] {
        assert_eq!(Provider::from_name(name).unwrap().name(), name);
    }
    for name in ["", "OpenAI", "openai-compatible"] {
        assert_eq!(Provider::from_name(name), None);
    }
}

proptest! {
    /// Trap 20: whatever a client calls its model, the address stays below the provider's, and the name comes back out of it.
    #[test]
    fn a_models_name_is_one_part_of_the_address(model: String, odd in "[./%\\\\:?#@a-]{0,12}", is_odd: bool) {
        let model = if is_odd { &odd } else { &model };
        for provider in Provider::ALL {
            let line = |model: &str| {
                let mut line = json!({"model": model, "region": "eu-west-1", "project": "p", "location": "l", "resource": "r", "api_version": "1"});
                if provider == Provider::OpenAiCompatible {
                    line["url"] = json!("https://host/v1");
                }
                line
            };
            let plain = place(provider, &line("plain")).unwrap();
            let Ok(endpoint) = place(provider, &line(model)) else {
                prop_assert!(matches!(model.as_str(), "" | "." | ".."));
                continue;
            };
            prop_assert_eq!(endpoint.url.matches('/').count(), plain.url.matches('/').count(), "{}", endpoint.url);
            prop_assert!(!endpoint.url.contains("/../") && !endpoint.url.contains("/./") && !endpoint.url.contains('\\'));
            prop_assert!(endpoint.url.bytes().all(|byte| byte.is_ascii_graphic()) && !endpoint.url.contains('#'));
            if plain.url.contains("plain") {
                let (before, behind) = plain.url.split_once("plain").unwrap();
                let part = endpoint.url.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind)).unwrap();
                let decoded = percent_encoding::percent_decode_str(part).decode_utf8().unwrap();
                prop_assert_eq!(decoded.as_ref(), model.as_str());
            }
        }
    }

    /// What passes is what stood there, in its order; what does not is named; the rest of the bytes stay.
    #[test]
    fn filtering_changes_nothing_else(
        fields in prop::collection::vec((prop::sample::select(vec!["model", "messages", "store", "seed", "max_tokens", "max_completion_tokens", "sto\\u0072e"]), "[ \n]{0,2}", prop::sample::select(vec!["1", "null", "\"a,}\"", "[1, {\"store\":2}]", "{ }"])), 0..7),
        mark: bool,
    ) {
        let body = fields.iter().map(|(name, space, value)| format!("{space}\"{name}\":{space}{value}{space}")).collect::<Vec<_>>().join(",");
        let body = format!("{}{{{body}}} ", if mark { "\u{feff}" } else { "" });
        let rules = fields::FieldRules::only(&["model", "messages", "max_tokens"]);
        let (made, dropped) = fields::filter(body.as_bytes(), &rules, Unsupported::Drop).unwrap();
        let kept: Vec<_> = fields.iter().filter(|(name, ..)| ["model", "messages", "max_tokens"].contains(name)).collect();
        let expected = kept.iter().map(|(name, space, value)| format!("{space}\"{name}\":{space}{value}{space}")).collect::<Vec<_>>().join(",");
        let expected = format!("{}{{{expected}}} ", if mark { "\u{feff}" } else { "" });
        prop_assert_eq!(String::from_utf8(made.into_owned()).unwrap(), expected);
        let named = fields.iter().filter(|(name, _, value)| !["model", "messages", "max_tokens"].contains(name) && !["null", "{ }"].contains(value)).count();
        prop_assert_eq!(dropped.total(), named);
        prop_assert_eq!(fields::filter(body.as_bytes(), &rules, Unsupported::Refuse).is_err(), named > 0);
        let (passed, nothing) = fields::filter(body.as_bytes(), &rules, Unsupported::Pass).unwrap();
        prop_assert!(*passed == *body.as_bytes() && nothing.is_empty());
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, path in "[a-z/.%?#]{0,20}") {
        let rules = fields::FieldRules::only(&["model"]).renaming("a", "b");
        let _ = fields::filter(&bytes, &rules, Unsupported::Drop);
        let _ = error::unwrap(&bytes);
        let call = EndpointRequest { operation: Operation::Other, model: "m", stream: false, path: &path };
        if let Ok(endpoint) = endpoint(Provider::OpenAi, &TargetSettings::default(), &call) {
            let behind = endpoint.url.strip_prefix("https://api.openai.com/v1/").unwrap();
            prop_assert!(!behind.split('/').any(|name| matches!(name, "" | "." | "..")));
        }
    }
}
