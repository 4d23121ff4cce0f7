//! Each planted fault finds its finding and no other; what is right finds none.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixtures;
use balancer::broker::{BrokerSettings, RouterSettings};
use gecholog_protocol::gl_config;
use types::mode::OperatingMode;
use types::outcome::FailureRule;

const SHIPPED: &str = include_str!("../../gl_config.json");
const ONE_ROW: &str = include_str!("../../docs/gl_config.one-row.json");
const UNSET: &str = "(perhaps: it depends on a variable that is unset here)";

type Edits<'e> = &'e [(&'e str, &'e str)];

fn edited(text: &str, edits: Edits<'_>) -> String {
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} stands in it");
        text.replacen(from, to, 1)
    })
}

fn read(text: &str) -> GlConfig {
    gl_config::read("gl.json", text, |name| match name {
        "AISERVICE_API_BASE" => Some("https://host".to_owned()),
        "NATS_TOKEN" => Some("s3cr3t".to_owned()),
        _ => None,
    })
}

/// The pool that the environment gives when nothing is written.
fn default_pool() -> BrokerSettings {
    fixtures::settings("/azure/", &["/azure/gpt35turbo/", "/azure/gpt4/", "/azure/dud/"])
}

fn pools(text: &str) -> BrokerSettings {
    fixtures::pools_file(text, &RouterSettings::default()).unwrap()
}

/// A pool with this strategy, over two routers of the shipped configuration, of which the first has this besides.
fn pool(strategy: &str, first: &str) -> BrokerSettings {
    pools(&format!(
        r#"{{"pools": [{{"ingress": "/azure/", "strategy": {strategy}, "targets": [
            {{"name": "a", "router": "/azure/gpt4/"{first}}}, {{"router": "/azure/gpt35turbo/"}}, {{"router": "/azure/dud/"}}]}}]}}"#
    ))
}

fn plan(settings: &BrokerSettings) -> LintInput<'_> {
    LintInput {
        settings,
        subject: "coburn.gl.broker",
        logger_subject: "coburn.gl.logger",
        mode: OperatingMode::Balance,
        bus: true,
    }
}

fn found(settings: &BrokerSettings, text: &str, strict: bool) -> Vec<Finding> {
    check(plan(settings), &read(text), strict)
}

/// What is found, in short.
fn short(findings: &[Finding]) -> Vec<(Severity, &'static str)> {
    findings.iter().map(|finding| (finding.severity, finding.rule)).collect()
}

use Severity::{Error, Undecided, Warning};

#[test]
fn the_shipped_file_is_fine_with_the_default_pool() {
    assert_eq!(found(&default_pool(), SHIPPED, true), []);
    assert_eq!(short(&found(&default_pool(), ONE_ROW, true)), [(Warning, "outcome-missing")]);
}

