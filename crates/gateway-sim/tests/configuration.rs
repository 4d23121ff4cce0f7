//! Reading the configuration: expansion, dropped routers, validation, and what only fails at start.

use gateway_sim::config::{Config, ConfigError};
use gateway_sim::gateway::{Gateway, StartError};
use serde_json::{Value, json};

use crate::support::harness::captured_config;

fn shipped() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../gl_config.json")).unwrap()
}

fn good() -> Value {
    captured_config("http://127.0.0.1:9/", "127.0.0.1:4222")
}

fn parse(tree: &Value) -> Result<Config, ConfigError> {
    Config::parse(&tree.to_string(), |_| None)
}

/// The path in the file, without the line and the column before it.
fn path(place: &str) -> &str {
    place.rsplit(' ').next().unwrap()
}

/// The places of all faults after one change.
fn places(change: impl Fn(&mut Value)) -> Vec<String> {
    let mut tree = good();
    change(&mut tree);
    let faults = parse(&tree).err().map(|error| error.faults().to_vec()).unwrap_or_default();
    faults.iter().map(|fault| path(&fault.place).to_owned()).collect()
}

#[test]
fn the_shipped_configuration_is_read_with_its_environment() {
    let env = |name: &str| match name {
        "NATS_TOKEN" => Some("t".to_owned()),
        "AISERVICE_API_BASE" => Some("http://127.0.0.1:9101/".to_owned()),
        _ => None,
    };
    let config = Config::parse(&shipped(), env).unwrap();
    assert!(config.dropped().is_empty());
    assert_eq!(config.crash(), None);
}

#[test]
fn an_unset_variable_drops_routers_without_a_fault() {
    let env = |name: &str| (name == "NATS_TOKEN").then(|| "t".to_owned());
    let config = Config::parse(&shipped(), env).unwrap();
    assert_eq!(config.dropped(), ["/azure/", "/azure/gpt4/", "/azure/gpt35turbo/"]);
}

#[test]
fn all_faults_are_reported_at_once() {
    let error = Config::parse("{}", |_| None).unwrap_err();
    let places: Vec<&str> = error.faults().iter().map(|fault| path(&fault.place)).collect();
    for place in [
        "gateway_id",
        "version",
        "log_level",
        "gl_port",
        "session_id_header",
        "routers",
        "service_bus.hostname",
        "service_bus.topic",
        "service_bus.topic_exact_isalive",
        "service_bus.topic_exact_logger",
        "service_bus.token",
    ] {
        assert!(places.contains(&place), "{place} in {places:?}");
        assert!(error.to_string().contains(place));
    }
}

#[test]
fn the_refused_version_is_not_loaded() {
    let mut tree = good();
    tree["version"] = json!("0.92.1");
    assert!(parse(&tree).unwrap_err().to_string().contains("0.92.1"));
    tree["version"] = json!("0.92.2");
    assert!(parse(&tree).is_ok());
}

#[test]
fn each_rule_has_its_place() {
    type Break = fn(&mut Value);
    let breaks: [(&str, Break); 17] = [
        ("gateway_id", |c| c["gateway_id"] = json!("lab00002")),
        ("log_level", |c| c["log_level"] = json!("info")),
        ("gl_port", |c| c["gl_port"] = json!(65536)),
        ("service_bus.hostname", |c| c["service_bus"]["hostname"] = json!("nats://h:4222")),
        ("service_bus.topic", |c| c["service_bus"]["topic"] = json!("a.*")),
        ("service_bus", |c| c["service_bus"]["topic"] = c["service_bus"]["topic_exact_logger"].clone()),
        ("service_bus.token", |c| c["service_bus"]["token"] = json!("")),
        ("session_id_header", |c| c["session_id_header"] = json!("a b")),
        ("masked_headers", |c| c["masked_headers"] = json!(["A", "A"])),
        ("remove_headers[0]", |c| c["remove_headers"] = json!(["a:b"])),
        ("routers[2].path", |c| c["routers"][2]["path"] = json!("/azure/")),
        ("tls.outbound.cert_files[0]", |c| c["tls"] = json!({"outbound": {"cert_files": ["/no/such/file"]}})),
        ("request.processors[0][0].name", |c| c["request"]["processors"][0][0]["name"] = json!("a-b")),
        ("request.processors[0][0].timeout", |c| c["request"]["processors"][0][0]["timeout"] = json!(0)),
        ("request.processors[0]", |c| {
            let twice = c["request"]["processors"][0][0].clone();
            c["request"]["processors"][0] =
                json!([twice, {"name": "b", "service_bus_topic": "coburn.gl.broker", "timeout": 1}]);
        }),
        ("response.processors[0][0].output_fields_write", |c| {
            c["response"]["processors"][0][0]["output_fields_write"] = json!(["a", "a"]);
        }),
        ("logger.request.fields_include[0]", |c| c["logger"] = json!({"request": {"fields_include": ["a-b"]}})),
    ];
    for (place, broken) in breaks {
        assert_eq!(places(broken), [place]);
    }
}

