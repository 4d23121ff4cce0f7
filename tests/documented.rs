//! What is written for other programs is true: the OpenAPI file, the alert rules, the dashboard.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::support::{Bus, DUD, Log, Setup, http};

const ADMIN: &str = "the-operators-own-token";

pub(super) fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The paths that the source routes.
fn routed() -> BTreeSet<String> {
    let sources = file("src/http/mod.rs") + &file("src/http/page.rs");
    let routes = sources.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    routes.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_openapi_file_names_every_path_and_what_it_answers() {
    let bus = Bus::start().await;
    let broker = Setup::on(&bus).set("BROKER_ADMIN_TOKEN", ADMIN).secret(ADMIN).ready().await;
    bus.decide().await;
    bus.log(Log::of(DUD, 500)).await;
    broker.until(&["router disabled"]).await;
    let api: Value = serde_json::from_str(&file("docs/openapi.json")).unwrap();
    let documented: BTreeSet<_> = api["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(documented, routed());
    for (path, methods) in api["paths"].as_object().unwrap() {
        let answers = |method: &str, codes: &[&str]| {
            let said = &methods[method]["responses"];
            codes.iter().for_each(|code| assert!(said.get(code).is_some(), "{method} {path} does not document {code}"));
        };
        match path.as_str() {
            "/livez" | "/readyz" | "/metrics" => {}
            _ if methods.get("post").is_some() => {
                answers("post", &["200", "400", "401", "403", "404", "408", "413", "421", "503"]);
            }
            _ => answers("get", &["200", "408", "421", "503"]),
        }
    }
    let bearer = format!("Bearer {ADMIN}");
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if path == "/api/v1/events" {
                continue; // never ends
            }
            let target = path.replace("{router}", "%2Fazure%2Fdud%2F").replace("{action}", "drain");
            let target = target.replace("{pool}", "%2Fazure%2F");
            let body = match path.rsplit('/').next() {
                _ if method == "get" => "",
                Some("weight") => r#"{"router":"/azure/dud/","weight":2}"#,
                Some("mode") => r#"{"mode":"observe"}"#,
                _ => "",
            };
            let headers = [("Authorization", bearer.as_str())];
            let addr = broker.http().await;
            let answer = http::send(addr, &method.to_uppercase(), &target, &headers, body.as_bytes()).await.unwrap();
            assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
            let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
            let Some(name) = schema.as_str().and_then(|name| name.rsplit('/').next()) else { continue };
            let document: Value = serde_json::from_slice(&answer.body).unwrap();
            has_all(&document, &api["components"]["schemas"][name], path);
        }
    }
}

/// Whether a document has exactly the fields that its schema requires, as deep as that says anything.
fn has_all(document: &Value, schema: &Value, place: &str) {
    let Some(required) = schema["required"].as_array() else { return };
    for field in required.iter().filter_map(Value::as_str) {
        assert!(document.get(field).is_some(), "{place} has no {field}: {document}");
        let inner = &schema["properties"][field]["items"];
        document[field].as_array().into_iter().flatten().for_each(|one| has_all(one, inner, place));
    }
    if !required.is_empty() && place != "/api/v1/config" {
        let known: BTreeSet<_> = required.iter().filter_map(Value::as_str).chain(["weights"]).collect();
        let fields = document.as_object().unwrap().keys();
        fields.for_each(|field| assert!(known.contains(field.as_str()), "{place} does not document {field}"));
    }
}