type Case = (Edits<'static>, &'static [(Severity, &'static str)]);

const ROUTERS: &[Case] = &[
    (&[("\"path\": \"/azure/dud/\"", "\"path\": \"/other/dud/\"")], &[(Error, "router-missing")]),
    (&[("http://127.0.0.1:9", "127.0.0.1:9")], &[(Error, "router-dropped")]),
    (&[("\"path\": \"/azure/\"", "\"path\": \"/blue/\"")], &[(Error, "ingress-missing")]),
    (&[("\"url\": \"${AISERVICE_API_BASE}\"", "\"url\": \"h\"")], &[(Error, "ingress-dropped")]),
    (&[("\"path\": \"/echo/\"", "\"path\": \"/azure/new/\"")], &[(Warning, "ingress-shadowed")]),
    (&[("\"https://localhost\"", "\"localhost\"")], &[(Warning, "router-unused-dropped")]),
];

const WHOLE: &[Case] = &[
    (&[("\"BROKER01\"", "\"broker\"")], &[(Error, "file-refused")]),
    (&[("\"log_level\": \"INFO\",", "\"log_level\"")], &[(Error, "file-refused")]),
    (&[("\"ingress\": { \"headers\": {} },", "")], &[(Error, "file-crashes")]),
    (&[("\"INFO\"", "\"${LEVEL}\"")], &[(Undecided, "file-refused"), (Warning, "variable-unset")]),
];

const CHAIN: &[Case] = &[
    (&[("\"coburn.gl.broker\"", "\"coburn.gl.other\"")], &[(Error, "chain-missing")]),
    (&[("\"async\": false", "\"async\": true")], &[(Error, "chain-missing")]),
    (&[("\"coburn.gl.broker.apply\"", "\"coburn.gl.other\"")], &[(Error, "apply-missing")]),
    (&[("\"modifier\": true", "\"modifier\": false")], &[(Error, "apply-annotator")]),
    (&[("\"modifier\": false", "\"modifier\": true")], &[(Error, "output-field")]),
    (&[("      ],\n      [\n", "      ,\n")], &[(Error, "apply-row")]),
    (&[("\"required\": false", "\"required\": true")], &[(Error, "required")]),
    (&[("\"timeout\": 50", "\"timeout\": 4")], &[(Warning, "timeout-short")]),
    (&[("[\"gl_path\"]", "[\"ingress_subpath\"]")], &[(Error, "input-field")]),
    (&[("[\"broker\"],\n          \"input", "[\"gl_path\"],\n          \"input")], &[(Error, "input-field")]),
    (&[("\"output_fields_write\": [\"broker\"]", "\"output_fields_write\": []")], &[(Error, "output-field")]),
    (
        &[("\"output_fields_write\": [\"gl_path\"]", "\"output_fields_write\": [\"control\"]")],
        &[(Error, "output-field")],
    ),
    (&[("\"input_fields_exclude\": []", "\"input_fields_exclude\": [\"gl_path\"]")], &[(Error, "input-field")]),
    (&[("[\"gl_path\"]", "[]")], &[(Warning, "payload-unneeded")]),
    (&[("[\"gl_path\"]", "[\"gl_path\", \"outbound_payload\"]")], &[(Warning, "payload-unneeded")]),
    (
        &[("\"coburn.gl.broker\"", "\"${SUBJECT}\"")],
        &[(Undecided, "chain-missing"), (Undecided, "file-refused"), (Warning, "variable-unset")],
    ),
];

const LEARNING: &[Case] = &[
    (&[("coburn.gl.broker.outcome", "coburn.gl.other")], &[(Warning, "outcome-missing")]),
    (&[("            \"inbound_status_code\",\n", "")], &[(Warning, "outcome-fields")]),
    (
        &[("\"request\": { \"fields_include\": []", "\"request\": { \"fields_include\": [\"gl_path\"]")],
        &[(Warning, "log-request")],
    ),
    (
        &[("\"response\": { \"fields_include\": []", "\"response\": { \"fields_include\": [\"gl_path\"]")],
        &[(Error, "log-response")],
    ),
    (
        &[("[], \"fields_exclude\": [] }\n", "[], \"fields_exclude\": [\"inbound_payload\"] }\n")],
        &[(Warning, "log-response")],
    ),
    (&[("coburn.gl.logger", "coburn.gl.log")], &[(Error, "log-subject")]),
];

const REWRITES: &[Case] = &[
    (&[("gpt35turbo/chat/completions?api-version=2023-05-15", "x?api-version=2024-02-01")], &[(Warning, "query-kept")]),
    (&[("gpt35turbo/chat/completions?api-version=2023-05-15", "x")], &[]),
    (&[("http://127.0.0.1:9", "http://127.0.0.1:9?key=1")], &[(Warning, "query-kept")]),
    (
        &[("127.0.0.1:9\", \"endpoint\": \"\", \"headers\": {", "127.0.0.1:9\", \"headers\": {\"X-Key\": [\"k\"]")],
        &[(Warning, "headers-kept")],
    ),
    (
        &[("127.0.0.1:9\", \"endpoint\": \"\", \"headers\": {", "127.0.0.1:9\", \"headers\": {\"Api-Key\": [\"k\"]")],
        &[(Warning, "masked-static")],
    ),
    (
        &[
            ("\"headers\": { \"Content-Type\"", "\"headers\": { \"X-Key\": [\"k\"], \"Content-Type\""),
            ("\"headers\": { \"Content-Type\": [", "\"headers\": { \"X-Key\": [\"k\"], \"Content-Type\": ["),
            ("\"headers\": { \"Content-Type\": [", "\"headers\": { \"X-Key\": [\"k\"], \"Content-Type\": ["),
        ],
        &[(Warning, "headers-kept")],
    ),
];

#[test]
fn each_planted_fault_finds_its_finding() {
    for (edits, expected) in [ROUTERS, WHOLE, CHAIN, LEARNING, REWRITES].into_iter().flatten() {
        let mut findings = short(&found(&default_pool(), &edited(SHIPPED, edits), false));
        findings.sort_unstable();
        assert_eq!(findings, *expected, "{edits:?}");
    }
}

/// Strategy, what the first target has besides, edits, findings.
type LintCase<'e> = (&'e str, &'e str, Edits<'e>, &'e [(Severity, &'static str)]);

