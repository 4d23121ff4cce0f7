//! Signatures against AWS's published vectors and against botocore.

use llm::sigv4::{Credentials, Request, Signature, sha256_hex, sign};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::botocore;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
type Headers = &'static [(&'static str, &'static str)];

/// Of AWS's Signature Version 4 test suite: name, method, target, headers, body, signature.
const VECTORS: &[(&str, &str, &str, Headers, &str, &str)] = &[
    ("get-vanilla", "GET", "/", &[], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-relative", "GET", "/example/..", &[], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-slashes", "GET", "//./", &[], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-utf8", "GET", "/ሴ", &[], "", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    (
        "get-unreserved",
        "GET",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        &[],
        "",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    (
        "get-header-key-duplicate",
        "GET",
        "/",
        &[("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
        "",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    (
        "get-header-value-trim",
        "GET",
        "/",
        &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
        "",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    (
        "get-vanilla-empty-query-key",
        "GET",
        "/?Param1=value1",
        &[],
        "",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    (
        "get-vanilla-query-order-key-case",
        "GET",
        "/?Param2=value2&Param1=value1",
        &[],
        "",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-vanilla-utf8-query",
        "GET",
        "/?%E1%88%B4=bar",
        &[],
        "",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    ("post-vanilla", "POST", "/", &[], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    (
        "post-header-key-sort",
        "POST",
        "/",
        &[("My-Header1", "value1")],
        "",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    (
        "post-header-value-case",
        "POST",
        "/",
        &[("My-Header1", "VALUE1")],
        "",
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
    (
        "post-x-www-form-urlencoded",
        "POST",
        "/",
        &[FORM],
        "Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
];

fn time(text: &str) -> jiff::Timestamp {
    let [date, clock] = text.trim_end_matches('Z').split('T').collect::<Vec<_>>()[..] else { panic!("{text}") };
    format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..], &clock[..2], &clock[2..4], &clock[4..])
        .parse()
        .unwrap()
}

fn credentials(session_token: Option<&str>) -> Credentials<'_> {
    Credentials { access_key_id: "AKIDEXAMPLE", secret_access_key: SECRET, session_token }
}

#[test]
fn the_published_vectors_are_signed_as_published() {
    for (name, method, target, headers, body, signature) in VECTORS {
        let request = Request {
            method,
            url: &format!("https://example.amazonaws.com{target}"),
            headers,
            body_sha256: &sha256_hex(body.as_bytes()),
            region: "us-east-1",
            service: "service",
            time: time("20150830T123600Z"),
        };
        let signed = sign(&request, &credentials(None)).unwrap();
        assert_eq!(signed.date, "20150830T123600Z");
        let (before, made) = signed.authorization.rsplit_once("Signature=").unwrap();
        assert_eq!(made, *signature, "{name}");
        let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=";
        assert!(before.starts_with(scope), "{before}");
    }
}

#[test]
fn a_session_token_is_signed_and_sent() {
    let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
    let request = Request {
        method: "POST",
        url: "https://example.amazonaws.com",
        headers: &[],
        body_sha256: &sha256_hex(b""),
        region: "us-east-1",
        service: "service",
        time: time("20150830T123600Z"),
    };
    let Signature { authorization, security_token, .. } = sign(&request, &credentials(Some(token))).unwrap();
    assert_eq!(security_token.as_deref(), Some(token));
    assert!(
        authorization.ends_with("85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
        "{authorization}"
    );
}

#[test]
fn an_address_without_scheme_or_host_is_refused_and_nothing_shows_the_secret() {
    for url in ["", "host/path", "https://", "ftp://host/", "https:///path"] {
        let request = Request {
            method: "GET",
            url,
            headers: &[],
            body_sha256: "",
            region: "r",
            service: "s",
            time: time("20150830T123600Z"),
        };
        assert!(sign(&request, &credentials(None)).is_err(), "{url}");
    }
    let shown = format!("{:?}", credentials(Some("token")));
    assert!(!shown.contains(SECRET) && !shown.contains("token"), "{shown}");
}

/// Addresses with all that a model's id may have, and headers, queries and tokens.
fn requests() -> impl Strategy<Value = Value> {
    let model = prop_oneof![
        Just(
            "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.amazon.nova-lite-v1%3A0"
                .to_owned()
        ),
        Just("anthropic.claude-v2:1".to_owned()),
        "[a-zA-Z0-9._~:,@$&=+%!*'() -]{1,30}".prop_map(|name| name.replace('%', "%25").replace(' ', "%20")),
    ];
    let operation = prop_oneof![Just("converse"), Just("converse-stream"), Just("invoke"), Just("./x/../y//z/")];
    let query = prop_oneof![
        3 => Just(String::new()),
        1 => prop::collection::vec("[a-zA-Z0-9%._-]{1,5}=[a-zA-Z0-9._~-]{0,5}", 1..4)
            .prop_map(|pairs| format!("?{}", pairs.join("&").replace('%', "%25"))),
    ];
    let port = prop_oneof![Just(""), Just(":443"), Just(":8443")];
    let header = ("x-[a-z]{1,6}", "[ -~]{0,12}");
    let headers = prop::collection::btree_map(header.0, header.1, 0..3);
    let token = prop::option::of("[A-Za-z0-9+/=]{1,80}");
    let moment = prop_oneof![Just("20261129T002011Z"), Just("20150830T123600Z"), Just("20280229T235959Z")];
    let region = prop_oneof![Just("us-east-1"), Just("ap-southeast-4")];
    let body = "[ -~äß]{0,40}";
    let fields = (model, operation, query, port, headers, token, moment, region, body, "[A-Za-z0-9/+]{1,40}");
    fields.prop_map(|(model, operation, query, port, headers, token, moment, region, body, secret)| {
        let host = format!("bedrock-runtime.{region}.amazonaws.com{port}");
        json!({"method": "POST", "url": format!("https://{host}/model/{model}/{operation}{query}"),
            "headers": headers.into_iter().collect::<Vec<_>>(), "token": token, "time": moment, "region": region,
            "service": "bedrock", "body": body, "secret": secret})
    })
}

#[test]
fn botocore_signs_the_same() {
    let mut runner = TestRunner::deterministic();
    let cases: Vec<Value> = (0..400).map(|_| requests().new_tree(&mut runner).unwrap().current()).collect();
    let Some(Value::Array(theirs)) = botocore::ask("sign", &Value::from(cases.clone())) else { return };
    assert_eq!(theirs.len(), cases.len());
    for (case, theirs) in cases.iter().zip(theirs) {
        let text = |name: &str| case[name].as_str().unwrap();
        let headers: Vec<(&str, &str)> = case["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
            .collect();
        let request = Request {
            method: "POST",
            url: text("url"),
            headers: &headers,
            body_sha256: &sha256_hex(text("body").as_bytes()),
            region: text("region"),
            service: "bedrock",
            time: time(text("time")),
        };
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: text("secret"),
            session_token: case["token"].as_str(),
        };
        let ours = sign(&request, &credentials).unwrap();
        assert_eq!(json!([ours.date, ours.authorization]), theirs, "{case:#}");
    }
}
