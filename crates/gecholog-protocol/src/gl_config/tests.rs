//! What the gateway would make of a file, and that nothing expanded is ever shown.

use proptest::prelude::*;

use super::*;

const SHIPPED: &str = include_str!("../../../../gl_config.json");

fn shipped(edits: &[(&str, &str)]) -> GlConfig {
    read("gl.json", &edited(edits), |_| Some("https://host".to_owned()))
}

fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(SHIPPED.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

fn faults(config: &GlConfig) -> Vec<(String, bool)> {
    config.faults.iter().map(|fault| (format!("{} {}", fault.place, fault.problem), fault.sure)).collect()
}

#[test]
fn the_shipped_file_passes() {
    let config = shipped(&[]);
    assert_eq!(config.faults, []);
    assert_eq!(config.routers.len(), 5);
    assert!(config.routers.iter().all(|router| router.is_kept() == Some(true) && router.crash.is_none()));
    assert_eq!(config.request.rows.len(), 2);
    assert_eq!(config.unset, []);
}

#[test]
fn files_that_the_gateway_refuses() {
    for (edit, fault) in [
        (("\"BROKER01\"", "\"broker\""), "gl.json:2:17 gateway_id must be 8 characters of A-Z and 0-9"),
        (("\"1.0.1\"", "\"1.0\""), "gl.json:3:14 version must begin with three numbers, such as 1.0.1"),
        (("\"INFO\"", "\"info\""), "gl.json:4:16 log_level must be DEBUG, INFO, WARN or ERROR"),
        (("5380", "\"5380\""), "gl.json:16:14 gl_port must be an integer"),
        (("5380", "70000"), "gl.json:16:14 gl_port must be a port from 1 to 65535"),
        (("/azure/dud/", "/azure/gpt4/"), "gl.json:55:15 routers[4].path is the path of another router too"),
        (("\"timeout\": 50", "\"timeout\": 0"), "timeout must be milliseconds, at least 1"),
        (("\"coburn.gl.broker.apply\"", "\"a-b\""), "service_bus_topic must be letters, digits, dots and underscores"),
        (("coburn.gl.isalive", "coburn.gl.logger"), "service_bus has two topics that are the same"),
    ] {
        let config = shipped(&[edit]);
        let found = faults(&config);
        assert!(matches!(&found[..], [(one, true), ..] if one.contains(fault)), "{edit:?}: {found:?}");
    }
    let old = shipped(&[("\"1.0.1\"", "\"0.92.1\"")]);
    assert!(faults(&old)[0].0.contains("0.92.1") && !old.readable);
}

#[test]
fn text_that_is_no_json_is_reported_with_its_place() {
    let config = shipped(&[("\"log_level\": \"INFO\",", "\"log_level\" \"INFO\",")]);
    assert!(faults(&config)[0].0.starts_with("gl.json:4:1"), "{:?}", config.faults);
    assert!(!config.readable);
}

#[test]
fn routers_that_the_gateway_drops() {
    for (edit, problem) in [
        (("\"http://127.0.0.1:9\"", "\"127.0.0.1:9\""), "must be an http or https URL with a host"),
        (
            ("\"path\": \"/azure/dud/\"", "\"path\": \"/azure/dud\""),
            "must be letters, digits and slashes between two slashes",
        ),
        (
            ("\"headers\": { \"Content-Type\": [\"application/json\"] }", "\"headers\": { \"Key\": [\"\"] }"),
            "must be plain ASCII and not empty",
        ),
        (
            ("chat/completions?api-version=2023-05-15", "x?a=b&c=d"),
            "must be a plain path with at most one query parameter",
        ),
    ] {
        let config = shipped(&[edit]);
        assert_eq!(config.faults, [], "{edit:?}");
        let dropped: Vec<_> = config.routers.iter().filter(|router| router.is_kept() == Some(false)).collect();
        assert!(matches!(&dropped[..], [router] if router.broken[0].problem == problem), "{edit:?}: {dropped:?}");
    }
}

#[test]
fn what_ends_the_gateway_at_its_start() {
    let absent = shipped(&[("\"ingress\": { \"headers\": {} },", "")]);
    assert!(absent.routers[0].crash.as_ref().is_some_and(|fault| fault.place.ends_with("routers[0].ingress.headers")));
    let slash = shipped(&[("\"path\": \"/azure/\"", "\"path\": \"/\"")]);
    assert!(slash.routers[1].crash.is_some());
}

/// docs/gateway-protocol.md 4.6
#[test]
fn a_headers_name_may_have_a_comma_or_be_empty() {
    let config = shipped(&[(
        "\"headers\": { \"Content-Type\": [\"application/json\"] }",
        "\"headers\": { \"A,B\": [\"1\"], \"\": [\"1\"] }",
    )]);
    assert!(config.faults.is_empty() && config.routers.iter().all(|router| router.is_kept() == Some(true)));
}

#[test]
fn keys_match_without_case_and_unknown_ones_are_ignored() {
    let config = shipped(&[("\"routers\"", "\"Routers\""), ("\"gl_port\"", "\"x\": 1, \"GL_PORT\"")]);
    assert_eq!((config.faults.len(), config.routers.len()), (0, 5));
}

#[test]
fn what_hangs_on_an_unset_variable_is_neither_right_nor_wrong() {
    let text = edited(&[
        ("5380", "${PORT}"),
        ("\"/azure/dud/\"", "\"/azure/${DUD}/\""),
        ("\"async\": false", "\"async\": $A"),
    ]);
    let config = read("gl.json", &text, |_| None);
    assert!(config.faults.iter().all(|fault| !fault.sure), "{:?}", config.faults);
    let names: Vec<_> = config.unset.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["NATS_TOKEN", "PORT", "AISERVICE_API_BASE", "DUD", "A"]);
    assert_eq!(config.unset[1].1, "gl.json:16:14");
    assert_eq!(config.routers[4].path.value(), None);
    assert_eq!(config.routers[1].is_kept(), None, "its URL is unset");
    assert_eq!(config.request.rows[0][0].is_async, None);
    let set = read("gl.json", &text, |_| Some("7".to_owned()));
    assert!(set.routers[4].path.is("/azure/7/") == Some(true), "{:?}", set.faults);
}

proptest! {
    /// A variable anywhere, with any value: no part of what was read shows the value.
    #[test]
    fn no_expanded_value_is_ever_shown(at in 0..SHIPPED.len(), braces in any::<bool>(), odd in "[\"{},: \\\\]{0,2}") {
        let secret = "S3CR3Tvalue";
        let name = if braces { "${LEAK}" } else { "$LEAK" };
        let text = format!("{}{name}{}", &SHIPPED[..at], &SHIPPED[at..]);
        let value = format!("{odd}{secret}{odd}");
        let config = read("gl.json", &text, |_| Some(value.clone()));
        prop_assert!(!format!("{config:?}").contains(secret), "{config:?}");
    }
}