const STICKY: &str = r#"{"mode": "sticky", "key": "headers.X-User"}"#;
const BY_MODEL: &str = r#"{"mode": "conditional", "conditions": [{"query": {"params.model": "x"}, "then": "a"}]}"#;
const PLAIN: &str = r#"{"mode": "loadbalance"}"#;
const OVERRIDE: &str = r#", "override_params": {"max_tokens": 1}"#;

#[test]
fn what_a_file_asks_for_must_be_sent() {
    let asks = ("[\"gl_path\"]", "[\"gl_path\", \"outbound_payload\"]");
    let both = ("[\"gl_path\"]", "[\"gl_path\", \"outbound_payload\", \"ingress_payload\"]");
    let headers = ("[\"gl_path\"]", "[\"gl_path\", \"ingress_headers\"]");
    let stamps = ("\"output_fields_write\": [\"broker\"]", "\"output_fields_write\": [\"broker\", \"broker_patch\"]");
    let sees = (
        "\"input_fields_include\": [\"broker\"]",
        "\"input_fields_include\": [\"broker\", \"broker_patch\", \"outbound_payload\"]",
    );
    let writes =
        ("\"output_fields_write\": [\"gl_path\"]", "\"output_fields_write\": [\"gl_path\", \"outbound_payload\"]");
    let table: &[LintCase<'_>] = &[
        (STICKY, "", &[], &[(Error, "input-field")]),
        (STICKY, "", &[headers], &[]),
        (STICKY, "", &[headers, ("[\"Authorization\"", "[\"X-User\"")], &[(Error, "masked-field")]),
        (STICKY, "", &[headers, ("[\"Authorization\"", "[\"x-user\"")], &[]),
        (&STICKY.replace("X-User", "authorization"), "", &[headers], &[(Error, "masked-field")]),
        (&STICKY.replace("headers.X-User", "session"), "", &[headers], &[]),
        (
            &STICKY.replace("headers.X-User", "session"),
            "",
            &[headers, ("\"Session-Id\"", "\"X-Session\"")],
            &[(Error, "session-header")],
        ),
        (BY_MODEL, "", &[], &[(Error, "input-field")]),
        (BY_MODEL, "", &[asks], &[(Warning, "payload-size")]),
        (BY_MODEL, "", &[both], &[(Warning, "payload-twice")]),
        (&BY_MODEL.replace("params.model", "headers.Api-Key"), "", &[headers], &[(Error, "masked-field")]),
        (PLAIN, OVERRIDE, &[stamps, sees, writes], &[(Warning, "payload-size")]),
        (PLAIN, OVERRIDE, &[sees, writes], &[(Error, "output-field"), (Warning, "payload-size")]),
        (PLAIN, OVERRIDE, &[stamps, sees], &[(Error, "output-field"), (Warning, "payload-size")]),
        (PLAIN, OVERRIDE, &[stamps, writes], &[(Error, "input-field"), (Error, "input-field")]),
    ];
    for (strategy, first, edits, expected) in table {
        let findings = found(&pool(strategy, first), &edited(SHIPPED, edits), false);
        assert_eq!(short(&findings), *expected, "{strategy} {edits:?}\n{findings:#?}");
    }
    let one_row = found(&pool(PLAIN, OVERRIDE), &edited(ONE_ROW, &[asks, writes]), false);
    assert_eq!(short(&one_row), [(Warning, "payload-size"), (Warning, "outcome-missing")]);
    let one_row = short(&found(&pool(PLAIN, OVERRIDE), ONE_ROW, false));
    assert_eq!(one_row, [(Error, "input-field"), (Error, "output-field"), (Warning, "outcome-missing")]);
}

