//! The SDKs of OpenAI (for Python today's and 0.28, for Node.js) and of Anthropic, unchanged but for their addresses; their own
//! retries are off.

use std::process::Command;

use gateway_sim::vendors::{Fault, Kind};
use serde_json::{Value, json};

use super::super::super::support::tool;
use super::Vendors;

/// What a script prints with the interpreter that a variable names; `None` if there is none, which is said.
async fn run(variable: &str, script: &str, relay: std::net::SocketAddr, names: &[&str]) -> Option<Vec<String>> {
    let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else {
        tool::missing("SDK", &format!("{variable} names no interpreter that has it; `make test` sets it"));
        return None;
    };
    let script = format!("{}/tests/relay/providers/{script}", env!("CARGO_MANIFEST_DIR"));
    let modules = std::path::Path::new(&path).with_file_name("node_modules");
    let mut command = Command::new(path);
    // Python does not look at it.
    command.arg(script).arg(format!("http://{relay}")).args(names).env_clear().env("NODE_PATH", modules);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said.lines().map(str::to_owned).collect())
}

/// A file of `examples/relay`, its providers at the fake vendors.
pub(super) fn example(name: &str, vendors: &Vendors) -> Value {
    let path = format!("{}/examples/relay/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let text: String = text.lines().filter(|line| !line.starts_with("//")).collect();
    let text = Kind::ALL.iter().fold(text, |text, kind| {
        let named = format!("\"provider\": \"{}\"", kind.name());
        text.replace(&named, &format!("{named}, \"url\": \"{}\"", vendors.of(*kind).url()))
    });
    let mut file: Value = serde_json::from_str(&text).unwrap();
    file.as_object_mut().unwrap().remove("$schema");
    file
}

/// A relay with this file, and all keys that the examples name.
pub(super) async fn world_of(vendors: &Vendors, file: &Value) -> super::Harness {
    let account = super::account(&vendors.of(Kind::Vertex).token_url());
    let keys = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AZURE_API_KEY", "AWS_SECRET_ACCESS_KEY"];
    let mut variables: Vec<_> = keys.iter().map(|name| (*name, super::KEY)).collect();
    variables.push(("AWS_ACCESS_KEY_ID", super::AWS_KEY_ID));
    variables.push(("VERTEX_SERVICE_ACCOUNT", &account));
    variables.push(("ACCOUNT", &account));
    super::Harness::with(file, &variables).await
}

/// The models of Bedrock that make embeddings, each at an ingress of this name. The SDKs ask for base64.
const EMBEDDINGS: [(&str, &str); 2] =
    [("embeddingstitan", "amazon.titan-embed-text-v2:0"), ("embeddingscohere", "cohere.embed-v4:0")];

/// Every provider behind an ingress of its own, and the example with all of them at `/all/`; with the ingresses' names.
async fn every_provider(vendors: &Vendors) -> (super::Harness, Vec<&'static str>) {
    let mut file = example("06-every-provider.json", vendors);
    let pools = file["pools"].as_array_mut().unwrap();
    pools[0]["ingress"] = json!("/all/");
    pools.extend(
        vendors.targets.iter().map(|(name, _, target)| json!({"ingress": format!("/{name}/"), "targets": [target]})),
    );
    pools.extend(EMBEDDINGS.map(|(name, model)| {
        json!({"ingress": format!("/{name}/"), "targets": [super::embeddings::target(vendors, name, model)]})
    }));
    let names = vendors.targets.iter().map(|(name, ..)| *name).chain(EMBEDDINGS.map(|(name, _)| name)).collect();
    (world_of(vendors, &file).await, names)
}

fn has_embeddings(name: &str) -> bool {
    ["openai", "azure", "azuredeployment", "gemini", "ollama"].contains(&name)
}

/// What OpenAI's SDK says of every provider, in each language.
fn expected(vendors: &Vendors) -> Vec<String> {
    let mut expected = Vec::new();
    for (name, kind, _) in &vendors.targets {
        let whose = kind.name();
        expected.push(format!("{name} chat Hello from {whose}. 17"));
        expected.push(format!("{name} stream Hello from {whose}. 17"));
        expected.push(format!("{name} use_tools weather(Paris) weather(Rome) It is sunny, says {whose}."));
        expected.push(format!("{name} stream_tools weather(Paris) weather(Rome)"));
        if *name != "converse" {
            expected.push(format!("{name} schema Ada 36"));
        }
        let passes = ["openai", "azure", "azuredeployment", "bedrockopenai", "ollama"].contains(name);
        let dropped = if passes { "None" } else { "messages[1].tool_calls[0], messages[2]" };
        expected.push(format!("{name} history weather(Paris) weather(Rome); {dropped}"));
        expected.push(format!("{name} refused BadRequestError"));
        expected
            .push(format!("{name} embeddings {}", if has_embeddings(name) { "[0.5, 0.25]" } else { "NotFoundError" }));
    }
    expected.extend(EMBEDDINGS.map(|(name, _)| format!("{name} embeddings [0.5, 0.25]")));
    expected.extend(
        [
            "models claude-sonnet-5 gemini-2.5-flash gpt-4o gpt-4o-mini llama3-70b llama3.2 nomic-embed-text",
            "claude-sonnet-5 Hello from anthropic.",
            "gemini-2.5-flash Hello from vertex.",
            "gpt-4o Hello from openai.",
            "gpt-4o-mini Hello from openai.",
            "llama3-70b Hello from bedrock.",
            "llama3.2 Hello from ollama.",
            "nomic-embed-text [0.5, 0.25]",
            "unknown model_not_found model invalid_request_error",
        ]
        .map(str::to_owned),
    );
    expected
}

/// A script with the SDK of one language, before every provider.
async fn sdk_does_everything(variable: &str, script: &str) {
    let vendors = Vendors::start().await;
    let (harness, names) = every_provider(&vendors).await;
    let Some(said) = run(variable, script, harness.relay, &names).await else { return };
    assert_eq!(said, expected(&vendors));
    harness.assert_nothing_disabled();
}

#[tokio::test]
async fn openais_sdk_does_everything_with_every_provider() {
    sdk_does_everything("OPENAI_PYTHON", "openai_sdk.py").await;
}

#[tokio::test]
async fn openais_sdk_for_node_does_everything_with_every_provider() {
    sdk_does_everything("OPENAI_NODE", "openai_sdk.cjs").await;
}

#[tokio::test]
async fn anthropics_sdk_reaches_those_who_speak_its_protocol() {
    let vendors = Vendors::start().await;
    let names = ["anthropic", "bedrockclaude", "vertexclaude"];
    let mut pools: Vec<_> =
        names.iter().map(|name| json!({"ingress": format!("/{name}/"), "targets": [vendors.target(name)]})).collect();
    // Without a model in the settings the provider is asked which there are.
    let mut open = vendors.target("anthropic");
    open.as_object_mut().unwrap().remove("model");
    pools.push(json!({"ingress": "/open/", "targets": [open]}));
    let harness = vendors.harness(&json!({"pools": pools})).await;
    let Some(said) = run("OPENAI_PYTHON", "anthropic_sdk.py", harness.relay, &names).await else { return };
    let mut expected = Vec::new();
    for (name, whose) in [("anthropic", "anthropic"), ("bedrockclaude", "bedrock"), ("vertexclaude", "vertex")] {
        for _ in 0..2 {
            expected.push(format!("{name} chat ('Hello from {whose}.', 5)"));
            expected.push(format!("{name} stream ('Hello from {whose}.', 5)"));
            expected.push(format!("{name} use_tools (['Paris', 'Rome'], 'It is sunny, says {whose}.')"));
            expected.push(format!("{name} refused BadRequestError"));
        }
    }
    expected.push("models ['claude-sonnet-4-5']".to_owned());
    assert_eq!(said, expected);
}

#[tokio::test]
async fn clients_of_long_ago_are_left_as_they_are() {
    let vendors = Vendors::start().await;
    let file = example("07-old-clients.json", &vendors);
    let harness = world_of(&vendors, &file).await;
    for (kind, fault) in [(Kind::OpenAi, None), (Kind::Azure, Some(Fault::Status(503)))] {
        vendors.of(Kind::OpenAi).always(fault);
        let Some(said) = run("OLD_OPENAI_PYTHON", "old_openai_sdk.py", harness.relay, &[]).await else { return };
        let mut expected = Vec::new();
        for form in ["open_ai model", "open_ai engine", "azure engine", "azure deployment_id model"] {
            let whose = kind.name();
            expected.push(format!("{form} chat Hello from {whose}."));
            expected.push(format!("{form} stream Hello from {whose}."));
            expected.push(format!("{form} completion Hello from {whose}."));
            expected.push(format!("{form} embedding [0.5, 0.25]"));
            expected.push(format!("{form} refused InvalidRequestError"));
        }
        assert_eq!(said, expected, "{}", harness.broker.text());
    }
    // Each has its own names for the models, whatever the client says and where.
    let models = |kind: Kind| -> std::collections::BTreeSet<String> {
        vendors.of(kind).calls().iter().map(|call| call.json()["model"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(models(Kind::OpenAi), ["gpt-3.5-turbo", "gpt-4"].map(str::to_owned).into());
    assert_eq!(models(Kind::Azure), ["gpt-35-turbo", "gpt4"].map(str::to_owned).into());
}
