//! Targets with a provider: what is wrong with them is said with what would be right, and no secret with it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::super::{HealthDefaults, Variables, read};
use balancer::broker::RouterSettings;

const KEY: &str = "sk-very-secret";

/// A service account that no one has.
pub(super) fn account() -> String {
    json!({"client_email": "b@p.iam.gserviceaccount.com", "project_id": "p", "token_uri": "https://oauth2.googleapis.com/token",
        "private_key": include_str!("../../../provider_auth/test-only.pem")})
    .to_string()
}

/// What is wrong with a file of these targets, and how many pools it has if nothing is.
fn load(targets: &str, more: &[(&str, &str)]) -> Result<usize, String> {
    let account = account();
    let variables = [("KEY", KEY), ("ODD", "a\nb"), ("ACCOUNT", &account)];
    let variables: BTreeMap<_, _> =
        variables.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let text = format!("{{\"pools\": [{{\"ingress\": \"/in/\", \"targets\": [{targets}]}}]}}");
    let defaults = HealthDefaults::new(RouterSettings::default());
    match read(Path::new("broker.json"), text.as_bytes(), &defaults, &Variables::new(variables)) {
        Ok((settings, rules)) => {
            let shown = format!("{settings:?} {rules:?}");
            assert!(!shown.contains(KEY) && !shown.contains("PRIVATE KEY"), "{shown}");
            Ok(settings.pools.len())
        }
        Err(faults) => {
            let reported: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
            assert!(!reported.contains(KEY) && !reported.contains("PRIVATE KEY"), "{reported}");
            Err(reported)
        }
    }
}

#[test]
fn each_provider_needs_little() {
    for target in [
        r#""provider": "openai", "api_key": "${KEY}""#,
        r#""provider": "openai", "headers": {"Authorization": "Bearer ${KEY}"}"#,
        r#""provider": "openai", "forward_credentials": true"#,
        r#""provider": "azure", "resource": "west", "api_key": "${KEY}""#,
        r#""provider": "azure", "url": "https://west.example.com", "api_version": "2024-06-01", "api_key": "${KEY}""#,
        r#""provider": "anthropic", "api_key": "${KEY}", "api_version": "2026-10-21", "max_tokens": 100, "unsupported": "refuse""#,
        r#""provider": "gemini", "api_key": "${KEY}", "model": "gemini-2.5-flash""#,
        r#""provider": "vertex", "location": "global", "service_account": "${ACCOUNT}""#,
        r#""provider": "vertex", "location": "europe-west1", "project": "p", "api_key": "${KEY}""#,
        r#""provider": "bedrock", "region": "eu-central-1", "api_key": "${KEY}", "api": "messages""#,
        r#""provider": "bedrock", "region": "eu-central-1", "access_key_id": "A", "secret_access_key": "${KEY}", "session_token": "${KEY}""#,
        r#""provider": "ollama""#,
        r#""provider": "openai_compatible", "url": "http://vllm:8000/v1""#,
    ] {
        assert_eq!(load(&format!("{{{target}}}"), &[]), Ok(1), "{target}");
    }
    let bedrock = r#"{"provider": "bedrock", "region": "eu-central-1"}"#;
    assert_eq!(load(bedrock, &[("AWS_BEARER_TOKEN_BEDROCK", KEY)]), Ok(1));
    assert_eq!(load(bedrock, &[("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", KEY)]), Ok(1));
}