/// What it is, how it is planted in the shipped file, findings.
type Planted = (&'static str, fn(&mut Value), &'static [(Severity, &'static str)]);

const PLANTED: &[Planted] = &[
    (
        "the row that applies comes first",
        |file| file["request"]["processors"].as_array_mut().unwrap().swap(0, 1),
        &[(Error, "apply-row")],
    ),
    ("it is async", |file| file["request"]["processors"][1][0]["async"] = true.into(), &[(Error, "apply-missing")]),
    ("it is required", |file| file["request"]["processors"][1][0]["required"] = true.into(), &[(Error, "required")]),
    ("it is hasty", |file| file["request"]["processors"][1][0]["timeout"] = 4.into(), &[(Warning, "timeout-short")]),
    (
        "it gets no stamp",
        |file| file["request"]["processors"][1][0]["input_fields_exclude"] = json!(["broker"]),
        &[(Error, "input-field")],
    ),
    (
        "another processor decides too",
        |file| {
            let mut other = file["request"]["processors"][0][0].clone();
            other["name"] = "other".into();
            file["request"]["processors"].as_array_mut().unwrap().push(json!([other]));
        },
        &[(Warning, "chain-twice")],
    ),
    (
        "the outcome is async",
        |file| file["response"]["processors"][0][0]["async"] = true.into(),
        &[(Warning, "outcome-missing")],
    ),
    (
        "the outcome is required",
        |file| file["response"]["processors"][0][0]["required"] = true.into(),
        &[(Warning, "required")],
    ),
    (
        "the outcome is hasty",
        |file| file["response"]["processors"][0][0]["timeout"] = 4.into(),
        &[(Warning, "timeout-short")],
    ),
    (
        "the outcome processor gets a payload",
        |file| {
            let fields = file["response"]["processors"][0][0]["input_fields_include"].as_array_mut().unwrap();
            fields.push("inbound_payload".into());
        },
        &[(Warning, "payload-unneeded")],
    ),
    (
        "an outcome that looks like a request",
        |file| {
            let one = &mut file["response"]["processors"][0][0];
            one["service_bus_topic"] = "coburn.gl.broker".into();
            one["input_fields_include"] = json!(["gl_path"]);
        },
        &[(Error, "response-unmarked"), (Warning, "outcome-missing")],
    ),
    (
        "the log hides whose call it was",
        |file| file["logger"]["response"]["fields_exclude"] = json!(["gl_path"]),
        &[(Error, "log-response")],
    ),
    (
        "a path stands twice",
        |file| {
            let again = file["routers"][1].clone();
            file["routers"].as_array_mut().unwrap().push(again);
        },
        &[(Error, "file-refused")],
    ),
];

#[test]
fn policies_that_count_calls_in_flight_need_the_stamp_in_the_log() {
    let hidden = edited(SHIPPED, &[("[], \"fields_exclude\": [] }", "[], \"fields_exclude\": [\"broker\"] }")]);
    for mode in ["fastest", "least_busy"] {
        let learns = pool(&format!(r#"{{"mode": "{mode}"}}"#), "");
        assert_eq!(found(&learns, SHIPPED, true), [], "{mode}");
        let one_row = found(&learns, ONE_ROW, true);
        assert_eq!(short(&one_row), [(Warning, "outcome-missing"), (Warning, "stamps-unseen")], "{mode}");
        assert!(one_row[1].fix.contains("two rows"), "{one_row:?}");
        assert_eq!(short(&found(&learns, &hidden, true)), [(Warning, "log-request"), (Warning, "stamps-unseen")]);
    }
    assert_eq!(short(&found(&default_pool(), &hidden, true)), [(Warning, "log-request")], "they are not counted");
}

#[test]
fn a_budget_of_tokens_needs_the_body_and_the_stamp_in_the_log() {
    let budget = |budget: &str| pool("{}", &format!(", \"budget\": {budget}"));
    let hidden = edited(SHIPPED, &[("[], \"fields_exclude\": [] }", "[], \"fields_exclude\": [\"broker\"] }")]);
    for calls in ["{\"rpm\": 5}", "{}"] {
        assert_eq!(found(&budget(calls), SHIPPED, true), [], "{calls}");
        assert_eq!(short(&found(&budget(calls), &hidden, true)), [(Warning, "log-request")], "{calls}");
    }
    let tokens = budget("{\"tpm\": 5}");
    let blind = found(&tokens, SHIPPED, true);
    assert_eq!(short(&blind), [(Error, "input-field")]);
    assert!(blind[0].reason.contains("outbound_payload") && blind[0].reason.contains("the budget of /azure/gpt4/"));
    let seeing = edited(
        SHIPPED,
        &[("\"input_fields_include\": [\"gl_path\"]", "\"input_fields_include\": [\"gl_path\", \"outbound_payload\"]")],
    );
    let findings = found(&tokens, &seeing, true);
    assert_eq!(short(&findings), [(Warning, "payload-size")]);
    assert!(findings[0].reason.contains("counts tokens"), "{findings:?}");
    assert!(short(&found(&tokens, &hidden, true)).contains(&(Warning, "stamps-unseen")));
}

#[test]
fn each_fault_that_is_planted_by_hand_finds_its_finding() {
    for (what, plant, expected) in PLANTED {
        let mut file: Value = serde_json::from_str(SHIPPED).unwrap();
        plant(&mut file);
        let findings = found(&default_pool(), &file.to_string(), false);
        assert_eq!(short(&findings), *expected, "{what}: {findings:#?}");
    }
}

#[test]
fn a_flag_that_is_unknown_here_is_not_guessed() {
    for flag in ["\"modifier\": ", "\"async\": "] {
        let text = edited(SHIPPED, &[(&format!("{flag}false"), &format!("{flag}\"${{FLAG}}\""))]);
        let findings = short(&found(&default_pool(), &text, false));
        assert!(findings.contains(&(Undecided, "chain-unsure")), "{flag}: {findings:?}");
    }
}

#[test]
fn a_router_below_echo_is_not_echoed() {
    let text = edited(SHIPPED, &[("\"path\": \"/azure/dud/\"", "\"path\": \"/echo/dud/\"")]);
    let settings = pools(
        r#"{"pools": [{"ingress": "/azure/", "targets": [
        {"router": "/azure/gpt4/"}, {"router": "/azure/gpt35turbo/"}, {"router": "/echo/dud/"}]}]}"#,
    );
    assert_eq!(short(&found(&settings, &text, false)), [(Warning, "router-echo")]);
}

/// The row that applies, cut out of the shipped file.
fn without_apply() -> String {
    let (before, rest) = SHIPPED.split_once("      ],\n      [\n").unwrap();
    let (_, after) = rest.split_once("\n      ]\n    ]\n  },\n  \"response\"").unwrap();
    format!("{before}      ]\n    ]\n  }},\n  \"response\"{after}")
}

#[test]
fn observing_takes_the_annotator_and_nothing_else() {
    let observing = |settings: &BrokerSettings, text: &str| {
        let plan = LintInput { mode: OperatingMode::Observe, ..plan(settings) };
        short(&check(plan, &read(text), true))
    };
    let pool_that_overrides = pool(PLAIN, OVERRIDE);
    let settings = default_pool();
    let alone = without_apply();
    assert_eq!(short(&found(&settings, &alone, true)), [(Error, "apply-missing")], "to balance takes more");
    let table: &[Case] = &[
        (&[], &[]),
        (&[("\"output_fields_write\": [\"broker\"]", "\"output_fields_write\": []")], &[(Error, "output-field")]),
        (&[("\"async\": false", "\"async\": true")], &[(Error, "chain-missing")]),
        (&[("\"required\": false", "\"required\": true")], &[(Error, "required")]),
        (&[("\"modifier\": false", "\"modifier\": true")], &[(Warning, "observe-unseen")]),
        (&[("[\"gl_path\"]", "[\"ingress_subpath\"]")], &[(Error, "input-field")]),
    ];
    for (edits, expected) in table {
        assert_eq!(observing(&settings, &edited(&alone, edits)), *expected, "{edits:?}");
    }
    assert_eq!(observing(&settings, SHIPPED), [], "a row that will apply one day does no harm");
    assert_eq!(observing(&settings, ONE_ROW), [(Warning, "observe-unseen"), (Warning, "outcome-missing")]);
    assert_eq!(observing(&pool_that_overrides, SHIPPED), [], "nothing is overridden");
    assert_eq!(observing(&pool_that_overrides, ONE_ROW), [(Warning, "observe-unseen"), (Warning, "outcome-missing")]);
    assert_eq!(observing(&pool(STICKY, ""), &alone), [(Error, "input-field")], "what would be chosen hangs on it");
}

#[test]
fn a_401_must_be_heard_of_where_it_counts() {
    let mut settings = default_pool();
    settings.defaults.failures = FailureRule::parse("401,5xx").unwrap();
    assert_eq!(short(&found(&settings, SHIPPED, false)), [(Warning, "log-unauthorized")]);
    assert_eq!(short(&found(&settings, ONE_ROW, false)), [(Error, "log-unauthorized"), (Warning, "outcome-missing")]);
    let logged = edited(SHIPPED, &[("\"log_unauthorized\": false", "\"log_unauthorized\": true")]);
    assert_eq!(found(&settings, &logged, false), []);
}

#[test]
fn pools_that_cannot_work_with_any_gateway() {
    let text = r#"{"pools": [{"ingress": "/echo/", "targets": [{"router": "/azure/gpt4/"}]}]}"#;
    let expected = [(Error, "ingress-echo"), (Warning, "query-kept"), (Warning, "headers-kept")];
    assert_eq!(short(&found(&pools(text), SHIPPED, false)), expected);
    let text = r#"{"pools": [{"ingress": "/azure/", "targets": [{"router": "/azure/gpt5/"}]}]}"#;
    let findings = found(&pools(text), SHIPPED, false);
    assert_eq!((findings[0].rule, findings[0].severity), ("router-missing", Error));
    assert!(findings[0].fix.contains("did you mean /azure/gpt4/?"), "{}", findings[0].fix);
}

#[test]
fn what_is_undecided_is_an_error_only_where_that_is_asked() {
    let nothing_set = gl_config::read("gl.json", SHIPPED, |_| None);
    let settings = default_pool();
    let findings = check(plan(&settings), &nothing_set, false);
    assert!(report::is_ok(&findings));
    assert_eq!(findings.iter().filter(|finding| finding.rule == "variable-unset").count(), 2);
    let undecided: Vec<_> = findings.iter().filter(|finding| finding.severity == Undecided).collect();
    assert!(undecided.iter().all(|finding| finding.reason.ends_with(UNSET)), "{undecided:#?}");
    let rules: Vec<_> = undecided.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["file-refused", "ingress-dropped", "router-dropped", "router-dropped"]);
    for (finding, variable) in
        undecided.iter().zip(["NATS_TOKEN", "AISERVICE_API_BASE", "AISERVICE_API_BASE", "AISERVICE_API_BASE"])
    {
        assert!(finding.fix.starts_with(&format!("set {variable}, or")), "{finding:#?}");
    }
    assert!(!report::is_ok(&check(plan(&settings), &nothing_set, true)));
}