#[tokio::test]
async fn alerts_and_dashboard_ask_only_for_metrics_that_there_are() {
    let bus = Bus::start().await;
    let setup = Setup::on(&bus).set("BROKER_RELAY", "127.0.0.1:0").set("BROKER_CALLS", "/nowhere/calls.jsonl");
    let broker = setup.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9").ready().await;
    let decision = bus.decide().await;
    let mut log = Log::of(DUD, 500);
    log.0["request"]["broker"] = decision["broker"].clone();
    bus.log(log).await;
    broker.until(&["router disabled"]).await;
    let text = broker.get("/metrics").await.text();
    let known: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut asked = BTreeSet::new();
    for name in ["docs/alerts.yml", "docs/grafana-dashboard.json", "docs/observing.md"] {
        let text = file(name);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for metric in words.filter(|word| word.starts_with("gecholog_broker_") || word.starts_with("gen_ai_client_")) {
            let metric = metric.trim_end_matches("_bucket");
            assert!(known.contains(metric), "{name} asks for {metric}");
            asked.insert(metric.to_owned());
        }
    }
    assert!(asked.len() > 10, "{asked:?}");
    let undocumented: Vec<_> = known.iter().filter(|name| !file("docs/observing.md").contains(*name)).collect();
    assert!(undocumented.is_empty(), "docs/observing.md does not document {undocumented:?}");
}

#[test]
fn every_variable_that_is_read_stands_in_the_settings() {
    let known: BTreeSet<&str> = gecholog_broker::config::names().collect();
    assert!(known.len() > 20, "the names are found");
    let page = file("docs/settings.md");
    let described: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_') && name.contains('_'))
        .collect();
    assert_eq!(described, known, "docs/settings.md and the fields of RawSettings");
}

/// The names in the first cells of a page's tables.
fn rows(page: &str) -> BTreeSet<String> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_mode_and_every_error_class_has_its_row() {
    let schema: Value = serde_json::from_str(&file("broker.schema.json")).unwrap();
    let modes = schema["$defs"]["Mode"]["oneOf"].as_array().unwrap().iter();
    let modes: Vec<_> = modes.map(|mode| mode["const"].as_str().unwrap()).collect();
    assert!(modes.contains(&"loadbalance"), "{modes:?}");
    let described = rows(&file("docs/configuration.md"));
    let missing: Vec<_> = modes.into_iter().filter(|mode| !described.contains(*mode)).collect();
    assert!(missing.is_empty(), "docs/configuration.md has no row of the modes {missing:?}: {described:?}");
    let described = rows(&file("docs/relay.md"));
    let missing: Vec<_> =
        types::outcome::ErrorClass::ALL.into_iter().filter(|class| !described.contains(class.name())).collect();
    assert!(missing.is_empty(), "docs/relay.md has no row of the error classes {missing:?}: {described:?}");
}

/// The text of all sources, each literal on one line and without its escapes.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let lines = std::fs::read_to_string(path).unwrap();
            text.extend(lines.lines().flat_map(|line| match line.trim_start().strip_suffix('\\') {
                Some(continued) => [continued, ""],
                None => [line, "\n"],
            }));
        }
    }
    text.replace("\\\"", "\"").replace("{{", "{").replace("}}", "}")
}

/// What a line has of this machine or this call is a part of its own, and so is what the program puts together.
const BETWEEN: [&str; 17] = [
    "…", ":", ",", ";", "=", "(", ")", "\"", "/azure/", " is not ", "HOST", "PORT", "ADDRESS", "SUBJECT", "FIELD",
    "NAME", "\n",
];

#[test]
fn every_line_of_the_log_that_is_explained_is_one_that_the_program_writes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let written = sources(&root.join("src")) + &sources(&root.join("crates"));
    let page = file("docs/troubleshooting.md");
    let (_, lines) = page.split_once("\n## Lines of the broker\n").unwrap();
    let (lines, _) = lines.split_once("\n## ").unwrap();
    // The reasons in rows of "the same" are those of libraries.
    let rows = lines.lines().filter(|row| row.starts_with("| ") && !row.starts_with("| the same"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let quoted: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(quoted.len() > 40, "{quoted:?}");
    for line in quoted.into_iter().filter(|line| !line.starts_with("gecholog_broker_")) {
        let apart = BETWEEN.iter().fold(line.to_owned(), |text, between| text.replace(between, "\n"));
        for part in apart.lines().map(str::trim).filter(|part| part.len() > 3) {
            assert!(written.contains(part), "{part:?} of the line {line:?} is nowhere in the source");
        }
    }
}