#[test]
fn a_protocol_that_a_provider_does_not_speak_is_a_fault_that_lists_those_it_does() {
    for (provider, more, apis) in [
        ("openai", "", &["openai"][..]),
        ("azure", r#", "resource": "west""#, &["openai"]),
        ("anthropic", "", &["messages"]),
        ("gemini", "", &["openai"]),
        ("vertex", r#", "project": "p", "location": "global""#, &["openai", "messages"]),
        ("bedrock", r#", "region": "eu-central-1""#, &["openai", "messages", "converse"]),
        ("ollama", "", &["openai", "messages"]),
        ("openai_compatible", r#", "url": "http://vllm:8000/v1""#, &["openai", "messages"]),
    ] {
        for api in ["openai", "messages", "converse"] {
            let target = format!(r#"{{"provider": "{provider}", "api_key": "${{KEY}}", "api": "{api}"{more}}}"#);
            if apis.contains(&api) {
                assert_eq!(load(&target, &[]), Ok(1), "{target}");
                continue;
            }
            let names: Vec<_> = apis.iter().map(|api| format!("\"{api}\"")).collect();
            let words = format!("targets[0].api=\"{api}\": must be {} for the provider {provider}", names.join(" or "));
            let reported = load(&target, &[]).unwrap_err();
            assert!(reported.contains(&words), "{reported}");
        }
    }
    // Both faults of one target are found.
    let two = r#"{"provider": "anthropic", "api_key": "${KEY}", "api": "converse", "api_version": "2024-01-01"}"#;
    let reported = load(two, &[]).unwrap_err();
    assert!(reported.contains("must be \"messages\" for") && reported.contains("must be 2023-06-01 or"), "{reported}");
}

#[test]
fn faults_of_providers_say_what_would_be_right_and_show_no_secret() {
    for (target, words) in [
        (r#""provider": "antropic", "api_key": "${KEY}""#, r#"did you mean "anthropic"?"#),
        (r#""provider": "nobody""#, r#""openai" or "azure" or "anthropic""#),
        (r#""provider": 7"#, "must be a text"),
        (r#""provider": "openai""#, "needs a key: \"api_key\""),
        (r#""provider": "anthropic""#, "needs a key"),
        (r#""provider": "gemini""#, "needs a key"),
        (r#""provider": "openai", "api_key": "${KEYS}""#, "needs the variable KEYS"),
        (r#""provider": "openai", "api_key": "${ODD}""#, "has a value that is not valid in a header"),
        (r#""provider": "openai", "api_keys": "${KEY}""#, "did you mean api_key?"),
        (r#""provider": "azure", "api_key": "${KEY}""#, "needs `resource`"),
        (r#""provider": "azure", "resource": "a/b", "api_key": "${KEY}""#, "resource must have letters, digits"),
        (r#""provider": "azure", "resource": "${KEY}/x", "api_key": "${KEY}""#, "resource must have letters, digits"),
        (r#""provider": "vertex", "api_key": "${KEY}""#, "needs `project` and `location`"),
        (r#""provider": "vertex", "location": "global", "api_key": "${KEY}""#, "needs `project`"),
        (r#""provider": "vertex", "project": "p", "location": "global""#, "\"service_account\": \"${file:"),
        (
            r#""provider": "vertex", "location": "global", "service_account": "${KEY}""#,
            "must be the JSON file of a service account",
        ),
        (r#""provider": "bedrock", "api_key": "${KEY}""#, "needs `region`"),
        (r#""provider": "bedrock", "region": "eu-central-1""#, "AWS's variables in the environment"),
        (r#""provider": "bedrock", "region": "eu-central-1", "access_key_id": "A""#, "needs both"),
        (
            r#""provider": "bedrock", "region": "eu-central-1", "api_key": "${KEY}", "api": "convers""#,
            "did you mean \"converse\"?",
        ),
        (
            r#""provider": "openai", "api_key": "${KEY}", "secret_access_key": "${KEY}""#,
            "belongs to the provider bedrock",
        ),
        (
            r#""provider": "openai", "api_key": "${KEY}", "service_account": "${ACCOUNT}""#,
            "belongs to the provider vertex",
        ),
        (
            r#""provider": "anthropic", "api_key": "${KEY}", "api_version": "2024-01-01""#,
            "must be 2023-06-01 or 2026-10-21",
        ),
        (
            r#""provider": "anthropic", "api_key": "${KEY}", "unsupported": "ignore""#,
            "\"drop\" or \"refuse\" or \"pass\"",
        ),
        (r#""provider": "anthropic", "api_key": "${KEY}", "max_tokens": 0"#, "whole number"),
        (r#""provider": "anthropic", "api_key": "${KEY}", "model": """#, "model"),
        (r#""provider": "openai_compatible""#, "needs `url`"),
        (r#""provider": "openai_compatible", "url": "vllm:8000""#, "must be a URL such as"),
        (
            r#""provider": "openai", "api_key": "${KEY}", "endpoint": "chat""#,
            "belongs to a target with \"url\" and no \"provider\"",
        ),
        (r#""provider": "openai", "api_key": "${KEY}", "router": "/a/""#, "is either a router, a url or a branch"),
        (r#""url": "https://h/", "region": "eu-central-1""#, "without one region means nothing"),
        (r#""router": "/a/", "api_key": "${KEY}""#, "without one api_key means nothing"),
        (r#""provider": "openai", "api_key": "${KEY}", "strategy": {"mode": "fallback"}"#, "belongs to a branch"),
    ] {
        let reported = load(&format!("{{{target}}}"), &[]).expect_err(target);
        assert!(reported.contains(words), "{target}\n{reported}");
    }
}

#[test]
fn the_faults_of_all_targets_are_said_at_once() {
    let reported =
        load(r#"{"name": "a", "provider": "bedrock", "api_key": "k"}, {"name": "b", "provider": "openai"}"#, &[]);
    let reported = reported.unwrap_err();
    assert!(reported.contains("needs `region`") && reported.contains("needs a key"), "{reported}");
}