#[test]
fn nothing_that_is_written_shows_a_value() {
    // The value stands wherever a text of the file can have one; each time with something to find there.
    let secret = "S3CR3T";
    for text in [
        "/azure/gpt4/",
        "/azure/",
        "/azure/dud/",
        "Content-Type",
        "application/json",
        "coburn.gl.broker.outcome",
        "gl_path",
        "Api-Key",
        "Session-Id",
        "INFO",
        "2023-05-15",
        "http://127.0.0.1:9",
    ] {
        for value in
            [secret.to_owned(), format!("{text}{secret}"), format!("h?{secret}=1&"), format!("{secret}\", \"x")]
        {
            let file = SHIPPED.replace(&format!("{text}\""), "$LEAK\"");
            let config = gl_config::read("gl.json", &file, |_| Some(value.clone()));
            let settings = pool(STICKY, OVERRIDE);
            let findings = check(plan(&settings), &config, false);
            assert!(!findings.is_empty());
            for report in [report::text(&findings, &settings), report::json(&findings, &settings)] {
                assert!(!report.contains(secret), "{text} = {value}:\n{report}");
            }
        }
    }
}

#[test]
fn programs_can_read_the_report() {
    let settings = default_pool();
    let findings = found(&settings, &edited(SHIPPED, &[("\"BROKER01\"", "\"b\"")]), false);
    let report: Value = serde_json::from_str(&report::json(&findings, &settings)).unwrap();
    assert_eq!((&report["ok"], &report["errors"], &report["warnings"]), (&false.into(), &1.into(), &0.into()));
    assert_eq!(report["findings"][0]["severity"], "error");
    assert_eq!(report["findings"][0]["rule"], "file-refused");
    assert!(report["findings"][0]["place"].as_str().is_some_and(|place| place.starts_with("gl.json:2:17 gateway_id")));
    assert_eq!(report["pools"][0]["ingress"], "/azure/");
}