#[test]
fn a_wrong_type_rejects_the_file_even_inside_a_router() {
    assert_eq!(places(|c| c["gl_port"] = json!("5380")).first().unwrap(), "gl_port");
    assert_eq!(places(|c| c["routers"][0]["outbound"]["url"] = json!(1)), ["routers[0].outbound.url"]);
    assert_eq!(places(|c| c["log_unauthorized"] = json!(0)), ["log_unauthorized"]);
    assert_eq!(places(|c| c["request"]["processors"] = json!([{}])), ["request.processors[0]"]);
    assert!(Config::parse("{} x", |_| None).is_err());
}

#[test]
fn a_router_that_breaks_a_rule_is_dropped_alone() {
    type Break = fn(&mut Value);
    let breaks: [Break; 7] = [
        |router| router["outbound"]["headers"] = json!({"Api:Key": ["1"]}),
        |router| router["path"] = json!("/azure-1/"),
        |router| router["path"] = json!("/azure"),
        |router| router["outbound"]["url"] = json!("ftp://h/"),
        |router| router["outbound"]["endpoint"] = json!("a?b=c&d=e"),
        |router| router["outbound"]["headers"] = json!({"Api-Key": [""]}),
        |router| router["ingress"]["headers"] = json!({"Api-Key": []}),
    ];
    for broken in breaks {
        let mut tree = good();
        broken(&mut tree["routers"][1]);
        let config = parse(&tree).unwrap();
        assert_eq!(config.dropped(), [tree["routers"][1]["path"].as_str().unwrap()]);
    }
}

#[test]
fn keys_are_read_in_any_case_and_unknown_ones_ignored() {
    let mut tree = good();
    let id = tree["gateway_id"].take();
    tree.as_object_mut().unwrap().remove("gateway_id");
    tree["Gateway_ID"] = id;
    tree["license_file"] = json!("x");
    assert!(parse(&tree).is_ok());
}

#[tokio::test]
async fn what_crashes_the_gateway_is_an_error_at_start() {
    type Break = fn(&mut Value);
    let breaks: [Break; 4] = [
        |c| c["routers"][0]["path"] = json!("/"),
        |c| c["routers"][0]["ingress"]["headers"] = Value::Null,
        |c| c["routers"][0]["outbound"]["headers"] = Value::Null,
        |c| c["tls"] = json!({"ingress": {"enabled": true}}),
    ];
    for broken in breaks {
        let mut tree = good();
        broken(&mut tree);
        let config = parse(&tree).unwrap();
        assert!(config.crash().is_some());
        assert!(matches!(Gateway::start(config).await, Err(StartError::Crash(_))));
    }
}

#[test]
fn header_names_may_hold_a_comma_and_be_empty() {
    let mut tree = good();
    tree["routers"][1]["outbound"]["headers"] = json!({"A,B": ["1"], "": ["1"]});
    tree["masked_headers"] = json!(["A,B", ""]);
    assert!(parse(&tree).unwrap().dropped().is_empty());
}