#[test]
fn a_tree_with_its_shares() {
    let settings = pools(
        r#"{"pools": [{"ingress": "/azure/", "targets": [
            {"router": "/a/", "weight": 0.9, "override_params": {"max_tokens": 200, "user": null}},
            {"name": "backup", "weight": 0.1, "strategy": {"mode": "fallback"}, "targets": [
                {"router": "/b/", "drained": true},
                {"strategy": {"mode": "round_robin"}, "targets": [{"router": "/c/", "weight": 3}, {"router": "/d/"}]},
                {"router": "/e/", "model_map": {"x": "y"}}]},
            {"router": "/f/", "weight": 0}]},
          {"ingress": "/by/", "strategy": {"mode": "conditional", "default": "rest", "conditions": [
                {"query": {"headers.X-Tier": "gold"}, "then": "gold"}]}, "targets": [
            {"name": "gold", "strategy": {"mode": "sticky", "key": "params.user"}, "targets": [{"router": "/a/"}, {"router": "/b/"}]},
            {"name": "rest", "router": "/c/"}, {"router": "/d/"}]}]}"#,
    );
    let drawn: String = settings.pools.iter().map(render).collect();
    let expected = "\
/azure/  loadbalance
├─  90.0 %  /a/  sets max_tokens  removes user
├─  10.0 %  backup  fallback, the first that is available
│  ├─   0.0 %  1. /b/  drained
│  ├─  10.0 %  2. round_robin
│  │  ├─   7.5 %  /c/
│  │  └─   2.5 %  /d/
│  └─   0.0 %  3. /e/  sets model (by model_map)
└─   0.0 %  /f/
/by/  conditional, shares below are of the calls that reach it
├─ condition 1 on headers.X-Tier: gold  sticky by params.user
│  ├─  50.0 %  /a/
│  └─  50.0 %  /b/
├─ otherwise: rest /c/
└─ never: /d/
";
    assert_eq!(drawn, expected, "\n{drawn}");
}

proptest! {
    /// A variable anywhere, with any value, set or not: no report shows the value.
    #[test]
    fn no_report_shows_a_value(at in 0..SHIPPED.len(), odd in "[\"{},: /?=\\\\]{0,3}") {
        let secret = "S3CR3T";
        let file = format!("{}${{LEAK}}{}", &SHIPPED[..at], &SHIPPED[at..]);
        let config = gl_config::read("gl.json", &file, |name| Some(if name == "LEAK" { format!("{odd}{secret}{odd}") } else { "http://h".to_owned() }));
        let settings = pool(STICKY, OVERRIDE);
        let findings = check(plan(&settings), &config, false);
        prop_assert!(!report::text(&findings, &settings).contains(secret));
        prop_assert!(!report::json(&findings, &settings).contains(secret));
    }
}
